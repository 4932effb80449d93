"""Part of the heads tab: the search for the few heads that the prediction hangs on, one taken away after the other."""

from collections.abc import Iterator

import gradio as gr
import numpy as np

from app.components.heat_map import heat_map, heat_map_value
from app.components.number_table import Column, number_table
from app.components.panel import panel
from app.figures.heads_card import knock_out_curve
from app.page import Page
from app.service import heads_evidence, identities, staged
from app.service import heads_search as service
from app.service.heads_prompt import METRIC, rivals
from app.service.view import View
from app.state import PageState
from app.tabs.badges import identity
from app.tabs.heads_card import described, listed
from app.text import Words, words
from app.wiring import ended


def build(page: Page) -> None:
    """The search's components and what they show."""
    head, t = panel("gb_heads_search_head"), page.label
    steps = gr.Slider(1, service.MOST, value=service.STEPS.default, step=1, label=t("heads.steps"), elem_id="gb_heads_steps")
    with gr.Row(elem_id="gb_heads_search_row"):
        start = gr.Button(t("heads.search"), variant="primary", size="sm", elem_id="gb_heads_search", min_width=100)
        stop = gr.Button(t("heads.stop"), size="sm", elem_id="gb_heads_search_stop", min_width=80)
        take = gr.Button(t("heads.take"), size="sm", elem_id="gb_heads_take", min_width=140)
    page.control(service.STEPS, steps)
    curve = gr.Plot(show_label=False, elem_id="gb_heads_curve")
    table, grid = number_table("gb_heads_search_table"), heat_map("gb_heads_search_map")
    subject = gr.State(None)  # a change of it ends a search
    outputs = [head, grid, table, curve]

    def now(view: View) -> list:
        return _values(view, service.at_hand(view))

    page.shows("heads", [*outputs, subject], lambda view: [*now(view), repr(_of_search(view.state))], depends=_of_search)
    page.hands_out(head, heads_evidence.search_evidence)

    def run(state: PageState) -> Iterator[list]:
        view, rounds = View(page.store, state), -1
        for found in staged.now_and_then(service.search(view), lambda found: found.now.head is not None):
            values = _values(view, found)
            if len(found.rounds) == rounds and not found.done:  # the curve changes when a round ends
                values[-1] = gr.skip()
            rounds = len(found.rounds)
            yield values

    running = page.listen(start.click, run, [page.state], outputs, concurrency_id="heads search")
    ended(stop.click, running)  # what was found so far stays
    page.starts_over(subject, running, now, outputs)
    page.changes(take.click, lambda s: _taken(View(page.store, s)))
    page.changes(table.rowselect, lambda s, event: _at_round(View(page.store, s), int(event.row)), event_data=True)
    page.changes(grid.cellselect, lambda s, event: s.but(layer=int(event.row), head=int(event.col)), event_data=True)


def _of_search(state: PageState) -> tuple:
    """What a search depends on; the other choices of the tab leave it as it is."""
    chosen = dict(state.settings)
    run = state.model, state.prompt, state.bos, state.plan, state.position, state.lang
    return *run, chosen.get(METRIC.name), chosen.get(service.STEPS.name)


def _values(view: View, found: service.Found | None) -> list:
    t, cfg = words(view.state.lang), view.config
    names = {"token": view.show([rivals(view).first])[0], "at": view.shown[view.position], "position": view.position}
    said = [t("heads.search_what", metric=t(f"heads.unit_{METRIC.of(view.state)}"), **names)]
    if found is None:
        said.append(t("heads.search_cost", seconds=t.lasting(service.seconds(view))))
    elif not found.done:
        said.append(
            t(
                "heads.search_now",
                round=found.now.number,
                steps=service.steps_of(view),
                done=found.now.done,
                total=found.now.total,
            )
        )
    effects = np.full((cfg.n_layers, cfg.n_heads), np.nan) if found is None else found.now.values.numpy() - found.now.baseline
    head = described(t, "search", " ".join(said), "gb_heads_curve", identity(t, identities.search(view, found)))
    return [head, _map(view, t, effects, found), _table(view, t, found), _curve(view, t, found)]


def _map(view: View, t: Words, effects: np.ndarray, found: service.Found | None) -> dict:
    cfg = view.config
    caption = "" if found is None else t("heads.search_map", round=found.now.number)
    return heat_map_value(
        effects,
        rows=[f"L{layer}" for layer in range(cfg.n_layers)],
        columns=[f"H{head}" for head in range(cfg.n_heads)],
        text={**t.section("heat_map"), "label": t("heads.search_label"), "not_yet": t("heads.search_gone")},
        unit=t(f"heads.unit_{METRIC.of(view.state)}"),
        marked=() if found is None else found.heads,
        marked_label=t("heads.search_marked"),
        caption=caption,
        row_title=t("heads.layer"),
        column_title=t("heads.head"),
    )


def _table(view: View, t: Words, found: service.Found | None) -> dict:
    columns = [
        Column(t("heads.column_round"), "text"),
        Column(t("heads.column_head"), "text"),
        Column(t(f"heads.unit_{METRIC.of(view.state)}")),
        Column(t("heads.column_then"), "token"),
    ]
    rows = []
    if found is not None:
        rows.append(["0", t("heads.none_gone"), found.curve[0], view.show([rivals(view).first])[0]])
        shown = view.show(found.tokens)
        rows += [[str(r.number), "L{}H{}".format(*r.head), r.value, token] for r, token in zip(found.rounds, shown)]
    return listed(t, t("heads.search_label"), columns, rows, chooses=True)


def _curve(view: View, t: Words, found: service.Found | None):
    if found is None:
        return gr.update(value=None, visible=False)
    names = ["L{}H{}".format(*head) for head in found.heads]
    figure = knock_out_curve(found.curve, names, t.section("knock_out_curve"), t(f"heads.unit_{METRIC.of(view.state)}"))
    return gr.update(value=figure, visible=True)


def _taken(view: View) -> PageState:
    """The found heads, turned off on every tab."""
    found = service.kept(view)
    if found is None:
        raise ValueError(words(view.state.lang)("heads.search_first"))
    return view.state.but(plan=service.without(view.state.plan, found.heads))


def _at_round(view: View, row: int) -> PageState:
    found = service.kept(view)
    if found is None or not 0 < row <= len(found.heads):
        return view.state
    layer, head = found.heads[row - 1]
    return view.state.but(layer=layer, head=head)
