"""Part of the attention tab: the selected weight's score taken apart, by dimensions and by who wrote the query and the key."""

import gradio as gr
import numpy as np

from app.components.heat_map import heat_map, heat_map_value
from app.components.panel import Exports, panel, panel_value
from app.figures.attention import dimension_bars
from app.page import Page
from app.service import attention_scores as service
from app.service.view import View, as_numpy
from app.tabs.attention_choices import BY_HEAD, KEY, chosen_cell, seen
from app.tabs.badges import check_badge
from app.text import words

NAMED = 3  # pairs of parts that are said in words


def build(page: Page) -> None:
    """The score's parts as a map, and its dimensions as bars."""
    gr.Markdown(page.label("attention.title_scores"))
    head = panel("gb_attention_score_head")
    by_head = gr.Checkbox(False, label=page.label("attention.by_head"), elem_id="gb_attention_by_head")
    page.control(BY_HEAD, by_head)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            table = heat_map("gb_attention_score")
        with gr.Column(min_width=320):
            other = panel("gb_attention_dimensions_head")
            bars = gr.Plot(show_label=False, elem_id="gb_attention_dimensions")
    page.shows("attention", [head, table, other, bars], _values, depends=lambda s: seen(s, KEY, BY_HEAD))
    page.hands_out(head, lambda view: service.parts_evidence(view, chosen_cell(view), BY_HEAD.of(view.state)))
    page.hands_out(other, lambda view: service.dimensions_evidence(view, chosen_cell(view)))


def _values(view: View) -> list:
    t, at = words(view.state.lang), chosen_cell(view)
    found = service.parts(view, at, BY_HEAD.of(view.state))
    labels, table = [part_name(t, label) for label in found.labels], as_numpy(found.table)
    top = service.largest(table, tuple(labels), NAMED)
    names = "; ".join(t("attention.score_pair", query=q, key=k, value=v) for q, k, v in top)
    query, key, place = view.shown[at[0]], view.shown[at[1]], f"L{view.layer}H{view.head}"
    said = t("attention.score_what", place=place, query=query, q=at[0], key=key, k=at[1], score=found.score, parts=names)
    dimensions, parts = found.checks
    head = panel_value(
        said,
        help=t("attention.score_help"),
        help_label=t("page.help"),
        badges=[check_badge(t, parts, t("attention.check_parts"))],
        exports=Exports("gb_attention_score", f"{place}-score-parts", t.section("panel")),
    )
    other = panel_value(
        t("attention.dimensions_what", n=len(found.dimensions), largest=int(np.abs(as_numpy(found.dimensions)).argmax())),
        help=t("attention.dimensions_help"),
        help_label=t("page.help"),
        badges=[check_badge(t, dimensions, t("attention.check_dimensions"))],
        exports=Exports("gb_attention_dimensions", f"{place}-score-dimensions", t.section("panel")),
    )
    picture = heat_map_value(
        table,
        rows=labels,
        columns=labels,
        text={**t.section("heat_map"), "label": said},
        unit=t("attention.score_unit"),
        row_title=t("attention.score_rows", query=query),
        column_title=t("attention.score_columns", key=key),
    )
    return [head, picture, other, dimension_bars(as_numpy(found.dimensions), t.section("attention_dimensions"))]


def part_name(t, label: str) -> str:
    """A part of the residual stream in the page's language; "L0 attn" and the like stay."""
    named = {name: t(f"attention.part_{name}") for name in ("embed", "pos_embed", "bias", "edits")}
    return named.get(label, label)
