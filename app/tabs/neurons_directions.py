"""Directions read through the vocabulary: two tokens' difference, and what a head's matrices read and write."""

import gradio as gr

from app.components.bar_list import Bar, Bars, bar_list, bar_list_value
from app.components.panel import Exports, panel, panel_value
from app.page import Page
from app.service import identities
from app.service import neurons_directions as service
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.tabs.badges import identity
from app.text import words


def build(page: Page) -> None:
    """The panel."""
    label = page.label
    head = panel("gb_neurons_direction_head")
    with gr.Row(equal_height=False):
        kind = gr.Radio([], label=label("neurons.direction"), scale=3, min_width=280, elem_id="gb_neurons_direction_kind")
        with gr.Column(min_width=240, scale=2) as has_tokens:
            with gr.Row():
                plus = gr.Textbox("", label=label("neurons.plus"), max_lines=1, min_width=100, elem_id="gb_neurons_plus")
                minus = gr.Textbox("", label=label("neurons.minus"), max_lines=1, min_width=100, elem_id="gb_neurons_minus")
        with gr.Column(min_width=160, visible=False) as has_rank:
            rank = gr.Number(0, precision=0, minimum=0, maximum=7, label=label("neurons.singular"), elem_id="gb_neurons_singular")  # fmt: skip
    lists = bar_list("gb_neurons_direction")
    page.shows("neurons", [kind, has_tokens, has_rank], _kind, depends=lambda s: (service.KIND.of(s), s.lang), control=True)
    page.changes(kind.input, service.KIND.on, inputs=[kind])
    for setting, box in ((service.PLUS, plus), (service.MINUS, minus), (service.RANK, rank)):
        _typed(page, setting, box)
    page.shows("neurons", [head, lists], _directions, depends=_depends)
    page.hands_out(head, service.evidence)


def _typed(page: Page, setting: Setting, box) -> None:
    own = lambda s: dict(s.settings).get(setting.name)  # noqa: E731
    page.shows("neurons", [box], lambda view: [setting.of(view.state)], depends=own, control=True)
    for listener in (box.submit, box.blur) if isinstance(box, gr.Textbox) else (box.input, box.blur, box.submit):
        page.changes(listener, setting.on, inputs=[box], own_control=True)


def _depends(state: PageState) -> tuple:
    names = ("neurons.direction", "neurons.plus", "neurons.minus", "neurons.singular")
    of_head = () if service.KIND.of(state) == "tokens" else (state.layer, state.head)
    return (state.model, state.lang, *of_head, *(s for s in state.settings if s[0] in names))


def _kind(view: View) -> list:
    t, kind = words(view.state.lang), service.KIND.of(view.state)
    choices = [(t(f"neurons.direction_{name}"), name) for name in service.KIND.one_of]
    of_tokens = kind == "tokens"
    return [gr.update(choices=choices, value=kind), gr.update(visible=of_tokens), gr.update(visible=not of_tokens)]


def _directions(view: View) -> list:
    t, found, kind = words(view.state.lang), service.directions(view), service.KIND.of(view.state)
    if kind == "tokens":
        what = t("neurons.tokens_what", plus=found.words[0], minus=found.words[1], size=found.size)
    else:
        place = {"layer": view.layer, "head": view.head, "rank": service.RANK.of(view.state), "kind": kind}
        what = t("neurons.svd_what", size=found.size, share=found.share, **place)
    exports = Exports("gb_neurons_direction", "direction", t.section("panel"))
    badges, help = identity(t, identities.direction(view)), t("neurons.direction_help")
    head = panel_value(what, help=help, help_label=t("page.help"), badges=badges, exports=exports)
    lists = []
    for name, ends in found.lists:
        side = t(f"neurons.side_{name}")
        lists += [
            Bars(side, _rows(view, ends.up_ids, ends.up_values, ends)),
            Bars(t("neurons.side_not", side=side), _rows(view, ends.down_ids, ends.down_values, ends)),
        ]
    label, unit = t("neurons.direction_label"), t(f"neurons.direction_unit_{kind}")
    return [head, bar_list_value(lists, text=t.section("bar_list"), label=label, unit=unit, bound=1.0)]


def _rows(view: View, ids, values, ends) -> list[Bar]:
    """Bars as shares of the side's largest number, since the two sides have different units; the numbers are printed."""
    largest = max(abs(ends.up_values[0].item()), abs(ends.down_values[0].item())) or 1.0
    return [Bar(text, value / largest, f"{value:+.2f}") for text, value in zip(view.show(ids), values.tolist())]
