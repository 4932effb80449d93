"""Which tokens of the prompt a prediction depends on, by gradients with respect to the token embeddings.

`gradient_x_input`: the gradient of the target at each embedding, times the embedding: the first-order guess of what is lost if the
embedding went to zero. One backward pass, and blind to saturation: a token that decides may have a gradient of nothing.
`integrated_gradients`: the gradient averaged along the straight path from a baseline to the embedding, times their difference.
Its sum is f(prompt) - f(baseline), up to the error of the sum over steps, which is kept (`check`).

The positions keep their embeddings; only the tokens' are varied. Baselines, none of which is neutral: "zero" (a vector that no
token has), "mean" (of the embeddings of the vocabulary), "endoftext" (`<|endoftext|>` in every place). Pitfall: values are
relative to the baseline and to the target, they say nothing of what the model does with a token, and a token's embedding also
acts where it is copied from. Check what matters by changing it (`interp.edits`).

Sources: Simonyan et al. 2013, 1312.6034; Sundararajan et al. 2017, 1703.01365 (integrated gradients, completeness).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.model import GPT2
from gpt2_core.streaming import end_id
from interp.intervene import compile_plan
from interp.run import Check, Provenance, Run
from interp.targets import Target

BASELINES = ("zero", "mean", "endoftext")
BATCH = 16  # points of the path in one forward pass
COMPLETE = 0.01  # of f(prompt) - f(baseline): what the sum over the path may be off by

Baseline = Literal["zero", "mean", "endoftext"]
Output = Literal["logit", "log-probability"]


@dataclass(frozen=True)
class Saliency:
    """values: [pos], signed, one per token, 0 behind `position`; strings: one per token.

    gradient_norm: [pos], the length of the gradient at each embedding, at the prompt itself. value: the target at the prompt.
    """

    method: str
    target: str
    output: str
    position: int
    values: Float[Tensor, " pos"]
    gradient_norm: Float[Tensor, " pos"]
    value: float
    strings: tuple[str, ...]
    provenance: Provenance


@dataclass(frozen=True)
class IntegratedGradients(Saliency):
    """baseline: which; steps: points of the path (Gauss-Legendre); baseline_value: the target at the baseline.

    check: completeness, |sum of values - (value - baseline_value)|; more steps make it smaller.
    """

    baseline: str
    steps: int
    baseline_value: float
    check: Check


@torch.inference_mode(False)  # gradients, in a notebook that switched them off too
def gradient_x_input(model: GPT2, run: Run, target: Target, position: int = -1, output: Output = "logit") -> Saliency:
    """The target's gradient at each token embedding, times the embedding, summed over d_model. The run's plan is in force.

    output: "logit" is the target as it stands; "log-probability" is that of its token. Raises ValueError for a direction.
    """
    path = _Path(model, run, target, position, output)
    value, gradient = path.gradient(path.embeddings[None])
    values = (gradient[0] * path.embeddings).sum(-1)
    return Saliency("gradient x input", *path.described(values, gradient[0]), value.item(), run.strings, run.provenance)


@torch.inference_mode(False)
def integrated_gradients(
    model: GPT2,
    run: Run,
    target: Target,
    position: int = -1,
    baseline: Baseline = "zero",
    steps: int = 32,
    output: Output = "logit",
) -> IntegratedGradients:
    """The mean gradient on the way from a baseline to the prompt, times the way, per token. The run's plan is in force.

    steps: gradients taken, at Gauss-Legendre points. Raises ValueError for a direction, an unknown baseline, or no steps.
    """
    if baseline not in BASELINES or steps < 1:
        raise ValueError(f"Expected a baseline of {', '.join(BASELINES)} and at least one step, got {baseline!r} and {steps}.")
    path = _Path(model, run, target, position, output)
    start = path.baseline(baseline)
    way = path.embeddings - start
    points, weights = (torch.tensor(x, dtype=way.dtype, device=way.device) / 2 for x in np.polynomial.legendre.leggauss(steps))
    mean = torch.zeros_like(way)
    for point, weight in zip((points + 0.5).split(BATCH), weights.split(BATCH)):
        _, gradient = path.gradient(start + point[:, None, None] * way)
        mean += (weight[:, None, None] * gradient).sum(0)
    ends, gradients = path.gradient(torch.stack([path.embeddings, start]))
    values, (value, at_start) = (mean * way).sum(-1), ends.tolist()
    residual = abs(values.sum().item() - (value - at_start))
    check = Check("values sum to f(prompt) - f(baseline)", residual, max(COMPLETE * abs(value - at_start), 1e-4))
    described = path.described(values, gradients[0])
    method = f"integrated gradients, {baseline} baseline, {steps} steps"
    return IntegratedGradients(method, *described, value, run.strings, run.provenance, baseline, steps, at_start, check)


class _Path:
    """The target as a function of the token embeddings of a run, and its gradient."""

    def __init__(self, model: GPT2, run: Run, target: Target, position: int, output: str):
        if output not in ("logit", "log-probability"):
            raise ValueError(f"output is 'logit' or 'log-probability', got {output!r}.")
        if target.token is None or (output == "log-probability" and target.minus is not None):
            raise ValueError(f"{target.label} has no {output}; make the target with `logit(model, token)`.")
        self.model, self.target, self.position, self.output = model, target, run.at(position), output
        self.hook = compile_plan(model, run.plan, run.provenance.bos)
        self.tokens = torch.tensor(run.tokens, device=model.W_E.device)
        self.embeddings = model.W_E.detach()[self.tokens]

    def baseline(self, name: str) -> Float[Tensor, "pos d_model"]:
        table = self.model.W_E.detach()
        rows = {"zero": lambda: torch.zeros_like(table[0]), "mean": lambda: table.mean(0)}
        return rows.get(name, lambda: table[end_id(self.model)])().expand_as(self.embeddings)

    def gradient(
        self, embeddings: Float[Tensor, "n pos d_model"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n pos d_model"]]:
        """The target for each row of embeddings, and its gradient."""
        with torch.enable_grad():
            leaf = embeddings.detach().requires_grad_()
            resid = leaf + self.model.W_pos.detach()[: leaf.shape[1]]
            # Tokens behind the position are read all the same, so that edits find the positions they were made for.
            logits = self.model(resid, start_at_layer=0, hook=self.hook, logits_at=self.position)[:, 0]
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            if self.output == "log-probability":
                value = logits.log_softmax(-1)[:, self.target.token]
            else:
                value = self.target.of_logits(logits)
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), gradient

    def described(self, values: Tensor, gradient: Tensor) -> tuple[str, str, int, Tensor, Tensor]:
        return self.target.label, self.output, self.position, values, gradient.norm(dim=-1)
