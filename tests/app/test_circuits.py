"""The circuits tab: what is shown of a search equals the library's search and circuits run one by one, and a journey in a browser."""

import json
import re

import pytest
import torch
from scripts import run_here

from app.components.circuit_graph import circuit_graph_value
from app.components.sealed import opened
from app.service import circuits as service
from app.service import patching_pair
from app.service.circuits_script import circuit_evidence
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import circuits as tab
from app.text import words
from gpt2_core.config import GPT2Config
from interp.circuits import EMBED, all_edges, circuit_logits, discover, divergence
from interp.edits import Edit, Plan


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m"))


def view_of(store, level="node", task="induction", **changes) -> View:
    state = service.TASK.on(PageState(**{"model": "glass-2m", "prompt": "x", **changes}), task)
    return View(store, service.LEVEL.on(state, level))


def found_by(view) -> service.Found:
    *_, found = service.search(view)
    return found


@pytest.mark.parametrize("config", [GPT2Config(2, 2, 32), GPT2Config(4, 4, 128), GPT2Config(3, 1, 8)])
def test_edges_are_counted(config):
    assert service.edge_count(config) == len(all_edges(config)) == len(service.candidates(config, "edge"))


@pytest.mark.parametrize("level", ["node", "edge"])
def test_the_search_is_the_librarys_and_its_points_are_circuits_run_alone(store, level):
    view = view_of(store, level)
    asked, found = service.task(view), found_by(view)
    *steps, last = discover(view.model, asked.clean, asked.corrupted, asked.metric, 0.02, level)
    assert [(one.thing, one.effect, one.kept) for one in found.tried] == [(s.tried, s.effect, s.kept) for s in [*steps, last]]
    assert found.circuit.effects == last.circuit.effects and found.circuit.size > 2
    with torch.no_grad():
        whole, empty = (view.model(x)[:, -1] for x in (asked.clean, asked.corrupted))
    low, high = (asked.metric(x).mean().item() for x in (empty, whole))
    for point in found.curve:
        kept = [thing for thing, effect in last.circuit.effects.items() if effect >= point.threshold]
        logits = circuit_logits(view.model, asked.clean, asked.corrupted, kept, level)
        assert point.kl == pytest.approx(divergence(whole, logits), abs=1e-5)
        assert point.share == pytest.approx((asked.metric(logits).mean().item() - low) / (high - low), abs=1e-4)
    first, smallest = found.curve[0], found.curve[-1]
    assert (first.size, first.kl) == (found.circuit.size, pytest.approx(found.circuit.kl, abs=1e-5))
    assert first.share == pytest.approx(found.circuit.faithfulness, abs=1e-4) and smallest.size <= 1
    assert all(a.size >= b.size for a, b in zip(found.curve, found.curve[1:]))


def test_what_the_embeddings_do_not_reach_is_no_part(store):
    view = view_of(store)
    found = found_by(view)
    largest = max(one.effect for one in found.tried if one.thing != EMBED)
    smaller = max(one.effect for one in found.tried if one.thing == EMBED)
    assert service.kept_at(found, max(largest, smaller) + 1) == [] and service.kept_at(found, found.tau)
    assert not service.kept_at(found, smaller + 1e-9) and service.exact(view, found, smaller + 1e-9).share == pytest.approx(
        0, abs=1e-5
    )


def test_prompts_are_of_one_length_and_as_many_as_wanted(store):
    for wanted in (1, 4, 8):
        view = View(store, service.PROMPTS.on(view_of(store).state, wanted))
        asked = service.task(view)
        assert (
            len(asked) == wanted == len({tuple(row) for row in asked.clean.tolist()})
            and asked.clean.shape == asked.corrupted.shape
        )
    assert asked.clean[0, 0] == view.model.tokenizer.bos_id != service.task(view_of(store, bos=False)).clean[0, 0]


def test_the_pair_of_the_patching_tab(store):
    view = view_of(store, task="pair")
    q, asked = patching_pair.question(view), service.task(view)
    assert tuple(asked.clean[0].tolist()) == q.clean and tuple(asked.corrupted[0].tolist()) == q.corrupted
    logits = torch.randn(1, view.config.d_vocab)
    assert asked.metric(logits).item() == pytest.approx((logits[0, q.correct[0]] - logits[0, q.wrong[0]]).item(), abs=1e-5)
    typed = View(store, patching_pair.CORRUPTED.on(view.state, "Too short"))
    said, problem = tab._task_said(typed)
    assert problem["text"] and said["what"] == words("en")("circuits.no_task")
    assert tab._asked(typed.state) != tab._asked(view.state) and tab._asked(view_of(store).state) == tab._asked(
        view_of(store, prompt="y").state
    )


@pytest.mark.parametrize("level", ["node", "edge"])
def test_the_graph_says_what_was_found(store, level):
    view = view_of(store, level, plan=Plan((Edit.zero("z", 0, 0),)))
    found = found_by(view)
    head, graph = (opened(v) if "sealed" in v else v for v in tab.render(view)[:2])
    assert graph["finished"] and graph["done"] == graph["total"] == len(found.tried) and graph["off"] == [[0, 0]]
    assert [p[1] for p in graph["curve"]] == [p.size for p in found.curve] and head["exports"]["picture"] == "gb_circuits_graph"
    t = words("en")
    assert t("circuits.edited") in head["what"] and f"{found.circuit.size} of {found.circuit.total}" in head["what"]
    if level == "node":
        kept = {(n[0], n[1], n[2]) for n in graph["nodes"] if n[4] == "kept"}
        assert kept == {(n.kind, n.layer, n.head) for n in found.circuit.nodes} and not graph["edges"]
    else:
        assert len(graph["edges"]) == found.circuit.size
        effects = {edge.label: effect for edge, effect in found.circuit.effects.items()}
        names = [f"L{la}H{h}" if k == "head" else f"MLP L{la}" if k == "mlp" else k for k, la, h, *_ in graph["nodes"]]
        for a, b, port, effect in graph["edges"]:
            label = f"{names[a]} -> {'logits' if b < 0 else names[b]}{'.' * bool(port)}{port}"
            assert effect == pytest.approx(effects[label], rel=1e-4)


def test_a_search_half_way_is_drawn_and_a_dragged_threshold_is_run(store):
    view = view_of(store, "edge", task="pair")
    steps = service.search(view)
    part = [next(steps) for _ in range(6)][-1]
    graph = opened(tab.graph_value(view, part))
    assert (graph["done"], graph["total"], graph["finished"], graph["here"]) == (6, 46, False, None)
    assert "open" in {n[4] for n in graph["nodes"]}
    other = View(store, service.TAU.on(view.state, 0.5))
    assert opened(tab.graph_value(view, part, frame=True))["question"] == graph["question"]
    assert opened(tab.graph_value(other, part))["question"] != graph["question"]
    found = list(steps)[-1]
    cut = sorted(one.effect for one in found.tried if one.kept)[len(found.circuit.effects) // 2]
    dragged = View(store, service.CUT.on(view.state, float(f"{cut:.4g}")))
    graph = opened(tab.graph_value(dragged, found))
    assert graph["here"][1] == len(service.kept_at(found, float(f"{cut:.4g}"))) and graph["cut"] > graph["tau"]
    assert service.key(dragged) == service.key(view) and service.CUT.of(tab._set(dragged.state, service.TAU, 0.5)) == 0


def test_long_searches_are_offered_and_impossible_ones_refused(store, monkeypatch):
    view = View(store, service.TAU.on(view_of(store, "edge").state, 0.3))
    monkeypatch.setattr(service, "AT_ONCE", 0)
    head, graph, go, _ = tab.render(view)
    assert go["visible"] and "46 runs" in head["what"] and not opened(graph)["finished"] and service.known(view) is None
    monkeypatch.setattr(service, "MOST_EDGES", 10)
    head, _, go, _ = tab.render(view)
    assert not go["visible"] and "46 connections" in head["what"]
    with pytest.raises(ValueError, match="not been searched yet"):
        circuit_evidence(view)


def test_a_stopped_search_is_shown_and_goes_on_where_it_stopped(monkeypatch):
    monkeypatch.setattr(service, "AT_ONCE", 0)
    store, t = ModelStore(Settings(model="glass-2m")), words("en")
    view = view_of(store)
    running = service.search(view)
    for _ in range(4):
        so_far = next(running)
    running.close()
    head, graph, go, _ = (opened(v) if "sealed" in v else v for v in tab.render(view))
    runs = len(service.candidates(view.config, "node"))
    assert (graph["done"], graph["total"], graph["finished"]) == (4, runs, False) and go["visible"]
    left = t.lasting(service.cost(view, "node").seconds * (1 - 4 / runs))
    assert go["value"] == t("circuits.go_on", seconds=left) and f"after 4 of {runs} runs" in head["what"]
    asked_again = []
    real = service.discover
    monkeypatch.setattr(service, "discover", lambda *a, resume: asked_again.append(len(resume)) or real(*a, resume=resume))
    rest = list(service.search(view))
    assert asked_again == [4] and len(rest) == runs - 4 and rest[0].tried[:4] == so_far.tried
    monkeypatch.undo()
    fresh = found_by(view_of(ModelStore(Settings(model="glass-2m"))))
    assert [(one.thing, one.kept) for one in rest[-1].tried] == [(one.thing, one.kept) for one in fresh.tried]
    assert rest[-1].circuit.effects == pytest.approx(fresh.circuit.effects, abs=1e-6) and len(rest[-1].curve) == len(
        fresh.curve
    )


def test_a_task_that_the_model_does_not_do_is_said(store):
    view = view_of(store, task="ioi")
    found = found_by(view)
    assert found.circuit.size == 0 and found.curve == ()
    assert "Nothing remains" in tab.render(view)[0]["what"] and opened(tab.render(view)[1])["curve"] == []


def test_the_script_prints_the_search(store, capsys):
    view = view_of(store, "edge")
    found = found_by(view)
    cut = View(store, service.CUT.on(view.state, 0.32))
    assert len(service.kept_at(found, 0.32)) < sum(one.kept and one.effect >= 0.32 for one in found.tried)  # some lead nowhere
    panel = circuit_evidence(cut)
    lines = run_here(panel.code, capsys).splitlines()
    printed = [re.match(r"\s*(.+?)\s+(-?\d+\.\d+) (kept|left out)$", line).groups() for line in lines[: len(found.tried)]]
    assert [(a, c == "kept") for a, _, c in printed] == [(row[1], row[3]) for row in panel.rows]
    assert [float(b) for _, b, _ in printed] == pytest.approx([row[2] for row in panel.rows], abs=2e-6)
    size, of, kl, share = re.match(r"size (\d+) of (\d+) kl (\S+) faithfulness (\S+)", lines[-2]).groups()
    assert (int(size), int(of)) == (found.circuit.size, found.total) and float(kl) == pytest.approx(found.circuit.kl, abs=1e-5)
    assert float(share) == pytest.approx(panel.facts["faithfulness"], abs=1e-4)
    at, told = panel.facts["shown"], re.match(r"at 0.32: size (\d+) kl (\S+) share (\S+)", lines[-1]).groups()
    assert list(map(float, told)) == pytest.approx([at["size"], at["kl"], at["share"]], abs=1e-4)


def test_every_sentence_is_filled(store):
    for lang in ("en", "ko"):
        view = view_of(store, lang=lang)
        values = [*tab._task_said(view), tab.render(view)[0]]
        said = json.dumps([{k: v for k, v in value.items() if k != "exports"} for value in values], ensure_ascii=False)
        assert not re.search(r"\{\w+(:[^{}\"]*)?\}", said)


def test_values_refuse_what_does_not_fit():
    text, common = (
        words("en").section("circuit_graph"),
        {"tau": 0.1, "cut": 0.1, "done": 0, "total": 1, "finished": False, "curve": [], "here": None},
    )
    with pytest.raises(ValueError, match="goes from node 0 to 3"):
        circuit_graph_value(
            (1, 1), "edge", [("embed", -1, None, None, "kept")], [(0, 3, "", 1.0)], selected=(0, 0), text=text, **common
        )
    with pytest.raises(ValueError, match="state is one of"):
        circuit_graph_value((1, 1), "node", [("embed", -1, None, None, "maybe")], [], selected=(0, 0), text=text, **common)


@pytest.mark.browser
def test_a_circuit_is_searched_and_its_threshold_dragged(page_url, browser_page):
    page = browser_page
    page.goto(f"{page_url}/?tab=circuits&model=glass-2m&s.circuits.level=edge")
    page.wait_for_selector("#gb_circuits_graph .cg-point")
    said = "document.querySelector('#gb_circuits_graph .cg-said').innerText"
    before = int(page.evaluate(f"{said}.match(/[0-9]+/)[0]"))
    page.locator("#gb_circuits_graph .cg-slider").evaluate(
        "(e) => { e.value = 700; e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); }"
    )
    assert int(page.evaluate(f"{said}.match(/[0-9]+/)[0]")) < before  # at once
    page.wait_for_function("new URL(location.href).searchParams.has('s.circuits.cut')")
    page.wait_for_function(f"{said}.includes('KL')")  # this circuit was run
    page.locator("#gb_circuits_graph .cg-node[aria-label^='L1H1']").click()
    page.wait_for_function("new URL(location.href).searchParams.get('head') === '1'")
    svg = page.evaluate("[...document.querySelectorAll('#gb_circuits_graph *')].find((n) => n.gbPicture).gbPicture()")
    assert page.evaluate("(s) => !new DOMParser().parseFromString(s, 'image/svg+xml').querySelector('parsererror')", svg)
