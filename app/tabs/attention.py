"""Tab: attention. All heads at once, one head large, surgery, and what heads do on repeated random tokens."""

import gradio as gr
import numpy as np

from app.components.base import with_id
from app.components.head_grid import head_grid, head_grid_value
from app.components.panel import Badge, Exports, panel, panel_value
from app.page import Page
from app.service import attention as service
from app.service import attention_shown as shown
from app.service.view import View
from app.state import PageState
from app.tabs import attention_head, attention_paths, attention_roles, attention_scores, attention_surgery
from app.tabs.attention_choices import EVERY, FAINT, HIDE, LAYER, ORDER, ORDERS, SHOW, STRONG, TIMES, choice, seen
from app.tabs.attention_roles import CATEGORY, is_measured
from app.tabs.badges import check_badge
from app.text import Words, words

FILTERS = (2, 5, 10)  # × chance
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
    _controls(page)
    with gr.Row(elem_id="gb_attention_columns"):
        with gr.Column(scale=5, min_width=320):
            _grid(page, head, measured)
        with gr.Column(scale=6, min_width=320):
            attention_head.build(page, measured)
    attention_surgery.build(page)
    attention_scores.build(page)
    attention_paths.build(page)
    attention_roles.build(page, measured)


def _controls(page: Page) -> None:
    """What is shown, in which order, with which filter, of which layers, and whether to hide the first token."""

    def named(name: str, width: int) -> dict:
        return {"label": page.label(f"attention.{name}"), "elem_id": f"gb_attention_{name}", "min_width": width}

    with gr.Row(elem_id="gb_attention_controls"):
        show = gr.Dropdown([(k, k) for k in shown.KINDS], value=SHOW.default, **named("show", 190))
        order = gr.Dropdown([(o, o) for o in ORDERS], value=ORDER.default, **named("order", 180))
        times = gr.Dropdown([("", 0)], value=TIMES.default, visible=False, **named("filter", 130))
        layer = gr.Dropdown([("", EVERY)], value=LAYER.default, **named("layer", 110))
        with gr.Column(scale=1, min_width=190):
            hide = gr.Checkbox(False, label=page.label("attention.hide_first"), elem_id="gb_attention_hide_first")
            strong = gr.Checkbox(False, label=page.label("attention.strong"), elem_id="gb_attention_strong")
    choice(page, SHOW, show, lambda view: [(words(view.state.lang)(f"attention.show_{k}"), k) for k in shown.KINDS])
    choice(page, ORDER, order, lambda view: [(words(view.state.lang)(f"attention.order_{o}"), o) for o in ORDERS])
    choice(page, LAYER, layer, _layers)
    page.shows("attention", [times], _filters, depends=lambda s: (s.lang, seen(s, ORDER, TIMES).settings))
    page.changes(times.input, TIMES.on, inputs=[times])
    page.control(HIDE, hide)
    page.control(STRONG, strong)


def _layers(view: View) -> list[tuple[str, int]]:
    t = words(view.state.lang)
    return [
        (t("attention.layer_all"), EVERY),
        *((t("attention.layer_one", layer=i), i) for i in range(view.config.n_layers)),
    ]


def _filters(view: View) -> list:
    t, order = words(view.state.lang), ORDER.of(view.state)
    choices = [(t("attention.filter_all"), 0), *((t("attention.filter_times", times=n), n) for n in FILTERS)]
    return [gr.update(choices=choices, value=TIMES.of(view.state), visible=order not in ("position", "role"))]


def _grid(page: Page, head: gr.HTML, measured: gr.State) -> None:
    grid = head_grid("gb_attention_grid")

    def depends(state: PageState) -> PageState:
        return seen(state, SHOW, ORDER, TIMES, LAYER, HIDE, STRONG, position=None)

    page.shows("attention", [head, grid], _grid_values, inputs=[measured], depends=depends)
    page.changes(grid.headselect, lambda s, event: s.but(layer=int(event.layer), head=int(event.head)), event_data=True)
    page.hands_out(head, lambda view: shown.grid_evidence(view, SHOW.of(view.state)))


def _grid_values(view: View, measured: tuple[str, ...]) -> list:
    t, order, known = words(view.state.lang), ORDER.of(view.state), is_measured(view, measured)
    if order in (*service.ROLES, "role") and not known:  # the last picture stays until the scores are there
        return [panel_value(t("attention.waiting")), gr.skip()]
    found, pictures = service.pictures(view), shown.thumbnails(view, SHOW.of(view.state), HIDE.of(view.state))
    tiles, scores, note = _arranged(view, t, order)
    kind = pictures.kind
    notes = [
        "" if kind == "weights" else t(f"attention.what_{kind}"),
        "" if kind == SHOW.of(view.state) else t("attention.too_long"),
        note,
        t("attention.beyond") if found.beyond else "",
    ]
    help = t("attention.help", moved=service.MOVED) if kind == "weights" else t(f"attention.help_{kind}")
    head = panel_value(
        " ".join(filter(None, [t("attention.what"), *notes])),
        help=help,
        help_label=t("page.help"),
        badges=[_badge(view, t, pictures)],
        exports=Exports("gb_attention_grid", "heads", t.section("panel")),
    )
    return [head, _grid_value(view, t, pictures, tiles, scores, service.roles(view) if known else {})]


def _arranged(view: View, t: Words, order: str) -> tuple[list[Head] | None, dict, str]:
    """Which heads in which order (None: the whole matrix), their scores, and a sentence where none is left."""
    layer, times = LAYER.of(view.state), TIMES.of(view.state)
    layer = layer if layer in range(view.config.n_layers) else EVERY
    heads = [(la, h) for la, h in np.ndindex(view.config.n_layers, view.config.n_heads) if layer in (EVERY, la)]
    if order == "position":
        return (None if layer == EVERY else heads), {}, ""
    if order == "role":
        return _by_role(view, t, heads)
    values, chance = service.measure(view, order)
    kept = sorted((h for h in heads if values[h] >= times * chance), key=lambda h: -values[h])
    label = t(f"attention.short_{order}")
    note = "" if kept else t("attention.none_left", times=times, chance=chance)
    return kept, {h: (label, float(values[h])) for h in kept}, note


def _by_role(view: View, t: Words, heads: list[Head]) -> tuple[list[Head], dict, str]:
    """Heads with the same role together, the clearest first; behind them all others, as they stand in the model."""
    roles = service.roles(view)
    tables = {role: service.measure(view, role)[0] for role in service.ROLES}
    scores = {h: (t(f"attention.short_{roles[h]}"), float(tables[roles[h]][h])) for h in heads if h in roles}
    ordered = sorted(scores, key=lambda h: (CATEGORY[roles[h]], -scores[h][1]))
    return ordered + [h for h in heads if h not in scores], scores, ""


def _grid_value(view: View, t: Words, pictures: shown.Thumbnails, tiles: list[Head] | None, scores: dict, roles: dict) -> dict:
    found, s, hide = service.pictures(view), view.state, HIDE.of(view.state)
    moved = () if found.changed is None else np.argwhere(found.changed >= service.MOVED).tolist()
    text = t.section("head_grid")
    if pictures.kind != "weights":
        text = {**text, "unit": t(f"attention.unit_{pictures.kind}")}

    def compute() -> dict:
        return head_grid_value(
            pictures.pooled,
            tokens=view.shown,
            text=text,
            tiles=tiles,
            scores=scores,
            roles={h: (t(f"attention.short_{role}"), CATEGORY[role] + 1) for h, role in roles.items()},
            off=service.edited_heads(view),
            changed={(la, h): float(found.changed[la, h]) for la, h in moved},
            hide_first=hide,
            pooled_by=pictures.block,
            largest=pictures.largest,
            ends_at=FAINT * pictures.largest if STRONG.of(s) else None,
        )

    key = (
        s.model,
        "head grid",
        s.prompt,
        s.bos,
        s.plan,
        s.lang,
        hide,
        STRONG.of(s),
        pictures.kind,
        repr(tiles),
        repr(scores),
        repr(roles),
    )
    value = view.store.result(key, compute)  # choosing another head does not make the picture again
    return with_id({**{k: v for k, v in value.items() if k != "id"}, "selected": [view.layer, view.head]})


def _badge(view: View, t: Words, pictures: shown.Thumbnails) -> Badge:
    """Rows sum to 1, or vectors to the head's output; an edit of the pattern or of the output itself breaks that, and is named."""
    name, edited, component = "check_rows", "rows_edited", "pattern"
    if pictures.kind != "weights":
        name, edited, component = "check_norms", "outputs_edited", "z"
    badge = check_badge(t, pictures.check, t(f"attention.{name}"))
    broken = not pictures.check.holds and any(e.component == component for e in view.state.plan)
    return Badge(t(f"attention.{edited}"), badge.title, ok=False) if broken else badge
