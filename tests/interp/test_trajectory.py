"""Trajectory statistics by loops over the rows of the lens."""

import math

import pytest
import torch
from helpers import max_difference, random_model, tiny_config

from interp import lens
from interp.lens import logit_lens, read_rows
from interp.run import trace
from interp.trajectory import trajectory

MODEL = random_model(tiny_config(n_layers=3, d_model=32, d_vocab=60))
RUN = trace(MODEL, [5, 17, 29, 0, 17, 50, 8])


def kl(p, q):
    return sum(a * math.log2(a / b) for a, b in zip(p, q))


@pytest.mark.parametrize("options", [{}, {"layer_norm": "frozen"}, {"mid": True}, {"translate": lambda name, x: 2 * x + 1}])
def test_every_statistic_by_loops(options):
    result = trajectory(MODEL, RUN, **options)
    rows = [x.double().softmax(-1).tolist() for x in read_rows(MODEL, RUN, **options)]
    final = RUN.logits.double().softmax(-1).tolist()
    assert len(rows) == len(result.labels)
    for r, row in enumerate(rows):
        for i, p in enumerate(row):
            predicted = max(range(60), key=final[i].__getitem__)
            assert result.entropy[r, i].item() == pytest.approx(-sum(x * math.log2(x) for x in p), abs=1e-4)
            assert result.max_probability[r, i].item() == pytest.approx(max(p), abs=1e-5)
            assert result.final_rank[r, i].item() == sum(x > p[predicted] for x in p)
            assert result.kl_to_final[r, i].item() == pytest.approx(kl(final[i], p), abs=1e-4)
            if i + 1 < len(RUN):
                assert result.cross_entropy[r, i].item() == pytest.approx(-math.log2(p[RUN.tokens[i + 1]]), abs=1e-4)
            else:
                assert math.isnan(result.cross_entropy[r, i])
            if r:
                before, middle = rows[r - 1][i], [(a + b) / 2 for a, b in zip(p, rows[r - 1][i])]
                assert result.step_kl[r - 1, i].item() == pytest.approx(kl(p, before), abs=1e-4)
                js = (kl(p, middle) + kl(before, middle)) / 2
                assert result.step_js[r - 1, i].item() == pytest.approx(js, abs=1e-4)
                assert result.step_tv[r - 1, i].item() == pytest.approx(
                    sum(map(abs, map(float.__sub__, p, before))) / 2, abs=1e-5
                )


def test_it_ends_in_the_model_and_says_if_not():
    result = trajectory(MODEL, RUN)
    assert result.check.holds and result.final_rank[-1].eq(0).all()
    assert max_difference(result.kl_to_final[-1], torch.zeros(8)) <= 1e-4
    means = result.means()
    assert means["entropy"] == pytest.approx(result.entropy.mean(1).tolist()) and len(means["step_tv"]) == 3
    assert means["cross_entropy"][0] == pytest.approx(result.cross_entropy[0, :-1].mean().item())
    moved = lambda name, x: x + torch.arange(32)  # noqa: E731
    wrong, (*_, last) = trajectory(MODEL, RUN, translate=moved).check, read_rows(MODEL, RUN, translate=moved)
    assert not wrong.holds and wrong.residual == pytest.approx(max_difference(last, RUN.logits))


def test_chunks_change_nothing(monkeypatch):
    whole, table = trajectory(MODEL, RUN, mid=True), logit_lens(MODEL, RUN, mid=True, target=5)
    monkeypatch.setattr(lens, "CHUNK", 3)
    parts, pieces = trajectory(MODEL, RUN, mid=True), logit_lens(MODEL, RUN, mid=True, target=5)
    for name in ("entropy", "kl_to_final", "step_js"):
        assert max_difference(getattr(whole, name), getattr(parts, name)) <= 1e-5
    for name in ("top_ids", "top_probabilities", "entropy", "target_probability", "target_rank", "kl_to_final"):
        assert max_difference(getattr(table, name), getattr(pieces, name)) <= 1e-5
