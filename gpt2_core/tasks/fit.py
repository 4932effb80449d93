"""Making a prompt fit: GPT-2 sees at most n_ctx tokens, and the answer needs room among them.

What is dropped is what stands furthest from the question: the beginning of the article first (whole words), then whole
examples or turns, oldest first. The question and its cue are never touched. The caller shows the notice.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from gpt2_core.tasks.base import Choice, Part, prompt_text


@runtime_checkable
class Encoder(Protocol):
    """All that is needed of a tokenizer."""

    def encode(self, text: str) -> list[int]: ...


@dataclass(frozen=True)
class Notice:
    """What was left out: characters cut off the front of the part named `shortened`, and whole parts `dropped`."""

    shortened: str | None
    characters: int
    dropped: tuple[str, ...]
    tokens_before: int
    tokens_after: int


@dataclass(frozen=True)
class Fitted:
    """Parts that fit, their token count (without a leading `<|endoftext|>`), and a notice when anything was left out."""

    parts: tuple[Part, ...]
    n_tokens: int
    notice: Notice | None = None

    @property
    def prompt(self) -> str:
        return prompt_text(self.parts)


@dataclass(frozen=True)
class FittedChoices:
    """Choices whose prefix and scored text fit together, and the notice of the one that lost most."""

    choices: tuple[Choice, ...]
    notice: Notice | None = None


def fit(parts: Sequence[Part], tokenizer: Encoder, n_ctx: int, max_new_tokens: int, bos: bool = True) -> Fitted:
    """Shortens a prompt from the left until it and `max_new_tokens` new tokens fit into `n_ctx` tokens.

    bos: whether `<|endoftext|>` will stand in front and takes one place. Raises ValueError when the question alone is too long.
    """
    budget = n_ctx - max_new_tokens - bos
    kept, dropped = list(parts), []
    before = _count(tokenizer, kept)
    shortened, characters = None, 0
    if before > budget:
        first = next((i for i, part in enumerate(kept) if part.kind == "context"), None)
        if first is not None:
            shortened, whole = kept[first].name, kept[first].text
            kept[first] = replace(kept[first], text=_shortened(kept, first, tokenizer, budget))
            characters = len(whole) - len(kept[first].text)
            if not kept[first].text:
                dropped.append(kept.pop(first).name)
                shortened, characters = None, 0
    while _count(tokenizer, kept) > budget:
        oldest = next((i for i, part in enumerate(kept) if part.kind in ("context", "example")), None)
        if oldest is None:
            raise ValueError(
                f"The question alone has {_count(tokenizer, kept)} tokens, and {budget} of the context of {n_ctx} are left "
                f"beside {max_new_tokens} new ones; shorten it or ask for fewer new tokens."
            )
        dropped.append(kept.pop(oldest).name)
    after = _count(tokenizer, kept)
    lost = shortened is not None or dropped
    notice = Notice(shortened, characters, tuple(dropped), before, after) if lost else None
    return Fitted(tuple(kept), after, notice)


def fit_choices(choices: Sequence[Choice], tokenizer: Encoder, n_ctx: int, bos: bool = True) -> FittedChoices:
    """Shortens the prefixes from the left until prefix and scored text of every choice fit into `n_ctx` tokens.

    Equal prefixes stay equal, so that the candidates are compared in the same context. Raises ValueError when a scored
    text alone is too long.
    """
    budget = n_ctx - bos
    longest = max(len(tokenizer.encode(choice.scored)) for choice in choices)
    if longest > budget:
        raise ValueError(f"A candidate's scored text has {longest} tokens; at most {budget} fit into the context, shorten it.")
    fitted, notices = [], []
    for choice in choices:
        whole = len(tokenizer.encode(choice.prefix))
        text = _suffix(choice.prefix, lambda cut: len(tokenizer.encode(cut)) <= budget - longest)
        fitted.append(replace(choice, prefix=text))
        if text != choice.prefix:
            after = len(tokenizer.encode(text)) + longest
            notices.append(Notice("context", len(choice.prefix) - len(text), (), whole + longest, after))
    return FittedChoices(tuple(fitted), max(notices, key=lambda notice: notice.characters, default=None))


def _count(tokenizer: Encoder, parts: Sequence[Part]) -> int:
    return len(tokenizer.encode(prompt_text(tuple(parts))))


def _shortened(parts: list[Part], index: int, tokenizer: Encoder, budget: int) -> str:
    left, right = prompt_text(tuple(parts[:index])), prompt_text(tuple(parts[index + 1 :]))
    return _suffix(parts[index].text, lambda cut: len(tokenizer.encode(left + cut + right)) <= budget)


def _suffix(text: str, fits: Callable[[str], bool]) -> str:
    """The longest end of `text` that fits and begins with a word (with any character when no such end is left), or ""."""
    if fits(text):
        return text
    words = [match.start() for match in re.finditer(r"(?<=\s)\S", text)]
    for starts in (words, range(len(text))):
        found = _first_that_fits(text, starts, fits)
        if found is not None:
            return text[found:]
    return ""


def _first_that_fits(text: str, starts: Sequence[int], fits: Callable[[str], bool]) -> int | None:
    low, high = 0, len(starts)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(text[starts[middle] :]) else (middle + 1, high)
    # A cut may add a token or two to its first word, so the token count is only nearly monotone in the cut: check.
    return next((start for start in starts[low:] if fits(text[start:])), None)
