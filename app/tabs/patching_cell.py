"""One cell of a map: what that patched run predicts, beside the clean and the corrupted run, and how to keep the patch."""

import gradio as gr

from app.components.next_token import NextToken, next_token, next_token_value, scale_for
from app.components.panel import Exports, panel, panel_value
from app.page import Notice, Page
from app.service import identities
from app.service import patching as service
from app.service import patching_pair as pairs
from app.service import patching_scripts as scripts
from app.service.patching import Place
from app.service.view import View
from app.state import PageState
from app.tabs.badges import identity
from app.tabs.patching_job import TAB, Offered, drawn_after
from app.tabs.patching_words import metric_text, number
from app.text import words

RUNS = ("clean", "corrupted", "patched")
# Three lists beside each other leave less room for the tokens than one does.
_ROWS = ", ".join(f"#gb_patching_cell_{run} .gb-next-row" for run in RUNS)
STYLE = f"<style>{_ROWS} {{ grid-template-columns: minmax(56px, 96px) minmax(60px, 1fr) 48px auto !important; }}</style>"


def build(page: Page, maps: Offered) -> None:
    """The three runs' predictions and the button. maps: the job whose strongest cell is shown while none was chosen."""
    head = panel("gb_patching_cell_head")
    with gr.Row(equal_height=False, elem_id="gb_patching_cell"):
        bars = []
        for run in RUNS:
            with gr.Column(min_width=260):
                bars.append(next_token(f"gb_patching_cell_{run}"))
    gr.HTML(STYLE, container=False, padding=False)
    add = gr.Button(page.label("patching.add"), size="sm", elem_id="gb_patching_add")
    page.shows(TAB, [head, *bars, add], _render)
    drawn_after(page, maps, _render, [head, *bars, add])
    page.changes(add.click, lambda s: _add(View(page.store, s)))
    page.hands_out(head, lambda view: scripts.cell_evidence(view, _place(view)))


def _place(view: View) -> Place | None:
    """The cell at hand, where the pair can be patched and something is computed or chosen."""
    if pairs.problem(view):
        return None
    asked = service.asked(view, pairs.question(view))
    return service.looked_at(view, tuple((what, service.known(view, what)) for what in asked))


def _render(view: View) -> list:
    t, place = words(view.state.lang), _place(view)
    if place is None:
        return [panel_value(t("patching.cell_none")), *[gr.skip() for _ in RUNS], gr.update(interactive=False)]
    runs = service.three(view, place)
    scale = scale_for(max(max(*run.p, *(run.before or [0.0])) for run in runs.values()))
    bars = []
    for name in RUNS:
        run, text = runs[name], t.section("next_token")
        before = run.before or [None] * len(run.ids)
        rows = [NextToken(*row) for row in zip(view.show(run.ids), run.ids, run.p, before)]
        label, edited = t(f"patching.cell_{name}"), run.before is not None
        bars.append(next_token_value(rows, text=text, label=label, edited=edited, scale=scale, export=None))
    return [_head(view, place), *bars, gr.update(interactive=_edit(view, place) is not None)]


def _head(view: View, place: Place) -> dict:
    t, q = words(view.state.lang), place.what.question
    clean, corrupted = pairs.ends(view, q, q.plan)
    value = service.patched_metric(view, place)
    chosen = service.LOOK.of(view.state)
    said = [
        t("patching.cell_what" if chosen else "patching.cell_strongest", place=place.name),
        t("patching.cell_value", metric=metric_text(t, view, q), value=number(value), clean=number(clean), corrupted=number(corrupted)),
    ]  # fmt: skip
    unedited = service.without_edits(place)
    if unedited is not None:
        said.append(t("patching.cell_unedited", value=number(service.patched_metric(view, unedited))))
    if _edit(view, place) is None:
        said.append(t("patching.not_an_edit", place=place.name))
    badges, exports = (
        identity(t, identities.cell(view, place)),
        Exports("gb_patching_cell", "patching-cell", t.section("panel")),
    )
    return panel_value(" ".join(said), help=t("patching.cell_help"), help_label=t("page.help"), badges=badges, exports=exports)


def _edit(view: View, place: Place):
    pair, denoise = pairs.pair_of(view), place.what.question.mode == "denoise"
    return place.edit(pair.clean if denoise else pair.corrupted)


def _add(view: View) -> PageState:
    """The run that was patched becomes the page's prompt, and the patch one of its edits."""
    t, place = words(view.state.lang), _place(view)
    if place is None:
        raise ValueError(t("patching.cell_none"))
    edit, pair, denoise = _edit(view, place), pairs.pair_of(view), place.what.question.mode == "denoise"
    if edit is None:
        raise ValueError(t("patching.not_an_edit", place=place.name))
    # The pair must not change with the page's prompt.
    state = pairs.CORRUPTED.on(pairs.CLEAN.on(view.state, pair.clean), pair.corrupted) if pairs.PAIR.of(view.state) == pairs.PAGE else view.state  # fmt: skip
    named = {"base": t(f"patching.run_{'corrupted' if denoise else 'clean'}"), "source": t(f"patching.run_{'clean' if denoise else 'corrupted'}")}  # fmt: skip
    new = state.but(prompt=pair.corrupted if denoise else pair.clean, plan=state.plan.add(edit))
    raise Notice(new, t("patching.added", place=place.name, **named))
