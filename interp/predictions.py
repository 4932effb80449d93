"""What the model expects next, and how it took each token of the text: probabilities, ranks, surprisal, entropy.

Surprisal is -log2 p of the token that came, in bits: 1 bit is a coin flip, 10 bits a one-in-a-thousand surprise. Entropy is
the surprisal the model itself expected. Both are per token, so texts cut into different tokens do not compare.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.distribution import entropy, taken
from interp.given import token_ids
from interp.run import Check, Provenance, Run


@dataclass(frozen=True)
class NextTokens:
    """The most probable next tokens after `position`. ids, probabilities, logits: [k]; entropy in bits."""

    position: int
    ids: Int[Tensor, " k"]
    probabilities: Float[Tensor, " k"]
    logits: Float[Tensor, " k"]
    entropy: float
    check: Check
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class TokenStatistics:
    """How each token was predicted from those before it. Axes [pos]; entry 0 is NaN (rank -1): nothing came before it.

    logprob in nats, surprisal and entropy in bits, rank from 0 (the model's first choice).
    """

    logprob: Float[Tensor, " pos"]
    surprisal: Float[Tensor, " pos"]
    entropy: Float[Tensor, " pos"]
    rank: Int[Tensor, " pos"]
    provenance: Provenance

    @property
    def mean_surprisal(self) -> float:
        """Mean bits per predicted token; NaN for a single token."""
        return self.surprisal[1:].mean().item()


def probabilities(run: Run, position: int = -1) -> Float[Tensor, " d_vocab"]:
    """The whole next-token distribution after a position."""
    return run.logits[run.at(position)].float().softmax(-1)


def next_tokens(run: Run, position: int = -1, k: int = 20) -> NextTokens:
    """The k most probable next tokens after a position (negative counts from the end). Raises ValueError outside the run."""
    at = run.at(position)
    p = probabilities(run, at)
    top = p.topk(min(k, len(p)))
    undecided = entropy(run.logits[at].float().log_softmax(-1)).item() / math.log(2)
    check = Check("probabilities sum to 1", abs(p.sum().item() - 1), 1e-4)
    logits = run.logits[at].float()[top.indices]
    return NextTokens(at, top.indices, top.values, logits, undecided, check, run.provenance)


def probability_of(run: Run, ids: list[int], position: int = -1) -> Float[Tensor, " n"]:
    """The next-token probabilities of given ids after a position, for comparing runs. Raises ValueError for ids that are none."""
    return probabilities(run, position)[list(token_ids(ids, run.logits.shape[-1]))]


def token_statistics(run: Run) -> TokenStatistics:
    """Log-probability, surprisal, entropy and rank of each token of the run given the tokens before it."""
    targets = torch.tensor(run.tokens[1:], dtype=torch.long, device=run.logits.device)
    columns: list[tuple[Tensor, ...]] = [(torch.tensor([math.nan]), torch.tensor([-1]), torch.tensor([math.nan]))]
    for logits, target in zip(run.logits[:-1].split(128), targets.split(128)):  # a chunk at a time: [128 d_vocab] floats
        logprobs = logits.float().log_softmax(-1)
        columns.append(tuple(column.cpu() for column in (*taken(logprobs, target), entropy(logprobs))))
    logprob, rank, nats = (torch.cat(parts) for parts in zip(*columns))
    return TokenStatistics(logprob, -logprob / math.log(2), nats / math.log(2), rank, run.provenance)
