"""How the page hangs together: sections that show the state, and events that change it.

While the page is built, each part declares what it shows (`page.shows`) and which events change the state (`page.changes`).
`page.wire()` then registers the events. An event changes the state, and every section that looks different because of it, in the
header or in the tab that the event belongs to (`page.inside`), is computed and sent (`app.drawing`). Where another tab is open, as
when the prompt is changed, that tab is asked for in a second round trip. A section whose picture would be the same is neither computed
nor sent, so going back to a tab costs nothing.

A ValueError is a sentence for the user: it is shown where the eye is, and everything else stays as it was.
"""

import functools
import inspect
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr

from app.components.courier import courier, courier_value
from app.components.i18n import I18N
from app.components.message import message, message_value
from app.components.refresher import event_name, refresher
from app.drawing import Drawing, Notice
from app.evidence import Evidence
from app.service.memory import enough_memory
from app.service.view import View
from app.setting import Setting
from app.state import TABS, PageState
from app.store import ModelStore
from app.text import words
from app.wiring import IN_TURN, Change, Render, Section, Update, by_component, ended, event_data_of, restarted, values_in_order
from app.zero_gpu import on_gpu

__all__ = ["Notice", "Page"]


class Page:
    """The page while it is being built; see the module's description."""

    def __init__(self, store: ModelStore):
        self.store = store
        self.state = gr.State(None)  # None until the address has been read
        self._drawn = gr.State({})  # section number -> what it was drawn from
        self._sections: list[Section] = []
        self._changes: list[Change] = []
        self._handed_out: dict[str, tuple[Callable[..., Evidence], tuple[Any, ...]]] = {}  # by the panel's elem_id
        self.message = message("gb_message", render=False)  # shown where `add_message` is called
        self.courier = courier("gb_courier", render=False)
        self._refresher = refresher("gb_refresher", TABS, render=False)
        self._building: str | None = None

    def label(self, key: str) -> Any:
        """A static label, translated in the browser."""
        return I18N(key)

    def add_message(self) -> None:
        """The place for sentences, errors and notices, and for what panels hand out."""
        self.message.render()
        self.courier.render()
        self._refresher.render()

    @contextmanager
    def inside(self, tab: str) -> Iterator[None]:
        """Events declared in this block belong to a tab."""
        self._building = tab
        yield
        self._building = None

    def shows(
        self, tab: str | None, outputs: Iterable[Any], render: Render, *, inputs: Iterable[Any] = (), **options: Any
    ) -> None:
        """Declares a section. See `Section` for the options `depends` and `control`."""
        self._sections.append(Section(tab, tuple(outputs), render, tuple(inputs), **options))

    def changes(
        self,
        listener: Callable[..., Any],
        update: Update,
        *,
        inputs: Iterable[Any] = (),
        own_control: bool | str = False,
        event_data: bool = False,
        **options: Any,
    ) -> None:
        """Declares an event that changes the state: update(state, *input values[, event]) -> state.

        own_control: the event comes from a control that already shows its value, as do the others of its tab; `HEADER` where those of
        the header do, and the tab's are yet to be written. Other options go to Gradio's listener.
        """
        self._changes.append(Change(listener, update, tuple(inputs), own_control, event_data, self._building, options))

    def refreshes(self, listener: Callable[..., Any], **options: Any) -> None:
        """Declares an event that changes no state but an input of some section (a switch inside a tab)."""
        self.changes(listener, lambda state: state, **options)

    def control(self, setting: Setting, component: Any) -> None:
        """Ties a component to a setting of its tab: it shows the setting, and what a person enters becomes the setting.

        A picture that depends on it reads `SETTING.of(view.state)`. Text boxes and sliders count as entered when they rest.
        """
        tab = setting.name.split(".")[0]
        self.shows(
            tab,
            [component],
            lambda view: [setting.of(view.state)],
            depends=lambda s: dict(s.settings).get(setting.name),
            control=True,
        )
        # `change` where `input` misses a paste.
        listener = component.change if isinstance(component, gr.Textbox | gr.Number) else component.input
        self.changes(listener, setting.on, inputs=[component], own_control=True)

    def hands_out(self, head: Any, evidence: Callable[..., Evidence], inputs: Sequence[Any] = ()) -> None:
        """Gives a panel its menu: evidence(view, *input values) -> Evidence. The panel's value says `exports` (`panel_value`)."""
        self._handed_out[head.elem_id] = (evidence, tuple(inputs))

    def _wire_panels(self) -> None:
        """The menus of all panels have one event, because Gradio's browser part asks every event about every component."""
        given = list(dict.fromkeys(i for _, inputs in self._handed_out.values() for i in inputs))

        def prepared(state: PageState, panel: str, kind: str, *values: Any) -> dict:
            evidence, inputs = self._handed_out[panel]
            told = evidence(View(self.store, state), *(values[given.index(i)] for i in inputs))
            return courier_value(told, kind, secrets.token_hex(4), words(state.lang))

        answer = self.guarded(prepared, [self.courier], [self.courier, self.message])

        def asked(event: gr.EventData, state: PageState | None, *values: Any) -> list:
            return answer(state, event._data["panel"], event._data["kind"], *values)

        self.courier.panelaction(
            asked, [self.state, *given], [self.courier, self.message], trigger_mode="multiple", show_progress="hidden",
            api_visibility="private",
        )  # fmt: skip

    def listen(
        self,
        listener: Callable[..., Any],
        fn: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        **options: Any,
    ) -> Any:
        """Registers an event that changes no state: fn(state, *input values[, event]) -> the outputs, as Gradio takes them.

        `self.state` is the first of the inputs; before the page has opened nothing is done. A ValueError is shown as the page's
        message and leaves the outputs as they are. fn may be a generator. Other options go to Gradio's listener.
        """
        outputs = list(outputs)
        shown = outputs if self.message in outputs else [*outputs, self.message]
        options = {"show_progress": "hidden", "api_visibility": "private", **options}
        if options["show_progress"] == "hidden":
            options = {"show_progress_on": self.message, **options}  # see `wire`
        return listener(self.guarded(fn, outputs, shown), list(inputs), shown, **options)

    def draws(self, listener: Callable[..., Any], draw: Callable[[View], Sequence[Any]], outputs: Sequence[Any]) -> None:
        """Declares an event that draws the state anew. In its turn: a picture of what the state was would come behind a newer one."""
        options = {"trigger_mode": "always_last", **IN_TURN}
        self.listen(listener, lambda state: draw(View(self.store, state)), [self.state], outputs, **options)

    def starts_over(self, subject: Any, running: Any, draw: Callable[[View], Sequence[Any]], outputs: Sequence[Any]) -> None:
        """When what a run was asked for (the value of `subject`) changes: the run ends, and its place shows the new state."""
        self.draws(ended(subject.change, running).then, draw, outputs)

    def runs(self, wanted: Any, fn: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any], **options: Any) -> Any:
        """As `listen`, for work that starts whenever `wanted` changes, and then ends what it was at."""
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        begins = wanted.change(None, trigger_mode="multiple", **quiet)
        running = self.listen(begins.then, fn, inputs, outputs, trigger_mode="always_last", **options)
        restarted(wanted, running)
        return running

    def guarded(self, fn: Callable[..., Any], outputs: list[Any], shown: list[Any]) -> Callable[..., Any]:
        """fn as `listen` runs it: the values of `shown` in their order, among them the message of a ValueError."""

        def refused(state: PageState, error: ValueError) -> dict:
            close = words(state.lang)("page.close")
            return {self.message: message_value(str(error), close=close, serial=secrets.randbelow(2**31))}

        def run(state: PageState, *values: Any) -> list:
            try:
                with enough_memory(state.model):
                    return values_in_order(by_component(fn(state, *values), outputs), shown)
            except ValueError as error:
                return values_in_order(refused(state, error), shown)

        def stream(state: PageState, *values: Any) -> Iterator[list]:
            try:
                with enough_memory(state.model):
                    for result in fn(state, *values):
                        yield values_in_order(by_component(result, outputs), shown)
            except ValueError as error:
                yield values_in_order(refused(state, error), shown)

        run, stream = on_gpu(run), on_gpu(stream)

        @functools.wraps(fn)  # Gradio reads from the signature what to pass
        def once(state: PageState | None, *values: Any) -> list:
            return [gr.skip() for _ in shown] if state is None else run(state, *map(event_data_of, values))

        @functools.wraps(fn)
        def several(state: PageState | None, *values: Any) -> Iterator[list]:
            if state is not None:
                yield from stream(state, *map(event_data_of, values))

        return several if inspect.isgeneratorfunction(fn) else once

    def wire(self, demo: gr.Blocks, first_state: Callable[[gr.Request], tuple[PageState, str]]) -> None:
        """Registers everything. `first_state(request)` reads the address when the page opens: a state, and what was wrong with it.

        A limitation: the events of all visitors wait in one queue, so that a long run of one keeps the others waiting. A lock per
        visitor would not do: Gradio sends an answer after the function has returned, so that an older answer could still
        overtake a newer one on its way, and Gradio has no queue per visitor.
        """
        # Gradio's browser part walks through all components for every output of an event, and again with each message of how the event
        # goes. So an event has the outputs of the header and one tab, and one component is told how it goes.
        common = {"show_progress": "hidden", "show_progress_on": self.message, "api_visibility": "private", **IN_TURN}
        for tab in TABS:
            with self.inside(tab):
                self.refreshes(getattr(self._refresher, event_name(tab)))
        drawing = Drawing(self.store, self._sections, self.state, self._drawn, self.message, self._refresher)
        reach = {tab: drawing.reach(tab) for tab in (None, *TABS)}

        def answer(number: int, state: PageState, drawn: dict, values: tuple, event: Any = None) -> list:
            change = self._changes[number]
            inputs, outputs = reach[change.tab]
            own = [*values[len(inputs) :], *([event] if change.event_data else [])]
            shown = dict(zip(inputs, values))
            told = drawing.respond(lambda s: change.update(s, *own), state, drawn, shown, change.own_control, change.tab)
            return values_in_order(told, outputs)

        answer = on_gpu(answer)  # what goes in and comes out can be pickled: a borrowed GPU works in another process

        def first(state: PageState, said: str, values: tuple) -> list:
            inputs, outputs = reach[None]
            return values_in_order(
                drawing.respond(lambda s: s, state, {}, dict(zip(inputs, values)), False, None, said), outputs
            )

        first = on_gpu(first)

        def opened(request: gr.Request, *values):
            return first(*first_state(request), values)

        def handler(number: int, event_data: bool, outputs: list) -> Callable[..., list]:
            def plain(state, drawn, *values):
                nothing = state is None  # Gradio selects a tab before the page has opened
                return [gr.skip() for _ in outputs] if nothing else answer(number, state, drawn, values)

            def with_event(event: gr.EventData, state, drawn, *values):
                nothing = state is None
                return [gr.skip() for _ in outputs] if nothing else answer(number, state, drawn, values, event_data_of(event))

            return with_event if event_data else plain

        self._wire_panels()
        demo.load(opened, *reach[None], **common)
        for number, change in enumerate(self._changes):
            inputs, outputs = reach[change.tab]
            # "always_last" sends the first event's data again: an event with data must not be merged with the next one.
            mode = {"trigger_mode": "multiple" if change.event_data else "always_last"}
            given = [self.state, self._drawn, *inputs, *change.inputs]
            change.listener(handler(number, change.event_data, outputs), given, outputs, **{**common, **mode, **change.options})
