"""Learning rate, kind of loss and snapshots at each step, against closed forms."""

import math

import pytest
from train_helpers import TINY

from gpt2_core.train import recipe as recipes
from gpt2_core.train.recipe import Optimizer
from gpt2_core.train.schedule import learning_rate, snapshot_steps, trains_sampled


def test_warm_up_is_linear_and_the_rest_half_a_cosine():
    o = Optimizer(learning_rate=1.0, final_learning_rate=0.1, warmup_steps=4, steps=105)
    assert [learning_rate(o, step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert learning_rate(o, 54) == pytest.approx(0.55)  # half-way between 4 and 104
    assert learning_rate(o, 29) == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)
    assert learning_rate(o, 104) == pytest.approx(0.1)
    rates = [learning_rate(o, step) for step in range(4, 105)]
    assert rates == sorted(rates, reverse=True)


def test_without_warm_up_the_first_rate_is_the_full_one():
    assert learning_rate(Optimizer(learning_rate=2.0, steps=1), 0) == 2.0


def test_the_end_is_trained_with_the_exact_loss():
    recipe = recipes.parse(TINY)  # 8 steps, the last quarter exact
    assert [trains_sampled(recipe, step) for step in range(8)] == [True] * 6 + [False] * 2
    exact = recipes.parse(TINY.replace('"sampled"', '"chunked"'))
    assert not any(trains_sampled(exact, step) for step in range(8))


@pytest.mark.parametrize(("steps", "count"), [(20_000, 40), (600_000, 40), (50, 40), (40, 40), (7, 2), (1000, 3)])
def test_snapshots_are_log_spaced_with_both_ends(steps, count):
    found = snapshot_steps(steps, count)
    assert found[0] == 0 and found[-1] == steps and len(found) == count
    gaps = [b - a for a, b in zip(found, found[1:])]
    assert all(gap > 0 for gap in gaps)
    ratios = [b / a for a, b in zip(found[1:], found[2:]) if a >= 50]
    if ratios:  # where rounding no longer matters
        assert max(ratios) == pytest.approx(min(ratios), rel=0.03)


def test_few_steps_give_few_snapshots_and_none_gives_none():
    assert snapshot_steps(5, 40) == (0, 1, 2, 3, 4, 5)
    assert snapshot_steps(5, 0) == ()
