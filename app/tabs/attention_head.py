"""Part of the attention tab: the selected head, large, with buttons to turn it off, halve it and double it."""

import gradio as gr

from app.components.head_view import SHOWN, head_view, head_view_value
from app.components.panel import Exports, panel, panel_value
from app.page import Page
from app.service import attention as service
from app.service import attention_shown as shown
from app.service import identities
from app.service.view import View
from app.state import PageState
from app.tabs.attention_choices import COMPARE, EVERY, FAINT, HIDE, KEY, MODE, SHOW, STRONG, seen
from app.tabs.attention_roles import is_measured
from app.tabs.badges import identity
from app.text import words


def build(page: Page, measured: gr.State) -> None:
    """The enlarged head with its switches. measured: the keys of the head scores that are known."""
    head, large = panel("gb_attention_one"), head_view("gb_attention_view")
    with gr.Row():
        off = gr.Button("", size="sm", variant="primary", elem_id="gb_attention_off", min_width=140)
        halve = gr.Button("", size="sm", elem_id="gb_attention_halve", min_width=90)
        double = gr.Button("", size="sm", elem_id="gb_attention_double", min_width=90)
    page.shows(
        "attention", [head, off, halve, double], _head_words, inputs=[measured], depends=lambda s: seen(s, position=None)
    )
    page.shows("attention", [large], lambda view: [_head_value(view)], depends=lambda s: seen(s, SHOW, HIDE, STRONG))
    page.changes(large.cellselect, _select, event_data=True)
    page.changes(large.lookselect, lambda s, e: COMPARE.on(MODE.on(s, str(e.mode)), str(e.show)), event_data=True)
    for button, factor in ((off, 0.0), (halve, 0.5), (double, 2.0)):
        page.changes(button.click, lambda s, factor=factor: _multiply(View(page.store, s), factor))
    page.hands_out(head, lambda view: shown.head_evidence(view, SHOW.of(view.state)))


def _select(state: PageState, event: gr.EventData) -> PageState:
    """A cell is a position, which is selected everywhere, and a key, which is this tab's."""
    key = EVERY if event.key is None else int(event.key)
    return KEY.on(state, key).but(position=int(event.query))


def _head_words(view: View, measured: tuple[str, ...]) -> list:
    t, at, found = words(view.state.lang), (view.layer, view.head), service.pictures(view)
    place, factor = f"L{at[0]}H{at[1]}", service.factor_in_force(view.state.plan, *at)
    own = service.own_factor(view.state.plan, *at)  # what the buttons give and take back
    even = service.measure(view, "entropy")[1]
    numbers = {"sink": found.sink[at], "distance": found.distance[at], "entropy": found.entropy[at], "even": even}
    said = [t("attention.head_what", place=place, **numbers)]
    if is_measured(view, measured):
        values = {role.split("_")[0]: service.measure(view, role) for role in service.ROLES}
        numbers = {name: float(table[at]) for name, (table, _) in values.items()}
        over = {f"{name}_times": numbers[name] / chance for name, (_, chance) in values.items()}
        said.append(t("attention.head_scores", **numbers, **over))
    if factor is not None:
        said.append(t("attention.head_factor", factor=factor) if factor else t("attention.head_factor_0"))
    exports = Exports("gb_attention_view", place, t.section("panel"))
    return [
        panel_value(
            " ".join(said),
            help=t("attention.head_help"),
            help_label=t("page.help"),
            badges=identity(t, identities.rows(view)),
            exports=exports,
        ),
        t("attention.on" if own == 0 else "attention.off", place=place),
        t("attention.unhalve" if own == 0.5 else "attention.halve"),
        t("attention.undouble" if own == 2 else "attention.double"),
    ]


def _head_value(view: View) -> dict:
    layer, head, kind, t = view.layer, view.head, SHOW.of(view.state), words(view.state.lang)
    before = None if view.before is None else shown.head_table(view, view.before, kind, layer, head)
    text = t.section("head_view")
    if kind != "weights" and shown.possible(view, kind):
        unit = t(f"attention.unit_{kind}")
        text = {**text, "unit": unit, "unit_difference": t("attention.unit_change", unit=unit)}
    largest = shown.largest_of(view, kind)
    return head_view_value(
        shown.head_table(view, view.run, kind, layer, head),
        before,
        tokens=view.shown,
        layer=layer,
        head=head,
        text=text,
        position=view.position,
        mode=MODE.of(view.state),
        show=SHOWN[0] if before is None else COMPARE.of(view.state),
        hide_first=HIDE.of(view.state),
        edited_cells=service.cells_set(view.state.plan, layer, head, len(view.run)),
        largest=largest,
        ends_at=FAINT * largest if STRONG.of(view.state) else None,
    )


def _multiply(view: View, factor: float) -> PageState:
    return view.state.but(plan=service.with_factor(view.state.plan, view.layer, view.head, factor))
