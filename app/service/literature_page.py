"""What the literature tab shows: outcomes of the page's model, kept as they are measured, and what a panel hands out.

The page's edits are not in force here: published numbers are of the model as it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.evidence import Evidence
from app.service.literature import cells, estimates, label, row, tolerance
from app.service.view import View, as_numpy
from interp import literature
from interp.literature import Outcome
from interp.literature.check import Check

CHECKS: tuple[str, ...] = tuple(literature.BY_ID)
AT_ONCE = 1.5  # seconds that opening the tab or a row may take, as estimated
FIRST = ("loss", "sums", "milk")  # measured when the tab opens, so that there is something to see


@dataclass(frozen=True)
class Line:
    """A check in the list: expected and measured name one number, of the cell that says most, and how many more there are."""

    id: str
    status: str
    first: str
    expected: str
    measured: float | None
    more: int
    compared: int
    missed: int
    tolerance: str


@dataclass(frozen=True)
class Table:
    """Numbers of a check to be drawn: measured and expected [row column], NaN where nothing is expected; None: no expectation.

    missed: row and column of the cells that are not as expected.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    axes: tuple[str, str]
    unit: str
    measured: np.ndarray
    expected: np.ndarray | None
    missed: tuple[tuple[int, int], ...]


def check(id: str) -> Check:
    return literature.BY_ID[id]


def kind(view: View) -> str:
    """Whose published numbers the model's are compared with: "small" or "xl", GPT-2's own; "other" for none."""
    names = {"small": "gpt2", "xl": "gpt2-xl"}
    return next((kind for kind, name in names.items() if literature.is_released(view.model, name)), "other")


def kept(view: View) -> dict[str, Outcome]:
    """The outcomes of this model so far, by the checks' ids."""
    return view.store.result((view.state.model, "literature"), dict)


def seconds(view: View, ids: Sequence[str]) -> float:
    """About how long these checks will take on this machine."""
    found = view.store.result((view.state.model, "literature estimates"), lambda: estimates(view.model))
    return sum(found[id] for id in ids)


def missing(view: View) -> list[str]:
    return [id for id in CHECKS if id not in kept(view)]


def steps(view: View) -> Iterator[str]:
    """Measures what is missing: the id of each check before it begins. Stop asking and it stops; what is done is kept."""
    waiting = missing(view)
    running = literature.run(view.model, waiting) if waiting else iter(())
    for id in waiting:
        yield id
        kept(view)[id] = next(running)


def first_ones(view: View) -> None:
    """Measures what a reader should find on opening the tab, where that takes no time."""
    wanted = [id for id in FIRST if id not in kept(view)]
    if wanted and seconds(view, wanted) <= AT_ONCE:
        kept(view).update((outcome.check.id, outcome) for outcome in literature.run(view.model, wanted))


def outcome(view: View, id: str) -> Outcome | None:
    """A check's outcome; measured now where that takes no time, None where it would."""
    if id not in kept(view) and seconds(view, [id]) <= AT_ONCE:
        kept(view)[id] = next(literature.run(view.model, [id]))
    return kept(view).get(id)


def lines(view: View) -> list[Line]:
    """Every check, cheap ones first."""
    return [_line(id, kept(view).get(id)) for id in CHECKS]


def _line(id: str, found: Outcome | None) -> Line:
    if found is None or found.measured is None:
        return Line(id, "waiting" if found is None else found.status, "", "", None, 0, 0, 0, "")
    best = row(found, cells(found, 1)[0])
    compared = found.comparison
    return Line(
        id,
        found.status,
        best["name"],
        best["bound"].split(" ±")[0],
        best["measured"],
        found.measured.values.numel() - 1,
        compared.cells if compared else 0,
        len(compared.misses) if compared else 0,
        tolerance(found),
    )


def table(found: Outcome) -> Table:
    """What there is to draw of an outcome that was measured."""
    measured = found.measured
    expected = None
    if found.expected:
        bounds = [[found.expected.get((r, c)) for c in measured.columns] for r in measured.rows]
        expected = np.array([[np.nan if bound is None else bound.value for bound in line] for line in bounds], np.float32)
    values = as_numpy(measured.values).astype(np.float32)
    misses = found.comparison.misses if found.comparison else ()
    missed = tuple(
        (measured.rows.index(m.cell[0]), measured.columns.index(m.cell[1])) for m in misses if m.measured is not None
    )
    return Table(measured.rows, measured.columns, measured.axes, measured.unit, values, expected, missed)


def rows(found: Outcome, n: int = 8) -> list[dict]:
    """The cells worth reading first, as `app.service.literature.row` gives them."""
    return [row(found, cell) for cell in cells(found, n)]


def evidence(view: View, id: str) -> Evidence:
    """Every number of one check, and a script that measures them again. Raises ValueError where it has not been measured."""
    found = outcome(view, id)
    if found is None or found.measured is None:
        raise ValueError("This result has not been measured yet; measure it first.")
    measured = found.measured
    columns = ("name", "measured", "published", "low", "high")
    body = [_evidence_row(found, (r, c)) for r in measured.rows for c in measured.columns]
    facts = {
        "check": id,
        "status": found.status,
        "source": found.check.source,
        "weights": found.check.mode,
        "approximate": found.check.approximate,
        "facts": dict(measured.facts),
        "provenance": found.provenance.to_dict(),
    }
    return Evidence(f"literature-{id}", columns, body, _script(view, id), "", facts)


def _evidence_row(found: Outcome, cell: tuple[str, str]) -> tuple:
    bound = found.expected.get(cell)
    published = (None, None, None) if bound is None else (bound.value, bound.low, bound.high)
    return (label(cell), found.measured[cell], *published)


def _script(view: View, id: str) -> str:
    p = kept(view)[id].provenance
    return f'''"""Made by GPT-2 Glassbox {p.version}; weights sha256 {p.weights_sha256}."""

from gpt2_core import load
from interp import literature

model = load({view.state.model!r}, device={p.device!r}, dtype={p.dtype!r})
outcome = next(literature.run(model, [{id!r}]))
print(outcome.status, "of", outcome.check.source)
for row, values in zip(outcome.measured.rows, outcome.measured.values.tolist()):
    print(row, *(f"{{value:.6f}}" for value in values))
'''


def everything(view: View) -> Evidence:
    """The list of all checks, as far as they were measured, and the command that prints it."""
    found = [outcome for id in CHECKS if (outcome := kept(view).get(id)) is not None and outcome.measured is not None]
    body = [
        (o.check.id, o.check.title, *_evidence_row(o, (r, c)))
        for o in found
        for r in o.measured.rows
        for c in o.measured.columns
    ]
    columns = ("check", "title", "name", "measured", "published", "low", "high")
    code = f'''"""Measures every check, the quick ones first; the same as: python -m app literature --model {view.state.model}"""

from gpt2_core import load
from interp import literature

for outcome in literature.run(load({view.state.model!r})):
    print(outcome.status, outcome.check.id, outcome.check.title)
'''
    return Evidence("literature", columns, body, code, "", {"model": view.state.model, "checks": len(found)})
