"""What the Playground's texts are made of: settings, tokens, texts, and an order to write."""

import math
from dataclasses import dataclass, replace

from app.state import PageState
from interp.edits import NO_EDITS, Plan

MAX_SAMPLES = 4
MAX_TOKENS = 500


@dataclass(frozen=True)
class Knobs:
    """How to write. Filters are off at top_k 0, top_p 1, min_p 0, repetition_penalty 1; temperature 0 takes the likeliest token."""

    max_new_tokens: int = 60
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0
    n: int = 1
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, most in (("max_new_tokens", MAX_TOKENS), ("n", MAX_SAMPLES)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must lie in 1..{most}, got {getattr(self, name)}.")

    def arguments(self) -> dict:
        """The keywords of `gpt2_core.generate.stream`."""
        return {
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "top_k": self.top_k or None,
            "top_p": self.top_p if self.top_p < 1 else None,
            "min_p": self.min_p or None,
            "repetition_penalty": self.repetition_penalty,
            "seed": self.seed,
            "n": self.n,
            "stop": self.stop,
        }


@dataclass(frozen=True)
class Token:
    """A token on the page. kind: "bos", "prompt", "generated", or "continued" (chosen by a person in place of another).

    logprob: natural logarithm of the probability the model gave it, None where nothing came before it.
    alternatives: (id, logprob) of the likeliest tokens in its place; empty in the prompt, where the run has them.
    """

    id: int
    kind: str
    logprob: float | None
    alternatives: tuple[tuple[int, float], ...] = ()

    @property
    def written(self) -> bool:
        return self.kind in ("generated", "continued")


@dataclass(frozen=True)
class Text:
    """A prompt and what was written after it. text: all of it, whole characters only. finish: as in `Step`, None while it goes on.

    knobs: the settings it was written with.
    """

    tokens: tuple[Token, ...]
    text: str
    knobs: Knobs
    finish: str | None = None


@dataclass(frozen=True)
class Order:
    """What is to be written: the page's state, the settings, and, to go on from a token, the tokens up to there.

    start: tokens already there (`<|endoftext|>` included) in column `column`, row `row` of the texts in `base`, which stay as they are
    elsewhere; None begins anew after the prompt. serial: tells two equal orders apart.
    """

    state: PageState
    knobs: Knobs
    serial: str = ""
    start: tuple[Token, ...] | None = None
    column: int = 0
    row: int = 0
    base: tuple[tuple[Text, ...], ...] = ()

    @property
    def plans(self) -> tuple[Plan, ...]:
        """One per column: the plan in force, then, if it has edits, none."""
        return (self.state.plan, NO_EDITS) if self.state.plan else (NO_EDITS,)


@dataclass(frozen=True)
class Writing:
    """What has been written so far: `columns[c][r]` is sample r, with the edits (c = 0) or without them (c = 1)."""

    order: Order
    columns: tuple[tuple[Text, ...], ...]
    notices: tuple[str, ...] = ()
    done: bool = True

    def stopped(self) -> "Writing":
        """The same, ended by the reader."""
        ended = [tuple(replace(t, finish=t.finish or "cancelled") for t in texts) for texts in self.columns]
        return replace(self, columns=tuple(ended), done=True)


@dataclass(frozen=True)
class Summary:
    """How probable the written tokens were. logprob: their sum in nats; bits: mean surprisal per token."""

    tokens: int
    logprob: float
    bits: float
    perplexity: float


def summary(text: Text) -> Summary | None:
    """Of the written tokens only, the model's own probabilities before temperature and filters; None where there are none."""
    logprobs = [t.logprob for t in text.tokens if t.written and t.logprob is not None]
    if not logprobs:
        return None
    total = math.fsum(logprobs)
    mean = -total / len(logprobs)
    return Summary(len(logprobs), total, mean / math.log(2), math.exp(mean))
