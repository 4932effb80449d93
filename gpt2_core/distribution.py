"""Next-token distributions: how one took the token that came, how undecided it is, how far two are from each other.

All take logarithms of probabilities [... d_vocab] and give nats; divide by log 2 for bits.

    taken             log-probability and rank of the token that came
    entropy           the surprise that a distribution itself expects
    kl(p, q)          KL(p || q): what is lost by expecting q where p is true. Not symmetric, so callers state the direction
    jensen_shannon    the mean KL of both to their middle: symmetric, at most log 2
    total_variation   half the sum of |p - q|: the share of probability that would have to move, 0..1

Source: Cover and Thomas 2006, chapter 2; Lin 1991 (Jensen-Shannon).
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

Logprobs = Float[Tensor, "*#rows d_vocab"]


def taken(logprobs: Float[Tensor, "n d_vocab"], targets: Int[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """Log-probability (nats) and rank (0 is the first choice) of each target."""
    chosen = logprobs.gather(1, targets[:, None])
    return chosen[:, 0], (logprobs > chosen).sum(-1)


def entropy(logprobs: Float[Tensor, "*rows d_vocab"]) -> Float[Tensor, "*rows"]:
    """The surprise that each distribution itself expects, in nats. A token of probability 0 adds nothing."""
    surprise = (-logprobs).clamp(max=torch.finfo(logprobs.dtype).max)  # finite, so that 0 times it is 0
    return torch.linalg.vecdot(logprobs.exp(), surprise)


def kl(p: Logprobs, q: Logprobs) -> Float[Tensor, "*rows"]:
    """KL(p || q) in nats, along the last axis; the rows broadcast."""
    return torch.linalg.vecdot(p.exp(), p - q)  # of the difference, which is exactly 0 where p is q


def jensen_shannon(p: Logprobs, q: Logprobs) -> Float[Tensor, "*rows"]:
    """The mean of KL(p || middle) and KL(q || middle), nats."""
    middle = torch.logaddexp(p, q) - math.log(2)
    return (kl(p, middle) + kl(q, middle)) / 2


def total_variation(p: Logprobs, q: Logprobs) -> Float[Tensor, "*rows"]:
    """Half of the sum of absolute differences of probabilities, 0..1."""
    return (p.exp() - q.exp()).abs().sum(-1) / 2
