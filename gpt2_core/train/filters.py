"""Which texts are worth learning from: the language filter and the quality rules, each with the reason and the paper it is from.

WebText's own cleaning is described as "heuristic" and unpublished, so the rules are those of MassiveText's filter (Rae et al.
2021, "Gopher", appendix A.1.1), which are published with their limits, and one of C4 (Raffel et al. 2020, section 2.2).
Two of Gopher's are left out on purpose: its upper limit of 100,000 words, for books are wanted whole, and C4's removal of
pages with a brace, for WebText has code. The word "word" here is what white space separates.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from gpt2_core.train.duplicates import rolling, word_codes
from gpt2_core.train.needs import needed

GOPHER, C4 = "Rae et al. 2021, appendix A.1.1", "Raffel et al. 2020, section 2.2"
FUNCTION_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = ("•", "‣", "◦", "●", "▪", "-", "*")
ELLIPSES = ("...", "…", "[...]", "[…]")
SAMPLE = 2000  # characters at the beginning, in the middle and at the end of a text that its language is told from


@dataclass(frozen=True, eq=False)
class Measured:
    """A text with the counts that rules ask for, each computed once."""

    text: str

    @cached_property
    def words(self) -> list[str]:
        return self.text.split()

    @cached_property
    def lines(self) -> list[str]:
        return [line for line in (line.strip() for line in self.text.split("\n")) if line]

    @cached_property
    def repeated(self) -> list[str]:
        """The lines that stood before, each time they come again."""
        seen: Counter[str] = Counter(self.lines)
        return [line for line, count in seen.items() for _ in range(count - 1)]

    @cached_property
    def codes(self) -> np.ndarray:
        return word_codes(self.words)


@dataclass(frozen=True)
class Rule:
    """A measure of a text and the limits it must keep; `reason` is what the report says of a text outside them."""

    reason: str
    measure: Callable[[Measured], float | int]
    least: float | int = 0
    most: float | int = float("inf")
    source: str = GOPHER
    language: str = "any"

    def passes(self, measured: Measured) -> bool:
        return self.least <= self.measure(measured) <= self.most


def _share(part: float | int, whole: float | int) -> float:
    return part / whole if whole else 0.0


def words(m: Measured) -> int:
    """Number of words."""
    return len(m.words)


def mean_word_length(m: Measured) -> float:
    """Mean characters of a word."""
    return _share(sum(map(len, m.words)), len(m.words))


def alphabetic_words(m: Measured) -> float:
    """Share of the words that have a letter."""
    return _share(sum(any(map(str.isalpha, word)) for word in m.words), len(m.words))


def symbols_to_words(m: Measured) -> float:
    """Number signs or ellipses (whichever are more) for each word."""
    return _share(max(m.text.count("#"), m.text.count("...") + m.text.count("…")), len(m.words))


def bullet_lines(m: Measured) -> float:
    """Share of the lines that begin with a bullet."""
    return _share(sum(line.startswith(BULLETS) for line in m.lines), len(m.lines))


def ellipsis_lines(m: Measured) -> float:
    """Share of the lines that end in an ellipsis."""
    return _share(sum(line.endswith(ELLIPSES) for line in m.lines), len(m.lines))


def function_words(m: Measured) -> int:
    """How many of eight common English words occur."""
    return len(set(FUNCTION_WORDS) & {word.lower().strip(".,;:!?\"'()") for word in m.words})


def repeated_lines(m: Measured) -> float:
    """Share of the lines that stood before."""
    return _share(len(m.repeated), len(m.lines))


def repeated_line_characters(m: Measured) -> float:
    """Share of the characters that lie in lines that stood before."""
    return _share(sum(map(len, m.repeated)), sum(map(len, m.lines)))


def top_ngram(n: int) -> Callable[[Measured], float]:
    """Share of the characters that the most frequent sequence of `n` words covers (0 where none comes twice)."""

    def measure(m: Measured) -> float:
        if len(m.words) <= n:
            return 0.0
        _, first, counts = np.unique(rolling(m.codes, n), return_index=True, return_counts=True)
        if (most := int(counts.max())) < 2:
            return 0.0
        longest = max(sum(map(len, m.words[at : at + n])) for at in first[counts == most].tolist())
        return min(1.0, most * longest / sum(map(len, m.words)))

    measure.__doc__ = f"Share of the characters within the most frequent sequence of {n} words."
    return measure


def filler(m: Measured) -> int:
    """Occurrences of the typesetters' filler text."""
    return m.text.lower().count("lorem ipsum")


RULES = (
    Rule("too few words", words, least=50),
    Rule("mean length of words", mean_word_length, least=3, most=10),
    Rule("words without letters", alphabetic_words, least=0.8),
    Rule("symbols instead of words", symbols_to_words, most=0.1),
    Rule("lines with bullets", bullet_lines, most=0.9),
    Rule("lines ending in an ellipsis", ellipsis_lines, most=0.3),
    Rule("no function words", function_words, least=2, language="en"),
    Rule("repeated lines", repeated_lines, most=0.3),
    Rule("repeated lines (characters)", repeated_line_characters, most=0.2),
    Rule("repeated 2-gram", top_ngram(2), most=0.2),
    Rule("repeated 3-gram", top_ngram(3), most=0.18),
    Rule("repeated 4-gram", top_ngram(4), most=0.16),
    Rule("filler text", filler, most=0, source=C4),
)


def quality(text: str, language: str) -> Rule | None:
    """The first rule that a text breaks, or None. Rules of another language are not asked."""
    measured = Measured(text)
    return next((r for r in RULES if r.language in ("any", language) and not r.passes(measured)), None)


def language_of(text: str) -> str:
    """ISO 639-1 code of the language of a text, told from its beginning, middle and end (py3langid, offline)."""
    middle = max(0, len(text) // 2 - SAMPLE // 2)
    parts = [text] if len(text) <= 3 * SAMPLE else [text[:SAMPLE], text[middle : middle + SAMPLE], text[-SAMPLE:]]
    code, _ = needed("py3langid", "Telling languages apart").classify(re.sub(r"\s+", " ", " ".join(parts)))
    return code


def check_language(language: str) -> None:
    """Raises ValueError where the identifier does not know a language."""
    known = () if language == "any" else _languages()
    if language != "any" and language not in known:
        raise ValueError(f"The language {language!r} is not known; expected any, or one of {', '.join(known)}.")


@lru_cache(maxsize=1)
def _languages() -> tuple[str, ...]:
    return tuple(sorted(code for code, _ in needed("py3langid", "Telling languages apart").rank("language")))
