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
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.hooks import HookFunction
from gpt2_core.model import GPT2
from interp.ablation import ZERO, Ablation, Part, ablation_hook
from interp.edits import NO_EDITS, Plan
from interp.intervene import compile_plan
from interp.metrics import AnswerMetric
from interp.run import Check, Provenance, provenance


@dataclass(frozen=True)
class DirectEffects:
    """What each part adds to the logit difference at the last position, logits. heads: [prompt layer head], mlps: [prompt layer].

    rest: [prompt], of the embeddings, the attention biases b_O and the final LayerNorm's bias. scale: [prompt], the final LayerNorm's.
    total: the logit difference itself; heads + mlps + rest = total is checked.
    """

    heads: Float[Tensor, "prompt layer head"]
    mlps: Float[Tensor, "prompt layer"]
    rest: Float[Tensor, " prompt"]
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
    bos: bool = True,
) -> Compensation:
    """Direct effects on a logit difference before and after heads (or MLPs, neurons) are knocked out together.

    metric: a logit difference with its answers, `PromptBatch.metric`. Raises ValueError for another metric, and for a whole attention
    layer, whose output is no longer the sum of its heads: name its heads instead.
    """
    if any(part.kind == "attn" for part in parts) or not parts:
        raise ValueError("Name the heads, MLPs or neurons to knock out; for an attention layer, name all of its heads.")
    inner = compile_plan(model, plan, bos)
    hook = ablation_hook(model, tokens, parts, ablation, positions, inner)
    before, after = (direct_effects(model, tokens, metric, each) for each in (inner, hook))
    return Compensation(tuple(parts), ablation.describe(), before, after, provenance(model, plan, bos))


@torch.no_grad()
def direct_effects(
    model: GPT2, tokens: Int[Tensor, "prompt pos"], metric: AnswerMetric, hook: HookFunction | None = None
) -> DirectEffects:
    """The direct effects of a run under a hook, with the final LayerNorm's scale of this run."""
    n = model.config.n_layers
    names = [f"blocks.{layer}.{site}" for layer in range(n) for site in ("attn.hook_z", "hook_mlp_out")]
    names += ["blocks.0.hook_resid_pre", "ln_final.hook_scale"]
    logits, cache = model.run_with_cache(tokens, names, hook=hook, logits_at=-1)
    last = {name: cache[name][:, -1].double() for name in names if name != "ln_final.hook_scale"}
    scale = cache["ln_final.hook_scale"][:, -1].double()  # the only position that is unembedded
    answers, ln = metric.direction(model.W_U).double(), model.ln_f
    direction = answers * ln.weight.double()
    direction = (direction - direction.mean(-1, keepdim=True)) / scale  # centring the direction centres what it reads
    results = [
        einsum(last[f"blocks.{i}.attn.hook_z"], model.h[i].attn.W_O.double(), direction, "p h e, h e d, p d -> p h")
        for i in range(n)
    ]
    mlps = [(last[f"blocks.{i}.hook_mlp_out"] * direction).sum(-1) for i in range(n)]
    fixed = last["blocks.0.hook_resid_pre"] + model.b_O.double().sum(0)
    rest = (fixed * direction).sum(-1) + answers @ ln.bias.double()
    total = metric(logits[:, 0]).double()
    heads, mlp = torch.stack(results, 1), torch.stack(mlps, 1)
    residual = (heads.sum((1, 2)) + mlp.sum(1) + rest - total).abs().max().item()
    tolerance = 1e-3 if model.cfg.dtype == torch.float32 else 1e-6 if model.cfg.dtype == torch.float64 else 0.5
    check = Check("direct effects sum to the logit difference", residual, tolerance)
    return DirectEffects(heads, mlp, rest, scale[:, 0], total, check)


def _of(effects: DirectEffects, part: Part) -> Float[Tensor, " prompt"]:
    return effects.heads[:, part.layer, part.index[0]] if part.kind == "head" else effects.mlps[:, part.layer]
