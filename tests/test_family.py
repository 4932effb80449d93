"""What the embedded models promise, measured on the weights that are shipped: bigger is better, and the bigger ones copy.

`data/held_out.txt` holds four passages of books that no embedded model was trained on ("The Musgrave Ritual", "The Mill on the
Floss", "The Portrait of a Lady", "The House of Pride"; all in the public domain).
"""

import json
import math
from pathlib import Path

import pytest

from gpt2_core import SIZES, load
from gpt2_core.checkpoints import locate
from gpt2_core.scoring import score
from interp import heads
from interp.film_store import read
from interp.publish import check_name

ROOT = Path(__file__).resolve().parents[1]
FAMILY = sorted((size for size in SIZES.values() if size.embedded), key=lambda size: size.config.n_params)
NAMES = [size.name for size in FAMILY]
PASSAGES = (ROOT / "tests/data/held_out.txt").read_text(encoding="utf-8").split("\n\n----\n\n")
MOST_BYTES = 60_000_000


def folder(name: str) -> Path:
    return locate(name).folder


def training(name: str) -> dict:
    return json.loads((folder(name) / "training.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def models():
    return {name: load(name) for name in NAMES}


def test_three_or_more_sizes_each_about_twice_the_one_before():
    assert len(FAMILY) >= 3
    counts = [size.config.n_params for size in FAMILY]
    assert all(1.8 < larger / smaller < 2.6 for smaller, larger in zip(counts, counts[1:]))
    for size in FAMILY:
        check_name(size.name, size.config.n_params)


def test_all_of_them_are_small():
    files = [path for path in (ROOT / "assets/models").rglob("*") if path.is_file()]
    assert {path.relative_to(ROOT / "assets/models").parts[0] for path in files} == set(NAMES)
    assert sum(path.stat().st_size for path in files) < MOST_BYTES


def test_the_loss_on_unseen_books_falls_with_size(models):
    losses = [
        sum(math.log(score(model, text, bos=True).perplexity) for text in PASSAGES) / len(PASSAGES) for model in models.values()
    ]
    print(dict(zip(NAMES, losses)))
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 0.1
    said = [training(name)["validation_loss"] for name in NAMES]
    assert said == sorted(said, reverse=True)
    # other passages, so not the same number; but of the same model
    assert all(abs(measured - written) < 0.5 for measured, written in zip(losses, said))


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_larger_ones_have_an_induction_head(models, name):
    measured = [heads.scores(models[name], seed=seed) for seed in (11, 12)]
    assert min(s.induction.max().item() for s in measured) > 0.4
    assert min(s.gain for s in measured) > 2


@pytest.mark.parametrize("name", NAMES)
def test_bits_per_byte_follow_from_nats_per_token(name):
    t = training(name)
    data = t["data"]
    bits = t["validation_loss"] / math.log(2) * data["validation_tokens"] / data["validation_bytes"]
    assert t["bits_per_byte"] == pytest.approx(bits)


@pytest.mark.parametrize("name", NAMES)
def test_the_film_ends_with_the_model_that_is_shipped(models, name):
    film, size = read(folder(name)), SIZES[name]
    assert film.parameters == size.config.n_params and film.frames >= 30 and film.steps[0] == 0
    assert film.weights_sha256[-1] == size.sha256 == models[name].weights_sha256
    assert film.steps[-1] == training(name)["steps"]
    measured = heads.scores(
        models[name], seed=film.measurement.seeds[0], batch=film.measurement.sequences, length=film.measurement.length
    )
    assert abs(measured.induction.numpy() - film.induction[-1]).max() < 0.1  # the film's is a mean over seeds


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_the_model_is(name):
    card, t = (folder(name) / "README.md").read_text(encoding="utf-8"), training(name)
    assert f"{SIZES[name].config.n_params:,}" in card and SIZES[name].sha256 in card
    assert f"{t['validation_loss']:.3f} nats per token, {t['bits_per_byte']:.3f} bits per byte" in card
    assert "github.com/mlschmitt/classic-books-markdown" in card
