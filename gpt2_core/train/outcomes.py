"""What becomes of one record: its tokens, or the reason why it is dropped. Pure, so that any process may do any record."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from gpt2_core.tokenizer import Tokenizer
from gpt2_core.train import duplicates, filters
from gpt2_core.train.documents import Record
from gpt2_core.train.extract import Unusable, cut, extract, is_wikipedia
from gpt2_core.train.settings import Settings
from gpt2_core.train.shards import TOKEN


@dataclass(frozen=True, eq=False)
class Outcome:
    """A record after extraction, filters and tokenisation; `reason` is empty where a document stays."""

    source: int
    origin: str
    size: int  # bytes read
    reason: str = ""
    detail: str = ""
    digest: str = ""
    text_bytes: int = 0  # UTF-8 bytes of the text
    tokens: bytes = b""  # as shards hold them, `<|endoftext|>` after the document (and after each piece of one that is cut)
    signature: bytes = b""  # MinHash, uint32; empty where near duplicates are not looked for


def outcomes(records: list[Record], settings: Settings) -> list[Outcome]:
    """The outcomes of several records, in their order."""
    return [outcome(record, settings) for record in records]


def outcome(record: Record, settings: Settings) -> Outcome:
    """The outcome of one record."""
    if record.reason:
        return _dropped(record, record.reason, record.detail)
    try:
        document = extract(record, settings)
    except Unusable as error:
        return _dropped(record, error.reason, error.detail)
    if reason := _unwanted(document.text, document.url, settings):
        return _dropped(record, *reason)
    words = duplicates.normal_words(document.text)
    pieces = cut(document.text, settings.longest)
    return Outcome(
        record.source,
        record.origin,
        record.size,
        digest=duplicates.digest(words) if words else duplicates.digest([document.text]),
        text_bytes=sum(len(piece.encode()) for piece in pieces),
        tokens=tokens_of(pieces),
        signature=duplicates.signature(words).astype("<u4").tobytes() if settings.near_duplicates and words else b"",
    )


def tokens_of(pieces: list[str]) -> bytes:
    """Token ids of the pieces, `<|endoftext|>` after each, as bytes. The same words within a text are plain text."""
    tokenizer = Tokenizer.load()
    return b"".join(np.array([*tokenizer.encode(piece), tokenizer.eos_id], TOKEN).tobytes() for piece in pieces)


def _unwanted(text: str, url: str, settings: Settings) -> tuple[str, str] | None:
    if not text:
        return "no text", "nothing is left of it"
    if not settings.wikipedia and is_wikipedia(url):
        return "Wikipedia", url[:200]
    if settings.language != "any" and (found := filters.language_of(text)) != settings.language:
        return "other language", found
    if settings.quality and (rule := filters.quality(text, settings.language)) is not None:
        return f"quality: {rule.reason}", f"{rule.measure(filters.Measured(text)):.4g}"
    return None


def _dropped(record: Record, reason: str, detail: str) -> Outcome:
    return Outcome(record.source, record.origin, record.size, reason, detail)


def token_counts(tokens: Counter[int], raw: bytes) -> None:
    """Adds the tokens of a document to a count of them."""
    ids, counts = np.unique(np.frombuffer(raw, TOKEN), return_counts=True)
    tokens.update(dict(zip(ids.tolist(), counts.tolist())))
