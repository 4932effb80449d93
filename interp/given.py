"""What is handed in by habit and not taken here (a text for an id, one edit for a plan): said in one sentence, before torch says another."""

import operator
import reprlib
from collections.abc import Iterable
from types import UnionType
from typing import Any


def token_ids(given: Any, d_vocab: int | None = None) -> tuple[int, ...]:
    """One id or several as integers; numbers of torch and NumPy are taken. Raises ValueError for a text, and outside `d_vocab`."""
    several = isinstance(given, Iterable) and not isinstance(given, str) and getattr(given, "ndim", 1) == 1
    try:
        ids = tuple(map(operator.index, given if several else (given,)))
    except TypeError:
        raise ValueError(
            f"Expected token ids, got {reprlib.repr(given)}; model.to_single_token(' word') gives that of a word."
        ) from None
    if d_vocab is not None and (outside := [id for id in ids if not 0 <= id < d_vocab]):
        raise ValueError(f"Token {outside[0]} is not in the vocabulary of {d_vocab}; give ids in it.")
    return ids


def each_a(kind: type | UnionType, given: Any, what: str) -> tuple:
    """Things of a kind as a tuple. Raises ValueError where they are something else, one of them alone included."""
    found = tuple(given) if isinstance(given, Iterable) and not isinstance(given, kind) else (None,)
    if not all(isinstance(one, kind) for one in found):
        raise ValueError(f"Expected a list of {what}, got {reprlib.repr(given)}; one alone goes into a list too.")
    return found
