"""Part of the attention tab: what each head does on repeated random tokens, and which roles that earns."""

import gradio as gr
import numpy as np

from app.components.panel import Exports, panel, panel_value
from app.figures.heads import head_scores_bars
from app.page import Page
from app.service import attention as service
from app.service.view import View, as_numpy
from app.tabs.attention_choices import ROLE, choice, seen
from app.tabs.badges import origin
from app.text import words
from interp.edits import NO_EDITS

CATEGORY = {role: i for i, role in enumerate(service.ROLES)}


def is_measured(view: View, measured: tuple[str, ...]) -> bool:
    """Whether the head scores of this state have been computed."""
    return service.score_key(view) in measured


def build(page: Page, measured: gr.State) -> None:
    """The scores of one role as bars. measured: the keys of the head scores that are known."""
    gr.Markdown(page.label("attention.title_roles"))
    head = panel("gb_attention_roles_head")
    role = gr.Radio(
        [(r, r) for r in service.ROLES], value=ROLE.default, label=page.label("attention.role"), elem_id="gb_attention_role"
    )
    said = panel("gb_attention_roles_said")
    bars = gr.Plot(show_label=False, elem_id="gb_attention_bars")
    page.shows("attention", [head], _head, depends=lambda s: (s.lang, s.model))
    choice(page, ROLE, role, lambda view: [(words(view.state.lang)(f"attention.order_{r}"), r) for r in service.ROLES])

    def depends(state):
        return state.model, state.plan, state.lang, seen(state, ROLE).settings

    page.shows("attention", [said, bars], _values, inputs=[measured], depends=depends)
    page.hands_out(head, lambda view: service.roles_evidence(view))


def _head(view: View) -> list:
    t = words(view.state.lang)
    return [
        panel_value(
            t("attention.scores_what"),
            help=t("attention.scores_help", threshold=service.ROLE_THRESHOLD),
            help_label=t("page.help"),
            badges=[origin(t, "random", length=min(service.SCORED_LENGTH, view.config.n_ctx // 2))],
            exports=Exports("gb_attention_bars", "head-scores", t.section("panel")),
        )
    ]


def _values(view: View, measured: tuple[str, ...]) -> list:
    t, role = words(view.state.lang), ROLE.of(view.state)
    if not is_measured(view, measured):
        return [panel_value(t("attention.waiting")), gr.skip()]
    values, chance = service.measure(view, role)
    best = np.unravel_index(values.argmax(), values.shape)
    gain, badges = service.head_scores(view, view.state.plan).gain, [f"L{la}H{h}" for (la, h) in service.roles(view)]
    value = float(values[best])
    said = [
        t("attention.chance", chance=chance, head=f"L{best[0]}H{best[1]}", value=value, times=value / chance),
        t("attention.badges", threshold=service.ROLE_THRESHOLD, heads=", ".join(badges))
        if badges
        else t("attention.no_badges", threshold=service.ROLE_THRESHOLD),
        t("attention.gain" if gain > 0 else "attention.loss", gain=gain),
    ]
    before = as_numpy(getattr(service.head_scores(view, NO_EDITS), role)) if view.state.plan else None
    labels = t.section("attention_bars")
    return [panel_value(" ".join(said)), head_scores_bars(values, labels, before=before, role=CATEGORY[role])]
