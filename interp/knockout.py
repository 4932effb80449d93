"""Which heads a behaviour depends on, asked of all of them: each is ablated alone and the metric is measured again.

    found = knock_out_search(model, batch.clean, batch.metric, Ablation.mean(reference))
    found.mean_effect                                            # [layer head], metric without the head - metric with it

It is fast because nothing is computed twice: the residual stream before a layer is the same whichever of the layer's heads is
missing, so the rows of one batch are the heads (times the prompts), and the run begins at that layer. The result is the same as
from a loop over whole runs.

Pitfalls: a search over single heads cannot see two heads that stand in for each other, of which either alone is not missed; nor
does it find heads that only matter in other templates. With many heads, some effects are large by chance: look at intervals over
prompts (`interp.statistics.bootstrap`) and at a null baseline. See `interp.ablation` for what each ablation takes away.

Sources: Wang et al. 2022, 2211.00593; McGrath et al. 2023, 2307.15771.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.hooks import HookFunction
from gpt2_core.model import GPT2
from interp.ablation import ZERO, Ablation, Metric, Part, Replace, chosen_positions, replacements
from interp.edits import NO_EDITS, Plan
from interp.finite import last_logits, refuse_not_finite
from interp.intervene import compile_plan
from interp.metrics import evaluate
from interp.run import Provenance, begins_with_end, provenance

COMPONENTS = ("head", "attn", "mlp")
ROWS = 64  # prompts times heads in one batch


@dataclass(frozen=True)
class KnockOuts:
    """values: the metric without each part, [prompt layer unit]; a unit is a head, or there is one a layer. baseline: [prompt].

    ablation: what took the place of the part, in words.
    """

    values: Float[Tensor, "prompt layer unit"]
    baseline: Float[Tensor, " prompt"]
    component: str
    ablation: str
    provenance: Provenance

    @property
    def effects(self) -> Float[Tensor, "prompt layer unit"]:
        """The metric without the part less the metric with it: negative where the part helps."""
        return self.values - self.baseline[:, None, None]

    @property
    def mean_effect(self) -> Float[Tensor, "layer unit"]:
        return self.effects.mean(0)


@dataclass(frozen=True)
class KnockOutStep:
    """Some heads of a layer, done: values [prompt unit] of `units`; baseline [prompt]: with all. done and total count parts."""

    layer: int
    units: tuple[int, ...]
    values: Float[Tensor, "prompt unit"]
    baseline: Float[Tensor, " prompt"]
    done: int
    total: int


@torch.no_grad()
def knock_out_search(
    model: GPT2,
    tokens: Int[Tensor, "prompt pos"],
    metric: Metric,
    ablation: Ablation = ZERO,
    component: str = "head",
    positions: list[int] | Int[Tensor, "prompt n"] | None = None,
    plan: Plan = NO_EDITS,
    bos: bool | None = None,
    rows: int = ROWS,
) -> KnockOuts:
    """The metric with each head (or attention layer, or MLP) taken away alone.

    metric: last-position logits [prompt d_vocab], all prompts in order, to [prompt]. positions: where to ablate, None is
    everywhere. rows: at most so many prompts times heads run at once (at least one head). Raises ValueError as `ablate` does.
    """
    bos = begins_with_end(model, tokens) if bos is None else bos
    steps = list(knock_outs(model, tokens, metric, ablation, component, positions, plan, bos, rows))
    values = torch.cat([step.values for step in steps], 1).view(len(tokens), model.config.n_layers, -1)
    return KnockOuts(values, steps[0].baseline, component, ablation.describe(), provenance(model, plan, bos))


@torch.no_grad()
def knock_outs(
    model: GPT2,
    tokens: Int[Tensor, "prompt pos"],
    metric: Metric,
    ablation: Ablation = ZERO,
    component: str = "head",
    positions: list[int] | Int[Tensor, "prompt n"] | None = None,
    plan: Plan = NO_EDITS,
    bos: bool | None = None,
    rows: int = ROWS,
) -> Iterator[KnockOutStep]:
    """`knock_out_search` as it goes, from the first layer to the last; stop asking and it stops."""
    if component not in COMPONENTS:
        raise ValueError(f"Only {', '.join(COMPONENTS)} can be searched, got {component!r}.")
    inner = compile_plan(model, plan, begins_with_end(model, tokens) if bos is None else bos)
    at = chosen_positions(tokens, positions)
    n_layers, n_units = model.config.n_layers, model.config.n_heads if component == "head" else 1
    parts = [Part(component, layer) for layer in range(n_layers)]
    values = replacements(model, tokens, {part.hook_name for part in parts}, ablation, inner)
    before, last = before_each_layer(model, tokens, inner)
    baseline = evaluate(metric, last)
    at_once = max(1, rows // len(tokens))
    for part in parts:
        for units in torch.arange(n_units).split(at_once):
            own = {part.hook_name: _one_missing_a_row(units.tolist(), values[part.hook_name], at, component == "head")}
            labels = [
                f"without {Part.head(part.layer, unit).label if component == 'head' else part.label}" for unit in units.tolist()
            ]
            many = before[part.layer].repeat(len(units), *(1,) * (before[part.layer].ndim - 1))
            logits = last_logits(model, many, Replace(own, inner), part.layer or None, labels)
            found = torch.stack([evaluate(metric, chunk) for chunk in logits.chunk(len(units))], 1)
            done = part.layer * n_units + int(units[-1]) + 1
            yield KnockOutStep(part.layer, tuple(units.tolist()), found, baseline, done, n_layers * n_units)


def before_each_layer(
    model: GPT2, tokens: Tensor, hook: HookFunction | None
) -> tuple[list[Tensor], Float[Tensor, "prompt d_vocab"]]:
    """What each layer's run starts from (the tokens, and then what the layer before handed on), and the last-position logits.

    What is handed on is resid_post of the layer before and not resid_pre of this one, so that an edit of resid_pre acts once and not twice.
    """
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(model.config.n_layers - 1)]
    logits, cache = model.run_with_cache(tokens, names, hook=hook, logits_at=-1)
    refuse_not_finite(model, logits, tokens, hook)
    return [tokens, *(cache[name] for name in names)], logits[:, 0]


def _one_missing_a_row(units: list[int], value: Tensor, at: Tensor | None, heads: bool) -> Callable[[Tensor], Tensor]:
    """Replaces, in copy i of the prompts, head units[i] (or, without heads, the whole activation)."""

    def replace(x: Tensor) -> Tensor:
        copies = x.view(len(units), -1, *x.shape[1:])  # [copy prompt pos ...]
        where = torch.ones((1,) * copies.ndim, dtype=torch.bool, device=x.device)
        if heads:
            missing = torch.arange(x.shape[2], device=x.device) == torch.tensor(units, device=x.device)[:, None]
            where = missing[:, None, None, :, None]
        if at is not None:
            where = where & at.to(x.device).view(1, *at.shape, *(1,) * (x.ndim - 2))
        return torch.where(where, value.to(x), copies).view(x.shape)

    return replace
