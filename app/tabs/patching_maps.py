"""The two maps of the patching tab: the stream by layer and token, heads or neurons by layer (or a layer's heads by token)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from app.components.heat_map import heat_map, heat_map_value
from app.components.panel import Badge, Exports, panel, panel_value
from app.page import Page
from app.service import patching as service
from app.service import patching_pair as pairs
from app.service import patching_scripts as scripts
from app.service.patching import Asked, Map
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.tabs.patching_job import TAB, Offered, Work, menu, offer
from app.tabs.patching_words import metric_text, number, unit_text
from app.text import Words, words
from interp.edits import NO_EDITS
from interp.patching import OF_HEADS

NORMALISED = Setting("patching.normalised", True)
OWN = ("pair", "number", "clean", "corrupted", "metric", "answer", "other", "mode", "stream", "part", "by_position", "normalised")  # fmt: skip


def build(page: Page) -> Offered:
    """Both maps, side by side, with their heads, menus and buttons; the job that fills them."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=340):
            stream_head = panel("gb_patching_stream_head")
            stream = gr.Dropdown(list(service.STREAM), label=page.label("patching.stream"), filterable=False, elem_id="gb_patching_stream_of")  # fmt: skip
            left = heat_map("gb_patching_stream")
        with gr.Column(scale=2, min_width=320):
            heads_head = panel("gb_patching_heads_head")
            part = gr.Dropdown(list(service.HEADS), label=page.label("patching.part"), filterable=False, elem_id="gb_patching_part")  # fmt: skip
            right = heat_map("gb_patching_heads")
            by_position = gr.Checkbox(False, label=page.label("patching.by_position"), elem_id="gb_patching_by_position")
    normalised = gr.Checkbox(True, label=page.label("patching.normalised"), elem_id="gb_patching_normalised")
    menu(page, service.LEFT, stream)
    menu(page, service.RIGHT, part)
    page.control(service.BY_POSITION, by_position)
    page.control(NORMALISED, normalised)
    work = Work(cost=_cost, begun=_begun, steps=_steps)
    job = offer(page, "gb_patching_maps", [stream_head, heads_head, left, right], work, _draw, depends=depends())
    click(page, left, "stream")
    click(page, right, "heads")
    page.hands_out(stream_head, lambda view: scripts.map_evidence(view, _asked(view)[0]))
    page.hands_out(heads_head, lambda view: scripts.map_evidence(view, _asked(view)[1]))
    return job


def depends(*more: str) -> Callable[[PageState], PageState]:
    """What a panel is drawn from: the question, the maps, what is selected, and `more` settings of its own."""
    names = {f"{TAB}.{name}" for name in (*OWN, *more)}
    return lambda state: state.but(settings=tuple(s for s in state.settings if s[0] in names), tab=TAB)


def click(page: Page, part: Any, which: str) -> None:
    """A click in a map selects its place everywhere. which: "stream", "heads", or "layers", whose cells are always (layer, head)."""
    page.changes(part.cellselect, lambda s, event: _chosen(s, which, event), event_data=True)


def _asked(view: View) -> tuple[Asked, Asked]:
    return service.asked(view, pairs.question(view))


def _cost(view: View) -> service.Cost:
    return sum((service.cost(view, what) for what in _asked(view)), service.NOTHING)


def _begun(view: View) -> tuple[Map | None, Map | None]:
    return tuple(service.begun(view, what) for what in _asked(view))


def _steps(view: View) -> Any:
    """Both maps, the left one first."""
    now: list[Map | None] = list(_begun(view))
    for side, what in enumerate(_asked(view)):
        for now[side] in service.steps(view, what):
            yield tuple(now)


def _chosen(state: PageState, which: str, event: gr.EventData) -> PageState:
    """A click in a map selects its layer, head and position everywhere; what a column is depends on the map."""
    row, column = int(event.row), int(event.col)
    state = service.LOOK.on(state, "heads" if which == "layers" else which)
    if which == "stream":
        return state.but(layer=row, position=column)
    if which == "heads" and service.BY_POSITION.of(state) and service.RIGHT.of(state) in OF_HEADS:
        return state.but(head=row, position=column)
    return state.but(layer=row, head=column)


@dataclass(frozen=True)
class Scale:
    """How values are shown: what is subtracted and divided by, where the colours end, and what the scale's places are called."""

    normalised: bool
    bound: float
    center: float
    unit: str
    ticks: tuple[tuple[float, str], ...]

    def __call__(self, found: Map) -> np.ndarray:
        return found.normalised if self.normalised else found.values


def scale(view: View, t: Words, q: pairs.Question, maps: Sequence[Map | None], low: str = "tick_corrupted") -> Scale:
    """One scale for all maps that are shown beside each other. low: the name of the end that is not clean."""
    there = [m for m in maps if m is not None]
    clean, corrupted = (there[0].clean, there[0].corrupted) if there else pairs.ends(view, q, q.plan)
    normalised = NORMALISED.of(view.state) and abs(clean - corrupted) >= service.CLOSE
    ends = (0.0, 1.0) if normalised else (corrupted, clean)
    center = 0.0 if normalised else (corrupted if q.mode == "denoise" else clean)
    shown = [m.normalised if normalised else m.values for m in there]
    far = [np.abs(v[~np.isnan(v)] - center).max(initial=0) for v in shown]
    bound = max([abs(ends[1] - ends[0]), *map(float, far)]) or 1.0
    unit = t("patching.unit_share") if normalised else unit_text(t, q)
    return Scale(normalised, bound, center, unit, tuple(zip(ends, (t(f"patching.{low}"), t("patching.tick_clean")))))


def map_value(view: View, t: Words, what: Asked, found: Map | None, shown: Scale, **more: Any) -> dict:
    """A map as the component takes it; cells that are not computed are hatched."""
    rows, columns, titles = axes(view, t, what)
    values = np.full((len(rows), len(columns)), np.nan) if found is None else shown(found)
    done = 0.0 if found is None else found.done
    options = {
        "rows": rows,
        "columns": columns,
        "text": t.section("heat_map") | {"label": more.pop("label", map_label(t, what))},
        "unit": shown.unit,
        "bound": shown.bound,
        "center": shown.center,
        "ticks": shown.ticks,
        "selected": service.selected(view, what),
        "row_title": titles[0],
        "column_title": titles[1],
        "caption": None if done == 1 else t("patching.progress", share=done),
    }
    return heat_map_value(values, **(options | more))


def map_label(t: Words, what: Asked) -> str:
    """The map's name for a screen reader."""
    kind = "stream" if what.component in service.STREAM else "heads"
    return t(f"patching.map_{kind}", part=what.component)


def axes(view: View, t: Words, what: Asked) -> tuple[list[str], list[str], tuple[str, str]]:
    """(rows, columns, their titles) of a map."""
    layers = [f"L{layer}" for layer in range(view.config.n_layers)]
    heads = [f"H{head}" for head in range(view.config.n_heads)]
    names = {name: t(f"patching.{name}") for name in ("layer", "token", "head", "group")}
    if what.component in service.STREAM:
        return layers, pair_tokens(view, what.question), (names["layer"], names["token"])
    if what.component == "neurons":
        return layers, [str(i) for i in range(service.GROUPS)], (names["layer"], names["group"])
    if what.layer is not None:
        rows = [f"L{what.layer}{head}" for head in heads]
        return rows, pair_tokens(view, what.question), (names["head"], names["token"])
    return layers, heads, (names["layer"], names["head"])


def pair_tokens(view: View, q: pairs.Question) -> list[str]:
    """The tokens of the pair as printed; where the prompts differ, “clean/corrupted”."""
    both = zip(view.show(q.clean), view.show(q.corrupted))
    return [a if a == b else f"{a}/{b}" for a, b in both]


def _draw(view: View, maps: tuple[Map | None, Map | None]) -> list:
    t, asked = words(view.state.lang), _asked(view)
    shown = scale(view, t, asked[0].question, maps)
    values = [map_value(view, t, what, found, shown) for what, found in zip(asked, maps)]
    return [_stream_head(view, t, asked[0], maps[0], shown), _heads_head(t, asked[1], maps[1]), *values]


def checks(t: Words, found: Map | None) -> list[Badge]:
    """The two controls of a sweep, each as a badge that says what was checked."""
    found_checks = found.sweep.checks if found is not None and found.sweep is not None else ()
    return [
        Badge(
            t("page.checked" if c.holds else "page.check_failed"),
            t("page.check_title", name=t(f"patching.check_{'self' if 'itself' in c.name else 'all'}"), residual=c.residual, tolerance=c.tolerance),
            ok=c.holds,
        )
        for c in found_checks
    ]  # fmt: skip


def _stream_head(view: View, t: Words, what: Asked, found: Map | None, shown: Scale) -> dict:
    q = what.question
    clean, corrupted = pairs.ends(view, q, q.plan)
    ends = {"clean": number(clean), "corrupted": number(corrupted)}
    said = [t(f"patching.stream_what_{q.mode}", metric=metric_text(t, view, q), **ends)]
    if abs(clean - corrupted) < service.CLOSE:
        said.append(t("patching.no_difference", **ends))
    if q.plan:
        before = pairs.ends(view, q, NO_EDITS)
        said.append(t("patching.without_edits", clean=number(before[0]), corrupted=number(before[1])))
    exports = Exports("gb_patching_stream", f"patching-{what.component}", t.section("panel"))
    return panel_value(
        " ".join(said), help=t("patching.stream_help"), help_label=t("page.help"), badges=checks(t, found), exports=exports
    )


def _heads_head(t: Words, what: Asked, found: Map | None) -> dict:
    kind = "groups" if what.component == "neurons" else "heads" if what.layer is None else "positions"
    part = t(f"patching.part_{what.component}")
    said = t(f"patching.heads_what_{kind}", part=part, layer=what.layer, groups=service.GROUPS)
    exports = Exports("gb_patching_heads", f"patching-{what.component}", t.section("panel"))
    return panel_value(said, help=t("patching.heads_help"), help_label=t("page.help"), badges=checks(t, found), exports=exports)
