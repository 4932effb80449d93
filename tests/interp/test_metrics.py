"""Metrics by hand, from probabilities written out as loops."""

import math

import pytest
import torch

from interp import metrics

LOGITS = torch.randn(3, 11, generator=torch.Generator().manual_seed(0)) * 3


def probabilities(row):
    weights = [math.exp(x) for x in row.double().tolist()]
    return [w / sum(weights) for w in weights]


@pytest.mark.parametrize(
    "metric, by_hand",
    [
        (metrics.logit_diff(2, 7), lambda x, p: x[2] - x[7]),
        (metrics.logit_diff([2, 3], [7, 1, 0]), lambda x, p: (x[2] + x[3]) / 2 - (x[7] + x[1] + x[0]) / 3),
        (metrics.probability(4), lambda x, p: p[4]),
        (metrics.probability([4, 5]), lambda x, p: p[4] + p[5]),
        (metrics.probability_diff([4, 5], 6), lambda x, p: p[4] + p[5] - p[6]),
        (metrics.log_probability(4), lambda x, p: math.log(p[4])),
        (metrics.log_probability([4, 9]), lambda x, p: math.log(p[4] + p[9])),
    ],
)
def test_by_hand(metric, by_hand):
    values = metrics.evaluate(metric, LOGITS)
    expected = [by_hand(row.tolist(), probabilities(row)) for row in LOGITS]
    assert values.tolist() == pytest.approx(expected, abs=1e-5)
    if metric.reads is not None:
        assert metric.of(LOGITS[:, list(metric.reads)]).tolist() == pytest.approx(expected, abs=1e-5)
    assert metrics.evaluate(metric, LOGITS.double()).dtype == torch.float64


def test_kl_goes_from_the_reference_to_the_patched_run():
    p = probabilities(LOGITS[0])
    expected = [sum(a * math.log(a / b) for a, b in zip(p, probabilities(row))) for row in LOGITS]
    values = metrics.kl(LOGITS[:1])(LOGITS)
    assert values.tolist() == pytest.approx(expected, abs=1e-5) and abs(values[0]) < 1e-6
    backwards = sum(b * math.log(b / a) for a, b in zip(p, probabilities(LOGITS[1])))
    assert abs(values[1].item() - backwards) > 0.01
    assert metrics.kl(LOGITS[0])(LOGITS).tolist() == pytest.approx(values.tolist())


def test_any_function_is_a_metric_if_it_gives_one_number_per_row():
    def largest(logits):
        return logits.max(-1).values

    assert metrics.metric_name(largest) == "largest"
    assert torch.equal(metrics.evaluate(largest, LOGITS), LOGITS.max(-1).values)
    for wrong in (lambda x: x, lambda x: x.sum(), lambda x: 1.0):
        with pytest.raises(ValueError, match="one number per row"):
            metrics.evaluate(wrong, LOGITS)


def test_ids_that_cannot_be_read():
    for ids in ([], -1, [3, -2]):
        with pytest.raises(ValueError, match="token ids from 0"):
            metrics.logit_diff(ids, 1)
    with pytest.raises(ValueError, match="vocabulary has 11"):
        metrics.logit_diff(3, 11)(LOGITS)
    assert metrics.logit_diff([1, 2, 3, 4, 5], 6).name == "logit_diff([1, 2, 3, 4, ...], 6)"


@pytest.mark.parametrize("name", metrics.METRICS)
def test_the_metric_of_one_prompt_of_a_set_is_the_same_number(name):
    whole = metrics.answer_metric(name, [[3], [4, 5, 6], [0, 1]], [[7, 8], [0], [2]])
    for prompt in range(3):
        alone = whole.alone(prompt)
        variants = LOGITS.flip(0)
        assert alone(variants).tolist() == pytest.approx(whole.of(prompt)(variants).tolist(), abs=1e-6)
        assert alone(LOGITS)[prompt].item() == pytest.approx(whole(LOGITS)[prompt].item(), abs=1e-6)
        if alone.reads is not None:
            assert alone.of(LOGITS[:, list(alone.reads)]).tolist() == pytest.approx(alone(LOGITS).tolist(), abs=1e-6)
    assert (whole.alone(0).reads is None) == ("logit" not in name)
    assert whole.alone(1).name == f"{name}([4, 5, 6], 0)"
