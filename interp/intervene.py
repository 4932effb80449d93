"""A plan of edits, compiled for one model into a hook."""

import reprlib
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.activations import ActivationCache
from gpt2_core.model import GPT2
from interp.edit_rules import texts_of
from interp.edits import Edit, Plan

MAX_TEXT_TOKENS = 8192  # of all texts of a plan together

Apply = Callable[[Tensor, Tensor, Tensor], Tensor]  # (activation, query positions, key positions) -> activation
Value = int | float | Tensor | None


class PlanHook:
    """The hook of a plan: calls nothing but the edited points, so the rest of the model stays on its fast path."""

    def __init__(self, applications: dict[str, list[Apply]], queries: Tensor | None = None, keys: Tensor | None = None):
        self._applications, self._queries, self._keys = applications, queries, keys

    def wants(self, name: str) -> bool:
        return name in self._applications

    def positioned(self, queries: Int[Tensor, "batch query"], keys: Int[Tensor, "batch key"]) -> "PlanHook":
        return PlanHook(self._applications, queries, keys)

    def __call__(self, name: str, x: Tensor) -> Tensor:
        for apply in self._applications[name]:
            x = apply(x, self._queries, self._keys)
        return x


@torch.no_grad()
def compile_plan(model: GPT2, plan: Plan, bos: bool = True) -> PlanHook | None:
    """The hook of a plan for this model; None for an empty plan, which keeps the fastest path.

    Texts that edits read from are run once, here, through the unedited model, with `<|endoftext|>` in front where `bos` says so.
    Raises ValueError if an edit does not fit the model or its text does not fit the context.
    """
    if not isinstance(plan, Plan):
        raise ValueError(f"Expected a plan of edits, got {reprlib.repr(plan)}; write Plan((edit, ...)).")
    plan.check(model.config)
    applications: dict[str, list[Apply]] = {}
    for edit, source in zip(plan, sources(model, plan, bos)):
        apply = _feature(model, edit) if edit.op == "feature" else application(edit, source, edit.value)
        applications.setdefault(edit.hook_name, []).append(apply)
    return PlanHook(applications) if applications else None


@torch.no_grad()
def sources(model: GPT2, plan: Plan, bos: bool = True) -> list[Float[Tensor, "..."] | None]:
    """What each edit takes from its texts: [pos ...] for patch and contrast, [...] for mean and for a direction, None without texts.

    Raises ValueError for texts that do not fit the context, and for a direction without length where it must have one.
    """
    prompts = [paired_texts(model, edit, bos) for edit in plan]
    caches = _run_texts(model, plan, prompts)
    return [_source(edit, *read, caches) if edit.text else None for edit, read in zip(plan, prompts)]


Prompts = tuple[list[tuple[int, ...]], list[tuple[int, ...]]]  # token ids of the texts that an edit adds, and subtracts


def paired_texts(model: GPT2, edit: Edit, bos: bool) -> Prompts:
    """Token ids of the texts that an edit reads; those of a contrast padded with spaces to one length."""

    def read(text: str | None) -> list[tuple[int, ...]]:
        texts = texts_of(text, edit.lines) if text else ()
        return [tuple(model.to_tokens(one, prepend_bos=bos)[0].tolist()) for one in texts]

    plus, minus = read(edit.text), read(edit.minus)
    if edit.op == "contrast":
        longest, space = max(map(len, plus + minus)), tuple(model.tokenizer.encode(" "))
        plus, minus = ([ids + space * (longest - len(ids)) for ids in side] for side in (plus, minus))
    return plus, minus


def _run_texts(model: GPT2, plan: Plan, prompts: list[Prompts]) -> dict[tuple[int, ...], ActivationCache]:
    """Each text that edits read from, run once: its ids -> the activations that are wanted of it, without a batch axis."""
    wanted: dict[tuple[int, ...], list[Edit]] = {}
    for edit, (plus, minus) in zip(plan, prompts):
        for ids in plus + minus:
            wanted.setdefault(ids, []).append(edit)
    total = sum(map(len, wanted))
    if total > MAX_TEXT_TOKENS:
        raise ValueError(f"The texts of the edits have {total} tokens together; {MAX_TEXT_TOKENS} is the most. Shorten them.")
    caches = {}
    for ids, edits in wanted.items():
        names, stop = sorted({e.hook_name for e in edits}), 1 + max(e.layer for e in edits)
        _, cache = model.run_with_cache(torch.tensor([ids]), names, return_type=None, stop_at_layer=stop)
        caches[ids] = cache.remove_batch_dim()
    return caches


def application(edit: Edit, source: Tensor | None, value: Value) -> Apply:
    """What an edit does to an activation, with this value in place of its own; a tensor [batch] is one value per row.

    The value of project is the share that is taken away; None is all of it.
    """
    if edit.op == "set":
        return lambda x, queries, keys: _set_cell(edit, x, queries, keys)

    def apply(x: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        where = _selection(edit, x, queries)
        amount = value.to(x).view(-1, *(1,) * (x.ndim - 1)) if isinstance(value, Tensor) else value
        if edit.op in ("patch", "contrast"):
            taken, known = _at_positions(source, queries)
            where = where & _over_activation(known, x)
            return torch.where(where, taken.to(x) if edit.op == "patch" else x + amount * taken.to(x), x)
        new = {
            "zero": lambda: torch.zeros_like(x),
            "scale": lambda: x * amount,
            "mean": lambda: source.to(x).expand_as(x),
            "add": lambda: x + amount * source.to(x),
            "project": lambda: x + (1.0 if amount is None else amount) * (_held(x, source, 0.0) - x),
            "clamp": lambda: torch.zeros_like(x) + amount if source is None else _held(x, source, amount),
        }[edit.op]()
        return torch.where(where, new, x)

    return apply


def _feature(model: GPT2, edit: Edit) -> Apply:
    """The edit of a feature, by the model's own list of autoencoders: a name is never looked for anywhere else."""
    known = getattr(model, "autoencoders", {})
    if edit.autoencoder not in known:
        there = (
            f"it has {', '.join(list(known)[:8])}" if known else "it has none; give it some, model.autoencoders = {name: sae}"
        )
        raise ValueError(f"{model.config.model_name} has no autoencoder called {edit.autoencoder[:60]!r}: {there}.")
    sae = known[edit.autoencoder]
    if sae.hook_name != edit.hook_name:
        raise ValueError(f"{edit.describe()}: this autoencoder reads {sae.hook_name}, not {edit.hook_name}; edit it there.")
    sae.check_feature(edit.feature)
    return lambda x, queries, keys: sae.edited(x, queries, [edit])


def _held(x: Tensor, direction: Tensor, value: Value) -> Tensor:
    """x with its component along the unit direction (of each head, where it has heads) at `value`."""
    unit = (direction / direction.norm(dim=-1, keepdim=True)).to(x)
    return x + (value - (x * unit).sum(-1, keepdim=True)) * unit


def _selection(edit: Edit, x: Tensor, queries: Tensor) -> Tensor:
    """Bool, broadcastable to x: the head and the positions that an edit is about."""
    where = torch.ones((1,) * x.ndim, dtype=torch.bool, device=x.device)
    if edit.head is not None:
        shape = [1] * x.ndim
        shape[edit.head_axis] = x.shape[edit.head_axis]
        where = where & (torch.arange(x.shape[edit.head_axis], device=x.device) == edit.head).view(shape)
    if edit.neuron is not None:
        where = where & (torch.arange(x.shape[-1], device=x.device) == edit.neuron)
    if edit.positions is not None:
        chosen = torch.isin(queries, torch.tensor(edit.positions, device=queries.device))
        where = where & _over_activation(chosen, x, pattern=edit.component == "pattern")
    return where


def _over_activation(chosen: Tensor, x: Tensor, pattern: bool = False) -> Tensor:
    """Bool [batch query] -> broadcastable to [batch query ...], or to [batch head query key] of a pattern."""
    return chosen[:, None, :, None] if pattern else chosen.view(*chosen.shape, *(1,) * (x.ndim - 2))


def _at_positions(source: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """The source's rows [batch query ...] at the run's positions, and where it has them."""
    known = (queries >= 0) & (queries < source.shape[0])
    return source[queries.clamp(0, source.shape[0] - 1)], known


def _source(edit: Edit, plus: list, minus: list, caches: dict[tuple[int, ...], ActivationCache]) -> Float[Tensor, "..."]:
    name = edit.hook_name
    if edit.op in ("patch", "mean"):
        return caches[plus[0]][name] if edit.op == "patch" else caches[plus[0]][name].mean(0)
    if edit.op == "contrast":
        return caches[plus[0]][name] - caches[minus[0]][name]
    direction = torch.stack([caches[ids][name][-1] for ids in plus]).mean(0)
    if minus:
        direction = direction - torch.stack([caches[ids][name][-1] for ids in minus]).mean(0)
    if edit.op != "add" and not (direction.norm(dim=-1) > 0).all():
        raise ValueError(f"{edit.describe()}: the two texts do not differ there, so there is no direction; change one of them.")
    return direction


def _set_cell(edit: Edit, x: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """x [batch head query key] with one weight replaced, wherever this run holds that query and that key."""
    is_query = torch.isin(queries, torch.tensor(edit.positions, device=queries.device))[:, None, :, None]
    is_key = (keys == edit.key)[:, None, None, :]
    is_head = (torch.arange(x.shape[1], device=x.device) == edit.head).view(1, -1, 1, 1)
    row, cell = is_head & is_query, is_head & is_query & is_key
    if edit.renormalise:
        rest = x.masked_fill(is_key, 0.0)
        total = rest.sum(-1, keepdim=True)
        # A row whose other weights are all zero has nothing to rescale.
        x = torch.where(row & (total > 0), rest * ((1.0 - edit.value) / total.clamp(min=1e-30)), x)
    return torch.where(cell, torch.full_like(x, edit.value), x)
