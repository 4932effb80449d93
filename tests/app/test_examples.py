"""What the example chips promise about the embedded model is what it does."""

import pytest

from app.examples import EMBEDDED, RELEASED
from app.text import EN
from gpt2_core import generate, load
from interp import attention, trace
from interp.predictions import next_tokens


@pytest.fixture(scope="module")
def model():
    return load("glass-7m")


def best(model, name, k):
    example = next(e for e in EMBEDDED if e.name == name)
    return [model.tokenizer.decode([i]) for i in next_tokens(trace(model, example.prompt), k=k).ids.tolist()]


def test_each_example_has_its_words():
    for example in EMBEDDED + RELEASED:
        assert f"examples.{example.name}" in EN and f"examples.{example.name}_look" in EN
    assert len(EMBEDDED) == len(RELEASED) == 6


def test_grammar(model):
    assert {" man", " gentleman", " lady"} <= set(best(model, "clock", 5))
    assert {" been", " seen", " heard"} <= set(best(model, "quotation", 5))
    assert best(model, "door", 1) == [" room"]


def test_roman_numerals(model):
    assert all(set(token.strip()) <= set("IVXLCDM") for token in best(model, "chapter", 5))


def test_previous_token_head(model):
    example = next(e for e in EMBEDDED if e.name == "previous")
    pattern = attention.patterns(trace(model, example.prompt)).values[example.layer, example.head]
    back_one = pattern.diagonal(-1).mean()
    assert back_one > 2 * pattern.diagonal(-2).mean() and back_one > 2 * pattern.diagonal(-3).mean()


def test_loop(model):
    example = next(e for e in EMBEDDED if e.name == "loop")
    text = generate(model, example.prompt, max_new_tokens=40, bos=True).text
    assert len(set(text.split())) < 12
