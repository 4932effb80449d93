"""What attention moves, not only where it looks: patterns weighed by the vectors they carry.

Head h at query i adds to the residual stream the sum over keys j of

    y_ij = pattern[i, j] * f(x_j),      f(x_j) = (ln_1(x_j) W_V + b_V) W_O = v_j W_O

so a weight of 0.9 on a key whose f(x_j) is short moves little. Three views of the same pattern:

    value-weighted   pattern[i, j] * ||v_j||           what the head picks up
    norm-based       ||y_ij||                          what the head writes (Kobayashi et al. 2020)
    together         || sum over heads of y_ij ||      what the layer's attention writes from j; heads may cancel

LayerNorm: every x_j is divided by its own scale as it was in the run (frozen), so f is linear and the vectors y_ij sum over j
to the head's result exactly; that identity is the check. b_V is part of f as in the paper. It adds the same vector to every key's
f, whatever the token (a row sums to 1, so each head's result carries it once).

Pitfalls: a plan that edits z (a head turned off) acts behind these vectors, which are what the head would have written; the check then
says by how much. A long vector need not matter. It may be cancelled by others, or point where nothing reads; for effects, ablate.
Source: Kobayashi et al. 2020, "Attention is Not Only a Weight", 2004.10102, equations 3 to 5.
"""

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from gpt2_core.model import GPT2
from interp.run import Check, Provenance, Run, check_place


@dataclass(frozen=True)
class AttentionNorms:
    """value_weighted, norms: Float [layer head query key]; together: Float [layer query key]. Zero above the diagonal.

    Units are the residual stream's. check: the vectors behind `norms` sum to each head's result, relative to its largest entry.
    """

    value_weighted: Float[Tensor, "layer head query key"]
    norms: Float[Tensor, "layer head query key"]
    together: Float[Tensor, "layer query key"]
    strings: tuple[str, ...]
    check: Check
    provenance: Provenance

    @property
    def shares(self) -> Float[Tensor, "layer head query key"]:
        """`norms` with every row rescaled to sum to 1, so that it can be laid over the pattern."""
        return self.norms / self.norms.sum(-1, keepdim=True).clamp(min=1e-30)


@dataclass(frozen=True)
class HeadVectors:
    """What one head writes at one query, apart by key: vectors Float [key d_model], their sum is the head's result."""

    vectors: Float[Tensor, "key d_model"]
    result: Float[Tensor, " d_model"]
    check: Check
    provenance: Provenance


def norm_names(n_layers: int) -> list[str]:
    """The hooks that `attention_norms` reads."""
    return [f"blocks.{layer}.attn.hook_{site}" for layer in range(n_layers) for site in ("pattern", "v", "z")]


@torch.no_grad()
def attention_norms(model: GPT2, run: Run) -> AttentionNorms:
    """Value-weighted and norm-based attention of every head of a run."""
    columns = zip(*(_layer(model, run, layer) for layer in range(model.config.n_layers)))
    value_weighted, norms, together, misses = columns
    tables = (torch.stack(column) for column in (value_weighted, norms, together))
    return AttentionNorms(*tables, run.strings, _check(max(misses), model.cfg.dtype), run.provenance)


@torch.no_grad()
def head_vectors(model: GPT2, run: Run, layer: int, head: int, query: int = -1) -> HeadVectors:
    """The vectors y_ij of one head at one query (negative counts from the end)."""
    check_place(model.config, layer, head)
    query, (pattern, v, z) = run.at(query), _parts(run, layer)
    W_O = model.h[layer].attn.W_O[head].to(v)
    vectors = pattern[head, query, :, None] * (v[:, head] @ W_O)
    result = z[query, head] @ W_O
    return HeadVectors(vectors, result, _check(_miss(vectors.sum(0), result), model.cfg.dtype), run.provenance)


def _parts(run: Run, layer: int) -> tuple[Tensor, Tensor, Tensor]:
    """pattern [head query key], v [key head d_head], z [query head d_head] of a layer, float32 or better."""
    parts = (run.activations[f"blocks.{layer}.attn.hook_{site}"] for site in ("pattern", "v", "z"))
    return tuple(x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for x in parts)


def _layer(model: GPT2, run: Run, layer: int) -> tuple[Tensor, Tensor, Tensor, float]:
    pattern, v, z = _parts(run, layer)
    W_O = model.h[layer].attn.W_O.to(v)
    written = einsum(v, W_O, "key head e, head e d -> head key d")
    norms = pattern * written.norm(dim=-1)[:, None]
    value_weighted = pattern * v.norm(dim=-1).T[:, None]
    miss = _miss(pattern @ written, einsum(z, W_O, "query head e, head e d -> head query d"))
    return value_weighted, norms, _together(pattern, written), miss


def _together(pattern: Tensor, written: Tensor) -> Float[Tensor, "query key"]:
    """The norms of the sums over heads, from the heads' inner products: [query key d_model] is never made.

    In float64, since heads that cancel leave a small difference of large products.
    """
    pattern, written = pattern.double(), written.double()
    products = einsum(written, written, "h key d, g key d -> h g key")
    squares = torch.zeros_like(pattern[0])
    for weights, row in zip(pattern, products):  # one head against all: [head query key] at most
        squares += weights * (pattern * row[:, None]).sum(0)
    return squares.clamp(min=0).sqrt().float()


def _miss(sums: Tensor, result: Tensor) -> float:
    return ((sums - result).abs().max() / result.abs().max().clamp(min=1)).item()


def _check(residual: float, dtype: torch.dtype) -> Check:
    tolerance = 2e-2 if dtype in (torch.float16, torch.bfloat16) else 1e-4
    return Check("vectors sum to each head's result", residual, tolerance)
