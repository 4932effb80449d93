"""What may happen to a run: kill -9 during a save, a full disk, NaN, signals, damaged files, the wrong folder."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from train_helpers import final_weights, lines, make_shards, newest, run, tiny

from gpt2_core.train import checkpoint
from gpt2_core.train.objective import Objective

KILLED_WHILE_SAVING = """
import os, signal, sys
from gpt2_core.train import checkpoint
from gpt2_core.train.__main__ import main

whole, saves = checkpoint.save_file, []

def half(tensors, path, **more):  # the weights of the third checkpoint are cut off in the middle
    whole(tensors, path, **more)
    saves.append(path)
    if len(saves) == 5:
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.save_file = half
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run that nothing happened to; no snapshots, so that it is quick."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(small(folder, data), folder / "run") == 0
    return folder / "run"


def small(folder: Path, data: Path, **changes: str) -> Path:
    return tiny(folder, data, **{"save.snapshots": "0", "evaluation.every": "8", **changes})


def python(*arguments: str) -> subprocess.Popen:
    root = Path(__file__).resolve().parents[3]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def steps_kept(out: Path) -> list[int]:
    return [int(folder.name[5:]) for folder in sorted((out / "checkpoints").glob("step-*"))]


def test_kill_9_during_a_save_loses_nothing_that_was_saved(tmp_path, data, whole):
    recipe, out = small(tmp_path, data), tmp_path / "run"
    process = python("-c", KILLED_WHILE_SAVING, "run", str(recipe), "--out", str(out), "--device", "cpu")
    said, _ = process.communicate(timeout=500)
    assert process.returncode == -signal.SIGKILL, said.decode()
    assert steps_kept(out) == [2, 4]  # 6 was being written
    assert (out / "checkpoints" / ".unfinished-step-00000006").exists()
    assert run(recipe, out) == 0
    assert lines(out, "start")[-1]["step"] == 4
    assert final_weights(out) == final_weights(whole)
    assert not list((out / "checkpoints").glob(".*"))


def test_a_full_disk_leaves_the_last_checkpoint_and_says_so(tmp_path, data, whole, monkeypatch, capsys):
    recipe, out, written = small(tmp_path, data), tmp_path / "run", []
    real = checkpoint.save_file

    def full(tensors, path, **more):
        written.append(path)
        if len(written) > 4:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path, **more)

    monkeypatch.setattr(checkpoint, "save_file", full)
    assert run(recipe, out) == 1
    said = capsys.readouterr().err
    assert "Writing at step 6 failed" in said and "No space left on device" in said and "step-00000004" in said
    assert steps_kept(out) == [2, 4] and checkpoint.check(newest(out)) is None
    monkeypatch.undo()
    assert run(recipe, out) == 0
    assert final_weights(out) == final_weights(whole)


def test_safetensors_own_error_for_a_full_disk_is_the_same(tmp_path):
    from safetensors import SafetensorError

    def refuse(folder):
        raise SafetensorError('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })')

    with pytest.raises(OSError, match="No space left"):
        checkpoint.write_folder(tmp_path / "target", refuse)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_number_that_is_not_finite_ends_the_run_before_it_is_kept(tmp_path, data, monkeypatch, capsys, where):
    recipe, out, calls = small(tmp_path, data), tmp_path / "run", []
    real = Objective.forward

    def poisoned(self, batch, candidates):
        calls.append(1)
        sums = real(self, batch, candidates)
        if len(calls) <= 6:  # two forward passes a step
            return sums
        return sums * float("nan") if where == "loss" else Poison.apply(sums)

    monkeypatch.setattr(Objective, "forward", poisoned)
    assert run(recipe, out) == 1
    said = capsys.readouterr().err
    assert "nan" in said and "step 3" in said and "step-00000002" in said and said.count("\n") == 1
    assert steps_kept(out) == [2]
    assert all(bool(t.isfinite().all()) for t in checkpoint.load_file(newest(out) / "model.safetensors").values())


class Poison(torch.autograd.Function):
    """Passes a finite loss on, and a gradient that is not."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, upstream):
        return upstream * float("nan")


def test_weights_that_are_not_finite_are_never_saved(tmp_path, data, monkeypatch, capsys):
    def ruin(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.fill_(float("inf"))

    monkeypatch.setattr(torch.optim.AdamW, "step", ruin)
    assert run(small(tmp_path, data, **{"save.every": "1"}), tmp_path / "run") == 1
    assert "A weight is not finite after step 1" in capsys.readouterr().err
    assert steps_kept(tmp_path / "run") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_goes_on(tmp_path, data, number):
    recipe = small(tmp_path, data, **{"optimizer.steps": "100000", "save.every": "100000"})
    out = tmp_path / "run"
    process = python("-m", "gpt2_core.train", "run", str(recipe), "--out", str(out), "--device", "cpu")
    log = out / "log.jsonl"
    until = time.monotonic() + 500
    while not (log.exists() and '"train"' in log.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(number)
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said.decode()
    [step] = steps_kept(out)
    assert f"Stopped at step {step} of 100000: {number.name} came. The same command goes on from there." in said.decode()
    assert lines(out, "stopped")[0]["step"] == step


def test_minutes_end_a_run_with_a_checkpoint(tmp_path, data, whole, capsys):
    recipe, out = small(tmp_path, data), tmp_path / "run"
    for expected in (1, 2):
        assert run(recipe, out, "--max-minutes", "0") == 0
        assert f"Stopped at step {expected} of 8: its 0 minutes are over" in capsys.readouterr().out
        assert steps_kept(out)[-1] == expected
    assert run(recipe, out) == 0
    assert final_weights(out) == final_weights(whole)


@pytest.mark.parametrize("damage", ["bit", "cut", "no state", "edited state"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(tmp_path, data, whole, capsys, damage):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    model, state = newest(out) / "model.safetensors", newest(out) / "state.json"
    if damage == "bit":
        raw = bytearray(model.read_bytes())
        raw[-1] ^= 1
        model.write_bytes(raw)
    elif damage == "cut":
        os.truncate(newest(out) / "optimizer.safetensors", 1000)
    elif damage == "no state":
        state.unlink()
    else:
        state.write_text(state.read_text().replace('"step": 8', '"step": 7'))
    assert run(small(tmp_path, data), out) == 0
    said = capsys.readouterr()
    assert "step 6 of 8" in said.out and "A broken checkpoint is passed over: step-00000008" in said.err
    assert final_weights(out) == final_weights(whole)


def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_afresh(tmp_path, data, whole, capsys):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    for folder in (out / "checkpoints").iterdir():
        (folder / "state.json").write_text("{")
    assert run(small(tmp_path, data), out) == 2
    assert "No checkpoint in" in capsys.readouterr().err and steps_kept(out) == [6, 8]


def test_old_checkpoints_go_only_after_the_new_one_was_read_back(tmp_path, data, monkeypatch, capsys):
    real = checkpoint.check
    monkeypatch.setattr(checkpoint, "check", lambda folder: "it differs" if folder.name.endswith("6") else real(folder))
    assert run(small(tmp_path, data, **{"save.keep": "1"}), tmp_path / "run") == 1
    assert "not written as it should be" in capsys.readouterr().err
    assert 4 in steps_kept(tmp_path / "run")


def test_another_recipe_or_other_data_are_refused(tmp_path, data, whole, capsys):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    before = final_weights(out)
    assert run(small(tmp_path, data, **{"optimizer.steps": "9"}), out) == 2
    assert "belongs to another recipe: [optimizer] steps is 9 in the given recipe and 8 in the run's" in capsys.readouterr().err
    assert run(small(tmp_path, make_shards(tmp_path / "other", seed=1)), out) == 2
    assert "was trained on other data" in capsys.readouterr().err
    assert run(small(tmp_path, tmp_path / "nowhere"), out) == 2
    assert "holds no index.json" in capsys.readouterr().err
    assert final_weights(out) == before
    shutil.move(data, tmp_path / "moved")  # the same data elsewhere is the same data
    try:
        assert run(small(tmp_path, tmp_path / "moved", **{"batch.rows_at_once": "8"}), out) == 0
    finally:
        shutil.move(tmp_path / "moved", data)


def test_two_processes_cannot_train_in_one_folder(tmp_path, data, capsys):
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        assert run(small(tmp_path, data), tmp_path / "run") == 2
    assert "Another process is training in" in capsys.readouterr().err


def test_a_finished_run_changes_nothing_when_run_again(tmp_path, data, whole):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "model")  # as if killed between the last checkpoint and the model
    assert run(small(tmp_path, data), out) == 0
    assert (out / "model" / "model.safetensors").read_bytes() == (whole / "model" / "model.safetensors").read_bytes()
    a, b = (json.loads((o / "model" / "training.json").read_text()) for o in (out, whole))
    assert a | {"recipe": 0} == b | {"recipe": 0}
