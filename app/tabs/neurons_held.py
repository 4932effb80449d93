"""Holding the neuron that is looked at, and the next tokens that move."""

from functools import partial

import gradio as gr

from app.components.bar_list import bar_list
from app.components.panel import Exports, panel, panel_value
from app.page import Notice, Page
from app.service import neurons as service
from app.service import neurons_evidence, steering
from app.service.view import View
from app.state import PageState
from app.tabs.badges import check_badge
from app.tabs.steering_panels import movers_value
from app.text import words


def build(page: Page) -> None:
    """The panel."""
    head = panel("gb_neurons_held_head")
    with gr.Row(equal_height=False):
        with gr.Column(scale=0, min_width=220):
            held = gr.Number(10.0, step=1, label=page.label("neurons.held"), info=page.label("neurons.held_info"), elem_id="gb_neurons_held")  # fmt: skip
        add = gr.Button(page.label("neurons.to_plan"), scale=0, min_width=190, size="sm", elem_id="gb_neurons_to_plan")
        write = gr.Button(
            page.label("neurons.to_steering"), scale=0, min_width=190, size="sm", elem_id="gb_neurons_to_steering"
        )
    movers = bar_list("gb_neurons_movers")
    own = lambda s: dict(s.settings).get(service.HELD.name)  # noqa: E731
    page.shows("neurons", [held], lambda view: [service.HELD.of(view.state)], depends=own, control=True)
    for listener in (held.input, held.blur, held.submit):
        page.changes(listener, service.HELD.on, inputs=[held], own_control=True)
    page.shows("neurons", [head, movers], _held, depends=_depends)
    page.changes(add.click, partial(_to_plan, page))
    page.changes(write.click, partial(_to_steering, page))
    page.hands_out(head, neurons_evidence.held_evidence)


def _depends(state: PageState) -> PageState:
    kept = tuple(s for s in state.settings if s[0] in ("neurons.rank", "neurons.at", "neurons.held"))
    return state.but(tab="neurons", layer=0, head=0, film="", frame=None, settings=kept)


def _held(view: View) -> list:
    t, found, check = words(view.state.lang), service.held(view), service.check(view)
    name = "L{}N{}".format(*service.chosen(view))
    what = t("neurons.held_what", name=name, value=service.HELD.of(view.state), kl=found.kl)
    badge = check_badge(t, check, t("neurons.check_held"))
    exports = Exports("gb_neurons_movers", "neuron-held", t.section("panel"))
    help = t("neurons.held_help")
    head = panel_value(what, help=help, help_label=t("page.help"), badges=[badge], exports=exports)
    return [head, movers_value(view, t, found)]


def _to_plan(page: Page, state: PageState) -> PageState:
    view = View(page.store, state)
    place = service.chosen(view)
    new = service.choose(state, *place).but(plan=state.plan.add(service.edit_of(view)))
    raise Notice(new, words(state.lang)("neurons.in_plan", name="L{}N{}".format(*place)))


def _to_steering(page: Page, state: PageState) -> PageState:
    """The Steering tab, with this neuron held at this value."""
    layer, neuron = service.chosen(View(page.store, state))
    new = service.choose(state, layer, neuron).but(tab="steering")
    chosen = {steering.OP: "neuron", steering.LAYER: layer, steering.NEURON: neuron, steering.VALUE: service.HELD.of(state)}
    for setting, value in chosen.items():
        new = setting.on(new, value)
    return new
