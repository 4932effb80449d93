"""Logit lens as a table: what each layer would predict at each position if the model stopped there.

Rows run top-down from early to final, like the computation; the last row is the model's real prediction. Columns are the
tokens of the prompt. A cell shows the most likely next token, its colour a number chosen in the component (probability,
entropy, rank of a target).

Value (all keys always present):
    id          content hash
    rows        [{index, label}]: the rows shown; `index` is the row of the caller's arrays; left_out: how many are not
    tokens      shown tokens;  words: every distinct token text once;  top: packed word numbers [row position]
    top_p       packed probabilities [row position]
    top5        {words: packed [row position n], p: packed [row position n]} or None
    before      packed word numbers [row position] or None;  target: {text, p, rank} (packed) or None
    colors      {name: packed [row position]};  color: the one shown first;  selected [row index, position] | None
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
import numpy as np

from app.components.base import chosen_text, html_component, with_id
from app.components.packing import pack

COLORS = ("probability", "entropy", "rank")
TEXT_KEYS = (
    "table_label", "probability", "entropy", "rank", "unit_probability", "unit_entropy", "unit_rank", "position",
    "layer", "hover_before", "hover_target", "changed", "left_out", "color_by", "cell",
)  # fmt: skip


def sampled_rows(count: int, max_rows: int) -> list[int]:
    """At most `max_rows` of `count` rows, evenly spread, always with the first and the last."""
    if max_rows < 2:
        raise ValueError(f"got max_rows={max_rows}; the first and the last row are always shown, so give at least 2.")
    if count <= max_rows:
        return list(range(count))
    return sorted({round(i * (count - 1) / (max_rows - 1)) for i in range(max_rows)})


def lens_table_value(
    labels: Sequence[str],
    tokens: Sequence[str],
    top_text: Sequence[Sequence[str]],
    top_p: np.ndarray,
    *,
    text: dict[str, str],
    target: Mapping[str, Any] | None = None,
    before_text: Sequence[Sequence[str]] | None = None,
    top5: Sequence[Sequence[Sequence[tuple[str, float]]]] | None = None,
    selected: tuple[int, int] | None = None,
    colors: Mapping[str, np.ndarray] | None = None,
    color: str = "probability",
    max_rows: int = 100,
) -> dict[str, Any]:
    """The value of the lens table.

    labels: row labels from early (top) to final (bottom). top_text, top_p, before_text: [row position].
    top5: up to five (text, p) per cell, for the hover. colors: arrays [row position] for "entropy" (bits) and "rank" (of the
    target, 0 = most likely); "probability" is top_p. target: {"text", "p": [row position], "rank": [row position]} of a
    token followed through the layers. max_rows: rows beyond are left out evenly, never the first and the last.
    Raises ValueError when shapes do not fit.
    """
    shape = (len(labels), len(tokens))
    arrays = {"probability": top_p, **(colors or {})}
    _check(shape, arrays, color, target, top_text, before_text, top5)
    rows = sampled_rows(len(labels), max_rows)
    words = _Words()
    value = {
        "rows": [{"index": row, "label": labels[row]} for row in rows],
        "left_out": len(labels) - len(rows),
        "tokens": list(tokens),
        "top": words.packed(top_text, rows),
        "top_p": _floats(top_p, rows),
        "top5": None if top5 is None else _top5(top5, rows, words),
        "before": None if before_text is None else words.packed(before_text, rows),
        "target": None
        if target is None
        else {"text": target["text"], "p": _floats(target["p"], rows), "rank": _floats(target["rank"], rows)},
        "colors": {name: _floats(array, rows) for name, array in arrays.items()},
        "color": color,
        "selected": None if selected is None else [int(selected[0]), int(selected[1])],
        "words": list(words.number),
        "text": chosen_text(text, TEXT_KEYS),
    }
    return with_id(value)


def lens_table(elem_id: str, **kwargs: Any) -> gr.HTML:
    """The component. Event `cellselect` {row, pos} on click, Enter and arrow keys, where `row` counts the caller's rows, and
    `colorselect` {color}."""
    return html_component("lens_table", elem_id, **kwargs)


class _Words:
    """Numbers distinct words in order of appearance, so that each text travels once."""

    def __init__(self) -> None:
        self.number: dict[str, int] = {}

    def packed(self, table: Sequence[Sequence[str]], rows: Sequence[int]) -> dict[str, Any]:
        return pack(np.array([[self(word) for word in table[row]] for row in rows], np.uint32))

    def __call__(self, word: str) -> int:
        return self.number.setdefault(word, len(self.number))


def _floats(array: Any, rows: Sequence[int]) -> dict[str, Any]:
    return pack(np.asarray(array, np.float32)[rows])


def _top5(top5: Sequence[Sequence[Sequence[tuple[str, float]]]], rows: Sequence[int], words: _Words) -> dict[str, Any]:
    """Shorter lists are filled with probability -1, which the browser skips."""
    width = max((len(cell) for row in rows for cell in top5[row]), default=0)
    numbers = np.zeros((len(rows), len(top5[0]), width), np.uint32)
    p = np.full(numbers.shape, -1, np.float32)
    for i, row in enumerate(rows):
        for j, cell in enumerate(top5[row]):
            for n, (word, probability) in enumerate(cell):
                numbers[i, j, n], p[i, j, n] = words(word), probability
    return {"words": pack(numbers), "p": pack(p)}


def _check(
    shape: tuple[int, int], arrays: Mapping[str, Any], color: str, target: Mapping[str, Any] | None, *tables: Any
) -> None:
    if not all(shape):
        raise ValueError(f"got {shape[0]} rows and {shape[1]} tokens; the table needs at least one of each.")
    extra = {} if target is None else {"target p": target["p"], "target rank": target["rank"]}
    for name, array in {**arrays, **extra}.items():
        if np.shape(array) != shape:
            raise ValueError(f"{name} came as {np.shape(array)}; give one number per row and token, {shape}.")
    if unknown := set(arrays) - set(COLORS):
        raise ValueError(f"got colours {sorted(unknown)}; known are {', '.join(COLORS)}.")
    if color not in arrays:
        raise ValueError(f"got color={color!r} without its numbers; pass them in `colors` or choose {', '.join(arrays)}.")
    for table in tables:
        if table is not None and (len(table) != shape[0] or any(len(row) != shape[1] for row in table)):
            raise ValueError(f"a table of texts is not {shape[0]} x {shape[1]}; give one text per row and token.")
