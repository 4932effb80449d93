"""Models that a run leaves behind: a Hugging Face folder with a `training.json` that says how it came to be."""

import json
from pathlib import Path
from typing import Any

from gpt2_core.checkpoints.export import save_pretrained
from gpt2_core.model import GPT2
from gpt2_core.runtime import resolve_dtype
from gpt2_core.train.checkpoint import write_folder

TRAINING = "training.json"


def write_snapshot(folder: Path, model: GPT2, dtype: str, training: dict[str, Any]) -> None:
    """The model in `dtype` and `training.json`, whole or not at all. Raises OSError where it cannot be written."""
    kind = resolve_dtype(dtype)
    copy = GPT2(model.config)
    copy.load_state_dict({name: p.detach().cpu() for name, p in model.named_parameters()})
    copy.to(kind)

    def write(target: Path) -> None:
        save_pretrained(copy, target)
        (target / TRAINING).write_text(json.dumps(training, indent=2) + "\n", encoding="utf-8")

    write_folder(folder, write)
