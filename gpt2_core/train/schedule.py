"""What happens at which step: learning rate, kind of loss, snapshots. All pure functions of the recipe."""

import math

import numpy as np

from gpt2_core.train.recipe import Optimizer, Recipe


def learning_rate(o: Optimizer, step: int) -> float:
    """Rate of update number `step` (0-based): linear up to `learning_rate` in `warmup_steps`, then half a cosine.

    The last warm-up update and the first after it have the full rate, the last of all has `final_learning_rate`.
    """
    if step < o.warmup_steps:
        return o.learning_rate * (step + 1) / o.warmup_steps
    progress = (step - o.warmup_steps) / max(1, o.steps - 1 - o.warmup_steps)
    return o.final_learning_rate + (o.learning_rate - o.final_learning_rate) * 0.5 * (1 + math.cos(math.pi * progress))


def trains_sampled(recipe: Recipe, step: int) -> bool:
    """Whether update number `step` uses the sampled loss: the last `exact_last` of the steps are exact."""
    exact = round(recipe.loss.exact_last * recipe.optimizer.steps)
    return recipe.loss.kind == "sampled" and step < recipe.optimizer.steps - exact


def snapshot_steps(steps: int, count: int) -> tuple[int, ...]:
    """`count` steps from 0 to `steps`, both included, evenly spaced in the logarithm from 1 on (fewer if steps are few)."""
    if count == 0:
        return ()
    if count > steps:
        return tuple(range(steps + 1))
    points = count - 1
    while len(spaced := np.unique(np.geomspace(steps, 1, points).round().astype(int))) < count - 1:
        points += 1  # the first ones fall on the same whole number
    return (0, *(int(step) for step in spaced[-(count - 1) :]))
