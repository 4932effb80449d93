"""A sweep while it runs, and what comes of it: the two recorded runs, the rows as they are computed, the frozen result.

`interp.patching` explains the method and has the functions to call; this file holds `Prepared`, which they return, and `Sweep`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.model import GPT2
from gpt2_core.streaming import end_id
from interp.edits import Plan
from interp.fused import fused
from interp.intervene import compile_plan
from interp.metrics import MetricFunction, evaluate, finite_values, metric_name
from interp.run import Check, Provenance, judged, provenance
from interp.sweep import Rerun, record
from interp.sweep_cells import RESIDUAL, Cell, Patcher, names_read
from interp.sweep_cost import Batch, batches, groups

Mode = Literal["denoise", "noise"]
TOO_CLOSE = 1e-3  # metrics of the two runs nearer than this give a normalised score that is mostly rounding


@dataclass(frozen=True)
class Sweep:
    """Every cell of a component patched, one at a time.

    values: the metric of each patched run, Float [layer pos], [layer head], [layer head pos] or [layer group], see `axes`.
    clean, corrupted: the metric of the two runs. layers: what the first axis holds. checks: the two controls, measured:
    patching a run with itself, and patching everything.
    """

    values: Float[Tensor, "layer ..."]
    axes: tuple[str, ...]
    component: str
    mode: str
    metric: str
    clean: float
    corrupted: float
    layers: tuple[int, ...]
    clean_tokens: tuple[int, ...]
    corrupted_tokens: tuple[int, ...]
    checks: tuple[Check, ...]
    provenance: Provenance

    @property
    def base(self) -> float:
        """The metric of the run that was patched."""
        return self.corrupted if self.mode == "denoise" else self.clean

    @property
    def effect(self) -> Float[Tensor, "layer ..."]:
        """What each patch changed, in the metric's unit."""
        return self.values - self.base

    @property
    def note(self) -> str | None:
        """Why there is no normalised score, in one sentence; None where there is one."""
        if abs(self.clean - self.corrupted) >= TOO_CLOSE:
            return None
        return (
            f"The metric is {self.clean:.4g} in the clean run and {self.corrupted:.4g} in the corrupted one: "
            "there is no difference to bring back, so choose prompts or a metric that tell them apart."
        )

    @property
    def normalised(self) -> Float[Tensor, "layer ..."]:
        """(metric - corrupted) / (clean - corrupted). Raises ValueError with `note` where the two runs do not differ."""
        if self.note is not None:
            raise ValueError(self.note)
        return (self.values - self.corrupted) / (self.clean - self.corrupted)


class Prepared:
    """A sweep that is ready to run: both runs are done, `clean` and `corrupted` are known. Made by `prepare`."""

    def __init__(
        self,
        model: GPT2,
        tokens: tuple[list[int], list[int]],
        metric: MetricFunction,
        component: str,
        mode: Mode,
        by_position: bool,
        n_groups: int,
        layers: Sequence[int],
        plan: Plan,
        memory: int | None,
    ):
        self.model, self.metric, self.component, self.mode, self.plan = model, metric, component, mode, plan
        self.layers, self.n_groups, self.by_position = tuple(layers), n_groups, by_position
        self.tokens, self.memory = tokens, memory
        self.bos = tokens[0][0] == end_id(model)
        hook = compile_plan(model, plan, self.bos)
        fast = fused(model)
        runs = record(fast, tokens, names_read(component), hook)
        self._base, self._source = reversed(runs) if mode == "denoise" else runs
        self._first = next(i for i, (a, b) in enumerate(zip(*tokens)) if a != b)
        self._rerun = Rerun(fast, self._base, hook)
        with torch.no_grad():
            self.clean, self.corrupted = self._judge(torch.stack([run.final for run in runs])).tolist()
        self._patcher = Patcher(self._rerun, self._source, component, self._first, n_groups)

    @property
    def base(self) -> float:
        """The metric of the run that is patched."""
        return self.corrupted if self.mode == "denoise" else self.clean

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of the values."""
        if self.component in RESIDUAL:
            return ("layer", "pos")
        return ("layer", "group") if self.component == "neurons" else ("layer", "head", "pos")[: 2 + self.by_position]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one layer's row of values."""
        sizes = {"pos": len(self._base), "head": self.model.config.n_heads, "group": self.n_groups}
        return tuple(sizes[axis] for axis in self.axes[1:])

    def cells(self) -> list[Cell]:
        """The cells of one layer, in the order of a flattened row."""
        names = {"pos": "position", "head": "head", "group": "group"}
        indices = torch.cartesian_prod(*(torch.arange(n) for n in self.shape)).view(-1, len(self.shape)).tolist()
        return [Cell(**{names[axis]: i for axis, i in zip(self.axes[1:], index)}) for index in indices]

    def rows(self) -> Iterator[tuple[int, Float[Tensor, "..."]]]:
        """(layer, its values) as they are computed; close the generator to stop.

        Small layers are computed several at a time.
        """
        cells = self.cells()
        dtype = torch.float64 if self.model.cfg.dtype == torch.float64 else torch.float32
        table = {layer: torch.full((len(cells),), self.base, dtype=dtype) for layer in self.layers}
        waiting = list(self.layers)
        for group in groups(self._batches(cells), self.model.cfg):
            for batch, part in zip(group, self._values(group, cells)):
                table[batch.layer][batch.cells] = part.to(dtype)
            done = [batch.layer for batch in group if batch.last]
            while done and waiting:  # up to the last layer that is complete
                layer = waiting.pop(0)
                yield layer, table.pop(layer).view(self.shape)
                done = done if layer != done[-1] else []
        for layer in waiting:  # nothing to compute there
            yield layer, table[layer].view(self.shape)

    @torch.no_grad()  # here and not on the generator, which a type checker may wrap so that torch no longer sees that it is one
    def _values(self, group: Sequence[Batch], cells: list[Cell]) -> Sequence[Float[Tensor, "..."]]:
        """The metric of the patched runs of each batch."""
        final = self._rerun.finish([self._patcher.entry(batch.layer, [cells[i] for i in batch.cells]) for batch in group])
        return self._judge(final).split([len(batch.cells) for batch in group])

    def _batches(self, cells: list[Cell]) -> Iterator[Batch]:
        for layer in self.layers:
            starts = {i: start for i, cell in enumerate(cells) if (start := self._start(layer, cell)) is not None}
            yield from batches(self.model.cfg, len(self._base), layer, starts, self._n_read, self._explicit, self.memory)

    def _start(self, layer: int, cell: Cell) -> int | None:
        """Where a cell begins to matter. Before the first block, equal tokens are equal vectors, and putting one in changes nothing."""
        if self.component == "resid_pre" and layer == 0 and self.tokens[0][cell.position] == self.tokens[1][cell.position]:
            return None
        return self._patcher.start(layer, cell)

    @property
    def _explicit(self) -> bool:
        """Whether an edit of the plan needs scores and patterns, which take memory."""
        return any(edit.component == "pattern" for edit in self.plan)

    @property
    def _reads(self) -> tuple[int, ...] | None:
        return getattr(self.metric, "reads", None)

    @property
    def _n_read(self) -> int:
        return self.model.config.d_vocab if self._reads is None else len(self._reads)

    def _judge(self, final: Float[Tensor, "row d_model"]) -> Float[Tensor, " row"]:
        if self._reads is None or max(self._reads) >= self.model.config.d_vocab:  # the metric then says what it misses
            return evaluate(self.metric, self._rerun.logits(final)).cpu()
        logits = self._rerun.logits(final, self._reads)
        return finite_values(self.metric, self.metric.of(logits if logits.dtype == torch.float64 else logits.float())).cpu()

    @torch.no_grad()
    def logits(self, layer: int, cell: Cell) -> Float[Tensor, " d_vocab"]:
        """All logits of the last position with one cell patched: what that run predicts."""
        if layer not in range(self.model.config.n_layers) or cell not in self.cells():
            raise ValueError(f"There is no cell {cell} in layer {layer} of this sweep of {self.component}.")
        if self._patcher.start(layer, cell) is None:
            return self._base.logits
        return self._rerun.logits(self._rerun.finish([self._patcher.entry(layer, [cell])]))[0]

    @torch.no_grad()
    def checks(self) -> tuple[Check, ...]:
        """Two controls, through the same code: a run patched with itself, and one patched at every position."""
        layer = self.layers[len(self.layers) // 2]
        itself = Patcher(self._rerun, self._base, self.component, self._first, self.n_groups)
        cell = next(cell for cell in self.cells() if itself.start(layer, cell) is not None)
        entries = [itself.entry(layer, [cell]), self._patcher.everything(layer)]
        entries.sort(key=lambda entry: entry.block)
        values = self._judge(self._rerun.finish(entries)).tolist()
        same, full = values if entries[1].block == layer else values[::-1]
        other = self.clean if self.mode == "denoise" else self.corrupted
        dtype, size = self.model.cfg.dtype, max(abs(self.clean), abs(self.corrupted))
        if dtype.itemsize < 4:
            size = max(size, 25.0)  # a logit of -100 is rounded to halves there, however small the metric
        return (
            judged("patching a run with itself changes nothing", abs(same - self.base), dtype, size),
            judged("patching every position gives the other run", abs(full - other), dtype, size),
        )

    def result(self, values: Float[Tensor, "layer ..."]) -> Sweep:
        """The sweep, of the rows stacked in the order of `layers`."""
        return Sweep(
            values=values,
            axes=self.axes,
            component=self.component,
            mode=self.mode,
            metric=metric_name(self.metric),
            clean=self.clean,
            corrupted=self.corrupted,
            layers=self.layers,
            clean_tokens=tuple(self.tokens[0]),
            corrupted_tokens=tuple(self.tokens[1]),
            checks=self.checks(),
            provenance=provenance(self.model, self.plan, self.bos),
        )
