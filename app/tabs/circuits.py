"""Tab: circuits. Which small part of the network does a task: a greedy search, drawn as it goes, and a threshold to drag."""

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.components.base import content_id
from app.components.circuit_graph import circuit_graph, circuit_graph_value
from app.components.message import message, message_value
from app.components.panel import Badge, Exports, panel, panel_value
from app.page import Page
from app.service import circuits as service
from app.service import circuits_script
from app.service.view import View
from app.state import PageState
from app.tabs.badges import check_badge
from app.text import Words, words
from app.wiring import ended
from interp.circuits import EMBED, LOGITS, all_nodes

FRAME = 0.25  # seconds between two pictures of a running search
LISTED = 4  # pairs of prompts shown


def build(page: Page) -> None:
    """What is searched, the search, and its graph."""
    head = panel("gb_circuits_head")
    _choices(page)
    said, problem = panel("gb_circuits_task_said"), message("gb_circuits_problem")
    with gr.Row():
        go = gr.Button("", variant="primary", size="sm", visible=False, elem_id="gb_circuits_go")
        stop = gr.Button(page.label("circuits.stop"), size="sm", visible=False, elem_id="gb_circuits_stop")
    graph = circuit_graph("gb_circuits_graph")
    page.shows("circuits", [said, problem], _task_said, depends=_asked)
    every, subject = [head, graph, go, stop], gr.State(None)  # a change of the subject ends a search
    page.shows("circuits", [*every, subject], lambda view: [*render(view), repr(_looked(view.state))], depends=_looked)
    page.changes(graph.nodeselect, _choose, event_data=True)
    page.changes(graph.cutselect, lambda s, event: service.CUT.on(s, float(event.threshold)), event_data=True)
    page.hands_out(head, circuits_script.circuit_evidence)

    def run(state: PageState) -> Iterator[dict]:
        view, drawn = View(page.store, state), 0.0
        yield {go: gr.update(visible=False), stop: gr.update(visible=True)}
        for found in service.search(view):
            if time.monotonic() - drawn >= FRAME:
                drawn = time.monotonic()
                yield {graph: graph_value(view, found, frame=True)}

    running = page.listen(go.click, run, [page.state], every, concurrency_id="circuits", concurrency_limit=2)
    ended(stop.click, running)
    ended(subject.change, running)
    page.draws(running.then, render, every)  # however it ended


def _choices(page: Page) -> None:
    with gr.Row(equal_height=False):
        which = gr.Dropdown(list(service.TASK.one_of), label=page.label("circuits.task"), filterable=False, min_width=300, scale=2, elem_id="gb_circuits_task")  # fmt: skip
        level = gr.Radio(
            list(service.LEVEL.one_of), label=page.label("circuits.level"), min_width=200, elem_id="gb_circuits_level"
        )
        prompts = gr.Number(4, label=page.label("circuits.prompts"), precision=0, min_width=110, elem_id="gb_circuits_prompts")  # fmt: skip
        tau = gr.Number(0.02, label=page.label("circuits.tau"), step=0.01, min_width=130, elem_id="gb_circuits_tau")  # fmt: skip
    for setting, component in ((service.TASK, which), (service.LEVEL, level)):
        depends = lambda s, setting=setting: (setting.of(s), s.lang)  # noqa: E731
        page.shows("circuits", [component], lambda view, setting=setting: _menu(view, setting), depends=depends, control=True)
        page.changes(component.input, lambda s, v, setting=setting: _set(s, setting, v), inputs=[component], own_control=True)
    for setting, component in ((service.PROMPTS, prompts), (service.TAU, tau)):
        page.shows(
            "circuits", [component], lambda view, setting=setting: [setting.of(view.state)], depends=setting.of, control=True
        )
        for listener in (component.submit, component.blur):
            page.changes(listener, lambda s, v, setting=setting: _set(s, setting, v), inputs=[component], own_control=True)


def _set(state: PageState, setting: Any, value: Any) -> PageState:
    """Another search begins at its own threshold."""
    if value is None or setting.of(state) == value:
        return state
    return service.CUT.on(setting.on(state, value), 0.0)


def _menu(view: View, setting: Any) -> list:
    t, short = words(view.state.lang), setting.name.split(".")[1]
    return [gr.update(choices=[(t(f"circuits.{short}_{c}"), c) for c in setting.one_of], value=setting.of(view.state))]


def _settings(state: PageState) -> tuple:
    """The choices that a search depends on: this tab's, and the Patching tab's where its pair is searched."""
    tabs = ("circuits", "patching") if service.TASK.of(state) == service.PAIR else ("circuits",)
    return tuple(s for s in state.settings if s[0].split(".")[0] in tabs)


def _asked(state: PageState) -> PageState:
    prompt = state.prompt if service.TASK.of(state) == service.PAIR else ""
    return state.but(tab="circuits", prompt=prompt, position=None, layer=0, head=0, settings=_settings(state))


def _looked(state: PageState) -> PageState:
    return _asked(state).but(layer=state.layer, head=state.head)


def _choose(state: PageState, event) -> PageState:
    head = {} if event.head is None else {"head": int(event.head)}
    return state.but(layer=int(event.layer), **head)


def _task_said(view: View) -> list:
    t = words(view.state.lang)
    try:
        asked = service.task(view)
    except ValueError as error:
        return [panel_value(t("circuits.no_task")), message_value(str(error), close=t("page.close"))]
    cut = asked.clean.shape[1]
    texts = []
    for row in range(min(LISTED, len(asked))):
        ids = [x[row].tolist()[view.state.bos :] for x in (asked.clean, asked.corrupted)]
        clean, corrupted = (view.model.tokenizer.decode(x) for x in ids)
        right, wrong = (_answer(view, x[row]) for x in (asked.correct, asked.wrong))
        texts.append(t("circuits.pair", clean=clean, corrupted=corrupted, right=right, wrong=wrong))
    said = t("circuits.task_said", count=len(asked), tokens=cut)
    why = t("circuits.task_from", source=asked.source, corruption=asked.corruption) if asked.source else t("circuits.own_pair")
    return [
        panel_value(f"{said} {texts[0]}", help="\n".join([why, *texts]), help_label=t("circuits.prompts_label")),
        message_value("", close=t("page.close")),
    ]


def _answer(view: View, ids: tuple[int, ...]) -> str:
    shown = view.show(ids[:3])
    return ", ".join(shown) + (", …" if len(ids) > 3 else "")


def render(view: View) -> list:
    """Head, graph and buttons as they are now: a small search is made at once, a long one is offered."""
    t = words(view.state.lang)
    help = panel_value(t("circuits.what"), help=t("circuits.help"), help_label=t("page.help"))
    try:
        cost = service.cost(view, service.LEVEL.of(view.state))
    except ValueError:  # said beside the task
        return [help, gr.skip(), gr.update(visible=False), gr.update(visible=False)]
    found = service.known(view)
    if found is None and cost.small:
        *_, found = service.search(view)
    if found is None:
        so_far = service.stopped(view) or service.Found(service.LEVEL.of(view.state), service.TAU.of(view.state), (), cost.runs)
        done = len(so_far.tried)
        said, go = ("circuits.stopped", "circuits.go_on") if done else ("circuits.offer", "circuits.go")
        left = t.lasting(cost.seconds * (1 - done / cost.runs))
        what = t(
            said if cost.possible else "circuits.too_many",
            runs=f"{cost.runs:,}", seconds=left, most=f"{service.MOST_EDGES:,}", done=f"{done:,}",
        )  # fmt: skip
        offered = panel_value(f"{t('circuits.what')} {what}", help=t("circuits.help"), help_label=t("page.help"))
        button = gr.update(visible=cost.possible, value=t(go, seconds=left))
        return [offered, graph_value(view, so_far), button, gr.update(visible=False)]
    return [_head(view, t, found), graph_value(view, found), gr.update(visible=False), gr.update(visible=False)]


def _head(view: View, t: Words, found: service.Found) -> dict:
    circuit = found.circuit
    numbers = {"size": circuit.size, "total": f"{circuit.total:,}", "tau": f"{found.tau:g}", "kl": f"{circuit.kl:.2g}"}
    shares = {"share": _share(circuit.faithfulness), "rest": _share(circuit.rest_faithfulness)}
    key = "circuits.found_nothing" if circuit.size == 0 else f"circuits.found_{found.level}s"
    said = [t("circuits.what"), t(key, **numbers, **shares)]
    if view.state.plan:
        said.append(t("circuits.edited"))
    badges = [
        check_badge(t, circuit.check, t("circuits.check")),
        Badge(t("circuits.ablation"), t("circuits.ablation_title")),
    ]
    exports = Exports("gb_circuits_graph", f"circuit-{service.TASK.of(view.state)}", t.section("panel"))
    return panel_value(" ".join(said), help=t("circuits.help"), help_label=t("page.help"), badges=badges, exports=exports)


def _share(value: float) -> str:
    return "?" if value != value else f"{round(value, 2) + 0.0:.0%}"


def graph_value(view: View, found: service.Found, frame: bool = False) -> dict:
    """What the search knows so far, as a graph. frame: of a running search, whose question may no longer be the one asked."""
    cfg, things = view.config, all_nodes(view.config)
    number, tried = {node: i for i, node in enumerate(things)} | {LOGITS: -1}, {one.thing: one for one in found.tried}
    if found.level == "node":
        state = lambda n: "open" if n not in tried else "kept" if tried[n].kept else "out"  # noqa: E731
        nodes = [(n.kind, n.layer, n.head, tried[n].effect if n in tried else None, state(n)) for n in things]
        edges = []
    else:
        kept = service.kept_at(found, 0) if found.done else [one for one in found.tried if one.kept]
        ends = {end for one in kept for end in (one.thing.sender, one.thing.receiver)}
        seen = {one.thing.sender for one in found.tried} | {EMBED} if found.done else ends
        nodes = [(n.kind, n.layer, n.head, None, "kept" if n in ends else "out" if n in seen else "open") for n in things]
        edges = [(number[one.thing.sender], number[one.thing.receiver], one.thing.port, one.effect) for one in kept]
    cut = service.cut_of(view.state, found)
    here = service.exact(view, found, cut) if found.done and cut > found.tau else None
    point = lambda p: (p.threshold, p.size, p.kl, p.share)  # noqa: E731
    return circuit_graph_value(
        (cfg.n_layers, cfg.n_heads),
        found.level,
        nodes,
        edges,
        tau=found.tau,
        cut=cut,
        done=len(found.tried),
        total=found.total,
        finished=found.done,
        curve=[point(p) for p in found.curve],
        here=None if here is None else point(here),
        selected=(view.layer, view.head),
        off=view.off,
        question=content_id({"key": repr(service.key(view))}),
        frame=frame,
        text=words(view.state.lang).section("circuit_graph"),
    )
