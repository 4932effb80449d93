"""What a preparation was given, as its manifest remembers it: enough to notice that a source changed before going on."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gpt2_core.train.documents import LINES, TARS, TEXTS, Place, Record, files_of, read_path
from gpt2_core.train.hub import PREFIX, HubSource, parts_of, pin, read_hub, refused
from gpt2_core.train.settings import Settings


@dataclass(frozen=True)
class Source:
    """A file, folder or hub data set. `state` is a hash of names, sizes and times, or the hub revision."""

    name: str  # its last part: reports do not depend on where a folder lies
    files: int
    size: int  # bytes on disk; 0 for the hub
    state: str
    path: Path | None = None
    hub: HubSource | None = None

    def remembered(self) -> dict:
        """As the manifest keeps it."""
        return {"name": self.name, "files": self.files, "size": self.size, "state": self.state}


def look_at(names: list[str], allow_hub: bool = False, known: list[dict] | None = None) -> tuple[list[Source], list[str]]:
    """The sources of a command, and sentences to show before anything is read.

    `known` are the sources of an earlier run: its hub revisions are kept. Raises ValueError for a source that does not exist
    or is of no kind that is read, and for the hub where it was not allowed.
    """
    sources, sentences = [], []
    for number, name in enumerate(names):
        if not name.startswith(PREFIX):
            sources.append(_local(Path(name)))
            continue
        if not allow_hub:
            raise refused(name)
        hub, sentence = _pinned(name, known[number] if known and number < len(known) else None)
        sources.append(Source(name, 1, 0, hub.revision, hub=hub))
        sentences.append(sentence)
    return sources, sentences


def _pinned(name: str, known: dict | None) -> tuple[HubSource, str]:
    if known and known["name"] == name:
        id, config = parts_of(name)
        return HubSource(id, known["state"], config), f"{name} goes on at revision {known['state'][:12]}."
    return pin(name)


def _local(path: Path) -> Source:
    if not path.exists():
        raise ValueError(f"The source {path} does not exist; give a folder, a file, or hf:owner/name with --hub.")
    if path.is_file() and not path.name.lower().endswith((*TEXTS, *LINES, *TARS, ".zip", ".parquet")):
        kinds = ", ".join((*TEXTS, *LINES, *TARS, ".zip", ".parquet"))
        raise ValueError(f"The source {path} is of no kind that is read; expected a folder or a file ending in {kinds}.")
    state, size, files = hashlib.sha256(), 0, files_of(path) if path.is_dir() else [path]
    for file in files:
        status, name = file.stat(), file.relative_to(path).as_posix()
        size += status.st_size
        state.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return Source(path.resolve().name, len(files), size, state.hexdigest()[:32], path=path)


def records(sources: list[Source], settings: Settings, done: Counter[int]) -> Iterator[Record]:
    """All records of the sources in order, without those that are done. A source is over once a later one has begun."""
    begun = max(done, default=0)
    for number in range(begun, len(sources)):
        source, place = sources[number], Place(number, "", settings)
        if source.hub is not None:
            yield from read_hub(source.hub, place, done[number])
        else:
            yield from islice(read_path(source.path, _named(source, place)), done[number], None)


def _named(source: Source, place: Place) -> Place:
    """Records of a folder or archive are named within it; a single file is named itself."""
    alone = source.path.is_file() and not source.path.name.lower().endswith((*TARS, ".zip"))
    return place.within(source.name) if alone else place
