"""A series of checkpoints of one training: which folders, in which order, and what was written beside them.

Read are `training.json`, which this project's trainer writes, and `trainer_state.json`, which transformers' Trainer does. A
folder needs neither, if its name tells its step.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt2_core.checkpoints.find import CONFIG

SNAPSHOTS, TRAINING, TRAINER_STATE = "snapshots", "training.json", "trainer_state.json"
NAME = re.compile(r"(?:step|checkpoint)-(\d+)")
CORRECT = "correct it, or delete the file"


@dataclass(frozen=True)
class Checkpoint:
    """A folder of a series and what is known of it: name of the model, tokens read, losses in nats per token, else None."""

    folder: Path
    step: int
    name: str | None = None
    tokens: int | None = None
    train_loss: float | int | None = None
    validation_loss: float | int | None = None


def checkpoints(series: str | Path | Iterable[str | Path]) -> list[Checkpoint]:
    """The checkpoints of a run folder (or of a folder of checkpoints), or the given folders, by step.

    The step is the one written in the folder, else the number in a name like `step-00000100` or `checkpoint-100`. Raises
    ValueError where there are none, where one has no step, and where two have the same.
    """
    one = isinstance(series, str | Path)
    folders = _inside(Path(series).expanduser()) if one else [Path(folder).expanduser() for folder in series]
    if not folders:
        raise ValueError("No checkpoints were given; expected a run folder, or folders with config.json and model.safetensors.")
    found = sorted(map(_checkpoint, folders), key=lambda checkpoint: checkpoint.step)
    for a, b in zip(found, found[1:]):
        if a.step == b.step:
            raise ValueError(f"{a.folder} and {b.folder} are both of step {a.step}; leave one of them out.")
    return found


def series_of(folders: list[str]) -> str | list[str]:
    """What a command line means: a single folder is a run unless it is a checkpoint itself."""
    single = Path(folders[0]).expanduser()
    is_run = len(folders) == 1 and ((single / SNAPSHOTS).is_dir() or not (single / CONFIG).is_file())
    return folders[0] if is_run else folders


def _inside(run: Path) -> list[Path]:
    root = run / SNAPSHOTS if (run / SNAPSHOTS).is_dir() else run
    if not root.is_dir():
        raise ValueError(f"There is no folder {run}; expected a run folder, or a folder of checkpoints.")
    folders = [folder for folder in root.iterdir() if folder.is_dir() and NAME.fullmatch(folder.name)]
    if not folders:
        raise ValueError(f"{root} holds no checkpoints; expected folders named like step-00000100 or checkpoint-100.")
    return folders


def _checkpoint(folder: Path) -> Checkpoint:
    known = _training(folder) or _trainer_state(folder)
    step, place = known.pop("step", None), folder.absolute()
    if step is None and (named := NAME.fullmatch(place.name)) is not None:
        step = int(named[1])
    if step is None:
        raise ValueError(f"{folder} does not tell its step; expected {TRAINING} with a step, or a name like checkpoint-100.")
    around = place.parent
    name = known.pop("name", None) or (around.parent if around.name == SNAPSHOTS else around).name
    return Checkpoint(folder, step, name, **known)


def _training(folder: Path) -> dict[str, Any]:
    path = folder / TRAINING
    content = read_json(path) if path.is_file() else {}
    kinds = {"step": (int,), "tokens": (int,), "train_loss": (int, float), "validation_loss": (int, float), "name": (str,)}
    known = {key: content[key] for key in kinds if content.get(key) is not None}
    return _checked(path, known, kinds)


def _trainer_state(folder: Path) -> dict[str, Any]:
    """The last losses that transformers' Trainer logged before it saved; 0 tokens there means that it did not count them."""
    path = folder / TRAINER_STATE
    content = read_json(path) if path.is_file() else {}
    known = {"step": content.get("global_step"), "tokens": content.get("num_input_tokens_seen") or None}
    history = content.get("log_history", [])
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise ValueError(f"{path} has a log_history that is no list of objects; {CORRECT}.")
    for key, logged in (("train_loss", "loss"), ("validation_loss", "eval_loss")):
        known[key] = next((entry[logged] for entry in reversed(history) if logged in entry), None)
    kinds = {"step": (int,), "tokens": (int,), "train_loss": (int, float), "validation_loss": (int, float)}
    return _checked(path, {key: value for key, value in known.items() if value is not None}, kinds)


def _checked(path: Path, known: dict[str, Any], kinds: dict[str, tuple[type, ...]]) -> dict[str, Any]:
    for key, value in known.items():
        if type(value) not in kinds[key] or (type(value) is int and value < 0):
            raise ValueError(f"{path} says {key} is {value!r}, which cannot be; {CORRECT}.")
    return known


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError, in one sentence."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); {CORRECT}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} should hold a JSON object, but holds a {type(content).__name__}; {CORRECT}.")
    return content
