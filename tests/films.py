"""Runs and films of tiny random models, for tests of whatever reads them."""

import json
from collections.abc import Sequence
from pathlib import Path

from helpers import random_model, tiny_config

from gpt2_core.checkpoints import save_pretrained
from gpt2_core.model import GPT2
from interp.dynamics import film
from interp.film import Film


def tiny_model(seed: int, **shape) -> GPT2:
    """A tiny model whose weights, hence everything measured on it, differ with the seed; saved without tokenizer files."""
    return random_model(tiny_config(**{"n_heads": 2, "d_model": 16, **shape}), seed)


def training(name: str, step: int, steps: int, **changes) -> dict:
    """What a trainer writes beside a checkpoint; the losses are made up, each different."""
    done = step / max(steps, 1)
    late = {"train_loss": None if step == 0 else 10.0 - done, "validation_loss": 10.5 - done}
    data = {"fingerprint": "0" * 64, "train_tokens": 1000, "validation_tokens": 500, "validation_bytes": 2100}
    tokens = {"tokens": 128 * step, "bits_per_byte": 3.5 - done, "validation_tokens": 500, "seconds": 0.5 * step}
    recipe = {
        "name": name,
        "seed": 7,
        "model": {"n_layers": 2, "n_heads": 2, "d_model": 16},
        "data": {"folder": "/secret/place/books", "window": 32},
        "batch": {"rows": 4, "rows_at_once": 2},
        "optimizer": {"learning_rate": 0.002, "steps": max(steps, 1)},
        "evaluation": {"every": 10, "tokens": 500, "rows_at_once": 2},
        "save": {"every": 10, "keep": 2},
        "repetition": {"share": 0.25, "final_share": 0.05, "ids": [100, 20000], "period": [4, 9]},
    }
    said = {"recipe": recipe, "data": data, "machine": "1 x test, 1 thread(s)"}
    return {"name": name, "step": step, "steps": steps, **late, **tokens, **said, **changes}


def tiny_run(folder: Path, steps: Sequence[int] = (0, 10, 200), name: str = "glass-1m", **shape) -> Path:
    """A run folder with a snapshot of another random model at each step, and the last again as `model`."""
    for seed, step in enumerate(steps):
        places = [folder / "snapshots" / f"step-{step:08d}", *([folder / "model"] if step == steps[-1] else [])]
        for place in places:
            save_pretrained(tiny_model(seed, **shape), place)
            (place / "training.json").write_text(json.dumps(training(name, step, steps[-1])), encoding="utf-8")
    return folder


def tiny_film(folder: Path, steps: Sequence[int] = (0, 10, 200), **shape) -> Film:
    """The film of `tiny_run`."""
    return film(tiny_run(folder, steps, **shape))
