"""A copied address gives the same view back, whatever it holds; an address that cannot be is one sentence."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.state import LANGUAGES, MAX_PROMPT, TABS, PageState
from interp.edits import Edit, Plan

# The checker of annotations draws at random which element of a tuple it looks at, also while an example is being built.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

layers, heads, places = st.integers(0, 47), st.integers(0, 24), st.integers(0, 1023)
positions = st.none() | st.lists(places, min_size=1, max_size=3).map(tuple)
numbers = st.floats(-1e5, 1e5)
texts = st.text(min_size=1, max_size=20)
edits = st.one_of(
    st.builds(Edit.zero, st.sampled_from(["z", "pattern", "q"]), layers, heads, positions),
    st.builds(Edit.scale, st.just("mlp_out"), layers, value=numbers, positions=positions),
    st.builds(Edit.mean, st.just("z"), layers, heads, text=texts),
    st.builds(Edit.patch, st.just("resid_pre"), layers, text=texts, positions=positions),
    st.builds(Edit.add, st.just("resid_post"), layers, text=texts, minus=st.none() | texts, value=numbers),
    st.builds(Edit.set_cell, layers, heads, st.integers(5, 9), st.integers(0, 5), st.floats(0, 1), st.booleans()),
)
states = st.builds(
    PageState,
    model=st.sampled_from(["glass-7m", "gpt2", "gpt2-xl"]),
    prompt=st.text(max_size=60),
    bos=st.booleans(),
    plan=st.lists(edits, max_size=4).map(lambda items: Plan(tuple(items))),
    position=st.none() | places,
    layer=layers,
    head=heads,
    film=st.sampled_from(["", "glass-7m"]),
    frame=st.none() | st.integers(0, 999),
    settings=st.dictionaries(
        st.from_regex(r"[a-z_]{1,30}\.[a-z0-9_]{1,30}", fullmatch=True), st.text(max_size=30), max_size=5
    ).map(lambda chosen: tuple(chosen.items())),
    tab=st.sampled_from(TABS),
    lang=st.sampled_from(LANGUAGES),
)


def read(query, default=PageState()):  # noqa: B008 - frozen
    return PageState.from_query(dict(parse_qsl(query, keep_blank_values=True)), default)


@settings(max_examples=150, deadline=None)
@given(states)
def test_an_address_gives_the_same_state_back(state):
    assert read(state.to_query()) == state


@settings(max_examples=30, deadline=None)
@given(states.filter(lambda state: state.prompt))
def test_an_address_wins_over_the_example_that_the_page_opens_on(state):
    default = PageState(prompt="an example", lang=state.lang)
    assert read(state.to_query(), default) == state


def test_the_shortest_address_is_language_prompt_and_model():
    assert PageState().to_query() == "lang=en&prompt=&model=glass-7m"
    default = PageState(prompt="an example", lang="ko")
    assert read("", default) == default
    assert read("prompt=", default).prompt == ""


@pytest.mark.parametrize(
    "query, sentence",
    [
        ("tab=cellar", "There is no tab 'cellar'"),
        ("lang=tlh", "There is no language 'tlh'"),
        ("position=-1", "position='-1'; expected a whole number"),
        ("layer=two", "layer='two'; expected a whole number"),
        ("frame=last", "frame='last'; expected a whole number"),
        ("head=%D9%A3", "expected a whole number"),  # an Arabic digit
        ("position=9999999", "expected a whole number"),
        ("plan=%7B", "not JSON"),
        ("plan=%5B%7B%22op%22%3A%22explode%22%7D%5D", "lacks"),
        (f"prompt={'x' * (MAX_PROMPT + 1)}", "20,001 characters"),
        ("plan=" + "%5B" * 3000, "not JSON"),
    ],
)
def test_an_address_that_cannot_be_is_one_sentence(query, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        read(query)
    assert "\n" not in str(caught.value)


def test_a_state_is_changed_by_making_another():
    state = PageState(prompt="a")
    assert state.but(layer=2).layer == 2 and state.layer == 0
    with pytest.raises(ValueError, match="layer counts from 0"):
        state.but(layer=-1)


def test_half_a_surrogate_pair_does_not_break_the_address():
    assert PageState(prompt="a\ud800b").prompt == "a\ufffdb"
    assert "%EF%BF%BD" in PageState(prompt="a\ud800b").to_query()


def test_an_empty_prompt_and_the_language_are_kept():
    default = PageState(prompt="an example", lang="ko")
    again = PageState.from_query({"prompt": "", "lang": "en"}, default)
    assert (again.prompt, again.lang) == ("", "en")
