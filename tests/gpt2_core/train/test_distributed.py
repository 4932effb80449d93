"""Two processes started by torchrun equal one with the same rows: the same loss curve, the same weights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from train_helpers import lines, make_shards, newest, run, tiny

from gpt2_core.train import recipe as recipes
from gpt2_core.train.distributed import Ranks
from gpt2_core.train.shards import Shards
from gpt2_core.train.trainer import Trainer

ROOT = Path(__file__).resolve().parents[3]


def torchrun(recipe: Path, out: Path, *more: str) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "gpt2_core.train"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command += ["run", str(recipe), "--out", str(out), "--device", "cpu", *more]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_equal_runs(one: Path, two: Path) -> None:
    """The same lines and the same weights, but for rounding."""
    for kind, keys in (("train", ("loss", "repetition_loss", "grad_norm")), ("evaluation", ("validation_loss",))):
        a, b = lines(one, kind), lines(two, kind)
        assert len(a) == len(b) > 1
        for x, y in zip(a, b):
            expected = [x[key] if x[key] is None else pytest.approx(x[key], rel=1e-5) for key in keys]
            assert x["step"] == y["step"] and [y[key] for key in keys] == expected
    a, b = (load_file(newest(out) / "model.safetensors") for out in (one, two))
    assert max((a[name] - b[name]).abs().max().item() for name in a) < 1e-5


def recipes_for(tmp_path: Path) -> tuple[Path, Path]:
    """The same run for one process, all rows at once, and for two that accumulate; several documents to a row."""
    data = make_shards(tmp_path / "data")
    changes = {"save.snapshots": "0", "repetition.share": "0.5", "repetition.length": "8"}
    (tmp_path / "a").mkdir()
    one = tiny(tmp_path / "a", data, **changes, **{"batch.rows_at_once": "8"})
    return one, tiny(tmp_path, data, **changes, **{"batch.rows_at_once": "2"})


def test_two_processes_equal_one(tmp_path):
    """Of two, the first has only text and the second most of the repetition documents."""
    one, two = recipes_for(tmp_path)
    assert run(one, tmp_path / "one") == 0
    assert "2 process(es) on cpu" in torchrun(two, tmp_path / "two")
    assert_equal_runs(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_processes_stop_together_and_another_number_of_them_goes_on(tmp_path):
    one, two = recipes_for(tmp_path)
    assert run(one, tmp_path / "one") == 0
    assert "Stopped at step 1 of 8" in torchrun(two, tmp_path / "two", "--max-minutes", "0")
    assert run(two, tmp_path / "two", "--max-minutes", "0") == 0
    assert "step 2 of 8" in torchrun(two, tmp_path / "two")
    assert_equal_runs(tmp_path / "one", tmp_path / "two")


def test_rows_that_processes_cannot_share_are_refused(tmp_path):
    recipe = recipes.read(tiny(tmp_path, make_shards(tmp_path / "data")))
    with pytest.raises(ValueError, match="rows is 8, expected a multiple of rows_at_once x processes, 4 x 3"):
        Trainer(recipe, Shards.open(tmp_path / "data"), tmp_path, Ranks(0, 3, torch.device("cpu")))
