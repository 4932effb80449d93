"""The panel of path patching: what each head tells the chosen receiver, exactly and along the direct path alone."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.components.heat_map import heat_map
from app.components.panel import Badge, Exports, panel, panel_value
from app.page import Page
from app.service import patching_pair as pairs
from app.service import patching_paths as service
from app.service import patching_scripts_more as scripts
from app.service.patching import Asked
from app.service.patching_paths import Paths
from app.service.view import View
from app.tabs.patching_job import TAB, Offered, Work, menu, offer
from app.tabs.patching_maps import click, depends, map_value, scale
from app.tabs.patching_words import metric_text, number
from app.text import Words, words

SIDES = ("exact", "beside")


def build(page: Page, shown: Callable[[Any], bool]) -> Offered:
    """Two maps beside each other, and where the paths end."""
    head = panel("gb_patching_paths_head")
    with gr.Row(equal_height=False):
        kind = gr.Radio(list(service.RECEIVER.one_of), label=page.label("patching.receiver"), min_width=320, scale=3, elem_id="gb_patching_receiver")  # fmt: skip
        which = gr.Textbox("", label=page.label("patching.receiver_head"), max_lines=1, min_width=120, scale=1, elem_id="gb_patching_receiver_head")  # fmt: skip
    approximate = gr.Radio(
        list(service.APPROXIMATE.one_of), label=page.label("patching.approximate"), elem_id="gb_patching_approximate"
    )
    maps = []
    with gr.Row(equal_height=False):
        for side in SIDES:
            with gr.Column(min_width=320):
                maps.append(heat_map(f"gb_patching_paths_{side}"))
    menu(page, service.RECEIVER, kind)
    menu(page, service.APPROXIMATE, approximate)
    page.control(service.HEAD, which)
    own = ("receiver", "receiver_head", "approximate")
    page.shows(TAB, [which], _hint, depends=depends(*own))
    work = Work(cost=service.cost, begun=service.begun, steps=service.steps)
    job = offer(page, "gb_patching_paths", [head, *maps], work, _draw, shown=shown, depends=depends(*own))
    for part in maps:
        click(page, part, "layers")
    page.hands_out(head, scripts.paths_evidence)
    return job


def _hint(view: View) -> list:
    """The receiving head while none was typed."""
    kind = service.RECEIVER.of(view.state)
    if kind == "logits" or pairs.problem(view):
        return [gr.update(placeholder="", interactive=kind != "logits")]
    layer, head = service.receiver_head(view)
    return [gr.update(placeholder=f"L{layer}H{head}", interactive=True)]


def _draw(view: View, done: tuple[Paths, ...]) -> list:
    t, q = words(view.state.lang), pairs.question(view)
    shown, what = scale(view, t, q, [paths.found for paths in done]), Asked(q, "z")
    values = []
    for side, method in enumerate(service.methods(view)):
        found, name = done[side].found if side < len(done) else None, t(f"patching.paths_{method}")
        caption = {"caption": name} if found is not None else {}
        values.append(gr.update(value=map_value(view, t, what, found, shown, label=name, **caption), visible=True))
    values += [gr.update(visible=False)] * (len(SIDES) - len(values))
    return [_head(view, t, q, done), *values]


def _head(view: View, t: Words, q: pairs.Question, done: tuple[Paths, ...]) -> dict:
    kind = service.RECEIVER.of(view.state)
    receiver = t("patching.paths_logits")
    if kind != "logits":
        layer, head = service.receiver_head(view)
        receiver = t("patching.paths_head", kind=t(f"patching.paths_kind_{kind}"), head=f"L{layer}H{head}")
    ends = pairs.ends(view, q, q.plan)
    said = t("patching.paths_what", receiver=receiver, metric=metric_text(t, view, q), base=number(ends[q.mode == "denoise"]))
    if len(service.methods(view)) < len(SIDES):
        said += " " + t("patching.paths_alone")
    badges = [
        Badge(
            t("page.checked" if check.holds else "page.check_failed"),
            t("page.check_title", name=t("patching.paths_check"), residual=check.residual, tolerance=check.tolerance),
            ok=check.holds,
        )
        for check in (paths.result.check for paths in done)
    ]
    exports = Exports("gb_patching_paths_exact", "patching-paths", t.section("panel"))
    return panel_value(said, help=t("patching.paths_help"), help_label=t("page.help"), badges=badges, exports=exports)
