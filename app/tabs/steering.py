"""Tab: steering. A direction is tried while the model writes: both texts, where it points, what moves, where it breaks."""

from functools import partial

import gradio as gr

from app.components.panel import panel, panel_value
from app.page import Notice, Page
from app.service import steering as service
from app.service import steering_text
from app.service.view import View
from app.state import PageState
from app.tabs import steering_form, steering_panels, steering_texts
from app.text import words


def build(page: Page) -> None:
    """The tab's components and what they show."""
    head = panel("gb_steering_head")
    page.shows("steering", [head], _head, depends=lambda s: s.lang)
    with gr.Row(elem_classes="gb-examples"):
        for example in service.EXAMPLES:
            chip = gr.Button(page.label(f"steering.{example.name}"), size="sm", elem_id=f"gb_steering_{example.name}")
            page.changes(chip.click, partial(_choose, example))
    steering_form.build(page)
    steering_texts.build(page)
    steering_panels.build(page)


def _head(view: View) -> list:
    t = words(view.state.lang)
    return [panel_value(t("steering.what"), help=t("steering.help"), help_label=t("page.help"))]


def _choose(example: service.Example, state: PageState) -> PageState:
    likeliest = steering_text.TEMPERATURE.on(example.state(state), 0.0)  # what the sentence says was measured so
    raise Notice(likeliest, words(state.lang)(f"steering.{example.name}_look"))
