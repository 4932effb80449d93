"""Tab: heads. A score of every head as a map and a table, and a card of the selected head."""

from collections.abc import Iterator

import gradio as gr
import numpy as np

from app.components.heat_map import heat_map, heat_map_value
from app.components.number_table import Column, number_table, number_table_value
from app.components.panel import Badge, Exports, panel, panel_value
from app.page import Page
from app.service import heads as service
from app.service import heads_evidence, staged
from app.service.heads_prompt import METHOD, METRIC, METRICS, REFERENCE, REFERENCE_TEXT, by_head_at, rivals
from app.service.view import View
from app.state import PageState
from app.tabs import heads_card, heads_search, heads_weights
from app.text import Words, words
from app.wiring import ended
from interp.ablation import METHODS
from interp.edits import NO_EDITS

UNIT = {"knock_out": "unit_metric", "direct": "unit_logits", "entropy": "unit_bits", "distance": "unit_tokens"}
BOUNDED = (*service.ROLES, "sink", "ov_copying")  # their colours end at 1
FIRST = 2  # columns of the table before the scores


def build(page: Page) -> None:
    """The tab's components and what they show."""
    with gr.Row(elem_id="gb_heads_columns"):
        with gr.Column(scale=5, min_width=320):
            measured = _overview(page)
            with gr.Column(elem_id="gb_heads_search_box"):
                heads_search.build(page)
        with gr.Column(scale=6, min_width=320):
            heads_card.build(page, measured)
    heads_weights.build(page)


def of_heads(state: PageState) -> PageState:
    """What a picture of all heads depends on."""
    return state.settings_of("heads").but(tab="heads")


def _overview(page: Page) -> gr.State:
    """The map and the table; gives what changes when more has been measured."""
    head = panel("gb_heads_head")
    t = page.label
    score = gr.Dropdown(
        [(t(f"heads.score_{name}"), name) for name in service.SCORES],
        value=service.SCORE.default,
        label=t("heads.score"),
        elem_id="gb_heads_score",
    )
    page.control(service.SCORE, score)
    grid = heat_map("gb_heads_map")
    with gr.Row(elem_id="gb_heads_measure_row"):
        measure = gr.Button("", size="sm", variant="primary", elem_id="gb_heads_measure", visible=False)
        stop = gr.Button(t("heads.stop"), size="sm", elem_id="gb_heads_stop", visible=False)
    _choices(page)
    said = panel("gb_heads_table_head")
    table = number_table("gb_heads_table")
    # What takes long is computed behind the page: `wanted` starts it, `done` draws again; a change of `subject` ends what was asked for.
    wanted, done, subject = gr.State(""), gr.State(0), gr.State("")
    whichever = lambda s: of_heads(s).but(layer=0, head=0)  # noqa: E731
    page.shows("heads", [wanted, subject], _asked, depends=whichever)
    page.shows("heads", [head, grid, said, table], _values, inputs=[done], depends=of_heads)
    page.shows("heads", [measure, stop], _offer, inputs=[done], depends=whichever)
    page.hands_out(head, heads_evidence.map_evidence)
    page.hands_out(said, heads_evidence.table_evidence)

    def quick(state: PageState, count: int) -> Iterator[int]:
        view = View(page.store, state)
        for number, stage in enumerate(_unasked(view), 1):
            staged.finished(view, stage)
            yield count + number

    def everything(state: PageState, count: int) -> Iterator[dict]:
        view = View(page.store, state)
        yield from _measured(view, staged.waiting(view, service.stages(view)), count, grid, done)

    options = {"trigger_mode": "always_last", "concurrency_id": "heads"}
    page.listen(wanted.change, quick, [page.state, done], [done], **options)
    running = page.listen(measure.click, everything, [page.state, done], [grid, done], concurrency_id="heads")
    ended(stop.click, running)  # what was measured so far stays
    page.starts_over(subject, running, _shown_map, [grid])
    page.refreshes(done.change)
    page.changes(grid.cellselect, lambda s, event: s.but(layer=int(event.row), head=int(event.col)), event_data=True)
    page.changes(table.rowselect, lambda s, event: _at_row(View(page.store, s), int(event.row)), event_data=True)
    page.changes(table.sortselect, _sorted_by, event_data=True)
    return done


def _choices(page: Page) -> None:
    """How heads are knocked out, and what that is judged by."""
    t = page.label
    with gr.Accordion(t("heads.how"), open=False, elem_id="gb_heads_how"):
        method = gr.Radio(
            [(t(f"heads.method_{m}"), m) for m in METHODS], value=METHODS[0], label=t("heads.method"), elem_id="gb_heads_method"
        )
        metric = gr.Radio(
            [(t(f"heads.metric_{m}"), m) for m in METRICS], value=METRICS[0], label=t("heads.metric"), elem_id="gb_heads_metric"
        )
        reference = gr.Textbox(
            "",
            label=t("heads.reference"),
            info=t("heads.reference_info"),
            placeholder=REFERENCE_TEXT[:80] + " …",
            max_lines=4,
            elem_id="gb_heads_reference",
        )
    for setting, component in ((METHOD, method), (METRIC, metric), (REFERENCE, reference)):
        page.control(setting, component)


def _asked(view: View) -> list[str]:
    """What is computed behind the page, and all that the tab wants of this state."""
    return [staged.names(stages) for stages in (_unasked(view), service.stages(view))]


def _unasked(view: View) -> list[staged.Stage]:
    return staged.unasked(view, service.stages(view))


def _measured(view: View, stages: list, count: int, grid: gr.HTML, done: gr.State) -> Iterator[dict]:
    """Computes stages one by one; the knock-outs of the shown model are painted as they come."""
    shown = service.knock_out_stage(view, view.state.plan).key
    for number, stage in enumerate(stages, 1):
        if stage.key == shown and service.SCORE.of(view.state) == "knock_out":
            for found in staged.now_and_then(service.knock_out_map(view, view.state.plan)):
                yield {grid: _map(view, found.effects)}
            view.store.result(stage.key, lambda found=found: found)
        staged.finished(view, stage)
        yield {done: count + number}


def _offer(view: View, done: int) -> list:
    """The button for what takes long, with an estimate."""
    t = words(view.state.lang)
    long = staged.offered(view, service.stages(view))
    if not long:
        return [gr.update(visible=False), gr.update(visible=False)]
    said = t("heads.measure", seconds=t.lasting(staged.seconds(view, long)))
    return [gr.update(value=said, visible=True), gr.update(visible=True)]


def _at_row(view: View, row: int) -> PageState:
    layer, head = divmod(row, view.config.n_heads)
    return view.state.but(layer=layer, head=head)


def _sorted_by(state: PageState, event) -> PageState:
    """A column's head makes its score the one that is shown."""
    at = int(event.column) - FIRST
    return service.SCORE.on(state, service.SCORES[at]) if 0 <= at < len(service.SCORES) else state


def _values(view: View, done: int) -> list:
    t, name = words(view.state.lang), service.SCORE.of(view.state)
    table = service.score(view, name)
    if table is None and name in service.ON_PROMPT:
        raise ValueError(t("heads.one_token"))
    exports = [Exports(f"gb_heads_{part}", "heads", t.section("panel")) for part in ("map", "table")]
    names = {"token": view.show([rivals(view).first])[0], "second": view.show([rivals(view).second])[0]}
    places = {**names, "at": view.shown[view.position], "position": view.position}
    said = [t(f"heads.what_{'knock_out_kl' if _any_change(view, name) else name}", **places)] + [t("heads.waiting")] * (
        table is None
    )
    head = panel_value(
        " ".join(said),
        help=t(f"heads.help_{_family(name)}"),
        help_label=t("page.help"),
        badges=_badges(view, t, name),
        exports=exports[0],
    )
    below = panel_value(
        t("heads.table_what", count=view.config.n_layers * view.config.n_heads),
        help=t("heads.table_help"),
        help_label=t("page.help"),
        badges=_badges(view, t, name),
        exports=exports[1],
    )
    return [head, _map(view, table), below, _table(view, t, name)]


def _shown_map(view: View) -> dict:
    return _map(view, service.score(view, service.SCORE.of(view.state)))


def _any_change(view: View, name: str) -> bool:
    """Whether the score is the size of a change, which has no direction."""
    return name == "knock_out" and METRIC.of(view.state) == "kl"


def _family(name: str) -> str:
    """Which explanation a score shares."""
    if name in ("copy", "negative_copy", "ov_copying"):
        return "copying"
    return "role" if name in service.ROLES else "pattern" if name in ("sink", "entropy", "distance") else name


def _badges(view: View, t: Words, name: str) -> list[Badge]:
    check, key = None, ""
    if name == "direct":
        check, key = by_head_at(view, view.run).check, "direct"
    elif name == "knock_out":
        found = staged.value(view, service.knock_out_stage(view, view.state.plan))
        check, key = found and found.check, "knock_out"
    badges = [heads_card.checked(t, key, check)] if check else []
    return badges + [Badge(t("heads.folded"), t("heads.folded_title"))] * (name == "ov_copying")


def unit(view: View, t: Words, name: str) -> str:
    """A score's unit, as printed on scales."""
    if name == "knock_out":
        return t(f"heads.unit_{METRIC.of(view.state)}")
    return t(f"heads.{UNIT[name]}") if name in UNIT else t(f"heads.short_{name}")


def _map(view: View, table: np.ndarray | None) -> dict:
    t, cfg, name = words(view.state.lang), view.config, service.SCORE.of(view.state)
    values = np.full((cfg.n_layers, cfg.n_heads), np.nan) if table is None else table
    roles = service.given_roles(view)
    return heat_map_value(
        values,
        rows=[f"L{layer}" for layer in range(cfg.n_layers)],
        columns=[f"H{head}" for head in range(cfg.n_heads)],
        text={**t.section("heat_map"), "label": t(f"heads.score_{name}")},
        unit=unit(view, t, name),
        diverging=name in service.SIGNED and not _any_change(view, name),
        bound=1.0 if name in BOUNDED else None,
        selected=(view.layer, view.head),
        marked=list(roles),
        marked_label=t("heads.marked"),
        row_title=t("heads.layer"),
        column_title=t("heads.head"),
    )


def _table(view: View, t: Words, chosen: str) -> dict:
    cfg, roles = view.config, service.given_roles(view)
    tables = {name: service.score(view, name) for name in service.SCORES}
    columns = [Column(t("heads.column_head"), "text"), Column(t("heads.column_roles"), "text")]
    for name, table in tables.items():
        bound = float(np.abs(table).max()) if table is not None and name in service.SIGNED else 0.0
        columns.append(Column(t(f"heads.short_{name}"), title=t(f"heads.score_{name}"), bound=bound))
    if view.state.plan:
        tables["before"] = service.score(view, chosen, NO_EDITS)
        columns.append(Column(t("heads.column_before", score=t(f"heads.short_{chosen}"))))
    heads = list(np.ndindex(cfg.n_layers, cfg.n_heads))
    named = [", ".join(t(f"heads.role_{role}") for role in roles.get(at, ())) for at in heads]
    rows = [
        [f"L{at[0]}H{at[1]}", role, *(None if table is None else table[at] for table in tables.values())]
        for at, role in zip(heads, named)
    ]
    return number_table_value(
        columns,
        rows,
        text={**t.section("number_table"), "label": t("heads.table_label")},
        selected=view.layer * cfg.n_heads + view.head,
        marked=[layer * cfg.n_heads + head for layer, head in roles],
        order=(FIRST + service.SCORES.index(chosen), not service.worst_first(view, chosen)),
        sorts=True,
        chooses=True,
        finds=True,
    )
