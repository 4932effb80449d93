"""A new model with the recipe's initialisation: GPT-2's, or wider matrices and sinusoidal positions where asked.

The two departures help narrow models: at d_model 128, N(0, 0.02) makes the first attention scores so small that position and
content can hardly be told apart, and an induction head forms late or never.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.model import GPT2
from gpt2_core.train.recipe import Init, Recipe

MATRIX_STD, POSITION_STD = 0.02, 0.01  # of GPT2.init_weights


def new_model(recipe: Recipe) -> GPT2:
    """A model with the recipe's shape, initialised from the recipe's seed; the same on every rank."""
    model = GPT2(recipe.config).init_weights(torch.Generator().manual_seed(recipe.seed))
    rescale(model, recipe.init)
    return model


@torch.no_grad()
def rescale(model: GPT2, init: Init) -> None:
    """From GPT-2's initialisation to the recipe's; where they are the same, nothing changes."""
    for name, p in model.named_parameters():
        if p.ndim == 2 and name != "wpe.weight":
            p.mul_(init.std / MATRIX_STD)
    if init.positions == "sinusoidal":
        model.wpe.weight.copy_(sinusoids(*model.wpe.weight.shape) * init.position_std)
    else:
        model.wpe.weight.mul_(init.position_std / POSITION_STD)


def sinusoids(n_ctx: int, d_model: int) -> Float[Tensor, "pos d_model"]:
    """Sines then cosines at wavelengths 2 pi to 20,000 pi, each row of root mean square 1 (Vaswani et al. 2017, 3.5)."""
    frequency = torch.exp(-math.log(10_000) * torch.arange(0, d_model, 2) / d_model)
    angle = torch.arange(n_ctx)[:, None] * frequency
    return math.sqrt(2) * torch.cat([angle.sin(), angle.cos()], 1)[:, :d_model]
