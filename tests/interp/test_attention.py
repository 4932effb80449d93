"""Attention patterns in three numbers per head, against loops."""

import math

import pytest
import torch
from helpers import bridge, random_model, tiny_config

from interp import attention
from interp.edits import Edit, Plan
from interp.run import trace

CONFIG = tiny_config(n_layers=2, d_model=32, d_vocab=200)
MODEL = random_model(CONFIG)
RUN = trace(MODEL, [5, 17, 99, 3, 17, 60, 8], bos=True)


@torch.no_grad()
def test_statistics_by_loops_over_transformer_lens_patterns():
    _, cache = bridge(MODEL).run_with_cache(torch.tensor([RUN.tokens]))
    result, n = attention.statistics(attention.patterns(RUN)), len(RUN)
    for layer in range(2):
        for head in range(4):
            p = cache[f"blocks.{layer}.attn.hook_pattern"][0, head].double().tolist()
            queries = range(1, n)
            entropy = [-sum(p[q][k] * math.log2(p[q][k]) for k in range(q + 1)) for q in queries]
            distance = [sum(p[q][k] * (q - k) for k in range(q + 1)) for q in queries]
            assert result.entropy[layer, head].item() == pytest.approx(sum(entropy) / (n - 1), abs=1e-4)
            assert result.distance[layer, head].item() == pytest.approx(sum(distance) / (n - 1), abs=1e-4)
            assert result.sink[layer, head].item() == pytest.approx(sum(p[q][0] for q in queries) / (n - 1), abs=1e-5)
    assert result.check.holds


def test_even_is_what_an_even_pattern_gives():
    n = 6
    pattern = torch.ones(n, n).tril() / torch.arange(1, n + 1)[:, None]
    check = attention.rows_check(0.0, torch.float32)
    result = attention.statistics(attention.AttentionPatterns(pattern.expand(1, 1, n, n), ("x",) * n, check))
    for name, value in result.even.items():
        assert getattr(result, name).item() == pytest.approx(value, abs=1e-6), name


def test_a_head_that_rests_on_the_first_token():
    n = 5
    pattern = torch.zeros(1, 1, n, n)
    pattern[..., 0] = 1
    check = attention.rows_check(0.0, torch.float32)
    result = attention.statistics(attention.AttentionPatterns(pattern, ("x",) * n, check))
    assert (result.entropy.item(), result.distance.item(), result.sink.item()) == (0, 2.5, 1)


def test_one_token_and_edited_rows():
    with pytest.raises(ValueError, match="at least 2"):
        attention.statistics(attention.patterns(trace(MODEL, [5], bos=False)))
    edited = attention.patterns(trace(MODEL, [5, 6, 7], Plan((Edit.zero("pattern", 0, 1),)), bos=False))
    with pytest.raises(ValueError, match="kept .*blocks.1.attn.hook_pattern.* for all layers"):
        attention.patterns(trace(MODEL, [5, 6], names_filter="blocks.1.attn.hook_pattern"))  # index 0 would be layer 1
    assert not attention.statistics(edited).check.holds and attention.statistics(edited).sink[0, 1] == 0
