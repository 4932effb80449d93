"""Activation patching: put one piece of one run into another run, and see how much of the answer comes with it.

Two prompts of equal length differ in what decides the answer: the clean one makes the model say it, the corrupted one does not.
    mode "denoise"   clean pieces go into the corrupted run: what suffices to bring the answer back?
    mode "noise"     corrupted pieces go into the clean run: what is needed to keep it?
These are different questions: of two heads that do the same work either suffices, so noising shows neither.

    metric = logit_diff(correct=5335, wrong=1757)
    result = sweep(model, clean_tokens, corrupted_tokens, metric, component="resid_pre")     # result.values [layer pos]
    for layer, row in sweep_rows(model, clean_tokens, corrupted_tokens, metric, "z"): ...    # as they are computed

`normalised` is (metric - corrupted) / (clean - corrupted) in both modes: 0 is the corrupted run, 1 the clean one. It may pass
either end, and head effects do not add up. Pitfall: corrupt by exchanging words (so that lengths match and both prompts
are natural), not by noise; and prefer a logit difference. See `interp.sweep_cells` for the components, `interp.sweep` for speed.

Sources: Vig et al. 2020, 2004.12265; Meng et al. 2022, 2202.05262; Wang et al. 2022, 2211.00593; Zhang & Nanda 2023, 2309.16042
(metrics and corruptions); Heimersheim & Nanda 2024, 2404.15255 (denoising and noising); TransformerLens, `patching.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.model import GPT2
from gpt2_core.streaming import end_id
from interp.edits import NO_EDITS, Plan
from interp.intervene import compile_plan
from interp.metrics import MetricFunction, evaluate, metric_name
from interp.run import Check, Provenance, prompt_ids, provenance
from interp.sweep import Layout, Rerun, record
from interp.sweep_cells import COMPONENTS, OF_HEADS, RESIDUAL, Cell, Patcher, names_read
from interp.sweep_cost import Estimate, batches, estimate

__all__ = ["COMPONENTS", "Cell", "Estimate", "Prepared", "Sweep", "estimate", "prepare", "sweep", "sweep_rows", "token_pair"]

Prompt = str | Sequence[int] | Int[Tensor, " pos"] | Int[Tensor, "1 pos"]
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


def token_pair(model: GPT2, clean: Prompt, corrupted: Prompt, bos: bool = True) -> tuple[list[int], list[int]]:
    """The ids of two prompts; a text gets `<|endoftext|>` in front where `bos` says so, ids are taken as they are.

    Raises ValueError where they cannot be patched into each other: different lengths, or no difference at all.
    """
    pair = []
    for prompt in (clean, corrupted):
        if isinstance(prompt, Tensor) and prompt.ndim == 2 and len(prompt) != 1:
            raise ValueError(f"A sweep takes one pair of prompts, got {len(prompt)} rows; sweep each pair with its own metric.")
        ids = prompt.flatten().tolist() if isinstance(prompt, Tensor) else prompt
        pair.append(prompt_ids(model, ids, bos and isinstance(ids, str)))
    a, b = (len(ids) for ids in pair)
    if a != b:
        raise ValueError(f"The clean prompt has {a} tokens and the corrupted one {b}; patching needs equal lengths.")
    if pair[0] == pair[1]:
        raise ValueError("The two prompts are the same; change the words that decide the answer in one of them.")
    return pair[0], pair[1]


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
        runs = [record(model, ids, names_read(component), hook) for ids in tokens]
        self.clean, self.corrupted = (evaluate(metric, run.logits[None]).item() for run in runs)
        self._base, self._source = reversed(runs) if mode == "denoise" else runs
        self._first = next(i for i, (a, b) in enumerate(zip(*tokens)) if a != b)
        self._rerun = Rerun(model, self._base, hook)
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

    @torch.no_grad()
    def rows(self) -> Iterator[tuple[int, Float[Tensor, "..."]]]:
        """(layer, its values) as they are computed; close the generator to stop."""
        for layer in self.layers:
            yield layer, self._row(layer)

    def _row(self, layer: int) -> Tensor:
        cells = self.cells()
        row = torch.full((len(cells),), self.base)
        starts = {i: start for i, cell in enumerate(cells) if (start := self._patcher.start(layer, cell)) is not None}
        for batch in batches(self.model.cfg, len(self._base), starts, self._n_read, self._padded(layer), self.memory):
            final = self._patcher.final(layer, [cells[i] for i in batch])
            row[batch] = self._judge(final)
        return row.view(self.shape)

    def _padded(self, layer: int) -> bool:
        """Whether attention is explicit somewhere, which takes memory for scores."""
        return any(edit.component == "pattern" for edit in self.plan)

    @property
    def _reads(self) -> tuple[int, ...] | None:
        return getattr(self.metric, "reads", None)

    @property
    def _n_read(self) -> int:
        return self.model.config.d_vocab if self._reads is None else len(self._reads)

    def _judge(self, final: Float[Tensor, "row d_model"]) -> Float[Tensor, " row"]:
        logits = self._rerun.logits(final, self._reads)
        if self._reads is None:
            return evaluate(self.metric, logits).cpu()
        return self.metric.of(logits if logits.dtype == torch.float64 else logits.float()).cpu()

    @torch.no_grad()
    def logits(self, layer: int, cell: Cell) -> Float[Tensor, " d_vocab"]:
        """All logits of the last position with one cell patched: what that run predicts."""
        if layer not in range(self.model.config.n_layers) or cell not in self.cells():
            raise ValueError(f"There is no cell {cell} in layer {layer} of this sweep of {self.component}.")
        if self._patcher.start(layer, cell) is None:
            return self._base.logits
        return self._rerun.logits(self._patcher.final(layer, [cell]))[0]

    @torch.no_grad()
    def checks(self) -> tuple[Check, ...]:
        """Two controls, through the same code: a run patched with itself, and one patched at every position."""
        layer = self.layers[len(self.layers) // 2]
        itself = Patcher(self._rerun, self._base, self.component, self._first, self.n_groups)
        cell = next(cell for cell in self.cells() if itself.start(layer, cell) is not None)
        same = self._judge(itself.final(layer, [cell])).item()
        all_of_it = Layout.tails([self._first], len(self._base), self._rerun.device)
        x = self._source["resid_pre", layer][all_of_it.pos]
        full = self._judge(self._rerun.finish(x, all_of_it, layer, settled=True)).item()
        other = self.clean if self.mode == "denoise" else self.corrupted
        tolerance = 1e-4 * max(1.0, abs(self.clean), abs(self.corrupted)) if self.model.cfg.dtype == torch.float32 else 0.5
        return (
            Check("patching a run with itself changes nothing", abs(same - self.base), tolerance),
            Check("patching every position gives the other run", abs(full - other), tolerance),
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


def prepare(
    model: GPT2,
    clean_tokens: Prompt,
    corrupted_tokens: Prompt,
    metric: MetricFunction,
    component: str = "resid_pre",
    *,
    mode: Mode = "denoise",
    by_position: bool = False,
    n_groups: int = 32,
    layers: Sequence[int] | None = None,
    plan: Plan = NO_EDITS,
    bos: bool = True,
    memory: int | None = None,
) -> Prepared:
    """Both runs, with their metrics, and everything a sweep needs; `rows()` then streams it.

    component: one of COMPONENTS. by_position: for heads, each position alone too. n_groups: of neurons. layers: None is all.
    plan: edits in force in every run. memory: bytes that one batch of variants may take (None: an eighth of what is free, at most
    1 GiB). Raises ValueError for prompts that do not fit each other and for a component that does not exist.
    """
    if component not in COMPONENTS:
        raise ValueError(f"{component!r} cannot be patched; expected one of {', '.join(COMPONENTS)}.")
    if by_position and component not in OF_HEADS:
        raise ValueError(f"by_position is for the parts of heads ({', '.join(OF_HEADS)}), not for {component}; leave it out.")
    if not 1 <= n_groups <= model.config.d_mlp:
        raise ValueError(f"n_groups must lie in 1..{model.config.d_mlp}, the number of neurons of a layer; got {n_groups}.")
    if mode not in ("denoise", "noise"):
        raise ValueError(f"mode must be 'denoise' or 'noise', got {mode!r}.")
    every = range(model.config.n_layers)
    layers = tuple(every if layers is None else layers)
    if not layers or not set(layers) <= set(every):
        raise ValueError(f"layers must be some of 0..{every[-1]}, got {list(layers)}.")
    tokens = token_pair(model, clean_tokens, corrupted_tokens, bos)
    return Prepared(model, tokens, metric, component, mode, by_position, n_groups, layers, plan, memory)


def sweep_rows(model: GPT2, *args, **options) -> Iterator[tuple[int, Float[Tensor, "..."]]]:
    """(layer, row of values) as they are computed, with the arguments of `prepare`. Closing the generator stops the sweep."""
    yield from prepare(model, *args, **options).rows()


def sweep(model: GPT2, clean_tokens: Prompt, corrupted_tokens: Prompt, metric: MetricFunction, component: str = "resid_pre", **options) -> Sweep:  # fmt: skip
    """The metric with each cell patched, and the controls; options as for `prepare`."""
    prepared = prepare(model, clean_tokens, corrupted_tokens, metric, component, **options)
    return prepared.result(torch.stack([row for _, row in prepared.rows()]))
