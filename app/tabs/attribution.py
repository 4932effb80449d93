"""Tab: attribution. Where one logit comes from: layers, heads, tokens, neurons; and the slope at the input."""

import gradio as gr
import numpy as np

from app.components.heat_map import heat_map, heat_map_value
from app.components.panel import Exports, panel, panel_value
from app.figures.contributions import contribution_bars
from app.page import Page
from app.service import attribution as service
from app.service.staged import Stage, value
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.tabs.badges import check_badge
from app.tabs.behind import behind
from app.text import Words, words
from interp.edits import NO_EDITS
from interp.run import Check

TARGET, MINUS = Setting("attribution.target", ""), Setting("attribution.minus", "")
READ_BY = Setting("attribution.read_by", "all", one_of=("all", "head"))
METHOD = Setting("attribution.method", "gradient", one_of=service.METHODS)


def build(page: Page) -> None:
    """The tab's components and what they show."""
    t = page.label
    with gr.Row():
        for setting, name in ((TARGET, "target"), (MINUS, "minus")):
            with gr.Column(min_width=220):
                hint, info = t(f"attribution.{name}_hint"), t(f"attribution.{name}_info")
                box = gr.Textbox(
                    "",
                    label=t(f"attribution.{name}"),
                    placeholder=hint,
                    info=info,
                    max_lines=1,
                    elem_id=f"gb_attribution_{name}",
                )
                page.control(setting, box)
    _charted(page, "layers", _layers, lambda view: service.layers_evidence(view, _wanted(view)))
    head = panel("gb_attribution_heads_head")
    grid = heat_map("gb_attribution_heads")
    page.shows("attribution", [head, grid], _heads)
    page.hands_out(head, lambda view: service.heads_evidence(view, _wanted(view)))
    page.changes(grid.cellselect, lambda s, event: s.but(layer=int(event.row), head=int(event.col)), event_data=True)
    choices = [(t(f"attribution.read_by_{name}"), name) for name in READ_BY.one_of]
    read_by = gr.Radio(choices, value=READ_BY.default, label=t("attribution.read_by"), elem_id="gb_attribution_read_by")
    page.control(READ_BY, read_by)
    _charted(page, "sources", _sources, lambda view: service.sources_evidence(view, _wanted(view), _reader(view)))
    _charted(page, "neurons", _neurons, lambda view: service.neurons_evidence(view, _wanted(view)), no_head)
    choices = [(t(f"attribution.method_{name}"), name) for name in METHOD.one_of]
    method = gr.Radio(choices, value=METHOD.default, label=t("attribution.method"), elem_id="gb_attribution_method")
    page.control(METHOD, method)
    chosen = lambda view: service.saliency_evidence(view, _wanted(view), METHOD.of(view.state))  # noqa: E731
    done = behind(page, "attribution", _saliency_stages, no_head, "gb_attribution_long")
    _charted(page, "saliency", _saliency, chosen, no_head, [done])


def no_head(state: PageState) -> PageState:
    """What a picture depends on that is the same whichever head is selected."""
    return state.settings_of("attribution").but(tab="attribution", layer=0, head=0)


def _charted(page: Page, name: str, render, evidence, depends=None, inputs=()) -> None:
    """A panel with one chart, and its menu."""
    head = panel(f"gb_attribution_{name}_head")
    chart = gr.Plot(show_label=False, elem_id=f"gb_attribution_{name}")
    page.shows("attribution", [head, chart], render, inputs=inputs, depends=depends)
    page.hands_out(head, evidence)


def _wanted(view: View) -> service.Wanted:
    return service.wanted(view, TARGET.of(view.state), MINUS.of(view.state))


def _reader(view: View) -> tuple[int, int] | None:
    """The head whose reading is shown, None for all together."""
    return None if READ_BY.of(view.state) == "all" else (view.layer, view.head)


def _names(view: View, what: service.Wanted, t: Words) -> dict[str, str]:
    """The target in words: the token, what it is compared with, and where."""
    other = t("attribution.mean") if what.minus is None else f"“{view.show([what.minus])[0]}”"
    return {
        "token": view.show([what.token])[0],
        "other": other,
        "at": view.shown[view.position],
        "position": str(view.position),
    }


def _described(view: View, t: Words, name: str, check: Check | None, said: str) -> dict:
    key = "checks.slope" if check and check.name == "slope" else f"attribution.check_{name}"
    badges = [] if check is None else [check_badge(t, check, t(key))]
    exports = Exports(f"gb_attribution_{name}", f"attribution-{name}", t.section("panel"))
    return panel_value(said, help=t(f"attribution.{name}_help"), help_label=t("page.help"), badges=badges, exports=exports)


def _chart(view: View, t: Words, names, values: np.ndarray, before: np.ndarray | None, tokens: bool = False):
    return contribution_bars(names, values, t.section("contributions"), before=before, tokens=tokens)


def _layers(view: View) -> list:
    t, what = words(view.state.lang), _wanted(view)
    found = service.layers(view, what, view.state.plan)
    before = service.layers(view, what, NO_EDITS) if view.state.plan else None
    said = [t("attribution.layers_what", value=found.value, **_names(view, what, t))]
    if before is not None:
        said.append(t("attribution.layers_before", value=before.value))
    # What the plan itself adds has no counterpart in the run without it.
    earlier = None if before is None else _aligned(found.labels, before)
    names = [t("attribution.part_edits") if label == "edits" else label for label in found.labels]
    return [_described(view, t, "layers", found.check, " ".join(said)), _chart(view, t, names, found.values, earlier)]


def _aligned(labels: tuple[str, ...], before: service.Parts) -> np.ndarray:
    by_name = dict(zip(before.labels, before.values))
    return np.array([by_name.get(label, 0.0) for label in labels])


def _heads(view: View) -> list:
    t, what = words(view.state.lang), _wanted(view)
    table, check = service.head_table(view, what, view.state.plan)
    layer, head = np.unravel_index(np.abs(table).argmax(), table.shape)
    said = [t("attribution.heads_what", head=f"L{layer}H{head}", value=table[layer, head], **_names(view, what, t))]
    if view.state.plan:
        was = service.head_table(view, what, NO_EDITS)[0]
        moved = np.unravel_index(np.abs(table - was).argmax(), table.shape)
        said.append(t("attribution.heads_before", head=f"L{moved[0]}H{moved[1]}", was=was[moved], now=table[moved]))
    picture = heat_map_value(
        table,
        rows=[f"L{i}" for i in range(table.shape[0])],
        columns=[f"H{i}" for i in range(table.shape[1])],
        text=t.section("heat_map"),
        unit=t("contributions.unit"),
        selected=(view.layer, view.head),
        row_title=t("attribution.layer"),
        column_title=t("attribution.head"),
    )
    return [_described(view, t, "heads", check, " ".join(said)), picture]


def _sources(view: View) -> list:
    t, what, head = words(view.state.lang), _wanted(view), _reader(view)
    n = view.position + 1
    values, edited, check = service.sources(view, what, head, view.state.plan)
    names, values = view.shown[:n], values[:n]
    before = service.sources(view, what, head, NO_EDITS)[0][:n] if view.state.plan else None
    if edited:  # a head that was turned off still reads, and the edit takes that away again
        names, values, before = [*names, t("attribution.part_edits")], np.append(values, edited), np.append(before, 0)
    key, who = ("sources_what", "") if head is None else ("sources_what_head", f"L{head[0]}H{head[1]}")
    top = int(np.abs(values[:n]).argmax())
    said = t(f"attribution.{key}", head=who, top=view.shown[top], value=values[top], **_names(view, what, t))
    return [_described(view, t, "sources", check, said), _chart(view, t, names, values, before, tokens=True)]


def _neurons(view: View) -> list:
    t, what = words(view.state.lang), _wanted(view)
    found = service.neurons(view, what, view.state.plan)
    said = t(
        "attribution.neurons_what", n=len(found.labels), top=found.labels[0], value=found.values[0], **_names(view, what, t)
    )
    return [_described(view, t, "neurons", found.check, said), _chart(view, t, found.labels, found.values, None)]


def _saliency_stages(view: View) -> list[Stage]:
    """As edited, and without the edits where there are any."""
    plans = [view.state.plan] + [NO_EDITS] * bool(view.state.plan)
    return [service.saliency_stage(view, _wanted(view), METHOD.of(view.state), plan) for plan in plans]


def _saliency(view: View, done: int = 0) -> list:
    t, what, n = words(view.state.lang), _wanted(view), view.position + 1
    found = [value(view, stage) for stage in _saliency_stages(view)]
    if None in found:
        return [_described(view, t, "saliency", None, t("page.computing")), gr.skip()]
    values, check = found[0]
    before = found[1][0][:n] if view.state.plan else None
    top = int(np.abs(values[:n]).argmax())
    said = t("attribution.saliency_what", top=view.shown[top], value=values[top], **_names(view, what, t))
    labels = t.section("contributions")
    labels["unit"] = labels["unit_saliency"]
    figure = contribution_bars(view.shown[:n], values[:n], labels, before=before, tokens=True)
    return [_described(view, t, "saliency", check, said), figure]
