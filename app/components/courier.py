"""Brings what a panel hands out: saves a file, or shows the scripts that compute the panel's numbers again."""

from dataclasses import asdict

import gradio as gr

from app.components.base import chosen_text, html_component, with_id
from app.components.toolbar import Download
from app.evidence import Evidence, as_csv, as_json
from app.text import Words

TEXT_KEYS = ("code_title", "ours", "lens", "no_lens", "copy", "copied", "copy_failed", "save", "close")


def courier_value(evidence: Evidence, kind: str, serial: str, t: Words) -> dict:
    """The value of `courier`. kind: "csv", "json" or "code"; serial: a new one brings it again. Raises ValueError for another kind."""
    files = {"csv": ("text/csv", as_csv), "json": ("application/json", as_json)}
    if kind not in (*files, "code"):
        raise ValueError(f"A panel can be saved as {', '.join(files)} or as code; got {str(kind)[:20]!r}.")
    file, code = None, None
    if kind == "code":
        code = {"name": evidence.name, "ours": evidence.code, "lens": evidence.lens_code}
    else:
        mime, write = files[kind]
        file = asdict(Download(serial, f"glassbox-{evidence.name}.{kind}", mime, write(evidence)))
    text = chosen_text(t.section("courier"), TEXT_KEYS)
    return with_id({"serial": serial, "download": file, "code": code, "text": text})


def courier(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """Takes no room on the page. Event `panelaction` with `event.panel`, an elem_id, and `event.kind`, "csv", "json" or "code"."""
    return html_component("courier", elem_id, value, **kw)
