"""The Playground: the model writes, every token says how probable it was, and any of them can be changed and continued from."""

import secrets
from collections.abc import Iterator

import gradio as gr

from app.components.alternatives import alternatives
from app.components.message import message, message_value
from app.components.panel import Exports, panel, panel_value
from app.components.text_summary import text_summary
from app.components.token_strip import token_strip
from app.page import Page
from app.service import identities
from app.service import playground as service
from app.service.generation import choice_at, continued, preview, write
from app.service.view import View
from app.service.writing import MAX_SAMPLES, Knobs, Order, Writing
from app.state import PageState
from app.tabs import playground_knobs
from app.tabs import playground_pictures as pictures
from app.tabs.badges import identity
from app.tabs.playground_knobs import read_knobs
from app.tabs.playground_pictures import Picked
from app.text import words
from app.wiring import IN_TURN, ended

HIDDEN = {"show_progress": "hidden", "api_visibility": "private"}
INTO_VIEW = "() => document.getElementById('gb_playground_alternatives')?.scrollIntoView({ block: 'nearest' })"
TEXTS = "gb_playground_texts"  # the element around all texts
COLUMNS = (0, 1)  # with the edits, without them


def subject(state: PageState) -> tuple:
    """What a text on the page belongs to; with another one it is put away."""
    return (state.model, state.prompt, state.bos, state.plan, state.lang)


def build(page: Page) -> None:
    """The tab's components and what they show."""
    _Playground(page).wire()


class _Playground:
    """The components of the tab, while the page is built."""

    def __init__(self, page: Page):
        self.page = page
        self.head = panel("gb_playground_head")
        with gr.Row(elem_id="gb_playground_row"):
            with gr.Column(scale=3, min_width=320):
                with gr.Row(elem_id="gb_playground_buttons"):
                    label = page.label("playground.generate")
                    self.go = gr.Button(label, variant="primary", scale=0, min_width=150, elem_id="gb_playground_generate")
                    label = page.label("playground.stop")
                    self.stop = gr.Button(label, interactive=False, scale=0, min_width=110, elem_id="gb_playground_stop")
                self.note = message("gb_playground_note")
                with gr.Column(elem_id=TEXTS):
                    self._texts()
                self.alternatives = alternatives("gb_playground_alternatives")
            with gr.Column(scale=2, min_width=320):
                self.knobs = playground_knobs.build(page)
        self.made = gr.State(None)  # the Writing on the page
        self.picked = gr.State(None)  # the token whose alternatives are shown
        self.wish = gr.State(None)  # (position, id) of an alternative that was chosen
        self.order = gr.State(None)  # a change of it starts a generation
        self.subject = gr.State(None)  # a change of it ends one

    def _texts(self) -> None:
        self.rows, self.boxes, self.summaries, self.strips = [], {}, {}, {}
        for r in range(MAX_SAMPLES):
            with gr.Row(visible=r == 0) as row:
                for c in COLUMNS:
                    with gr.Column(visible=c == 0, min_width=300) as self.boxes[c, r]:
                        self.summaries[c, r] = text_summary(f"gb_playground_about_{c}{r}")
                        self.strips[c, r] = token_strip(pictures.strip_id(c, r))
            self.rows.append(row)

    # -- events -----------------------------------------------------------------------------------------------------------------

    def wire(self) -> None:
        page = self.page
        outputs = self._outputs()
        page.shows("playground", [*outputs, self.subject], self._first, depends=subject)

        page.hands_out(self.head, service.evidence, inputs=[self.made])

        writing = page.runs(
            self.order, self._write, [page.state, self.order], outputs, concurrency_id="generation", concurrency_limit=2
        )
        started, multiple = [self.order, self.stop, page.message], {"trigger_mode": "multiple"}
        turn = {**multiple, **IN_TURN}
        page.listen(ended(self.go.click, writing).then, self._begin, [page.state, *self.knobs], started, **turn)
        taken = self.alternatives.continuefrom(self._take, None, self.wish, cancels=[writing], **multiple, **HIDDEN)
        page.listen(taken.then, self._resume, [page.state, self.wish, self.made, self.picked, *self.knobs], started, **turn)
        page.listen(ended(self.stop.click, writing).then, self._stopped, [page.state, self.made], outputs, **turn)
        page.listen(ended(self.subject.change, writing).then, self._put_away, [page.state, self.made], outputs, **turn)
        for (c, r), strip in self.strips.items():
            shown = [self.alternatives, self.picked, *self.strips.values()]
            chosen = page.listen(strip.tokenselect, self._pick(c, r), [page.state, self.made, self.picked], shown, **multiple)
            chosen.then(None, js=INTO_VIEW)
            page.changes(strip.tokenselect, self._select, inputs=[self.made], event_data=True)
            page.changes(self.summaries[c, r].summaryaction, self._use(c, r), inputs=[self.made], event_data=True)

    def _outputs(self) -> list:
        boxes = [*self.rows, *self.boxes.values(), *self.summaries.values(), *self.strips.values()]
        return [self.made, self.picked, self.stop, self.note, self.alternatives, self.head, *boxes]

    def _first(self, view: View) -> list:
        shown = self._paint(view, preview(view))
        return [*(shown.get(o, gr.skip()) for o in self._outputs()), repr(subject(view.state))]

    def _head(self, view: View, made: Writing) -> dict:
        t = words(view.state.lang)
        help, exports = t("playground.help"), Exports(TEXTS, "generated", t.section("panel"))
        badges = identity(t, identities.texts(view, made))
        return panel_value(t("playground.what"), help=help, help_label=t("page.help"), badges=badges, exports=exports)

    def _put_away(self, state: PageState, made: Writing | None) -> dict:
        """A text that was being written for another prompt is replaced, even if its last piece came late."""
        if made is None or subject(made.order.state) == subject(state):
            return {self.stop: gr.skip()}
        view = View(self.page.store, state)
        return self._paint(view, preview(view))

    def _paint(self, view: View, made: Writing, first: bool = True) -> dict:
        """first: lay the boxes out and show the alternatives of a token; else only what grows."""
        t = words(view.state.lang)
        picked = pictures.first_written(made)
        out = {self.made: made, self.stop: gr.update(interactive=not made.done)}
        if first or made.done:
            out[self.head] = self._head(view, made)
        sentences = pictures.notices(t, made, view.config.n_ctx)
        out[self.note] = message_value(sentences, close=t("page.close"), kind="notice")
        for c, texts in enumerate(made.columns):
            for r in range(len(texts)):
                still = first and made.done  # a text that grows is scrolled by its reader, not by its selection
                selected = picked.pos if still and picked and picked[:2] == (c, r) else None
                out[self.strips[c, r]] = pictures.strip_value(view, t, made, c, r, selected)
                out[self.summaries[c, r]] = pictures.about_value(view, t, made, c, r)
        if first:
            out |= self._layout(made)
            out |= {self.picked: picked, self.alternatives: self._choice(view, made, picked)}
        return out

    def _layout(self, made: Writing) -> dict:
        shown = {(c, r) for c, texts in enumerate(made.columns) for r in range(len(texts))}
        rows = {row: gr.update(visible=(0, r) in shown) for r, row in enumerate(self.rows)}
        return rows | {box: gr.update(visible=place in shown) for place, box in self.boxes.items()}

    def _choice(self, view: View, made: Writing, picked: Picked | None):
        choice = None if picked is None else choice_at(self.page.store, made, *picked)
        return gr.skip() if choice is None else pictures.alternatives_value_of(view, picked.pos, choice)

    # -- writing ----------------------------------------------------------------------------------------------------------------

    def _begin(self, state: PageState, *values) -> dict:
        return self._ordered(state, lambda knobs, serial: Order(state, knobs, serial), values)

    def _take(self, event: gr.EventData) -> tuple[int, int]:
        return int(event.pos), int(event.id)

    def _resume(self, state: PageState, wish: tuple[int, int], made: Writing | None, picked: Picked | None, *values) -> dict:
        def order(knobs: Knobs, serial: str) -> Order:
            if made is None or picked is None or picked.pos != wish[0]:
                raise ValueError(words(state.lang)("playground.gone"))
            return continued(self.page.store, made, *picked, wish[1], knobs, serial)

        return self._ordered(state, order, values)

    def _ordered(self, state: PageState, order, values) -> dict:
        new = order(read_knobs(words(state.lang), *values), secrets.token_hex(4))
        quiet = message_value("", close=words(state.lang)("page.close"))
        return {self.order: new, self.stop: gr.update(interactive=True), self.page.message: quiet}

    def _write(self, state: PageState, order: Order) -> Iterator[dict]:
        view, first = View(self.page.store, order.state), True
        try:
            for made in write(self.page.store, order):
                yield self._paint(view, made, first)
                first = False
        except ValueError:  # which the page tells
            yield {self.stop: gr.update(interactive=False)}
            raise

    def _stopped(self, state: PageState, made: Writing | None) -> dict:
        if made is None or made.done:
            return {self.stop: gr.update(interactive=False)}
        return self._paint(View(self.page.store, made.order.state), made.stopped(), first=False)

    # -- looking ----------------------------------------------------------------------------------------------------------------

    def _pick(self, c: int, r: int):
        def pick(state: PageState, made: Writing | None, was: Picked | None, event: gr.EventData) -> dict:
            if made is None:
                return {self.picked: gr.skip()}
            view, picked = View(self.page.store, made.order.state), Picked(c, r, int(event.pos))
            choice = choice_at(self.page.store, made, *picked)
            if choice is None:  # the first token of all
                return {self.picked: gr.skip()}
            out = {self.picked: picked, self.alternatives: pictures.alternatives_value_of(view, picked.pos, choice)}
            if was is not None and was[:2] != (c, r) and made.done and was.row < len(made.columns[0]):  # one selected token
                t = words(state.lang)
                out[self.strips[was[:2]]] = pictures.strip_value(view, t, made, was.column, was.row, None)
            return out

        return pick

    def _select(self, state: PageState, made: Writing | None, event: gr.EventData) -> PageState:
        """A token of the prompt is selected everywhere."""
        given = len(View(self.page.store, state).run)
        same = made is not None and subject(made.order.state) == subject(state) and made.order.start is None
        return state.but(position=int(event.pos)) if same and int(event.pos) < given else state

    def _use(self, c: int, r: int):
        def use(state: PageState, made: Writing | None, event: gr.EventData) -> PageState:
            if made is None or event.name != "use" or r >= len(made.columns[0]) or c >= len(made.columns):
                return state
            return state.but(prompt=made.columns[c][r].text, position=None)

        return use
