"""One sentence: an error, a notice, or nothing."""

import gradio as gr

from app.components.base import html_component, with_id


def message_value(text: str, *, close: str, kind: str = "error", serial: int = 0) -> dict:
    """The value of `message`. kind: "error" or "notice". `serial` makes a repeated sentence appear again after it was closed."""
    if kind not in ("error", "notice"):
        raise ValueError(f"A message is an error or a notice, got {kind!r}.")
    return with_id({"text": text, "kind": kind, "close": close, "serial": serial})


def message(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The sentence. It raises no events."""
    return html_component("message", elem_id, value, **kw)
