"""How probable a continuation is after a prefix: the arithmetic of multiple choice.

The prefix is read once, whatever the number of continuations; they are then rows of one batch that share its keys and values.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.cache import KVCache
from gpt2_core.distribution import taken
from gpt2_core.hooks import HookFunction
from gpt2_core.model import GPT2
from gpt2_core.streaming import end_id


@dataclass(frozen=True)
class Continuation:
    """How probable a continuation was after its prefix: per token, natural logarithms and ranks (0 = likeliest).

    Iterating over it gives the log-probabilities.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    ranks: tuple[int, ...]

    def __iter__(self) -> Iterator[float]:
        return iter(self.logprobs)

    def __len__(self) -> int:
        return len(self.logprobs)

    @property
    def total(self) -> float:
        """ln p(continuation | prefix)."""
        return math.fsum(self.logprobs)

    @property
    def mean(self) -> float:
        """ln p per token, which does not favour short continuations."""
        return self.total / len(self.ids)

    @property
    def is_greedy(self) -> bool:
        """Whether greedy decoding would have written exactly this."""
        return not any(self.ranks)


def logprob_of(
    model: GPT2, prefix_ids: Sequence[int], continuation_ids: Sequence[int], *, hook: HookFunction | None = None
) -> Continuation:
    """How probable a continuation is after a prefix; see `logprobs_of`."""
    return logprobs_of(model, prefix_ids, [continuation_ids], hook=hook)[0]


@torch.no_grad()
def logprobs_of(
    model: GPT2,
    prefix_ids: Sequence[int],
    continuations: Sequence[Sequence[int]],
    *,
    hook: HookFunction | None = None,
) -> list[Continuation]:
    """How probable each of several continuations is after the same prefix, which is read once: multiple choice.

    An empty prefix means `<|endoftext|>`. Raises ValueError for an empty continuation, and where prefix and longest
    continuation together exceed the context by more than the last token, which is never read.
    """
    longest = max((len(c) for c in continuations), default=0)
    if not continuations or min(map(len, continuations)) == 0:
        raise ValueError("Every continuation needs at least one token to be scored.")
    prefix, n_ctx = list(prefix_ids) or [end_id(model)], model.config.n_ctx
    if len(prefix) + longest - 1 > n_ctx:
        raise ValueError(
            f"A prefix of {len(prefix)} tokens and a continuation of {longest} do not fit the context of {n_ctx}; "
            "shorten the prefix."
        )
    # Padding on the right is never seen by what stands before it.
    rows = torch.tensor([[prefix[-1], *c[:-1]] + [0] * (longest - len(c)) for c in continuations])
    logits = _after_prefix(model, prefix[:-1], rows, hook)
    return [_continuation(c, row) for c, row in zip(continuations, logits, strict=True)]


def _after_prefix(
    model: GPT2, prefix: list[int], rows: Tensor, hook: HookFunction | None
) -> Iterator[Float[Tensor, "pos d_vocab"]]:
    """Logits of each row of tokens after a common prefix."""
    cache = None
    if prefix:
        cache = KVCache.empty(model.cfg, 1, len(prefix))
        model(torch.tensor([prefix]), hook=hook, cache=cache, logits_at=-1)
        cache = cache.expand(len(rows), len(prefix) + rows.shape[1])
    if hook is None:
        resid = model(rows, cache=cache, stop_at_layer=model.config.n_layers)
        return (model.unembed(row[None])[0] for row in resid)
    return iter(model(rows, hook=hook, cache=cache))


def _continuation(ids: Sequence[int], logits: Tensor) -> Continuation:
    logprobs = logits[: len(ids)].float().log_softmax(-1)
    chosen, ranks = taken(logprobs, torch.tensor(ids, device=logits.device))
    return Continuation(tuple(ids), tuple(chosen.tolist()), tuple(ranks.tolist()))
