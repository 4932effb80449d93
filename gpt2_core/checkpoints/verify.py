"""Is this file what it should be? The one error of this package, and checksums."""

import hashlib
from functools import lru_cache
from pathlib import Path

CHUNK = 1 << 22


class CheckpointError(ValueError):
    """A checkpoint cannot be loaded; the message is one sentence that says what is wrong and what to do."""


def sha256_of(path: Path) -> str:
    """sha256 of a file, about a second per gigabyte; remembered until the file's size or time of change differs."""
    path = path.resolve()
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def weights_digest(files: list[Path]) -> str:
    """One name for the weights: the sha256 of the file; of several shards, the sha256 of their `sha256sum` listing."""
    if len(files) == 1:
        return sha256_of(files[0])
    listing = "".join(f"{sha256_of(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def check_file(path: Path, size: int | None, sha256: str | None, what: str, remedy: str) -> None:
    """Raises CheckpointError unless the file has the size and checksum that are known for it."""
    if size is not None and (came := path.stat().st_size) != size:
        raise CheckpointError(f"{what} has {came:,} bytes, expected {size:,}; {remedy}.")
    if sha256 is not None and (digest := sha256_of(path)) != sha256:
        raise CheckpointError(f"{what} has the wrong checksum: sha256 {digest}, expected {sha256}; {remedy}.")
