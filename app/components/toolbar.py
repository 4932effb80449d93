"""The tools of the page: share, export, language, dark; and the one place that writes the address."""

from dataclasses import asdict, dataclass

import gradio as gr

from app.components.base import chosen_text, html_component, with_id

TEXT_KEYS = (
    "share", "share_title", "copied", "copy_failed", "export", "export_title", "export_json", "export_csv", "export_script",
    "language", "dark", "dark_title",
)  # fmt: skip


@dataclass(frozen=True)
class Download:
    """A file for the browser to save; a new `serial` saves it again."""

    serial: str
    name: str
    mime: str
    content: str


def toolbar_value(query: str, *, lang: str, text: dict[str, str], left_out: str = "", download: Download | None = None) -> dict:
    """The value of `toolbar`: the address's query to write, what it could not carry in a sentence, the language in use, and a file to
    save, if any."""
    file = None if download is None else asdict(download)
    said = {"query": query, "left_out": left_out, "lang": lang}
    return with_id({**said, "download": file, "text": chosen_text(text, TEXT_KEYS)})


def toolbar(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The tools. Event `exportrequest` with `event.kind`: "json", "csv" or "script"."""
    return html_component("toolbar", elem_id, value, **kw)
