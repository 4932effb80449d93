"""Part of the attention tab: change where heads look, and see what the prediction does and which heads make up for it."""

import gradio as gr

from app.components.panel import Exports, panel, panel_value
from app.figures.attention import movers_bars, signed_bars
from app.page import Page
from app.service import attention_surgery as service
from app.service.attention import head_pattern
from app.service.attention_surgery import Effect
from app.service.view import View
from app.state import PageState
from app.tabs.attention_choices import HEADS, KEY, READ_AT, RENORMALISE, ROWS, VALUE, choice, chosen_cell, seen
from app.tabs.badges import check_badge
from app.text import Words, words

RANKED = 12  # heads of the picture


def build(page: Page) -> None:
    """The selected weight, what to make of it, and the effect."""
    gr.Markdown(page.label("attention.title_surgery"))
    said = panel("gb_attention_cell")
    with gr.Row(elem_id="gb_attention_surgery"):
        value = gr.Number(
            VALUE.default, step=0.1, label=page.label("attention.cell_value"), elem_id="gb_attention_weight", min_width=110
        )
        rows = gr.Radio([("", r) for r in ROWS.one_of], value=ROWS.default, label=page.label("attention.rows"), min_width=200, elem_id="gb_attention_rows")  # fmt: skip
        heads = gr.Radio([("", h) for h in HEADS.one_of], value=HEADS.default, label=page.label("attention.heads"), min_width=200, elem_id="gb_attention_heads")  # fmt: skip
        renormalise = gr.Checkbox(
            True, label=page.label("attention.cell_renormalise"), elem_id="gb_attention_renormalise", min_width=190
        )
    with gr.Row():
        names = ("cut", "set", "undo", "undo_all")
        cut, put, undo, undo_all = (
            gr.Button(page.label(f"attention.cell_{name}"), size="sm", elem_id=f"gb_attention_{name}", min_width=120,
                      variant="primary" if name == "cut" else "secondary")
            for name in names
        )  # fmt: skip
    choice(page, ROWS, rows, lambda view: [(words(view.state.lang)(f"attention.rows_{r}"), r) for r in ROWS.one_of])
    choice(page, HEADS, heads, _heads)
    page.control(RENORMALISE, renormalise)
    _value(page, value)
    page.shows("attention", [said, undo, undo_all], _cell_words, depends=lambda s: seen(s, KEY))
    page.changes(cut.click, lambda s: operate(View(page.store, s), 0.0))
    page.changes(put.click, lambda s, given: operate(View(page.store, s), given), inputs=[value])
    page.changes(undo.click, lambda s: s.but(plan=service.undone(s.plan)))
    page.changes(undo_all.click, lambda s: s.but(plan=service.without_surgery(s.plan)))
    _effect(page)


def _heads(view: View) -> list[tuple[str, str]]:
    t, place = words(view.state.lang), f"L{view.layer}H{view.head}"
    return [(t("attention.heads_head", place=place), service.ONE), (t("attention.heads_layer", layer=view.layer), service.ALL)]


def _value(page: Page, value: gr.Number) -> None:
    """The number to set: `page.control`, with a sentence of this tab for what is no weight."""
    page.shows(
        "attention", [value], lambda view: [VALUE.of(view.state)], depends=lambda s: seen(s, VALUE).settings, control=True
    )
    page.changes(value.change, lambda s, given: VALUE.on(s, given if given is None else weight(s, given)), inputs=[value], own_control=True)  # fmt: skip


def weight(state: PageState, given: float | None) -> float:
    """A weight as it was typed. Raises ValueError in the page's language for anything outside 0 to 1."""
    if given is None or not 0 <= given <= 1:
        raise ValueError(words(state.lang)("attention.cell_range", came=given))
    return float(given)


def proposed(view: View, value: float | None = None) -> tuple:
    """The edits that the tab's choices stand for."""
    s = view.state
    value = VALUE.of(s) if value is None else value
    return service.proposal(view, chosen_cell(view), value, ROWS.of(s), HEADS.of(s), RENORMALISE.of(s))


def operate(view: View, given: float | None) -> PageState:
    """The state with the chosen weights set; the weight that was chosen stays chosen, also if it is no longer the largest."""
    edits = proposed(view, weight(view.state, given))
    query, key = chosen_cell(view)
    state = KEY.on(VALUE.on(view.state, given), key).but(position=query)
    return state.but(plan=service.with_surgery(view.state.plan, edits))


def _cell_words(view: View) -> list:
    t, (q, k), place = words(view.state.lang), chosen_cell(view), f"L{view.layer}H{view.head}"
    now = float(head_pattern(view, view.run, view.layer, view.head)[q, k])
    said = [t("attention.cell", place=place, q=q, k=k, weight=now, query=view.shown[q], key=view.shown[k])]
    if view.before is not None:
        was = float(head_pattern(view, view.before, view.layer, view.head)[q, k])
        said.append(t("attention.cell_was", weight=was))
    said.append(t("attention.cell_choose"))
    some = bool(service.surgery(view.state.plan))
    head = panel_value(" ".join(said), help=t("attention.surgery_help"), help_label=t("page.help"))
    return [head, gr.update(interactive=some), gr.update(interactive=some)]


def _effect(page: Page) -> None:
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            head = panel("gb_attention_movers_head")
            movers = gr.Plot(show_label=False, elem_id="gb_attention_movers")
            read_at = gr.Radio([("", r) for r in READ_AT.one_of], value=READ_AT.default, label=page.label("attention.read_at"), elem_id="gb_attention_read_at")  # fmt: skip
        with gr.Column(min_width=320):
            other = panel("gb_attention_compensation_head")
            ranked = gr.Plot(show_label=False, elem_id="gb_attention_compensation")
    choice(page, READ_AT, read_at, lambda view: [(words(view.state.lang)(f"attention.read_{r}"), r) for r in READ_AT.one_of])
    on = (KEY, VALUE, ROWS, HEADS, RENORMALISE, READ_AT)
    page.shows("attention", [head, movers, other, ranked], _effect_values, depends=lambda s: seen(s, *on))
    page.hands_out(head, lambda view: service.movers_evidence(view, effect(view)))
    page.hands_out(other, lambda view: service.compensation_evidence(view, effect(view)))


def effect(view: View) -> Effect:
    """What the surgery in force does, or what the chosen one would do."""
    return service.effect(view, proposed(view), READ_AT.of(view.state))


def _effect_values(view: View) -> list:
    t = words(view.state.lang)
    if not service.surgery(view.state.plan) and not service.quick(view):
        return [panel_value(t("attention.effect_wait")), gr.skip(), panel_value(""), gr.skip()]
    found = effect(view)
    menu, checked = t.section("panel"), [check_badge(t, found.check, t("attention.check_direct"))]  # of both runs
    head = panel_value(
        effect_words(view, t, found),
        help=t("attention.effect_help"),
        help_label=t("page.help"),
        badges=checked,
        exports=Exports("gb_attention_movers", "attention-surgery", menu),
    )
    other = panel_value(
        compensation_words(view, t, found),
        help=t("attention.compensation_help"),
        help_label=t("page.help"),
        badges=checked,
        exports=Exports("gb_attention_compensation", "attention-compensation", menu),
    )
    movers = movers_bars(view.show(found.ids), found.p_before, found.p_after, t.section("attention_movers"))
    places = found.ranked(RANKED)
    names, values = [f"L{la}H{h}" for la, h in places], [found.change[at] for at in places]
    bars = signed_bars("compensation", names, values, t.section("attention_compensation")) if places else gr.skip()
    return [head, movers, other, bars]


def effect_words(view: View, t: Words, found: Effect) -> str:
    """What was or would be done, and how far the prediction goes."""
    key = "attention.effect_now" if found.in_force else "attention.effect_preview"
    return " ".join(
        [
            t(key, count=len(found.edits)),
            t("attention.effect_kl", kl=found.kl, token=view.shown[found.position], position=found.position),
        ]
    )


def compensation_words(view: View, t: Words, found: Effect) -> str:
    """Whose direct effect grew, beside what the edited heads lost."""
    answer, rival = view.show([found.answer, found.rival])
    own = sum(float(found.change[at]) for at in found.edited)
    grown = [at for at in found.ranked(found.change.size) if found.change[at] > 0]
    said = [
        t("attention.compensation_what", answer=answer, rival=rival, before=found.difference_before,
          after=found.difference_after, own=own)
    ]  # fmt: skip
    if grown:
        place = f"L{grown[0][0]}H{grown[0][1]}"
        said.append(t("attention.compensation_most", place=place, value=found.change[grown[0]]))
    return " ".join(said)
