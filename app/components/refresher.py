"""Asks the server for the open tab, when an event could answer for the header only.

Gradio's browser part walks through all components of the page for every output of an event. So an event lists the header and one tab
(`app.page`), and where the state says that another tab is open, the answer makes this component ask for that one.
"""

import secrets
from collections.abc import Sequence

import gradio as gr

from app.components.base import html_component, with_id


def refresher_value(tab: str) -> dict:
    """The value of `refresher`; each asks once."""
    return with_id({"event": event_name(tab), "serial": secrets.token_hex(4)})


def refresher(elem_id: str, tabs: Sequence[str], **kw) -> gr.HTML:
    """Takes no room on the page. An event `refresh_<tab>` for each of `tabs`."""
    return html_component("refresher", elem_id, events=[event_name(tab) for tab in tabs], **kw)


def event_name(tab: str) -> str:
    return f"refresh_{tab}"
