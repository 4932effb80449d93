"""The two texts of the Steering tab, written side by side."""

from collections.abc import Iterator

import gradio as gr

from app.components.panel import Exports, panel, panel_value
from app.components.token_strip import Legend, StripToken, token_strip, token_strip_value
from app.page import Page
from app.service import identities
from app.service import steering_text as service
from app.service.steering_evidence import text_evidence
from app.service.view import View
from app.state import PageState
from app.tabs import steering_form
from app.tabs.badges import identity
from app.text import Words, words
from app.wiring import stops


def build(page: Page) -> None:
    """Controls, the two texts, and the events that write them."""
    label = page.label
    head = panel("gb_steering_texts_head")
    with gr.Row(equal_height=False):
        go = gr.Button(label("steering.write"), variant="primary", scale=0, min_width=130, elem_id="gb_steering_write")
        stop = gr.Button(label("steering.stop"), interactive=False, scale=0, min_width=100, elem_id="gb_steering_stop")
        again = gr.Button(label("steering.again"), scale=0, min_width=190, elem_id="gb_steering_again")
        length = gr.Number(30, precision=0, minimum=1, maximum=300, label=label("steering.length"), min_width=100, elem_id="gb_steering_length")  # fmt: skip
        temperature = gr.Number(0, minimum=0, maximum=2, step=0.1, label=label("steering.temperature"), info=label("steering.temperature_info"), min_width=120, elem_id="gb_steering_temperature")  # fmt: skip
        seed = gr.Number(0, precision=0, minimum=0, label=label("steering.seed"), min_width=100, elem_id="gb_steering_seed")
    with gr.Row(equal_height=False):
        strips = []
        for name in ("before", "after"):
            with gr.Column(min_width=300):
                gr.Markdown(label(f"steering.{name}"), elem_classes="gb-muted")
                strips.append(token_strip(f"gb_steering_{name}"))
    subject = gr.State(None)  # a change of it ends a writing
    for setting, box in ((service.LENGTH, length), (service.TEMPERATURE, temperature), (service.SEED, seed)):
        steering_form.typed(page, setting, box)
    outputs = [head, *strips, stop]

    def first(view: View) -> list:
        pair = service.at_hand(view)
        if pair is None and service.seconds(view) <= service.PREVIEW_SECONDS:
            pair = list(service.write(view))[-1]
        return [*_paint(view, pair), repr(_subject(view.state))]

    def write(state: PageState) -> Iterator[list]:
        view = View(page.store, state)
        yield _paint(view, service.Pair(service.Written(), service.Written()))
        for pair in service.write(view, fresh=True):
            yield _paint(view, pair)

    page.shows("steering", [*outputs, subject], first, depends=_subject)
    writing = page.listen(go.click, write, [page.state], outputs, concurrency_id="generation", concurrency_limit=2)
    stops(stop.click, writing, lambda: gr.update(interactive=False), None, stop)
    page.starts_over(subject, writing, lambda view: first(view)[:-1], outputs)
    page.changes(again.click, lambda s: service.SEED.on(_warm(s), (service.SEED.of(s) + 1) % 10**9))
    page.hands_out(head, text_evidence)


def _subject(state: PageState) -> tuple:
    """What the texts depend on."""
    return (state.but(tab="steering", position=None, layer=0, head=0, film="", frame=None).settings_of("steering"),)


def _warm(state: PageState) -> PageState:
    """A seed matters only where the temperature is above 0."""
    return state if service.TEMPERATURE.of(state) > 0 else service.TEMPERATURE.on(state, 0.7)


def _paint(view: View, pair: service.Pair | None) -> list:
    t = words(view.state.lang)
    if pair is None:
        said = t("steering.unwritten", seconds=t.lasting(service.seconds(view)))
    else:
        parted = pair.parted
        said = t("steering.parted", n=parted + 1) if parted is not None else t("steering.same") if pair.done else ""
    notices = () if pair is None else dict.fromkeys(pair.before.notices + pair.after.notices)
    what = " ".join([t("steering.texts", parted=said).strip(), *notices])
    exports = Exports("gb_steering_after", "steering-texts", t.section("panel"))
    badges = identity(t, identities.pair(view, pair))
    head = panel_value(what, help=t("steering.texts_help"), help_label=t("page.help"), badges=badges, exports=exports)
    texts = (service.Written(), service.Written()) if pair is None else (pair.before, pair.after)
    strips = [_strip(view, t, name, text) for name, text in zip(("before", "after"), texts)]
    return [head, *strips, gr.update(interactive=pair is not None and not pair.done)]


def _strip(view: View, t: Words, name: str, text: service.Written) -> dict:
    bos, given = view.state.bos, len(view.run)
    tokens = [StripToken(i, shown, shown, kind="bos" if bos and i == 0 else "prompt") for i, shown in enumerate(view.shown)]
    for i, (shown, p) in enumerate(zip(view.show(text.ids), text.p)):
        title = t("steering.text_title", text=shown, p=p)
        tokens.append(StripToken(given + i, shown, title, shade=p, kind="generated"))
    legend = Legend(t(f"steering.{name}") + ": " + t("steering.p_of_token"), "0%", "100%")
    label = t("steering.text_label", which=t(f"steering.{name}"))
    return token_strip_value(tokens, text=t.section("token_strip"), label=label, legend=legend, inline=True, packed=True)
