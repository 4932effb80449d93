"""What the patching tab computes: sweeps as they run, one patched run's predictions, edits for the page's plan, and scripts.

A sweep that is cheap is computed when it is looked at; another says what it costs and waits to be asked (`Cost`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from app.service.patching_pair import Question, end_logits, metric_of
from app.service.view import View, as_numpy
from app.setting import Setting
from gpt2_core.accounting import forward_flops
from interp import patching
from interp.edits import NO_EDITS, Edit
from interp.patching import OF_HEADS, Cell, Sweep

STREAM = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
HEADS = ("z", "q", "k", "v", "pattern", "result", "neurons")
GROUPS = 16  # of neurons in a layer
AT_ONCE = 25e9  # FLOPs: less is computed unasked, about a second on two cores
TOP = 5
CLOSE = 1e-3  # metrics of the two runs nearer than this leave nothing to bring back
LEFT = Setting("patching.stream", "resid_pre", one_of=STREAM)
RIGHT = Setting("patching.part", "z", one_of=HEADS)
BY_POSITION = Setting("patching.by_position", False)
LOOK = Setting("patching.look", "", one_of=("", "stream", "heads"))


@dataclass(frozen=True)
class Cost:
    """What something takes before it is computed. bytes: beside the weights; rows: patched runs."""

    flops: float
    bytes: float
    seconds: float
    rows: int

    @property
    def small(self) -> bool:
        return self.flops <= AT_ONCE

    def __add__(self, other: "Cost") -> "Cost":
        """One after the other."""
        return Cost(
            self.flops + other.flops, max(self.bytes, other.bytes), self.seconds + other.seconds, self.rows + other.rows
        )


NOTHING = Cost(0, 0, 0, 0)


@dataclass(frozen=True)
class Asked:
    """One map: a component over all layers, or, where `layer` is a number, the heads of that layer at each position."""

    question: Question
    component: str
    layer: int | None = None

    @property
    def key(self) -> tuple:
        return (self.question.model, "patching sweep", self)


@dataclass(frozen=True)
class Map:
    """A sweep so far. values: the metric of each patched run [row column], NaN where it is not computed yet. sweep: the whole
    result, once it is there."""

    values: np.ndarray
    clean: float
    corrupted: float
    mode: str
    sweep: Sweep | None = None

    @property
    def base(self) -> float:
        return self.corrupted if self.mode == "denoise" else self.clean

    @property
    def done(self) -> float:
        """The share of cells that are computed."""
        return float(1 - np.isnan(self.values).mean())

    @property
    def normalised(self) -> np.ndarray:
        """0 is the corrupted run, 1 the clean one."""
        return (self.values - self.corrupted) / (self.clean - self.corrupted)


def run_flops(view: View, n: int) -> int:
    """FLOPs of a run over n tokens of which the last is unembedded."""
    return forward_flops(view.model.cfg, n, logits_positions=1).total


def asked(view: View, q: Question) -> tuple[Asked, Asked]:
    """The two maps: the stream, and the heads or neurons."""
    part = RIGHT.of(view.state)
    layer = view.layer if BY_POSITION.of(view.state) and part in OF_HEADS else None
    return Asked(q, LEFT.of(view.state)), Asked(q, part, layer)


def known(view: View, what: Asked) -> Map | None:
    """The finished map, if it is there."""
    return view.store.peek(what.key)


def cost(view: View, what: Asked) -> Cost:
    """What a map takes; nothing where it is there already."""
    if known(view, what) is not None:
        return NOTHING
    q, by_position = what.question, what.layer is not None
    reads = len(q.correct) + len(q.wrong) if "logit" in q.measure else None
    options = {"by_position": by_position, "n_groups": GROUPS, "first": q.first, "n_read": reads}
    whole = patching.estimate(view.model, len(q.clean), what.component, **options)
    part = view.config.n_layers if by_position else 1
    return Cost(whole.flops / part, whole.bytes, whole.seconds / part, whole.rows // part)


def prepared(view: View, what: Asked, layers: tuple[int, ...] | None = None) -> patching.Prepared:
    """Both runs done, ready to be patched. layers: None is all that the map has."""
    q = what.question
    layers = layers or (None if what.layer is None else (what.layer,))
    return patching.prepare(
        view.model,
        list(q.clean),
        list(q.corrupted),
        metric_of(view, q),
        what.component,
        mode=q.mode,
        by_position=what.layer is not None,
        n_groups=GROUPS,
        layers=layers,
        plan=q.plan,
    )


def steps(view: View, what: Asked) -> Iterator[Map]:
    """The map as its rows are computed; the last one is whole and kept."""
    found = known(view, what)
    if found is not None:
        yield found
        return
    ready, rows = prepared(view, what), _rows(view, what)
    yield _so_far(ready, rows)
    missing = tuple(layer for layer in ready.layers if layer not in rows)
    todo = ready if len(missing) == len(ready.layers) else prepared(view, what, missing)
    for layer, row in todo.rows() if missing else ():
        rows[layer] = row
        yield _so_far(ready, rows)
    sweep = ready.result(torch.stack([rows[layer] for layer in ready.layers]))
    whole = replace(_so_far(ready, rows), sweep=sweep)
    yield view.store.result(what.key, lambda: whole)


def begun(view: View, what: Asked) -> Map | None:
    """What is there of a map: all of it, some rows of a sweep that was stopped, or None for nothing."""
    found = known(view, what)
    if found is None and _rows(view, what):
        return _so_far(prepared(view, what), _rows(view, what))
    return found


def _rows(view: View, what: Asked) -> dict[int, torch.Tensor]:
    """The rows of a sweep by layer, as they are computed."""
    return view.store.result((what.question.model, "patching rows", what), dict)


def _so_far(ready: patching.Prepared, rows: dict[int, torch.Tensor]) -> Map:
    one = ready.layers[0]
    if len(ready.shape) == 2:  # one layer's heads by position
        values = as_numpy(rows[one]) if one in rows else np.full(ready.shape, np.nan)
    else:
        empty = np.full(ready.shape, np.nan)
        values = np.stack([as_numpy(rows[layer]) if layer in rows else empty for layer in ready.layers])
    return Map(values, ready.clean, ready.corrupted, ready.mode)


def whole(view: View, what: Asked) -> Map:
    """The finished map, computed if it is not there."""
    return list(steps(view, what))[-1]


@dataclass(frozen=True)
class Place:
    """A cell of one of the two maps. row, column: in that map."""

    what: Asked
    row: int
    column: int

    @property
    def layer(self) -> int:
        return self.row if self.what.layer is None else self.what.layer

    @property
    def cell(self) -> Cell:
        if self.what.component in STREAM:
            return Cell(position=self.column)
        if self.what.component == "neurons":
            return Cell(group=self.column)
        return Cell(head=self.column) if self.what.layer is None else Cell(head=self.row, position=self.column)

    @property
    def name(self) -> str:
        """Such as "resid_pre L1 @ 9", "z L1H2"."""
        cell, part = self.cell, self.what.component
        if cell.group is not None:
            return f"neurons L{self.layer} group {cell.group}"
        where = "" if cell.position is None else f" @ {cell.position}"
        return f"{part} L{self.layer}{'' if cell.head is None else f'H{cell.head}'}{where}"

    def edit(self, source: str) -> Edit | None:
        """This patch as an edit of a plan that takes the activation from a text; None where no edit says it."""
        part, cell = "z" if self.what.component == "result" else self.what.component, self.cell
        if part in ("pattern", "neurons"):
            return None
        return Edit.patch(
            part, self.layer, cell.head, text=source, positions=None if cell.position is None else (cell.position,)
        )


def selected(view: View, what: Asked) -> tuple[int, int]:
    """The cell of a map that the page's selection stands for."""
    at = len(what.question.clean) - 1
    position = at if view.state.position is None else min(view.state.position, at)
    if what.component in STREAM:
        return view.layer, position
    if what.component == "neurons":
        return view.layer, min(view.head, GROUPS - 1)
    return (view.layer, view.head) if what.layer is None else (view.head, position)


def looked_at(view: View, maps: tuple[tuple[Asked, Map | None], ...]) -> Place | None:
    """The cell whose run is shown: the one chosen last, or the strongest of the heads while none was chosen."""
    look = LOOK.of(view.state)
    what, found = maps[0] if look == "stream" else maps[1]
    if look:
        return Place(what, *selected(view, what))
    if found is None or np.isnan(found.values).any():
        return None
    return Place(what, *map(int, np.unravel_index(np.abs(found.values - found.base).argmax(), found.values.shape)))


@dataclass(frozen=True)
class Predicted:
    """The likeliest next tokens of a run, and how likely they are without the edits (None where there are none)."""

    ids: list[int]
    p: list[float]
    before: list[float] | None


def patched_logits(view: View, place: Place) -> torch.Tensor:
    """The logits [d_vocab] of the run with one cell patched."""
    key = (place.what.question.model, "patching cell", place)
    return view.store.result(key, lambda: prepared(view, place.what).logits(place.layer, place.cell).float())


def predicted(now: torch.Tensor, before: torch.Tensor | None) -> Predicted:
    """The top of a prediction."""
    p = now.softmax(-1)
    top = p.topk(TOP)
    was = None if before is None else before.softmax(-1)[top.indices].tolist()
    return Predicted(top.indices.tolist(), top.values.tolist(), was)


def without_edits(place: Place) -> Place | None:
    """The same cell with no edits in force; None where there are none."""
    q = place.what.question
    return replace(place, what=replace(place.what, question=replace(q, plan=NO_EDITS))) if q.plan else None


def patched_metric(view: View, place: Place) -> float:
    """The metric of the run with one cell patched."""
    return metric_of(view, place.what.question)(patched_logits(view, place)[None]).item()


def three(view: View, place: Place) -> dict[str, Predicted]:
    """What the clean, the corrupted and the patched run predict, each beside itself without the edits in force."""
    q, unedited = place.what.question, without_edits(place)
    ids = (q.clean, q.corrupted)
    runs = dict(zip(("clean", "corrupted"), end_logits(view, ids, q.plan))) | {"patched": patched_logits(view, place)}
    if unedited is None:
        return {name: predicted(logits, None) for name, logits in runs.items()}
    before = dict(zip(("clean", "corrupted"), end_logits(view, ids, NO_EDITS))) | {"patched": patched_logits(view, unedited)}
    return {name: predicted(logits, before[name]) for name, logits in runs.items()}
