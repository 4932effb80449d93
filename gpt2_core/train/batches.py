"""The batch of a step, as a pure function of (recipe, shards, step).

Every rank builds the whole batch of the step and takes its rows from it, so that the number of ranks, the accumulation and
restarts change nothing, and the loss knows all targets of the step. Building is a few memory-mapped copies.

Text: the split is read as a circle of tokens, cut into windows that do not overlap; each epoch has its own random cut and
order, so that every token is predicted once per epoch (but for the fewer than `window` that are left over, others each
time). Repetition documents: a random span repeated; nothing of the first copy can be predicted, so it has no weight.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.train.recipe import Recipe, Repetition
from gpt2_core.train.shards import Shards

EPOCH, SPAN, NEGATIVES = 1, 2, 3  # streams of random numbers: equal seeds in different streams share nothing


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of text, and rows' worth of repetition documents; a row is `window` predictions in either.

    text: Int [row, window + 1], every prediction of it weighs 1. repeated: Int [document, length + 1]; importance: Float
    [document, length], the weight of each of their predictions. Rows count text first, then the documents, several to a row.
    """

    text: Int[Tensor, "row tokens"]
    repeated: Int[Tensor, "document repeated_tokens"]
    importance: Float[Tensor, "document length"]

    @property
    def targets(self) -> Int[Tensor, " prediction"]:
        """All tokens that are predicted."""
        return torch.cat([self.text[:, 1:].flatten(), self.repeated[:, 1:].flatten()])

    @property
    def weight(self) -> float:
        """The total weight of the predictions."""
        return self.text[:, 1:].numel() + self.importance.sum().item()

    def rows(self, first: int, count: int) -> "Batch":
        """`count` rows from row `first` on."""
        text, to_a_row = len(self.text), (self.text.shape[1] - 1) // self.importance.shape[1]
        documents = slice(max(0, first - text) * to_a_row, max(0, first + count - text) * to_a_row)
        return Batch(self.text[first : first + count], self.repeated[documents], self.importance[documents])

    def to(self, device: torch.device) -> "Batch":
        if device.type != "cuda":
            return self
        return Batch(*(t.pin_memory().to(device, non_blocking=True) for t in (self.text, self.repeated, self.importance)))


class Batches:
    """`batches(step)` is the batch of update number `step` (0-based). Raises ValueError for too little text."""

    def __init__(self, recipe: Recipe, shards: Shards):
        self.recipe, self.shards, self.total = recipe, shards, shards.tokens("train")
        if self.total <= recipe.data.window:
            raise ValueError(
                f"The training text has {self.total} tokens, which is less than a window of {recipe.data.window} and the "
                "token after it; prepare more text or make [data] window smaller."
            )
        self.windows = self.total // recipe.data.window  # of one epoch
        self.repeated = repetition_rows(recipe)
        self.text_before = np.concatenate([[0], np.cumsum(recipe.batch.rows - self.repeated)])
        self._epoch = lru_cache(maxsize=2)(self._new_epoch)

    def __call__(self, step: int) -> Batch:
        r, window, repeated = self.recipe.repetition, self.recipe.data.window, int(self.repeated[step])
        text = np.empty((self.recipe.batch.rows - repeated, window + 1), dtype=np.int64)
        for row in range(len(text)):
            text[row] = self.read(self.start(int(self.text_before[step]) + row))
        random, length = np.random.default_rng([self.recipe.seed, SPAN, step]), r.length or window
        documents, importance = repetitions(r, repeated * (window // length), length, random)
        return Batch(torch.from_numpy(text), torch.from_numpy(documents), torch.from_numpy(importance))

    def start(self, index: int) -> int:
        """Where the `index`-th window of the whole run begins."""
        epoch, place = divmod(index, self.windows)
        offset, order = self._epoch(epoch)
        return (offset + int(order[place]) * self.recipe.data.window) % self.total

    def read(self, start: int) -> np.ndarray:
        """The window + 1 tokens from `start` on, around the end to the beginning."""
        length = self.recipe.data.window + 1
        until_end = min(length, self.total - start)
        head = self.shards.window("train", start, until_end)
        return head if until_end == length else np.concatenate([head, self.shards.window("train", 0, length - until_end)])

    def epochs(self, step: int) -> float:
        """How often the text has been read after `step` updates."""
        return float(self.text_before[step]) / self.windows

    def _new_epoch(self, epoch: int) -> tuple[int, np.ndarray]:
        random = np.random.default_rng([self.recipe.seed, EPOCH, epoch])
        return int(random.integers(self.total)), random.permutation(self.windows)


def repetition_rows(recipe: Recipe) -> np.ndarray:
    """How many rows of each step are repetition documents, int [step]; their running total never strays by a row."""
    r, steps = recipe.repetition, recipe.optimizer.steps
    last = r.share if r.final_share < 0 else r.final_share
    progress = np.minimum(1, np.linspace(0, 1, steps) / r.fade)
    wanted = np.cumsum((r.share + (last - r.share) * progress) * recipe.batch.rows)
    return np.diff(np.floor(wanted + 0.5).astype(np.int64), prepend=0)


def repetitions(r: Repetition, documents: int, length: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Repetition documents [document, length + 1] and the weight of each prediction [document, length]."""
    period = random.integers(r.period[0], r.period[1] + 1, (documents, 1))
    span = random.integers(r.ids[0], r.ids[1], (documents, r.period[1]))
    position = np.arange(length + 1)[None]
    return np.take_along_axis(span, position % period, 1), (position[:, 1:] >= period).astype(np.float32)


def negatives_seed(recipe: Recipe, step: int) -> int:
    """The seed of the random candidates of a step's sampled loss."""
    return int(np.random.SeedSequence([recipe.seed, NEGATIVES, step]).generate_state(1)[0])
