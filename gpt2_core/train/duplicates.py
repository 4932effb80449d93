"""Removing what was already there: exact copies by a hash of normalised text, near copies by MinHash and LSH.

A text is normalised to its lower-case words. Two texts are near copies where the sets of their word 5-grams (shingles) have a
Jaccard similarity |A and B| / |A or B| of at least a threshold (0.8 unless told otherwise, as in Lee et al. 2022). MinHash
(Broder 1997) keeps 128 minima of random hashes for each text; the share of equal minima estimates the similarity with a
standard error of at most 0.044. Locality-sensitive hashing in bands finds the pairs to compare without comparing all of them.

The first of a group in the order of the sources stays. Both are datasketch's; hashing shingles by the hundred thousand is ours.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt32, UInt64

from gpt2_core.train.needs import needed

SHINGLE = 5
PERMUTATIONS = 128
RECALL = 0.9  # the least chance that a pair just at the threshold is compared
_CHUNK = 4096  # shingles hashed at once: 2 MiB of minima stay in the cache
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def normal_words(text: str) -> list[str]:
    """The lower-case words of a text, without punctuation: what two copies share whatever their typesetting."""
    return re.findall(r"\w+", text.lower())


def digest(words: Sequence[str]) -> str:
    """Hash of a text's normal words: equal for exact copies. 128 bits as hexadecimal digits."""
    return blake2b(" ".join(words).encode(), digest_size=16).hexdigest()


def word_codes(words: Sequence[str]) -> UInt64[np.ndarray, " word"]:
    """A 64-bit code for each word, the same in every process (Python's own hash is not)."""
    codes = {word: int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little") for word in set(words)}
    return np.fromiter((codes[word] for word in words), np.uint64, len(words))


def rolling(codes: UInt64[np.ndarray, " word"], n: int) -> UInt64[np.ndarray, " ngram"]:
    """A 64-bit code for each sequence of `n` words: a polynomial in their codes, modulo 2^64."""
    count = max(0, len(codes) - n + 1)
    total = np.zeros(count, np.uint64)
    for offset in range(n):
        total = total * _FACTOR + codes[offset : offset + count]
    return total ^ (total >> np.uint64(32))


def shingles(words: Sequence[str], n: int = SHINGLE) -> UInt32[np.ndarray, " shingle"]:
    """The set of a text's word n-grams as sorted 32-bit codes; a text of fewer words is a single shingle."""
    codes = word_codes(words)
    return np.unique(rolling(codes, min(n, max(1, len(codes)))).astype(np.uint32))


def signature(words: Sequence[str]) -> UInt32[np.ndarray, " permutation"]:
    """The MinHash of a text's shingles."""
    minhash = _minhash()
    codes = shingles(words).tolist()
    for start in range(0, len(codes), _CHUNK):
        minhash.update_batch(codes[start : start + _CHUNK])
    return minhash.hashvalues


def bands(threshold: float | int, permutations: int = PERMUTATIONS) -> tuple[int, int]:
    """How LSH cuts a signature: (bands, rows), the fewest bands that find a pair at the threshold with a chance >= RECALL.

    A pair of similarity s is compared with the chance 1 - (1 - s^rows)^bands.
    """
    for count in range(1, permutations + 1):
        rows = permutations // count
        if permutations % count == 0 and 1 - (1 - threshold**rows) ** count >= RECALL:
            return count, rows
    return permutations, 1


class Seen:
    """The documents kept so far. About 7 KB of memory and 0.15 ms a document while near copies are looked for, 0.3 KB otherwise."""

    def __init__(self, threshold: float | int) -> None:
        self.threshold = threshold
        self._exact: dict[str, str] = {}  # digest -> origin
        self._signed: list[tuple[str, np.ndarray]] = []  # origin, signature
        self._lsh = _lsh(bands(threshold)) if threshold else None

    def copy_of(self, origin: str, digest: str, signature: Shaped[np.ndarray, " permutation"] | None) -> tuple[str, str] | None:
        """("exact duplicate" or "near duplicate", of which document); None for a new document, which is remembered."""
        if digest in self._exact:
            return "exact duplicate", f"of {self._exact[digest]}"
        if self._lsh is not None and signature is not None:
            minhash = _minhash(signature)
            for key in sorted(self._lsh.query(minhash)):
                other, theirs = self._signed[key]
                if (similarity := float(np.mean(signature == theirs))) >= self.threshold:
                    return "near duplicate", f"{similarity:.2f} like {other}"
            self._lsh.insert(len(self._signed), minhash)
            self._signed.append((origin, signature))
        self._exact[digest] = origin
        return None


def held_out(digest: str, seed: int, share: float | int) -> bool:
    """Whether a document is held out: decided by its own text and the seed, so that other documents change nothing."""
    return int.from_bytes(blake2b(f"{seed} {digest}".encode(), digest_size=8).digest(), "big") < share * 2.0**64


def _minhash(values: np.ndarray | None = None) -> Any:
    return _library().MinHash(PERMUTATIONS, hashfunc=int, hashvalues=values, permutations=_permutations(), scheme="affine32")


@lru_cache(maxsize=1)
def _permutations() -> np.ndarray:
    return _library().MinHash(PERMUTATIONS, seed=1, scheme="affine32").permutations


def _lsh(params: tuple[int, int]) -> Any:
    return _library().MinHashLSH(num_perm=PERMUTATIONS, params=params)


def _library() -> Any:
    return needed("datasketch", "Finding near duplicates")
