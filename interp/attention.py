"""Attention patterns: how much each token looks at each earlier one, per head.

A head at query position q spreads a weight of 1 over the keys 0..q. What it looks at is not what it uses: a large weight on
a short value vector moves little (`attention_norms` weighs that in), and the first token is a resting place for heads with
nothing to do (the "sink": Xiao et al. 2023, 2309.17453). `statistics` sums a pattern up in three numbers per head: how spread
it is (entropy), how far back it looks (distance), and how much of it rests on the first token (sink). All three grow or shrink
with the length of the text alone, so each stands beside what evenly spread attention would give on the same text.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.run import Check, Provenance, Run


@dataclass(frozen=True)
class AttentionPatterns:
    """values: Float [layer head query key], rows sum to 1 unless edited; check: how far they are from it.

    provenance: of the run; None for patterns that were made, and not read from one.
    """

    values: Float[Tensor, "layer head query key"]
    strings: tuple[str, ...]
    check: Check
    provenance: Provenance | None = None


@dataclass(frozen=True)
class HeadStatistics:
    """Three numbers per head, Float [layer head], each a mean over the queries 1, 2, ... (query 0 can only see itself).

    entropy: bits, 0 for a head that looks at one token. distance: tokens, the mean of query - key under the pattern.
    sink: the weight on position 0. even: what a head that gave every key the same weight would have, by the same names.
    check: the rows sum to 1, without which the numbers mean little.
    """

    entropy: Float[Tensor, "layer head"]
    distance: Float[Tensor, "layer head"]
    sink: Float[Tensor, "layer head"]
    even: dict[str, float]
    check: Check
    provenance: Provenance | None


def pattern_names(n_layers: int) -> list[str]:
    """The hooks that `patterns` reads; pass them to `trace(names_filter=...)` to keep nothing else."""
    return [f"blocks.{layer}.attn.hook_pattern" for layer in range(n_layers)]


def patterns(run: Run) -> AttentionPatterns:
    """All attention patterns of a run. An edited cell may leave its row summing to other than 1, and the check says so."""
    names = [name for name in run.activations if name.endswith("attn.hook_pattern")]
    if not names or names != pattern_names(len(names)):  # else an index would be another layer's
        raise ValueError(
            f"Of attention patterns this run kept {names or 'none'}; trace it with names_filter=pattern_names(n_layers), for all layers."
        )
    values = torch.stack([run.activations[name] for name in names])
    residual = (values.float().sum(-1) - 1).abs().max().item()
    return AttentionPatterns(values, run.strings, rows_check(residual, values.dtype), run.provenance)


def rows_check(residual: float, dtype: torch.dtype) -> Check:
    """The check that rows of attention sum to 1. residual: the largest distance from it; dtype: of the patterns."""
    tolerance = 2e-2 if dtype in (torch.float16, torch.bfloat16) else 1e-4  # half-precision weights are rounded one by one
    return Check("attention rows sum to 1", residual, tolerance)


def statistics(result: AttentionPatterns) -> HeadStatistics:
    """Entropy, mean distance and sink share of every head.

    Raises ValueError for a single token, which has nothing to look back at.
    """
    n = result.values.shape[-1]
    if n < 2:
        raise ValueError("The text has 1 token, and attention statistics need at least 2; add some text.")
    rows = [_row_statistics(layer.float()[:, 1:]) for layer in result.values]  # one layer at a time: n x n floats per head
    entropy, distance, sink = (torch.stack(column) for column in zip(*rows))
    queries = range(1, n)
    even = {
        "entropy": sum(math.log2(q + 1) for q in queries) / len(queries),
        "distance": sum(q / 2 for q in queries) / len(queries),
        "sink": sum(1 / (q + 1) for q in queries) / len(queries),
    }
    return HeadStatistics(entropy, distance, sink, even, result.check, result.provenance)


def _row_statistics(pattern: Float[Tensor, "head query key"]) -> tuple[Tensor, Tensor, Tensor]:
    """Means over the queries 1.. of entropy (bits), distance and sink, each [head]."""
    n = pattern.shape[-1]
    keys = torch.arange(n, device=pattern.device, dtype=pattern.dtype)
    entropy = torch.special.entr(pattern).sum(-1) / math.log(2)
    distance = keys[1:] * pattern.sum(-1) - pattern @ keys  # sum of p (q - k)
    return entropy.mean(-1), distance.mean(-1), pattern[..., 0].mean(-1)
