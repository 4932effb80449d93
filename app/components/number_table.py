"""A table of numbers and words to read, search, order and choose a row from.

Value (all keys always present):
    id          content hash
    columns     [{label, title, kind: "text"|"token"|"number", digits, bound}]; bound: a bar from zero to it behind the number, 0: none
    rows        one list of cells per row: text, a number, or None for what is not known (printed as –)
    selected    index of a row | None          marked   indices of rows to print bold
    order       [column, descending] | None    what the rows are ordered by at first; None: as given
    sorts       True: a column's head is a button           chooses  True: rows can be chosen        finds  True: with a search box
    text        the sentences of TEXT_KEYS
Rows are counted as the caller gave them, whatever the order on the page. With hundreds of rows only those in view are in the document.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.components.base import chosen_text, html_component, with_id

TEXT_KEYS = ("label", "find", "none", "sort", "unknown", "rows")
KINDS = ("text", "token", "number")


@dataclass(frozen=True)
class Column:
    """label: the head; title: what it means, on hover; digits: behind the point; bound: where a number's bar ends, 0 for none."""

    label: str
    kind: str = "number"
    title: str = ""
    digits: int = 2
    bound: float = 0.0


def number_table_value(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    *,
    text: Mapping[str, str],
    selected: int | None = None,
    marked: Iterable[int] = (),
    order: tuple[int, bool] | None = None,
    sorts: bool = False,
    chooses: bool = False,
    finds: bool = False,
) -> dict[str, Any]:
    """The value of the table. text: `t.section("number_table")`, with another "label" to name the table to a screen reader.

    Raises ValueError for a row of another length than the columns, an infinite number, or a row or column that is not there.
    """
    for column in columns:
        if column.kind not in KINDS:
            raise ValueError(f"A column is of {', '.join(KINDS)}, got {column.kind!r}.")
    if wrong := [i for i, row in enumerate(rows) if len(row) != len(columns)]:
        raise ValueError(f"Row {wrong[0]} has {len(rows[wrong[0]])} cells for {len(columns)} columns; give one per column.")
    marks = sorted(int(row) for row in marked)
    if outside := [row for row in [*marks, *([] if selected is None else [selected])] if not 0 <= row < len(rows)]:
        raise ValueError(f"got row {outside[0]} of a table of {len(rows)} rows.")
    if order is not None and not 0 <= order[0] < len(columns):
        raise ValueError(f"got column {order[0]} of a table of {len(columns)} columns.")
    value = {
        "columns": [
            {"label": c.label, "title": c.title, "kind": c.kind, "digits": c.digits, "bound": float(c.bound)} for c in columns
        ],
        "rows": [[_cell(cell, column) for cell, column in zip(row, columns)] for row in rows],
        "selected": None if selected is None else int(selected),
        "marked": marks,
        "order": None if order is None else [int(order[0]), bool(order[1])],
        "sorts": sorts,
        "chooses": chooses,
        "finds": finds,
        "text": chosen_text(dict(text), TEXT_KEYS),
    }
    return with_id(value)


def number_table(elem_id: str, value: dict | None = None, **kwargs: Any) -> gr.HTML:
    """The component. Events: `rowselect` with `event.row` on click and Enter; `sortselect` with `event.column` on a head."""
    return html_component("number_table", elem_id, value, **kwargs)


def _cell(cell: Any, column: Column) -> str | float | None:
    if column.kind != "number":
        return "" if cell is None else str(cell)
    if cell is None or math.isnan(float(cell)):
        return None
    if math.isinf(float(cell)):
        raise ValueError(
            f"The column {column.label!r} has an infinite number; give finite ones, or None for what is not known."
        )
    return round(float(cell), 6)
