"""Copies against exact Jaccard similarity on sets of word 5-grams, and the split against its own definition."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_core.train import duplicates
from gpt2_core.train.duplicates import (
    PERMUTATIONS,
    Seen,
    bands,
    digest,
    held_out,
    normal_words,
    rolling,
    shingles,
    signature,
    word_codes,
)

WORDS = [f"word{n}" for n in range(5000)]


def exact_shingles(words: list[str], n: int = 5) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + n]) for at in range(max(1, len(words) - n + 1))}


def exact(one: list[str], other: list[str]) -> float:
    a, b = exact_shingles(one), exact_shingles(other)
    return len(a & b) / len(a | b)


def changed(words: list[str], share: float, seed: int) -> list[str]:
    """A copy with a share of its words replaced."""
    chance = random.Random(seed)
    return [chance.choice(WORDS) if chance.random() < share else word for word in words]


def text(seed: int, length: int = 1500) -> list[str]:
    return random.Random(seed).choices(WORDS, k=length)


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=40))
@settings(deadline=None)
def test_shingles_are_the_set_of_word_5_grams(words):
    assert len(shingles(words)) == len(exact_shingles(words))


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=30), st.integers(1, 5))
@settings(deadline=None)
def test_rolling_codes_are_equal_where_the_words_are(words, n):
    codes, naive = rolling(word_codes(words), n), [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
    assert len(codes) == len(naive)
    assert [[a == b for b in codes] for a in codes] == [[a == b for b in naive] for a in naive]


@pytest.mark.parametrize("share", [0, 0.005, 0.02, 0.05, 0.1, 0.3, 1])
def test_signatures_estimate_the_exact_similarity(share):
    for seed in range(5):
        one = text(seed)
        other = changed(one, share, seed + 100)
        similarity = exact(one, other)
        estimate = float(np.mean(signature(one) == signature(other)))
        error = (similarity * (1 - similarity) / PERMUTATIONS) ** 0.5  # of a mean of 128 draws
        assert abs(estimate - similarity) <= 4 * error + 1e-9


def test_near_duplicates_are_those_of_the_exact_similarity():
    """Pairs further than four standard errors from the threshold; the band finds 99.9 % of pairs at 0.94."""
    judged = 0
    for seed in range(30):
        one = text(seed)
        other = changed(one, random.Random(seed).choice([0.002, 0.004, 0.05, 0.2, 0.5]), seed + 100)
        similarity = exact(one, other)
        if 0.65 < similarity < 0.94:
            continue
        seen = Seen(0.8)
        assert seen.copy_of("first", digest(one), signature(one)) is None
        found = seen.copy_of("second", digest(other), signature(other))
        assert (found is not None) == (similarity >= 0.8), similarity
        assert found is None or (found[0] == ("near duplicate" if one != other else "exact duplicate") and "first" in found[1])
        judged += 1
    assert judged >= 20


def test_exact_copies_differ_in_case_and_punctuation_only():
    one, other, third = (
        normal_words(t) for t in ("It was -- the best; of times!", "it was the\nbest of times", "it was the worst")
    )
    assert digest(one) == digest(other) != digest(third)
    seen = Seen(0)
    assert seen.copy_of("a", digest(one), None) is None
    assert seen.copy_of("b", digest(other), None) == ("exact duplicate", "of a")
    assert seen.copy_of("c", digest(third), None) is None


def test_without_near_duplicates_similar_texts_stay():
    one, seen = text(0), Seen(0)
    other = [*one[:-1], "end"]
    assert seen.copy_of("a", digest(one), signature(one)) is None
    assert seen.copy_of("b", digest(other), signature(other)) is None


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95])
def test_bands_find_pairs_at_the_threshold(threshold):
    count, rows = bands(threshold)
    assert count * rows == PERMUTATIONS
    chance = np.random.default_rng(0)
    pairs = chance.random((4000, count, rows)) < threshold  # equal minima, as MinHash draws them
    found = pairs.all(axis=2).any(axis=1).mean()
    assert found >= duplicates.RECALL - 0.015  # three standard errors of 4,000 draws


def test_the_split_is_a_hash_of_the_document_and_the_seed():
    names = [digest([str(n)]) for n in range(20_000)]
    held = [held_out(name, 0, 0.02) for name in names]
    assert abs(np.mean(held) - 0.02) < 4 * (0.02 * 0.98 / len(names)) ** 0.5
    assert held != [held_out(name, 1, 0.02) for name in names]
    larger = [held_out(name, 0, 0.05) for name in names]
    assert all(b for a, b in zip(held, larger) if a)  # a larger share keeps what was held out
    assert not any(held_out(name, 0, 0) for name in names)
