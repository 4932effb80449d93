"""What a steering edit does, in numbers, before one believes a text: where it points, how large it is, and where it breaks.

    aim(model, prompt, edit)                    the direction: its length beside the residual stream's, the tokens it stands for
    applied(model, prompt, edit)                the run with it has at that place what the edit says, and by how much not
    shift(before, after)                        how far the next token's distribution moved, and which tokens moved most
    sweep_values(model, prompt, edit, values)   probability of chosen tokens and loss on the prompt, for every coefficient

A coefficient means nothing by itself: the residual stream is ten times longer in one model or layer than in another. So the
length that is added stands beside the length of what it is added to, and `sweep_values` repeats everything along a random direction
of equal length: where the random direction breaks the model just as soon, the direction did nothing of its own.

Pitfalls: the tokens of a direction are what it would say at the very end; at an early layer the layers behind it read it otherwise.
A loss that falls while steering is no gain: the prompt may contain what is steered towards.

Sources: Turner et al. 2023, 2308.10248 (coefficients, perplexity); Arditi et al. 2024, 2406.11717; Rimsky et al. 2023, 2312.06681.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.distribution import kl, taken
from gpt2_core.model import GPT2
from gpt2_core.streaming import words_of
from interp.edits import EDITABLE, NO_EDITS, Edit, Plan
from interp.finite import refuse_not_finite
from interp.given import token_ids
from interp.intervene import Apply, PlanHook, application, compile_plan, paired_texts, sources
from interp.run import Check, Provenance, Run, judged, position_in, prompt_ids, provenance, trace
from interp.weights import Ends, vector_effect

SWEPT = ("add", "contrast", "clamp", "project", "scale")
CHECKED = ("add", "contrast", "project", "clamp")
LOGITS = 64e6  # bytes of logits computed at once


@dataclass(frozen=True)
class Aim:
    """Where an edit pushes. vectors: Float [row d_model], one row, or one per token of a contrast (`plus` and `minus` name them).

    norms: [row], their lengths; residual: mean length of the activation there, over the prompt's positions after the first.
    along: Float [pos], how much of the unit direction (of the neuron: its activation) the prompt has at each position; None for a contrast,
    which has no one direction. ends: the tokens that each row raises and lowers most, per unit of the vector.
    """

    vectors: Float[Tensor, "row d_model"]
    norms: Float[Tensor, " row"]
    residual: float
    along: Float[Tensor, " pos"] | None
    ends: Ends
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    provenance: Provenance


@torch.no_grad()
def aim(model: GPT2, prompt: str | Sequence[int], edit: Edit, *, plan: Plan = NO_EDITS, bos: bool = True, k: int = 10) -> Aim:
    """The direction of an edit at a component of d_model numbers, or of one neuron (its output weights), read on a prompt.

    Raises ValueError for an edit that has no direction.
    """
    edit.check(model.config)
    neuron = edit.neuron is not None
    if not neuron and (edit.text is None or edit.op in ("patch", "mean") or not _wide(edit)):
        raise ValueError(f"{edit.describe()} has no direction; give add, contrast, project or clamp in the residual stream.")
    name = f"blocks.{edit.layer}.hook_mlp_out" if neuron else edit.hook_name
    run = trace(model, prompt, plan, bos, [name, edit.hook_name])
    x = run.activations[name].float()
    plus = minus = ()
    if neuron:
        vectors = model.h[edit.layer].mlp.c_proj.weight[edit.neuron][None].float()
        along = run.activations[edit.hook_name][:, edit.neuron].float()
    else:
        source = sources(model, Plan((edit,)), bos)[0].float()
        vectors = source if edit.op == "contrast" else source[None]
        along = None if edit.op == "contrast" else x @ (source / source.norm().clamp(min=1e-30))
    if edit.op == "contrast":
        plus, minus = (tuple(words_of(model).strings(list(ids[0]))) for ids in paired_texts(model, edit, bos))
    residual = x[min(1, len(x) - 1) :].norm(dim=-1).mean().item()
    ends = vector_effect(model, vectors, k)
    return Aim(vectors, vectors.norm(dim=-1), residual, along, ends, plus, minus, run.provenance)


@torch.no_grad()
def applied(model: GPT2, prompt: str | Sequence[int], edit: Edit, *, plan: Plan = NO_EDITS, bos: bool = True) -> Check:
    """Whether the run with the edit has, at its place, exactly what the edit says: the direction more, or its share at the value.

    residual: the largest miss over the length of the activation there (of a neuron: over 1, if that is longer). Raises ValueError for an
    edit of one head or some positions only, and for one that is no steering.
    """
    known = edit.op == "clamp" if edit.neuron is not None else edit.op in CHECKED
    if not known or (edit.head, edit.positions) != (None, None):
        raise ValueError(f"{edit.describe()} cannot be checked; expected {', '.join(CHECKED)}, of all heads at all positions.")
    name = edit.hook_name
    before, after = (trace(model, prompt, p, bos, [name]).activations[name].float() for p in (plan, plan.add(edit)))
    if edit.neuron is not None:
        miss = (after[:, edit.neuron] - edit.value).abs() / max(1.0, abs(edit.value))
    else:
        source = sources(model, Plan((edit,)), bos)[0].float()
        if edit.op == "add":
            wanted = before + edit.value * source
        elif edit.op == "contrast":
            n = min(len(source), len(before))
            wanted = torch.cat([before[:n] + edit.value * source[:n], before[n:]])
        else:
            unit, target = source / source.norm(), 0.0 if edit.op == "project" else edit.value
            wanted = before + torch.outer(target - before @ unit, unit)
        miss = (after - wanted).norm(dim=-1) / wanted.norm(dim=-1).clamp(min=1)
    return judged("the edit does what it says at its place", miss.max().item(), model.cfg.dtype)


def _wide(edit: Edit) -> bool:
    return EDITABLE[edit.component][0].startswith("hook_")


@dataclass(frozen=True)
class Shift:
    """The next token before and after. kl: KL(before || after), bits. ids: the tokens whose probability rose and fell most, [k];
    *_before, *_after: their probabilities. Only tokens that rose (fell) at all."""

    position: int
    kl: float
    up_ids: Int[Tensor, " up"]
    up_before: Float[Tensor, " up"]
    up_after: Float[Tensor, " up"]
    down_ids: Int[Tensor, " down"]
    down_before: Float[Tensor, " down"]
    down_after: Float[Tensor, " down"]


@torch.no_grad()
def shift(before: Run, after: Run, position: int = -1, k: int = 8) -> Shift:
    """What changed between two runs of the same prompt, after one position."""
    if before.tokens != after.tokens:
        raise ValueError(
            f"The runs have {len(before)} and {len(after)} tokens that are not the same; compare runs of one prompt."
        )
    at = before.at(position)
    p, q = (run.logits[at].float().log_softmax(-1) for run in (before, after))
    moved = q.exp() - p.exp()
    parts = []
    for sign in (1, -1):
        top = (sign * moved).topk(min(k, len(moved)))
        ids = top.indices[top.values > 0]
        parts += [ids, p.exp()[ids], q.exp()[ids]]
    return Shift(at, max(0.0, kl(p, q).item()) / math.log(2), *parts)


@dataclass(frozen=True)
class Curve:
    """For every value: probability [value token] of the tokens after the position; surprisal [value], mean bits of the prompt's own
    tokens (NaN for a prompt of one token); kl [value], bits from the run without the edit."""

    probability: Float[Tensor, "value token"]
    surprisal: Float[Tensor, " value"]
    kl: Float[Tensor, " value"]


@dataclass(frozen=True)
class ValueSweep:
    """An edit at many values. base: one row, without it. control: along a random direction of equal length; None for one neuron.

    values: the coefficient of add and contrast, what clamp holds, the share (0..2) that project takes away, the factor of scale.
    """

    values: tuple[float, ...]
    targets: tuple[int, ...]
    position: int
    curve: Curve
    base: Curve
    control: Curve | None
    provenance: Provenance


@torch.no_grad()
def sweep_values(
    model: GPT2,
    prompt: str | Sequence[int],
    edit: Edit,
    values: Sequence[float | int],
    targets: Sequence[int],
    *,
    position: int = -1,
    plan: Plan = NO_EDITS,
    bos: bool = True,
    seed: int = 0,
) -> ValueSweep:
    """The effect of an edit (after those of a plan) for every value, in batches: one row per value.

    position: after which the targets' probability and the KL are read. seed: of the random direction.
    Raises ValueError for an edit without a value, and for no values.
    """
    if edit.op not in SWEPT or not values:
        raise ValueError(f"{edit.op} at {len(values)} values cannot be swept; give some values and one of {', '.join(SWEPT)}.")
    plan.add(edit).check(model.config)
    ids, targets = prompt_ids(model, prompt, bos), token_ids(targets, model.config.d_vocab)
    at, base_hook = position_in(len(ids), position), compile_plan(model, plan, bos)
    base, logp = _curve(model, ids, at, targets, base_hook, 1, None)
    source = sources(model, Plan((edit,)), bos)[0]
    amounts = torch.tensor([float(v) for v in values], device=model.wte.weight.device)

    def along(direction: Tensor | None) -> Curve:
        parts = []
        for rows in amounts.split(max(1, int(LOGITS // (4 * len(ids) * model.config.d_vocab)))):
            hook = _Rows(edit.hook_name, application(edit, direction, rows), base_hook)
            parts.append(_curve(model, ids, at, targets, hook, len(rows), logp)[0])
        return Curve(*(torch.cat([getattr(part, name) for part in parts]) for name in ("probability", "surprisal", "kl")))

    control = None if source is None else along(_random_like(source, seed))
    origin = provenance(model, plan.add(edit), bos)
    return ValueSweep(tuple(map(float, values)), targets, at, along(source), base, control, origin)


def _random_like(source: Tensor, seed: int) -> Tensor:
    """A random direction of the same length; of a contrast, one direction with every position's length."""
    noise = torch.randn(source.shape[-1], generator=torch.Generator().manual_seed(seed), dtype=torch.float32).to(source)
    return noise / noise.norm() * source.norm(dim=-1, keepdim=True)


class _Rows(PlanHook):
    """A plan's hook, then one more edit with a value per row."""

    def __init__(
        self, name: str, apply: Apply, inner: PlanHook | None, queries: Tensor | None = None, keys: Tensor | None = None
    ):
        super().__init__({name: [apply]}, queries, keys)
        self._own, self._inner = (name, apply), inner

    def wants(self, name: str) -> bool:
        return super().wants(name) or (self._inner is not None and self._inner.wants(name))

    def positioned(self, queries: Tensor, keys: Tensor) -> "_Rows":
        inner = self._inner and self._inner.positioned(queries, keys)
        return _Rows(*self._own, inner, queries, keys)

    def __call__(self, name: str, x: Tensor) -> Tensor:
        if self._inner is not None and self._inner.wants(name):
            x = self._inner(name, x)
        return super().__call__(name, x) if super().wants(name) else x


def _curve(model: GPT2, ids: list[int], at: int, targets: tuple[int, ...], hook, rows: int, base: Tensor | None):
    """One row per value, and the log-probabilities after the position, [row d_vocab]."""
    tokens = torch.tensor([ids] * rows)
    logits = model(tokens, hook=hook)
    refuse_not_finite(model, logits, tokens, hook)
    logp = logits.float().log_softmax(-1)
    here = logp[:, at]
    truth = tokens[:, 1:].to(logp.device)
    lost = [-taken(row[:-1], answer)[0].mean() / math.log(2) for row, answer in zip(logp, truth)]
    moved = torch.zeros(rows, device=here.device) if base is None else kl(base, here).clamp(min=0) / math.log(2)
    chosen = here[:, torch.tensor(targets, dtype=torch.long, device=here.device)].exp()
    return Curve(chosen, torch.stack(lost), moved), here
