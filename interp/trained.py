"""What a finished run says of itself in training.json, read and checked, and what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpt2_core.train.batches import repetition_rows
from gpt2_core.train.recipe import Recipe, from_dict
from interp.series import TRAINING

NUMBER = (int, float)


@dataclass(frozen=True)
class Trained:
    """A finished run. Losses in nats per token; validation_tokens: predictions that were scored; train_tokens: of the text.

    seconds: of training, evaluations left out.
    """

    recipe: Recipe
    validation_loss: float | int
    bits_per_byte: float | int
    validation_tokens: int
    train_tokens: int
    seconds: float | int
    machine: str

    @property
    def repetition_rows(self) -> int:
        """Rows of the whole run that held repetition documents."""
        return int(repetition_rows(self.recipe).sum())

    @property
    def text_rows(self) -> int:
        return self.recipe.batch.rows * self.recipe.optimizer.steps - self.repetition_rows

    @property
    def text_tokens(self) -> int:
        """Tokens of text that were predicted, repetition documents left out."""
        return self.text_rows * self.recipe.data.window

    @property
    def repetition_tokens(self) -> int:
        return self.repetition_rows * self.recipe.data.window

    @property
    def epochs(self) -> float:
        """How often the training text was read, counted in whole windows as the trainer does."""
        return self.text_rows / (self.train_tokens // self.recipe.data.window)

    @staticmethod
    def read(training: Mapping[str, Any]) -> "Trained":
        """From the object in training.json. Raises ValueError, in one sentence, for what is missing or cannot be."""
        plain = {name: need(training, key, kinds) for name, (key, kinds) in KEYS.items()}
        trained = Trained(recipe=from_dict(need(training, "recipe", (dict,))), **plain)
        if trained.train_tokens < trained.recipe.data.window:
            raise ValueError(f"{TRAINING} of the model tells of no training: its text is shorter than a window.")
        return trained


KEYS = {
    "validation_loss": ("validation_loss", NUMBER),
    "bits_per_byte": ("bits_per_byte", NUMBER),
    "validation_tokens": ("validation_tokens", (int,)),
    "train_tokens": ("data.train_tokens", (int,)),
    "seconds": ("seconds", NUMBER),
    "machine": ("machine", (str,)),
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
