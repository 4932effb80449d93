"""What a part of the network is for, asked by taking it away: zero, mean and resample ablation of heads, MLPs, layers, neurons.

    ablated = ablate(model, batch.clean, [Part.head(9, 9)], Ablation.mean(reference))      # logits [prompt d_vocab]

    zero       the output becomes 0. Simple, and far from anything the later layers have seen: a head whose output is always
               about the same acts as a bias, and zero takes that away too.
    mean       the output becomes its mean over reference prompts: what is prompt-specific goes, what is always there stays.
               Per position the mean is over prompts only and all must have one template (Wang et al. 2022: p_ABC); over positions
               it is one vector for the whole prompt. Which reference it is changes the numbers more than anything else.
    resample   the output becomes that of another prompt: its corruption, or one drawn by a seed. Nothing unusual reaches the later
               layers, but each answer depends on what was drawn (Chan et al. 2022, causal scrubbing; Conmy et al. 2023).

Pitfalls: no effect does not mean no use, for other heads may take over (`interp.compensation`). In weights as released a head's
share of the value bias goes with it when it is zeroed; folded weights keep that bias, so zero ablation of heads differs between
the two, mean and resample ablation do not. Reference prompts are run under the same plan of edits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gpt2_core.config import GPT2Config
from gpt2_core.hooks import HookFunction, is_optional
from gpt2_core.model import GPT2
from interp.edits import NO_EDITS, Plan
from interp.finite import last_logits
from interp.given import each_a
from interp.intervene import compile_plan
from interp.metrics import MetricFunction
from interp.run import begins_with_end

METHODS = ("zero", "mean", "resample")
SITES = {"head": "attn.hook_z", "attn": "hook_attn_out", "mlp": "hook_mlp_out", "neurons": "mlp.hook_post"}
Metric = MetricFunction  # last-position logits [prompt d_vocab] -> [prompt]; `PromptBatch.metric` is one


@dataclass(frozen=True)
class Part:
    """A part that can be taken away: one head, an attention layer, an MLP, or some of its neurons."""

    kind: str
    layer: int
    index: tuple[int, ...] = ()  # the head, or the neurons

    @classmethod
    def head(cls, layer: int, head: int) -> "Part":
        return cls("head", layer, (head,))

    @classmethod
    def attn(cls, layer: int) -> "Part":
        return cls("attn", layer)

    @classmethod
    def mlp(cls, layer: int) -> "Part":
        return cls("mlp", layer)

    @classmethod
    def neurons(cls, layer: int, neurons: Sequence[int]) -> "Part":
        return cls("neurons", layer, tuple(neurons))

    @property
    def hook_name(self) -> str:
        return f"blocks.{self.layer}.{SITES[self.kind]}"

    @property
    def label(self) -> str:
        """L9H9, attn L3, MLP L0, neurons L3 (5)."""
        if self.kind == "head":
            return f"L{self.layer}H{self.index[0]}"
        return f"{'MLP' if self.kind == 'mlp' else self.kind} L{self.layer}" + (f" ({len(self.index)})" if self.index else "")

    def check(self, config: GPT2Config) -> None:
        """Raises ValueError if a model of this shape has no such part."""
        sizes = {"head": config.n_heads, "neurons": config.d_mlp}
        if self.kind not in SITES:
            raise ValueError(f"No part is called {self.kind!r}; expected one of {', '.join(SITES)}.")
        if not 0 <= self.layer < config.n_layers:
            raise ValueError(f"{self.label} does not exist: {config.model_name} has layers 0..{config.n_layers - 1}.")
        if self.kind in sizes and (not self.index or not all(0 <= i < sizes[self.kind] for i in self.index)):
            raise ValueError(
                f"{self.kind} {list(self.index)} of layer {self.layer} do not exist: 0..{sizes[self.kind] - 1} do."
            )

    def mask(self, x: Tensor) -> Bool[Tensor, "..."]:
        """Where this part is in an activation [batch pos ...] of its hook; broadcasts to it."""
        if self.kind in ("attn", "mlp"):
            return torch.ones((1,) * x.ndim, dtype=torch.bool, device=x.device)
        chosen = torch.zeros(x.shape[2], dtype=torch.bool, device=x.device)
        chosen[list(self.index)] = True
        return chosen.view(1, 1, -1, *(1,) * (x.ndim - 3))


@dataclass(frozen=True)
class Ablation:
    """What takes the place of an ablated output. Made by `zero`, `mean`, `resample`.

    reference: token ids [row pos] of the prompts that mean and resample read. per_position: of the mean. seed: of the drawing.
    """

    method: str = "zero"
    reference: Int[Tensor, "row pos"] | None = None
    per_position: bool = True
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"No ablation is called {self.method!r}; expected one of {', '.join(METHODS)}.")
        if (self.reference is None) != (self.method == "zero"):
            raise ValueError(f"{self.method} ablation {'needs' if self.reference is None else 'reads no'} reference prompts.")

    @classmethod
    def zero(cls) -> "Ablation":
        return cls()

    @classmethod
    def mean(cls, reference: Int[Tensor, "row pos"], per_position: bool = True) -> "Ablation":
        """per_position: the mean over prompts at each position; else one mean over prompts and positions, the first included."""
        return cls("mean", reference, per_position)

    @classmethod
    def resample(cls, reference: Int[Tensor, "row pos"], seed: int | None = None) -> "Ablation":
        """Row i stands in for prompt i; with a seed, each prompt gets a row drawn from those that differ from it."""
        return cls("resample", reference, seed=seed)

    def describe(self) -> str:
        """The replacement in a few words, for captions."""
        if self.reference is None:
            return "zero"
        rows = f"{len(self.reference)} prompts"
        if self.method == "mean":
            return f"mean over {rows}, {'at each position' if self.per_position else 'over all positions'}"
        return f"another of {rows}, " + ("row by row" if self.seed is None else f"drawn with seed {self.seed}")


ZERO = Ablation()


class Replace:
    """A hook that lets another hook's edits act and then makes its own replacements: name -> f(activation)."""

    def __init__(self, own: dict[str, Callable[[Tensor], Tensor]], inner: HookFunction | None = None):
        self._own, self._inner = own, inner
        self._edits = getattr(inner, "wants", None) or (lambda name: inner is not None and not is_optional(name))

    def wants(self, name: str) -> bool:
        return name in self._own or self._edits(name)

    def positioned(self, queries: Tensor, keys: Tensor) -> "Replace":
        if not hasattr(self._inner, "positioned"):
            return self
        return Replace(self._own, self._inner.positioned(queries, keys))

    def __call__(self, name: str, x: Tensor) -> Tensor:
        if self._edits(name):
            edited = self._inner(name, x)
            x = x if edited is None else edited
        return self._own[name](x) if name in self._own else x


@torch.no_grad()
def ablate(
    model: GPT2,
    tokens: Int[Tensor, "prompt pos"],
    parts: Sequence[Part],
    ablation: Ablation = ZERO,
    positions: Sequence[int] | Int[Tensor, "prompt n"] | None = None,
    plan: Plan = NO_EDITS,
    bos: bool | None = None,
) -> Float[Tensor, "prompt d_vocab"]:
    """Last-position logits of a run without some parts.

    positions: where to ablate, the same for all prompts or a row a prompt; None is everywhere. plan: edits in force, which act
    before the ablation; bos: for the texts of the plan, None is as the prompts have it. Raises ValueError for a part that the model
    does not have, and for reference prompts that do not fit.
    """
    bos = begins_with_end(model, tokens) if bos is None else bos
    hook = ablation_hook(model, tokens, parts, ablation, positions, compile_plan(model, plan, bos))
    return last_logits(model, tokens, hook, rows=["without " + " + ".join(part.label for part in parts)] if parts else ())


@torch.no_grad()
def ablation_hook(
    model: GPT2,
    tokens: Int[Tensor, "prompt pos"],
    parts: Sequence[Part],
    ablation: Ablation = ZERO,
    positions: Sequence[int] | Int[Tensor, "prompt n"] | None = None,
    inner: HookFunction | None = None,
) -> Replace:
    """The hook of `ablate`, for runs of these tokens. inner: a hook that acts before it, in the reference runs too."""
    for part in each_a(Part, parts, "parts"):
        part.check(model.config)
    values = replacements(model, tokens, {part.hook_name for part in parts}, ablation, inner)
    at = chosen_positions(tokens, positions)
    own: dict[str, Callable[[Tensor], Tensor]] = {}
    for name in values:
        own[name] = _without([part for part in parts if part.hook_name == name], values[name], at)
    return Replace(own, inner)


@torch.no_grad()
def replacements(
    model: GPT2,
    tokens: Int[Tensor, "prompt pos"],
    names: set[str],
    ablation: Ablation,
    inner: HookFunction | None = None,
) -> dict[str, Tensor]:
    """What takes the place of whole activations, by hook name; broadcasts to them: [prompt|1 pos|1 ...]."""
    if not isinstance(ablation, Ablation):
        raise ValueError(f"Expected Ablation.zero(), .mean(prompts) or .resample(prompts), got {ablation!r:.40}.")
    if ablation.reference is None:
        return {name: torch.zeros((), device=model.wte.weight.device, dtype=model.wte.weight.dtype) for name in names}
    reference = ablation.reference
    if (ablation.method == "resample" or ablation.per_position) and reference.shape[1] != tokens.shape[1]:
        raise ValueError(
            f"The reference prompts have {reference.shape[1]} tokens, the ablated ones {tokens.shape[1]}; take prompts of one "
            "length, or the mean over positions."
        )
    stop = 1 + max((int(name.split(".")[1]) for name in names), default=0)
    _, cache = model.run_with_cache(reference, sorted(names), return_type=None, hook=inner, stop_at_layer=stop)
    if ablation.method == "resample":
        rows = resampled_rows(tokens, reference, ablation.seed)
        return {name: cache[name][rows.to(cache[name].device)] for name in names}
    axes = (0,) if ablation.per_position else (0, 1)
    return {name: cache[name].mean(axes, keepdim=True) for name in names}


def resampled_rows(
    tokens: Int[Tensor, "prompt pos"], reference: Int[Tensor, "row pos"], seed: int | None
) -> Int[Tensor, " prompt"]:
    """Which reference prompt stands in for each prompt: the one of its row, or one drawn from those that differ from it."""
    n = len(tokens)
    if seed is None:
        if len(reference) != n:
            raise ValueError(f"Row by row, {n} prompts need {n} reference prompts, got {len(reference)}; or give a seed.")
        return torch.arange(n)
    other = (tokens.cpu()[:, None] != reference.cpu()[None]).any(-1)
    if not other.any(1).all():
        raise ValueError("A prompt has no reference prompt that differs from it; give other reference prompts.")
    return torch.multinomial(other.float(), 1, generator=torch.Generator().manual_seed(seed))[:, 0]


def chosen_positions(
    tokens: Int[Tensor, "prompt pos"], positions: Sequence[int] | Int[Tensor, "prompt n"] | None
) -> Bool[Tensor, "prompt pos"] | None:
    """Where positions are, as a mask; None is everywhere. Raises ValueError for a position outside the prompts."""
    if positions is None:
        return None
    n, length = tokens.shape
    rows = positions if isinstance(positions, Tensor) else torch.tensor([list(positions)] * n, dtype=torch.long).view(n, -1)
    rows = rows.to(tokens.device)
    if rows.numel() and not (-length <= rows.min() and rows.max() < length):
        raise ValueError(f"Positions {rows.min()}..{rows.max()} do not all lie in prompts of {length} tokens.")
    return torch.zeros(n, length, dtype=torch.bool, device=tokens.device).scatter(1, rows % length, True)


def _without(parts: list[Part], value: Tensor, at: Tensor | None) -> Callable[[Tensor], Tensor]:
    def replace(x: Tensor) -> Tensor:
        where = torch.stack([part.mask(x) for part in parts]).any(0)
        if at is not None:
            where = where & at.to(x.device).view(*at.shape, *(1,) * (x.ndim - 2))
        return torch.where(where, value.to(x), x)

    return replace
