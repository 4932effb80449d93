"""Tab: attention. All heads at once, one head large, and what heads do on repeated random tokens."""

from collections.abc import Iterator

import gradio as gr
import numpy as np

from app.components.base import with_id
from app.components.head_grid import head_grid, head_grid_value
from app.components.panel import Badge, panel, panel_value
from app.figures.heads import head_scores_bars
from app.page import Page
from app.service import attention as service
from app.service.view import View, as_numpy
from app.state import PageState
from app.tabs import attention_head
from app.text import Words, words
from interp.edits import NO_EDITS

ORDERS = ("position", *service.MEASURES)
TIMES = (2, 5, 10)  # × chance
ALL = -1
CATEGORY = {role: i for i, role in enumerate(service.ROLES)}
Head = tuple[int, int]


def build(page: Page) -> None:
    """The tab's components and what they show."""
    # The scores take a run of their own: the patterns are drawn first, `wanted` starts the run, `measured` draws again.
    wanted, measured = gr.State(None), gr.State(())
    page.shows("attention", [wanted], lambda view: [service.score_key(view)], depends=lambda s: (s.model, s.plan))

    def score(state: PageState, done: tuple[str, ...]) -> tuple[str, ...]:
        return (*done, service.measure_scores(View(page.store, state)))[-16:]

    page.listen(wanted.change, score, [page.state, measured], [measured])
    page.refreshes(measured.change)
    head = panel("gb_attention_head")
    controls = _controls(page)
    with gr.Row(elem_id="gb_attention_columns"):
        with gr.Column(scale=5, min_width=320):
            _grid(page, head, [*controls, measured])
        with gr.Column(scale=6, min_width=320):
            attention_head.build(page, measured)
    _roles(page, measured)


def _controls(page: Page) -> list[gr.components.Component]:
    """Order, filter, layers, and whether to hide the first token."""
    with gr.Row(elem_id="gb_attention_controls"):
        order = gr.Dropdown(
            [(o, o) for o in ORDERS],
            value="position",
            label=page.label("attention.order"),
            elem_id="gb_attention_order",
            min_width=180,
        )
        times = gr.Dropdown(
            [("", 0)],
            value=0,
            label=page.label("attention.filter"),
            elem_id="gb_attention_filter",
            min_width=130,
            visible=False,
        )
        layer = gr.Dropdown(
            [("", ALL)], value=ALL, label=page.label("attention.layer"), elem_id="gb_attention_layer", min_width=110
        )
        with gr.Column(scale=1, min_width=190):
            hide = gr.Checkbox(False, label=page.label("attention.hide_first"), elem_id="gb_attention_hide_first")
    page.shows("attention", [order, layer], _choices, inputs=[layer], depends=lambda s: (s.lang, s.model))
    page.shows("attention", [times], _filter_choices, inputs=[order], depends=lambda s: s.lang)
    controls = [order, times, layer, hide]
    for control in controls:
        page.refreshes(control.input)
    return controls


def _grid(page: Page, head: gr.HTML, inputs: list[gr.components.Component]) -> None:
    grid = head_grid("gb_attention_grid")
    depends = {"depends": lambda s: s.but(tab="attention", position=None)}
    page.shows("attention", [head, grid], _grid_values, inputs=inputs, **depends)
    page.changes(grid.headselect, lambda s, event: s.but(layer=int(event.layer), head=int(event.head)), event_data=True)


def _choices(view: View, layer: int) -> list:
    t, n = words(view.state.lang), view.config.n_layers
    layers = [(t("attention.layer_all"), ALL), *((t("attention.layer_one", layer=i), i) for i in range(n))]
    return [
        gr.update(choices=[(t(f"attention.order_{o}"), o) for o in ORDERS]),
        gr.update(choices=layers, value=layer if layer in range(n) else ALL),
    ]


def _filter_choices(view: View, order: str) -> list:
    t = words(view.state.lang)
    choices = [(t("attention.filter_all"), 0), *((t("attention.filter_times", times=n), n) for n in TIMES)]
    return [gr.update(choices=choices, visible=order != "position")]


def _grid_values(view: View, order: str, times: int, layer: int, hide: bool, measured: tuple[str, ...]) -> list:
    t, found, known = words(view.state.lang), service.pictures(view), attention_head.is_measured(view, measured)
    if order in service.ROLES and not known:  # the last picture stays until the scores are there
        return [panel_value(t("attention.waiting")), gr.skip()]
    tiles, scores, note = _arranged(view, t, order, times, layer if layer in range(view.config.n_layers) else ALL)
    notes = [note, t("attention.beyond") if found.beyond else ""]
    head = panel_value(
        " ".join(filter(None, [t("attention.what"), *notes])),
        help=t("attention.help", moved=service.MOVED),
        help_label=t("page.help"),
        badges=[_rows_badge(view, t)],
    )
    return [head, _grid_value(view, t, tiles, scores, hide, service.roles(view) if known else {})]


def _arranged(view: View, t: Words, order: str, times: int, layer: int) -> tuple[list[Head] | None, dict, str]:
    """Which heads in which order (None: the whole matrix), their scores, and a sentence where none is left."""
    heads = [(la, h) for la, h in np.ndindex(view.config.n_layers, view.config.n_heads) if layer in (ALL, la)]
    if order == "position":
        return (None if layer == ALL else heads), {}, ""
    values, chance = service.measure(view, order)
    kept = sorted((h for h in heads if values[h] >= times * chance), key=lambda h: -values[h])
    label = t(f"attention.short_{order}")
    note = "" if kept else t("attention.none_left", times=times, chance=chance)
    return kept, {h: (label, float(values[h])) for h in kept}, note


def _grid_value(view: View, t: Words, tiles: list[Head] | None, scores: dict, hide: bool, roles: dict[Head, str]) -> dict:
    found, s = service.pictures(view), view.state
    moved = () if found.changed is None else np.argwhere(found.changed >= service.MOVED).tolist()

    def compute() -> dict:
        return head_grid_value(
            _expanded(found.pooled_rest if hide else found.pooled, found.block, len(view.run)),
            tokens=view.shown,
            text=t.section("head_grid"),
            tiles=tiles,
            scores=scores,
            roles={h: (t(f"attention.short_{role}"), CATEGORY[role] + 1) for h, role in roles.items()},
            off=service.edited_heads(view),
            changed={(la, h): float(found.changed[la, h]) for la, h in moved},
            hide_first=hide,
            max_pixels=service.THUMBNAIL,
        )

    key = (s.model, "head grid", s.prompt, s.bos, s.plan, s.lang, hide, repr(tiles), repr(scores), repr(roles))
    value = view.store.result(key, compute)  # choosing another head does not make the picture again
    return with_id({**{k: v for k, v in value.items() if k != "id"}, "selected": [view.layer, view.head]})


def _expanded(pooled: np.ndarray, block: int, n: int) -> Iterator[np.ndarray]:
    """Layers [head query key] that pool to `pooled`: what the grid takes, without keeping every weight of a long prompt."""
    for layer in pooled:
        yield layer.repeat(block, -2).repeat(block, -1)[..., :n, :n]


def _rows_badge(view: View, t: Words) -> Badge:
    check = service.pictures(view).check
    title = t("page.check_title", name=t("attention.check_rows"), residual=check.residual, tolerance=check.tolerance)
    edited = any(e.component == "pattern" for e in view.state.plan)
    text = t("page.checked") if check.holds else t("attention.rows_edited") if edited else t("page.check_failed")
    return Badge(text, title, ok=check.holds)


def _roles(page: Page, measured: gr.State) -> None:
    head = panel("gb_attention_roles_head")
    role = gr.Radio(
        [(r, r) for r in service.ROLES], value=service.ROLES[0], label=page.label("attention.role"), elem_id="gb_attention_role"
    )
    said = panel("gb_attention_roles_said")
    bars = gr.Plot(show_label=False, elem_id="gb_attention_bars")
    page.shows("attention", [head, role], _role_choices, depends=lambda s: s.lang)
    page.shows("attention", [said, bars], _role_values, inputs=[role, measured], depends=lambda s: (s.model, s.plan, s.lang))
    page.refreshes(role.input)


def _role_choices(view: View) -> list:
    t = words(view.state.lang)
    help = t("attention.scores_help", threshold=service.ROLE_THRESHOLD)
    return [
        panel_value(t("attention.scores_what"), help=help, help_label=t("page.help")),
        gr.update(choices=[(t(f"attention.order_{r}"), r) for r in service.ROLES]),
    ]


def _role_values(view: View, role: str, measured: tuple[str, ...]) -> list:
    t = words(view.state.lang)
    if not attention_head.is_measured(view, measured):
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
