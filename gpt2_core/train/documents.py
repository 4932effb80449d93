"""Sources as a stream of records: what lies in folders, archives and tables, one document after the other, in a fixed order.

A record is a document that is not opened yet (`Record.data` is its bytes, or the path of a file that a worker will read) or
the report that something could not be read (`Record.reason`). Readers never stop at damage: what came before it is kept,
the damage becomes a record, and the next file follows. Archives are read as streams; nothing of them is ever written, so the
paths in them mean nothing to the file system, and a member larger than the limit is not read beyond it.
"""

import gzip
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from gpt2_core.train.needs import Missing, needed
from gpt2_core.train.settings import Settings

TEXTS = {".txt": "text", ".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html"}
LINES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz")
BLOCK = 1 << 16
ZSTD_BLOCK = 1 << 12  # of compressed bytes: an adversarial frame grows by 32,768, which 4 KiB keep at 128 MiB

Stream = Any  # whatever has read(): files, members of archives, decompressors

UNREADABLE, TOO_LARGE, OTHER_KIND = "unreadable", "too large", "other kind of file"


@dataclass(frozen=True, eq=False)
class Record:
    """One document to be, or one report. `origin` is its name within its source, `source` the number of that."""

    source: int
    origin: str
    kind: str = ""  # text, markdown, html, json, plain (already text, from a table)
    data: bytes | str | Path = b""
    url: str = ""
    size: int = 0  # bytes
    reason: str = ""  # why there is no document; with `detail`
    detail: str = ""


@dataclass(frozen=True)
class Place:
    """Where a reader is: the source's number, the name so far, and the settings."""

    source: int
    name: str
    settings: Settings

    def within(self, name: str | int) -> "Place":
        """The place of a file, member or line inside this one."""
        return Place(self.source, f"{self.name}/{name}" if self.name else str(name), self.settings)

    def document(self, kind: str, data: bytes | str, url: str = "") -> Record:
        """A document found here, unless it is too large."""
        size = len(data)
        if size > self.settings.largest:
            return self.too_large()
        return Record(self.source, self.name, kind, data, url, size)

    def failed(self, reason: str, detail: str) -> Record:
        """A report that nothing more is read here."""
        return Record(self.source, self.name, reason=reason, detail=detail)

    def too_large(self) -> Record:
        """A report that the document here exceeds the limit."""
        return self.failed(TOO_LARGE, f"more than {self.settings.largest_mib} MiB")


def read_path(path: Path, place: Place) -> Iterator[Record]:
    """The records of a folder or of a single file of any kind; those of a folder in the order of their names."""
    if not path.is_dir():
        yield from _file(path, place)
        return
    for file in files_of(path):
        yield from _file(file, place.within(file.relative_to(path).as_posix()))


def files_of(folder: Path) -> list[Path]:
    """The regular files under a folder, hidden ones left out, sorted by name (not by the file system's whim)."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted((file for file in found if file.is_file()), key=lambda file: file.relative_to(folder).as_posix())


def _file(path: Path, place: Place) -> Iterator[Record]:
    name = path.name.lower()
    if (kind := TEXTS.get(path.suffix.lower())) is not None:
        yield _unopened(path, kind, place)
    elif name.endswith(TARS):
        yield from _guarded(place, lambda: _tar(path, place))
    elif name.endswith(".zip"):
        yield from _guarded(place, lambda: _zip(path, place))
    elif name.endswith((*LINES, ".parquet")):
        yield from _guarded(place, lambda: _table(name, path.open("rb"), place))
    else:
        yield place.failed(OTHER_KIND, path.suffix or "no ending")


def _unopened(path: Path, kind: str, place: Place) -> Record:
    try:
        size = path.stat().st_size
    except OSError as error:
        return place.failed(UNREADABLE, str(error.strerror))
    return place.too_large() if size > place.settings.largest else Record(place.source, place.name, kind, path, "", size)


def _guarded(place: Place, read: Callable[[], Iterable[Record]]) -> Iterator[Record]:
    """What a reader yields, and a report where it fails: a damaged file may raise whatever its reader did not foresee."""
    count = 0
    try:
        for record in read():
            count += 1
            yield record
    except (Missing, MemoryError):  # of this machine, not of the file
        raise
    except Exception as error:
        if count:
            yield place.failed(UNREADABLE, f"broken after {count} records: {_sentence(error)}")
        else:
            yield place.failed(UNREADABLE, _sentence(error))


def _sentence(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _tar(path: Path, place: Place) -> Iterator[Record]:
    """Members of a tar. It is decompressed here and not by tarfile, which takes the end of a cut file for the end of the archive."""
    with _opened(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.isfile() and not _hidden(member.name):
                yield from _member(member.name, lambda m=member: archive.extractfile(m), place)


def _opened(path: Path) -> Stream:
    name = path.name.lower()
    if name.endswith((".gz", ".tgz")):
        return gzip.open(path, "rb")
    return lzma.open(path, "rb") if name.endswith("xz") else path.open("rb")


def _zip(path: Path, place: Place) -> Iterator[Record]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir() and not _hidden(member.filename):
                yield from _zip_member(archive, member, place)


def _zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: Place) -> Iterator[Record]:
    """Members of a zip are independent: damage in one (a wrong checksum, a password) leaves the others readable."""
    inner = place.within(member.filename)
    yield from _guarded(inner, lambda: _member(member.filename, lambda: archive.open(member), place))


def _hidden(name: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _member(name: str, open_member: Callable[[], Stream | None], place: Place) -> Iterator[Record]:
    inner, kind = place.within(name), TEXTS.get(PurePosixPath(name).suffix.lower())
    if kind is None and not name.lower().endswith((*LINES, ".parquet")):
        yield inner.failed(OTHER_KIND, PurePosixPath(name).suffix or "no ending")
        return
    with open_member() as stream:
        if kind is not None:
            yield inner.document(kind, stream.read(inner.settings.largest + 1))
        else:
            yield from _guarded(inner, lambda: _table(name.lower(), stream, inner))


def _table(name: str, stream: Stream, place: Place) -> Iterator[Record]:
    if name.endswith(".parquet"):
        yield from _parquet(stream, place)
    elif name.endswith(".gz"):
        yield from _json_lines(_blocks(gzip.open(stream, "rb")), place)
    else:
        yield from _json_lines(_zstd_blocks(stream) if name.endswith(".zst") else _blocks(stream), place)


def _blocks(stream: Stream) -> Iterator[bytes]:
    with stream:
        while block := stream.read(BLOCK):
            yield block


def _zstd_blocks(stream: Stream) -> Iterator[bytes]:
    """Decompressed bytes, frame after frame; EOFError where the last frame is cut (the library's reader would stay silent)."""
    zstandard = needed("zstandard", "Reading .zst")
    frame, inside, rest = zstandard.ZstdDecompressor().decompressobj(), False, b""
    while block := rest or stream.read(ZSTD_BLOCK):
        yield frame.decompress(block)
        rest, inside = frame.unused_data if frame.eof else b"", not frame.eof
        if frame.eof:
            frame = zstandard.ZstdDecompressor().decompressobj()
    if inside:
        raise EOFError("the compressed data ends before its end marker")


def _json_lines(blocks: Iterable[bytes], place: Place) -> Iterator[Record]:
    for number, line in enumerate(bounded_lines(blocks, place.settings.largest), 1):
        if line is None:
            yield place.within(number).too_large()
        elif line.strip():
            yield place.within(number).document("json", line)


def bounded_lines(blocks: Iterable[bytes], limit: int) -> Iterator[bytes | None]:
    """The lines of a stream of blocks; None in place of a line of more than `limit` bytes, of which no more than that is held."""
    parts, held, over = [], 0, False
    for block in blocks:
        pieces = block.split(b"\n")
        for n, piece in enumerate(pieces):
            if n:
                yield None if over else b"".join(parts)
                parts, held, over = [], 0, False
            held += len(piece)
            over = over or held > limit
            if over:
                parts = []
            else:
                parts.append(piece)
    if held:
        yield None if over else b"".join(parts)


def _parquet(stream: Stream, place: Place) -> Iterator[Record]:
    """Rows of a table. A table within an archive is read into memory, for it is read from its end."""
    parquet, settings = needed("pyarrow.parquet", "Reading .parquet"), place.settings
    if isinstance(stream, tarfile.ExFileObject | zipfile.ZipExtFile):
        data = stream.read(8 * settings.largest + 1)
        if len(data) > 8 * settings.largest:
            yield place.failed(TOO_LARGE, f"a table of more than {8 * settings.largest_mib} MiB within an archive")
            return
        stream = BytesIO(data)
    table = parquet.ParquetFile(stream)
    if settings.text_key not in table.schema_arrow.names:
        raise ValueError(f"no column {settings.text_key!r} among {', '.join(table.schema_arrow.names)}")
    columns = [name for name in (settings.text_key, settings.url_key) if name in table.schema_arrow.names]
    number = 0
    for batch in table.iter_batches(batch_size=256, columns=columns):
        for row in batch.to_pylist():
            number += 1
            yield row_record(row, place.within(number))


def row_record(row: dict, place: Place) -> Record:
    """The record of a row that is already read: a table's, or a hub data set's."""
    text, url = row.get(place.settings.text_key), row.get(place.settings.url_key)
    if not isinstance(text, str):
        return place.failed(UNREADABLE, f"{place.settings.text_key!r} is {type(text).__name__}, not text")
    return place.document("plain", text, url if isinstance(url, str) else "")
