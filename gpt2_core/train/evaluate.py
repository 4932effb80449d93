"""The exact loss over a fixed set of validation windows, in nats per token and bits per byte."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from gpt2_core.train.distributed import Ranks
from gpt2_core.train.objective import Objective
from gpt2_core.train.recipe import Recipe
from gpt2_core.train.shards import Shards


@dataclass(frozen=True)
class Validation:
    """Mean loss over `tokens` predictions; `bits_per_byte` scales it with the whole split's tokens per byte."""

    loss: float
    bits_per_byte: float
    tokens: int


def validation_windows(recipe: Recipe, shards: Shards) -> Int[Tensor, "row tokens"]:
    """Windows of window + 1 tokens that do not overlap in their predictions, spread evenly over the validation split.

    Raises ValueError if the split is shorter than one window.
    """
    window, total = recipe.data.window, shards.tokens("validation")
    there = (total - 1) // window
    if there < 1:
        raise ValueError(
            f"The validation text has {total} tokens, expected more than one window of {window}; prepare more text."
        )
    count = min(there, recipe.evaluation.tokens // window)
    starts = np.arange(count) * there // count * window
    return torch.from_numpy(np.stack([shards.window("validation", int(start), window + 1) for start in starts]))


def bits_per_byte(nats_per_token: float, shards: Shards) -> float:
    return nats_per_token / math.log(2) * shards.tokens("validation") / shards.bytes("validation")


@torch.no_grad()
def evaluate(objective: Objective, windows: Tensor, recipe: Recipe, shards: Shards, ranks: Ranks) -> Validation:
    """Every process computes its share of the windows, and all get the same result."""
    mine, at_once = windows[ranks.rank :: ranks.count], recipe.evaluation.rows_at_once
    total = torch.zeros((), dtype=torch.float64)
    for part in mine.split(at_once) if len(mine) else ():
        total += objective.exact(part.to(ranks.device)).cpu().double()
    predictions = windows.shape[0] * (windows.shape[1] - 1)
    loss = ranks.sum(total).item() / predictions
    return Validation(loss, bits_per_byte(loss, shards), predictions)
