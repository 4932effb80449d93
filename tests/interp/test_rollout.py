"""Rollout against products by loops, flow against networkx."""

import networkx
import pytest
import torch
from helpers import max_difference, random_model, tiny_config
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.attention import AttentionPatterns, patterns, rows_check
from interp.rollout import MAX_FLOW_TOKENS, flow, layer_weights, rollout, rollout_row
from interp.run import trace

MODEL = random_model(tiny_config(n_layers=3, d_model=32, d_vocab=200))
PATTERNS = patterns(trace(MODEL, [5, 17, 99, 3, 17, 60, 8]))


def made(seed, n_layers=2, n=5, sharp=2.0):
    scores = sharp * torch.randn(n_layers, 3, n, n, generator=torch.Generator().manual_seed(seed))
    values = scores.masked_fill(~torch.ones(n, n, dtype=torch.bool).tril(), -torch.inf).softmax(-1)
    return AttentionPatterns(values, ("x",) * n, rows_check(0.0, torch.float32))


def test_rollout_by_loops():
    n_layers, n_heads, n, _ = PATTERNS.values.shape
    before = [[float(i == j) for j in range(n)] for i in range(n)]
    result = rollout(PATTERNS)
    for layer in range(n_layers):
        p = PATTERNS.values[layer].double().mean(0).tolist()
        weights = [[(p[i][j] + (i == j)) / 2 for j in range(n)] for i in range(n)]
        before = [[sum(weights[i][m] * before[m][j] for m in range(n)) for j in range(n)] for i in range(n)]
        assert max_difference(result.values[layer], torch.tensor(before)) <= 1e-5
    assert result.check.holds


@pytest.mark.parametrize("position", [0, 2, -1])
def test_a_row_is_that_of_the_whole_rollout(position):
    row, whole = rollout_row(PATTERNS, position), rollout(PATTERNS)
    assert max_difference(row.values, whole.values[-1, position]) <= 1e-6
    assert max_difference(row.even, whole.even[-1, position]) <= 1e-6
    assert row.check.holds and row.position == range(len(row.strings))[position]
    with pytest.raises(ValueError, match="osition"):
        rollout_row(PATTERNS, 10**6)


def test_rollout_drifts_to_the_first_token_and_even_shows_it():
    result = rollout(made(0, n_layers=30, n=6, sharp=0.0))
    assert max_difference(result.values, result.even) <= 1e-5
    first = result.even[:, -1, 0]
    assert (first.diff() > 0).all() and first[-1] > 0.95


def by_networkx(result, token, position):
    graph = networkx.DiGraph()
    for layer, table in enumerate(layer_weights(result).double().tolist()):
        for i, row in enumerate(table):
            for j, weight in enumerate(row):
                if weight > 0:
                    graph.add_edge((layer, j), (layer + 1, i), capacity=weight)
    source, sink = (0, token), (len(result.values), position)
    return networkx.maximum_flow_value(graph, source, sink, flow_func=networkx.algorithms.flow.edmonds_karp)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6), st.data())
def test_flow_equals_networkx(seed, n_layers, n, data):
    result, position = made(seed, n_layers, n), data.draw(st.integers(0, n - 1))
    found = flow(result, position)
    for token in range(n):
        expected = by_networkx(result, token, position) if token <= position else 0.0
        assert found.values[token].item() == pytest.approx(expected, abs=1e-6)
    assert found.check.holds and found.shares.sum().item() == pytest.approx(1, abs=1e-5)


def test_flow_of_a_model_and_its_limit():
    found = flow(PATTERNS)
    assert found.position == 7
    for token in range(8):
        assert found.values[token].item() == pytest.approx(by_networkx(PATTERNS, token, 7), abs=1e-6)
    with pytest.raises(ValueError, match="rollout"):
        flow(made(0, 1, MAX_FLOW_TOKENS + 1))
