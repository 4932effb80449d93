"""Films of tiny random models: every number against a naive computation on the same checkpoints; series of all kinds."""

import json
import math

import numpy as np
import pytest
import torch
from films import tiny_film, tiny_model, tiny_run

from gpt2_core.checkpoints import load, save_pretrained
from gpt2_core.sampling import Sampling, generators, sample
from interp.dynamics import PROMPTS, RANDOM, checkpoints, film, has_film, main, read
from interp.film import ROLES, Measurement
from interp.heads import repeated_random_tokens

MEASUREMENT = Measurement(seeds=(3, 5), sequences=2, length=6, sample_tokens=6, top_k=20, sample_seed=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("dynamics") / "run")


@pytest.fixture(scope="module")
def made(run):
    return film(run, measurement=MEASUREMENT, sample_prompt="The old")


@pytest.fixture(scope="module")
def models(run):
    return [load(folder) for folder in sorted((run / "snapshots").iterdir())]


@torch.no_grad()
def patterns_of(model, tokens):
    """[batch layer head query key], from a plain forward pass."""
    _, cache = model.run_with_cache(torch.tensor(tokens))
    return torch.stack([cache["pattern", layer] for layer in range(model.config.n_layers)], 1)


def test_the_film_says_what_was_written_beside_the_checkpoints(made, models):
    assert (made.model, made.parameters) == ("glass-1m", sum(p.numel() for p in models[0].parameters()))
    assert made.steps == (0, 10, 200) and made.frames == 3 and made.tokens == (0, 1280, 25600)
    assert made.train_loss == (None, 9.95, 9.0) and made.validation_loss == (10.5, 10.45, 9.5)
    assert made.weights_sha256 == tuple(model.weights_sha256 for model in models) and len(set(made.weights_sha256)) == 3


def test_head_scores_by_loops(made, models):
    length = MEASUREMENT.length
    offsets = {"previous_token": (1, 1), "duplicate_token": (length, length), "induction": (length - 1, length)}
    for frame, model in enumerate(models):
        sets = [patterns_of(model, repeated_random_tokens(50257, 2, length, seed).tolist()) for seed in (3, 5)]
        for role, (back, start) in offsets.items():
            for layer in range(2):
                for head in range(2):
                    cells = [
                        p[b, layer, head, i, i - back].item() for p in sets for b in (0, 1) for i in range(start, 2 * length)
                    ]
                    assert getattr(made, role)[frame, layer, head] == pytest.approx(sum(cells) / len(cells), abs=1e-6)
    evenly = [1 / (i + 1) for i in range(length, 2 * length)]
    assert made.chance["induction"] == pytest.approx(sum(evenly) / length)


def test_copy_losses_by_loops(made, models):
    length = MEASUREMENT.length
    for frame, model in enumerate(models):
        first, second = [], []
        for tokens in (row for seed in (3, 5) for row in repeated_random_tokens(50257, 2, length, seed).tolist()):
            with torch.no_grad():
                logprobs = model(torch.tensor([tokens]))[0].double().log_softmax(-1)
            losses = {i: -logprobs[i - 1, tokens[i]].item() for i in range(1, 2 * length)}
            first += [losses[i] for i in range(1, length)]
            second += [losses[i] for i in range(length + 1, 2 * length)]
        assert made.first_copy_loss[frame] == pytest.approx(sum(first) / len(first), abs=1e-5)
        assert made.second_copy_loss[frame] == pytest.approx(sum(second) / len(second), abs=1e-5)
        assert made.copy_gain[frame] == pytest.approx(made.first_copy_loss[frame] - made.second_copy_loss[frame])


def test_patterns_and_predictions_by_hand(made, models):
    assert [prompt.name for prompt in made.prompts] == list(PROMPTS) and all(len(p.ids) <= 16 for p in made.prompts)
    for prompt, given in zip(made.prompts, PROMPTS.values()):
        ids = list(given) if isinstance(given, tuple) else models[0].tokenizer.encode(given)
        assert list(prompt.ids) == [50256, *ids]
        assert "".join(prompt.strings) == "<|endoftext|>" + prompt.text == "<|endoftext|>" + models[0].tokenizer.decode(ids)
        for frame, model in enumerate(models):
            exact = patterns_of(model, [list(prompt.ids)])[0].numpy()
            stored = prompt.attention(frame)
            assert np.abs(stored - exact).max() <= 1 / 510 + 1e-6
            assert np.array_equal(np.rint(stored * 255), np.rint(exact * 255))
            with torch.no_grad():
                p = model(torch.tensor([prompt.ids]))[0, -1].double().softmax(-1).tolist()
            best = sorted(range(len(p)), key=lambda i: -p[i])[:5]
            assert list(prompt.top_strings[frame]) == model.tokenizer.strings(best)
            assert prompt.top_probs[frame].tolist() == pytest.approx([p[i] for i in best], abs=1e-6)


def test_samples_token_by_token(made, models):
    settings = Sampling(temperature=0.8, top_k=20)
    for frame, model in enumerate(models):
        ids, random = [50256, *model.tokenizer.encode("The old")], list(generators(4, range(1)))
        start = len(ids)
        for _ in range(6):
            with torch.no_grad():
                ids.append(sample(model(torch.tensor([ids]))[:, -1], random, settings).item())
        assert made.samples[frame] == model.tokenizer.decode(ids[start:]).rstrip("\ufffd")


def test_the_fixed_random_prompt_is_what_its_comment_says():
    assert repeated_random_tokens(50257, 1, 7, 0)[0].tolist() == list(RANDOM) * 2


def test_the_usual_measurement_fits_the_context(tmp_path):
    assert tiny_film(tmp_path / "short", steps=(0,), n_layers=1).measurement == Measurement(length=32)  # a context of 64


def test_the_last_snapshots_of_a_trainer_of_transformers(tmp_path):
    """Folders by number, not by name; losses from trainer_state.json; the weights may carry an output head."""
    for seed, step in enumerate((200, 1000, 10)):
        folder = tmp_path / "gpt2-mine" / f"checkpoint-{step}"
        save_pretrained(tiny_model(seed, n_layers=1), folder)
        history = [{"step": 5, "loss": 9.0}, {"step": step, "loss": 8.0 - step / 1000}, {"step": step, "eval_loss": 8.5}]
        state = {"global_step": step, "num_input_tokens_seen": 0, "log_history": history if step > 10 else history[:1]}
        (folder / "trainer_state.json").write_text(json.dumps(state))
    (tmp_path / "gpt2-mine" / "runs").mkdir()
    made = film(tmp_path / "gpt2-mine", {"one": "The king"}, measurement=MEASUREMENT)
    assert made.steps == (10, 200, 1000) and made.model == "gpt2-mine" and made.tokens == (None,) * 3
    assert made.train_loss == (9.0, 7.8, 7.0) and made.validation_loss == (None, 8.5, 8.5)
    folders = [tmp_path / "gpt2-mine" / f"checkpoint-{step}" for step in (200, 10)]
    assert film(folders, {}, measurement=MEASUREMENT).weights_sha256 == (made.weights_sha256[0], made.weights_sha256[1])


def test_a_series_needs_no_training_json(tmp_path):
    for step in (100, 20):
        save_pretrained(tiny_model(step, n_layers=1), tmp_path / "run" / "snapshots" / f"step-{step:08d}")
    found = checkpoints(tmp_path / "run")
    assert [c.step for c in found] == [20, 100] and {c.name for c in found} == {"run"}
    assert {c.tokens for c in found} == {c.train_loss for c in found} == {c.validation_loss for c in found} == {None}


def test_the_step_that_was_written_wins_over_the_name(tmp_path):
    for name, step in (("a", 7), ("step-1", 30)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "training.json").write_text(json.dumps({"step": step}))
    assert [c.step for c in checkpoints([tmp_path / "step-1", tmp_path / "a"])] == [7, 30]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "holds no checkpoints"),
        ({"step-1/training.json": "{", "step-2/x": ""}, "is not valid JSON"),
        ({"step-1/training.json": "[]"}, "holds a list"),
        ({"step-1/training.json": '{"step": -1}'}, "says step is -1"),
        ({"step-1/training.json": '{"step": true}'}, "says step is True"),
        ({"step-1/training.json": '{"validation_loss": "low"}'}, "says validation_loss is 'low'"),
        ({"step-1/x": "", "checkpoint-01/x": ""}, "are both of step 1"),
        ({"checkpoint-1/trainer_state.json": '{"log_history": 3}'}, "no list of objects"),
        ({"step-1/x": ""}, "has no config.json"),
        ({"step-1/training.json": '{"validation_loss": NaN}'}, "has no config.json"),
    ],
)
def test_a_series_that_cannot_be_filmed(tmp_path, files, sentence):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=sentence) as refused:
        film(tmp_path)
    assert "\n" not in str(refused.value)


def test_no_folder_no_checkpoint_no_step(tmp_path):
    with pytest.raises(ValueError, match="There is no folder"):
        film(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="No checkpoints were given"):
        film([])
    with pytest.raises(ValueError, match="does not tell its step"):
        film([tmp_path])


def test_models_of_two_shapes_are_no_film(tmp_path):
    save_pretrained(tiny_model(0, n_layers=1), tmp_path / "step-1")
    save_pretrained(tiny_model(0, n_layers=2), tmp_path / "step-2")
    with pytest.raises(ValueError, match="another shape"):
        film(tmp_path, {}, measurement=MEASUREMENT)


def test_a_diverged_training_is_no_film(run, tmp_path):
    save_pretrained(tiny_model(0, n_layers=1), tmp_path / "step-1")
    (tmp_path / "step-1" / "training.json").write_text('{"validation_loss": NaN}')
    with pytest.raises(ValueError, match="validation_loss holds"):
        film(tmp_path, {}, measurement=MEASUREMENT)


def test_the_command(run, tmp_path, capsys):
    assert main([str(run), "--out", str(tmp_path / "film"), "--name", "mine"]) == 0
    assert "3 frames of mine" in capsys.readouterr().out
    made = read(tmp_path / "film")
    assert made.model == "mine" and made.steps == (0, 10, 200)
    one = run / "snapshots" / "step-00000010"
    assert main([str(one), "--out", str(tmp_path / "one")]) == 0 and read(tmp_path / "one").steps == (10,)
    assert main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "none")]) == 2
    assert "There is no folder" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_an_interrupted_command_leaves_the_last_film_as_it_was(run, tmp_path, monkeypatch, capsys):
    assert main([str(run / "snapshots" / "step-00000010"), "--out", str(tmp_path)]) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    seen = []

    def interrupted(*args, **kwargs):
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return load(*args, **kwargs)

    monkeypatch.setattr("interp.dynamics.load", interrupted)
    assert main([str(run), "--out", str(tmp_path)]) == 130
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before and has_film(tmp_path)
    assert all(math.isfinite(getattr(read(tmp_path), role).sum()) for role in ROLES)
