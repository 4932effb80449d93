"""Next-token distributions against loops over probabilities and against scipy."""

import math

import pytest
import torch

from gpt2_core import distribution

P, Q = (torch.randn(3, 11, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(3).log_softmax(-1) for seed in (0, 1))  # fmt: skip


def rows():
    return [(p.exp().tolist(), q.exp().tolist()) for p, q in zip(P, Q)]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q))


def test_by_loops():
    middles = [[(a + b) / 2 for a, b in zip(p, q)] for p, q in rows()]
    expected = {
        "kl": [kl(p, q) for p, q in rows()],
        "jensen_shannon": [(kl(p, m) + kl(q, m)) / 2 for (p, q), m in zip(rows(), middles)],
        "total_variation": [sum(abs(a - b) for a, b in zip(p, q)) / 2 for p, q in rows()],
    }
    for name, values in expected.items():
        assert getattr(distribution, name)(P, Q).tolist() == pytest.approx(values, abs=1e-12), name
    assert distribution.entropy(P).tolist() == pytest.approx([-sum(a * math.log(a) for a in p) for p, _ in rows()], abs=1e-12)
    logprob, rank = distribution.taken(P, torch.tensor([4, 0, 10]))
    for i, token in enumerate((4, 0, 10)):
        assert logprob[i].item() == pytest.approx(math.log(rows()[i][0][token]), abs=1e-12)
        assert rank[i] == sum(a > rows()[i][0][token] for a in rows()[i][0])


def test_the_direction_of_kl_and_what_is_symmetric():
    assert (distribution.kl(P, Q) - distribution.kl(Q, P)).abs().max() > 0.01
    for symmetric in (distribution.jensen_shannon, distribution.total_variation):
        assert torch.allclose(symmetric(P, Q), symmetric(Q, P))
    for each in (distribution.kl, distribution.jensen_shannon, distribution.total_variation):
        assert each(P.float(), P.float()).abs().max() <= 1e-7


def test_jensen_shannon_equals_scipy():
    distance = pytest.importorskip("scipy.spatial.distance")
    expected = [distance.jensenshannon(p, q) ** 2 for p, q in rows()]
    assert distribution.jensen_shannon(P, Q).tolist() == pytest.approx(expected, abs=1e-10)


def test_one_reference_for_many_rows_and_more_axes():
    assert distribution.kl(P[:1], Q).tolist() == pytest.approx([kl(rows()[0][0], q) for _, q in rows()], abs=1e-12)
    stacked = distribution.kl(torch.stack([P, Q]), torch.stack([Q, P]))
    assert torch.allclose(stacked, torch.stack([distribution.kl(P, Q), distribution.kl(Q, P)]))
    assert distribution.entropy(torch.stack([P, Q])).shape == (2, 3)


def test_extremes():
    certain = torch.tensor([[0.0, -torch.inf, -torch.inf]])
    even = torch.full((1, 3), -math.log(3))
    assert distribution.entropy(certain).item() == 0 and distribution.entropy(even).item() == pytest.approx(math.log(3))
    one, other = (torch.tensor([[200.0, 0.0]]).roll(i, 1).log_softmax(-1) for i in (0, 1))  # float32 underflows to 0
    assert distribution.jensen_shannon(one, other).item() == pytest.approx(math.log(2))
    assert distribution.total_variation(one, other).item() == pytest.approx(1)
