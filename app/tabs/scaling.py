"""Tab: what size buys and what it costs. The prompt on every model at hand, the paper's numbers, and the costs."""

from collections.abc import Iterator

import gradio as gr

from app.components.model_columns import model_columns
from app.components.panel import panel
from app.page import Page
from app.service import identities
from app.service import scaling as service
from app.service import scaling_evidence as evidence
from app.service.scaling import Cost, Reading
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.tabs import scaling_pictures as pictures
from app.tabs.badges import identity
from app.text import Words, words
from app.wiring import stops
from gpt2_core.accounting import weight_bytes

DTYPES = ("float32", "bfloat16")
METRIC = Setting("scaling.metric", service.metric_names()[0], one_of=tuple(service.metric_names()))
FIT, DTYPE = Setting("scaling.fit", False), Setting("scaling.dtype", DTYPES[0], one_of=DTYPES)


def build(page: Page) -> None:
    """The tab's components and what they show."""
    runs = gr.State(0)  # how often larger models were run: what was measured then belongs into the pictures
    _prompt(page, runs)
    _curve(page)
    _costs(page, runs)


def _prompt(page: Page, runs: gr.State) -> None:
    head = panel("gb_scaling_head")
    with gr.Row(visible=False) as buttons:
        go = gr.Button(page.label("scaling.run_all"), variant="primary", size="sm", elem_id="gb_scaling_go")
        stop = gr.Button(page.label("scaling.stop"), size="sm", elem_id="gb_scaling_stop")
    columns, subject = model_columns("gb_scaling_columns"), gr.State(None)  # a change of the subject ends a run

    def render(view: View, _runs: int = 0) -> list:
        t = words(view.state.lang)
        found = {cost.entry.name: _without_loading(t, view, cost) for cost in _all(view)}
        waiting = any(_can_run(view, cost) and not isinstance(found[cost.entry.name], Reading) for cost in _all(view))
        badges = identity(t, identities.reading(view, service.known(view, view.state.model)))
        return [
            pictures.head(t, "", "gb_scaling_columns", badges),
            gr.update(visible=waiting),
            pictures.columns_value(t, view, _all(view), found),
        ]

    page.hands_out(head, evidence.readings_evidence)
    page.shows("scaling", [head, buttons, columns], render, inputs=[runs], depends=_what_is_read)
    page.shows("scaling", [subject], lambda view: [repr(_what_is_read(view.state))], depends=_what_is_read)

    def run_all(state: PageState, count: int) -> Iterator[dict]:
        for value in _run_all(View(page.store, state)):
            yield {columns: value}
        yield {runs: count + 1}

    running = page.listen(go.click, run_all, [page.state, runs], [columns, runs], concurrency_id="scaling")
    page.refreshes(runs.change)
    stops(stop.click, running, lambda count: count + 1, runs, runs)
    page.starts_over(subject, running, render, [head, buttons, columns])


def _what_is_read(state: PageState):
    return state.model, state.prompt, state.bos, state.plan, state.lang


def _all(view: View) -> list[Cost]:
    return service.costs(view.store.entries(), view.store.dtype)


def _can_run(view: View, cost: Cost) -> bool:
    fits = weight_bytes(cost.entry.config, view.store.dtype) <= view.store.budget
    return cost.entry.state != "downloadable" and fits


def _without_loading(t: Words, view: View, cost: Cost) -> Reading | str:
    """The reading of a model that is here already; for the others what would have to happen."""
    name, size = cost.entry.name, pictures.memory_text(cost.weights)
    if cost.entry.state == "downloadable":
        return t("scaling.status_absent", size=pictures.size_text(cost.entry.bytes))
    if not _can_run(view, cost):
        return t("scaling.status_large", size=size)
    if cost.entry.state == "embedded" or view.store.in_memory(name):
        return _reading(view, name)
    return service.known(view, name) or t("scaling.status_waiting")


def _reading(view: View, name: str) -> Reading | str:
    try:
        return service.read(view, name)
    except ValueError as error:  # one model's trouble is told in its column
        return str(error)


def _run_all(view: View) -> Iterator[dict]:
    """Reads the prompt with every model at hand, smallest first; every yield is the picture of all columns."""
    t, costs = words(view.state.lang), _all(view)
    found = {cost.entry.name: _without_loading(t, view, cost) for cost in costs}
    asked = [c.entry.name for c in costs if _can_run(view, c) and not isinstance(found[c.entry.name], Reading)]
    found |= {name: t("scaling.status_queued") for name in asked}
    for name in asked:
        found[name] = t("scaling.status_loading")
        yield pictures.columns_value(t, view, costs, found)
        found[name] = _reading(view, name)
        yield pictures.columns_value(t, view, costs, found)


def _curve(page: Page) -> None:
    head = panel("gb_scaling_curve_head")
    names = service.metric_names()
    with gr.Row():
        metric = gr.Dropdown(
            pictures.metric_choices(words("en"), names),
            value=names[0],
            label=page.label("scaling.metric"),
            filterable=False,
            elem_id="gb_scaling_metric",
            scale=3,
        )
        fit = gr.Checkbox(False, label=page.label("scaling.fit"), elem_id="gb_scaling_fit", scale=2)
    plot = gr.Plot(show_label=False, elem_id="gb_scaling_curve")

    def render(view: View) -> list:
        t, curve, fitted = words(view.state.lang), service.curve(METRIC.of(view.state)), FIT.of(view.state)
        return [
            pictures.curve_head(t, curve),
            pictures.curve_figure(t, curve, fitted, view.state.model),
            gr.update(interactive=curve.line is not None, value=fitted),
            gr.update(choices=pictures.metric_choices(t, names), value=METRIC.of(view.state)),
        ]

    page.shows("scaling", [head, plot, fit, metric], render, depends=lambda s: (s.model, s.lang, _chosen(s, METRIC, FIT)))
    page.changes(metric.input, METRIC.on, inputs=[metric])
    page.changes(fit.input, FIT.on, inputs=[fit])
    page.hands_out(head, lambda view: evidence.curve_evidence(view, METRIC.of(view.state)))


def _chosen(state: PageState, *settings: Setting) -> tuple:
    return tuple(dict(state.settings).get(setting.name) for setting in settings)


def _costs(page: Page, runs: gr.State) -> None:
    head = panel("gb_scaling_costs_head")
    dtype = gr.Radio([(d, d) for d in DTYPES], value=DTYPES[0], label=page.label("scaling.dtype"), elem_id="gb_scaling_dtype")
    table = model_columns("gb_scaling_costs_table")
    plot = gr.Plot(show_label=False, elem_id="gb_scaling_costs")

    def render(view: View, _runs: int) -> list:
        t, name = words(view.state.lang), DTYPE.of(view.state)
        costs = service.costs(view.store.entries(), service.dtype_named(name))
        readings = [service.known(view, cost.entry.name) for cost in costs]
        times = {reading.model: reading.ms_per_token for reading in readings if reading is not None}
        choices = [(t(f"scaling.dtype_{d}"), d) for d in DTYPES]
        return [
            pictures.head(t, "costs_", "gb_scaling_costs", identity(t, identities.parameters(view, costs))),
            gr.update(choices=choices, value=name),
            pictures.costs_table(t, costs, times),
            pictures.costs_figure(t, costs, times, name, view.state.model),
        ]

    depends = lambda s: (*_what_is_read(s), _chosen(s, DTYPE))  # noqa: E731
    page.shows("scaling", [head, dtype, table, plot], render, inputs=[runs], depends=depends)
    page.changes(dtype.input, DTYPE.on, inputs=[dtype])
    page.hands_out(head, lambda view: evidence.costs_evidence(view, DTYPE.of(view.state)))
