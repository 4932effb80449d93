"""What the example chips promise about the embedded models is what each of them does."""

import pytest

from app.examples import EMBEDDED, RELEASED
from app.service.attention import best_head
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.text import EN
from gpt2_core import SIZES, generate, load
from interp import attention, trace
from interp.predictions import next_tokens

NAMES = [size.name for size in SIZES.values() if size.embedded]


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    return load(request.param)


def example(name):
    return next(e for e in EMBEDDED if e.name == name)


def best(model, name, k):
    return [model.tokenizer.decode([i]) for i in next_tokens(trace(model, example(name).prompt), k=k).ids.tolist()]


def pattern_of_the_best_head(model, name):
    """The head that the chip opens, on the chip's prompt: [query key]."""
    view = View(ModelStore(Settings()), PageState(model=model.source.removeprefix("embedded "), prompt=example(name).prompt))
    layer, head = best_head(view, example(name).role)
    return attention.patterns(trace(model, example(name).prompt)).values[layer, head]


def test_each_example_has_its_words():
    for e in EMBEDDED + RELEASED:
        assert f"examples.{e.name}" in EN and f"examples.{e.name}_look" in EN
    assert len(EMBEDDED) == len(RELEASED) == 6


def test_first_guesses(model):
    assert best(model, "clock", 1) == [" man"] and best(model, "said", 1) == [" said"]


def test_parts_of_the_body(model):
    assert set(best(model, "hand", 3)) <= {" hand", " head", " eyes", " face"}


def test_previous_token_head(model):
    pattern = pattern_of_the_best_head(model, "previous")
    assert pattern.diagonal(-1).mean() > 0.5


def test_a_name_is_copied(model):
    assert best(model, "copy", 1) == ["ley"]
    pattern, prompt = pattern_of_the_best_head(model, "copy"), trace(model, example("copy").prompt)
    assert [model.tokenizer.decode([i]) for i in prompt.tokens][pattern[-1].argmax()] == "ley" and pattern[-1].max() > 0.5


def test_loop(model):
    text = generate(model, example("loop").prompt, max_new_tokens=40, bos=True).text
    assert len(set(text.split())) < 12
