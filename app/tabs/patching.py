"""Tab: patching. A pair of prompts, the two maps of its patched runs, and what one patched run predicts.

The further panels (previews, paths, noise, whole sets) are in `patching_more`.
"""

from functools import partial

import gradio as gr

from app.components.message import message, message_value
from app.components.panel import panel, panel_value
from app.components.token_pair import PairColumn, token_pair, token_pair_value
from app.page import Page
from app.service import patching_pair as pairs
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.tabs import patching_cell, patching_maps, patching_more
from app.tabs.patching_job import TAB, menu
from app.tabs.patching_words import advice, answer_text, problem_text
from app.text import words


def build(page: Page) -> None:
    """The tab's components and what they show."""
    _pair(page)
    maps = patching_maps.build(page)
    patching_cell.build(page, maps)
    patching_more.build(page, maps)


def _pair(page: Page) -> None:
    head = panel("gb_patching_head")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=240):
            which = gr.Dropdown(list(pairs.PAIR.one_of), label=page.label("patching.pair"), filterable=False, elem_id="gb_patching_pair")  # fmt: skip
            another = gr.Button(page.label("patching.another"), size="sm", visible=False, elem_id="gb_patching_another")
        with gr.Column(scale=5, min_width=300):
            clean = gr.Textbox("", label=page.label("patching.clean"), lines=1, max_lines=6, elem_id="gb_patching_clean")
            corrupted = gr.Textbox("", label=page.label("patching.corrupted"), lines=1, max_lines=6, elem_id="gb_patching_corrupted")  # fmt: skip
    strip = token_pair("gb_patching_tokens")
    page.shows(TAB, [head], _head, depends=lambda s: s.lang)
    page.shows(TAB, [which, another], _which, depends=lambda s: (pairs.PAIR.of(s), s.lang), control=True)
    page.changes(which.input, lambda s, name: pairs.choose(s, name), inputs=[which])
    page.changes(another.click, _next_pair)
    for setting, box in ((pairs.CLEAN, clean), (pairs.CORRUPTED, corrupted)):
        page.shows(TAB, [box], partial(_prompt, setting), depends=_texts, control=True)
        # Not `change`, which also answers to what the page itself writes into the box: that may be older than the state.
        for listener in (box.input, box.blur, box.submit):
            page.changes(listener, partial(_typed, page, setting), inputs=[box], own_control=True)
    page.shows(TAB, [strip], _strip, depends=lambda s: (_texts(s), s.bos, s.position, s.lang))
    page.changes(strip.tokenselect, lambda s, event: s.but(position=int(event.pos)), event_data=True)
    _measure(page)


def _measure(page: Page) -> None:
    """What is measured, which way pieces go, and the two answers."""
    with gr.Row(equal_height=False):
        metric = gr.Radio(list(pairs.METRICS), label=page.label("patching.metric"), min_width=300, scale=3, elem_id="gb_patching_metric")  # fmt: skip
        boxes = [
            gr.Textbox("", label=page.label(f"patching.{name}"), max_lines=1, min_width=140, elem_id=f"gb_patching_{name}")
            for name in ("answer", "other")
        ]
    mode = gr.Radio(list(pairs.MODE.one_of), label=page.label("patching.mode"), elem_id="gb_patching_mode")
    menu(page, pairs.METRIC, metric)
    menu(page, pairs.MODE, mode)
    for setting, box in zip((pairs.ANSWER, pairs.OTHER), boxes):
        page.control(setting, box)
    problem = message("gb_patching_problem")
    page.shows(TAB, [problem], _problem, depends=lambda s: s.settings_of(TAB).but(tab=TAB, layer=0, head=0, position=None))
    page.shows(TAB, boxes, _hints, depends=lambda s: (_texts(s), s.bos, s.lang))


def _texts(state: PageState) -> tuple:
    """What the two prompts depend on."""
    own = dict(state.settings)
    named = [own.get(s.name) for s in (pairs.PAIR, pairs.NUMBER, pairs.CLEAN, pairs.CORRUPTED)]
    return (state.model, *named, state.prompt if own.get(pairs.PAIR.name) == pairs.PAGE else "")


def _head(view: View) -> list:
    t = words(view.state.lang)
    return [panel_value(t("patching.pair_what"), help=t("patching.pair_help"), help_label=t("page.help"))]


def _which(view: View) -> list:
    t, name = words(view.state.lang), pairs.PAIR.of(view.state)
    choices = [(t(f"patching.pair_{choice}"), choice) for choice in pairs.PAIR.one_of]
    return [gr.update(choices=choices, value=name), gr.update(visible=name not in (pairs.BUILT_IN, pairs.PAGE))]


def _next_pair(state: PageState) -> PageState:
    return pairs.choose(state, pairs.PAIR.of(state), (pairs.NUMBER.of(state) + 1) % 100)


def _prompt(setting: Setting, view: View) -> list:
    pair = pairs.pair_of(view)
    return [pair.clean if setting is pairs.CLEAN else pair.corrupted]


def _typed(page: Page, setting: Setting, state: PageState, text: str) -> PageState:
    return pairs.typed(View(page.store, state), setting, text)


def _hints(view: View) -> list:
    """What stands for an empty box: the pair's own answers, or what the two runs predict."""
    t = words(view.state.lang)
    own = pairs.unnamed_answers(view)
    if own is None:
        return [gr.update(placeholder="") for _ in range(2)]
    return [gr.update(placeholder=t("patching.answer_hint", token=answer_text(t, view, ids))) for ids in own]


def _problem(view: View) -> list:
    said = problem_text(view)
    shown = pairs.alignment(view)  # what the strip says already is not said twice
    return [
        message_value(
            "" if said and not (shown.matches and shown.changes) else said, close=words(view.state.lang)("page.close")
        )
    ]


def _strip(view: View) -> list:
    t, found = words(view.state.lang), pairs.alignment(view)
    bos, matches = int(view.state.bos), found.matches
    texts = (pairs.pair_of(view).clean, pairs.pair_of(view).corrupted)
    shown = [view.show(view.model.tokenizer.encode(text)) for text in texts]
    printed = lambda side, at: None if at is None else shown[side][at]  # noqa: E731
    columns = [
        PairColumn(printed(0, r.clean_position), printed(1, r.corrupted_position), r.clean_position + bos if matches else None)
        for r in found.rows
    ]
    if bos:
        end = view.show([view.model.tokenizer.bos_id])[0]
        columns.insert(0, PairColumn(end, end, 0 if matches else None))
    at = None if view.state.position is None else min(view.state.position, len(columns) - 1)
    value = token_pair_value(
        columns, text=t.section("token_pair"), advice=advice(t, found), ok=found.matches and not found.shifted and bool(found.changes), selected=at if matches else None
    )  # fmt: skip
    return [value]
