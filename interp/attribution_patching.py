"""Attribution patching: every cell of a patching sweep guessed at once, from one backward pass.

A patch changes an activation by (source - base). If the metric were linear in it, the effect would be

    effect = sum over the activation of (source - base) * d metric / d activation, at the base run

which costs two forward passes and one backward for all cells together, where a sweep costs one run per cell.

    method "attribution"   the gradient at the base run
    method "eap_ig"        the mean of gradients at `steps` runs whose embeddings go from the base's to the source's (k / steps for
                           k = 1 ... steps): integrated gradients, which see past a flat spot at the base

Pitfall: it is a preview. It fails where the path to the metric is far from linear: a softmax of attention that is saturated has no
gradient although a patch would flip it, and effects that cancel at first order vanish. So it misses cells (false negatives), mostly
in residual streams and early layers: `false_negatives` marks them once the exact sweep is there.

Sources: Nanda 2023, "Attribution patching"; Syed et al. 2023, 2310.10348 (EAP); Kramar et al. 2024, 2403.00745 (AtP*, the failures);
Hanna et al. 2024, 2403.17806 (EAP-IG; edges there, the nodes of a sweep here).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import reduce
from jaxtyping import Bool, Float
from torch import Tensor

from gpt2_core.hooks import Watch
from gpt2_core.model import GPT2
from gpt2_core.streaming import end_id
from interp.edits import NO_EDITS, Plan
from interp.finite import last_logits
from interp.intervene import PlanHook, compile_plan
from interp.metrics import MetricFunction, evaluate, metric_name
from interp.patching import COMPONENTS, OF_HEADS, Mode, Prompt, Sweep, token_pair
from interp.run import Provenance, provenance
from interp.sweep import NAMES

METHODS = {
    "attribution": "attribution patching: the gradient at the patched run",
    "eap_ig": "EAP-IG: the mean gradient on the way to the other run",
}
SMALL = 0.5  # a preview below this share of the threshold has missed a cell whose effect is above it


@dataclass(frozen=True)
class Preview:
    """The guessed effect of each cell, with the axes of the sweep of the same component.

    effect: in the metric's unit, Float [layer pos], [layer head], [layer head pos] or [layer group]. clean, corrupted: the metric of
    the two runs. gap: how far the effects of all token embeddings together are from the true difference of the two runs, in the
    metric's unit; integrated gradients close it as steps grow.
    """

    effect: Float[Tensor, "layer ..."]
    component: str
    mode: str
    method: str
    label: str
    metric: str
    clean: float
    corrupted: float
    gap: float
    clean_tokens: tuple[int, ...]
    corrupted_tokens: tuple[int, ...]
    provenance: Provenance

    @property
    def values(self) -> Float[Tensor, "layer ..."]:
        """The guessed metric of each patched run: what stands in the exact sweep's `values`."""
        return self.effect + (self.corrupted if self.mode == "denoise" else self.clean)


@dataclass(frozen=True)
class FalseNegatives:
    """Cells that matter and were not foreseen. mask: Bool, the axes of the sweep; share: how many of the cells that matter are in it.

    A cell matters whose exact effect is at least `threshold` of the difference between the runs; it was not foreseen if the preview
    gave less than half of that threshold.
    """

    mask: Bool[Tensor, "layer ..."]
    threshold: float
    share: float


@torch.inference_mode(False)  # gradients, in a notebook that switched them off too
def preview(
    model: GPT2,
    clean_tokens: Prompt,
    corrupted_tokens: Prompt,
    metric: MetricFunction,
    component: str = "resid_pre",
    *,
    method: Literal["attribution", "eap_ig"] = "attribution",
    steps: int = 5,
    mode: Mode = "denoise",
    by_position: bool = False,
    n_groups: int = 32,
    plan: Plan = NO_EDITS,
    bos: bool = True,
) -> Preview:
    """Guesses what `patching.sweep` with the same arguments would find. steps: of "eap_ig". The metric must be differentiable.

    Raises ValueError for prompts that do not fit each other and for components and methods that do not exist.
    """
    _check(component, method, steps, by_position)
    tokens = token_pair(model, clean_tokens, corrupted_tokens, bos)
    starts_with_bos = tokens[0][0] == end_id(model)
    hook = compile_plan(model, plan, starts_with_bos)
    with torch.no_grad():
        ids = torch.tensor(tokens, device=model.wte.weight.device)
        embedded = model(ids, stop_at_layer=0)
    base, source = (1, 0) if mode == "denoise" else (0, 1)
    ends, values, _ = _run(model, embedded, component, hook, metric, gradients=False)
    alphas = [0.0] if method == "attribution" else [k / steps for k in range(1, steps + 1)]
    change = embedded[source] - embedded[base]
    path = torch.stack([embedded[base] + alpha * change for alpha in alphas])
    _, _, slopes = _run(model, path, component, hook, metric, gradients=True)
    precise = torch.float64 if change.dtype == torch.float64 else torch.float32  # sums of half-precision products
    products = [(a[source] - a[base]).to(precise) * slope for a, slope in zip(ends, slopes[:-1])]
    rows = [_cells(component, product, by_position, n_groups) for product in products]
    foreseen = (change * slopes[-1]).sum().item()
    clean, corrupted = values.tolist()
    return Preview(
        effect=torch.stack(rows).cpu(),
        component=component,
        mode=mode,
        method=method,
        label=METHODS[method],
        metric=metric_name(metric),
        clean=clean,
        corrupted=corrupted,
        gap=abs(foreseen - (values[source] - values[base]).item()),
        clean_tokens=tuple(tokens[0]),
        corrupted_tokens=tuple(tokens[1]),
        provenance=provenance(model, plan, starts_with_bos),
    )


def _run(
    model: GPT2, embedded: Tensor, component: str, hook: PlanHook | None, metric: MetricFunction, gradients: bool
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """(the component's activations per layer, the metric per row, mean over rows of its gradient by these and by the embeddings)."""
    short = {"neurons": "mlp_post", "result": "z"}.get(component, component)
    names = [f"blocks.{layer}.{NAMES[short]}" for layer in range(model.config.n_layers)]
    kept: dict[str, Tensor] = {}
    watch = Watch(lambda name: name in names, kept.__setitem__, hook)
    with torch.set_grad_enabled(gradients):
        x = embedded.detach().requires_grad_(gradients)
        # A copy, because a point's gradient is that of the tensor which is used from there on, and x is used at its own point.
        logits = last_logits(model, x.clone(), watch, 0)
        values = evaluate(metric, logits)
        points = [kept[name] for name in names]
        if not gradients:
            return points, values, []
        # At the last layer some positions never reach the prediction, and some metrics read nothing: their gradient is zero.
        found = torch.autograd.grad(values.sum(), [*points, x], allow_unused=True, materialize_grads=True)
    return points, values, [slope.mean(0) for slope in found]


def _cells(component: str, product: Tensor, by_position: bool, n_groups: int) -> Tensor:
    """Sums of (source - base) * gradient [pos ...] of one layer over each cell."""
    if component == "neurons":
        n = product.shape[-1]
        group = torch.arange(n, device=product.device) * n_groups // n
        return product.new_zeros(n_groups).index_add_(0, group, product.sum(0))
    if component == "pattern":
        return reduce(product, "h q k -> h q" if by_position else "h q k -> h", "sum")
    if component in OF_HEADS:
        return reduce(product, "p h e -> h p" if by_position else "p h e -> h", "sum")
    return product.sum(-1)


def false_negatives(preview: Preview, exact: Sweep, threshold: float = 0.1) -> FalseNegatives:
    """Marks the cells whose exact effect is at least `threshold` (a share of clean - corrupted) and that the preview missed.

    Raises ValueError where the two are not of the same cells, or where the runs do not differ.
    """
    mine, theirs = (
        (r.component, r.mode, r.metric, r.clean_tokens, r.corrupted_tokens, tuple(r.effect.shape)) for r in (preview, exact)
    )
    if mine != theirs:
        raise ValueError(
            f"The preview is of {mine[0]} {mine[5]} and the sweep of {theirs[0]} {theirs[5]}; give two of the same."
        )
    if exact.note is not None:
        raise ValueError(exact.note)
    if threshold <= 0:
        raise ValueError(f"threshold must be above 0, got {threshold}.")
    scale = abs(exact.clean - exact.corrupted)
    matters = exact.effect.abs() >= threshold * scale
    mask = matters & (preview.effect.abs() < SMALL * threshold * scale)
    return FalseNegatives(mask, threshold, mask.sum().item() / max(1, matters.sum().item()))


def _check(component: str, method: str, steps: int, by_position: bool) -> None:
    if component not in COMPONENTS:
        raise ValueError(f"{component!r} cannot be patched; expected one of {', '.join(COMPONENTS)}.")
    if by_position and component not in OF_HEADS:
        raise ValueError(f"by_position is for the parts of heads ({', '.join(OF_HEADS)}), not for {component}; leave it out.")
    if method not in METHODS:
        raise ValueError(f"No preview is called {method!r}; expected one of {', '.join(METHODS)}.")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")
