"""Parts of the lens tab: how a prediction forms, in three numbers per layer; and patchscopes."""

import gradio as gr
import numpy as np

from app.components.model_columns import Bar, Bars, ModelColumn, Text, model_columns, model_columns_value
from app.components.panel import Exports, panel, panel_value
from app.figures.trajectory import trajectory_lines
from app.page import Page
from app.service import lens as lens_service
from app.service import lens_evidence
from app.service import lens_patchscope as service
from app.service.staged import Stage, value
from app.service.view import View
from app.state import PageState
from app.tabs.badges import check_badge
from app.tabs.lens_choices import FROM_LAYER, INTO, INTO_LAYER, KIND, MID, NEW_TOKENS, asked, row_labels, seen
from app.text import Words, words
from interp.lens import labels as names


def build(page: Page, done: gr.State) -> None:
    """The statistics' chart and the patchscope. done: changes when more has been computed (`app.tabs.behind`)."""
    head = panel("gb_lens_statistics_head")
    chart = gr.Plot(show_label=False, elem_id="gb_lens_statistics")
    page.shows("lens", [head, chart], _statistics, inputs=[done], depends=lambda s: seen(s, KIND, MID, layer=0, head=0))
    page.hands_out(head, lambda view: lens_evidence.statistics_evidence(view, *asked(view)))
    _patchscope(page)


def statistics_stages(view: View) -> list[Stage]:
    """Of the run as edited, and without the edits where there are any: the lens's tables of the model's own predictions."""
    mid, kind = asked(view)
    return [lens_service.table_stage(view, run, mid, None, kind) for run in (view.run, view.before) if run is not None]


def _statistics(view: View, done: int = 0) -> list:
    t, (mid, _), at = words(view.state.lang), asked(view), view.position
    found = [value(view, stage) for stage in statistics_stages(view)]
    if None in found:
        return [panel_value(t("page.computing"), help=t("lens.statistics_help"), help_label=t("page.help")), gr.skip()]
    now, before = (*found, None)[:2]
    rows = row_labels(t, names(view.config.n_layers, mid))
    half = int(np.argmax(now.kl[:, at] <= now.kl[0, at] / 2))
    first = int(np.argmax(now.target_rank[:, at] == 0))
    said = t(
        "lens.statistics_what",
        token=view.shown[at],
        position=at,
        entropy=now.entropy[-1, at],
        half=rows[half],
        first=rows[first],
    )
    head = panel_value(
        said,
        help=t("lens.statistics_help"),
        help_label=t("page.help"),
        badges=[check_badge(t, now.check, t("lens.check_last"))],
        exports=Exports("gb_lens_statistics", "lens-trajectory", t.section("panel")),
    )
    tables = [(s.entropy, s.kl, s.target_rank + 1) for s in (now, before) if s is not None]
    chart = trajectory_lines(
        rows,
        [table[:, at] for table in tables[0]],
        [now.entropy.mean(1), now.kl.mean(1), np.median(now.target_rank + 1, 1)],
        t.section("lens_statistics"),
        None if before is None else [table[:, at] for table in tables[1]],
    )
    return [head, chart]


def _patchscope(page: Page) -> None:
    gr.Markdown(page.label("lens.patchscope_title"))
    head = panel("gb_lens_patchscope_head")

    def number(name: str, setting) -> gr.Number:
        return gr.Number(
            setting.default, precision=0, minimum=setting.low, label=page.label(f"lens.{name}"), elem_id=f"gb_lens_{name}", min_width=110
        )  # fmt: skip

    with gr.Row():
        from_layer = number("from_layer", FROM_LAYER)
        into = gr.Textbox(
            "", lines=1, max_lines=6, label=page.label("lens.into"), placeholder=page.label("lens.into_hint"), elem_id="gb_lens_into", scale=3, min_width=220
        )  # fmt: skip
        into_layer, new_tokens = number("into_layer", INTO_LAYER), number("new_tokens", NEW_TOKENS)
    go = gr.Button(page.label("lens.patchscope_go"), size="sm", visible=False, elem_id="gb_lens_patchscope_go")
    columns = model_columns("gb_lens_patchscope")
    done = gr.State(0)
    settings = (FROM_LAYER, INTO, INTO_LAYER, NEW_TOKENS)
    for setting, box in zip(settings, (from_layer, into, into_layer, new_tokens)):
        page.control(setting, box)
    page.shows("lens", [head, columns, go], _put_in, inputs=[done], depends=lambda s: seen(s, *settings, layer=0, head=0))

    def compute(state: PageState, count: int) -> int:
        view = View(page.store, state)
        service.put_in(view, chosen(view))
        return count + 1

    page.listen(go.click, compute, [page.state, done], [done], show_progress="minimal")
    page.refreshes(done.change)
    page.hands_out(head, lambda view: service.patchscope_evidence(view, chosen(view)))


def chosen(view: View) -> service.Places:
    """The places that the boxes name, as this model has them."""
    return service.places(view, *(setting.of(view.state) for setting in (FROM_LAYER, INTO, INTO_LAYER, NEW_TOKENS)))


def _put_in(view: View, _done: int) -> list:
    t, at = words(view.state.lang), chosen(view)
    token, places = view.shown[view.position], {"from_layer": at.from_layer, "into_layer": at.into_layer}
    said = t("lens.patchscope_what", token=token, position=view.position, into=at.into[-60:], **places)
    if not service.known(view, at):
        wait = f"{said} {t('lens.patchscope_wait')}"
        return [
            panel_value(wait, help=t("lens.patchscope_help"), help_label=t("page.help")),
            gr.skip(),
            gr.update(visible=True),
        ]
    found = service.put_in(view, at)
    head = panel_value(
        said,
        help=t("lens.patchscope_help"),
        help_label=t("page.help"),
        badges=[check_badge(t, found.check, t("lens.check_patchscope"))],
        exports=Exports("gb_lens_patchscope", "patchscope", t.section("panel")),
    )
    columns = [
        _column(view, t, t("lens.patchscope_with", token=token), found.text, found.top_ids, found.top_probabilities),
        _column(view, t, t("lens.patchscope_without"), found.baseline, found.baseline_ids, found.baseline_probabilities),
    ]
    return [head, model_columns_value(columns, label=t("lens.patchscope_label")), gr.update(visible=False)]


def _column(view: View, t: Words, title: str, text: str, ids, probabilities) -> ModelColumn:
    ps = probabilities.tolist()
    bars = [Bar(shown, p, f"{p:.1%}") for shown, p in zip(view.show(ids), ps)]
    mark = t("zero_shot.generated_by", model=view.state.model)
    return ModelColumn(
        title, blocks=[Text(t("lens.patchscope_text"), text, mark, main=True), Bars(t("lens.patchscope_next"), bars)]
    )
