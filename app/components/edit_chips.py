"""The edits in force, as chips that can be taken away one by one."""

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from app.components.base import chosen_text, html_component, with_id

TEXT_KEYS = ("label", "empty", "remove", "clear")


@dataclass(frozen=True)
class EditChip:
    """One edit: its short label ("L2H1 zeroed") and a sentence for hover. Its index is its place in the plan."""

    label: str
    title: str = ""


def edit_chips_value(edits: Sequence[EditChip], *, text: dict[str, str]) -> dict:
    """The value of `edit_chips`; `edits` in the order of the plan, possibly none. Raises KeyError when a sentence is missing."""
    chips = [{"index": index, "label": edit.label, "title": edit.title} for index, edit in enumerate(edits)]
    return with_id({"edits": chips, "text": chosen_text(text, TEXT_KEYS)})


def edit_chips(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The chips. Events `editremove` with `event.index`, and `editclear`."""
    return html_component("edit_chips", elem_id, value, **kw)
