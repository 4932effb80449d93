"""The film of a training: what travels to the browser is what was filmed."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from synthetic_film import synthetic_film

from app.components.film import TEXT_KEYS, FilmedPrompt, Reel, continued, film_value, packed_patterns
from app.components.packing import unpack
from app.tabs import training_pictures as pictures
from app.text import words
from gpt2_core.tokenizer import Tokenizer
from interp.film import ROLES

FILM = synthetic_film()
TEXT = words("en").section("film")


def reel(film=FILM) -> Reel:
    return pictures.reel(words("en"), film, Tokenizer.load())


def value(film=FILM, **place):
    return film_value(reel(film), text=TEXT, lang="en", **place)


def pixels(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


@pytest.mark.parametrize(("frames", "layers", "heads"), [(1, 2, 1), (5, 8, 8), (40, 4, 4)])
def test_every_weight_is_where_the_script_looks_for_it(frames, layers, heads):
    film = synthetic_film(frames=frames, layers=layers, heads=heads)
    for sent, prompt in zip(value(film)["reel"]["prompts"], film.prompts):
        sheet, n = pixels(sent["png"]), len(prompt.strings)
        pairs = n * (n + 1) // 2
        assert sheet.shape == (layers * frames, heads * pairs) and sheet.dtype == np.uint8
        for f, layer, h, q, k in np.ndindex(prompt.patterns.shape):
            if k <= q:
                assert sheet[layer * frames + f, h * pairs + q * (q + 1) // 2 + k] == prompt.patterns[f, layer, h, q, k]


def test_scores_losses_and_predictions_travel_unchanged():
    sent = value()["reel"]
    np.testing.assert_array_equal(unpack(sent["scores"]), np.stack([getattr(FILM, role) for role in ROLES]))
    assert sent["roles"] == list(ROLES) and sent["chance"] == [FILM.chance[role] for role in ROLES]
    for name, curve in sent["curves"].items():
        assert curve == list(getattr(FILM, name))
    assert (sent["steps"], sent["tokens"], sent["bump"]) == (list(FILM.steps), list(FILM.tokens), FILM.induction_bump)
    for shown, prompt in zip(sent["prompts"], FILM.prompts):
        sent_p = np.array([[p for _, p in row] for row in shown["top"]])
        np.testing.assert_allclose(sent_p, prompt.top_probs, rtol=1e-5)
        assert sent_p.max() <= shown["scale"]


def test_a_film_is_small_enough_to_be_sent_at_once():
    big = value(synthetic_film(layers=8, heads=8))
    assert len(json.dumps(big)) < 2e6  # noise compresses worse than attention does


def test_the_place_changes_the_value_but_not_the_reel():
    a, b = value(frame=3), value(frame=4, layer=2)
    assert a["reel"]["id"] == b["reel"]["id"] and a["id"] != b["id"] and (b["frame"], b["layer"], b["head"]) == (4, 2, 0)
    empty = film_value(None, text=TEXT, lang="en")
    assert empty["reel"] is None and empty["id"] != a["id"]


def test_a_sample_goes_on_where_the_prompt_ends():
    assert continued("The old man", " said\nit ") == [[" said", ""], ["\n", "↵"], ["it", ""], [" ", "·"]]
    assert continued("", "a") == [["a", ""]] and continued("a ", "") == []
    assert "".join(text for text, _ in continued("x \n", "  y\n\n z")) == "  y\n\n z"


WRONG = [
    (lambda: value(frame=40), "frames 0 to 39"),
    (lambda: value(layer=4), "layers 0 to 3"),
    (lambda: value(head=-1), "got head -1"),
    (lambda: film_value(Reel(**vars(reel()) | {"samples": ["one"]}), text=TEXT, lang="en"), "samples 1"),
    (lambda: film_value(with_prompt(np.zeros((40, 4, 4, 2, 3), np.uint8)), text=TEXT, lang="en"), "query and key last"),
    (lambda: film_value(with_prompt(np.zeros((40, 4, 4, 2, 2))), text=TEXT, lang="en"), "expected uint8"),
    (lambda: film_value(with_prompt(top=[[("a", 2.0)]] * 40), text=TEXT, lang="en"), "between 0 and 1"),
    (lambda: film_value(with_prompt(top=[[("a", 0.5)]]), text=TEXT, lang="en"), "predictions for 1 frames of 40"),
]


def with_prompt(patterns=None, top=None) -> Reel:
    patterns = np.zeros((40, 4, 4, 2, 2), np.uint8) if patterns is None else patterns
    return Reel(**vars(reel()) | {"prompts": [FilmedPrompt("p", ["a", "b"], patterns, top or [[("a", 0.5)]] * 40)]})


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_sentences_are_all_there():
    with pytest.raises(KeyError, match="lacks play"):
        film_value(None, text={key: "" for key in TEXT_KEYS if key != "play"}, lang="en")
    assert packed_patterns(FILM.prompts[0].patterns).flags.c_contiguous
