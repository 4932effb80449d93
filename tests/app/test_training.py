"""The training tab: which film is shown, against the films that lie there; its numbers and words; the charts of the family."""

import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic_film import folders_of, synthetic_film

from app.figures.training import Course, family_losses, loss_by_size
from app.service import training as service
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import training as tab
from app.tabs import training_pictures as pictures
from app.text import words
from interp.film import COPY_GAIN, ROLES

NAME = "glass-7m"
T = words("en")


@pytest.fixture(scope="module")
def film():
    return synthetic_film()


@pytest.fixture
def store(film, tmp_path, monkeypatch):
    """A store whose embedded model has a film, and nothing else."""
    folders = folders_of([film], tmp_path)
    monkeypatch.setattr(service, "film_folder", lambda entry: folders.get(entry.name))
    return ModelStore(Settings(device="cpu"))


def view_of(store, **changes) -> View:
    return View(store, PageState(**{"model": NAME, "prompt": "a", "tab": "training", **changes}))


# ---- which film, which moment ---------------------------------------------------------------------------------------------------


def test_the_film_beside_a_model_is_what_was_written(store, film):
    found = service.film_of(store, NAME)
    assert found.steps == film.steps and found.samples == film.samples
    np.testing.assert_array_equal(found.induction, film.induction)
    np.testing.assert_array_equal(found.prompts[0].patterns, film.prompts[0].patterns)
    assert service.film_of(store, NAME) is found


def test_a_film_lies_in_the_folder_of_the_weights(film, tmp_path, monkeypatch):
    entry = ModelStore(Settings(device="cpu")).entry(NAME)
    monkeypatch.setattr(service, "locate", lambda name: SimpleNamespace(folder=tmp_path / name))
    assert service.film_folder(entry) is None
    folders_of([film], tmp_path)
    assert service.film_folder(entry) == tmp_path / NAME
    assert service.film_folder(replace(entry, state="downloadable")) is None
    monkeypatch.setattr(service, "locate", lambda name: None)
    assert service.film_folder(entry) is None


def test_the_pages_model_is_watched_unless_another_is_asked_for(store):
    assert service.chosen(view_of(store)) == NAME
    assert service.chosen(view_of(store, film="other")) == "other"
    state = PageState(model="gpt2", frame=3)
    assert service.choose(store, state, NAME) == state.but(film=NAME, frame=None)
    assert service.choose(store, PageState(film="x", frame=3), NAME).film == ""
    with pytest.raises(ValueError, match="no film of the training of gpt2; films there are: glass-7m"):
        service.choose(store, state, "gpt2")


def test_a_model_without_a_film(store, monkeypatch):
    monkeypatch.setattr(service, "film_folder", lambda entry: None)
    view = view_of(store)
    assert service.chosen(view) is None and service.with_film(store) == [] and service.courses(store) == []
    with pytest.raises(ValueError, match="films there are: none yet"):
        service.film_of(store, NAME)


def test_a_film_of_another_shape_is_refused(store, tmp_path, monkeypatch):
    folders = folders_of([synthetic_film(layers=2, heads=1)], tmp_path / "other")
    monkeypatch.setattr(service, "film_folder", lambda entry: folders.get(entry.name))
    with pytest.raises(ValueError, match="has 2 x 1 heads and the model 4 x 4; make the film again"):
        service.film_of(store, NAME)


@pytest.mark.parametrize(("asked", "shown"), [(None, 39), (0, 0), (17, 17), (99, 39)])
def test_the_frame_is_one_that_the_film_has(film, asked, shown):
    assert service.frame(PageState(frame=asked), film) == shown


def test_the_head_is_one_that_the_film_has(film):
    assert service.head(PageState(layer=11, head=2), film) == (3, 2)
    assert service.head(PageState(layer=1, head=9), film) == (1, 3)


def test_another_model_brings_its_own_film():
    state = PageState(model="a", film="b", frame=7)
    assert state.but(layer=2) == replace(state, layer=2)
    assert state.but(model="a").film == "b"
    assert (state.but(model="c").film, state.but(model="c").frame) == ("", None)
    assert state.but(model="c", frame=3).frame == 3


def test_what_is_settled_on_comes_into_the_state():
    assert tab._at(PageState(), SimpleNamespace(frame=12)).frame == 12
    assert tab._head(PageState(), SimpleNamespace(layer=2, head=1)) == PageState(layer=2, head=1)


# ---- numbers and words ----------------------------------------------------------------------------------------------------------


def test_courses_begin_after_the_start_and_come_by_size(film):
    course = service.course(film, NAME)
    assert course.tokens == film.tokens[1:] and course.losses == film.validation_loss[1:]
    assert course.final_loss == film.validation_loss[-1]
    assert service.course(synthetic_film(losses=False), NAME) is None
    assert service.course(synthetic_film(tokens=False), NAME) is None


@pytest.mark.parametrize(("frames", "layers", "heads"), [(1, 2, 1), (3, 8, 8), (40, 4, 4)])
def test_a_reel_is_the_film(store, frames, layers, heads):
    film = synthetic_film(layers=layers, heads=heads, frames=frames)
    tokenizer = view_of(store).model.tokenizer
    reel = pictures.reel(T, film, tokenizer)
    assert (reel.steps, reel.tokens, reel.bump, reel.threshold) == (film.steps, film.tokens, film.induction_bump, COPY_GAIN)
    assert all(reel.curves[name] is getattr(film, name) for name in pictures.CURVES)
    assert all(reel.scores[role] is getattr(film, role) for role in ROLES)
    assert [p.label for p in reel.prompts] == ["a name again", "random tokens, twice"]
    for shown, prompt in zip(reel.prompts, film.prompts):
        assert shown.tokens == [string.replace(" ", "·") for string in prompt.strings]
        for row, strings, chances in zip(shown.top, prompt.top_strings, prompt.top_probs):
            assert [word for word, _ in row] == [s.replace(" ", "·").replace("\n", "↵") for s in strings]
            np.testing.assert_array_equal(np.float32([p for _, p in row]), chances)
    assert pictures.reel(T, synthetic_film(tokens=False), tokenizer).tokens is None


def test_tokens_are_printed_as_everywhere_on_the_page(store):
    tokenizer = view_of(store).model.tokenizer
    ids = [0, 198, 220, 262, 1849, 50256]  # "!", a newline, a space, " the", a space that does not break, the end of a text
    strings = tokenizer.strings(ids)
    assert [pictures.printed(tokenizer, s) for s in strings] == tokenizer.shown(ids)


@pytest.mark.parametrize(
    ("n", "en", "ko"),
    [
        (512, "512", "512"),
        (24_576, "24.6 thousand", "2.46만"),
        (24_576_000, "24.6 million", "2,460만"),
        (1.5e9, "1.5 billion", "15억"),
    ],
)
def test_counts_are_said_in_words(n, en, ko):
    assert pictures.count_text(words("en"), int(n)) == en
    assert pictures.count_text(words("ko"), int(n)) == ko


def test_the_head_of_the_film_says_whose_it_is(store, film):
    said = pictures.about(T, view_of(store), film, NAME)["what"]
    assert "7 million parameters" in said and "24.6 million tokens" in said and "40 moments" in said
    assert "another model" not in said
    other = view_of(store, film="x")
    assert f"another model than {NAME}" in pictures.about(T, other, film, "x")["what"]
    assert "tokens read" not in pictures.about(T, other, synthetic_film(tokens=False), "x")["what"]


@pytest.mark.parametrize(
    ("label", "state", "sentence"),
    [
        (NAME, "embedded", "No film lies beside m yet"),
        ("117M", "cached", "OpenAI published m"),
        ("m", "cached", "the folder of m"),
    ],
)
def test_a_model_without_a_film_is_told_why(label, state, sentence):
    view = SimpleNamespace(entry=SimpleNamespace(name="m", label=label, state=state))
    alone, with_others = (pictures.no_film(T, view, others)["what"] for others in (False, True))
    assert sentence in alone and sentence in with_others
    assert "interp.dynamics" in alone and ("interp.dynamics" in with_others) == ("folder" in sentence)


# ---- charts ---------------------------------------------------------------------------------------------------------------------

COURSES = [Course("s", 2_000_000, [1000, 50_000], [8.0, 4.5]), Course("l", 20_000_000, [1000, 80_000], [8.1, 3.2])]
LABELS = {name: f"§{name}" for name in ("tokens", "loss", "perplexity", "params")} | {"description": "{n} {best} {loss}"}


def test_losses_are_drawn_as_given():
    figure = family_losses(COURSES, LABELS, {"l"})
    small, large = figure.data
    assert list(small.x) == [1000, 50_000] and list(large.y) == [8.1, 3.2]
    assert large.line.width > small.line.width and large.line.dash != small.line.dash and large.line.color != small.line.color
    assert large.customdata[-1] == f"{math.exp(3.2):.1f}"
    assert figure.layout.xaxis.type == "log" and list(figure.layout.xaxis.ticktext) == ["1k", "10k"]
    assert figure.description == "2 l 3.20"


def test_final_losses_are_drawn_over_the_size():
    figure = loss_by_size(COURSES, LABELS, {"s"})
    (points,) = figure.data
    assert list(points.x) == [2_000_000, 20_000_000] and list(points.y) == [4.5, 3.2]
    assert list(points.text) == ["s", "l"] and points.marker.size[0] > points.marker.size[1]
    low, high = (10**bound for bound in figure.layout.yaxis.range)
    assert low < 3.2 and high > 4.5 and all(low <= tick <= high for tick in figure.layout.yaxis.tickvals)
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
    one = loss_by_size(COURSES[:1], LABELS)
    assert list(one.data[0].y) == [4.5] and one.layout.yaxis.tickvals


@pytest.mark.parametrize("draw", [family_losses, loss_by_size])
def test_charts_carry_only_the_callers_words_and_their_export(draw):
    sent = json.loads(draw(COURSES, LABELS).to_json())
    titles = [axis["title"]["text"] for name, axis in sent["layout"].items() if re.match(r"[xy]axis", name)]
    assert len(titles) == 2 and all(title.startswith("§") for title in titles)
    assert sent["config"]["toImageButtonOptions"]["filename"].startswith("glassbox-training")


@pytest.mark.parametrize("draw", [family_losses, loss_by_size])
@pytest.mark.parametrize(
    ("courses", "message"),
    [
        ([], "courses 0"),
        ([Course("s", 1, [], [])], "at least one"),
        ([Course("s", 1, [1, 2], [3.0])], "tokens 2, losses 1"),
        ([Course("s", 1, [0], [3.0])], "zero or less"),
        ([Course("s", 1, [1], [0.0])], "zero or less"),
    ],
)
def test_a_training_that_cannot_be_is_refused(draw, courses, message):
    with pytest.raises(ValueError, match=message):
        draw(courses, LABELS)
