"""Circuits on a model of 2 layers and 2 heads: runs and greedy search against a network written out node by node, by brute force."""

import itertools
import math
import random

import pytest
import torch
import torch.nn.functional as F
from helpers import max_difference, random_model, some_tokens, tiny_config

from interp.circuit_graph import reached
from interp.circuits import EMBED, LOGITS, Edge, Node, all_edges, all_nodes, circuit_logits, discover, divergence
from interp.edits import Edit, Plan
from interp.prompt_sets import answer_metric

CONFIG = tiny_config(n_layers=2, n_heads=2, d_model=8, d_vocab=20, n_ctx=8)
MODEL = random_model(CONFIG).double()
CLEAN, CORRUPTED = some_tokens(CONFIG, batch=2, pos=4), some_tokens(CONFIG, batch=2, pos=4, seed=1)
METRIC = answer_metric("logit_difference", [[1], [2]], [[3], [4]])
NODES, EDGES = all_nodes(CONFIG), all_edges(CONFIG)


def written(model, tokens, kept, corrupted):
    """What each node writes on one prompt, and the last logits: each reader's input is summed up writer by writer."""
    out, bias, n = {EMBED: model.W_E[tokens] + model.W_pos[: len(tokens)]}, 0, len(tokens)

    def read(reader, port=""):
        return bias + sum(out[w] if Edge(w, reader, port) in kept else corrupted[w] for w in list(out))

    for layer, block in enumerate(model.h):
        attn, new = block.attn, {}
        for head in range(2):
            node = Node("head", layer, head)
            q, k, v = (
                F.layer_norm(read(node, port), (8,), block.ln_1.weight, block.ln_1.bias, 1e-5) @ W[head] + b[head]
                for port, W, b in (("q", attn.W_Q, attn.b_Q), ("k", attn.W_K, attn.b_K), ("v", attn.W_V, attn.b_V))
            )
            scores = (q @ k.T / 4**0.5).masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
            new[node] = scores.softmax(-1) @ v @ attn.W_O[head]
        out |= new
        bias = bias + attn.b_O
        node = Node("mlp", layer)
        x = F.layer_norm(read(node), (8,), block.ln_2.weight, block.ln_2.bias, 1e-5)
        hidden = F.gelu(x @ block.mlp.c_fc.weight + block.mlp.c_fc.bias, approximate="tanh")
        out[node] = hidden @ block.mlp.c_proj.weight + block.mlp.c_proj.bias
    final = F.layer_norm(read(LOGITS), (8,), model.ln_f.weight, model.ln_f.bias, 1e-5)
    return out, final[-1] @ model.W_U


@torch.no_grad()
def by_hand(kept, model=MODEL):
    """Last logits [prompt d_vocab] of the edges that are kept."""
    every, rows = set(EDGES), []
    for clean, corrupted in zip(CLEAN, CORRUPTED):
        values, _ = written(model, corrupted, every, {})
        rows.append(written(model, clean, kept, values)[1])
    return torch.stack(rows)


def of_nodes(nodes) -> set[Edge]:
    """A node that is left out is an edge left out for each of its readers."""
    return {edge for edge in EDGES if edge.sender in nodes}


def test_the_graph():
    assert [node.label for node in NODES] == ["embed", "L0H0", "L0H1", "MLP L0", "L1H0", "L1H1", "MLP L1"]
    assert len(EDGES) == 2 * 3 * 1 + 3 + 2 * 3 * 4 + 6 + 7 == len(set(EDGES))
    assert Edge(Node("head", 0, 1), Node("mlp", 0)) in EDGES and Edge(Node("mlp", 0), Node("head", 1, 0), "k") in EDGES
    assert not any(edge.sender == edge.receiver for edge in EDGES)
    assert Edge(NODES[2], NODES[4], "k").label == "L0H1 -> L1H0.k" and Edge(EMBED, LOGITS).label == "embed -> logits"
    assert reached([Edge(NODES[3], LOGITS), Edge(NODES[1], NODES[3])]) == {EMBED}
    assert reached([Edge(NODES[3], LOGITS), Edge(EMBED, NODES[3])]) == {EMBED, NODES[3], LOGITS}


def test_every_subset_of_nodes_by_brute_force():
    for kept in itertools.product([False, True], repeat=len(NODES)):
        nodes = [node for node, stays in zip(NODES, kept) if stays]
        ours = circuit_logits(MODEL, CLEAN, CORRUPTED, nodes)
        assert (ours - by_hand(of_nodes(nodes))).abs().max() <= 1e-9


def test_subsets_of_edges():
    draw = random.Random(0)
    subsets = [{edge for edge in EDGES if draw.random() < share} for share in (0.2, 0.5, 0.5, 0.8, 0.95) for _ in range(4)]
    for kept in [set(EDGES), set(), *subsets]:
        ours = circuit_logits(MODEL, CLEAN, CORRUPTED, kept, level="edge")
        assert (ours - by_hand(kept)).abs().max() <= 1e-9
    single = circuit_logits(random_model(CONFIG), CLEAN, CORRUPTED, subsets[4], level="edge")
    assert max_difference(single, by_hand(subsets[4])) <= 1e-4


@torch.no_grad()
def test_ends_are_the_two_plain_runs():
    for level, everything in (("node", NODES), ("edge", EDGES)):
        clean, corrupted = (MODEL(tokens)[:, -1] for tokens in (CLEAN, CORRUPTED))
        assert max_difference(circuit_logits(MODEL, CLEAN, CORRUPTED, everything, level), clean) <= 1e-6
        assert max_difference(circuit_logits(MODEL, CLEAN, CORRUPTED, [], level), corrupted) <= 1e-6
    with pytest.raises(ValueError, match="no edge of this model"):
        circuit_logits(MODEL, CLEAN, CORRUPTED, [Edge(EMBED, EMBED)], level="edge")


def greedy_by_hand(level: str, tau: float) -> tuple[dict, float]:
    """The same search with whole runs of the network written out, and no shortcut."""

    def logits(kept):
        return by_hand(of_nodes(kept) if level == "node" else kept)

    everything = NODES if level == "node" else EDGES
    kept, kl, effects, whole = set(everything), 0.0, {}, by_hand(set(EDGES))
    for thing in reversed(everything):
        new = divergence(whole, logits(kept - {thing}))
        if new - kl < tau:
            kept, kl = kept - {thing}, new
        else:
            effects[thing] = new - kl
    return effects, kl


@pytest.mark.parametrize(("level", "tau"), [("node", 0.005), ("edge", 0.002)])
@pytest.mark.parametrize("plan", [Plan(), Plan((Edit.scale("z", 0, 1, value=2.0),))], ids=["", "under a plan"])
def test_a_stopped_search_goes_on_where_it_stopped(monkeypatch, level, tau, plan):
    given = (MODEL, CLEAN, CORRUPTED, METRIC, tau, level, plan)
    whole = list(discover(*given))
    for stopped in (0, 1, len(whole) // 2, len(whole) - 1):
        rest = list(discover(*given, resume=whole[:stopped]))
        assert [(s.tried, s.kept, s.done, s.total) for s in rest] == [
            (s.tried, s.kept, s.done, s.total) for s in whole[stopped:]
        ]
        assert [s.effect for s in rest] == pytest.approx([s.effect for s in whole[stopped:]], abs=1e-12)
        circuit = rest[-1].circuit
        assert circuit.effects == pytest.approx(whole[-1].circuit.effects) and circuit.kl == pytest.approx(whole[-1].circuit.kl)
    assert list(discover(*given, resume=whole)) == whole[-1:]
    runs = []
    real = type(MODEL).forward
    monkeypatch.setattr(type(MODEL), "forward", lambda self, *a, **k: runs.append(1) or real(self, *a, **k))
    next(discover(*given, resume=whole[:-2]))
    assert len(runs) <= 5, "two (three for edges) records, one run that proves the steps, one try: nothing before is made again"


def test_steps_of_another_search_are_refused():
    steps = list(discover(MODEL, CLEAN, CORRUPTED, METRIC, 0.005))[:4]
    for arguments, said in (
        ((MODEL, CLEAN, CORRUPTED, METRIC, 0.005, "edge"), "other parts or another tau"),
        ((MODEL, CLEAN, CORRUPTED, METRIC, 1.0), "other parts or another tau"),
        ((MODEL, CORRUPTED, CLEAN, METRIC, 0.005), "another model, plan or prompts"),
        ((random_model(CONFIG, seed=1).double(), CLEAN, CORRUPTED, METRIC, 0.005), "another model, plan or prompts"),
    ):
        with pytest.raises(ValueError, match=said):
            next(discover(*arguments, resume=steps))
    with pytest.raises(ValueError, match="other parts"):
        next(discover(MODEL, CLEAN, CORRUPTED, METRIC, 0.005, resume=steps[1:]))


@pytest.mark.parametrize(("level", "tau"), [("node", 0.004), ("node", 0.007), ("edge", 0.001), ("edge", 0.003)])
def test_greedy_search_equals_the_naive_one(level, tau):
    steps = list(discover(MODEL, CLEAN, CORRUPTED, METRIC, tau, level))
    circuit, (effects, kl) = steps[-1].circuit, greedy_by_hand(level, tau)
    if level == "edge":
        effects = {edge: effect for edge, effect in effects.items() if edge.sender in reached(effects)}
    assert list(circuit.effects) == list(effects) and 0 < len(effects) < circuit.total
    assert list(circuit.effects.values()) == pytest.approx(list(effects.values()), abs=1e-9)
    assert circuit.kl == pytest.approx(kl, abs=1e-9) == steps[-1].kl
    assert all(effect >= tau for effect in effects.values())
    assert [step.done for step in steps] == list(range(1, circuit.total + 1)) and steps[0].circuit is None
    assert circuit.kl < tau * (circuit.total - circuit.size)  # each thing left out cost less than tau

    kept = of_nodes(effects) if level == "node" else set(effects)
    rest = of_nodes(set(NODES) - set(effects)) if level == "node" else set(EDGES) - kept
    model, own, empty, others = (METRIC(by_hand(edges)).mean() for edges in (set(EDGES), kept, set(), rest))
    assert circuit.faithfulness == pytest.approx(((own - empty) / (model - empty)).item(), abs=1e-5)
    assert circuit.rest_faithfulness == pytest.approx(((others - empty) / (model - empty)).item(), abs=1e-5)
    assert circuit.ratio == pytest.approx((own / model).item(), abs=1e-5) and circuit.check.holds
    assert "Edge(" not in repr(circuit)
    if level == "edge":
        assert set(circuit.edges) == set(effects) and set(circuit.nodes) == {n for e in effects for n in (e.sender, e.receiver)}
    else:
        assert set(circuit.nodes) == set(effects) and circuit.edges == ()


def test_greedy_search_beside_the_best_subset():
    *_, step = discover(MODEL, CLEAN, CORRUPTED, METRIC, 0.01)
    whole, sizes = by_hand(set(EDGES)), []
    for size in range(len(NODES) + 1):
        for nodes in itertools.combinations(NODES, size):
            if divergence(whole, by_hand(of_nodes(nodes))) <= step.kl + 1e-12:
                sizes.append(size)
    assert min(sizes) <= step.circuit.size and step.circuit.size in sizes


@pytest.mark.parametrize("level", ["node", "edge"])
def test_what_writes_nothing_is_never_in_a_circuit(level):
    model = random_model(CONFIG).double()
    with torch.no_grad():
        model.h[0].attn.c_proj.weight[4:] = 0  # L0H1 writes nothing, MLP L1 a constant
        model.h[1].mlp.c_proj.weight[:] = 0
    *_, step = discover(model, CLEAN, CORRUPTED, METRIC, 1e-12, level)
    silent = {Node("head", 0, 1), Node("mlp", 1)}
    assert not silent & set(step.circuit.nodes) and step.circuit.size > 0
    assert step.circuit.faithfulness == pytest.approx(1, abs=1e-5)


def test_nodes_that_nothing_clean_reaches_are_no_circuit():
    steps = list(discover(MODEL, CLEAN, CORRUPTED, METRIC, 0.008))
    assert any(step.kept for step in steps) and not steps[-1].kept  # a head was kept, and then the embeddings were not
    assert steps[-1].circuit.size == 0 and steps[-1].circuit.rest_faithfulness == pytest.approx(1, abs=1e-6)
    assert steps[-1].circuit.kl == pytest.approx(steps[-1].kl, abs=1e-9)


def test_a_large_threshold_leaves_nothing():
    for level in ("node", "edge"):
        *_, step = discover(MODEL, CLEAN, CORRUPTED, METRIC, 1e9, level)
        assert step.circuit.size == 0 and step.circuit.faithfulness == pytest.approx(0, abs=1e-6)
        assert step.circuit.rest_faithfulness == pytest.approx(1, abs=1e-6) and step.circuit.check.holds


def test_edges_that_nobody_can_notice_are_not_run():
    steps = list(discover(MODEL, CLEAN, CORRUPTED, METRIC, 1e9, "edge"))
    assert all(step.effect == 0 for step in steps if step.tried.receiver != LOGITS)
    assert any(step.effect != 0 for step in steps if step.tried.receiver == LOGITS)


def test_edits_in_force():
    plan = Plan((Edit.zero("z", 0, 1), Edit.scale("mlp_out", 1, value=0.5)))
    for level, everything in (("node", NODES), ("edge", EDGES)):
        *_, step = discover(MODEL, CLEAN, CORRUPTED, METRIC, 1e-12, level, plan)
        assert step.circuit.check.holds and Node("head", 0, 1) not in step.circuit.nodes
        edited = circuit_logits(MODEL, CLEAN, CORRUPTED, everything, level, plan)
        assert max_difference(step.circuit.model, METRIC(edited)) <= 1e-6
        assert (edited - circuit_logits(MODEL, CLEAN, CORRUPTED, everything, level)).abs().max() > 1e-3
    between = Plan((Edit.scale("resid_pre", 1, value=2.0),))
    *_, step = discover(MODEL, CLEAN, CORRUPTED, METRIC, 0.01, "node", between)
    assert step.circuit.check.holds
    with pytest.raises(ValueError, match="lies between them"):
        next(discover(MODEL, CLEAN, CORRUPTED, METRIC, 0.01, "edge", between))


@pytest.mark.parametrize(
    ("change", "said"), [({"tau": 0.0}, "above 0"), ({"level": "path"}, "level"), ({"corrupted": CLEAN[:, :3]}, "shape")]
)
def test_what_cannot_be_searched(change, said):
    given = {"clean": CLEAN, "corrupted": CORRUPTED, "metric": METRIC, "tau": 0.1, **change}
    with pytest.raises(ValueError, match=said):
        next(discover(MODEL, **given))


def test_the_divergence_is_the_mean_kl_from_the_whole_model_to_the_part():
    whole, part = (torch.randn(2, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    p, q = (x.double().softmax(-1).tolist() for x in (whole, part))
    expected = [sum(a * math.log(a / b) for a, b in zip(*rows)) for rows in zip(p, q)]
    assert divergence(whole, part) == pytest.approx(sum(expected) / 2, abs=1e-12)
