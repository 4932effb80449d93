"""Attention patterns: how much each token looks at each earlier one, per head.

A head at query position q spreads a weight of 1 over the keys 0..q. What it looks at is not what it uses: a large weight on
a short value vector moves little, and the first token is a resting place for heads with nothing to do (the "sink").
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.run import Check, Run


@dataclass(frozen=True)
class AttentionPatterns:
    """values: Float [layer head query key], rows sum to 1 unless edited; check: how far they are from it."""

    values: Float[Tensor, "layer head query key"]
    strings: tuple[str, ...]
    check: Check


def pattern_names(n_layers: int) -> list[str]:
    """The hooks that `patterns` reads; pass them to `trace(names_filter=...)` to keep nothing else."""
    return [f"blocks.{layer}.attn.hook_pattern" for layer in range(n_layers)]


def patterns(run: Run) -> AttentionPatterns:
    """All attention patterns of a run. An edited cell may leave its row summing to other than 1, and the check says so."""
    names = [name for name in run.activations if name.endswith("attn.hook_pattern")]
    values = torch.stack([run.activations[name] for name in names])
    residual = (values.float().sum(-1) - 1).abs().max().item()
    return AttentionPatterns(values, run.strings, rows_check(residual, values.dtype))


def rows_check(residual: float, dtype: torch.dtype) -> Check:
    """The check that rows of attention sum to 1. residual: the largest distance from it; dtype: of the patterns."""
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2  # half-precision weights are rounded one by one
    return Check("attention rows sum to 1", residual, tolerance)
