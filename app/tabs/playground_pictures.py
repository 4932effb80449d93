"""The Playground's texts as values of its components."""

import math
from typing import NamedTuple

from app.components.alternatives import Chosen, alternatives_value
from app.components.next_token import NextToken
from app.components.text_summary import Action, Figure, text_summary_value
from app.components.token_strip import Legend, StripToken, token_strip_value
from app.service.generation import Choice
from app.service.view import View
from app.service.writing import Text, Token, Writing, summary
from app.text import Words, words


class Picked(NamedTuple):
    """A token of a text on the page."""

    column: int
    row: int
    pos: int


def strip_id(column: int, row: int) -> str:
    """The element of a text."""
    return f"gb_playground_text_{column}{row}"


def percent(p: float) -> str:
    """12%, 3.4%, <0.1%."""
    x = 100 * p
    if 0 < x < 0.1:
        return "<0.1%"
    return f"{x:.1f}%" if x < 9.95 or 99.5 <= x < 100 else f"{x:.0f}%"


def first_written(made: Writing) -> Picked | None:
    """The first token that the model wrote, or, where it went on after another, that one; before any, the prompt's last token."""
    row = made.order.row if made.order.start is not None else 0
    tokens = made.columns[made.order.column][row].tokens
    begin = len(made.order.start) - 1 if made.order.start is not None else 0
    pos = next((i for i, t in enumerate(tokens) if i >= begin and t.written), len(tokens) - 1)
    return Picked(made.order.column, row, pos) if tokens[pos].logprob is not None else None


def strip_value(view: View, t: Words, made: Writing, column: int, row: int, selected: int | None) -> dict:
    """A text as running prose, each token shaded by its probability."""
    text = made.columns[column][row]
    shown = view.show(token.id for token in text.tokens)
    tokens = [_strip_token(t, pos, token, string) for pos, (token, string) in enumerate(zip(text.tokens, shown))]
    return token_strip_value(
        tokens,
        text=t.section("token_strip"),
        label=heading(t, made, column, row),
        selected=selected,
        legend=Legend(t("playground.legend"), "0%", "100%"),
        inline=True,
        packed=True,
    )


def _strip_token(t: Words, pos: int, token: Token, string: str) -> StripToken:
    if token.logprob is None:
        return StripToken(pos, string, t("playground.token_first", pos=pos, text=string), kind=token.kind)
    p = math.exp(token.logprob)
    bits = -token.logprob / math.log(2)
    title = t(f"playground.token_{token.kind}", pos=pos, text=string, p=percent(p), bits=f"{bits:.1f}")
    return StripToken(pos, string, title, shade=min(1.0, p), kind=token.kind)


def heading(t: Words, made: Writing, column: int, row: int) -> str:
    """What a text is: which sample, with or without the edits."""
    edited = len(made.columns) > 1
    several = len(made.columns[0]) > 1
    parts = [t("playground.sample", number=row + 1)] if several else []
    parts += [t("playground.without" if column else "playground.with")] if edited else []
    return " · ".join(parts) or t("playground.text")


def about_value(view: View, t: Words, made: Writing, column: int, row: int) -> dict:
    """The figures of a text, how it ended, and what can be done with it."""
    text, figures = made.columns[column][row], []
    numbers = summary(text)
    if numbers:
        figures = [
            Figure(t("playground.count"), str(numbers.tokens), t("playground.count_title")),
            Figure(t("playground.bits"), f"{numbers.bits:.2f}", t("playground.bits_title")),
            Figure(t("playground.perplexity"), f"{numbers.perplexity:,.1f}", t("playground.perplexity_title")),
            Figure(t("playground.logprob"), f"{numbers.logprob:,.1f}".replace("-", "−"), t("playground.logprob_title")),
        ]
    line = credit(view, t, made, column, text)
    return text_summary_value(
        figures,
        heading=heading(t, made, column, row),
        note=_ending(t, text),
        actions=_actions(t, text, line) if numbers else (),
        strip=strip_id(column, row),
        credit=line,
    )


def _ending(t: Words, text: Text) -> str:
    if not any(token.written for token in text.tokens):
        return t("playground.not_written")
    ending = t(f"playground.end_{text.finish or 'going'}")
    if text.knobs.temperature == 0:
        return f"{ending} · {t('playground.greedy')}"
    return f"{ending} · {t('playground.seeded', seed=text.knobs.seed)}"


def credit(view: View, t: Words, made: Writing, column: int, text: Text) -> str:
    """The line that goes along when generated text is copied."""
    prompt = made.order.state.prompt.strip()
    tail = prompt if len(prompt) <= 40 else "…" + prompt[-39:]
    edits = made.order.plans[column]
    key = "credit_edited" if edits else "credit"
    places = ", ".join(edit.describe() for edit in edits)
    return t(f"playground.{key}", tail=" ".join(tail.split()), model=view.state.model, edits=places)


def _actions(t: Words, text: Text, line: str) -> list[Action]:
    copy = {"copy": f"{text.text}\n\n{line}", "done": t("toolbar.copied"), "failed": t("toolbar.copy_failed")}
    return [
        Action("copy", t("playground.copy"), t("playground.copy_title"), **copy),
        Action("use", t("playground.use"), t("playground.use_title")),
    ]


def notices(t: Words, made: Writing, n_ctx: int) -> str:
    """What there is to know about how the text was made. A full context is said in the reader's language."""
    slid = [n for n in made.notices if "context" in n and "is full" in n]
    rest = [n for n in made.notices if n not in slid]
    return " ".join([*rest, *([t("playground.slid", context=n_ctx, kept=max(1, n_ctx // 2))] if slid else [])])


def alternatives_value_of(view: View, pos: int, choice: Choice) -> dict:
    """The tokens that could have come at a place."""
    ids = [id for id, _ in choice.rows]
    p = {id: math.exp(logprob) for id, logprob in choice.rows}
    rows = [NextToken(string, id, min(1.0, p[id])) for id, string in zip(ids, view.show(ids))]
    chosen = Chosen(view.show([choice.token.id])[0], min(1.0, p[choice.token.id]))
    return alternatives_value(pos, chosen, rows, text=words(view.state.lang).section("alternatives"))
