"""A GPT2 -> a folder of the Hugging Face layout, which transformers (and this package) load with equal logits."""

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from gpt2_core.checkpoints.find import CONFIG, WEIGHTS
from gpt2_core.model import GPT2


@torch.no_grad()
def save_pretrained(model: GPT2, folder: str | Path) -> Path:
    """Write config.json, model.safetensors (the released names, the model's dtype) and the tokenizer's files.

    Configuration and weights appear whole or not at all. Returns the folder. Raises OSError where it cannot be written.
    """
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    config = model.cfg.to_hf() | {"dtype": str(model.cfg.dtype).removeprefix("torch.")}
    if model.tokenizer is not None:
        config |= {"bos_token_id": model.tokenizer.bos_id, "eos_token_id": model.tokenizer.eos_id}
        model.tokenizer.to_hf_files(folder)
    replace_file(folder / CONFIG, lambda path: path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8"))
    replace_file(folder / WEIGHTS, lambda path: _write_weights(model, path, permissions_of=folder / CONFIG))
    return folder


def _write_weights(model: GPT2, path: Path, permissions_of: Path) -> None:
    weights = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    save_file(weights, path, metadata={"format": "pt"})
    shutil.copymode(permissions_of, path)  # safetensors lets only the owner read what it writes


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """`write(unfinished)` beside `path`, then renamed to it: the file appears whole or stays as it was. Raises OSError."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        write(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
