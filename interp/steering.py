"""Steering: pushing the residual stream in a direction while the model writes.

    contrast(model, "Love", "Hate", layer)          what two prompts differ in, token by token (ActAdd)
    mean_difference(model, kind, unkind, layer)     what two sets of texts differ in at their last token: one direction
    AddContrast(c, 5)                               the difference is added to the first tokens of the prompt, aligned from the front
    AddDirection(layer, d, 4)                       a direction is added at every position (or at some)
    ProjectOut(layer, d)                            what points along it is taken away
    ClampDirection(layer, d, 3), ClampNeuron(layer, 17, 3)    its share, or a neuron's activation, is held at a value
    before_after(model, prompt, [operation, ...])   both texts with the same seed

All of it also exists as data, which goes into a plan, an address and every analysis, where the direction comes from texts: `Edit.add`,
`Edit.contrast`, `Edit.project`, `Edit.clamp`, `Edit.clamp_neuron`. Here a direction may be any tensor. What a coefficient does is
measured in `interp.steering_effect`.

Pitfalls: the coefficient has a narrow window between no effect and babble, and depends on the layer, whose residual norm
stands beside the contrast (`typical_norm`). One fluent example proves little: try other prompts and seeds, and a random direction
of the same length. The first token is odd (its norm is huge in trained models); a contrast taken with `<|endoftext|>` in front is
exactly 0 there, one taken without is not.

Sources: Turner et al. 2023, 2308.10248 (ActAdd: padding with spaces, front alignment); Rimsky et al. 2023, 2312.06681 (mean
difference); Arditi et al. 2024, 2406.11717 (projecting out).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.distribution import kl
from gpt2_core.generate import generate
from gpt2_core.hooks import Watch
from gpt2_core.model import GPT2
from gpt2_core.results import Generation
from interp.changes import Change, ChangeHook, chosen, site
from interp.directions import Contrast, contrast, mean_difference
from interp.edits import NO_EDITS, Plan
from interp.finite import last_logits
from interp.given import each_a
from interp.intervene import compile_plan
from interp.run import Check, Provenance, prompt_ids, provenance

__all__ = [
    "AddContrast",
    "AddDirection",
    "BeforeAfter",
    "ClampDirection",
    "ClampNeuron",
    "Contrast",
    "Operation",
    "ProjectOut",
    "before_after",
    "contrast",
    "mean_difference",
    "steering_hook",
]


@dataclass(frozen=True)
class AddContrast:
    """coefficient * contrast is added to the first positions of the prompt, token by token."""

    contrast: Contrast
    coefficient: int | float

    def hook_name(self, model: GPT2) -> str:
        return site(model.config, self.contrast.component, self.contrast.layer)

    def change(self, x: Tensor, queries: Tensor) -> Tensor:
        vectors = self.contrast.vectors.to(x)
        known = (queries >= 0) & (queries < len(vectors))
        added = self.coefficient * vectors[queries.clamp(0, len(vectors) - 1)]
        return torch.where(known[..., None], x + added, x)

    def miss(self, x: Tensor, queries: Tensor) -> float | None:
        return None


@dataclass(frozen=True)
class _AlongDirection:
    """What the operations on a direction share. positions: None is every position, generated ones too."""

    layer: int
    direction: Float[Tensor, " d_model"]

    def hook_name(self, model: GPT2) -> str:
        if self.direction.shape[0] != model.config.d_model or not self.direction.norm() > 0:
            raise ValueError(
                f"A direction has {model.config.d_model} numbers, not all 0; got {self.direction.shape[0]} "
                f"of norm {self.direction.norm().item():.3g}."
            )
        return site(model.config, self.component, self.layer)

    def change(self, x: Tensor, queries: Tensor) -> Tensor:
        where = chosen(queries, self.positions)[..., None]
        return torch.where(where, x + self.push(x, self.direction.to(x)), x)

    def miss(self, x: Tensor, queries: Tensor) -> float | None:
        if (value := self.target) is None:
            return None
        unit = self.direction.to(x) / self.direction.to(x).norm()
        gap = (x @ unit - value).abs() / x.norm(dim=-1).clamp(min=1)
        return torch.where(chosen(queries, self.positions), gap, 0).max().item()


@dataclass(frozen=True)
class AddDirection(_AlongDirection):
    """coefficient * direction is added (the direction as it is, not scaled to length 1)."""

    coefficient: int | float = 1.0
    component: str = "resid_pre"
    positions: tuple[int, ...] | None = None
    target = None

    def push(self, x: Tensor, direction: Tensor) -> Tensor:
        return (self.coefficient * direction).expand_as(x)


@dataclass(frozen=True)
class ClampDirection(_AlongDirection):
    """The component along the unit direction becomes `value`; everything at right angles stays."""

    value: int | float = 0.0
    component: str = "resid_pre"
    positions: tuple[int, ...] | None = None
    target = property(lambda self: self.value)

    def push(self, x: Tensor, direction: Tensor) -> Tensor:
        unit = direction / direction.norm()
        return (self.value - x @ unit)[..., None] * unit


@dataclass(frozen=True)
class ProjectOut(_AlongDirection):
    """The component along the direction is taken away (directional ablation)."""

    component: str = "resid_pre"
    positions: tuple[int, ...] | None = None
    target = 0.0

    def push(self, x: Tensor, direction: Tensor) -> Tensor:
        unit = direction / direction.norm()
        return -(x @ unit)[..., None] * unit


@dataclass(frozen=True)
class ClampNeuron:
    """A neuron's activation (after the GELU) is held at `value`."""

    layer: int
    neuron: int
    value: int | float
    positions: tuple[int, ...] | None = None

    def hook_name(self, model: GPT2) -> str:
        if not 0 <= self.layer < model.config.n_layers or not 0 <= self.neuron < model.config.d_mlp:
            raise ValueError(
                f"L{self.layer}N{self.neuron} does not exist, {model.config.model_name} has layers "
                f"0..{model.config.n_layers - 1} of neurons 0..{model.config.d_mlp - 1}."
            )
        return f"blocks.{self.layer}.mlp.hook_post"

    def change(self, x: Tensor, queries: Tensor) -> Tensor:
        here = torch.arange(x.shape[-1], device=x.device) == self.neuron
        return torch.where(chosen(queries, self.positions)[..., None] & here, torch.full_like(x, self.value), x)

    def miss(self, x: Tensor, queries: Tensor) -> float | None:
        gap = (x[..., self.neuron] - self.value).abs()
        return torch.where(chosen(queries, self.positions), gap, 0).max().item()


Operation = AddContrast | AddDirection | ProjectOut | ClampDirection | ClampNeuron


@dataclass(frozen=True)
class BeforeAfter:
    """Two generations with the same seed and settings: without the operations and with them.

    kl: KL(before || after) of the token after the prompt, bits. checks: for every projection and clamp, what is left of the
    difference to its target at its place, after all operations there have acted.
    """

    before: Generation
    after: Generation
    kl: float
    checks: tuple[Check, ...]
    provenance: Provenance


def steering_hook(model: GPT2, operations: Sequence[Operation], plan: Plan = NO_EDITS, bos: bool = True) -> ChangeHook:
    """The hook of steering operations, after the edits of a plan; for `generate`, `stream` and `model(tokens, hook=...)`.

    Raises ValueError for an operation that does not fit the model.
    """
    operations = each_a(Operation, operations, "operations")
    changes: list[tuple[str, Change]] = [(op.hook_name(model), op.change) for op in operations]
    return ChangeHook(changes, compile_plan(model, plan, bos))


@torch.no_grad()
def before_after(
    model: GPT2,
    prompt: str | Sequence[int],
    operations: Sequence[Operation],
    *,
    plan: Plan = NO_EDITS,
    max_new_tokens: int = 40,
    temperature: float | int = 1.0,
    top_k: int | None = None,
    top_p: float | int | None = None,
    seed: int = 0,
    n: int = 1,
    bos: bool = True,
) -> BeforeAfter:
    """What the model writes without and with the operations; a plan is in force in both.

    Raises ValueError for operations that do not fit the model, a contrast longer than the prompt, and a text that would slide out of
    the context, where positions change their meaning.
    """
    ids, steered = prompt_ids(model, prompt, bos), steering_hook(model, operations, plan, bos)
    longest = max((len(op.contrast.vectors) for op in operations if isinstance(op, AddContrast)), default=0)
    if longest > len(ids):
        raise ValueError(
            f"The contrast has {longest} tokens, the prompt {len(ids)}; lengthen the prompt, or shorten the contrast."
        )
    if len(ids) + max_new_tokens - 1 > model.config.n_ctx:
        raise ValueError(
            f"A prompt of {len(ids)} tokens and {max_new_tokens} new ones exceed the context of {model.config.n_ctx}; shorten one."
        )
    plain = compile_plan(model, plan, bos)
    settings = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    p, q = (last_logits(model, torch.tensor([ids]), hook)[0].float().log_softmax(-1) for hook in (plain, steered))
    texts = [generate(model, ids, hook=hook, seed=seed, n=n, **settings) for hook in (plain, steered)]
    return BeforeAfter(
        *texts, kl(p, q).item() / math.log(2), _checks(model, ids, operations, steered), provenance(model, plan, bos)
    )


def _checks(model: GPT2, ids: list[int], operations: Sequence[Operation], hook: ChangeHook) -> tuple[Check, ...]:
    names, seen = [op.hook_name(model) for op in operations], {}
    model(torch.tensor([ids]), hook=Watch(names.__contains__, seen.__setitem__, hook))
    queries = torch.arange(len(ids), device=model.wte.weight.device)[None]
    misses = [(type(op).__name__, op.miss(seen[name].float(), queries)) for op, name in zip(operations, names)]
    half = model.cfg.dtype in (torch.float16, torch.bfloat16)
    return tuple(Check(f"{name} reached its target", miss, 2e-2 if half else 1e-4) for name, miss in misses if miss is not None)
