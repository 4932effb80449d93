"""Token shards: how a prepared data set lies on disk, how it is written and how a trainer reads windows of it.

A folder holds `index.json` and raw little-endian uint16 files, one token id after the other; every document is followed by
`<|endoftext|>`. uint16 halves what int32 would take, and GPT-2's 50,257 ids fit. A split ("train", "validation") is the
concatenation of its shards in the order of the index; the borders between shards mean nothing to a reader.

Axes: token - position in the concatenation of a split's shards.
"""

import hashlib
import json
import os
from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Integer

FORMAT = 1
INDEX = "index.json"
TOKEN = np.dtype("<u2")
SHARD_TOKENS = 100_000_000  # 200 MB


@dataclass(frozen=True)
class Shard:
    """One file of a split. `bytes` are the UTF-8 bytes of its documents' text, which bits per byte are counted by."""

    file: str
    tokens: int
    documents: int
    bytes: int
    sha256: str


@dataclass(frozen=True, eq=False)
class Shards:
    """A prepared data set, memory-mapped: `Shards.open(folder).window("train", start, length)`."""

    folder: Path
    seed: int
    splits: dict[str, tuple[Shard, ...]]

    @staticmethod
    def open(folder: str | Path) -> "Shards":
        """Reads the index and checks the size of every file (not its sha256: see `verify`).

        Raises ValueError, in one sentence, where the index is missing or not of this kind, or a shard has another size.
        """
        folder = Path(folder)
        path = folder / INDEX
        if not path.is_file():
            raise ValueError(
                f"{folder} holds no {INDEX}; give the folder that `python -m gpt2_core.train prepare ... --out FOLDER` finished."
            )
        index = _read_index(path)
        try:
            splits = {name: tuple(Shard(**shard) for shard in split["shards"]) for name, split in index["splits"].items()}
            shards = Shards(folder, index["seed"], splits)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not an index of shards ({error!r}); prepare the data again.") from error
        for shard in (shard for split in splits.values() for shard in split):
            _check_size(folder, shard)
        return shards

    @property
    def fingerprint(self) -> str:
        """sha256 over the names and hashes of all shards: what a checkpoint remembers of its data."""
        lines = [f"{name} {shard.file} {shard.sha256}\n" for name in sorted(self.splits) for shard in self.splits[name]]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def tokens(self, split: str) -> int:
        """Number of tokens of a split, `<|endoftext|>` included."""
        return sum(shard.tokens for shard in self._of(split))

    def bytes(self, split: str) -> int:
        """Number of UTF-8 bytes of the documents of a split (the ends of documents count none)."""
        return sum(shard.bytes for shard in self._of(split))

    def documents(self, split: str) -> int:
        """Number of documents of a split."""
        return sum(shard.documents for shard in self._of(split))

    def window(self, split: str, start: int, length: int) -> Int64[np.ndarray, " token"]:
        """`length` tokens of a split from `start` on, across the borders of shards.

        Raises ValueError for an unknown split and for a window that does not lie within it.
        """
        total = self.tokens(split)
        if start < 0 or length < 0 or start + length > total:
            raise ValueError(f"The window [{start}, {start + length}) does not lie within the {total} tokens of {split!r}.")
        out, filled, ends = np.empty(length, np.int64), 0, self._ends[split]
        number = bisect_right(ends, start)
        while filled < length:
            first = start + filled - (ends[number - 1] if number else 0)
            piece = self._maps[split][number][first : first + length - filled]
            out[filled : filled + len(piece)] = piece
            filled, number = filled + len(piece), number + 1
        return out

    def verify(self) -> None:
        """Reads every shard and compares its sha256. Raises ValueError for the first that differs."""
        for shard in (shard for split in self.splits.values() for shard in split):
            with (self.folder / shard.file).open("rb") as file:
                digest = _sha256(file)
            if digest != shard.sha256:
                raise ValueError(
                    f"{self.folder / shard.file} is damaged (its sha256 is not the index's); prepare the data again."
                )

    def _of(self, split: str) -> tuple[Shard, ...]:
        if split not in self.splits:
            raise ValueError(f"{self.folder} has no split {split!r}; it has {', '.join(sorted(self.splits))}.")
        return self.splits[split]

    @cached_property
    def _ends(self) -> dict[str, list[int]]:
        return {name: list(accumulate(shard.tokens for shard in split)) for name, split in self.splits.items()}

    @cached_property
    def _maps(self) -> dict[str, list[np.ndarray]]:
        return {name: [_map(self.folder, shard) for shard in split] for name, split in self.splits.items()}


@dataclass(eq=False)
class ShardWriter:
    """Writes the shards of one split, document by document; a shard ends before the document that would exceed `shard_tokens`.

    A document is never cut: one that is longer than a shard gets a shard of its own. Files appear under their names only
    when they are whole. Call `close()`; then `shards` is what the index lists.
    """

    folder: Path
    split: str
    shard_tokens: int = SHARD_TOKENS
    shards: list[Shard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._file = None

    def add(self, tokens: Integer[np.ndarray, " token"], text_bytes: int) -> None:
        """Appends a document: its tokens, with the final `<|endoftext|>`, and how many UTF-8 bytes its text has."""
        if self._file is not None and self._tokens + len(tokens) > self.shard_tokens:
            self._end()
        if self._file is None:
            self._begin()
        raw = np.ascontiguousarray(tokens, TOKEN).tobytes()
        self._file.write(raw)
        self._hash.update(raw)
        self._tokens, self._documents, self._bytes = self._tokens + len(tokens), self._documents + 1, self._bytes + text_bytes

    def close(self) -> None:
        """Ends the last shard; an unfinished file of a failed run is left as `.tmp` and never listed."""
        if self._file is not None:
            self._end()

    def _begin(self) -> None:
        self._path = self.folder / f"{self.split}-{len(self.shards):05d}.bin"
        self._file, self._hash = self._path.with_suffix(".bin.tmp").open("wb"), hashlib.sha256()
        self._tokens = self._documents = self._bytes = 0

    def _end(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._path.with_suffix(".bin.tmp"), self._path)
        self._file = None
        self.shards.append(Shard(self._path.name, self._tokens, self._documents, self._bytes, self._hash.hexdigest()))


def write_index(folder: Path, seed: int, splits: dict[str, list[Shard]]) -> None:
    """Writes `index.json`, last and at once, so that a folder with an index is a whole one."""
    content = {
        "format": FORMAT,
        "vocabulary": "gpt2",
        "dtype": "uint16",
        "seed": seed,
        "splits": {name: {"shards": [asdict(shard) for shard in shards]} for name, shards in splits.items()},
    }
    write_whole(folder / INDEX, (json.dumps(content, indent=2) + "\n").encode())


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file so that it is seen either whole or not at all, whenever the process or the machine stops."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _read_index(path: Path) -> dict:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        kind = (index["format"], index["vocabulary"], index["dtype"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not an index of shards ({error!r}); prepare the data again.") from error
    if kind != (FORMAT, "gpt2", "uint16"):
        raise ValueError(
            f"{path} is of kind {kind}, expected {(FORMAT, 'gpt2', 'uint16')}; prepare the data with this version."
        )
    return index


def _check_size(folder: Path, shard: Shard) -> None:
    path, expected = folder / shard.file, shard.tokens * TOKEN.itemsize
    found = path.stat().st_size if path.is_file() else None
    if found != expected:
        raise ValueError(
            f"{path} {'is missing' if found is None else f'has {found} bytes'}, the index says {expected}; prepare the data again."
        )


def _map(folder: Path, shard: Shard) -> np.ndarray:
    if not shard.tokens:  # a file of no bytes cannot be mapped
        return np.empty(0, TOKEN)
    return np.memmap(folder / shard.file, TOKEN, "r")


def _sha256(file) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
