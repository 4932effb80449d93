"""Pairs of prompts that differ in one thing: how they are written, checked, drawn without repeats and put into tensors.

A clean prompt and its corruption must have the same number of tokens with the words of interest at the same positions, or an
activation of one cannot stand in for an activation of the other. Nothing here assumes that a word is one token: words are
kept by `single_tokens`, positions are found in the tokenised text by `place`, and a pair that does not match is refused.

Prompts are never padded: `PromptSet.batches` groups pairs of one length into tensors.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from string import Formatter

import torch
from jaxtyping import Int
from torch import Tensor

from gpt2_core.tokenizer import Tokenizer
from interp.metrics import AnswerMetric, answer_metric

MOST_MISSES = 10_000  # draws in a row that were all there already


@dataclass(frozen=True)
class Prompt:
    """A text, its token ids (no `<|endoftext|>` in front), and where its words of interest are: name -> (first, end) token."""

    text: str
    ids: tuple[int, ...]
    spans: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class PromptPair:
    """A clean prompt and its corruption. correct, wrong: token ids that may follow the clean prompt.

    Raises ValueError unless both have the same number of tokens and the same spans.
    """

    clean: Prompt
    corrupted: Prompt
    correct: tuple[int, ...]
    wrong: tuple[int, ...]
    template: str

    def __post_init__(self) -> None:
        n, m = len(self.clean.ids), len(self.corrupted.ids)
        if n != m or self.clean.spans != self.corrupted.spans:
            raise ValueError(
                f"{self.clean.text!r} and {self.corrupted.text!r} do not match ({n} and {m} tokens); see `length_match`."
            )


@dataclass(frozen=True)
class PromptBatch:
    """Pairs of one length. clean, corrupted: token ids [prompt pos], never padded. indices: which pairs of the set they are.

    positions: name -> the last token of that word in each prompt, starts: its first token; both count `<|endoftext|>` if `bos`.
    metric: takes last-position logits [prompt d_vocab], a row a pair, to [prompt].
    """

    clean: Int[Tensor, "prompt pos"]
    corrupted: Int[Tensor, "prompt pos"]
    positions: dict[str, Int[Tensor, " prompt"]]
    starts: dict[str, Int[Tensor, " prompt"]]
    metric: AnswerMetric
    pairs: tuple[PromptPair, ...] = field(repr=False)
    indices: tuple[int, ...]
    bos: bool

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True)
class PromptSet:
    """A drawn set. corruption: what differs in the corrupted prompts. metric: a name of METRICS, the one of `source`.

    source: the paper that the set and its metric come from. seed: the same seed gives the same pairs in the same order.
    """

    name: str
    pairs: tuple[PromptPair, ...]
    metric: str
    source: str
    corruption: str
    seed: int
    bos_id: int

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        first = self.pairs[0].clean.text if self.pairs else ""
        return f"PromptSet({self.name!r}, {len(self)} pairs, metric={self.metric!r}, seed={self.seed}, first={first!r})"

    @property
    def n_unique(self) -> int:
        """How many different clean prompts there are, counted and not assumed."""
        return len({pair.clean.ids for pair in self.pairs})

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(pair.clean.text for pair in self.pairs)

    def batches(
        self, bos: bool = True, by_template: bool = False, metric: str | None = None, device: str | torch.device = "cpu"
    ) -> tuple[PromptBatch, ...]:
        """The pairs as tensors, a batch for each length, shortest first.

        bos: `<|endoftext|>` in front. by_template: a batch for each template too, so that a position means the same word in
        all of its prompts (mean ablation per position needs this). metric: other than the set's own.
        """
        groups: dict[tuple, list[int]] = {}
        for index, pair in enumerate(self.pairs):
            groups.setdefault((len(pair.clean.ids), pair.template if by_template else ""), []).append(index)
        return tuple(self._batch(groups[key], bos, metric or self.metric, device) for key in sorted(groups))

    def each(self, bos: bool = True, metric: str | None = None, device: str | torch.device = "cpu") -> Iterator[PromptBatch]:
        """A batch for each pair alone, in the order of the set."""
        return (self._batch([i], bos, metric or self.metric, device) for i in range(len(self.pairs)))

    def _batch(self, indices: list[int], bos: bool, metric: str, device: str | torch.device) -> PromptBatch:
        pairs = tuple(self.pairs[i] for i in indices)
        clean, corrupted = (
            torch.tensor([[self.bos_id] * bos + list(ids) for ids in rows], device=device)
            for rows in ([p.clean.ids for p in pairs], [p.corrupted.ids for p in pairs])
        )
        named = set.intersection(*(set(p.clean.spans) for p in pairs))
        spans = {name: torch.tensor([p.clean.spans[name] for p in pairs], device=device) + bos for name in sorted(named)}
        return PromptBatch(
            clean,
            corrupted,
            {name: span[:, 1] - 1 for name, span in spans.items()},
            {name: span[:, 0] for name, span in spans.items()},
            answer_metric(metric, [p.correct for p in pairs], [p.wrong for p in pairs]),
            pairs,
            tuple(indices),
            bos,
        )


def single_tokens(tokenizer: Tokenizer, words: Iterable[str], at_least: int = 2, before: str = " ") -> dict[str, int]:
    """The words that are one token with a blank before them (or `before`), and its id.

    Raises ValueError if there are fewer than `at_least`.
    """
    words = tuple(words)
    encoded = {word: tokenizer.encode(before + word) for word in words}
    kept = {word: ids[0] for word, ids in encoded.items() if len(ids) == 1}
    if len(kept) < at_least:
        raise ValueError(
            f"Only {len(kept)} of {len(words)} words ({', '.join(words[:3])}, ...) are one token of this tokenizer and "
            f"{at_least} are needed; use GPT-2's own vocabulary."
        )
    return kept


def place(tokenizer: Tokenizer, template: str, words: Mapping[str, str]) -> Prompt:
    """A template such as "Then, {S1} and {IO} went" filled with words, tokenised, and every word found among the tokens.

    A word's span takes in the blank before it. "END" is the last token. Raises ValueError if a word begins or ends inside a token.
    """
    text, chars = _fill(template, words)
    ids = tokenizer.encode(text)
    tokens = tokenizer.spans(ids)
    first = {token.char_start: i for i, token in reversed(list(enumerate(tokens)))}
    last = {token.char_end: i for i, token in enumerate(tokens)}
    spans = {}
    for name, (start, end) in chars.items():
        if start not in first or end not in last:
            raise ValueError(f"{text[start:end]!r} begins or ends inside a token of {text!r}; choose another word.")
        spans[name] = (first[start], last[end] + 1)
    return Prompt(text, tuple(ids), {**spans, "END": (len(ids) - 1, len(ids))})


def _fill(template: str, words: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
    text, chars = "", {}
    for literal, name, _, _ in Formatter().parse(template):
        text += literal
        if name is not None:
            start = len(text) - text.endswith(" ")
            text += words[name]
            chars[name] = (start, len(text))
    return text, chars


def draw(make: Callable[[Random, int], PromptPair], n: int, seed: int, name: str) -> tuple[PromptPair, ...]:
    """n pairs with different clean prompts, from make(random, how many there are already).

    Raises ValueError if the set has not so many.
    """
    if n < 1:
        raise ValueError(f"A prompt set holds at least one pair, got n={n}.")
    random, seen, misses = Random(seed), {}, 0
    while len(seen) < n:
        pair = make(random, len(seen))
        misses = misses + 1 if pair.clean.ids in seen else 0
        if misses > MOST_MISSES:
            raise ValueError(f"The set {name!r} gives only {len(seen)} different prompts, {n} were asked for; ask for fewer.")
        seen.setdefault(pair.clean.ids, pair)
    return tuple(seen.values())
