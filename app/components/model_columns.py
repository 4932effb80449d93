"""Several models beside each other: what each wrote or found, its bars, and a few numbers. On a phone they stand below each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import gradio as gr

from app.components.base import html_component, with_id
from app.components.prompt_parts import marked

STATES = ("done", "running", "waiting", "failed")


@dataclass(frozen=True)
class Fact:
    """A number with its name; `title` explains it on hover."""

    label: str
    value: str
    title: str = ""

    def content(self) -> dict:
        return {"label": self.label, "value": self.value, "title": self.title}


@dataclass(frozen=True)
class Text:
    """A text with a heading. generated: what a model wrote, marked so on the page and in what is copied."""

    label: str
    text: str
    generated: str = ""
    main: bool = False
    empty: str = ""

    def content(self) -> dict:
        return {
            "kind": "text",
            "label": self.label,
            "runs": marked(self.text),
            "generated": self.generated,
            "main": self.main,
            "empty": self.empty,
        }


@dataclass(frozen=True)
class Bar:
    """One bar. width and before: shares of the axis, 0..1 (before: an outline, None for none); value and extra are printed."""

    text: str
    width: float
    value: str
    extra: str = ""
    title: str = ""
    before: float | None = None
    picked: bool = False


@dataclass(frozen=True)
class Bars:
    """Bars with a heading and a sentence on their scale. align "right": they grow from zero on the right."""

    label: str
    bars: Sequence[Bar]
    note: str = ""
    align: str = "left"

    def content(self) -> dict:
        for bar in self.bars:
            if not (0 <= bar.width <= 1 and 0 <= (bar.before or 0.0) <= 1):
                raise ValueError(
                    f"The bar {bar.text!r} reaches {bar.width}, {bar.before}; expected shares of the axis in 0..1."
                )
        rows = [vars(bar) | {"width": float(bar.width)} for bar in self.bars]
        return {"kind": "bars", "label": self.label, "rows": rows, "note": self.note, "align": self.align}


@dataclass(frozen=True)
class Table:
    """A small table; the first column names the row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def content(self) -> dict:
        return {"kind": "table", "head": list(self.head), "rows": [list(row) for row in self.rows]}


@dataclass(frozen=True)
class ModelColumn:
    """One model: heading, a line on its state, blocks, numbers, remarks."""

    title: str
    status: str = ""
    state: str = "done"
    blocks: Sequence[Text | Bars | Table] = ()
    facts: Sequence[Fact] = ()
    notes: Sequence[str] = field(default=())


def model_columns_value(columns: Sequence[ModelColumn] | None, *, label: str, note: str = "") -> dict:
    """The value of `model_columns`. columns None: the last ones stay, dimmed, with `note` above them.

    Raises ValueError for an unknown state and for a bar outside its axis.
    """
    for column in columns or ():
        if column.state not in STATES:
            raise ValueError(f"A column is one of {', '.join(STATES)}, got {column.state!r}.")
    rows = [
        {
            "title": c.title,
            "status": c.status,
            "state": c.state,
            "blocks": [block.content() for block in c.blocks],
            "facts": [fact.content() for fact in c.facts],
            "notes": list(c.notes),
        }
        for c in columns or ()
    ]
    return with_id({"columns": None if columns is None else rows, "label": label, "note": note})


def model_columns(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The columns. They raise no events."""
    return html_component("model_columns", elem_id, value, **kw)
