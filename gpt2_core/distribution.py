"""How a next-token distribution took the token that came."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def taken(logprobs: Float[Tensor, "n d_vocab"], targets: Int[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """Log-probability (nats) and rank (0 is the first choice) of each target."""
    chosen = logprobs.gather(1, targets[:, None])
    return chosen[:, 0], (logprobs > chosen).sum(-1)


def entropy(logprobs: Float[Tensor, "n d_vocab"]) -> Float[Tensor, " n"]:
    """The surprise that each distribution itself expects, in nats."""
    return torch.special.entr(logprobs.exp()).sum(-1)
