"""The strongest pairs of tokens of a head, over the whole vocabulary, exactly, and without the table that holds them.

The table of W_E W_OV W_U, or of W_E W_QK W_E^T, has 2.5 billion entries for GPT-2 and rank d_head. Rows and columns are sorted by
length; an entry is at most the product of the lengths of its row and its column, so blocks are looked at from the largest such bound
on, and the search ends where no block that is left can hold anything better. What is found is what the full table would give.

    OV: (source, output): reading `source` raises `output`. A copying head pairs tokens with themselves.
    QK: (query, key): `query` looks for `key`.

Pitfall: long embeddings win. Rare tokens that training hardly touched may lead the list and say little of what a head does on text.
Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits" (skip-trigrams).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gpt2_core.model import GPT2
from interp.run import Provenance, of_weights
from interp.weights import Circuit, factors

ROWS, COLUMNS = 512, 8192  # of one block: 16 MB in float32
SLACK = 1 + 1e-4  # bounds are rounded too


@dataclass(frozen=True)
class TopPairs:
    """left, right: token ids [k] (source and output, or query and key); values: [k], from the strongest on.

    looked_at: the share of the table's entries that had to be computed. final: whether the search has ended, so that nothing
    better is left; `pairs_so_far` gives others before.
    """

    circuit: str
    layer: int
    head: int
    left: Int[Tensor, " k"]
    right: Int[Tensor, " k"]
    values: Float[Tensor, " k"]
    looked_at: float
    folded: bool
    final: bool
    provenance: Provenance

    @property
    def same(self) -> Bool[Tensor, " k"]:
        """Which pairs are a token and itself."""
        return self.left == self.right


@torch.no_grad()
def top_pairs(
    model: GPT2,
    layer: int,
    head: int,
    circuit: Circuit = "OV",
    k: int = 20,
    largest: bool = True,
    folded: bool = True,
    first_mlp: bool = False,
) -> TopPairs:
    """The k pairs of tokens with the largest (or, `largest=False`, most negative) entries of a head's table.

    Weights and tables: see `interp.weights`. Raises ValueError for a layer or head that is not there.
    """
    *_, found = pairs_so_far(model, layer, head, circuit, k, largest, folded, first_mlp)
    return found


@torch.no_grad()
def pairs_so_far(
    model: GPT2,
    layer: int,
    head: int,
    circuit: Circuit = "OV",
    k: int = 20,
    largest: bool = True,
    folded: bool = True,
    first_mlp: bool = False,
) -> Iterator[TopPairs]:
    """`top_pairs` as it goes: the best pairs after each block, the last of them final. Stop asking and it stops."""
    (left, right), origin = factors(model, layer, head, circuit, folded, first_mlp), of_weights(model)
    for values, rows, columns, looked_at, final in entries_so_far(left if largest else -left, right, k):
        values = values if largest else -values
        yield TopPairs(circuit, layer, head, rows, columns, values, looked_at, folded, final, origin)


def largest_entries(
    left: Float[Tensor, "n rank"], right: Float[Tensor, "m rank"], k: int, rows: int = ROWS, columns: int = COLUMNS
) -> tuple[Float[Tensor, " k"], Int[Tensor, " k"], Int[Tensor, " k"], float]:
    """The k largest entries of left @ right.T: values, row and column indices, and the share of entries computed."""
    *_, (values, i, j, looked_at, _) = entries_so_far(left, right, k, rows, columns)
    return values, i, j, looked_at


def entries_so_far(
    left: Float[Tensor, "n rank"], right: Float[Tensor, "m rank"], k: int, rows: int = ROWS, columns: int = COLUMNS
) -> Iterator[tuple[Float[Tensor, " k"], Int[Tensor, " k"], Int[Tensor, " k"], float, bool]]:
    """`largest_entries` after each block, and whether it has ended."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    k = min(k, len(left) * len(right))
    row_order, column_order = (m.norm(dim=1).argsort(descending=True) for m in (left, right))
    left, right = left[row_order], right[column_order]
    bounds = left.norm(dim=1)[::rows, None] * right.norm(dim=1)[None, ::columns] * SLACK
    order = bounds.flatten().argsort(descending=True).tolist()
    best = left.new_empty(0), row_order.new_empty(0), row_order.new_empty(0)
    seen = 0
    for at, following in zip(order, [*order[1:], None]):
        row, column = divmod(at, bounds.shape[1])
        block = left[row * rows : (row + 1) * rows] @ right[column * columns : (column + 1) * columns].T
        seen += block.numel()
        if len(best[0]) < k or block.max() > best[0][-1]:
            best = _merged(best, block, row * rows, column * columns, k)
        values, i, j = best
        final = following is None or (len(values) == k and bounds.flatten()[following].item() < values[-1].item())
        yield values, row_order[i], column_order[j], seen / (len(left) * len(right)), final
        if final:
            return


def _merged(best: tuple[Tensor, Tensor, Tensor], block: Tensor, row: int, column: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k largest of those found before and those of a block whose first entry is (row, column)."""
    values, index = block.flatten().topk(min(k, block.numel()))
    found = (values, row + index // block.shape[1], column + index % block.shape[1])
    values, i, j = (torch.cat(pair) for pair in zip(best, found))
    top = values.topk(min(k, len(values)))
    return top.values, i[top.indices], j[top.indices]
