"""Finished work on disk: records in runs of some 64 MB, each saved whole, so that a killed preparation goes on where it was.

A part is three files; its `.jsonl` (one line a record) is written last, so a part that has one is whole. Parts are cut by the
sizes of the records alone, never by time or workers.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt2_core.train.documents import Record
from gpt2_core.train.duplicates import PERMUTATIONS
from gpt2_core.train.outcomes import Outcome
from gpt2_core.train.shards import write_whole

PART_BYTES, PART_RECORDS = 64 << 20, 20_000
BATCH_BYTES, BATCH_RECORDS = 1 << 20, 256  # what a worker is handed at once
FIELDS = ("source", "origin", "size", "reason", "detail", "digest", "text_bytes")


@dataclass(frozen=True)
class Batch:
    """Records for a worker; `ends` says that a part ends with them."""

    records: list[Record]
    ends: bool


def batches(records: Iterable[Record]) -> Iterator[Batch]:
    """Records in batches, with the ends of parts marked."""
    batch, batch_bytes, part_bytes, part_records = [], 0, 0, 0
    for record in records:
        batch.append(record)
        batch_bytes, part_bytes, part_records = batch_bytes + record.size, part_bytes + record.size, part_records + 1
        ends = part_bytes >= PART_BYTES or part_records >= PART_RECORDS
        if ends or batch_bytes >= BATCH_BYTES or len(batch) >= BATCH_RECORDS:
            yield Batch(batch, ends)
            batch, batch_bytes = [], 0
        if ends:
            part_bytes = part_records = 0
    if part_records:
        yield Batch(batch, True)


def write_part(folder: Path, number: int, outcomes: list[Outcome]) -> None:
    """Saves a part."""
    lines = []
    for found in outcomes:
        sizes = {"token_bytes": len(found.tokens), "signed": bool(found.signature)}
        lines.append(json.dumps({name: getattr(found, name) for name in FIELDS} | sizes) + "\n")
    write_whole(_path(folder, number, "tokens"), b"".join(found.tokens for found in outcomes))
    write_whole(_path(folder, number, "signatures"), b"".join(found.signature for found in outcomes))
    write_whole(_path(folder, number, "jsonl"), "".join(lines).encode())


def finished(folder: Path) -> tuple[int, Counter[int]]:
    """How many parts are done, and how many records of each source lie in them."""
    parts, records = 0, Counter()
    while (path := _path(folder, parts, "jsonl")).is_file():
        with path.open(encoding="utf-8") as file:
            records.update(json.loads(line)["source"] for line in file)
        parts += 1
    return parts, records


def read_parts(folder: Path) -> Iterator[Outcome]:
    """All outcomes that were saved, in order."""
    number = 0
    while (path := _path(folder, number, "jsonl")).is_file():
        with (
            path.open(encoding="utf-8") as lines,
            _path(folder, number, "tokens").open("rb") as tokens,
            _path(folder, number, "signatures").open("rb") as signatures,
        ):
            for line in lines:
                row = json.loads(line)
                signature = signatures.read(4 * PERMUTATIONS) if row["signed"] else b""
                fields = {name: row[name] for name in FIELDS}
                yield Outcome(**fields, tokens=tokens.read(row["token_bytes"]), signature=signature)
        number += 1


def signature_of(found: Outcome) -> np.ndarray | None:
    """The MinHash of an outcome as numbers, or None where it has none."""
    return np.frombuffer(found.signature, "<u4") if found.signature else None


def _path(folder: Path, number: int, kind: str) -> Path:
    return folder / f"part-{number:06d}.{kind}"
