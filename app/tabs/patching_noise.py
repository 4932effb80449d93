"""The panel of causal tracing: words drowned in noise, and where one restored state brings the answer back."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.components.heat_map import heat_map
from app.components.panel import Exports, panel, panel_value
from app.page import Page
from app.service import patching_noise as service
from app.service import patching_scripts_more as scripts
from app.service.patching import Asked
from app.service.patching_noise import Trace
from app.service.view import View
from app.tabs.patching_job import Offered, Work, menu, offer
from app.tabs.patching_maps import click, depends, map_value, scale
from app.tabs.patching_words import metric_text, number
from app.text import Words, words


def build(page: Page, shown: Callable[[Any], bool]) -> Offered:
    """One map, and what is restored."""
    head = panel("gb_patching_noise_head")
    with gr.Row(equal_height=False):
        state = gr.Radio(list(service.STATES), label=page.label("patching.restored"), min_width=320, scale=3, elem_id="gb_patching_restored")  # fmt: skip
        window = gr.Number(service.WINDOW.default, precision=0, minimum=1, maximum=48, label=page.label("patching.window"), min_width=120, scale=1, elem_id="gb_patching_window")  # fmt: skip
    traced = heat_map("gb_patching_noise")
    menu(page, service.STATE, state)
    page.control(service.WINDOW, window)
    work = Work(cost=service.cost, begun=service.begun, steps=service.steps)
    job = offer(page, "gb_patching_noise", [head, traced], work, _draw, shown=shown, depends=depends("restored", "window"))
    click(page, traced, "stream")
    page.hands_out(head, scripts.noise_evidence)
    return job


def _draw(view: View, found: Trace | None) -> list:
    t, asked = words(view.state.lang), service.asked(view)
    q = asked.question
    shown = scale(view, t, q, [found and found.found], "noise_tick")
    unit = {"unit": t("patching.noise_unit")} if shown.normalised else {}
    what = Asked(q, "resid_post" if asked.component == "resid_post" else asked.component)
    columns = {"columns": view.show(q.clean)}
    value = map_value(view, t, what, found and found.found, shown, label=t("patching.noise_label"), **unit, **columns)
    return [_head(view, t, asked, found), value]


def _head(view: View, t: Words, asked: service.TraceKey, found: Trace | None) -> dict:
    q = asked.question
    drowned = " ".join(f"“{token}”" for token in view.show(q.clean[q.first : q.last + 1]))
    numbers = ("–",) * 3 if found is None else (found.found.clean, found.found.corrupted, found.spread)
    clean, corrupted, spread = (x if isinstance(x, str) else number(x) for x in numbers)
    said = t("patching.noise_what", words=drowned, metric=metric_text(t, view, q), clean=clean, drowned=corrupted, spread=spread, samples=service.SAMPLES)  # fmt: skip
    exports = Exports("gb_patching_noise", "patching-noise", t.section("panel"))
    return panel_value(said, help=t("patching.noise_help"), help_label=t("page.help"), exports=exports)
