"""Short lists of things with a number each, as bars side by side: tokens raised and lowered, neurons, features."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from app.components.base import chosen_text, html_component, with_id

TEXT_KEYS = ("empty", "before")


@dataclass(frozen=True)
class Bar:
    """One row. shown: the number as printed; before: the same number without what is being tried, drawn as a dashed outline.

    key: what a click reports, "" for a row that cannot be chosen. title: on hover and focus.
    """

    text: str
    value: float
    shown: str
    title: str = ""
    before: float | None = None
    key: str = ""


@dataclass(frozen=True)
class Bars:
    """A list under its title, in the order given."""

    title: str
    rows: Sequence[Bar]


def bar_list_value(
    lists: Sequence[Bars],
    *,
    text: dict[str, str],
    label: str,
    unit: str,
    selected: str | None = None,
    bound: float | None = None,
    caption: str = "",
) -> dict:
    """The value of `bar_list`. All bars share one scale, which ends at `bound` (default: the largest number there is).

    Raises ValueError for a number that is not finite, or larger than the bound.
    """
    numbers = [n for bars in lists for row in bars.rows for n in (row.value, row.before) if n is not None]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"A bar needs a finite number, got {next(n for n in numbers if not math.isfinite(n))}.")
    largest = max(map(abs, numbers), default=0.0)
    bound = largest if bound is None else bound
    if largest > bound:
        raise ValueError(f"The scale ends at {bound} but a bar reaches {largest}; pass a larger bound, or none.")
    content = {
        "lists": [{"title": bars.title, "rows": [_row(row) for row in bars.rows]} for bars in lists],
        "bound": float(bound) or 1.0,
        "signed": any(n < 0 for n in numbers),
        "selected": selected,
        "label": label,
        "unit": unit,
        "caption": caption,
        "text": chosen_text(text, TEXT_KEYS),
    }
    return with_id(content)


def _row(row: Bar) -> dict:
    before = None if row.before is None else float(row.before)
    shown = row.shown.replace("-", "\u2212", 1) if row.shown.startswith("-") else row.shown  # a minus sign, no hyphen
    return {**vars(row), "shown": shown, "value": float(row.value), "before": before}


def bar_list(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The lists. Event `rowselect` with `event.key`, on click and Enter, of rows that have a key."""
    return html_component("bar_list", elem_id, value, **kw)
