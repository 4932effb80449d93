"""Part of the attention tab: the selected head, large, with buttons to turn it off and to set one of its weights."""

import gradio as gr

from app.components.head_view import head_view, head_view_value
from app.components.panel import panel, panel_value
from app.page import Page
from app.service import attention as service
from app.service.view import View
from app.state import PageState
from app.text import words
from interp.edits import Edit


def is_measured(view: View, measured: tuple[str, ...]) -> bool:
    """Whether the head scores of this state have been computed."""
    return service.score_key(view) in measured


def build(page: Page, measured: gr.State) -> None:
    """The enlarged head with its switches. measured: the keys of the head scores that are known."""
    head, large = panel("gb_attention_one"), head_view("gb_attention_view")
    with gr.Row():
        off = gr.Button("", size="sm", variant="primary", elem_id="gb_attention_off", min_width=140)
        halve = gr.Button("", size="sm", elem_id="gb_attention_halve", min_width=90)
        double = gr.Button("", size="sm", elem_id="gb_attention_double", min_width=90)
    page.shows("attention", [head, off, halve, double], _head_words, inputs=[measured], depends=lambda s: s.but(position=None))
    page.shows("attention", [large], lambda view: [_head_value(view)])
    for button, factor in ((off, 0.0), (halve, 0.5), (double, 2.0)):
        page.changes(button.click, lambda s, factor=factor: _multiply(View(page.store, s), factor))
    _surgery(page, large)


def _head_words(view: View, measured: tuple[str, ...]) -> list:
    t, at, found = words(view.state.lang), (view.layer, view.head), service.pictures(view)
    place, factor = f"L{at[0]}H{at[1]}", service.factor_in_force(view.state.plan, *at)
    own = service.own_factor(view.state.plan, *at)  # what the buttons give and take back
    said = [t("attention.head_what", place=place, sink=found.sink[at], distance=found.distance[at])]
    if is_measured(view, measured):
        values = {role.split("_")[0]: service.measure(view, role) for role in service.ROLES}
        numbers = {name: float(table[at]) for name, (table, _) in values.items()}
        over = {f"{name}_times": numbers[name] / chance for name, (_, chance) in values.items()}
        said.append(t("attention.head_scores", **numbers, **over))
    if factor is not None:
        said.append(t("attention.head_factor", factor=factor) if factor else t("attention.head_factor_0"))
    return [
        panel_value(" ".join(said), help=t("attention.head_help"), help_label=t("page.help")),
        t("attention.on" if own == 0 else "attention.off", place=place),
        t("attention.unhalve" if own == 0.5 else "attention.halve"),
        t("attention.undouble" if own == 2 else "attention.double"),
    ]


def _head_value(view: View) -> dict:
    layer, head = view.layer, view.head
    before = None if view.before is None else service.head_pattern(view, view.before, layer, head)
    return head_view_value(
        service.head_pattern(view, view.run, layer, head).clip(0, 1),
        None if before is None else before.clip(0, 1),
        tokens=view.shown,
        layer=layer,
        head=head,
        text=words(view.state.lang).section("head_view"),
        position=view.position,
        edited_cells=service.cells_set(view.state.plan, layer, head, len(view.run)),
    )


def _multiply(view: View, factor: float) -> PageState:
    return view.state.but(plan=service.with_factor(view.state.plan, view.layer, view.head, factor))


def _surgery(page: Page, large: gr.HTML) -> None:
    """The last chosen cell (query, key or None, how many choices so far), and a number to set its weight to."""
    cell = gr.State(None)

    def keep(last: tuple | None, event: gr.EventData) -> tuple:
        key = None if event.key is None else int(event.key)
        return int(event.query), key, last[2] + 1 if last else 0

    large.cellselect(keep, cell, cell, trigger_mode="multiple", show_progress="hidden", api_visibility="private")
    page.changes(cell.change, lambda s, chosen: s.but(position=chosen[0]) if chosen else s, inputs=[cell])
    with gr.Accordion(page.label("attention.surgery"), open=False, elem_id="gb_attention_surgery"):
        said = panel("gb_attention_cell")
        with gr.Row():
            value = gr.Number(
                0.0, step=0.1, label=page.label("attention.cell_value"), elem_id="gb_attention_weight", min_width=120
            )
            renormalise = gr.Checkbox(
                True, label=page.label("attention.cell_renormalise"), elem_id="gb_attention_renormalise", min_width=160
            )
        button = gr.Button(page.label("attention.cell_button"), size="sm", elem_id="gb_attention_set")
    page.shows("attention", [said], _cell_words, inputs=[cell])
    page.changes(button.click, lambda s, *given: _set_weight(View(page.store, s), *given), inputs=[cell, value, renormalise])


def _chosen(view: View, cell: tuple | None) -> tuple[int, int] | None:
    """The chosen cell, where it is one of the prompt at hand."""
    fits = cell is not None and cell[1] is not None and cell[1] <= cell[0] < len(view.run)
    return (cell[0], cell[1]) if fits else None


def _cell_words(view: View, cell: tuple | None) -> list:
    t, chosen = words(view.state.lang), _chosen(view, cell)
    if chosen is None:
        return [panel_value(t("attention.cell_none"))]
    (q, k), place = chosen, f"L{view.layer}H{view.head}"
    weight = float(service.head_pattern(view, view.run, view.layer, view.head)[q, k])
    names = {"query": view.shown[q], "key": view.shown[k]}
    return [panel_value(t("attention.cell", place=place, q=q, k=k, weight=weight, **names))]


def _set_weight(view: View, cell: tuple | None, value: float | None, renormalise: bool) -> PageState:
    t, chosen = words(view.state.lang), _chosen(view, cell)
    if chosen is None:
        raise ValueError(t("attention.cell_missing"))
    if value is None or not 0 <= value <= 1:
        raise ValueError(t("attention.cell_range", came=value))
    edit = Edit.set_cell(view.layer, view.head, *chosen, value=float(value), renormalise=bool(renormalise))
    return view.state.but(plan=service.with_cell(view.state.plan, edit))
