"""Tab: training. The film of how a model was trained, played in the browser, and all filmed models beside each other."""

import gradio as gr

from app.components.film import ROLES, film, film_value
from app.components.panel import Exports, panel, panel_value
from app.page import Page
from app.service import training as service
from app.service import training_evidence
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.tabs import training_pictures as pictures
from app.tabs.badges import origin
from app.text import words

ROLE = Setting("training.role", "induction", one_of=ROLES)  # which score of the heads
PROMPT = Setting("training.prompt", 0, low=0)


def build(page: Page) -> None:
    """The tab's components and what they show."""
    _choice(page)
    _film(page)
    _family(page)


def _choice(page: Page) -> None:
    head = panel("gb_training_head")
    with gr.Row(elem_id="gb_training_choice", equal_height=False):
        with gr.Column(scale=2, min_width=260):
            choice = gr.Dropdown(
                [entry.name for entry in page.store.entries()],
                value=None,
                label=page.label("training.film"),
                filterable=False,
                elem_id="gb_training_of",
            )
            other = gr.Button("", variant="primary", size="sm", visible=False, elem_id="gb_training_open")
        with gr.Column(scale=5, min_width=300):
            about = panel("gb_training_about")
    offered = gr.State("")

    def offer(view: View) -> list:
        t, name = words(view.state.lang), service.chosen(view)
        names = [entry.name for entry in service.with_film(page.store)]
        exports = None if name is None else Exports("", f"{name}-training", t.section("panel"))  # pictures are each chart's own
        badges = [] if name is None else [origin(t, "recorded")]
        what = panel_value(
            t("training.what"), help=t("training.help"), help_label=t("page.help"), badges=badges, exports=exports
        )
        largest = names[-1] if names and name is None else ""
        button = gr.update(visible=bool(largest), value=t("training.open", name=largest))
        return [what, gr.update(choices=names, value=name if name in names else None, visible=bool(names)), button, largest]

    def said(view: View) -> list:
        t, name = words(view.state.lang), service.chosen(view)
        if name is None:
            return [pictures.no_film(t, view, bool(service.with_film(page.store)))]
        return [pictures.about(t, view, service.film_of(page.store, name), name)]

    page.shows("training", [head, choice, other, offered], offer, depends=_what_is_watched)
    page.shows("training", [about], said, depends=_what_is_watched)
    page.hands_out(head, training_evidence.film_evidence)
    page.changes(choice.input, lambda s, name: service.choose(page.store, s, name), inputs=[choice])
    page.changes(other.click, lambda s, name: service.choose(page.store, s, name), inputs=[offered])


def _what_is_watched(state: PageState):
    return state.model, state.film, state.lang


def _film(page: Page) -> None:
    player = film("gb_training_film")

    def render(view: View) -> list:
        t, name = words(view.state.lang), service.chosen(view)
        if name is None:
            return [film_value(None, text=t.section("film"), lang=view.state.lang)]
        watched = service.film_of(page.store, name)
        layer, head = service.head(view.state, watched)
        return [
            film_value(
                pictures.reel(t, watched, view.model.tokenizer),
                text=t.section("film"),
                lang=view.state.lang,
                frame=service.frame(view.state, watched),
                layer=layer,
                head=head,
                role=ROLE.of(view.state),
                prompt=PROMPT.of(view.state),
            )
        ]

    # A control: the film is sent once, and shows by itself what the reader does with it.
    page.shows("training", [player], render, depends=lambda s: (*_what_is_watched(s), s.frame, s.layer, s.head), control=True)
    page.changes(player.filmframe, _at, event_data=True, own_control=True)
    page.changes(player.filmhead, _head, event_data=True, own_control=True)
    page.changes(player.filmlook, _look, event_data=True, own_control=True)


def _at(state: PageState, event: gr.EventData) -> PageState:
    return state.but(frame=int(event.frame))


def _head(state: PageState, event: gr.EventData) -> PageState:
    return state.but(layer=int(event.layer), head=int(event.head))


def _look(state: PageState, event: gr.EventData) -> PageState:
    return PROMPT.on(ROLE.on(state, ROLES[int(event.role)]), int(event.prompt))


def _family(page: Page) -> None:
    with gr.Column(visible=False) as family:
        head = panel("gb_training_family_head")
        with gr.Row():
            losses = gr.Plot(show_label=False, elem_id="gb_training_losses", min_width=300, scale=3)
            sizes = gr.Plot(show_label=False, elem_id="gb_training_sizes", min_width=300, scale=2)

    def render(view: View) -> list:
        t, courses = words(view.state.lang), service.courses(page.store)
        if not courses:
            return [gr.update(visible=False), gr.skip(), gr.skip(), gr.skip()]
        exports = Exports("gb_training_losses", "training-family", t.section("panel"))
        help, badges = t("training.family_help"), [origin(t, "recorded")]
        what = panel_value(t("training.family_what"), help=help, help_label=t("page.help"), badges=badges, exports=exports)
        return [gr.update(visible=True), what, *pictures.family(t, courses, service.chosen(view))]

    page.hands_out(head, training_evidence.family_evidence)
    page.shows("training", [family, head, losses, sizes], render, depends=_what_is_watched)
