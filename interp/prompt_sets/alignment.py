"""Two prompts side by side, token by token, and how to give them the same length.

Patching puts the activation at position 7 of one run in the place of position 7 of another; if one prompt has a token more,
everything behind it is shifted and the result means nothing. `length_match` shows where the lengths part and what to change.
"""

from dataclasses import dataclass
from difflib import SequenceMatcher

from gpt2_core.tokenizer import Tokenizer


@dataclass(frozen=True)
class AlignedToken:
    """A row of the alignment: a token of each prompt, None where the other has one more. Positions count from 0, without BOS."""

    clean: str | None
    corrupted: str | None
    clean_position: int | None
    corrupted_position: int | None

    @property
    def same(self) -> bool:
        return self.clean == self.corrupted


@dataclass(frozen=True)
class Change:
    """A stretch in which the prompts differ: the text and the number of tokens of each."""

    clean: str
    corrupted: str
    n_clean: int
    n_corrupted: int


@dataclass(frozen=True)
class Alignment:
    """rows: the tokens, aligned. matches: the lengths are equal, so the pair can be patched position by position.

    advice: one sentence that says how it stands and what to do. shifted: positions at which the lengths agree by chance only,
    since a part of one prompt stands some tokens further back in the other.
    """

    rows: tuple[AlignedToken, ...]
    changes: tuple[Change, ...]
    n_clean: int
    n_corrupted: int
    shifted: int
    advice: str

    @property
    def matches(self) -> bool:
        return self.n_clean == self.n_corrupted


def length_match(tokenizer: Tokenizer, clean: str, corrupted: str) -> Alignment:
    """How two prompts align, and in one sentence how to make their lengths match.

    Equal lengths are aligned position by position, because that is how they will be patched; others by their common tokens.
    """
    a, b = tokenizer.encode(clean), tokenizer.encode(corrupted)
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    changes = tuple(
        Change(tokenizer.decode(a[i:j]), tokenizer.decode(b[k:l]), j - i, l - k) for op, i, j, k, l in blocks if op != "equal"
    )
    shifted = sum(j - i for op, i, j, k, l in blocks if op == "equal" and i != k)
    # Position by position where the lengths agree; else each differing stretch side by side, the longer one's rest alone.
    stretches = [(0, len(a), 0, len(b))] if len(a) == len(b) else [block[1:] for block in blocks]
    strings = tokenizer.strings(a), tokenizer.strings(b)
    rows = tuple(row for i, j, k, l in stretches for row in _rows(strings, range(i, j), range(k, l)))
    return Alignment(rows, changes, len(a), len(b), shifted, _advice(changes, len(a), len(b), shifted))


def _rows(strings: tuple[list[str], list[str]], mine: range, theirs: range) -> list[AlignedToken]:
    rows = []
    for offset in range(max(len(mine), len(theirs))):
        i, k = (part[offset] if offset < len(part) else None for part in (mine, theirs))
        rows.append(AlignedToken(None if i is None else strings[0][i], None if k is None else strings[1][k], i, k))
    return rows


def _advice(changes: tuple[Change, ...], n: int, m: int, shifted: int) -> str:
    if not changes:
        return f"The prompts are the same {n} tokens; change a word in one of them."
    if n == m and not shifted:
        differing = sum(change.n_clean for change in changes)
        return f"Both prompts have {n} tokens and differ at {differing} of them, so they can be patched position by position."
    uneven = max(changes, key=lambda change: abs(change.n_clean - change.n_corrupted))
    if n == m:
        return (
            f"Both prompts have {n} tokens, but {shifted} of what they share stands at other positions: at {_named(uneven)}, "
            "use words with as many tokens as each other."
        )
    longer, shorter = ("clean", "corrupted") if n > m else ("corrupted", "clean")
    by = f"{abs(n - m)} token{'s' * (abs(n - m) > 1)}"
    return (
        f"The {longer} prompt has {max(n, m)} tokens, {by} more than the {shorter} one: at {_named(uneven)}, "
        f"take {by} away from the {longer} prompt or add as many to the {shorter} one."
    )


def _named(change: Change) -> str:
    def side(text: str, count: int) -> str:
        return f"{text!r} ({count} token{'s' * (count != 1)})" if count else "nothing"

    return f"{side(change.clean, change.n_clean)} in the clean and {side(change.corrupted, change.n_corrupted)} in the corrupted prompt"
