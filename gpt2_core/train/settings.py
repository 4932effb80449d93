"""What `prepare` may be told: every choice that changes the bytes it makes, and no other."""

import re
from dataclasses import asdict, dataclass

from gpt2_core.train.shards import SHARD_TOKENS

MIB = 1 << 20


@dataclass(frozen=True)
class Settings:
    """Choices of one preparation. The same settings and sources give the same bytes, whatever the number of workers.

    Args:
        seed: of the split; another seed holds out other documents.
        validation: share of documents that are held out.
        language: ISO 639-1 code of the documents to keep, or "any".
        quality: whether the rules of `filters.RULES` apply.
        wikipedia: whether documents of Wikipedia stay (WebText removed them).
        quotes: whether curly quotes become ASCII ones.
        near_duplicates: Jaccard similarity of word 5-grams from which on a document is a copy of an earlier one; 0 turns it off.
        longest: characters after which a document is cut, at the end of a paragraph; 0 keeps documents whole.
        text_key, url_key: fields of .jsonl and .parquet that hold a document and its address.
        largest_mib: MiB beyond which a single document is not read.
        shard_tokens: tokens of a shard.
    """

    seed: int = 0
    validation: float | int = 0.02
    language: str = "en"
    quality: bool = True
    wikipedia: bool = False
    quotes: bool = True
    near_duplicates: float | int = 0.8
    longest: int = 0
    text_key: str = "text"
    url_key: str = "url"
    largest_mib: int = 64
    shard_tokens: int = SHARD_TOKENS

    def __post_init__(self) -> None:
        checks = {
            "validation": (0 <= self.validation < 1, "at least 0 and less than 1"),
            "near_duplicates": (0 <= self.near_duplicates <= 1, "between 0 (off) and 1"),
            "longest": (self.longest >= 0, "0 (whole documents) or a number of characters"),
            "largest_mib": (self.largest_mib >= 1, "at least 1"),
            "shard_tokens": (self.shard_tokens >= 1, "at least 1"),
            "language": (bool(re.fullmatch(r"[a-z]{2,3}|any", self.language)), "an ISO 639 code such as en, or any"),
            "text_key": (bool(self.text_key), "the name of a field"),
        }
        for name, (holds, expected) in checks.items():
            if not holds:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected {expected}.")

    @property
    def largest(self) -> int:
        """Bytes beyond which a single document is not read."""
        return self.largest_mib * MIB

    def to_dict(self) -> dict:
        """As JSON keeps it in the manifest and the report."""
        shares = {"validation": float(self.validation), "near_duplicates": float(self.near_duplicates)}  # 0 and 0.0 are one
        return asdict(self) | shares
