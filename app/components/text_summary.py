"""A few figures about a text, each with its explanation, and what can be done with the text."""

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from app.components.base import html_component, with_id


@dataclass(frozen=True)
class Figure:
    """One number with its unit, as printed; `was` without the edits; `title` one sentence that explains it."""

    label: str
    value: str
    title: str = ""
    was: str | None = None


@dataclass(frozen=True)
class Action:
    """A button. One with `copy` puts that text on the clipboard and says `done`; others raise `summaryaction` with their name."""

    name: str
    label: str
    title: str = ""
    copy: str | None = None
    done: str = ""
    failed: str = ""


def text_summary_value(
    figures: Sequence[Figure],
    *,
    heading: str = "",
    note: str = "",
    label: str = "",
    actions: Sequence[Action] = (),
    strip: str | None = None,
    credit: str = "",
) -> dict:
    """The value of `text_summary`. note: a few words behind the figures. strip: the element id of a token strip; what a reader selects
    there and copies gets the line `credit` behind it, if generated tokens are among it."""
    return with_id(
        {
            "figures": [vars(figure) for figure in figures],
            "heading": heading,
            "note": note,
            "label": label,
            "actions": [vars(action) for action in actions],
            "strip": strip,
            "credit": credit,
        }
    )


def text_summary(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The figures. Event `summaryaction` with `event.name`."""
    return html_component("text_summary", elem_id, value, **kw)
