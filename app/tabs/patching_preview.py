"""The panel of previews: both maps guessed from a gradient, and every cell's guess beside its exact effect."""

from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np

from app.components.heat_map import heat_map
from app.components.panel import Badge, Exports, panel, panel_value
from app.figures.patching import Cloud, exact_and_preview
from app.page import Page
from app.service import patching as exact
from app.service import patching_pair as pairs
from app.service import patching_preview as service
from app.service import patching_scripts_more as scripts
from app.service.patching import Place
from app.service.patching_preview import Guess
from app.service.view import View
from app.tabs.patching_job import Offered, Work, menu, offer
from app.tabs.patching_maps import click, depends, map_value, scale
from app.tabs.patching_words import number, unit_text
from app.text import Words, words


def build(page: Page, shown: Callable[[Any], bool]) -> Offered:
    """Two maps, a scatter, and the choice of the method."""
    head = panel("gb_patching_preview_head")
    method = gr.Radio(list(service.METHOD.one_of), label=page.label("patching.preview"), elem_id="gb_patching_preview_method")
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=340):
            left = heat_map("gb_patching_preview_stream")
        with gr.Column(scale=2, min_width=320):
            right = heat_map("gb_patching_preview_heads")
    scatter = gr.Plot(show_label=False, elem_id="gb_patching_preview_scatter")
    menu(page, service.METHOD, method)
    work = Work(cost=service.cost, begun=service.begun, steps=service.steps)
    job = offer(page, "gb_patching_preview", [head, left, right, scatter], work, _draw, shown=shown, depends=depends("preview"))
    click(page, left, "stream")
    click(page, right, "heads")
    page.hands_out(head, scripts.preview_evidence)
    return job


def _draw(view: View, guesses: tuple[Guess, ...]) -> list:
    t, q = words(view.state.lang), pairs.question(view)
    asked = exact.asked(view, q)
    shown = scale(view, t, q, [g.found for g in guesses] + [g.exact for g in guesses])
    maps = []
    for side, what in enumerate(asked):
        found = guesses[side] if side < len(guesses) else None
        kind = "stream" if side == 0 else "heads"
        more = {"label": t(f"patching.preview_{kind}", part=what.component), "marked_label": t("patching.preview_missed")}
        maps.append(map_value(view, t, what, found and found.found, shown, marked=found.missed if found else (), **more))
    known = [g for g in guesses if g.exact is not None and g.exact.done == 1]
    if len(known) < 2:
        return [_head(view, t, q, guesses), *maps, gr.update(visible=False)]
    clouds = [_cloud(t, side, g) for side, g in enumerate(known)]
    figure = exact_and_preview(clouds, t.section("patching_scatter"), unit_text(t, q))
    return [_head(view, t, q, guesses), *maps, gr.update(value=figure, visible=True)]


def _cloud(t: Words, side: int, guess: Guess) -> Cloud:
    effects = [m.values - m.base for m in (guess.exact, guess.found)]
    cells = [Place(guess.what, *cell).name for cell in np.ndindex(effects[0].shape)]
    missed = [row * effects[0].shape[1] + column for row, column in guess.missed]
    return Cloud(t(f"patching_scatter.{'heads' if side else 'stream'}"), effects[0].ravel(), effects[1].ravel(), cells, missed)


def _head(view: View, t: Words, q: pairs.Question, guesses: tuple[Guess, ...]) -> dict:
    said, badges = [t("patching.preview_what")], []
    known = [g for g in guesses if g.matter is not None]
    if known:
        real, guessed = (np.concatenate([(m.values - m.base).ravel() for m in both]) for both in ([g.exact for g in known], [g.found for g in known]))  # fmt: skip
        r = np.corrcoef(real, guessed)[0, 1] if real.std() and guessed.std() else float("nan")
        numbers = {"matter": sum(g.matter for g in known), "missed": sum(len(g.missed) for g in known)}
        said.append(t("patching.preview_score", r=number(float(r)), **numbers))
    else:
        said.append(t("patching.preview_alone"))
    if guesses:
        badges.append(Badge(t("patching.preview_gap", gap=number(guesses[0].gap), unit=unit_text(t, q)), t("patching.preview_help")))  # fmt: skip
    exports = Exports("gb_patching_preview_scatter" if known else "gb_patching_preview_stream", "patching-preview", t.section("panel"))  # fmt: skip
    return panel_value(
        " ".join(said), help=t("patching.preview_help"), help_label=t("page.help"), badges=badges, exports=exports
    )
