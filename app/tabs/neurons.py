"""Tab: neurons. Which are at work here, one of them looked at from all sides, directions, and sparse autoencoders."""

from functools import partial

import gradio as gr

from app.components.bar_list import Bar, Bars, bar_list, bar_list_value
from app.components.panel import Exports, panel, panel_value
from app.components.token_strip import token_strip
from app.page import Page
from app.service import identities, neurons_evidence
from app.service import neurons as service
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.tabs import neurons_directions, neurons_held, neurons_sae, neurons_text
from app.tabs.badges import check_badge, identity
from app.tabs.neurons_strip import shaded
from app.text import Words, words


def build(page: Page) -> None:
    """The tab's components and what they show."""
    _list(page)
    _prompt(page)
    neurons_held.build(page)
    neurons_text.build(page)
    neurons_directions.build(page)
    neurons_sae.build(page)


def menu(page: Page, setting: Setting, component, choices) -> None:
    """Ties a menu to a setting. choices(t) -> (what is printed, value) of each, in the reader's language."""
    shown = lambda view: [gr.update(choices=choices(words(view.state.lang)), value=setting.of(view.state))]  # noqa: E731
    own = lambda s: (dict(s.settings).get(setting.name), s.lang)  # noqa: E731
    page.shows("neurons", [component], shown, depends=own, control=True)
    page.changes(component.input, setting.on, inputs=[component], own_control=True)


def _list(page: Page) -> None:
    head = panel("gb_neurons_list_head")
    with gr.Row(equal_height=False):
        rank = gr.Radio([], label=page.label("neurons.rank"), scale=4, min_width=280, elem_id="gb_neurons_rank")
        layer = gr.Dropdown([], label=page.label("neurons.layer"), filterable=False, min_width=90, elem_id="gb_neurons_layer")
        neuron = gr.Number(0, precision=0, minimum=0, label=page.label("neurons.neuron"), min_width=110, elem_id="gb_neurons_neuron")  # fmt: skip
    rows = bar_list("gb_neurons_list")
    menu(page, service.RANK, rank, lambda t: [(t(f"neurons.rank_{name}"), name) for name in service.RANK.one_of])
    page.shows("neurons", [head, rows], _ranked, depends=lambda s: only(s, "rank", "at"))
    page.shows("neurons", [layer, neuron], _chosen, depends=lambda s: only(s, "rank", "at"), control=True)
    page.changes(rows.rowselect, lambda s, event: service.choose(s, *map(int, event.key.split("."))), event_data=True)
    page.changes(layer.input, partial(_typed, page), inputs=[layer, neuron], own_control=True)
    for listener in (neuron.input, neuron.blur, neuron.submit):
        page.changes(listener, partial(_typed, page), inputs=[layer, neuron], own_control=True)
    page.hands_out(head, neurons_evidence.ranked_evidence)


def only(state: PageState, *names: str) -> PageState:
    """What a panel depends on: the page, and these settings of the tab."""
    kept = tuple(s for s in state.settings if s[0] in {f"neurons.{name}" for name in names})
    return state.but(tab="neurons", layer=0, head=0, film="", frame=None, settings=kept)


def _typed(page: Page, state: PageState, layer, neuron) -> PageState:
    if layer is None or neuron is None:  # an emptied box
        return state
    view = View(page.store, state)
    if (int(layer), int(neuron)) == service.chosen(view):
        return state
    new = service.choose(state, int(layer), int(neuron))
    service.chosen(View(page.store, new))
    return new


def name_of(view: View) -> str:
    """L2N58"""
    return "L{}N{}".format(*service.chosen(view))


def _chosen(view: View) -> list:
    layer, neuron = service.chosen(view)
    choices = [(f"L{n}", n) for n in range(view.config.n_layers)]
    return [gr.update(choices=choices, value=layer), gr.update(value=neuron)]


def _ranked(view: View) -> list:
    t, found = words(view.state.lang), service.ranked(view)
    at = {"at": view.shown[view.position], "position": view.position}
    effect = found.token is not None
    what = t("neurons.effect_what", token=view.show([found.token])[0], **at) if effect else t("neurons.activation_what", **at)
    badges = [] if found.check is None else [check_badge(t, found.check, t("neurons.check_sum"))]
    help = t("neurons.list_help", width=view.config.d_mlp, layers=view.config.n_layers)
    exports = Exports("gb_neurons_list", "neurons", t.section("panel"))
    head = panel_value(what, help=help, help_label=t("page.help"), badges=badges, exports=exports)
    rows = [
        Bar(
            name,
            value,
            f"{value:+.2f}" if effect else f"{value:.2f}",
            t("neurons.row_title", name=name, value=value),
            key=f"{l}.{n}",
        )
        for (l, n), value in zip(found.places, found.values)
        for name in (f"L{l}N{n}",)
    ]
    half = (len(rows) + 1) // 2
    value = bar_list_value(
        [Bars("", rows[:half]), Bars("", rows[half:])],
        text=t.section("bar_list"),
        label=t("neurons.list_label"),
        unit=t("neurons.logits" if effect else "neurons.activation"),
        selected="{}.{}".format(*service.chosen(view)),
    )
    return [head, value]


def _prompt(page: Page) -> None:
    head = panel("gb_neurons_prompt_head")
    strip = token_strip("gb_neurons_strip")
    said = bar_list("gb_neurons_said")
    page.shows("neurons", [head, strip, said], _on_prompt, depends=lambda s: only(s, "rank", "at"))
    page.changes(strip.tokenselect, lambda s, event: s.but(position=int(event.pos)), event_data=True)
    page.hands_out(head, neurons_evidence.prompt_evidence)


def _on_prompt(view: View) -> list:
    t, values, name = words(view.state.lang), service.here(view).tolist(), name_of(view)
    at = {"at": view.shown[view.position], "position": view.position}
    what = t("neurons.strip", name=name, here=values[view.position], most=max(values), **at)
    if view.before is not None:
        plain = View(view.store, service.choose(view.state, *service.chosen(view)).but(plan=type(view.state.plan)()))
        what += " " + t("neurons.before", at=at["at"], value=service.here(plain).tolist()[view.position])
    exports = Exports("gb_neurons_said", "neuron", t.section("panel"))
    badges, help = identity(t, identities.neuron(view)), t("neurons.strip_help")
    head = panel_value(what, help=help, help_label=t("page.help"), badges=badges, exports=exports)
    label = t("neurons.strip_label", name=name)
    return [head, shaded(view, t, values, label, t("neurons.activation")), _said(view, t, name)]


def _said(view: View, t: Words, name: str) -> dict:
    ends = service.said(view).ends

    def rows(ids, values) -> list[Bar]:
        return [Bar(text, value, f"{value:+.2f}") for text, value in zip(view.show(ids[0]), values[0].tolist())]

    lists = [
        Bars(t("neurons.raised"), rows(ends.up_ids, ends.up_values)),
        Bars(t("neurons.lowered"), rows(ends.down_ids, ends.down_values)),
    ]
    label = t("neurons.said_label", name=name)
    return bar_list_value(lists, text=t.section("bar_list"), label=label, unit=t("neurons.per_unit"))
