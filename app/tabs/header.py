"""What is on top of every tab: model, tools, prompt, examples, tokens, edits, next token."""

import secrets
from functools import partial

import gradio as gr

from app import export
from app.components.next_token import NextToken, next_token, next_token_value
from app.components.token_strip import StripToken, token_strip, token_strip_value
from app.components.toolbar import toolbar, toolbar_value
from app.examples import Example, examples_for
from app.page import Notice, Page
from app.service.attention import best_head
from app.service.view import View
from app.state import SETTING, TABS, Address, PageState
from app.tabs import edit_form, model_picker
from app.text import Words, words
from interp.edits import Plan

HEADER = {"depends": lambda state: state.but(tab="playground", layer=0, head=0, film="", frame=None, settings=())}


def build(page: Page) -> None:
    """The header."""
    with gr.Row(elem_id="gb_top"):
        gr.HTML("<h1 class='gb-title'>GPT-2 <span>Glassbox</span></h1>", container=False, padding=False, elem_id="gb_title")
        model_picker.picker(page)
        _tools(page)
    model_picker.about_and_download(page)
    _prompt(page)
    _examples(page)
    page.add_message()
    strip = token_strip("gb_tokens")
    page.shows(None, [strip], lambda view: [_tokens(view)], **HEADER)
    page.changes(strip.tokenselect, lambda s, event: s.but(position=int(event.pos)), event_data=True)
    edit_form.build(page)
    bars = next_token("gb_next")
    page.shows(None, [bars], lambda view: [next_tokens_value(view, "compact")], **HEADER)
    page.changes(bars.tokenpick, partial(continue_with, page), event_data=True)


def _tools(page: Page) -> None:
    tools = toolbar("gb_toolbar")
    page.shows(None, [tools], lambda view: [_tools_value(view)], depends=lambda state: state)

    def save(state: PageState, event: gr.EventData) -> dict:
        return _tools_value(View(page.store, state), event.kind)

    page.listen(tools.exportrequest, save, [page.state], [tools])


def _tools_value(view: View, kind: str | None = None) -> dict:
    file = None if kind is None else export.download(view, kind, secrets.token_hex(4))
    t, address = words(view.state.lang), view.state.address()
    left_out = not_in_the_link(t, address)
    return toolbar_value(address.query, lang=view.state.lang, text=t.section("toolbar"), left_out=left_out, download=file)


def not_in_the_link(t: Words, address: Address) -> str:
    """What was too long for the address, in a sentence; "" where all of it is in there."""

    def named(name: str) -> str:
        tab = name.removeprefix(SETTING).split(".")[0]
        return t("toolbar.left_out_text", tab=t(f"page.tab_{tab}")) if tab in TABS else t(f"toolbar.left_out_{name}")

    parts = [t("toolbar.left_out_one", what=named(name), count=f"{count:,}") for name, count in address.left_out]
    return t("toolbar.left_out", what=", ".join(parts)) if parts else ""


def _prompt(page: Page) -> None:
    with gr.Row(elem_id="gb_prompt_row"):
        prompt = gr.Textbox(
            label=page.label("page.prompt"),
            placeholder=page.label("page.prompt_hint"),
            lines=2,
            max_lines=6,
            scale=8,
            elem_id="gb_prompt",
        )
        with gr.Column(scale=1, min_width=170, elem_id="gb_run_column"):
            run = gr.Button(page.label("page.run"), variant="primary", elem_id="gb_run")
            bos = gr.Checkbox(True, label=page.label("page.bos"), container=False, elem_id="gb_bos")
    page.shows(None, [prompt], lambda view: [view.state.prompt], depends=lambda s: s.prompt, control=True)
    page.shows(None, [bos], lambda view: [view.state.bos], depends=lambda s: s.bos, control=True)
    # `change` and not `input`, which Gradio raises for keys that write only: a paste counts too.
    for listener in (prompt.change, prompt.submit, run.click):
        page.changes(listener, _typed, inputs=[prompt], own_control=True)
    page.changes(bos.input, switch_bos, inputs=[bos], own_control=True)


def switch_bos(state: PageState, on: bool) -> PageState:
    """The state with or without `<|endoftext|>` in front. Edits stay at their tokens; those of that token go with it."""
    if on == state.bos:
        return state
    plan = state.plan.shifted(1 if on else -1)
    new = state.but(bos=on, position=None, plan=plan)
    gone = len(state.plan) - len(plan)
    if gone:
        raise Notice(new, words(state.lang)("page.edits_of_bos", count=gone))
    return new


def _typed(state: PageState, prompt: str) -> PageState:
    return state if prompt == state.prompt else state.but(prompt=prompt, position=None)


def _examples(page: Page) -> None:
    """A row of chips per kind of model; the row that suits the model at hand is visible."""
    rows = {}
    for embedded in (True, False):
        with gr.Row(elem_classes="gb-examples", visible=embedded) as rows[embedded]:
            for example in examples_for(embedded):
                chip = gr.Button(page.label(f"examples.{example.name}"), size="sm", elem_id=f"gb_example_{example.name}")
                page.changes(chip.click, partial(choose_example, page, example=example))
    page.shows(
        None,
        [rows[True], rows[False]],
        lambda view: [gr.update(visible=view.entry.state == "embedded"), gr.update(visible=view.entry.state != "embedded")],
        depends=lambda state: state.model,
    )


def choose_example(page: Page, state: PageState, example: Example) -> PageState:
    """The example's prompt, looked at where it says, with a sentence on what to look for. Edits are taken away."""
    new = state.but(
        prompt=example.prompt, position=example.position, layer=example.layer, head=example.head, tab=example.tab, plan=Plan()
    )
    layer, head = new.layer, new.head
    if example.role:
        layer, head = best_head(View(page.store, new), example.role)
    look = words(state.lang)(f"examples.{example.name}_look", head=f"L{layer}H{head}")
    raise Notice(new.but(layer=layer, head=head), look)


def continue_with(page: Page, state: PageState, event: gr.EventData) -> PageState:
    """The prompt up to the selected position, with a predicted token behind it."""
    view = View(page.store, state)
    tokenizer, tokens = view.model.tokenizer, [*view.run.tokens[state.bos : view.position + 1], int(event.id)]
    text = tokenizer.decode(tokens)
    if tokenizer.decode_bytes(tokens) != text.encode() or tokens[-1] == tokenizer.eos_id:
        raise ValueError(words(state.lang)("page.not_text", token=tokenizer.shown(tokens[-1:])[0]))
    new = state.but(prompt=text, position=None)
    if tokenizer.encode(text) != tokens:
        raise Notice(new, words(state.lang)("page.other_tokens"))
    return new


def _tokens(view: View) -> dict:
    t, edited = words(view.state.lang), {p for e in view.state.plan for p in e.positions or ()}
    tokens = [
        StripToken(
            pos,
            shown,
            t("page.bos_help") if view.state.bos and pos == 0 else t("page.token_title", pos=pos, text=shown, id=id),
            kind="bos" if view.state.bos and pos == 0 else "prompt",
            edited=pos in edited,
        )
        for pos, (shown, id) in enumerate(zip(view.shown, view.run.tokens))
    ]
    return token_strip_value(tokens, text=t.section("token_strip"), label=t("page.tokens"), selected=view.position)


def next_tokens_value(view: View, layout: str, k: int | None = None) -> dict:
    """The likeliest next tokens as bars, "compact" or "full"."""
    t, top = words(view.state.lang), view.next_tokens
    before = top.before or [None] * len(top.ids)
    rows = [NextToken(*row) for row in zip(top.shown, top.ids, top.p, before)]
    label = t("page.next", token=view.shown[top.position], position=top.position)
    return next_token_value(
        rows[:k], text=t.section("next_token"), label=label, layout=layout, edited=bool(view.state.plan), entropy=top.entropy
    )
