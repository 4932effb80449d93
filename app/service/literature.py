"""The literature's results as plain data: what the command line prints, and what the page draws."""

from collections.abc import Iterator, Sequence
from typing import Any

from app.service.asking import finite, plain
from app.store import ModelStore
from gpt2_core.model import GPT2
from interp import literature
from interp.literature import Outcome
from interp.literature.check import Cell

STATUSES, chosen = literature.STATUSES, literature.chosen
SHOWN = 5  # cells of a table that stand for it in a list


def outcomes(store: ModelStore, model: str, only: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """A dict for each check, as it is done. Raises ValueError for an unknown check."""
    literature.chosen(only)
    for outcome in literature.run(store.model(model), only):
        yield plain_outcome(outcome)


def estimates(model: GPT2, only: Sequence[str] = ()) -> dict[str, float]:
    """Seconds that each check will take, about."""
    checks = literature.chosen(only)
    per_token = literature.seconds(model, checks[0]) / checks[0].tokens(model.config)
    return {check.id: check.tokens(model.config) * per_token for check in checks}


def plain_outcome(outcome: Outcome) -> dict[str, Any]:
    """A check and what came of it: numbers, strings and lists.

    "rows" are the cells worth reading first, all of them for a list; "table" is everything, [row column], None for no number.
    """
    check, measured, compared = outcome.check, outcome.measured, outcome.comparison
    return {
        "id": check.id,
        "title": check.title,
        "status": outcome.status,
        "weights": check.mode,
        "source": check.source,
        "approximate": check.approximate,
        "reason": outcome.reason,
        "unit": measured.unit if measured else "",
        "facts": dict(measured.facts) if measured else {},
        "compared": compared.cells if compared else 0,
        "missed": len(compared.misses) if compared else 0,
        "largest_difference": compared.largest if compared else None,
        "largest_at": label(compared.where) if compared and compared.where[0] else "",
        "tolerance": tolerance(outcome),
        "rows": [row(outcome, cell) for cell in cells(outcome)],
        "table": _table(outcome),
        "seconds": round(outcome.seconds, 3),
        "provenance": outcome.provenance.to_dict(),
    }


def cells(outcome: Outcome, n: int = SHOWN) -> list[Cell]:
    """The cells worth reading first: all of a list; of a table the n largest, as published or measured, and what was missed."""
    measured = outcome.measured
    if measured is None:
        return list(outcome.expected)[:n]
    every = [(r, c) for r in measured.rows for c in measured.columns]
    missing = [cell for cell in outcome.expected if cell not in measured]
    if measured.is_list:
        return every + missing
    misses = [miss.cell for miss in outcome.comparison.misses[:n]] if outcome.comparison else []
    size = {cell: abs(bound.value) for cell, bound in outcome.expected.items()} or {cell: abs(measured[cell]) for cell in every}
    return list(dict.fromkeys([*misses, *sorted(size, key=lambda cell: -size[cell])[:n]]))


def row(outcome: Outcome, cell: Cell) -> dict[str, Any]:
    """One cell: its name, what was expected (and the interval, as text) and what was measured."""
    bound = outcome.expected.get(cell)
    value = outcome.measured[cell] if outcome.measured and cell in outcome.measured else None
    return {
        "name": label(cell),
        "expected": None if bound is None else bound.value,
        "bound": "" if bound is None else str(bound),
        "measured": finite(value) if value is not None else None,
        "met": None if bound is None else value is not None and not bound.miss(value),
    }


def label(cell: Cell) -> str:
    """L9H9 of a head; "L8, 10" of a position; the name in a list."""
    name, column = cell
    return name + (column if column.startswith("H") else f", {column}" if column else "")


def tolerance(outcome: Outcome) -> str:
    """The tolerance that all cells share, as "± 0.01"; "" where they differ or there is none."""
    if len({f"{bound.slack:.3g}" for bound in outcome.expected.values()}) != 1:
        return ""
    slack = next(iter(outcome.expected.values())).slack
    return f"± {slack:.2g}" if slack else ""


def _table(outcome: Outcome) -> dict[str, Any] | None:
    measured = outcome.measured
    if measured is None:
        return None
    expected = [[outcome.expected.get((r, c)) for c in measured.columns] for r in measured.rows]
    return {
        "rows": list(measured.rows),
        "columns": list(measured.columns),
        "axes": list(measured.axes),
        "measured": plain(measured.values),
        "expected": [[None if bound is None else bound.value for bound in line] for line in expected],
    }
