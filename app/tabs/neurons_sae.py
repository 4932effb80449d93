"""Sparse autoencoders: the features that are active on the prompt, and what one of them does."""

from functools import partial

import gradio as gr

from app.components.bar_list import Bar, Bars, bar_list, bar_list_value
from app.components.panel import Exports, panel, panel_value
from app.components.token_strip import token_strip
from app.page import Notice, Page
from app.service import neurons_sae as service
from app.service.view import View
from app.state import PageState
from app.tabs.neurons_strip import shaded
from app.tabs.steering_panels import movers_value
from app.text import Words, words


def build(page: Page) -> None:
    """The panel; without an autoencoder, a sentence that says how to get one."""
    label = page.label
    head = panel("gb_neurons_sae_head")
    with gr.Column(visible=False) as there:
        with gr.Row(equal_height=False):
            which = gr.Dropdown([], label=label("neurons.sae"), filterable=False, min_width=220, elem_id="gb_neurons_sae")
            feature = gr.Number(0, precision=0, minimum=0, label=label("neurons.feature"), min_width=110, elem_id="gb_neurons_feature")  # fmt: skip
            value = gr.Number(0.0, label=label("neurons.feature_value"), min_width=110, elem_id="gb_neurons_feature_value")
            add = gr.Button(label("neurons.to_plan"), scale=0, min_width=190, size="sm", elem_id="gb_neurons_feature_to_plan")
        centred = gr.Checkbox(
            False, label=label("neurons.centred"), info=label("neurons.centred_info"), elem_id="gb_neurons_centred"
        )
        lists = bar_list("gb_neurons_features")
        strip = token_strip("gb_neurons_feature_strip")
        moved = panel("gb_neurons_feature_head")
        movers = bar_list("gb_neurons_feature_movers")
    outputs = [head, there, which, feature, lists, strip, moved, movers]
    page.shows("neurons", outputs, _features, depends=_depends)
    own = lambda s: dict(s.settings).get(service.VALUE.name)  # noqa: E731
    page.shows("neurons", [value], lambda view: [service.VALUE.of(view.state)], depends=own, control=True)
    page.changes(which.input, lambda s, name: service.FEATURE.on(service.CHOSEN.on(s, name), -1), inputs=[which])
    for listener in (feature.blur, feature.submit):
        page.changes(listener, service.FEATURE.on, inputs=[feature], own_control=True)
    for listener in (value.input, value.blur, value.submit):
        page.changes(listener, service.VALUE.on, inputs=[value], own_control=True)
    page.control(service.CENTRED, centred)
    page.changes(add.click, partial(_to_plan, page))
    page.changes(lists.rowselect, lambda s, event: service.FEATURE.on(s, int(event.key)), event_data=True)
    page.hands_out(head, service.evidence)


def _depends(state: PageState) -> PageState:
    kept = tuple(
        s for s in state.settings if s[0] in ("neurons.sae", "neurons.feature", "neurons.feature_value", "neurons.centred")
    )
    return state.but(tab="neurons", layer=0, head=0, film="", frame=None, settings=kept)


def _features(view: View) -> list:
    t, found = words(view.state.lang), service.features(view)
    if found is None:
        head = panel_value(t("neurons.no_sae"), help=t("neurons.sae_help"), help_label=t("page.help"))
        return [head, gr.update(visible=False), *[gr.skip()] * 6]
    reading, at = found.reading, view.position
    names = service.names(view)
    name = service.CHOSEN.of(view.state) or names[0]
    what = t(
        "neurons.sae_what",
        name=name,
        hook=found.sae.hook_name,
        count=found.sae.d_sae,
        active=reading.active[at].item(),
        at=view.shown[at],
        error=reading.error[at].item(),
        unexplained=reading.unexplained,
    )
    exports = Exports("gb_neurons_features", "features", t.section("panel"))
    head = panel_value(what, help=t("neurons.sae_help"), help_label=t("page.help"), exports=exports)
    change = service.edited(view, found)
    said = t("neurons.feature_shift", feature=found.feature, value=service.VALUE.of(view.state), kl=change.kl)
    over = shaded(view, t, found.over.tolist(), t("neurons.feature_strip", feature=found.feature), t("neurons.activation"))
    menu = gr.update(choices=names, value=name)
    number = gr.update(value=found.feature)
    return [
        head,
        gr.update(visible=True),
        menu,
        number,
        _lists(view, t, found),
        over,
        panel_value(said),
        movers_value(view, t, change),
    ]


def _to_plan(page: Page, state: PageState) -> PageState:
    """The feature at its value among the page's edits; the number shown here then starts from the edited run."""
    view, t = View(page.store, state), words(state.lang)
    found = service.features(view)
    new = state.but(plan=state.plan.add(service.edit_of(view, found)))
    raise Notice(
        service.FEATURE.on(new, found.feature), t("neurons.in_plan", name=t("neurons.feature_row", feature=found.feature))
    )


def _lists(view: View, t: Words, found: service.Features) -> dict:
    rows = [
        Bar(t("neurons.feature_row", feature=feature), value, f"{value:.2f}", key=str(feature)) for feature, value in found.top
    ]
    lists, largest = [Bars(t("neurons.features_title"), rows)], max((value for _, value in found.top), default=1.0)
    if found.ends is not None:
        ends = found.ends
        scale = largest / (ends.up_values[0, 0].abs().item() or 1.0)
        words_of = zip(view.show(ends.up_ids[0]), ends.up_values[0].tolist())
        said = [Bar(text, min(largest, max(0.0, value * scale)), f"{value:+.2f}") for text, value in words_of]
        lists.append(Bars(t("neurons.raised"), said))
    label, unit = t("neurons.feature_label"), t("neurons.activation")
    return bar_list_value(lists, text=t.section("bar_list"), label=label, unit=unit, selected=str(found.feature))
