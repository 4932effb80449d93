"""What a run says: JSON lines, TensorBoard, and how fast it is compared with what the machine could do."""

import json
import time
from pathlib import Path
from typing import Any

import torch

from gpt2_core.accounting import training_flops_per_token
from gpt2_core.checkpoints.export import replace_file
from gpt2_core.config import GPT2Config

LINES = "log.jsonl"


class RunLog:
    """Appends lines to RUN/log.jsonl and scalars to RUN/tensorboard; `quiet` ranks write nothing.

    A run that goes on from `step` drops the lines of later steps, which it is about to write again.
    Raises ValueError if TensorBoard is asked for and not installed.
    """

    def __init__(self, run: Path, step: int, tensorboard: bool, quiet: bool = False):
        self._board, self._path = None, None if quiet else run / LINES
        if quiet:
            return
        if tensorboard:
            self._board = _summary_writer(run / "tensorboard", step)
        kept = [line for line in read_lines(self._path) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        replace_file(self._path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))

    def write(self, kind: str, step: int, **values: Any) -> None:
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    self._board.add_scalar(f"{kind}/{name}", value, step)
            self._board.flush()

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; the last may have been cut by a crash and is then left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    whole = [json.loads(line) for line in lines[:-1]]
    try:
        return whole + [json.loads(line) for line in lines[-1:]]
    except json.JSONDecodeError:
        return whole


def _summary_writer(folder: Path, step: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "TensorBoard is not installed; install it (pip install tensorboard), or set tensorboard = false under [log]."
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1)


def step_flops(config: GPT2Config, tokens: int, window: int, candidates: int | None) -> float:
    """FLOPs of one training step by the usual count (6 N + 12 L d T a token).

    With a sampled loss the output product runs over the candidates only, and only that is counted.
    """
    per_token = training_flops_per_token(config, window)
    if candidates is not None:
        per_token -= 6 * (config.d_vocab - candidates) * config.d_model
    return float(tokens * per_token)


def measure_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs a second of a large matrix product, the best within half a second: what the utilisation is a share of."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + 0.5
    while time.perf_counter() < end or best == float("inf"):
        _settle(device)
        start = time.perf_counter()
        a @ b
        _settle(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
