"""Work of the patching tab that may take long: shown at once where it is little, else offered with what it will cost, and stopped.

A panel says what its work costs (`cost`), how it goes (`steps`, whole last) and how to draw what there is so far (`draw`; None
before anything is there). What is done stays in the store, so a stopped job goes on where it was left.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from app.page import Page
from app.service.patching import Cost
from app.service.patching_pair import problem
from app.service.view import View
from app.setting import Setting
from app.text import Words, words
from app.wiring import ended

TAB = "patching"
FRAME = 0.2  # seconds between two pictures of a running job


@dataclass(frozen=True)
class Work:
    """cost(view): of what is still missing, 0 where nothing is. begun(view): what is there already, None for nothing."""

    cost: Callable[[View], Cost]
    begun: Callable[[View], Any]
    steps: Callable[[View], Iterator[Any]]


@dataclass(frozen=True)
class Offered:
    """running: the job's event; render(view): the values of `outputs` as they are now; run(state): by component, while it runs."""

    running: Any
    render: Callable[[View], list]
    run: Callable[[Any], Iterator[dict]]
    outputs: list[Any]


def drawn_after(page: Page, job: Offered, render: Callable[[View], list], outputs: Sequence[Any]) -> None:
    """Draws something again that shows the results of a job, when the job has ended."""
    page.draws(job.running.then, render, outputs)


class Buttons:
    """One that starts the work and says what it costs, and one that stops it."""

    def __init__(self, page: Page, elem_id: str):
        with gr.Row():
            self.go = gr.Button("", variant="primary", size="sm", visible=False, elem_id=f"{elem_id}_go")
            self.stop = gr.Button(page.label("patching.stop"), size="sm", visible=False, elem_id=f"{elem_id}_stop")

    def updates(self, t: Words, cost: Cost | None) -> list:
        """The buttons while nothing runs. None: there is nothing to compute."""
        shown = cost is not None and cost.rows > 0
        return [gr.update(visible=shown, value=cost_text(t, cost) if shown else ""), gr.update(visible=False)]


def cost_text(t: Words, cost: Cost) -> str:
    """What a button promises."""
    memory = f"{cost.bytes / 1e6:,.0f} MB" if cost.bytes < 1e9 else f"{cost.bytes / 1e9:.1f} GB"
    return t("patching.compute", seconds=t.lasting(cost.seconds), memory=memory, rows=f"{cost.rows:,}")


def offer(
    page: Page,
    elem_id: str,
    outputs: Sequence[Any],
    work: Work,
    draw: Callable[[View, Any], list],
    *,
    shown: Callable[[Any], bool] = lambda state: True,
    depends: Callable[[Any], Any],
    pair: bool = True,
) -> "Offered":
    """Declares the panel: its pictures, its buttons, and the job that fills them.

    shown: whether the panel is looked at; depends: as for `Page.shows`, besides that; pair: it needs the page's pair of prompts.
    """
    buttons = Buttons(page, elem_id)
    every, subject = [*outputs, buttons.go, buttons.stop], gr.State(None)  # a change of the subject ends a job
    asked = lambda state: (shown(state), depends(state))  # noqa: E731

    def render(view: View, at_once: bool = True) -> list:
        t = words(view.state.lang)
        if not shown(view.state) or (pair and problem(view)):
            return [*[gr.skip() for _ in outputs], *buttons.updates(t, None)]
        cost = work.cost(view)
        if cost.small and at_once:
            return [*draw(view, _last(work.steps(view))), *buttons.updates(t, None)]
        return [*draw(view, work.begun(view)), *buttons.updates(t, cost)]

    def run(state: Any) -> Iterator[dict]:
        view, drawn = View(page.store, state), 0.0
        yield {buttons.go: gr.update(visible=False), buttons.stop: gr.update(visible=True)}
        for found in work.steps(view):
            if time.monotonic() - drawn >= FRAME:
                drawn = time.monotonic()
                yield dict(zip(outputs, draw(view, found)))

    page.shows(TAB, [*every, subject], lambda view: [*render(view), repr(asked(view.state))], depends=asked)
    running = page.listen(buttons.go.click, run, [page.state], every, concurrency_id=TAB, concurrency_limit=2)
    ended(buttons.stop.click, running)
    ended(subject.change, running)
    # However it ended; the rest of what was stopped may be little.
    page.draws(running.then, partial(render, at_once=False), every)
    return Offered(running, render, run, every)


def _last(steps: Iterator[Any]) -> Any:
    return deque(steps, maxlen=1).pop()


def menu(page: Page, setting: Setting, component: Any) -> None:
    """Ties a radio or a dropdown to a setting; the choices are named `patching.<setting>_<choice>` in the page's language."""
    short = setting.name.split(".")[1]

    def render(view: View) -> list:
        t = words(view.state.lang)
        return [gr.update(choices=[(t(f"patching.{short}_{c}"), c) for c in setting.one_of], value=setting.of(view.state))]

    page.shows(TAB, [component], render, depends=lambda s: (dict(s.settings).get(setting.name), s.lang), control=True)
    page.changes(component.input, setting.on, inputs=[component], own_control=True)
