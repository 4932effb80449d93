"""The head of a panel: what one is looking at in one line, a (?) that explains the method, and exactness badges."""

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from app.components.base import html_component, with_id


@dataclass(frozen=True)
class Badge:
    """A small label: an identity that was checked, or where numbers come from. ok=False turns it red."""

    text: str
    title: str = ""
    ok: bool = True


def panel_value(what: str, *, help: str = "", help_label: str = "?", badges: Sequence[Badge] = ()) -> dict:
    """The value of `panel`."""
    shown = [{"text": b.text, "title": b.title, "ok": b.ok} for b in badges]
    return with_id({"what": what, "help": help, "help_label": help_label, "badges": shown})


def panel(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The head. It raises no events."""
    return html_component("panel", elem_id, value, **kw)
