"""Synthetic shards and tiny recipes, for the tests of the trainer."""

import json
from pathlib import Path

import numpy as np

from gpt2_core.train.__main__ import main
from gpt2_core.train.shards import ShardWriter, write_index

TINY = """
name = "tiny"
seed = 3
[model]
n_layers = 2
n_heads = 2
d_model = 16
n_ctx = 32
[data]
folder = "{data}"
window = 16
[repetition]
share = 0.25
final_share = 0.0
ids = [0, 1000]
period = [4, 8]
[batch]
rows = 8
rows_at_once = 4
[optimizer]
learning_rate = 0.003
final_learning_rate = 0.0003
warmup_steps = 2
steps = 8
[loss]
kind = "sampled"
negatives = 200
exact_last = 0.25
chunk = 48
[evaluation]
every = 4
tokens = 64
rows_at_once = 3
[save]
every = 2
keep = 2
snapshots = 4
[compute]
threads = 1
[log]
every = 1
tensorboard = false
peak_tflops = 0.1
"""


def make_shards(folder: Path, documents: int = 30, shard_tokens: int = 900, seed: int = 0) -> Path:
    """Documents in which each token nearly decides the next, so that a loss can fall; several shards."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    splits = {}
    for split, count in (("train", documents), ("validation", 4)):
        writer = ShardWriter(folder, split, shard_tokens)
        for _ in range(count):
            tokens = np.empty(int(random.integers(40, 120)), np.int64)
            tokens[0] = random.integers(50)
            for i in range(1, len(tokens)):
                tokens[i] = (7 * tokens[i - 1] + random.integers(2)) % 50
            tokens[-1] = 50256
            writer.add(tokens, 4 * len(tokens))
        writer.close()
        splits[split] = writer.shards
    write_index(folder, seed, splits)
    return folder


def tiny_text(data: Path | str = "data", **changes: str) -> str:
    """The tiny recipe; changes as **{"batch.rows": "4"}: the value of a key, in TOML, in place of its own or added."""
    lines = TINY.format(data=data).strip().splitlines()
    for dotted, value in changes.items():
        section, _, key = dotted.rpartition(".")
        first = lines.index(f"[{section}]") + 1 if section else 0
        last = next((i for i in range(first, len(lines)) if lines[i].startswith("[")), len(lines))
        at = [i for i in range(first, last) if lines[i].startswith(f"{key} =")]
        lines[slice(at[0], at[0] + 1) if at else slice(last, last)] = [f"{key} = {value}"]
    return "\n".join(lines) + "\n"


def tiny(folder: Path, data: Path, **changes: str) -> Path:
    """The tiny recipe as a file; changes as for `tiny_text`."""
    path = folder / "recipe.toml"
    path.write_text(tiny_text(data, **changes), encoding="utf-8")
    return path


def run(recipe: Path, out: Path, *more: str) -> int:
    """`python -m gpt2_core.train run`, in this process."""
    return main(["run", str(recipe), "--out", str(out), "--device", "cpu", *more])


def lines(out: Path, kind: str) -> list[dict]:
    """Lines of a run's log."""
    text = (out / "log.jsonl").read_text(encoding="utf-8")
    return [line for line in map(json.loads, text.splitlines()) if line["kind"] == kind]


def newest(out: Path) -> Path:
    """The folder of a run's newest checkpoint."""
    return sorted((out / "checkpoints").glob("step-*"))[-1]


def final_weights(out: Path) -> bytes:
    """The bytes of the newest checkpoint's weights and moments."""
    return (newest(out) / "model.safetensors").read_bytes() + (newest(out) / "optimizer.safetensors").read_bytes()
