"""The tuned lens: identity at the start, lower KL on held-out text, bound to its weights."""

import json
import math

import pytest
import torch
from helpers import max_difference, random_model, tiny_config

from gpt2_core import load as load_model
from interp import tuned_lens
from interp.folding import STEPS, fold
from interp.lens import lens_names, logit_lens
from interp.run import trace
from interp.tuned_lens import TunedLens, evaluate, load, main, save, train, windows

CONFIG = tiny_config(n_layers=2, d_model=32, d_vocab=64, n_ctx=32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    random_model(CONFIG).save_pretrained(folder)
    loaded = load_model(str(folder))
    loaded.tokenizer = None  # GPT-2's has more tokens than this vocabulary
    return loaded


def text(n, seed):
    """A text with structure: each token is one of three that may follow the one before."""
    random, ids = torch.Generator().manual_seed(seed), [1]
    for choice in torch.randint(0, 3, (n - 1,), generator=random).tolist():
        ids.append((5 * ids[-1] + 7 * choice + 1) % 63)
    return ids


@pytest.fixture(scope="module")
def lens(model):
    return train(model, windows(text(600, 0), 4, 16, seed=0), 60, lr=5e-3)


def test_zero_steps_is_the_logit_lens(model):
    untrained = train(model, [], 0)
    run = trace(model, text(10, 5))
    assert max_difference(logit_lens(model, run, translate=untrained).entropy, logit_lens(model, run).entropy) == 0


def test_training_lowers_kl_on_held_out_text(model, lens):
    held_out = [torch.tensor([text(16, seed)]) for seed in (11, 12, 13)]
    quality = evaluate(model, held_out, lens)
    assert quality.labels == ("embed", "L0", "L1")
    for before, after in zip(quality.logit_lens[:-1], quality.tuned_lens[:-1]):
        assert after < 0.8 * before
    assert quality.tuned_lens[-1] == pytest.approx(0, abs=1e-5) == quality.logit_lens[-1]
    assert lens.losses[-1] < lens.losses[0] and (lens.steps, lens.tokens) == (60, 60 * 64)


@torch.no_grad()
def test_the_formula_and_the_loss_by_hand(model, lens):
    run = trace(model, text(9, 21), bos=False)
    name = "blocks.0.hook_resid_post"
    h, A, b = run.activations[name], lens.weights[name], lens.biases[name]
    by_hand = torch.stack([x + A @ x + b for x in h])
    logprobs = model.unembed(by_hand[None])[0].log_softmax(-1)
    assert max_difference(lens(name, h), by_hand) <= 1e-5
    final = run.logits.log_softmax(-1)
    kl = (final.exp() * (final - logprobs)).sum(-1)
    assert max_difference(logit_lens(model, run, translate=lens).kl_to_final[1], kl / math.log(2)) <= 1e-4
    assert evaluate(model, [torch.tensor([run.tokens])], lens).tuned_lens[1] == pytest.approx(
        kl.mean().item() / math.log(2), abs=1e-4
    )


def test_the_first_step_follows_the_gradient(model):
    """Adam's first step moves every entry by lr against the sign of its gradient, which autograd gives for the naive loss."""
    batch = torch.tensor([text(8, 3)])
    taught = train(model, [batch], 1, lr=1e-3)
    name = "blocks.0.hook_resid_pre"
    with torch.no_grad():
        logits, cache = model.run_with_cache(batch, [name])
    A, b = (torch.zeros(shape, requires_grad=True) for shape in ((32, 32), (32,)))
    lens = model.unembed(cache[name] + cache[name] @ A.T + b).log_softmax(-1)
    loss = torch.nn.functional.kl_div(lens, logits.log_softmax(-1), log_target=True, reduction="none").sum(-1).mean()
    gradients = torch.autograd.grad(loss, (A, b))
    for found, wanted in zip((taught.weights[name], taught.biases[name]), gradients):
        clear = wanted.abs() > 1e-5
        assert clear.any() and max_difference(found[clear], -1e-3 * wanted[clear].sign()) <= 1e-5


def test_training_leaves_the_model_alone(model):
    before = {name: p.clone() for name, p in model.named_parameters()}
    train(model, windows(text(100, 0), 2, 8), 3)
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) and p.grad is None


def test_saved_and_loaded_and_refused_by_another_model(model, lens, tmp_path):
    folder = save(lens, tmp_path / "lens")
    again = load(folder, model)
    assert again == TunedLens(again.weights, again.biases, lens.last, lens.model, lens.weights_sha256, 60, 3840, lens.losses)
    for name in lens_names(2)[:-1]:
        assert torch.equal(again.weights[name], lens.weights[name]) and torch.equal(again.biases[name], lens.biases[name])
    assert json.loads((folder / "tuned_lens.json").read_text())["weights_sha256"] == model.weights_sha256
    random_model(CONFIG, seed=1).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="belongs to"):
        load(folder, load_model(str(tmp_path / "other")))
    with pytest.raises(
        ValueError, match="trained on raw weights and the model has folded"
    ):  # the same checksum, another stream
        load(folder, fold(model))
    own = train(fold(model), windows(text(100, 0), 2, 8), 2)
    with pytest.raises(ValueError, match="trained on folded .* and the model has raw ones"):
        load(save(own, tmp_path / "folded"), model)
    assert load(tmp_path / "folded", fold(model)).processing == STEPS
    with pytest.raises(ValueError, match="checksum"):
        save(train(random_model(CONFIG), [], 0), tmp_path / "nowhere")
    (folder / "tuned_lens.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="no readable tuned lens"):
        load(folder, model)


def test_rows_after_attention_batches_and_cancelling(model, lens):
    mid = train(model, windows(text(100, 0), 2, 8), 2, mid=True)
    assert set(mid.weights) == set(lens_names(2, mid=True)[:-1])
    assert logit_lens(model, trace(model, [3, 4]), mid=True, translate=mid).check.holds
    with pytest.raises(ValueError, match="mid=True"):
        logit_lens(model, trace(model, [3, 4]), mid=True, translate=lens)
    with pytest.raises(ValueError, match="2 batches"):
        train(model, [torch.tensor([[1, 2]])] * 2, 3)
    seen = []
    stopped = train(model, windows(text(100, 0), 2, 8), 9, report=lambda *x: seen.append(x), cancel=lambda: len(seen) == 2)
    assert stopped.steps == 2 == len(seen)


def test_windows():
    ids = list(range(40))
    one, two = (next(windows(ids, 3, 5, seed=7, first=50)) for _ in range(2))
    assert torch.equal(one, two) and one.shape == (3, 6) and (one[:, 0] == 50).all() and (one[:, 1:].diff() == 1).all()
    with pytest.raises(ValueError, match="shorter length"):
        next(windows(ids, 1, 41))


def test_the_command_line(model, tmp_path, capsys, monkeypatch):
    class Letters:
        eos_id = 63

        def encode(self, text):
            return [ord(c) % 63 for c in text]

    monkeypatch.setattr(model, "tokenizer", Letters())
    monkeypatch.setattr(tuned_lens, "load_model", lambda name: model)
    (tmp_path / "a.txt").write_text("the quick brown fox jumps over the lazy dog. " * 20, encoding="utf-8")
    given = ["--model", "m", "--text", str(tmp_path / "a.txt"), "--out", str(tmp_path / "lens"), "--steps", "3", "--batch", "2"]
    assert main([*given, "--length", "16"]) == 0
    assert "held-out" in capsys.readouterr().out and load(tmp_path / "lens", model).steps == 3
    assert main([*given, "--length", "2000"]) == 2
    assert "window" in capsys.readouterr().err
