"""Who takes over when heads are knocked out: the direct effect of every other head, before and after.

The logit difference is a sum over everything that was written into the residual stream at the last position (direct logit
attribution), so after a knock-out one can see whose share has grown. In GPT-2 small, without its three name movers, other heads
("backup name movers") copy the name instead, and most of the expected loss does not happen.

Each run is read with its own final LayerNorm scale, held fixed for the sum (LN frozen at each run): shares add up exactly in both
runs, but a run whose residual stream has become smaller makes every share larger. `scale_before` and `scale_after` show that
part. The shares of single heads are of weights as released; their value biases are theirs (folding moves them to b_O).

Pitfall: a share that grows is not yet a function that was taken over: the head may only be less suppressed (copy suppression,
2310.04625), and MLPs and LayerNorm repair too (Rushing and Nanda 2024, 2402.15390).

Sources: Wang et al. 2022, 2211.00593, section 3.3; McGrath et al. 2023, 2307.15771.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.hooks import HookFunction
from gpt2_core.model import GPT2
from interp.ablation import ZERO, Ablation, Part, ablation_hook
from interp.direct import STREAM, DirectReader, edit_reads, edited_places
from interp.edits import NO_EDITS, Plan
from interp.finite import refuse_not_finite
from interp.given import each_a
from interp.intervene import compile_plan
from interp.metrics import AnswerMetric, metric_name
from interp.run import Check, Provenance, begins_with_end, judged, provenance


@dataclass(frozen=True)
class DirectEffects:
    """What each part adds to the logit difference at the last position, logits. heads: [prompt layer head], mlps: [prompt layer].

    rest: [prompt], of the embeddings and of all biases (b_O, the final LayerNorm's, b_U). edits: [prompt], of what a plan did to the
    residual stream or to attn_out themselves. scale: [prompt], the final LayerNorm's. total: the logit difference itself;
    heads + mlps + rest + edits = total is checked.
    """

    heads: Float[Tensor, "prompt layer head"]
    mlps: Float[Tensor, "prompt layer"]
    rest: Float[Tensor, " prompt"]
    edits: Float[Tensor, " prompt"]
    scale: Float[Tensor, " prompt"]
    total: Float[Tensor, " prompt"]
    check: Check


@dataclass(frozen=True)
class Grown:
    """A part whose direct effect changed: means over prompts, logits."""

    part: Part
    before: float
    after: float

    @property
    def change(self) -> float:
        return self.after - self.before


@dataclass(frozen=True)
class Compensation:
    """Direct effects before and after `parts` were knocked out."""

    parts: tuple[Part, ...]
    ablation: str
    before: DirectEffects
    after: DirectEffects
    provenance: Provenance

    @property
    def lost(self) -> Float[Tensor, " prompt"]:
        """The direct effect that went with the knocked-out parts: what the drop would be if nothing else changed.

        Of neurons, the change of their whole MLP.
        """
        whole = {part if part.kind == "head" else Part.mlp(part.layer) for part in self.parts}
        return sum((_of(self.before, part) - _of(self.after, part) for part in whole), torch.zeros_like(self.before.total))

    @property
    def drop(self) -> Float[Tensor, " prompt"]:
        """By how much the logit difference really fell."""
        return self.before.total - self.after.total

    @property
    def repaired(self) -> float:
        """The share of the mean loss that did not happen: 0 none of it, 1 all of it; NaN where nothing was lost."""
        lost = self.lost.mean().item()
        return 1 - self.drop.mean().item() / lost if lost else float("nan")

    def grown(self, n: int | None = None, mlps: bool = False) -> tuple[Grown, ...]:
        """The other heads (with `mlps`, MLPs too) by the growth of their mean direct effect, the largest first."""
        layers, heads = self.before.heads.shape[1:]
        others = [Part.head(layer, head) for layer in range(layers) for head in range(heads)]
        others += [Part.mlp(layer) for layer in range(layers)] * mlps
        changed = [
            Grown(part, _of(self.before, part).mean().item(), _of(self.after, part).mean().item())
            for part in others
            if part not in self.parts
        ]
        return tuple(sorted(changed, key=lambda grown: -grown.change)[:n])


@torch.no_grad()
def compensation(
    model: GPT2,
    tokens: Int[Tensor, "prompt pos"],
    metric: AnswerMetric,
    parts: Sequence[Part],
    ablation: Ablation = ZERO,
    positions: Sequence[int] | Int[Tensor, "prompt n"] | None = None,
    plan: Plan = NO_EDITS,
    bos: bool | None = None,
) -> Compensation:
    """Direct effects on a logit difference before and after heads (or MLPs, neurons) are knocked out together.

    metric: a logit difference with its answers, `PromptBatch.metric`. bos: for the texts of the plan; None is as the prompts have it.
    Raises ValueError for another metric, and for a whole attention layer, whose output is no longer the sum of its heads: name its
    heads instead.
    """
    bos = begins_with_end(model, tokens) if bos is None else bos
    if any(part.kind == "attn" for part in each_a(Part, parts, "parts")) or not parts:
        raise ValueError("Name the heads, MLPs or neurons to knock out; for an attention layer, name all of its heads.")
    inner = compile_plan(model, plan, bos)
    hook = ablation_hook(model, tokens, parts, ablation, positions, inner)
    before, after = (direct_effects(model, tokens, metric, each, plan) for each in (inner, hook))
    return Compensation(tuple(parts), ablation.describe(), before, after, provenance(model, plan, bos))


@torch.no_grad()
def direct_effects(
    model: GPT2,
    tokens: Int[Tensor, "prompt pos"],
    metric: AnswerMetric,
    hook: HookFunction | None = None,
    plan: Plan = NO_EDITS,
) -> DirectEffects:
    """The direct effects of a run under a hook, with the final LayerNorm's scale of this run.

    plan: the edits that `hook` makes, so that those of the residual stream itself are told apart; they are not made again.
    """
    if not isinstance(metric, AnswerMetric):
        raise ValueError(
            f"Expected a logit difference from `answer_metric`, which tells its direction, got {metric_name(metric)}."
        )
    layers, places = range(model.config.n_layers), edited_places(plan, (*STREAM, "attn_out"))
    names = [f"blocks.{layer}.{site}" for layer in layers for site in ("attn.hook_z", "hook_mlp_out")]
    names += ["hook_embed", "hook_pos_embed", "ln_final.hook_scale", *edit_reads(places)]
    logits, cache = model.run_with_cache(tokens, names, hook=hook, logits_at=-1)
    refuse_not_finite(model, logits, tokens, hook)
    # b_U is a row that is read like W_U: the same difference of the same answers.
    target, offset = (metric.direction(w.detach().double()) for w in (model.W_U, model.b_U[None]))
    reader = DirectReader(model, lambda name: cache[name][:, -1], target, offset[:, 0])
    heads, mlps = (
        torch.stack(rows, 1) for rows in zip(*((reader.heads(i), reader(f"blocks.{i}.hook_mlp_out")) for i in layers))
    )
    rest = sum([*reader.embeddings().values(), *reader.biases().values(), reader.read(model.b_O.sum(0, dtype=torch.float64))])
    edits, total = reader.edits(places), metric(logits[:, 0]).double()
    terms = [heads.flatten(1), mlps, rest[:, None], edits[:, None]]
    residual = (torch.cat(terms, 1).sum(1) - total).abs().max().item()
    size = torch.cat(terms, 1).abs().sum(1).max().item()
    check = judged("direct effects sum to the logit difference", residual, model.cfg.dtype, size)
    return DirectEffects(heads, mlps, rest, edits, reader.scale[:, 0], total, check)


def _of(effects: DirectEffects, part: Part) -> Float[Tensor, " prompt"]:
    return effects.heads[:, part.layer, part.index[0]] if part.kind == "head" else effects.mlps[:, part.layer]
