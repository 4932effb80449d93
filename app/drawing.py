"""What an event changes: the sections that look different are computed and sent, those on top of the page first.

An event answers for the header or for one tab (`Section.tab`), because Gradio's browser part walks through all components of the page
for every output of an event. And all that one answer brings is drawn in one go, charts before our own pictures, each chart for
50 to 100 ms. So an answer ends before the first chart, unless that is all there is, and asks for the rest (`app.components.refresher`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.components.message import message_value
from app.components.refresher import refresher_value
from app.service.memory import enough_memory
from app.service.view import View
from app.state import PageState
from app.store import ModelStore
from app.text import words
from app.wiring import HEADER, Section, Update


class Notice(Exception):  # noqa: N818 - not an error: something to tell, with the new state
    """Raised by an update to change the state and say a sentence about it."""

    def __init__(self, state: PageState, text: str):
        super().__init__(text)
        self.state, self.text = state, text


@dataclass(frozen=True)
class Drawing:
    """The sections, and the components that carry what every event needs: the page's state and what is drawn from what."""

    store: ModelStore
    sections: Sequence[Section]
    state: Any
    drawn: Any
    message: Any
    refresher: Any

    def reach(self, tab: str | None) -> tuple[list[Any], list[Any]]:
        """Inputs and outputs of the events of a tab (None: of the header): the header's and its own."""
        near = [section for section in self.sections if section.tab in (None, tab)]
        outputs = [self.state, self.drawn, self.message, self.refresher, *(o for s in near for o in s.outputs)]
        return list(dict.fromkeys(i for s in near for i in s.inputs)), list(dict.fromkeys(outputs))

    def respond(
        self,
        update: Update,
        state: PageState,
        drawn: dict,
        values: dict,
        own_control: bool | str,
        tab: str | None,
        error: str = "",
    ) -> dict:
        """The new state and what looks different. A ValueError of the update leaves the old state; one of a section, its old picture."""
        notice, out = "", {}
        try:
            try:
                new = update(state)
            except Notice as said:
                new, notice = said.state, said.text
            with enough_memory(new.model):
                new.plan.check(self.store.model(new.model).config)
        except ValueError as refused:
            new, error = state, str(refused)
        else:
            out, drawn, failed = self._draw(new, drawn, values, own_control, tab)
            error = error or failed
        if new == state and not (error or notice):  # as when Gradio reports a tab that was opened for it: the sentence stays
            return {**out, self.state: new, self.drawn: drawn}
        serial = drawn.get("serial", 0) + bool(error or notice)
        kind = "error" if error else "notice"
        message = message_value(error or notice, close=words(new.lang)("page.close"), kind=kind, serial=serial)
        return {**out, self.state: new, self.drawn: {**drawn, "serial": serial}, self.message: message}

    def _draw(
        self, state: PageState, drawn: dict, values: dict, own_control: bool | str, tab: str | None
    ) -> tuple[dict, dict, str]:
        """What to send, what is then drawn from what, and the first thing that went wrong.

        tab: whose event it is; the open tab, where that is another one, is asked for, as is what comes after the first chart.
        """
        view, out, now, error = View(self.store, state), {}, dict(drawn), ""
        untouched = {False: "none", True: tab, HEADER: None}[own_control]  # the part whose controls show their values already
        top, wait = None, False  # top: what comes first is no chart; wait: so what comes from the first chart on can wait
        for number, section in enumerate(self.sections):
            if section.tab is not None and not section.tab == tab == state.tab:
                continue
            inputs = [values[i] for i in section.inputs]
            key = repr((section.key(state), inputs))
            changed = drawn.get(number) != key and not (section.control and section.tab == untouched)
            if changed and section.tab is not None and not section.control:
                top = not section.is_chart if top is None else top
                wait = wait or (top and section.is_chart)
                if wait:
                    continue
            try:
                if changed:
                    with enough_memory(state.model):
                        out.update(zip(section.outputs, section.render(view, *inputs), strict=True))
                now[number] = key
            except ValueError as failed:
                error = error or str(failed)
        if wait or state.tab != tab:
            out[self.refresher] = refresher_value(state.tab)
        return out, now, error
