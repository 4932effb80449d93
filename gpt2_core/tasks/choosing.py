"""Comparing candidates by probability (Winograd, Children's Book Test): the score is a sum of log-probabilities.

s(candidate) = sum over the tokens of its scored text of ln p(token | everything before it), in nats; the largest wins.
Nothing is divided by length: the paper multiplies probabilities.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpt2_core.hooks import HookFunction
from gpt2_core.model import GPT2
from gpt2_core.scoring import logprobs_of
from gpt2_core.tasks.base import Choice


@dataclass(frozen=True)
class ChoiceScore:
    """One candidate's score. token_logprobs: nats, one per token of the scored text; logprob: their sum."""

    choice: Choice
    tokens: tuple[int, ...]
    token_logprobs: tuple[float, ...]

    @property
    def logprob(self) -> float:
        return sum(self.token_logprobs)


@dataclass(frozen=True)
class ChoiceScores:
    """All candidates in the order given, and the index of the likeliest."""

    scores: tuple[ChoiceScore, ...]
    picked: int

    @property
    def answer(self) -> str:
        return self.scores[self.picked].choice.name

    @property
    def shares(self) -> tuple[float, ...]:
        """The candidates' probabilities relative to each other (they sum to 1)."""
        top = max(score.logprob for score in self.scores)
        weights = [math.exp(score.logprob - top) for score in self.scores]
        return tuple(weight / sum(weights) for weight in weights)


def pick(logprobs: Sequence[float]) -> int:
    """The index of the largest log-probability, the first of equals. Raises ValueError for none, or for NaN."""
    if not logprobs:
        raise ValueError("There is no candidate to pick from; give at least one.")
    if any(math.isnan(value) for value in logprobs):
        raise ValueError("A candidate's log-probability is not a number; the model's weights are broken, load it again.")
    return max(range(len(logprobs)), key=lambda index: logprobs[index])


def score_choices(
    model: GPT2, choices: Sequence[Choice], bos: bool = True, *, hook: HookFunction | None = None
) -> ChoiceScores:
    """Scores every candidate with the model and picks the likeliest. A prefix that candidates share is read once.

    Prefix and scored text are encoded apart, so that exactly the scored text is counted. bos: put `<|endoftext|>` in front,
    as before every document in training; full scoring needs it, for the first word has nothing else before it.
    hook: edits in force. Raises ValueError for an empty prefix without bos, and for more tokens than the model's context.
    """
    if any(not bos and not choice.prefix for choice in choices):
        raise ValueError("Nothing stands before the scored text of a candidate; score it with bos=True.")
    encode, start = model.tokenizer.encode, [model.tokenizer.bos_id] * bos
    scores: dict[int, ChoiceScore] = {}
    for prefix in dict.fromkeys(choice.prefix for choice in choices):
        group = [index for index, choice in enumerate(choices) if choice.prefix == prefix]
        texts = [encode(choices[index].scored) for index in group]
        found = logprobs_of(model, start + encode(prefix), texts, hook=hook)
        for index, continuation in zip(group, found, strict=True):
            scores[index] = ChoiceScore(choices[index], continuation.ids, continuation.logprobs)
    ordered = tuple(scores[index] for index in range(len(choices)))
    return ChoiceScores(ordered, pick([score.logprob for score in ordered]))
