"""The loop as a whole: equal to a plain loop over Hugging Face's GPT-2, resumed bit for bit, its files readable by others."""

import json
import math
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import hf_model
from safetensors.torch import load_file
from train_helpers import final_weights, lines, make_shards, newest, run, tiny

from gpt2_core import load
from gpt2_core.accounting import training_flops_per_token
from gpt2_core.config import GPT2Config
from gpt2_core.train import recipe as recipes
from gpt2_core.train.batches import Batches
from gpt2_core.train.distributed import Ranks
from gpt2_core.train.evaluate import evaluate, validation_windows
from gpt2_core.train.initialise import new_model
from gpt2_core.train.log import RunLog, read_lines, step_flops
from gpt2_core.train.objective import Objective
from gpt2_core.train.runfolder import claim, resume_point
from gpt2_core.train.shards import Shards
from gpt2_core.train.stopping import Stop
from gpt2_core.train.trainer import Trainer


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("shards"))


class StopsAt(Stop):
    """Asks for a stop during the update that makes a trainer's step `step`."""

    def __init__(self, trainer: Trainer, step: int):
        super().__init__()
        self.trainer, self.step = trainer, step

    @property
    def reason(self) -> str | None:
        return "the test said so" if self.trainer.step >= self.step - 1 else None


def learning_rates(steps: int) -> list[float]:
    """The tiny recipe's schedule, written out again: 2 steps of warm-up to 0.003, a cosine to 0.0003."""
    cosine = [0.0003 + 0.0027 * (1 + math.cos(math.pi * i / (steps - 3))) / 2 for i in range(steps - 2)]
    return [0.0015, 0.003, *cosine]


def test_equals_a_plain_loop_over_hugging_faces_model(tmp_path, data):
    """Logits in full, one batch at once, no fused optimizer: the oracle of the loss, the schedule, AdamW and accumulation."""
    path = tiny(tmp_path, data, **{"loss.kind": '"chunked"', "batch.rows_at_once": "2", "repetition.length": "8"})
    assert run(path, tmp_path / "run") == 0
    recipe = recipes.read(path)
    batches = Batches(recipe, Shards.open(data))
    model = hf_model(new_model(recipe)).train()
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "wpe" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "wpe" in n]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8, foreach=False, fused=False)
    logged = lines(tmp_path / "run", "train")
    for step, rate in enumerate(learning_rates(8)):
        batch = batches(step)
        weight = batch.text[:, 1:].numel() + batch.importance.sum()
        text = F.cross_entropy(model(batch.text[:, :-1]).logits.flatten(0, 1), batch.text[:, 1:].flatten(), reduction="sum")
        total = text
        if len(batch.repeated):
            logits = model(batch.repeated[:, :-1]).logits.flatten(0, 1)
            each = F.cross_entropy(logits, batch.repeated[:, 1:].flatten(), reduction="none")
            repeated = (each * batch.importance.flatten()).sum()
            assert repeated.item() / batch.importance.sum().item() == pytest.approx(logged[step]["repetition_loss"], abs=1e-5)
            total = text + repeated
        assert text.item() / batch.text[:, 1:].numel() == pytest.approx(logged[step]["loss"], abs=1e-5)
        (total / weight).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        assert norm.item() == pytest.approx(logged[step]["grad_norm"], rel=1e-4)
        assert logged[step]["lr"] == pytest.approx(rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
    ours = load_file(newest(tmp_path / "run") / "model.safetensors")
    for name, p in model.transformer.named_parameters():
        assert torch.allclose(ours[name], p, atol=1e-4), name


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, data):
    """Sampled and exact losses, repetition, snapshots and half-full log intervals in between."""
    path = tiny(tmp_path, data, **{"optimizer.steps": "9", "log.every": "3"})
    assert run(path, tmp_path / "whole") == 0
    recipe, shards = recipes.read(path), Shards.open(data)
    out = tmp_path / "parts"
    out.mkdir()
    claim(out, recipe, path.read_text())
    for stop, expected in ((1, 1), (4, 4), (5, 5), (99, 9)):
        found = resume_point(out, recipe, shards.fingerprint)
        trainer = Trainer(recipe, shards, out, Ranks(0, 1, torch.device("cpu")), found)
        reason = trainer.train(StopsAt(trainer, stop))
        assert trainer.step == expected and (reason is None) == (expected == 9)
    assert final_weights(out) == final_weights(tmp_path / "whole")
    timed = ("tokens_per_second", "mfu", "eta_seconds", "seconds")
    for kind in ("train", "evaluation"):
        a, b = (
            [{k: v for k, v in line.items() if k not in timed} for line in lines(o, kind)] for o in (out, tmp_path / "whole")
        )
        assert a == b
    for step in (0, 9):
        name = f"snapshots/step-{step:08d}/model.safetensors"
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_a_run_leaves_is_readable_by_others(tmp_path, data):
    from transformers import GPT2LMHeadModel

    out = tmp_path / "run"
    assert run(tiny(tmp_path, data), out) == 0
    steps = [int(folder.name[5:]) for folder in sorted((out / "snapshots").iterdir())]
    assert steps[0] == 0 and steps[-1] == 8 and len(steps) == 4
    assert [folder.name for folder in sorted((out / "checkpoints").iterdir())] == ["step-00000006", "step-00000008"]
    evaluations = {line["step"]: line for line in lines(out, "evaluation")}
    assert sorted(evaluations) == sorted({0, 4, 8, *steps})
    shards = Shards.open(data)
    for folder in [out / "model", *(out / "snapshots").iterdir()]:
        training = json.loads((folder / "training.json").read_text())
        assert training["validation_loss"] == evaluations[training["step"]]["validation_loss"]
        assert training["tokens"] == training["step"] * 128 and training["steps"] == 8
        assert (training["train_loss"] is None) == (training["step"] == 0)
        nats = training["validation_loss"] * shards.tokens("validation") / shards.bytes("validation")
        assert training["bits_per_byte"] == pytest.approx(nats / math.log(2))
        assert training["recipe"]["optimizer"]["beta2"] == 0.95 and training["name"] == "tiny"
        assert training["data"]["fingerprint"] == shards.fingerprint and training["seconds"] >= 0
        assert {"validation_tokens", "machine"} <= set(training)
    hf = GPT2LMHeadModel.from_pretrained(out / "model", dtype=torch.float32).eval()
    ours, tokens = load(out / "model"), torch.arange(10)[None]
    assert torch.allclose(hf(tokens).logits, ours(tokens), atol=1e-5)
    assert json.loads((out / "model" / "config.json").read_text())["dtype"] == "bfloat16"
    saved = load_file(newest(out) / "model.safetensors")["wte.weight"].to(torch.bfloat16)
    assert torch.equal(ours.wte.weight, saved.float())  # rounded once, from the trained weights


def test_the_loss_falls_to_what_the_text_allows(tmp_path, data):
    """Each token is one of two given the one before, so ln 2 is the floor; chance is ln 50257 = 10.8."""
    changes = {"optimizer.steps": "120", "batch.rows": "16", "batch.rows_at_once": "16", "optimizer.learning_rate": "0.03"}
    changes |= {"repetition.share": "0.0", "evaluation.every": "40", "save.every": "120", "save.snapshots": "0"}
    assert run(tiny(tmp_path, data, **changes), tmp_path / "run") == 0
    losses = [line["validation_loss"] for line in lines(tmp_path / "run", "evaluation")]
    assert losses[0] == pytest.approx(math.log(50257), abs=0.1)
    assert losses == sorted(losses, reverse=True)
    assert 0.6 < losses[-1] < 2.5


def test_evaluation_is_the_mean_cross_entropy_of_fixed_windows(tmp_path, data):
    recipe, shards = recipes.read(tiny(tmp_path, data)), Shards.open(data)
    windows, model = validation_windows(recipe, shards), new_model(recipe)
    assert windows.shape == (4, 17)  # 64 tokens in windows of 16
    everything = shards.window("validation", 0, shards.tokens("validation"))
    starts = [next(i for i in range(len(everything)) if np.array_equal(everything[i : i + 17], row)) for row in windows.numpy()]
    assert all(b - a >= 16 for a, b in zip(starts, starts[1:])) and starts[-1] > len(everything) / 2
    v = evaluate(Objective(model, torch.float32, 7), windows, recipe, shards, Ranks(0, 1, torch.device("cpu")))
    expected = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
    assert v.loss == pytest.approx(expected.item(), abs=1e-5) and v.tokens == 64


def test_bfloat16_products_stay_near_float32(tmp_path, data):
    recipe, shards = recipes.read(tiny(tmp_path, data)), Shards.open(data)
    batch, model = Batches(recipe, shards)(0), new_model(recipe)
    exact, rough = (Objective(model, dtype, 48)(batch, None).sum() for dtype in (torch.float32, torch.bfloat16))
    assert rough.item() == pytest.approx(exact.item(), rel=2e-3) and rough.dtype == torch.float32


def test_flops_of_a_sampled_step_are_those_of_a_smaller_vocabulary():
    config, smaller = (GPT2Config(2, 2, 16, n_ctx=32, d_vocab=v) for v in (50257, 700))
    assert step_flops(config, 100, 32, None) == 100 * training_flops_per_token(config, 32)
    assert step_flops(config, 100, 32, 700) == 100 * training_flops_per_token(smaller, 32)


def test_lines_say_how_fast(tmp_path, data):
    assert run(tiny(tmp_path, data, **{"loss.kind": '"chunked"', "save.snapshots": "0"}), tmp_path / "run") == 0
    config = recipes.read(tmp_path / "recipe.toml").config
    for line in lines(tmp_path / "run", "train"):
        flops = line["tokens_per_second"] * training_flops_per_token(config, 16)
        assert line["mfu"] == pytest.approx(flops / 0.1e12)  # the recipe's peak
        assert line["eta_seconds"] >= 0
    start = lines(tmp_path / "run", "start")[0]
    assert start["peak_flops"] == 0.1e12 and start["peak"] == "given in the recipe"


def test_a_log_cut_by_a_crash_is_read_and_goes_on(tmp_path):
    log = RunLog(tmp_path, 0, tensorboard=False)
    for step in (1, 2, 3):
        log.write("train", step, loss=1.0)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    assert [line["step"] for line in read_lines(tmp_path / "log.jsonl")] == [1, 2, 3]
    RunLog(tmp_path, 2, tensorboard=False).write("train", 3, loss=0.5)
    assert [line["loss"] for line in read_lines(tmp_path / "log.jsonl")] == [1.0, 1.0, 0.5]


def test_tensorboard_gets_the_same_numbers(tmp_path, data):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert (
        run(
            tiny(tmp_path, data, **{"log.tensorboard": "true", "optimizer.steps": "3", "save.snapshots": "0"}), tmp_path / "run"
        )
        == 0
    )
    events = reader.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    shown = [(e.step, e.value) for e in events.Scalars("train/loss")]
    assert shown == [(line["step"], pytest.approx(line["loss"], rel=1e-6)) for line in lines(tmp_path / "run", "train")]


def test_without_tensorboard_one_sentence_says_what_to_do(tmp_path, data, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert run(tiny(tmp_path, data, **{"log.tensorboard": "true"}), tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert "TensorBoard is not installed" in said and "tensorboard = false under [log]" in said
