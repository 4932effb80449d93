"""The Probabilities tab: what comes next, and how well the model foresaw each token of the prompt."""

import math
from functools import partial

import gradio as gr
import numpy as np

from app.components.base import with_id
from app.components.next_token import next_token
from app.components.panel import Badge, Exports, panel, panel_value
from app.components.text_summary import Figure, text_summary, text_summary_value
from app.components.token_strip import Legend, StripToken, token_strip, token_strip_value
from app.figures.surprisal import surprisal_line
from app.page import Page
from app.service import identities
from app.service.probabilities import TextStatistics, TextView, next_evidence, text_evidence, text_view
from app.service.view import View
from app.state import PageState
from app.tabs.badges import identity
from app.tabs.header import continue_with, next_tokens_value
from app.text import Words, words

TOLERANCE = 1e-4  # of the sum of all probabilities


def subject(state: PageState) -> tuple:
    """What the pictures depend on."""
    return (state.model, state.prompt, state.bos, state.plan, state.position, state.lang)


def build(page: Page) -> None:
    """The tab's components and what they show."""
    with gr.Row(elem_id="gb_probabilities_row"):
        with gr.Column(scale=2, min_width=320):
            head = panel("gb_probabilities_head")
            bars = next_token("gb_probabilities_bars")
        with gr.Column(scale=3, min_width=320):
            text_head = panel("gb_probabilities_text_head")
            about = text_summary("gb_probabilities_about")
            strip = token_strip("gb_probabilities_text")
            line = gr.Plot(show_label=False, container=False, elem_id="gb_probabilities_line")
    page.shows("probabilities", [head, bars, text_head, about, strip, line], _render, depends=subject)
    page.hands_out(head, next_evidence)
    page.hands_out(text_head, text_evidence)
    page.changes(bars.tokenpick, partial(continue_with, page), event_data=True)
    page.changes(strip.tokenselect, lambda s, event: s.but(position=int(event.pos)), event_data=True)


def _render(view: View) -> list:
    t, text, top = words(view.state.lang), text_view(view), view.next_tokens
    check = t("page.check_title", name=t("probabilities.check"), residual=top.residual, tolerance=TOLERANCE)
    holds = top.residual <= TOLERANCE
    badge = Badge(t("page.checked" if holds else "page.check_failed"), check, holds)
    menu = t.section("panel")
    bars, line = Exports("gb_probabilities_bars", "next-token", menu), Exports("gb_probabilities_line", "surprisal", menu)
    help = {"help_label": t("page.help")}
    return [
        panel_value(t("probabilities.what"), help=t("probabilities.help"), badges=[badge], exports=bars, **help),
        _without_menu(next_tokens_value(view, "full")),
        panel_value(
            t("probabilities.text_what"),
            help=t("probabilities.text_help"),
            badges=identity(t, identities.probabilities(view)),
            exports=line,
            **help,
        ),
        text_summary_value(figures(t, text), label=t("probabilities.figures")),
        strip_value(view, t, text),
        _line(view, t, text),
    ]


def _without_menu(value: dict) -> dict:
    """The bars without their own menu: their panel has one."""
    return with_id({**{k: v for k, v in value.items() if k != "id"}, "export": None})


def figures(t: Words, text: TextView) -> list[Figure]:
    """Means of the text; `was` where edits are in force."""

    def figure(name: str, number, digits: int) -> Figure:
        def printed(stats: TextStatistics) -> str:
            value = number(stats)
            return "–" if math.isnan(value) else f"{value:,.{digits}f}"

        was = None if text.before is None or digits == 0 else t("probabilities.was", value=printed(text.before))
        return Figure(t(f"probabilities.{name}"), printed(text.now), t(f"probabilities.{name}_title"), was)

    return [
        figure("bits", lambda s: s.bits_per_token, 2),
        figure("perplexity", lambda s: s.perplexity, 1),
        figure("tokens", lambda s: s.tokens, 0),
        figure("bits_per_byte", lambda s: s.bits_per_byte, 3),
    ]


def strip_value(view: View, t: Words, text: TextView) -> dict:
    """The prompt, each token shaded by its surprisal."""
    before = text.before.surprisal if text.before else [math.nan] * len(view.run)
    edited = {p for e in view.state.plan for p in e.positions or ()}
    columns = zip(view.shown, text.now.surprisal, before, text.now.rank)
    tokens = [
        StripToken(
            pos,
            shown,
            _title(t, pos, shown, bits, was, rank),
            _shade(bits, text.most_bits),
            kind="bos" if view.state.bos and pos == 0 else "prompt",
            edited=pos in edited,
            before=_shade(was, text.most_bits),
        )
        for pos, (shown, bits, was, rank) in enumerate(columns)
    ]
    legend = Legend(
        t("probabilities.legend"), t("probabilities.legend_low"), t("probabilities.legend_high", bits=f"{text.most_bits:.1f}")
    )
    label = t("probabilities.strip")
    return token_strip_value(tokens, text=t.section("token_strip"), label=label, selected=view.position, legend=legend)


def _shade(bits: float, most: float) -> float | None:
    return None if np.isnan(bits) else float(min(1.0, bits / most))


def _title(t: Words, pos: int, shown: str, bits: float, was: float, rank: int) -> str:
    if np.isnan(bits):
        return t("playground.token_first", pos=pos, text=shown)
    title = t(
        "probabilities.token", pos=pos, text=shown, bits=f"{bits:.2f}", p=f"{100 * 2.0**-bits:.3g}%", rank=f"{rank + 1:,}"
    )
    return title if np.isnan(was) else f"{title}\n{t('probabilities.token_was', bits=f'{was:.2f}')}"


def _line(view: View, t: Words, text: TextView):
    labels = {
        name: t(f"probabilities.line_{name}") for name in ("token", "axis", "surprisal", "before", "entropy", "probability")
    }
    labels["description"] = t.section("probabilities")["line_description"]
    before = None if text.before is None else text.before.surprisal
    return surprisal_line(view.shown, text.now.surprisal, labels, before, text.now.entropy, view.position)
