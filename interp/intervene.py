"""A plan of edits, compiled for one model into a hook."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.activations import ActivationCache
from gpt2_core.model import GPT2
from interp.edits import Edit, Plan

MAX_TEXT_TOKENS = 8192  # of all texts of a plan together

Apply = Callable[[Tensor, Tensor, Tensor], Tensor]  # (activation, query positions, key positions) -> activation


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
    plan.check(model.config)
    sources = _run_texts(model, plan, bos)
    applications: dict[str, list[Apply]] = {}
    for edit in plan:
        applications.setdefault(edit.hook_name, []).append(_application(edit, _source(edit, sources)))
    return PlanHook(applications) if applications else None


def _run_texts(model: GPT2, plan: Plan, bos: bool) -> dict[str, ActivationCache]:
    """Each text that edits read from, run once: text -> the activations that are wanted of it, without a batch axis."""
    wanted: dict[str, list[Edit]] = {}
    for edit in plan:
        for text in filter(None, (edit.text, edit.minus)):
            wanted.setdefault(text, []).append(edit)
    tokens = {text: model.to_tokens(text, prepend_bos=bos) for text in wanted}
    total = sum(ids.shape[1] for ids in tokens.values())
    if total > MAX_TEXT_TOKENS:
        raise ValueError(f"The texts of the edits have {total} tokens together; {MAX_TEXT_TOKENS} is the most. Shorten them.")
    caches = {}
    for text, edits in wanted.items():
        names, stop = sorted({e.hook_name for e in edits}), 1 + max(e.layer for e in edits)
        _, cache = model.run_with_cache(tokens[text], names, return_type=None, stop_at_layer=stop)
        caches[text] = cache.remove_batch_dim()
    return caches


def _application(edit: Edit, source: Tensor | None) -> Apply:
    if edit.op == "set":
        return lambda x, queries, keys: _set_cell(edit, x, queries, keys)

    def apply(x: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        where = _selection(edit, x, queries)
        if edit.op == "patch":
            taken, known = _at_positions(source, queries)
            where = where & _over_activation(known, x)
            return torch.where(where, taken.to(x), x)
        new = {
            "zero": lambda: torch.zeros_like(x),
            "scale": lambda: x * edit.value,
            "mean": lambda: source.to(x).expand_as(x),
            "add": lambda: x + edit.value * source.to(x),
        }[edit.op]()
        return torch.where(where, new, x)

    return apply


def _selection(edit: Edit, x: Tensor, queries: Tensor) -> Tensor:
    """Bool, broadcastable to x: the head and the positions that an edit is about."""
    where = torch.ones((1,) * x.ndim, dtype=torch.bool, device=x.device)
    if edit.head is not None:
        shape = [1] * x.ndim
        shape[edit.head_axis] = x.shape[edit.head_axis]
        where = where & (torch.arange(x.shape[edit.head_axis], device=x.device) == edit.head).view(shape)
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


def _source(edit: Edit, caches: dict[str, ActivationCache]) -> Float[Tensor, "..."] | None:
    """What an edit needs from its texts: [pos ...] for patch, [...] for mean and add."""
    if edit.text is None:
        return None
    activation = caches[edit.text][edit.hook_name]
    if edit.op == "patch":
        return activation
    if edit.op == "mean":
        return activation.mean(0)
    return activation[-1] - (caches[edit.minus][edit.hook_name][-1] if edit.minus else 0.0)


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
