"""Checkpoints that survive a crash at any moment: written beside their place, flushed to the disk, then renamed.

    checkpoints/step-00000123/  model.safetensors  optimizer.safetensors  state.json

`state.json` carries the sha256 of the two others and of itself, so a folder is either whole or recognisably not. Older
checkpoints are deleted only after the new one has been read back. Nothing is pickled.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpt2_core.model import GPT2
from gpt2_core.train.optimizer import moments, restore_moments

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
UNFINISHED = ".unfinished-"


@dataclass(frozen=True)
class Found:
    """The newest whole checkpoint and its state, and a sentence on each newer one that is broken."""

    folder: Path
    state: dict[str, Any]
    broken: tuple[str, ...]


def step_folder(parent: Path, step: int) -> Path:
    return parent / f"step-{step:08d}"


def write_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Call `write(folder)` on an empty folder beside `target`, flush its files to the disk and rename it to `target`.

    An older `target` is replaced. Raises OSError where the disk refuses (nothing is left behind, `target` stays as it was).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{UNFINISHED}{target.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir()
        write(unfinished)
        for path in unfinished.iterdir():
            _flush(path)
        _flush(unfinished)
        if target.exists():
            shutil.rmtree(target)
        os.replace(unfinished, target)
        _flush(target.parent)
    except (OSError, SafetensorError) as error:  # safetensors has its own error for a full disk
        shutil.rmtree(unfinished, ignore_errors=True)
        raise OSError(str(error)) from error


def save(parent: Path, model: GPT2, optimizer: torch.optim.AdamW, state: dict[str, Any], keep: int) -> Path:
    """Write the checkpoint of `state["step"]`, then delete all but the newest `keep`. Returns its folder.

    Raises OSError where it cannot be written or read back; the older checkpoints are then all still there.
    """
    target = step_folder(parent, state["step"])
    if target.exists() and check(target) is None:
        return target  # the same step of the same run: a resumed run writes what is there

    def write(folder: Path) -> None:
        save_file(_on_cpu(dict(model.named_parameters())), folder / MODEL)
        save_file(_on_cpu(moments(optimizer, model)), folder / OPTIMIZER)
        sealed = state | {"files": {name: sha256(folder / name) for name in (MODEL, OPTIMIZER)}}
        (folder / STATE).write_text(json.dumps(sealed | {"sha256": _seal(sealed)}, indent=1) + "\n", encoding="utf-8")

    write_folder(target, write)
    if (wrong := check(target)) is not None:
        raise OSError(f"the checkpoint was not written as it should be: {wrong}")
    for old in checkpoints(parent)[:-keep]:
        shutil.rmtree(old)
    return target


def restore(folder: Path, model: GPT2, optimizer: torch.optim.AdamW, step: int) -> None:
    """Put a checkpoint's weights and moments into a model and its optimizer."""
    model.load_state_dict(load_file(folder / MODEL), strict=True)
    restore_moments(optimizer, model, load_file(folder / OPTIMIZER), step)


def checkpoints(parent: Path) -> list[Path]:
    """The checkpoint folders, oldest first, whole or not."""
    return sorted(path for path in parent.glob("step-*") if path.is_dir())


def newest(parent: Path) -> Found | None:
    """The newest whole checkpoint, or None where there is none at all.

    Raises ValueError if there are checkpoints and each is broken: starting afresh would hide the loss.
    """
    broken: list[str] = []
    for folder in reversed(checkpoints(parent)):
        if (wrong := check(folder)) is None:
            return Found(folder, json.loads((folder / STATE).read_text(encoding="utf-8")), tuple(broken))
        broken.append(wrong)
    if broken:
        raise ValueError(f"No checkpoint in {parent} is whole ({'; '.join(broken)}); delete them to start from the beginning.")
    return None


def check(folder: Path) -> str | None:
    """None if the checkpoint is whole, else a sentence on what is wrong with it."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        seal = state.pop("sha256")
        if _seal(state) != seal:
            return f"{folder.name}: {STATE} was changed"
        for name, expected in state["files"].items():
            if sha256(folder / name) != expected:
                return f"{folder.name}: {name} does not match its sha256"
    except (OSError, ValueError, KeyError, AttributeError) as error:
        return f"{folder.name}: {STATE} or a file it names cannot be read ({error})"
    return None


def sweep(parent: Path) -> None:
    """Remove what an interrupted save left behind."""
    for path in parent.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path)


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _seal(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.detach().cpu().contiguous() for name, t in tensors.items()}


def _flush(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # only POSIX can flush a folder's entries
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
