"""How well a model foresees a given text: per token (`score`), over a long text (`perplexity`), per continuation (`logprob_of`,
in `continuation.py`).

A model has a fixed context, so a long text is read in windows: each starts `stride` tokens after the one before, and scores
only the tokens that no earlier window has scored; the others are context. A stride equal to the context is fastest and leaves
tokens at a window's start with little or no context; a small one gives every token nearly a full context and a lower
perplexity. A perplexity therefore means something only with its stride, its context and its unit.

Sources: Radford et al. 2019, section 3.1 (the unit is the data set's, not the token); the perplexity guide of Hugging
Face's transformers, whose algorithm `windows` is.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.continuation import Continuation, logprob_of, logprobs_of
from gpt2_core.distribution import entropy, taken
from gpt2_core.hooks import HookFunction
from gpt2_core.model import GPT2
from gpt2_core.results import Alternative
from gpt2_core.streaming import end_id, words_of

__all__ = ["Continuation", "Perplexity", "TokenScores"]
__all__ += ["logprob_of", "logprobs_of", "perplexity", "perplexity_of", "score", "windows"]

TextOrIds = str | Sequence[int] | Tensor
Normaliser = Literal["token", "word", "byte", "char"]
CHUNK = 128  # positions unembedded at a time: 26 MB of float32 logits


class Window(NamedTuple):
    """Tokens [begin, end) are read together; tokens [first, end) are scored."""

    begin: int
    end: int
    first: int


def windows(n_tokens: int, context: int, stride: int) -> Iterator[Window]:
    """The windows over a sequence. Every token is scored once, except one that starts its window: it has no context.

    That is the text's first token, and with stride == context the first of every window.
    """
    scored = 0
    for begin in range(0, n_tokens, stride):
        end = min(begin + context, n_tokens)
        yield Window(begin, end, max(scored, begin + 1))
        if end == n_tokens:
            return
        scored = end


@dataclass(frozen=True)
class TokenScores:
    """What the model made of each token of a text. All tuples are parallel to `ids`; BOS is not among them.

    logprobs: natural logarithms. ranks: 0 means the model found this token likeliest. entropies: of the distribution
    from which the token came, in nats. alternatives: the likeliest tokens in its place. stride: see `windows`.
    Without BOS nothing comes before the first token, so its entries are None (and its alternatives empty).
    """

    ids: tuple[int, ...]
    strings: tuple[str, ...]
    logprobs: tuple[float | None, ...]
    ranks: tuple[int | None, ...]
    entropies: tuple[float | None, ...]
    alternatives: tuple[tuple[Alternative, ...], ...]
    bos: bool
    stride: int
    notices: tuple[str, ...] = ()

    @property
    def surprisals(self) -> tuple[float | None, ...]:
        """-log p of each token, in nats."""
        return tuple(None if value is None else -value for value in self.logprobs)

    @property
    def surprisals_bits(self) -> tuple[float | None, ...]:
        """-log2 p of each token, in bits."""
        return tuple(None if value is None else -value / math.log(2) for value in self.logprobs)

    @property
    def total_logprob(self) -> float:
        """The log-probability of the scored tokens together, in nats."""
        return math.fsum(value for value in self.logprobs if value is not None)

    @property
    def perplexity(self) -> float | None:
        """exp of the mean surprisal per scored token; None where no token was scored."""
        scored = [value for value in self.logprobs if value is not None]
        return math.exp(-math.fsum(scored) / len(scored)) if scored else None


@torch.no_grad()
def score(
    model: GPT2,
    text: TextOrIds,
    *,
    bos: bool = True,
    hook: HookFunction | None = None,
    top: int = 5,
    stride: int | None = None,
) -> TokenScores:
    """How probable each token of a text was, given the tokens before it.

    bos: put `<|endoftext|>` in front, so that the first token has a probability too. hook: edits, as in the model's call.
    A text longer than the context is read in windows of a full context, `stride` tokens apart (half a context where None), with
    a notice. Raises ValueError for an empty text, for ids outside the vocabulary and for a stride outside 1..n_ctx.
    """
    ids, context = _ids(model, text), model.config.n_ctx
    sequence = torch.tensor([end_id(model), *ids] if bos else ids)
    stride = max(1, context // 2) if stride is None else stride
    _check_windows(model, context, stride)
    rows: list[tuple] = []
    for window in windows(len(sequence), context, stride):
        rows += [(None, None, None, ())] * (window.first - len(rows))  # tokens that begin a window
        for targets, logits in _predictions(model, sequence, window, hook):
            rows += _token_rows(model, targets, logits, min(top, model.config.d_vocab))
    logprobs, ranks, entropies, alternatives = zip(*(rows[1:] if bos else rows), strict=True)
    notices = ()
    if len(sequence) > context:
        notices = (f"The text is longer than the context of {context} tokens; it was read in windows {stride} apart.",)
    strings = tuple(words_of(model).strings(ids))
    return TokenScores(tuple(ids), strings, logprobs, ranks, entropies, alternatives, bos, stride, notices)


def _ids(model: GPT2, text: TextOrIds) -> list[int]:
    if isinstance(text, str) and model.tokenizer is None:
        raise ValueError("This model has no tokenizer, so it cannot read text; give token ids.")
    ids = model.tokenizer.encode(text) if isinstance(text, str) else [int(id) for id in text]
    if not ids:
        raise ValueError("There is nothing to score: the text is empty; give at least one token.")
    return ids


def _predictions(
    model: GPT2, sequence: Tensor, window: Window, hook: HookFunction | None
) -> Iterator[tuple[Int[Tensor, " n"], Float[Tensor, "n d_vocab"]]]:
    """The scored tokens of a window and the logits (float32) that foretold each, a few positions at a time."""
    tokens = sequence[window.begin : window.end][None]
    first = window.first - window.begin
    if first >= tokens.shape[1]:
        return
    targets = tokens[0, first:].to(model.wte.weight.device)
    if hook is None:
        resid = model(tokens, stop_at_layer=model.config.n_layers)[:, first - 1 : -1]
        for at in range(0, len(targets), CHUNK):
            yield targets[at : at + CHUNK], model.unembed(resid[:, at : at + CHUNK])[0].float()
    else:  # a hook may edit the logits by position, so it must see all of them at once
        logits = model(tokens, hook=hook)[0, first - 1 : -1]
        for at in range(0, len(targets), CHUNK):
            yield targets[at : at + CHUNK], logits[at : at + CHUNK].float()


def _token_rows(model: GPT2, targets: Tensor, logits: Tensor, top: int) -> list[tuple]:
    """(logprob, rank, entropy, alternatives) of each target."""
    logprobs = logits.log_softmax(-1)
    best = logprobs.topk(top)
    strings = words_of(model).strings
    alternatives = [
        tuple(map(Alternative, ids, strings(ids), values))
        for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    chosen, ranks, entropies = (column.tolist() for column in (*taken(logprobs, targets), entropy(logprobs)))
    return list(zip(chosen, ranks, entropies, alternatives, strict=True))


# -- long texts ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Perplexity:
    """The surprise of a whole text, and everything needed to know what the number means.

    nats: summed surprisal of the `n_scored` tokens. units: how many tokens (scored), words, bytes and characters the text
    has; `normaliser` names the one that the per-unit figures are divided by. cancelled: only the beginning was read.
    """

    nats: float
    n_scored: int
    n_tokens: int
    units: dict[str, int]
    normaliser: str
    stride: int
    context: int
    bos: bool
    cancelled: bool = False

    @property
    def n_units(self) -> int:
        return self.units[self.normaliser]

    @property
    def nats_per_unit(self) -> float:
        return self.nats / self.n_units if self.n_units else math.nan

    @property
    def bits_per_unit(self) -> float:
        return self.nats_per_unit / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(nats per unit); infinite where that is beyond a float (a unit of very many tokens)."""
        return math.exp(self.nats_per_unit) if not self.nats_per_unit > 709 else math.inf

    def per(self, normaliser: Normaliser) -> "Perplexity":
        """The same measurement per another unit."""
        return replace(self, normaliser=_check_normaliser(normaliser, self.units))


@torch.no_grad()
def perplexity(
    model: GPT2,
    text: TextOrIds,
    *,
    stride: int,
    context: int | None = None,
    normaliser: Normaliser = "token",
    n_units: int | None = None,
    bos: bool = False,
    hook: HookFunction | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Perplexity:
    """The perplexity of a text of any length, read in windows of `context` tokens (default: all of it) every `stride`.

    normaliser: the unit of the result: "token" (the scored ones), "word" (split at white space), "byte" (UTF-8), "char".
    n_units: the unit count to divide by where the text's own is not meant, such as the words of a data set before
    de-tokenising. bos: put `<|endoftext|>` in front of the text, so that its first token is scored too.
    progress is told (tokens read, tokens in all) after each window; cancel is asked before each.
    Raises ValueError for an empty text, a stride outside 1..context, a context outside 2..n_ctx, an unknown normaliser.
    """
    ids, context = _ids(model, text), context or model.config.n_ctx
    _check_windows(model, context, stride)
    sequence = torch.tensor([end_id(model), *ids] if bos else ids)
    nats, n_scored, read, cancelled = 0.0, 0, 0, False
    for window in windows(len(sequence), context, stride):
        if cancel is not None and cancel():
            cancelled = True
            break
        for targets, logits in _predictions(model, sequence, window, hook):
            chosen = logits.gather(1, targets[:, None])[:, 0]
            nats += (logits.logsumexp(-1) - chosen).cpu().double().sum().item()  # MPS has no float64
            n_scored += len(targets)
        read = window.end
        if progress is not None:
            progress(read, len(sequence))
    units = {"token": n_scored, **_units(model, ids[: max(0, read - bos)])}
    if n_units is not None:
        units[normaliser] = n_units
    return Perplexity(nats, n_scored, len(ids), units, _check_normaliser(normaliser, units), stride, context, bos, cancelled)


def perplexity_of(model: GPT2, scores: TokenScores) -> Perplexity:
    """The perplexity, per token, that the scores of a text's tokens add up to; `per` gives it per another unit."""
    n_scored = sum(value is not None for value in scores.logprobs)
    units, context = {"token": n_scored, **_units(model, list(scores.ids))}, model.config.n_ctx
    return Perplexity(-scores.total_logprob, n_scored, len(scores.ids), units, "token", scores.stride, context, scores.bos)


def _check_windows(model: GPT2, context: int, stride: int) -> None:
    n_ctx = model.config.n_ctx
    if not 2 <= context <= n_ctx:
        raise ValueError(f"context must be between 2 and the model's {n_ctx} tokens, got {context}.")
    if not 1 <= stride <= context:
        raise ValueError(f"stride must be between 1 and the context of {context} tokens, got {stride}.")


def _check_normaliser(normaliser: str, units: dict[str, int]) -> str:
    if normaliser not in units:
        raise ValueError(f"Unknown normaliser {normaliser!r}; expected one of {', '.join(units)} for this model and text.")
    return normaliser


def _units(model: GPT2, ids: list[int]) -> dict[str, int]:
    if model.tokenizer is None:
        return {}
    text = model.tokenizer.decode(ids)
    return {"word": len(text.split()), "byte": len(model.tokenizer.decode_bytes(ids)), "char": len(text)}
