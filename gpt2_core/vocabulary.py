"""The files of a byte-level BPE vocabulary: how they are read, checked, and written again byte for byte.

GPT-2 ships two files that say the same thing. `vocab.bpe` (Hugging Face: `merges.txt`) lists the merges in the order of
their priority; `encoder.json` (`vocab.json`) gives each token its id, which is 256 bytes first, then the merges in order,
then `<|endoftext|>`. So only `vocab.bpe` is kept here and the other is rebuilt. Both write bytes as printable characters.

Source: openai/gpt-2 `src/encoder.py`.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

VOCABULARY_FILE = Path(__file__).resolve().parent.parent / "assets" / "vocab" / "vocab.bpe"
VOCABULARY_SHA256 = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Ids of mergeable tokens (by bytes) and of special ones (by text), and the merges as the file writes them."""

    ranks: dict[bytes, int]
    specials: dict[str, int]
    merges: tuple[str, ...]
    end: str  # the special token that begins and ends a text

    def vocab_json(self) -> str:
        """The text of Hugging Face's `vocab.json` (OpenAI's `encoder.json`), in the order of the ids."""
        letters = byte_letters()
        written = {"".join(letters[b] for b in token): rank for token, rank in self.ranks.items()} | self.specials
        return json.dumps(dict(sorted(written.items(), key=lambda item: item[1])))

    def merges_txt(self) -> str:
        """The text of Hugging Face's `merges.txt` (OpenAI's `vocab.bpe`)."""
        return "\n".join(("#version: 0.2", *self.merges)) + "\n"


@lru_cache(maxsize=1)
def byte_letters() -> dict[int, str]:
    """The printable character by which each byte is written: itself where it has one, else one from U+0100 on."""
    printable = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + n) for n, b in enumerate(others)}


def read_embedded(path: Path = VOCABULARY_FILE) -> Vocabulary:
    """GPT-2's own vocabulary. Raises ValueError where the file is missing or is not the published one."""
    if not path.is_file():
        raise ValueError(f"The vocabulary {path} is missing; restore it from the repository (git checkout -- assets/vocab).")
    data = path.read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != VOCABULARY_SHA256:
        raise ValueError(
            f"The vocabulary {path} is damaged: its sha256 is {digest}, expected {VOCABULARY_SHA256}; "
            "restore it from the repository (git checkout -- assets/vocab)."
        )
    return from_merges(data.decode())


def read_folder(folder: Path) -> Vocabulary | None:
    """The vocabulary of a checkpoint folder; None where the folder has none.

    Read are `vocab.json` + `merges.txt`, `vocab.bpe`, or a `tokenizer.json` of a byte-level BPE, in this order.
    Raises ValueError, in one sentence, for files that cannot be read or are of another kind.
    """
    vocab, merges, bpe, whole = (folder / n for n in ("vocab.json", "merges.txt", "vocab.bpe", "tokenizer.json"))
    if vocab.is_file() and merges.is_file():
        added = folder / "added_tokens.json"
        later = _read_json(added) if added.is_file() else {}
        return _from_ids(_read_json(vocab), _lines(merges.read_text(encoding="utf-8")), later, vocab)
    if bpe.is_file() or merges.is_file():
        return from_merges((bpe if bpe.is_file() else merges).read_text(encoding="utf-8"))
    if whole.is_file():
        return _from_tokenizer_json(_read_json(whole), whole)
    return None


def from_merges(text: str) -> Vocabulary:
    """The vocabulary that a `vocab.bpe` implies: bytes, merges in order, `<|endoftext|>`."""
    merges, letters = _lines(text), byte_letters()
    byte_of = {letter: b for b, letter in letters.items()}
    ranks = {bytes([b]): n for n, b in enumerate(letters)}
    for merge in merges:
        ranks.setdefault(_bytes(merge.replace(" ", ""), byte_of), len(ranks))
    return Vocabulary(ranks, {END_OF_TEXT: len(ranks)}, merges, END_OF_TEXT)


def _from_ids(ids: dict[str, Any], merges: tuple[str, ...], added: dict[str, Any], path: Path) -> Vocabulary:
    letters = byte_letters()
    byte_of = {letter: b for b, letter in letters.items()}
    order = dict.fromkeys([*letters.values(), *(merge.replace(" ", "") for merge in merges)])
    if bad := [token for token, n in (ids | added).items() if not isinstance(n, int) or n < 0]:
        raise ValueError(f"{path} gives {bad[0]!r} an id that is not a whole number from 0 on.")
    if missing := [token for token in order if token not in ids]:
        raise ValueError(f"{path} has no id for {missing[0]!r} ({len(missing)} missing); it is not a byte-level BPE.")
    of_merges = [ids[token] for token in list(order)[256:]]
    if of_merges != sorted(of_merges):
        raise ValueError(f"{path} numbers its tokens in another order than its merges, which this tokenizer cannot follow.")
    specials = {token: n for token, n in (ids | added).items() if token not in order}
    if not specials:
        raise ValueError(f"{path} has no special token such as {END_OF_TEXT!r} to begin and end a text with.")
    end = END_OF_TEXT if END_OF_TEXT in specials else max(specials, key=lambda token: specials[token])
    return Vocabulary({_bytes(token, byte_of): ids[token] for token in order}, specials, merges, end)


def _from_tokenizer_json(content: dict[str, Any], path: Path) -> Vocabulary:
    model, before = content.get("model") or {}, json.dumps(content.get("pre_tokenizer") or {})
    if model.get("type", "BPE") != "BPE" or "merges" not in model or '"ByteLevel"' not in before:
        raise ValueError(f"{path} is not a byte-level BPE as GPT-2 uses; give the folder a vocab.json and a merges.txt.")
    merges = tuple(merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"])
    added = {token["content"]: token["id"] for token in content.get("added_tokens", ())}
    return _from_ids(model["vocab"], merges, added, path)


def _lines(text: str) -> tuple[str, ...]:
    lines = text.split("\n")
    return tuple(line.rstrip("\r") for line in lines[lines[0].startswith("#version") :] if line.rstrip("\r"))


def _bytes(token: str, byte_of: dict[str, int]) -> bytes:
    if unknown := [letter for letter in token if letter not in byte_of]:
        raise ValueError(f"The merge {token!r} has {unknown[0]!r}, which stands for no byte; it is not a byte-level BPE.")
    return bytes(byte_of[letter] for letter in token)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); copy it again from where it came from.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} should hold a JSON object, but holds a {type(content).__name__}.")
    return content
