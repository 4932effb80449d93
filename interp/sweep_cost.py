"""What a sweep costs, before it runs: multiplications, memory, and time at the speed this machine shows.

A sweep computes a known number of tokens in a known number of blocks, so its FLOPs can be counted exactly (a multiply-add is
two; LayerNorm, GELU and softmax are left out). Seconds are FLOPs over the speed of one block of this model, timed on the spot
for some milliseconds: a machine that is busy now may be idle later.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch

from gpt2_core.config import GPT2Config
from gpt2_core.model import GPT2, UNHOOKED
from gpt2_core.runtime import available_memory
from interp.fused import fused
from interp.sweep import absorbs
from interp.sweep_cells import COMPONENTS, OF_HEADS, RESIDUAL, names_read

MOST_MEMORY = 2**30
MOST_TOKENS = 4096  # of one batch on a CPU: more is not faster, and cancelling takes longer
ENOUGH_TOKENS = 512  # of one product on a CPU: more rows are hardly faster
_BYTES_OF_SCORES = 8  # an attention score and its weight, float32


@dataclass(frozen=True)
class Estimate:
    """flops: of the sweep. bytes: at its peak, besides the weights. seconds: at the speed measured; rows: patched runs."""

    flops: int
    bytes: int
    seconds: float
    rows: int


def row_bytes(config: GPT2Config, length: int, start: int, n_read: int, explicit: bool) -> int:
    """Memory of one variant while it is computed: its tokens' activations, all keys and values, the logits that are read."""
    d, tokens = config.d_model, length - start
    numbers = tokens * (10 * d + 2 * config.d_mlp) + 2 * length * d + n_read
    scores = config.n_heads * tokens * length * _BYTES_OF_SCORES if explicit else 0
    return numbers * config.dtype.itemsize + scores


def budget(config: GPT2Config) -> int:
    """Bytes that a batch may take where nothing else was said."""
    free = available_memory(config.device)
    return MOST_MEMORY if free is None else min(MOST_MEMORY, free // 8)


@dataclass(frozen=True)
class Batch:
    """Cells of one layer that are computed together. bytes: what they take; tokens: what they recompute, at most; memory: what a
    batch may take; last: whether the layer is complete with it."""

    layer: int
    cells: list[int]
    bytes: int
    tokens: int
    memory: int
    last: bool


def batches(
    config: GPT2Config, length: int, layer: int, starts: Mapping[int, int], n_read: int, explicit: bool, memory: int | None
) -> Iterator[Batch]:
    """Cells (keys of `starts`) in batches that fit the memory; neighbours in start, because a batch attends from its earliest.

    Raises ValueError, with the numbers, where not even one variant fits.
    """
    memory = budget(config) if memory is None else memory
    most_tokens = MOST_TOKENS if config.device == "cpu" else 2**31
    cells: list[int] = []
    for i in sorted(starts, key=lambda i: starts[i]):
        one = row_bytes(config, length, starts[cells[0]] if cells else starts[i], n_read, explicit)
        if one > memory:
            raise ValueError(
                f"One patched run of {length} tokens takes {one:,} bytes, {memory:,} are allowed; shorten the prompts."
            )
        tokens = sum(length - starts[j] for j in cells)
        if cells and ((len(cells) + 1) * one > memory or tokens + length - starts[i] > most_tokens):
            yield Batch(layer, cells, len(cells) * one, tokens, memory, last=False)
            cells = []
        cells.append(i)
    if cells:
        one = row_bytes(config, length, starts[cells[0]], n_read, explicit)
        yield Batch(layer, cells, len(cells) * one, sum(length - starts[j] for j in cells), memory, last=True)


def groups(each: Iterable[Batch], config: GPT2Config) -> Iterator[list[Batch]]:
    """Neighbouring batches that are small enough to be computed as one, so that every product has enough rows to be fast."""
    enough = ENOUGH_TOKENS if config.device == "cpu" else 32 * ENOUGH_TOKENS
    group: list[Batch] = []
    for batch in each:
        tokens, taken = (sum(getattr(b, name) for b in group) for name in ("tokens", "bytes"))
        falling = bool(group) and batch.layer < group[-1].layer  # entries join in the order of their blocks
        if group and (falling or tokens + batch.tokens > enough or taken + batch.bytes > batch.memory):
            yield group
            group = []
        group.append(batch)
    if group:
        yield group


def estimate(
    model: GPT2,
    n_positions: int,
    component: str = "resid_pre",
    *,
    by_position: bool = False,
    n_groups: int = 32,
    first: int = 0,
    n_read: int | None = None,
    memory: int | None = None,
) -> Estimate:
    """What a sweep over every layer will take, the controls left out.

    first: the first position at which the prompts differ (0, where they share nothing, is the most work; tokens that are equal
    again after it cost less than is said here). n_read: how many tokens'
    logits the metric reads; None is the whole vocabulary.
    """
    if component not in COMPONENTS:
        raise ValueError(f"{component!r} cannot be patched; expected one of {', '.join(COMPONENTS)}.")
    if not 0 <= first < n_positions <= model.config.n_ctx:
        raise ValueError(f"Expected 0 <= first < n_positions <= {model.config.n_ctx}, got {first} and {n_positions}.")
    config = model.cfg
    n_read = config.d_vocab if n_read is None else n_read
    count = _Count(config, n_positions, first, component, by_position, n_groups)
    flops, rows = count.total(n_read)
    one = row_bytes(config, n_positions, first, n_read, explicit=False)
    held = 2 * n_positions * sum(_width(config, name, n_positions) for name in names_read(component)) * config.n_layers
    allowed = budget(config) if memory is None else memory
    peak = max(one, min(allowed, one * count.rows_of(0)))
    return Estimate(flops, held * config.dtype.itemsize + peak, flops / speed(model), rows)


def _width(config: GPT2Config, name: str, length: int) -> int:
    """Numbers per token of a recorded activation."""
    return {"mlp_post": config.d_mlp, "pattern": config.n_heads * length}.get(name, config.d_model)


@dataclass(frozen=True)
class _Count:
    """Counts of a sweep's matrix products."""

    config: GPT2Config
    length: int
    first: int
    component: str
    by_position: bool
    n_groups: int

    @property
    def _one_position(self) -> bool:
        return self.component in RESIDUAL or self.by_position

    def _starts(self) -> range:
        """Positions at which a patch that has one can be."""
        return range(self.first, self.length)

    def rows_of(self, layer: int) -> int:
        """Patched runs of a layer."""
        last = layer == self.config.n_layers - 1 and self.component not in ("resid_pre", "k", "v")
        positions = (1 if last else len(self._starts())) if self._one_position else 1
        each = {"neurons": self.n_groups}.get(self.component, self.config.n_heads if self.component in OF_HEADS else 1)
        return positions * each

    def total(self, n_read: int) -> tuple[int, int]:
        """(FLOPs, patched runs) over all layers."""
        rows = [self.rows_of(layer) for layer in range(self.config.n_layers)]
        flops = sum(self._layer(layer) for layer in range(self.config.n_layers))
        return flops + sum(rows) * 2 * self.config.d_model * n_read, sum(rows)

    def _layer(self, layer: int) -> int:
        config, end = self.config, self.length
        d, n_layers, rows = config.d_model, config.n_layers, self.rows_of(layer)
        each = rows // (len(self._starts()) if self._one_position and rows >= len(self._starts()) else 1)
        tails = each * sum(end - p for p in self._starts()) if self._one_position else rows * (end - self.first)
        wide_tail = self._one_position and self.component not in ("k", "v")  # only one token of each row is changed at first
        own = self.component == "resid_pre"
        changed = rows if wide_tail else tails
        if layer == n_layers - 1 and not own:
            changed = rows
        flops = 0 if own else changed * self._begin_per_token() + self._tables(layer, rows)
        start = layer if own else layer + 1
        for block in range(start, n_layers):
            last = block == n_layers - 1
            after = rows if last else tails
            if last and absorbs(config, end, self.first):
                flops += rows * (6 * d * d + 4 * config.n_heads * end * d)
            else:
                flops += changed * 6 * d * d + rows * 4 * (1 if last else end - self.first) * end * d
            flops += after * (2 * d * d + 4 * d * config.d_mlp)
            changed = after
        return flops

    def _begin_per_token(self) -> int:
        """FLOPs from the patched activation to the block's end, per changed token."""
        d, m = self.config.d_model, self.config.d_mlp
        projection = 2 * d * self.config.d_head if self.component in OF_HEADS else 0
        mlp = {"mlp_out": 0, "resid_post": 0, "neurons": 2 * m * d}.get(self.component, 4 * d * m)
        return projection + mlp

    def _tables(self, layer: int, rows: int) -> int:
        """FLOPs of attention with patched q, k or v, or of patched patterns times values; one table serves all heads."""
        d, end = self.config.d_model, self.length
        queries = 1 if layer == self.config.n_layers - 1 else end - self.first
        if self.component in ("z", "result") or self.component not in OF_HEADS:
            return 0
        if self.component == "pattern":
            return 2 * queries * end * d
        cases = len(self._starts()) if self.by_position and self.component in ("k", "v") else 1
        return cases * 4 * queries * end * d


@torch.no_grad()
def speed(model: GPT2, tokens: int = 256) -> float:
    """FLOPs per second of this model's MLP, timed for some milliseconds."""
    mlp, config = fused(model).h[0].mlp, model.cfg
    x = torch.zeros(1, tokens, config.d_model, device=config.device, dtype=config.dtype)
    flops, best = tokens * 4 * config.d_model * config.d_mlp, float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        mlp(x, UNHOOKED)
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        best = min(best, time.perf_counter() - begun)
    return flops / best
