"""The form of the Steering tab: what is pushed, where, and how far."""

from functools import partial

import gradio as gr

from app.page import Notice, Page
from app.service import steering as service
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.text import words


def build(page: Page) -> None:
    """The boxes, each tied to its setting, and the button that puts the edit into the page's plan."""
    label = page.label
    with gr.Row(equal_height=False):
        op = gr.Dropdown(list(service.OPERATIONS), label=label("steering.op"), filterable=False, min_width=220, scale=3, elem_id="gb_steering_op")  # fmt: skip
        with gr.Column(min_width=200, scale=3) as has_place:
            place = gr.Dropdown(list(service.PLACES), label=label("steering.place"), filterable=False, elem_id="gb_steering_place")  # fmt: skip
        layer = gr.Dropdown([], label=label("steering.layer"), filterable=False, min_width=90, elem_id="gb_steering_layer")
        with gr.Column(min_width=110, visible=False) as has_neuron:
            neuron = gr.Number(92, precision=0, minimum=0, label=label("steering.neuron"), elem_id="gb_steering_neuron")
        with gr.Column(min_width=150, scale=2) as has_value:
            value = gr.Number(1.0, step=0.25, label=label("steering.value"), info=label("steering.value_info"), elem_id="gb_steering_value")  # fmt: skip
    with gr.Row(equal_height=False) as has_texts:
        boxes = [
            gr.Textbox(
                "",
                label=label(f"steering.{name}"),
                info=label(f"steering.{name}_info"),
                lines=3,
                max_lines=8,
                max_length=2000,
                min_width=280,
                elem_id=f"gb_steering_{name}",
            )
            for name in ("text", "minus")
        ]
    with gr.Row():
        add = gr.Button(label("steering.to_plan"), size="sm", scale=0, min_width=200, elem_id="gb_steering_to_plan")
    page.shows("steering", [op, place], _menus, depends=lambda s: (service.OP.of(s), service.PLACE.of(s), s.lang), control=True)
    page.shows("steering", [has_place, has_neuron, has_value, has_texts], _fields, depends=lambda s: service.OP.of(s))
    page.shows("steering", [layer], _layers, depends=lambda s: (s.model, service.LAYER.of(s)), control=True)
    for setting, menu in ((service.OP, op), (service.PLACE, place), (service.LAYER, layer)):
        page.changes(menu.input, partial(_chosen, setting), inputs=[menu], own_control=True)
    for setting, box in zip((service.TEXT, service.MINUS, service.VALUE, service.NEURON), (*boxes, value, neuron)):
        typed(page, setting, box)
    page.changes(add.click, partial(_to_plan, page))


def typed(page: Page, setting: Setting, box) -> None:
    """Ties a box to a setting. Not by `change`, which also answers to what the page itself writes into the box; and a text counts
    when it is left, since every key would have both texts written anew."""
    page.shows("steering", [box], lambda view: [setting.of(view.state)], depends=partial(_own, setting), control=True)
    for listener in (box.blur, box.submit) if isinstance(box, gr.Textbox) else (box.input, box.blur, box.submit):
        page.changes(listener, setting.on, inputs=[box], own_control=True)


def _own(setting: Setting, state: PageState) -> str | None:
    return dict(state.settings).get(setting.name)


def _chosen(setting: Setting, state: PageState, value) -> PageState:
    return setting.on(state, value)


def _menus(view: View) -> list:
    t, s = words(view.state.lang), view.state
    named = lambda part, names: [(t(f"steering.{part}_{name}"), name) for name in names]  # noqa: E731
    return [
        gr.update(choices=named("op", service.OPERATIONS), value=service.OP.of(s)),
        gr.update(choices=named("place", service.PLACES), value=service.PLACE.of(s)),
    ]


def _fields(view: View) -> list:
    op = service.OP.of(view.state)
    of_texts = op != "neuron"
    return [gr.update(visible=on) for on in (of_texts, not of_texts, op != "project", of_texts)]


def _layers(view: View) -> list:
    choices = list(range(view.config.n_layers))
    return [gr.update(choices=[(f"L{n}", n) for n in choices], value=service.layer_of(view.state, view.config))]


def _to_plan(page: Page, state: PageState) -> PageState:
    edit = service.edit_of(state, page.store.model(state.model).config)
    raise Notice(state.but(plan=state.plan.add(edit)), words(state.lang)("steering.in_plan"))
