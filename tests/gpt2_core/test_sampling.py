"""Sampling against Hugging Face's logits processors (the oracle), and the draws against the distribution."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers.generation import logits_process as hf

from gpt2_core.sampling import Sampling, generators, processed_logits, sample

SIZE = 40


def hf_processed(logits: torch.Tensor, previous: torch.Tensor, how: Sampling) -> torch.Tensor:
    chain = []
    if how.repetition_penalty != 1:
        chain.append(hf.RepetitionPenaltyLogitsProcessor(float(how.repetition_penalty)))
    chain.append(hf.TemperatureLogitsWarper(float(how.temperature)))
    if how.top_k is not None:
        chain.append(hf.TopKLogitsWarper(how.top_k))
    if how.top_p is not None:
        chain.append(hf.TopPLogitsWarper(how.top_p))
    if how.min_p is not None:
        chain.append(hf.MinPLogitsWarper(how.min_p))
    for step in chain:
        logits = step(previous, logits)
    return logits


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.0, 0.5, 3.0, 20.0]),
    temperature=st.floats(0.05, 5.0),
    top_k=st.none() | st.integers(1, SIZE + 5),
    top_p=st.none() | st.floats(0.01, 1.0),
    min_p=st.none() | st.floats(0.0, 1.0),
    penalty=st.sampled_from([1.0, 1.3, 0.7, 2.0]),
)
def test_filtered_distribution_equals_hugging_face(seed, spread, temperature, top_k, top_p, min_p, penalty):
    random = torch.Generator().manual_seed(seed)
    logits = (torch.randn(3, SIZE, generator=random) * spread).round(decimals=1)  # rounding makes ties
    previous = torch.randint(0, SIZE, (3, 7), generator=random)
    how = Sampling(temperature, top_k, top_p, min_p, penalty)
    ours, theirs = processed_logits(logits, previous, how), hf_processed(logits, previous, how)
    assert torch.equal(ours.isinf(), theirs.isinf())
    torch.testing.assert_close(ours.softmax(-1), theirs.softmax(-1), atol=1e-7, rtol=1e-6)


def test_padding_is_not_penalised():
    logits = torch.tensor([[1.0, 2.0, -1.0], [1.0, 2.0, -1.0]])
    how = Sampling(repetition_penalty=2.0)
    got = processed_logits(logits, torch.tensor([[-1, 1], [2, 0]]), how)
    assert got.tolist() == [[1.0, 1.0, -1.0], [0.5, 2.0, -2.0]]


def test_greedy_is_argmax_of_penalised_logits():
    logits = torch.tensor([[1.0, 3.0, 2.9], [5.0, 1.0, 0.0]])
    previous = torch.tensor([[1], [1]])
    assert sample(logits, (), Sampling(temperature=0), previous).tolist() == [1, 0]
    assert sample(logits, (), Sampling(temperature=0, repetition_penalty=1.5), previous).tolist() == [2, 0]


def test_draws_follow_the_distribution():
    probabilities = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.04, 0.01])
    draws = 4000
    [row] = generators(3, [0])
    ids = [int(sample(probabilities.log()[None], [row], Sampling())) for _ in range(draws)]
    counts = torch.bincount(torch.tensor(ids), minlength=6).double()
    chi_square = ((counts - draws * probabilities) ** 2 / (draws * probabilities)).sum()
    assert chi_square < 20.5  # 0.999 quantile at 5 degrees of freedom


def test_a_draw_inverts_the_cumulative_distribution():
    logits = torch.randn(1, 300, generator=torch.Generator().manual_seed(1))
    probabilities = logits[0].double().softmax(-1).tolist()
    [row], [same] = generators(3, [0]), generators(3, [0])
    for _ in range(20):
        left, token = float(torch.rand(1, generator=same, dtype=torch.float64)) - probabilities[0], 0
        while left >= 0:
            token += 1
            left -= probabilities[token]
        assert int(sample(logits, [row], Sampling())) == token


def test_draws_follow_the_filtered_distribution():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    how = Sampling(temperature=0.7, top_k=2)
    [row] = generators(0, [0])
    ids = torch.tensor([int(sample(logits, [row], how)) for _ in range(3000)])
    expected = 1 / (1 + math.exp(-1 / 0.7))
    assert set(ids.tolist()) == {0, 1}
    assert abs((ids == 0).double().mean() - expected) < 4 * (expected * (1 - expected) / 3000) ** 0.5


def test_a_row_of_a_batch_draws_what_it_draws_alone():
    logits = torch.randn(5, 300, generator=torch.Generator().manual_seed(1))
    how = Sampling(temperature=1.2, top_p=0.9)
    batch, streams = [], generators(7, range(5))
    for _ in range(8):
        batch.append(sample(logits, streams, how))
    for i in range(5):
        alone = generators(7, [i])
        assert [int(sample(logits[i : i + 1], alone, how)) for _ in range(8)] == [int(step[i]) for step in batch]


def test_streams_and_seeds_differ():
    firsts = {float(torch.rand(1, generator=g)) for seed in range(20) for g in generators(seed, range(20))}
    assert len(firsts) == 400


@pytest.mark.parametrize("filters", [{"top_p": 1e-9}, {"min_p": 1.0}, {"top_k": 1}])
def test_the_likeliest_token_survives_every_filter(filters):
    logits = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
    kept = processed_logits(logits, None, Sampling(**filters)).isfinite()
    assert kept.sum(-1).tolist() == [1] * 4 and kept.int().argmax(-1).equal(logits.argmax(-1))


def test_zero_probability_is_never_drawn():
    logits = torch.full((1, 1000), -math.inf)
    logits[0, [0, 500, 999]] = 0.0
    [row] = generators(0, [0])
    assert {int(sample(logits, [row], Sampling())) for _ in range(200)} == {0, 500, 999}


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -0.1},
        {"temperature": 1e-40},
        {"repetition_penalty": 1e-9},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": 0},
        {"top_k": True},
        {"top_p": 0},
        {"top_p": 1.01},
        {"top_p": math.nan},
        {"min_p": -0.1},
        {"min_p": 1.5},
        {"repetition_penalty": 0},
        {"repetition_penalty": -1.0},
    ],
)
def test_bad_settings_are_one_sentence(bad):
    with pytest.raises(ValueError, match=rf"^{next(iter(bad))} must be .*got .*\.$") as error:
        Sampling(**bad)
    assert "\n" not in str(error.value)


def test_every_row_needs_its_own_random_numbers():
    with pytest.raises(ValueError, match="Sampling 2 rows needs as many random generators, got 1"):
        sample(torch.zeros(2, 4), generators(0, [0]), Sampling())


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("value", [math.nan, -math.inf, math.inf])
def test_logits_that_are_not_finite_are_refused(temperature, value):
    with pytest.raises(ValueError, match="not finite"):
        sample(torch.full((1, 4), value), generators(0, [0]), Sampling(temperature))


def test_bfloat16_logits_are_processed_in_float32():
    logits = torch.randn(2, 50).bfloat16()
    assert processed_logits(logits, None, Sampling(0.8)).dtype == torch.float32
