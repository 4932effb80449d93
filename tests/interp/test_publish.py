"""The published folder: every number of the card against the same measured here, its sentences for models with and without
induction, the same bytes twice, and what is refused."""

import hashlib
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from films import tiny_model, tiny_run, training

from gpt2_core import generate, load
from gpt2_core.checkpoints import save_pretrained
from gpt2_core.train.batches import repetition_rows
from gpt2_core.train.recipe import from_dict
from interp import card, heads
from interp.film import ROLES, Measurement
from interp.film_store import read
from interp.publish import FILES, check_name, main, publish
from interp.trained import Trained

SAMPLING = card.Sampling(prompts=("The old man", ""), seeds=(0, 1), tokens=6)
MEASUREMENT = Measurement(seeds=(3, 5), sequences=2, length=6, sample_tokens=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("publish") / "some-run", name="recipe-name")


def published(run, out):
    return publish(run, out, sampling=SAMPLING, measurement=MEASUREMENT)


@pytest.fixture(scope="module")
def done(run, tmp_path_factory):
    return published(run, tmp_path_factory.mktemp("assets") / "glass-1m")


@pytest.fixture(scope="module")
def text(done):
    return (done.folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def row(text):
    """The second cell of the table row that begins with a name."""
    return lambda name: re.search(rf"^\| {re.escape(name)} \| (.*) \|$", text, re.MULTILINE)[1]


def test_the_folder_is_a_model_with_its_film(done):
    assert sorted(path.name for path in done.folder.iterdir()) == sorted(FILES)
    assert done.bytes == {path.name: path.stat().st_size for path in done.folder.iterdir()}
    assert done.total == sum(path.stat().st_size for path in done.folder.iterdir())
    film = read(done.folder)
    assert film.model == "glass-1m" and film.steps == (0, 10, 200) and film.weights_sha256[-1] == done.sha256
    assert done.sha256 == hashlib.sha256((done.folder / "model.safetensors").read_bytes()).hexdigest()


def test_the_weights_are_the_runs_in_bfloat16(done, run):
    ours = load(done.folder, dtype="bfloat16").state_dict()
    theirs = load(run / "model", dtype="float32").state_dict()
    assert json.loads((done.folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert all(torch.equal(ours[name], theirs[name].bfloat16()) for name in theirs) and ours.keys() == theirs.keys()


def test_training_json_is_the_runs_without_the_place_of_its_data(done, run):
    ours, theirs = (json.loads((folder / "training.json").read_text()) for folder in (done.folder, run / "model"))
    assert theirs["recipe"]["data"].pop("folder") == "/secret/place/books" and ours["recipe"]["data"].pop("folder") == "books"
    assert theirs.pop("name") == "recipe-name" and ours.pop("name") == "glass-1m" and ours == theirs
    for name in FILES:
        assert b"secret" not in (done.folder / name).read_bytes() and str(run).encode() not in (done.folder / name).read_bytes()


def test_the_cards_table(done, text, row):
    weights = load(done.folder)
    count = sum(p.numel() for p in weights.parameters())
    assert row("parameters").startswith(f"{count:,}, of which {50257 * 16:,} are the token embedding")
    assert row("shape") == "2 layers, d_model 16, 2 heads of 8, context 64"
    assert row("sha256 of `model.safetensors`") == done.sha256
    loss = row("validation loss")
    assert (
        loss == f"9.500 nats per token, 2.500 bits per byte, perplexity {math.exp(9.5):,.1f}; on 500 tokens of held-out books"
    )
    assert row("trained with") == "1 x test, 1 thread(s); 2 minutes"
    scores = [heads.scores(weights, seed, batch=2, length=6) for seed in (3, 5)]
    first, second = (np.mean([getattr(s, f"{copy}_copy_loss") for s in scores]) for copy in ("first", "second"))
    assert row("random tokens, repeated") == f"{first:.2f} nats per token on the first copy, {second:.2f} on the second"
    assert (
        text.startswith("---\nlicense: mit\n")
        and "# glass-1m\n" in text
        and "github.com/mlschmitt/classic-books-markdown" in text
    )


def test_tokens_and_epochs_step_by_step(row, text):
    """The rounding of the trainer, written out: after each step the repetition rows are the rounded sum of the shares."""
    rows, window, steps, so_far, repeated = 4, 32, 200, 0.0, 0
    for step in range(steps):
        so_far += (0.25 + (0.05 - 0.25) * step / (steps - 1)) * rows
        repeated += math.floor(so_far + 0.5) - repeated
    text_rows = rows * steps - repeated
    epochs = text_rows / (1000 // window)
    said = f"{text_rows * window:,} of text ({epochs:.2f} epochs) and {repeated * window:,} in repetition documents"
    assert row("tokens seen") == said
    share = repeated / (rows * steps)
    flat = " ".join(text.split())
    assert f"{share:.1%} was not text (25.0% at the first step, changing evenly to 5.0% at the last)" in flat
    assert "4 to 9 random tokens (ids 100 to 19999)" in flat


def test_the_recipe_is_the_trainers():
    said = training("x", 200, 200)["recipe"]
    trained = Trained.read(training("x", 200, 200, recipe=said))
    assert trained.recipe == from_dict(json.loads(json.dumps(trained.recipe.to_dict())))
    assert trained.repetition_rows == repetition_rows(trained.recipe).sum() > 0


def test_the_cards_heads(done, text):
    scores = [heads.scores(load(done.folder), seed, batch=2, length=6) for seed in (3, 5)]
    mean = {role: torch.stack([getattr(s, role) for s in scores]).mean(0) for role in ROLES}
    for layer in range(2):
        cells = re.search(rf"^\| L{layer} \| (.*) \|$", text, re.MULTILINE)[1].split(" | ")
        assert cells == [f"{score:.2f}" for score in mean["induction"][layer].tolist()]
    for role, label in (("previous_token", "previous-token"), ("duplicate_token", "duplicate-token")):
        layer, head = divmod(int(mean[role].argmax()), 2)
        assert f"Best {label} head: L{layer}H{head}, {mean[role][layer, head]:.2f} (evenly" in text
    assert "Evenly spread attention would score" in text and f"{scores[0].chance['induction']:.3f}" in text
    flat = " ".join(text.split())
    assert "on 6 random tokens, twice" in flat and "means over 2 sequences of each of the seeds 3, 5." in flat


def test_the_cards_samples_are_all_that_were_drawn(done, text):
    model = load(done.folder)
    fences = re.findall(r"^```text\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
    expected = []
    for prompt in ("The old man", ""):
        for seed in (0, 1):
            drawn = generate(model, prompt, max_new_tokens=6, temperature=0.8, top_k=40, seed=seed, bos=True)
            expected.append(card._printable(prompt + drawn.text))
    assert fences == expected and len(set(fences)) == 4
    assert "temperature 0.8, top_k 40, at most 6 tokens" in " ".join(text.split())


def test_the_cards_predictions(done, text):
    model = load(done.folder)
    ids = [50256, *model.tokenizer.encode("The captain opened the door and went into the")]
    with torch.no_grad():
        best = model(torch.tensor([ids]))[0, -1].argmax().item()
    line = next(line for line in text.splitlines() if line.startswith("| <code>The captain"))
    _, copied, said = line.split(" | ")
    assert copied == "<code>·door</code>" and said.startswith(card._code(model.tokenizer.decode([best])))
    assert "<code>ley</code>" in text and "| <code>land</code> |" in text


def facts(done, sampled=()):
    model = load(done.folder)
    trained = Trained.read(json.loads((done.folder / "training.json").read_text()))
    return card.Facts("glass-1m", model.config, trained, read(done.folder), sampled, SAMPLING, done.sha256)


def judged(done, score, gain):
    film = read(done.folder)
    induction = film.induction.copy()
    induction[-1, 1, 0] = score
    second = (film.first_copy_loss[0], film.first_copy_loss[1], film.first_copy_loss[2] - gain)
    return " ".join(card.card(replace(facts(done), film=replace(film, induction=induction, second_copy_loss=second))).split())


def test_with_an_induction_head(done):
    said = judged(done, 0.83, 5.25)
    assert "It copies: it has induction" in said and "no induction head" not in said
    assert "1 head has an induction score of 0.4 or more (the best, L1H0, scores 0.83)" in said
    assert "5.25 nats per token easier than the first" in said and "**0.83**" in said
    assert "grows most between steps 10 and 200" in said


@pytest.mark.parametrize(("score", "gain"), [(0.39, 5.0), (0.9, 1.99), (0.01, -0.3)])
def test_without_an_induction_head(done, score, gain):
    said = judged(done, score, gain)
    assert "It has no induction head" in said and "it has induction" not in said
    assert f"{abs(gain):.2f} nats per token {'harder' if gain < 0 else 'easier'} than the first" in said
    assert ("never becomes 2 nats easier" in said) == (gain < 2)


def test_without_repetition_documents(done):
    said = card.card(mixed(facts(done), share=0.0, final_share=-1.0))
    assert "None: it was trained on the books alone." in said and "25,600 of text" in said and "and 0 in repetition" in said
    constant = card.card(mixed(facts(done), share=0.25, final_share=-1.0))
    assert "25.0% was not text:" in " ".join(constant.split())
    early = " ".join(card.card(mixed(facts(done), fade=0.5, length=16)).split())
    assert "changing evenly to 5.0% after 50% of the steps" in early and "repeated to fill 16 positions" in early


def mixed(f, **repetition):
    recipe = f.trained.recipe
    return replace(f, trained=replace(f.trained, recipe=replace(recipe, repetition=replace(recipe.repetition, **repetition))))


def test_windows_as_long_as_the_context_need_no_warning(done):
    f = facts(done)
    assert "**Short memory.** It was trained on windows of 32 tokens" in card.card(f)
    recipe = replace(
        f.trained.recipe, data=replace(f.trained.recipe.data, window=64), model=replace(f.trained.recipe.model, n_ctx=64)
    )
    assert "Short memory" not in card.card(replace(f, trained=replace(f.trained, recipe=recipe)))


def test_texts_cannot_break_the_card(done):
    odd = card.card(facts(done, (card.Sampled("a ``` b\n````\n", 0, "x | y\x00\r"),)))
    assert "`````text\na ``` b\n````\nx | y\\x00\\r\n`````" in odd
    assert card._code(" a|`<b>\n ") == "<code>·a&#124;&#96;&lt;b&gt;↵·</code>" and card._code("  ") == "<code>··</code>"


def test_publishing_again_gives_the_same_bytes(done, run, tmp_path):
    before = {name: (done.folder / name).read_bytes() for name in FILES}
    assert published(run, done.folder).bytes == done.bytes
    published(run, tmp_path / "glass-1m")
    for name in FILES:
        assert (done.folder / name).read_bytes() == before[name] == (tmp_path / "glass-1m" / name).read_bytes(), name


def test_names_count_parameters():
    for name, count in (
        ("glass-3m", 3_292_672),
        ("glass-3m", 2_500_001),
        ("glass-12m", 11_600_000),
        ("glass-124m", 124_439_808),
    ):
        check_name(name, count)
    for name, count in (("glass-3m", 3_500_001), ("glass-03m", 3_000_000), ("glass-0m", 400_000), ("gpt-3m", 3_000_000)):
        with pytest.raises(ValueError, match="The folder is called"):
            check_name(name, count)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"step": 150}, "is of step 150 of 200; let the run come to its end"),
        ({"steps": None}, "says steps is None"),
        ({"validation_loss": "low"}, "says validation_loss is 'low'"),
        ({"recipe": {}}, "says data.folder is None"),
        ({"recipe": {"data": {"folder": "x"}}}, "lacks 'name'"),
        ({"data": {"train_tokens": 3}}, "tells of no training"),
        ({"machine": 3}, "says machine is 3"),
    ],
)
def test_a_run_that_cannot_be_published(run, tmp_path, change, sentence):
    for name in ("model", "snapshots"):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).symlink_to(run / name)
    (tmp_path / "run" / "model").unlink()
    save_pretrained(tiny_model(2), tmp_path / "run" / "model")
    (tmp_path / "run" / "model" / "training.json").write_text(json.dumps(training("x", 200, 200) | change))
    with pytest.raises(ValueError, match=sentence) as refused:
        published(tmp_path / "run", tmp_path / "glass-1m")
    assert "\n" not in str(refused.value) and not (tmp_path / "glass-1m").exists()


def test_a_run_without_an_end_and_snapshots_of_another(run, tmp_path):
    with pytest.raises(ValueError, match="has no model/training.json"):
        published(tmp_path, tmp_path / "glass-1m")
    (tmp_path / "model").symlink_to(run / "model")
    with pytest.raises(ValueError, match="There is no folder"):
        published(tmp_path, tmp_path / "glass-1m")
    save_pretrained(tiny_model(0), tmp_path / "snapshots" / "step-300")
    with pytest.raises(ValueError, match="of a later step than the model, 200"):
        published(tmp_path, tmp_path / "glass-1m")


def test_the_command(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("interp.publish.Sampling", lambda: SAMPLING)
    assert main([str(run), "--out", str(tmp_path / "glass-1m")]) == 0
    said = capsys.readouterr().out
    total = sum(path.stat().st_size for path in (tmp_path / "glass-1m").iterdir())
    assert f"{total / 1e6:.3f} MB  in all" in said and "it has no induction" in said
    assert f"sha256='{hashlib.sha256((tmp_path / 'glass-1m' / 'model.safetensors').read_bytes()).hexdigest()}'" in said
    assert main([str(run), "--out", str(tmp_path / "glass-7m")]) == 2
    assert "but 811,728 parameters are 'glass-1m'" in capsys.readouterr().err and not (tmp_path / "glass-7m").exists()


def test_an_interruption_leaves_the_folder_as_it_was(done, run, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    before = {path.name: path.read_bytes() for path in done.folder.iterdir()}
    monkeypatch.setattr("interp.publish.Sampling", lambda: SAMPLING)
    monkeypatch.setattr("interp.publish.card", interrupted)
    assert main([str(run), "--out", str(done.folder)]) == 130
    assert {path.name: path.read_bytes() for path in done.folder.iterdir()} == before
