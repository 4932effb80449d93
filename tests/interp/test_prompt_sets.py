"""Prompt sets: lengths, positions and answers of every pair, seeds, repeats, metrics by hand, and the length helper."""

import dataclasses
import math

import pytest
import torch
from helpers import random_model, tiny_config

from gpt2_core.tokenizer import Tokenizer
from interp import prompt_sets
from interp.prompt_sets import answer_metric, build, length_match
from interp.prompt_sets.capitals import CAPITALS
from interp.prompt_sets.ioi import EXTRA, eight
from interp.prompt_sets.pairs import PromptPair, draw, place, single_tokens

TOKENIZER = Tokenizer.load()
NAMES = tuple(prompt_sets.SETS)
DRAWN = {name: build(name, TOKENIZER, n=40, seed=3) for name in NAMES}


def word(pair: PromptPair, name: str, corrupted: bool = False) -> str:
    prompt = pair.corrupted if corrupted else pair.clean
    start, end = prompt.spans[name]
    return TOKENIZER.decode(prompt.ids[start:end])


@pytest.mark.parametrize("name", NAMES)
def test_pairs_match_in_length_and_differ(name):
    drawn = DRAWN[name]
    assert len(drawn) == 40 == drawn.n_unique and len(drawn.texts) == 40
    assert f"{name!r}, 40 pairs" in repr(drawn) and len(repr(drawn)) < 600  # a notebook prints what a cell ends with
    assert not any("PromptPair" in repr(batch) for batch in drawn.batches())
    assert drawn.source and drawn.corruption and drawn.metric in prompt_sets.METRICS and drawn.name == name
    for pair in drawn.pairs:
        assert len(pair.clean.ids) == len(pair.corrupted.ids) and pair.clean.ids != pair.corrupted.ids
        assert pair.clean.spans["END"] == (len(pair.clean.ids) - 1, len(pair.clean.ids))
        assert not set(pair.correct) & set(pair.wrong) and pair.correct and pair.wrong
        if name != "induction":  # random ids need not come back from their text
            assert TOKENIZER.encode(pair.clean.text) == list(pair.clean.ids)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides(name):
    again, other = (build(name, TOKENIZER, n=40, seed=seed) for seed in (3, 4))
    assert again == DRAWN[name] and other.pairs != DRAWN[name].pairs


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_batches_hold_every_pair_once_without_padding(name, bos):
    drawn = DRAWN[name]
    batches = drawn.batches(bos=bos)
    assert sorted(i for batch in batches for i in batch.indices) == list(range(40))
    lengths = [batch.clean.shape[1] for batch in batches]
    assert lengths == sorted(set(lengths))
    for batch in batches:
        assert batch.clean.shape == batch.corrupted.shape == (len(batch), batch.clean.shape[1])
        assert set(batch.positions) == set.intersection(*(set(pair.clean.spans) for pair in batch.pairs)) >= {"END"}
        for row, (index, pair) in enumerate(zip(batch.indices, batch.pairs)):
            assert pair is drawn.pairs[index]
            assert batch.clean[row].tolist() == [TOKENIZER.bos_id] * bos + list(pair.clean.ids)
            for key in batch.positions:  # the words that all of the batch's prompts have
                start, end = pair.clean.spans[key]
                assert batch.starts[key][row] == start + bos and batch.positions[key][row] == end - 1 + bos


def test_indirect_objects():
    for corruption in ("swap", "abc"):
        for index, pair in enumerate(build("ioi", TOKENIZER, n=30, corruption=corruption).pairs):
            io, s1, s2 = (word(pair, name) for name in ("IO", "S1", "S2"))
            assert s1 == s2 != io and word(pair, "END") in (" to",)
            assert TOKENIZER.decode(pair.correct) == io and TOKENIZER.decode(pair.wrong) == s1
            abba = pair.clean.spans["IO"] < pair.clean.spans["S1"]
            assert abba == (index % 2 == 0)
            changed = [word(pair, name, corrupted=True) for name in ("IO", "S1", "S2")]
            if corruption == "swap":
                assert changed == [io, s1, io]
                assert sum(a != b for a, b in zip(pair.clean.ids, pair.corrupted.ids)) == 1
            else:
                assert len({*changed, io, s1}) == 5
    only = build("ioi", TOKENIZER, n=10, orders=("BABA",))
    assert all(pair.clean.spans["S1"] < pair.clean.spans["IO"] for pair in only.pairs)
    with pytest.raises(ValueError, match="corruption"):
        build("ioi", TOKENIZER, corruption="none")
    with pytest.raises(ValueError, match="orders"):
        build("ioi", TOKENIZER, orders=("AB",))
    with pytest.raises(ValueError, match="names IO or S, got 'X'"):
        build("ioi", TOKENIZER, extra="X")


def test_an_extra_sentence_names_one_of_the_two_once_more():
    for extra, other in (("IO", "S1"), ("S", "IO")):
        for pair in build("ioi", TOKENIZER, n=40, extra=extra, corruption="abc").pairs:
            own = word(pair, "IO" if extra == "IO" else "S1")
            assert word(pair, "X") == own != word(pair, other)
            assert pair.clean.text.count(own) == (2 if extra == "IO" else 3)
            assert word(pair, "X", corrupted=True) == word(pair, "IO" if extra == "IO" else "S1", corrupted=True)
            before, after = pair.clean.text.split(f"{own} {_words(pair)}.")
            assert before.rstrip()[-1] in ".," and word(pair, "S1") in after  # it stands between the clauses


def _words(pair):
    return next(words for words in EXTRA if words in pair.clean.text)


def test_the_eight_prompts():
    drawn = eight(TOKENIZER)
    texts, answers = drawn.texts, [TOKENIZER.decode(pair.correct) for pair in drawn.pairs]
    assert texts[0] == "When John and Mary went to the shops, John gave the bag to" and answers[0] == " Mary"
    assert texts[7] == "After Martin and Amy went to the park, Martin gave a drink to" and answers[7] == " Amy"
    (batch,) = drawn.batches()
    for i in range(0, 8, 2):  # each is the corruption of its partner
        assert batch.clean[i].tolist() == batch.corrupted[i + 1].tolist()
        assert batch.clean[i + 1].tolist() == batch.corrupted[i].tolist()
    assert batch.positions["S2"].tolist() == [10] * 8 and batch.positions["END"].tolist() == [14] * 8


def test_years():
    for pair in DRAWN["greater_than"].pairs:
        year, century = int(word(pair, "YY")), word(pair, "XX")
        assert word(pair, "XX2") == century and word(pair, "YY", corrupted=True) == "01"
        endings = [f"{y:02d}" for y in range(100)]
        assert TOKENIZER.strings(pair.correct) == endings[year + 1 :] and TOKENIZER.strings(pair.wrong) == endings[: year + 1]


def test_pronouns_capitals_docstrings():
    for index, pair in enumerate(DRAWN["pronoun"].pairs):
        assert TOKENIZER.strings([*pair.correct, *pair.wrong]) == ([" he", " she"] if index % 2 == 0 else [" she", " he"])
        assert word(pair, "NAME") != word(pair, "NAME", corrupted=True)
    for pair in DRAWN["capitals"].pairs:
        clean, corrupted = (word(pair, "SUBJECT", corrupted=c).strip() for c in (False, True))
        assert (
            TOKENIZER.decode(pair.correct) == f" {CAPITALS[clean]}"
            and TOKENIZER.decode(pair.wrong) == f" {CAPITALS[corrupted]}"
        )
    assert any(end - start > 1 for pair in DRAWN["capitals"].pairs for start, end in [pair.clean.spans["SUBJECT"]])
    for corruption in ("random_random", "random_definition"):
        for pair in build("docstring", TOKENIZER, n=10, corruption=corruption).pairs:
            own = [word(pair, f"{letter}_DEF") for letter in "ABCD"]
            assert [word(pair, "A_DOC"), word(pair, "B_DOC")] == own[:2]
            assert TOKENIZER.strings(pair.correct) == own[2:3] and TOKENIZER.strings(pair.wrong) == [own[0], own[1], own[3]]
            assert not set(own) & {word(pair, f"{letter}_DEF", corrupted=True) for letter in "ABCD"}
            kept = word(pair, "A_DOC", corrupted=True) == own[0]
            assert kept == (corruption == "random_definition")


@pytest.mark.parametrize("of", ["tokens", "words"])
def test_induction_repeats(of):
    for pair in build("induction", TOKENIZER, n=20, length=6, of=of).pairs:
        a, b = pair.clean.spans["A"][0], pair.clean.spans["B"][0]
        clean, corrupted = pair.clean.ids, pair.corrupted.ids
        assert b == a + 1 and clean[-1] == clean[a] == corrupted[-1] and clean[6:] == clean[: a + 1]
        assert pair.correct == (clean[b],) and pair.wrong == (corrupted[b],) and len(set(clean[:6])) == 6
        assert [i for i in range(len(clean)) if clean[i] != corrupted[i]] == [b]
        if of == "words":
            assert TOKENIZER.encode(pair.clean.text) == list(clean)
    with pytest.raises(ValueError, match="Induction"):
        build("induction", TOKENIZER, length=2)
    with pytest.raises(ValueError, match="different ones"):
        build("induction", TOKENIZER, of="words", length=500)


def test_a_small_set_says_how_many_it_has():
    pair = DRAWN["ioi"].pairs[0]
    with pytest.raises(ValueError, match="only 1 different"):
        draw(lambda random, index: pair, 2, 0, "constant")
    with pytest.raises(ValueError, match="at least one"):
        build("ioi", TOKENIZER, n=0)
    with pytest.raises(ValueError, match="No prompt set"):
        build("riddles", TOKENIZER)
    doubled = dataclasses.replace(DRAWN["ioi"], pairs=(pair, pair))
    assert doubled.n_unique == 1 and len(doubled) == 2


def test_words_of_several_tokens_are_found_out():
    assert set(single_tokens(TOKENIZER, ("Mary", "Zachary", "John"))) == {"Mary", "John"}
    with pytest.raises(ValueError, match="Only 1 of 2 words"):
        single_tokens(TOKENIZER, ("Mary", "Zachary"))
    prompt = place(TOKENIZER, "So {NAME} slept", {"NAME": "Zachary"})
    assert prompt.spans["NAME"] == (1, 3) and prompt.spans["END"] == (3, 4)
    with pytest.raises(ValueError, match="inside a token"):
        place(TOKENIZER, "for{NAME}", {"NAME": "ward"})
    short, long = (place(TOKENIZER, "So {NAME} slept", {"NAME": name}) for name in ("Mary", "Zachary"))
    with pytest.raises(ValueError, match="3 and 4 tokens"):
        PromptPair(short, long, (1,), (2,), "")


LOGITS = torch.randn(2, 30, generator=torch.Generator().manual_seed(0))


def by_hand(name: str, logits: list[float], correct: list[int], wrong: list[int]) -> float:
    total = sum(math.exp(x) for x in logits)
    p = [math.exp(x) / total for x in logits]
    right = sum(logits[i] for i in correct) / len(correct)
    return {
        "logit_difference": right - sum(logits[i] for i in wrong) / len(wrong),
        "best_logit_difference": right - max(logits[i] for i in wrong),
        "probability_difference": sum(p[i] for i in correct) - sum(p[i] for i in wrong),
        "probability": sum(p[i] for i in correct),
        "log_probability": math.log(sum(p[i] for i in correct)),
    }[name]


@pytest.mark.parametrize("name", prompt_sets.METRICS)
def test_metrics_by_hand(name):
    correct, wrong = [[3], [4, 5, 6]], [[7, 8], [0]]
    metric = answer_metric(name, correct, wrong)
    expected = [by_hand(name, row, c, w) for row, c, w in zip(LOGITS.tolist(), correct, wrong)]
    assert metric(LOGITS).tolist() == pytest.approx(expected, abs=1e-5)
    second = metric.of(1)(LOGITS[1].expand(4, -1))  # one prompt, any number of its variants
    assert second.tolist() == pytest.approx([expected[1]] * 4, abs=1e-5)
    with pytest.raises(ValueError, match="2 prompts"):
        metric(LOGITS[:1].expand(3, -1))


def test_a_logit_difference_is_a_direction():
    model = random_model(tiny_config(d_vocab=30, d_model=16, n_heads=2))
    normalised = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    metric = answer_metric("logit_difference", [[3], [4, 5]], [[7, 8], [0]])
    direct = (metric.direction(model.W_U) * normalised).sum(-1)
    assert torch.allclose(direct, metric(normalised @ model.W_U), atol=1e-5)
    with pytest.raises(ValueError, match="is a direction"):
        answer_metric("probability", [[3]], [[7]]).direction(model.W_U)


@pytest.mark.parametrize(
    ("name", "correct", "wrong", "said"), [("x", [[1]], [[2]], "No metric"), ("probability", [], [], "0 and 0"),
                                           ("probability", [[1], []], [[2], [3]], "Prompt 1 has no answers")]
)  # fmt: skip
def test_metrics_that_mean_nothing(name, correct, wrong, said):
    with pytest.raises(ValueError, match=said):
        answer_metric(name, correct, wrong)


def test_templates_part_batches():
    drawn = build("ioi", TOKENIZER, n=40, seed=3)
    for batch in drawn.batches(by_template=True):
        assert len({pair.template for pair in batch.pairs}) == 1
        assert all(len(set(positions.tolist())) == 1 for positions in batch.positions.values())
    assert sum(len(batch) for batch in drawn.batches(by_template=True)) == 40


def test_length_match_of_equal_lengths():
    aligned = length_match(TOKENIZER, "When John went home", "When Mary went home")
    assert aligned.matches and [row.same for row in aligned.rows] == [True, False, True, True]
    assert aligned.advice == "Both prompts have 4 tokens and differ at 1 of them, so they can be patched position by position."
    same = length_match(TOKENIZER, "a b", "a b")
    assert same.matches and not same.changes and "the same 2 tokens" in same.advice


def test_length_match_finds_the_longer_word():
    aligned = length_match(TOKENIZER, "When Zachary went home", "When Mary went home")
    assert not aligned.matches and (aligned.n_clean, aligned.n_corrupted) == (5, 4)
    assert [(row.clean, row.corrupted) for row in aligned.rows] == [
        ("When", "When"), (" Zach", " Mary"), ("ary", None), (" went", " went"), (" home", " home")
    ]  # fmt: skip
    assert "clean prompt has 5 tokens, 1 token more" in aligned.advice and "' Zachary' (2 tokens)" in aligned.advice
    back = length_match(TOKENIZER, "When Mary went home", "When Zachary went home")
    assert "corrupted prompt has 5 tokens" in back.advice and aligned.advice.count(".") == 1
    assert [row.clean_position for row in back.rows] == [0, 1, None, 2, 3]


def test_length_match_warns_of_a_shift_within_equal_lengths():
    aligned = length_match(TOKENIZER, "the old dog ran home", "the dog ran home now")
    assert aligned.matches and aligned.shifted == 3
    assert all(row.clean_position == row.corrupted_position for row in aligned.rows)
    assert "other positions" in aligned.advice
