"""A computation told step by step with its real numbers: one step at a time, previous and next, by buttons, dots or arrow keys.

Value (sealed; all keys always present): id; steps [{title, say, blocks, check}]; step; name; text. check: {text, title, ok} | null.
A block is one of (made by the functions below)
    {kind: "line", text}
    {kind: "table", rows [{label, values}], at (which entries are shown), of, digits, sums [number per row] | null}
    {kind: "rows", columns, rows [{id, cells, bar, off}], selected, note}        rows can be chosen
    {kind: "pieces", rows [{pieces, made, note}]}                                 a word being put together
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
import numpy as np

from app.components.anatomy_card import sampled
from app.components.base import chosen_text, html_component
from app.components.sealed import sealed

TEXT_KEYS = ("previous", "next", "step_of", "some", "sum")
WIDEST = 64  # entries of a table's row


def line(text: str) -> dict[str, Any]:
    """A calculation on a line of its own."""
    return {"kind": "line", "text": text}


def table(rows: Sequence[tuple[str, np.ndarray]], *, digits: int = 2, most: int = WIDEST, sums: bool = False) -> dict[str, Any]:
    """Vectors under each other, entry by entry; at most `most` entries, the first and the last among them.

    sums: the sum over all entries of the last row is shown at its end.
    """
    at = sampled(len(rows[0][1]), most)
    shown = [{"label": label, "values": [round(float(x), 6) for x in np.asarray(v)[at]]} for label, v in rows]
    total = float(f"{np.sum(rows[-1][1]):.6g}") if sums else None
    return {"kind": "table", "rows": shown, "at": at, "of": len(rows[0][1]), "digits": digits, "sum": total}


def rows(
    columns: Sequence[str],
    cells: Sequence[tuple[int, Sequence[str], float | None]],
    *,
    selected: int | None = None,
    off: Sequence[int] = (),
    note: str = "",
) -> dict[str, Any]:
    """A list whose rows can be chosen: (id, its cells, the length of its bar from 0 to 1 or None); off: ids that are greyed."""
    made = [{"id": int(i), "cells": list(c), "bar": None if b is None else float(b), "off": i in off} for i, c, b in cells]
    return {"kind": "rows", "columns": list(columns), "rows": made, "selected": selected, "note": note}


def pieces(steps: Sequence[tuple[Sequence[str], int | None, str]]) -> dict[str, Any]:
    """A word being put together: (its pieces, which one was just made, a note) from first to last."""
    return {"kind": "pieces", "rows": [{"pieces": list(p), "made": made, "note": note} for p, made, note in steps]}


def step(title: str, say: str, blocks: Sequence[dict[str, Any]], check: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One step. check: {text, title, ok} or None."""
    return {"title": title, "say": say, "blocks": list(blocks), "check": None if check is None else dict(check)}


def stepper_value(steps: Sequence[dict[str, Any]], at: int, *, name: str, text: Mapping[str, str]) -> dict[str, Any]:
    """The value. at: the step shown first. name: what is computed, for screen readers. Raises ValueError without steps."""
    if not steps:
        raise ValueError("A computation has at least one step; got none.")
    shown = min(max(at, 0), len(steps) - 1)
    return sealed({"steps": list(steps), "step": shown, "name": name, "text": chosen_text(dict(text), TEXT_KEYS)})


def stepper(elem_id: str, **kwargs: Any) -> gr.HTML:
    """The component. Events `stepselect` {step} and `rowselect` {row} (the id of a row)."""
    return html_component("stepper", elem_id, **kwargs)
