"""Which heads are built to work on what earlier heads wrote: Q-, K- and V-composition, from the weights alone.

A later head reads what an earlier one wrote in three ways: as what it looks for (Q), as what it finds (K), as what it moves (V).

    ||W_OV(earlier) W_X(later)||_F / (||W_OV(earlier)||_F ||W_X(later)||_F)      W_X: W_QK, W_QK^T, W_OV for Q, K, V

Random matrices of the same shapes do not score 0: `baseline` is what they score, and only what exceeds it means something.
Induction heads show high K-composition with a previous-token head.

Pitfall: subspaces that meet are an opportunity, not a use; and one loud direction in both matrices (GPT-2 has some) scores high
for every head that touches it. Confirm with path patching.
Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits" (composition scores and their baseline).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from gpt2_core.config import GPT2Config
from gpt2_core.model import GPT2
from interp.run import Provenance, check_place, of_weights
from interp.weights import HeadMatrices, head_matrices

Mode = Literal["Q", "K", "V"]
DRAWS = 32  # random pairs of heads for the baseline


@dataclass(frozen=True)
class Composition:
    """scores: [layer head layer head], earlier head first, 0..1; 0 where the first head's layer is not the earlier one.

    baseline, baseline_std: mean and deviation for random heads of these shapes. `excess`: scores above it, 0 where no pair is.
    """

    mode: str
    scores: Float[Tensor, "layer head layer head"]
    baseline: float
    baseline_std: float
    folded: bool
    provenance: Provenance

    @property
    def excess(self) -> Float[Tensor, "layer head layer head"]:
        layers = torch.arange(len(self.scores), device=self.scores.device)
        return torch.where((layers[:, None] < layers)[:, None, :, None], self.scores - self.baseline, 0.0)


@torch.no_grad()
def composition(model: GPT2, mode: Mode, folded: bool = True, seed: int = 0) -> Composition:
    """The composition scores of every pair of heads. mode: "Q", "K" or "V". seed: of the baseline's random heads."""
    if mode not in ("Q", "K", "V"):
        raise ValueError(f"Heads compose by 'Q', 'K' or 'V', got {mode!r}.")
    layers = [head_matrices(model, layer, folded) for layer in range(model.config.n_layers)]
    writing = [_writes(w.W_V, w.W_O) for w in layers]
    reading = [_reading(w, mode) for w in layers]
    n_layers, n_heads = model.config.n_layers, model.config.n_heads
    scores = writing[0].new_zeros(n_layers, n_heads, n_layers, n_heads)
    for later in range(n_layers):
        for earlier in range(later):
            scores[earlier, :, later] = _pairs(writing[earlier], reading[later])
    mean, std = _baseline(model.config, seed)
    return Composition(mode, scores, mean, std, folded, of_weights(model))


@dataclass(frozen=True)
class Neighbours:
    """One head's row and column of `Composition`: earlier [layer head], how it reads each head; later [layer head], how each head
    reads it. 0 where the other head's layer is not an earlier (a later) one."""

    mode: str
    layer: int
    head: int
    earlier: Float[Tensor, "layer head"]
    later: Float[Tensor, "layer head"]
    baseline: float
    baseline_std: float
    folded: bool
    provenance: Provenance


@torch.no_grad()
def neighbours(model: GPT2, layer: int, head: int, mode: Mode, folded: bool = True, seed: int = 0) -> Neighbours:
    """The composition scores of one head with every other, without making the table of all pairs."""
    if mode not in ("Q", "K", "V"):
        raise ValueError(f"Heads compose by 'Q', 'K' or 'V', got {mode!r}.")
    n_layers, n_heads = model.config.n_layers, model.config.n_heads
    check_place(model.config, layer, head)
    own = head_matrices(model, layer, folded)
    reading, writing = _reading(own, mode)[head, None], _writes(own.W_V, own.W_O)[head, None]
    earlier, later = (reading.new_zeros(n_layers, n_heads) for _ in range(2))
    for other in range(n_layers):
        w = head_matrices(model, other, folded) if other != layer else own
        if other < layer:
            earlier[other] = _pairs(_writes(w.W_V, w.W_O), reading)[:, 0]
        elif other > layer:
            later[other] = _pairs(writing, _reading(w, mode))[0]
    return Neighbours(mode, layer, head, earlier, later, *_baseline(model.config, seed), folded, of_weights(model))


def _reading(w: HeadMatrices, mode: Mode) -> Float[Tensor, "head d e"]:
    return _reads(*{"Q": (w.W_Q, w.W_K), "K": (w.W_K, w.W_Q), "V": (w.W_V, w.W_O.mT)}[mode])


def _writes(first: Float[Tensor, "head d e"], second: Float[Tensor, "head e d"]) -> Float[Tensor, "head e d"]:
    """first @ second up to a rotation on the left, which no norm sees, with length 1."""
    return _unit(torch.linalg.qr(first).R @ second)


def _reads(first: Float[Tensor, "head d e"], second: Float[Tensor, "head d e"]) -> Float[Tensor, "head d e"]:
    """first @ second.T up to a rotation on the right, with length 1."""
    return _unit(first @ torch.linalg.qr(second).R.mT)


def _unit(x: Float[Tensor, "head a b"]) -> Float[Tensor, "head a b"]:
    return x / x.flatten(1).norm(dim=1).clamp(min=torch.finfo(x.dtype).tiny)[:, None, None]  # a head of zeros scores 0


def _pairs(writing: Float[Tensor, "a e d"], reading: Float[Tensor, "b d e"]) -> Float[Tensor, "a b"]:
    product = rearrange(writing, "a e d -> (a e) d") @ rearrange(reading, "b d e -> d (b e)")
    return rearrange(product, "(a e) (b f) -> a b (e f)", a=len(writing), b=len(reading)).norm(dim=-1)


def _baseline(config: GPT2Config, seed: int) -> tuple[float, float]:
    """Mean and deviation of the score of heads whose four matrices are Gaussian."""
    generator = torch.Generator().manual_seed(seed)
    a, b, c, d = torch.randn(4, DRAWS, config.d_model, config.d_head, generator=generator, dtype=torch.float32).unbind()
    scores = _pairs(_writes(a, b.mT), _reads(c, d))
    return scores.mean().item(), scores.std().item()
