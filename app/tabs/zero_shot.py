"""Tab: the paper's zero-shot tasks, the prompt assembled in view, answered by one model or several."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from app.components.model_columns import model_columns
from app.components.panel import Exports, panel, panel_value
from app.components.prompt_parts import prompt_parts
from app.page import Page
from app.service import zero_shot as service
from app.service import zero_shot_choice as choice
from app.service import zero_shot_evidence
from app.service.view import View
from app.service.zero_shot_choice import Chosen
from app.state import PageState
from app.tabs import zero_shot_form as forms
from app.tabs.badges import origin
from app.tabs.zero_shot_answers import about_value, columns_value, paper_value, parts_value, problem_value, stale_value
from app.text import words
from app.wiring import IN_TURN, ended, stops

AT_ONCE_TOKENS = 48  # an embedded model's answer of this length takes well under a second, so examples come answered
FRAME = 0.06  # seconds between two pictures of an answer that is being written
# The boxes that the task has no use for, and a frame in which there are only such.
STYLE = f"<style>:is(.{forms.HIDDEN}, .form:not(:has(> :not(.{forms.HIDDEN})))) {{ display: none !important; }}</style>"
# `change` also answers to what the page itself writes into a box; then nobody is in it, and the mark, the last value, is not sent.
BY_HAND = "(...v) => [...v.slice(0, -1), document.activeElement?.closest('#gb_zero_shot_fields') ? v.at(-1) : '']"


def _following(**options: Any) -> gr.Dropdown:
    """A dropdown whose choices change while events are on their way.

    Gradio refuses an event whose value is not among the newest choices; here what is chosen is checked where it becomes the state.
    """
    dropdown = gr.Dropdown([], value=None, filterable=False, **options)
    dropdown.preprocess = lambda payload: payload
    return dropdown


def build(page: Page) -> None:
    """The tab's components and what they show."""
    head = panel("gb_zero_shot_head")
    t = page.label
    with gr.Row():
        task = gr.Dropdown(_names(), value=None, label=t("zero_shot.task"), filterable=False, elem_id="gb_zero_shot_task")
        example = _following(label=t("zero_shot.example"), elem_id="gb_zero_shot_example")
    about, paper = panel("gb_zero_shot_about"), panel("gb_zero_shot_paper")
    with gr.Row(elem_id="gb_zero_shot_fields"):
        texts = [
            gr.Textbox(
                label=t("zero_shot.field"), elem_classes=[forms.HIDDEN], min_width=260, elem_id=f"gb_zero_shot_field_{i}"
            )
            for i in range(forms.POOL)
        ]
    option = _following(label=t("zero_shot.field"), elem_classes=[forms.HIDDEN], elem_id="gb_zero_shot_option")
    parts = prompt_parts("gb_zero_shot_parts")
    models = gr.CheckboxGroup([], label=t("zero_shot.models"), elem_id="gb_zero_shot_models")
    with gr.Row(elem_id="gb_zero_shot_actions"):
        go = gr.Button(t("zero_shot.answer"), variant="primary", size="sm", elem_id="gb_zero_shot_go")
        stop = gr.Button(t("zero_shot.stop"), size="sm", elem_id="gb_zero_shot_stop")
        use = gr.Button(t("zero_shot.open"), size="sm", elem_id="gb_zero_shot_open")
    answers = model_columns("gb_zero_shot_answers")
    subject, answered = gr.State(None), gr.State(None)  # a change of the subject ends an answer; what the last answer was for
    filled = gr.Textbox("", show_label=False, elem_classes=[forms.HIDDEN], elem_id="gb_zero_shot_filled")
    gr.HTML(STYLE, container=False, padding=False)

    boxes = [models, option, *texts, filled]
    page.shows("zero_shot", [head], _head, depends=lambda s: s.lang)
    page.hands_out(head, lambda view, *values: zero_shot_evidence.evidence(_with(view, *values)), inputs=boxes)
    page.shows("zero_shot", [task, models, option, *texts, filled], _form, depends=_depends, control=True)
    page.shows("zero_shot", [example, about, paper], _about, depends=_depends)
    asked = lambda s: (_depends(s), s.bos, s.plan)  # noqa: E731
    page.shows("zero_shot", [parts, answers], _shown, inputs=[filled], depends=asked)
    page.shows("zero_shot", [subject], lambda view: [repr(_around(view.state))], depends=asked)
    # Gradio's `input` of a text box follows keys that write; `change` also hears what is deleted or pasted.
    said = {"inputs": boxes, "own_control": True}
    for box in texts:
        page.changes(box.change, lambda s, *values: _typed(View(page.store, s), *values), js=BY_HAND, **said)
    for listener in (option.input, models.input, *(box.blur for box in texts)):
        page.changes(listener, lambda s, *values: _typed(View(page.store, s), *values), **said)
    page.changes(task.input, lambda s, name: choice.choose_task(View(page.store, s), name), inputs=[task])
    page.changes(
        example.input, lambda s, *values: choice.choose_example(View(page.store, s), *values), inputs=[example, filled]
    )
    page.changes(use.click, lambda s, *values: _open(_with(View(page.store, s), *values)), inputs=boxes)

    def answer(state: PageState, *values) -> Iterator[dict]:
        yield {answered: _around(state)}
        for columns in _answer(_with(View(page.store, state), *values)):
            yield {answers: columns}

    def late(state: PageState, was: tuple) -> dict:
        """What came late of an answer that was for something else."""
        return {answers: gr.skip() if was == _around(state) else stale_value(words(state.lang))}

    two = {"concurrency_id": "zero_shot", "concurrency_limit": 2}
    writing = page.listen(go.click, answer, [page.state, *boxes], [answers, answered], **two)
    stops(stop.click, writing, _stopped, [page.state, answers], answers)
    # What is being written answers another prompt. The subject leaves the form out: pressed in one go, a box is left while it begins.
    form = [task.input, example.input, option.input, models.input, *(box.change for box in texts)]
    ended(partial(gr.on, form), writing)
    ended(subject.change, writing)
    page.listen(writing.failure, late, [page.state, answered], [answers], **IN_TURN)


def _depends(state: PageState) -> tuple:
    """What the form depends on."""
    return (state.model, state.lang, state.settings_of("zero_shot").settings)


def _around(state: PageState) -> tuple:
    """What an answer depends on besides the form."""
    return state.model, state.lang, state.bos, state.plan


def _typed(view: View, models, option, *texts_and_mark: str) -> PageState:
    """The state with what the boxes say."""
    *texts, mark = texts_and_mark
    state = choice.typed(view, forms.values_of(choice.chosen(view).task, option, texts), mark)
    return choice.choose_models(state, models or []) if mark else state


def _with(view: View, *values) -> View:
    """The view with what the boxes say now, should the event that tells of it still be on its way."""
    return View(view.store, _typed(view, *values))


def _names() -> list[tuple[str, str]]:
    return forms.task_choices(words("en"))


def _head(view: View) -> list:
    t = words(view.state.lang)
    exports = Exports("gb_zero_shot_answers", "zero-shot", t.section("panel"))
    help, badges = t("zero_shot.help"), [origin(t, "paper")]
    return [panel_value(t("zero_shot.what"), help=help, help_label=t("page.help"), badges=badges, exports=exports)]


def _form(view: View) -> list:
    """What the controls show."""
    t, chosen = words(view.state.lang), choice.chosen(view)
    at_hand = [entry.name for entry in view.store.at_hand()]
    return [
        gr.update(choices=forms.task_choices(t), value=chosen.task.name),
        gr.update(choices=list(dict.fromkeys([*at_hand, *chosen.models])), value=list(chosen.models)),
        forms.option_update(t, chosen),
        *forms.box_updates(t, chosen),
        chosen.mark,
    ]


def _about(view: View) -> list:
    t, chosen = words(view.state.lang), choice.chosen(view)
    examples = forms.example_update(t, chosen, choice.suits(view))
    return [examples, about_value(t, chosen.task), paper_value(t, chosen.task)]


def _shown(view: View, mark: str) -> list:
    """The prompt and the answers. mark: "" while the page opens."""
    t, chosen = words(view.state.lang), choice.chosen(view)
    try:
        assembled = service.assemble(view.model, view.state.bos, chosen.task, chosen.values)
        return [parts_value(t, assembled, chosen.task), _answers(view, chosen, opens=not mark)]
    except ValueError as error:  # the place to read about an unfinished field is the prompt, not the top of the page
        return [problem_value(t, str(error)), stale_value(t)]


def _answers(view: View, chosen: Chosen, opens: bool) -> dict:
    """The answers that are known, or quickly made: those of an embedded model to an example, or to the text of an address."""
    t, runs = words(view.state.lang), service.task_runs(view, chosen.models)
    found = [service.kept(view, run, chosen.task, chosen.values) for run in runs]
    quick = chosen.task.decoding is None or chosen.task.decoding.max_new_tokens <= AT_ONCE_TOKENS
    if quick and (opens or not chosen.own):
        found = [
            list(service.outcomes(view, run, chosen.task, chosen.values))[-1]
            if outcome is None and view.store.entry(run.model).state == "embedded"
            else outcome
            for run, outcome in zip(runs, found)
        ]
    if all(outcome is None for outcome in found) and not opens:
        return stale_value(t)
    return columns_value(t, view, chosen, runs, [outcome or t("zero_shot.press") for outcome in found])


def _answer(view: View) -> Iterator[dict]:
    """Asks the chosen models one after the other; every yield is the picture of all columns."""
    t, chosen = words(view.state.lang), choice.chosen(view)
    if not chosen.models:
        raise ValueError(t("zero_shot.none_chosen"))
    runs = service.task_runs(view, chosen.models)
    found: list = [t("zero_shot.queued")] * len(runs)
    shown = 0.0
    for i, run in enumerate(runs):
        found[i] = t("zero_shot.loading", model=run.model)
        yield columns_value(t, view, chosen, runs, found)
        try:
            for found[i] in service.outcomes(view, run, chosen.task, chosen.values):
                if time.monotonic() - shown >= FRAME:
                    shown = time.monotonic()
                    yield columns_value(t, view, chosen, runs, found)
        except ValueError as error:
            found[i] = service.Failed(run, str(error))
        yield columns_value(t, view, chosen, runs, found)


def _stopped(state: PageState | None, value: dict | None):
    """What was written so far, no longer marked as being written."""
    if state is None or not value or not value.get("columns"):
        return gr.skip()
    stopped = words(state.lang)("zero_shot.stopped")
    columns = [
        column if column["state"] in ("done", "failed") else {**column, "state": "done", "status": _joined(column, stopped)}
        for column in value["columns"]
    ]
    return {**value, "id": f"{value['id']}-stopped", "columns": columns}


def _joined(column: dict, stopped: str) -> str:
    return f"{column['status']}, {stopped}" if column["state"] == "running" else stopped


def _open(view: View) -> PageState:
    """The assembled prompt becomes the page's prompt."""
    chosen = choice.chosen(view)
    assembled = service.assemble(view.model, view.state.bos, chosen.task, chosen.values)
    return view.state.but(prompt=assembled.prompt, position=None, tab="playground")
