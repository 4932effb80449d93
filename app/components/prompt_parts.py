"""A prompt as a row of named, coloured parts that add up to the exact text, with its white space marked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gradio as gr

from app.components.base import html_component, with_id

KINDS = ("context", "example", "question", "cue")
_MARKS = {" ": "·", "\n": "↵", "\t": "⇥"}
_VISIBLE = re.compile(r"^ +| +$|(?<=\n) +| +(?=\n)| {2,}|\n|\t")


@dataclass(frozen=True)
class PromptPart:
    """One part: its printed name, what it is for, its exact text, and a remark shown on hover."""

    label: str
    kind: str
    text: str
    title: str = ""
    counted: bool = False


def marked(text: str) -> list[list[str]]:
    """The text in runs [exact characters, mark]; the mark is "" for ordinary text. The characters add up to the text.

    Marked is what one would overlook: line breaks, tabs, and spaces at an edge or in a row.
    """
    runs, at = [], 0
    for found in _VISIBLE.finditer(text):
        if found.start() > at:
            runs.append([text[at : found.start()], ""])
        runs += [[character, _MARKS[character]] for character in found.group()]
        at = found.end()
    return runs + ([[text[at:], ""]] if at < len(text) else [])


def prompt_parts_value(
    parts: Sequence[PromptPart] | None,
    *,
    label: str,
    kinds: Mapping[str, str],
    notes: Sequence[str] = (),
    problem: str = "",
    counted: str = "",
) -> dict:
    """The value of `prompt_parts`. parts None: the last ones stay, with `problem` below. kinds: the printed name of each kind.

    Raises ValueError for a part of an unknown kind.
    """
    for part in parts or ():
        if part.kind not in KINDS:
            raise ValueError(f"A part of a prompt is one of {', '.join(KINDS)}, got {part.kind!r}.")
    used = [kind for kind in KINDS if any(part.kind == kind for part in parts or ())]
    rows = [
        {"label": p.label, "kind": p.kind, "runs": marked(p.text), "title": p.title, "counted": p.counted} for p in parts or ()
    ]
    return with_id(
        {
            "parts": None if parts is None else rows,
            "legend": [{"kind": kind, "text": kinds[kind]} for kind in used],
            "label": label,
            "notes": list(notes),
            "problem": problem,
            "counted": counted if any(part.counted for part in parts or ()) else "",
        }
    )


def prompt_parts(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The parts. It raises no events."""
    return html_component("prompt_parts", elem_id, value, **kw)
