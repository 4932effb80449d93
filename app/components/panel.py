"""The head of a panel: what one is looking at in one line, a (?) that explains the method, and exactness badges."""

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from app.components.base import chosen_text, html_component, with_id

TEXT_KEYS = ("save", "save_title", "failed", "code", "code_title", "link", "link_title", "copied", "copy_failed")


@dataclass(frozen=True)
class Badge:
    """A small label: an identity that was checked, or where numbers come from. ok=False turns it red."""

    text: str
    title: str = ""
    ok: bool = True


@dataclass(frozen=True)
class Exports:
    """A panel's menu. picture: the elem_id of what PNG and SVG are made of, a `gr.Plot` or a component of ours whose script sets
    `element.gbPicture = () => svg`; "" where there is no picture. name: of the files. text: `t.section("panel")`."""

    picture: str
    name: str
    text: dict[str, str]


def panel_value(
    what: str, *, help: str = "", help_label: str = "?", badges: Sequence[Badge] = (), exports: Exports | None = None
) -> dict:
    """The value of `panel`."""
    shown = [{"text": b.text, "title": b.title, "ok": b.ok} for b in badges]
    menu = exports and {"picture": exports.picture, "name": exports.name, "text": chosen_text(exports.text, TEXT_KEYS)}
    return with_id({"what": what, "help": help, "help_label": help_label, "badges": shown, "exports": menu})


def panel(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The head. What its menu, where it has one, is asked for, the courier takes to the server (`Page.hands_out`)."""
    return html_component("panel", elem_id, value, **kw)
