"""A matrix of numbers as a coloured map one can read, click and walk through with the arrow keys.

Made for layer x position and layer x head, from 2 x 4 to 48 x 1,024 cells: only what is in view is painted. Zero is white (dark
in the dark theme); signed numbers run from orange through zero to blue on a scale that is the same on both sides, so that the
colours of two maps can be compared when they are given the same `bound`. A cell whose number is NaN has not been computed yet
and is hatched.

Value (all keys always present):
    id          content hash            values    packed float32 [row column], NaN where not yet computed
    rows, columns               labels;  row_title, column_title: what they are
    unit        of the numbers;         caption   one line under the map, or ""
    diverging   True: colours from -bound to bound around `center`; False: from center to center + bound
    bound, center               ticks     [[value, label]]: named places on the colour scale
    selected    [row, column] | None    marked    [[row, column]];  marked_label: what the mark means
    text        the sentences of TEXT_KEYS
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gradio as gr
import numpy as np

from app.components.base import chosen_text, html_component, with_id
from app.components.packing import pack

Cell = tuple[int, int]
TEXT_KEYS = ("label", "hover", "not_yet", "marked", "keys")


def heat_map_value(
    values: Any,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    text: Mapping[str, str],
    unit: str,
    diverging: bool = True,
    bound: float | None = None,
    center: float = 0.0,
    selected: Cell | None = None,
    marked: Iterable[Cell] | None = None,
    marked_label: str = "",
    caption: str | None = None,
    row_title: str = "",
    column_title: str = "",
    ticks: Sequence[tuple[float, str]] = (),
) -> dict[str, Any]:
    """The value of the heat map.

    values: [row column], NaN where not yet computed. text: `t.section("heat_map")`; another "label" names the map to a screen
    reader. bound: where the colours end, as a distance from `center`; None: at the largest distance among the values.
    ticks: named places on the scale, such as (0.0, "corrupted"), (1.0, "clean"). marked: cells with a corner, explained by
    `marked_label`. Raises ValueError when shapes, cells or the bound do not fit.
    """
    table = np.asarray(values, np.float32)
    shape = (len(rows), len(columns))
    if table.shape != shape or not all(shape):
        raise ValueError(f"got numbers of shape {table.shape} for {shape[0]} rows and {shape[1]} columns; give one per cell.")
    if np.isinf(table).any():
        raise ValueError("got an infinite number; give finite ones, or NaN for a cell that is not computed yet.")
    marks = [[int(row), int(column)] for row, column in marked or ()]
    for row, column in [*marks, *([selected] if selected is not None else [])]:
        if not (0 <= row < shape[0] and 0 <= column < shape[1]):
            raise ValueError(f"got the cell {(row, column)}; the map has {shape[0]} rows and {shape[1]} columns.")
    bound = _largest(table, center) if bound is None else float(bound)
    if not (bound > 0 and math.isfinite(bound)):
        raise ValueError(f"got bound={bound}; the colours end at a positive number.")
    value = {
        "values": pack(table),
        "rows": list(rows),
        "columns": list(columns),
        "row_title": row_title,
        "column_title": column_title,
        "unit": unit,
        "diverging": bool(diverging),
        "bound": bound,
        "center": float(center),
        "ticks": [[float(at), label] for at, label in ticks],
        "selected": None if selected is None else [int(selected[0]), int(selected[1])],
        "marked": marks,
        "marked_label": marked_label,
        "caption": caption or "",
        "text": chosen_text(dict(text), TEXT_KEYS),
    }
    return with_id(value)


def heat_map(elem_id: str, value: dict | None = None, **kwargs: Any) -> gr.HTML:
    """The component. Event `cellselect` with `event.row` and `event.col` on click, Enter and arrow keys; listeners pass
    `event_data=True` to `Page.changes`."""
    return html_component("heat_map", elem_id, value=value, **kwargs)


def _largest(table: np.ndarray, center: float) -> float:
    known = np.abs(table[~np.isnan(table)] - center)
    return float(known.max(initial=0)) or 1.0
