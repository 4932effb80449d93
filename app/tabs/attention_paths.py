"""Part of the attention tab: attention followed through all layers, from the selected position down to the tokens it comes from."""

import gradio as gr

from app.components.panel import Exports, panel, panel_value
from app.figures.attention import paths_bars
from app.page import Page
from app.service import attention_paths as service
from app.service.view import View
from app.tabs.attention_choices import METHOD, choice, seen
from app.tabs.badges import check_badge
from app.text import words


def build(page: Page) -> None:
    """Shares of the paths into the selected position, by token."""
    gr.Markdown(page.label("attention.title_paths"))
    head = panel("gb_attention_paths_head")
    method = gr.Radio(
        [(m, m) for m in service.METHODS], value=METHOD.default, label=page.label("attention.method"), elem_id="gb_attention_method"
    )  # fmt: skip
    bars = gr.Plot(show_label=False, elem_id="gb_attention_paths")
    choice(page, METHOD, method, lambda view: [(words(view.state.lang)(f"attention.method_{m}"), m) for m in service.METHODS])
    page.shows("attention", [head, bars], _values, depends=lambda s: seen(s, METHOD, layer=0, head=0))
    page.hands_out(head, lambda view: service.evidence(view, METHOD.of(view.state)))


def _values(view: View) -> list:
    t, method = words(view.state.lang), METHOD.of(view.state)
    if method == "flow" and not service.flow_is_quick(view):
        return [panel_value(t("attention.flow_long", most=service.FLOW_AT_ONCE, position=view.position)), gr.skip()]
    found = service.paths(view, method)
    at, most = found.position, int(found.shares.argmax())
    said = t("attention.paths_what", token=view.shown[at], position=at, from_token=view.shown[most], share=found.shares[most],
             even=found.even[most])  # fmt: skip
    head = panel_value(
        f"{said} {t('attention.paths_caveat')}",
        help=t(f"attention.help_{method}"),
        help_label=t("page.help"),
        badges=[check_badge(t, found.check, t(f"attention.check_{method}"))],
        exports=Exports("gb_attention_paths", f"attention-{method}", t.section("panel")),
    )
    labels = t.section("attention_paths")
    return [head, paths_bars(view.shown[: at + 1], found.shares, found.even, labels, found.before)]
