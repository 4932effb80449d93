"""What a finished run says of itself in training.json, read and checked, and what follows from it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interp.series import TRAINING

NUMBER = (int, float)


@dataclass(frozen=True)
class Trained:
    """What training.json says of the finished run. validation_tokens: predictions that were scored; losses in nats per token.

    recipe: nested, as the trainer wrote it. train_tokens: tokens of the training text. seconds: of training, evaluations too.
    """

    steps: int
    validation_loss: float | int
    bits_per_byte: float | int
    validation_tokens: int
    train_tokens: int
    seconds: float | int
    machine: str
    rows: int
    window: int
    share: float | int
    final_share: float | int
    ids: tuple[int, int]
    period: tuple[int, int]
    recipe: dict[str, Any]

    @property
    def shares(self) -> tuple[float, float]:
        """Share of repetition documents at the first step and at the last; a negative `final_share` means as the first."""
        return self.share, self.share if self.final_share < 0 else self.final_share

    @property
    def repetition_rows(self) -> int:
        """Rows of the whole run that were repetition documents: the share moves linearly, the trainer rounds its sum."""
        return math.floor(sum(self.shares) / 2 * self.rows * self.steps + 0.5)

    @property
    def text_tokens(self) -> int:
        """Tokens of text that were predicted, repetition documents left out."""
        return (self.rows * self.steps - self.repetition_rows) * self.window

    @property
    def repetition_tokens(self) -> int:
        return self.repetition_rows * self.window

    @property
    def epochs(self) -> float:
        """How often the training text was read, counted in whole windows as the trainer does."""
        return (self.rows * self.steps - self.repetition_rows) / (self.train_tokens // self.window)

    @staticmethod
    def read(training: Mapping[str, Any]) -> "Trained":
        """From the object in training.json. Raises ValueError, in one sentence, for what is missing or cannot be."""
        whole = {name: need(training, key, kinds) for name, (key, kinds) in KEYS.items()}
        pairs = {key: tuple(need(training, f"recipe.repetition.{key}", (list, tuple))) for key in ("ids", "period")}
        trained = Trained(**whole, **pairs)
        if min(trained.steps, trained.rows, trained.window, trained.train_tokens // trained.window) < 1:
            raise ValueError(f"{TRAINING} of the model tells of no training: no steps, no rows or less text than a window.")
        return trained


KEYS = {
    "steps": ("steps", (int,)),
    "validation_loss": ("validation_loss", NUMBER),
    "bits_per_byte": ("bits_per_byte", NUMBER),
    "validation_tokens": ("validation_tokens", (int,)),
    "train_tokens": ("data.train_tokens", (int,)),
    "seconds": ("seconds", NUMBER),
    "machine": ("machine", (str,)),
    "rows": ("recipe.batch.rows", (int,)),
    "window": ("recipe.data.window", (int,)),
    "share": ("recipe.repetition.share", NUMBER),
    "final_share": ("recipe.repetition.final_share", NUMBER),
    "recipe": ("recipe", (dict,)),
}


def need(table: Mapping[str, Any], key: str, kinds: tuple[type, ...]) -> Any:
    """The value at a dotted key. Raises ValueError where it is missing or of another type."""
    value: Any = table
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if type(value) not in kinds:
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{TRAINING} of the model says {key} is {value!r}, expected {names}; the trainer writes it.")
    return value
