"""What an attribution or a saliency explains: a logit, a difference of two, or any direction that the output head could read.

logit(model, token)                    the logit itself: contains what lifts all tokens alike, which no probability shows
logit(model, token, minus=other)       why this token rather than that one
logit(model, token, minus="mean")      why this token rather than any: the centred logit
direction("a probe", vector)           any vector that the final LayerNorm's output is multiplied with
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.model import GPT2
from gpt2_core.streaming import words_of
from interp.given import token_ids


@dataclass(frozen=True)
class Target:
    """What is explained: `vector` . (output of the final LayerNorm) + `bias`. Made by `logit` and `direction`.

    vector: Float [d_model]. token, minus: the logits that it stands for, if it does.
    """

    label: str
    vector: Float[Tensor, " d_model"]
    bias: float = 0.0
    token: int | None = None
    minus: int | Literal["mean"] | None = None

    def of_logits(self, logits: Float[Tensor, "*rest d_vocab"]) -> Float[Tensor, "*rest"]:
        """The target's value for given logits. Raises ValueError for a direction that is no logit."""
        if self.token is None:
            raise ValueError(f"{self.label} is a direction, not a logit; make the target with `logit`.")
        if self.minus is None:
            return logits[..., self.token]
        return logits[..., self.token] - (logits.mean(-1) if self.minus == "mean" else logits[..., self.minus])


@torch.no_grad()
def logit(model: GPT2, token: int, minus: int | Literal["mean"] | None = None) -> Target:
    """The logit of a token, its difference to another token's, or (`minus="mean"`) to the mean over the vocabulary."""
    given = token_ids([token] + [minus] * (minus not in (None, "mean")), model.config.d_vocab)
    token, minus = given[0], given[1] if len(given) == 2 else minus
    weight, bias = model.W_U.detach(), model.b_U.detach()
    vector, offset = weight[:, token].double(), bias[token].double()
    if minus is not None:
        vector = vector - (weight.double().mean(-1) if minus == "mean" else weight[:, minus].double())
        offset = offset - (bias.double().mean() if minus == "mean" else bias[minus].double())
    names = [repr(s) for s in words_of(model).strings(given)] + ["mean"] * (minus == "mean")
    return Target(" − ".join(names), vector, offset.item(), token, minus)


def direction(label: str, vector: Float[Tensor, " d_model"]) -> Target:
    """Any direction of the final LayerNorm's output (a probe, a sum of columns of W_U)."""
    return Target(label, vector.detach().double())
