"""Tab: the paper's zero-shot tasks, the prompt assembled in view, answered by one model or several."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from app.components.model_columns import model_columns
from app.components.panel import Exports, panel, panel_value
from app.components.prompt_parts import prompt_parts
from app.page import Page
from app.service import zero_shot as service
from app.service import zero_shot_evidence
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.tabs import zero_shot_form as forms
from app.tabs.zero_shot_answers import about_value, columns_value, paper_value, parts_value, problem_value, stale_value
from app.tabs.zero_shot_form import Filled, Form
from app.text import words
from app.wiring import stops

TASK, EXAMPLE = Setting("zero_shot.task", ""), Setting("zero_shot.example", "")  # "": what suits the model
AT_ONCE_TOKENS = 48  # an embedded model's answer of this length takes well under a second, so examples come answered
FRAME = 0.06  # seconds between two pictures of an answer that is being written
# The boxes that the task has no use for, and a frame in which there are only such.
STYLE = f"<style>:is(.{forms.HIDDEN}, .form:not(:has(> :not(.{forms.HIDDEN})))) {{ display: none !important; }}</style>"
HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def _following(**options: Any) -> gr.Dropdown:
    """A dropdown whose choices change while events are on their way.

    Gradio refuses an event whose value is not among the newest choices; here the form checks the value itself.
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
    filled = gr.Textbox("", show_label=False, elem_classes=[forms.HIDDEN], elem_id="gb_zero_shot_filled")
    gr.HTML(STYLE, container=False, padding=False)

    controls = [task, example, option, models, *texts]
    page.shows("zero_shot", [head], _head, depends=lambda s: s.lang)
    page.hands_out(head, _evidence, inputs=controls)
    page.shows(
        "zero_shot",
        [filled, task, example, option, models, about, paper, parts, answers, *texts],
        _render,
        inputs=[filled, *controls],
        depends=lambda s: (s.model, s.bos, s.plan, s.lang),
    )
    # Gradio's `input` of a text box follows keys that write; `change` also hears what is deleted or pasted.
    for listener in (option.input, models.input, *(box.change for box in texts)):
        page.refreshes(listener)
    page.changes(task.input, lambda s, name: EXAMPLE.on(TASK.on(s, name), ""), inputs=[task])
    page.changes(example.input, lambda s, of, name: EXAMPLE.on(TASK.on(s, of), name), inputs=[task, example])
    page.changes(use.click, lambda s, *values: _open(page, s, *values), inputs=controls)

    def answer(state: PageState, *values) -> Iterator[dict]:
        yield from _answer(View(page.store, state), *values)

    asked = {"concurrency_id": "zero_shot", "concurrency_limit": 2}
    writing = page.listen(go.click, answer, [page.state, *controls], [answers], **asked)
    stops(stop, writing, _stopped, [page.state, answers], answers)
    for listener in (task.input, example.input):  # what is being written answers another prompt
        listener(lambda: None, None, None, cancels=[writing], **HIDDEN)


def _names() -> list[tuple[str, str]]:
    return forms.task_choices(words("en"))


def _head(view: View) -> list:
    t = words(view.state.lang)
    exports = Exports("", "zero-shot", t.section("panel"))
    return [panel_value(t("zero_shot.what"), help=t("zero_shot.help"), help_label=t("page.help"), exports=exports)]


def _evidence(view: View, task, example, option, models, *texts: str):
    chosen = service.task_named(task)
    return zero_shot_evidence.evidence(view, chosen, forms.values_of(chosen, option, texts), models or [])


def _render(view: View, filled: str, task, example, option, models, *texts: str) -> list:
    t, at_hand = words(view.state.lang), [entry.name for entry in view.store.at_hand()]
    before = Filled.from_text(filled)
    if before is None:  # the page has just opened: the address may ask for a task and an example
        task, example = TASK.of(view.state) or task, EXAMPLE.of(view.state) or example
    now = Filled(task, example, forms.suits(view.entry.state), view.state.lang, view.state.model)
    form = forms.settle(before, now, option, texts, models or [], at_hand)
    new = Filled(form.task.name, form.example, now.suits, now.lang, now.model).to_text()
    try:
        assembled = service.assemble(view.model, view.state.bos, form.task, form.values)
        prompt, answers = parts_value(t, assembled, form.task), _answers(view, form)
    except ValueError as error:  # the place to read about an unfinished field is the prompt, not the top of the page
        prompt, answers = problem_value(t, str(error)), stale_value(t)
    tasks = gr.update(choices=forms.task_choices(t), value=form.task.name) if form.relabel else gr.skip()
    examples = gr.update(choices=forms.example_choices(t, form.task, now.suits), value=form.example)
    return [
        new,
        tasks,
        gr.skip() if filled == new else examples,
        forms.option_update(t, form),
        gr.update(choices=at_hand, value=form.models),
        about_value(t, form.task),
        paper_value(t, form.task),
        prompt,
        answers,
        *forms.box_updates(t, form),
    ]


def _answers(view: View, form: Form) -> dict:
    """The answers that are known, or quickly made: those of an embedded model to an example."""
    t, runs = words(view.state.lang), service.task_runs(view, form.models)
    found = [service.kept(view, run, form.task, form.values) for run in runs]
    quick = form.task.decoding is None or form.task.decoding.max_new_tokens <= AT_ONCE_TOKENS
    if quick and form.example != forms.OWN:
        found = [
            list(service.outcomes(view, run, form.task, form.values))[-1]
            if outcome is None and view.store.entry(run.model).state == "embedded"
            else outcome
            for run, outcome in zip(runs, found)
        ]
    if all(outcome is None for outcome in found):
        return stale_value(t)
    return columns_value(t, view, form, runs, [outcome or t("zero_shot.press") for outcome in found])


def _answer(view: View, task, example, option, models, *texts: str) -> Iterator[dict]:
    """Asks the chosen models one after the other; every yield is the picture of all columns."""
    t, chosen = words(view.state.lang), service.task_named(task)
    form = Form(chosen, example, forms.values_of(chosen, option, texts), list(models or []), False, False)
    if not form.models:
        raise gr.Error(t("zero_shot.none_chosen"), print_exception=False)
    runs = service.task_runs(view, form.models)
    found: list = [t("zero_shot.queued")] * len(runs)
    shown = 0.0
    for i, run in enumerate(runs):
        found[i] = t("zero_shot.loading", model=run.model)
        yield columns_value(t, view, form, runs, found)
        try:
            for found[i] in service.outcomes(view, run, chosen, form.values):
                if time.monotonic() - shown >= FRAME:
                    shown = time.monotonic()
                    yield columns_value(t, view, form, runs, found)
        except ValueError as error:
            found[i] = service.Failed(run, str(error))
        yield columns_value(t, view, form, runs, found)


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


def _open(page: Page, state: PageState, task, example, option, models, *texts: Sequence[str]) -> PageState:
    """The assembled prompt becomes the page's prompt."""
    chosen = service.task_named(task)
    model = page.store.model(state.model)
    assembled = service.assemble(model, state.bos, chosen, forms.values_of(chosen, option, texts))
    return state.but(prompt=assembled.prompt, position=None, tab="playground")
