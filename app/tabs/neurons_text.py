"""Where the neuron fires in a text: contexts, and the distribution of its activations."""

from collections.abc import Iterator
from functools import partial

import gradio as gr

from app.components.contexts import Place, contexts, contexts_value
from app.components.panel import Exports, panel, panel_value
from app.figures.neurons import activation_histogram
from app.page import Notice, Page
from app.service import identities, neurons_evidence
from app.service import neurons as service
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.tabs.badges import identity
from app.text import Words, words
from app.wiring import ended, stops

OWN = Setting("neurons.own", "")  # the text to search in; empty is the sample


def build(page: Page) -> None:
    """The panel."""
    label = page.label
    head = panel("gb_neurons_text_head")
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            own = gr.Textbox("", label=label("neurons.own"), placeholder=label("neurons.own_hint"), info=label("neurons.own_info"), lines=2, max_lines=6, max_length=service.MAX_TEXT, elem_id="gb_neurons_own")  # fmt: skip
            with gr.Row():
                go = gr.Button(label("neurons.read"), scale=0, min_width=150, size="sm", elem_id="gb_neurons_read")
                stop = gr.Button(label("neurons.stop"), interactive=False, scale=0, min_width=90, size="sm", elem_id="gb_neurons_stop")  # fmt: skip
        figure = gr.Plot(show_label=False, scale=4, min_width=300, elem_id="gb_neurons_histogram")
    places = contexts("gb_neurons_contexts")
    subject = gr.State(None)  # a change of it ends a reading
    outputs = [head, places, figure, stop]

    def first(view: View) -> list:
        asked = OWN.of(view.state)
        found = service.fired_at_hand(view, asked)
        if found is None and service.seconds(view, asked) <= service.QUICK_SECONDS:
            found = list(service.fired(view, asked))[-1]
        return [*_paint(view, asked, found), repr(_depends(view.state, "neurons.rank", "neurons.at"))]

    def read(state: PageState, asked: str) -> Iterator[list]:
        view = View(page.store, state)
        service.text_of(asked)  # too long: said before anything is done
        yield [gr.skip(), gr.skip(), gr.skip(), gr.update(interactive=True)]
        for found in service.fired(view, asked):
            yield _paint(view, asked, found)

    page.shows("neurons", [own], lambda view: [OWN.of(view.state)], depends=OWN.of, control=True)
    page.changes(own.blur, OWN.on, inputs=[own], own_control=True)  # a text counts when it is left
    page.shows("neurons", [*outputs, subject], first, depends=_depends)
    reading = page.listen(go.click, read, [page.state, own], outputs, concurrency_id="generation", concurrency_limit=2)
    stops(stop.click, reading, lambda: gr.update(interactive=False), None, stop)
    ended(own.change, reading)  # the subject leaves the text out: pressed in one go, its box is left while the reading begins
    page.starts_over(subject, reading, lambda view: first(view)[:-1], outputs)
    page.changes(places.contextpick, partial(_pick, page), event_data=True)
    page.hands_out(head, lambda view: neurons_evidence.fired_evidence(view, OWN.of(view.state)))


def _depends(state: PageState, *names: str) -> PageState:
    kept = tuple(s for s in state.settings if s[0] in (names or ("neurons.rank", "neurons.at", OWN.name)))
    return state.but(tab="neurons", layer=0, head=0, film="", frame=None, settings=kept)


def _paint(view: View, asked: str, found: service.Fired | None) -> list:
    t = words(view.state.lang)
    exports = Exports("gb_neurons_contexts", "neuron-text", t.section("panel"))
    what = _said(view, t, asked, found)
    badges = identity(t, identities.counted(found, service.chosen(view)[1]) if found and found.done else None)
    head = panel_value(what, help=t("neurons.text_help"), help_label=t("page.help"), badges=badges, exports=exports)
    places = [] if found is None else found.contexts
    rows = [Place(_printed(c.strings), c.activations.tolist(), c.peak) for c in places]
    value = contexts_value(rows, text=t.section("contexts"), unit=t("contexts.scale"))
    figure = None if found is None else _figure(view, t, found)
    return [head, value, figure, gr.update(interactive=found is not None and not found.done)]


def _printed(strings) -> list[str]:
    """Tokens in running text: spaces as spaces, line breaks as marks."""
    return [string.replace("\n", "↵") for string in strings]


def _said(view: View, t: Words, asked: str, found: service.Fired | None) -> str:
    (layer, neuron), sample = service.chosen(view), service.text_of(asked) == service.text_of(None)
    source = t("neurons.source_sample" if sample else "neurons.source_own")
    if found is None:
        return t("neurons.text_wait", source=source, layer=layer, seconds=t.lasting(service.seconds(view, asked)))
    top = found.top
    most = top.values[neuron, 0].item()
    if not found.done:
        return t("neurons.text_reading", done=top.done, windows=top.windows, most=most)
    numbers = {"tokens": len(top.tokens), "active": top.active[neuron].item(), "mean": top.mean[neuron].item(), "most": most}
    return t("neurons.text_what", name=f"L{layer}N{neuron}", source=source, **numbers)


def _figure(view: View, t: Words, found: service.Fired):
    bars = service.histogram(view, found.top)
    here = float(service.here(view)[view.position])
    return activation_histogram(bars.edges, bars.counts, t.section("neurons_histogram"), here=here, open_end=bars.open_end)


def _pick(page: Page, state: PageState, event: gr.EventData) -> PageState:
    """The place becomes the prompt, up to the token at which the neuron fires; the neuron stays."""
    view, asked = View(page.store, state), OWN.of(state)
    found, index = service.fired_at_hand(view, asked), int(event.index)
    if found is None or not 0 <= index < len(found.contexts):
        return state
    place = found.contexts[index]
    start = place.position - place.peak
    prompt = view.model.tokenizer.decode(list(found.top.tokens[start : place.position + 1]))
    new = service.choose(state, *service.chosen(view)).but(prompt=prompt, position=None)
    raise Notice(new, words(state.lang)("neurons.context_used"))
