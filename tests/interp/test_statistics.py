"""Bootstrap against scipy on the same resamples and against a loop; summaries by hand; shuffled pairs."""

import statistics as builtin
from types import SimpleNamespace

import pytest
import torch

from gpt2_core.tokenizer import Tokenizer
from interp import statistics
from interp.prompt_sets import build

SKEWED = torch.randn(25, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp()
DRAWN = build("ioi", Tokenizer.load(), n=12, orders=("ABBA",))


def resampled_by_loop(values: torch.Tensor, resamples: int, seed: int, of) -> list[float]:
    chosen = torch.randint(len(values), (resamples, len(values)), generator=torch.Generator().manual_seed(seed))
    return [of([values[i].item() for i in row]) for row in chosen.tolist()]


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_equal_scipy_on_the_same_resamples(statistic, method):
    stats = pytest.importorskip("scipy.stats")
    import numpy

    drawn = resampled_by_loop(SKEWED, 200, 7, getattr(builtin, statistic))
    theirs = stats.bootstrap(
        (SKEWED.numpy(),),
        getattr(numpy, statistic),
        method=method,
        n_resamples=0,
        confidence_level=0.9,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=numpy.array(drawn)),
    ).confidence_interval
    ours = statistics.bootstrap(SKEWED, statistic, 0.9, method, 200, seed=7)
    assert (ours.low.item(), ours.high.item()) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert ours.estimate.item() == pytest.approx(getattr(builtin, statistic)(SKEWED.tolist()))


def test_the_corrected_interval_follows_the_skew():
    plain, corrected = (statistics.bootstrap(SKEWED, method=method, seed=1) for method in statistics.METHODS)
    assert corrected.low > plain.low and corrected.high > plain.high  # the long tail is to the right


def test_share_positive_by_loop():
    values = SKEWED - 1
    drawn = sorted(resampled_by_loop(values, 101, 3, lambda row: sum(x > 0 for x in row) / len(row)))
    ours = statistics.bootstrap(values, "share_positive", 0.8, "percentile", 101, seed=3)
    assert (ours.low.item(), ours.high.item()) == pytest.approx((drawn[10], drawn[90]))


def test_every_cell_gets_the_interval_it_would_get_alone(monkeypatch):
    values = torch.randn(9, 2, 3, generator=torch.Generator().manual_seed(2)).exp()
    together = statistics.bootstrap(values, resamples=50)
    for cell in [(0, 0), (1, 2)]:
        alone = statistics.bootstrap(values[:, cell[0], cell[1]], resamples=50)
        assert (together.low[cell].item(), together.high[cell].item()) == pytest.approx((alone.low.item(), alone.high.item()))
    monkeypatch.setattr(statistics, "CHUNK", 1)
    assert torch.equal(statistics.bootstrap(values, resamples=50).low, together.low)
    assert not torch.equal(statistics.bootstrap(values, resamples=50, seed=1).low, together.low)


def test_equal_values_have_an_interval_of_no_width():
    interval = statistics.bootstrap(torch.full((5,), 2.5), resamples=20)
    assert interval.low.item() == interval.high.item() == interval.estimate.item() == 2.5


def test_summary_by_hand():
    values = torch.tensor([3.0, -1.0, 2.0, 5.0, -1.0])
    summary = statistics.summarise(values, ["a", "b", "c", "d", "a"], worst=3)
    assert summary.mean == pytest.approx(1.6) and summary.std == pytest.approx(builtin.stdev([3, -1, 2, 5, -1]))
    assert (summary.minimum, summary.maximum, summary.quartiles) == (-1, 5, (-1, 2, 3))
    assert summary.share_positive == pytest.approx(0.6) and summary.n_unique == 4 and len(summary) == 5
    assert [(case.index, case.value, case.prompt) for case in summary.worst] == [(1, -1, "b"), (4, -1, "a"), (2, 2, "c")]
    assert summary.interval.low <= summary.mean <= summary.interval.high


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": torch.tensor([1.0])}, "at least two"),
        ({"values": torch.tensor([1.0, float("nan")])}, "1 values are not finite"),
        ({"statistic": "mode"}, "Expected a statistic"),
        ({"method": "t"}, "Expected a statistic"),
        ({"level": 1.0}, "a level"),
    ],
)
def test_what_gives_no_interval(change, said):
    with pytest.raises(ValueError, match=said):
        statistics.bootstrap(**{"values": SKEWED, **change})


def test_a_value_for_each_prompt():
    with pytest.raises(ValueError, match="one value a prompt"):
        statistics.summarise(torch.ones(3), ["a"])


def test_shuffled_answers_are_the_same_answers():
    mixed = statistics.shuffled(DRAWN, seed=1)
    answers = [[(p.correct, p.wrong) for p in drawn.pairs] for drawn in (mixed, DRAWN)]
    assert sorted(answers[0]) == sorted(answers[1]) and answers[0] != answers[1]
    assert [p.clean for p in mixed.pairs] == [p.clean for p in DRAWN.pairs]
    assert statistics.shuffled(DRAWN, seed=1) == mixed != statistics.shuffled(DRAWN, seed=2)
    with pytest.raises(ValueError, match="shuffled"):
        statistics.shuffled(DRAWN, what="metric")


def test_shuffled_corruptions_stay_patchable():
    drawn = build("pronoun", Tokenizer.load(), n=12)  # every prompt has the same spans
    mixed = statistics.shuffled(drawn, seed=1, what="corrupted")
    corrupted = [[p.corrupted.ids for p in pairs] for pairs in (mixed.pairs, drawn.pairs)]
    assert sorted(corrupted[0]) == sorted(corrupted[1]) and corrupted[0] != corrupted[1]
    uneven = statistics.shuffled(DRAWN, seed=1, what="corrupted")
    assert all(pair.clean.spans == pair.corrupted.spans for pair in uneven.pairs)


def test_a_null_baseline_tells_a_signal_from_none():
    def knows(drawn) -> torch.Tensor:  # 1 where the answer stands in the prompt
        return torch.tensor([float(pair.correct[0] in pair.clean.ids) for pair in drawn.pairs])

    signal = statistics.null_baseline(knows, DRAWN, shuffles=19)
    assert signal.observed == 1 and signal.means.max() < 1 and signal.p_value == pytest.approx(1 / 20)
    nothing = statistics.null_baseline(lambda drawn: torch.ones(len(drawn)), DRAWN, shuffles=19)
    assert nothing.p_value == 1.0
    with pytest.raises(ValueError, match="at least one shuffle"):
        statistics.null_baseline(knows, DRAWN, shuffles=0)
