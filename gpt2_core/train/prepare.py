"""From documents to token shards: read, extract, filter, remove copies, split, tokenise, write, report.

Two stages. The first does each document by itself, in parallel, and saves its work in parts; it takes the time. The second
reads the parts in order, drops copies of earlier documents, splits and writes the shards; it is short and, if killed, is done
again. The index is written last, so a folder that has one is finished. Nothing depends on the number of workers or on where
a run was stopped: order, hashes and seeds are those of the documents.

Source of the recipe: WebText, Radford et al. 2019, section 2.1.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gpt2_core.train import report
from gpt2_core.train.duplicates import Seen, held_out
from gpt2_core.train.filters import check_language
from gpt2_core.train.needs import needed
from gpt2_core.train.outcomes import Outcome, outcomes
from gpt2_core.train.parallel import ordered_map
from gpt2_core.train.parts import Batch, batches, finished, read_parts, signature_of, write_part
from gpt2_core.train.settings import Settings
from gpt2_core.train.shards import INDEX, TOKEN, Shards, ShardWriter, write_index, write_whole
from gpt2_core.train.sources import Source, look_at, records

MANIFEST, WORK, LOCK = "manifest.json", "work", ".lock"
Progress = Callable[[list[Outcome]], None]


@dataclass(frozen=True)
class Prepared:
    """What a preparation did: the finished data, and seconds of its two stages (0 for what was there already)."""

    shards: Shards
    process_seconds: float
    write_seconds: float


def prepare(
    names: list[str],
    out: Path,
    settings: Settings,
    workers: int = 1,
    allow_hub: bool = False,
    say: Callable[[str], None] = print,
    progress: Progress = lambda done: None,
) -> Prepared:
    """Makes the shards of the sources `names` in `out`, or goes on where an earlier run of the same command was stopped.

    Raises ValueError, in one sentence, for sources that do not exist, a folder that holds something else, another run at
    work in it; OSError where the disk fails. Damaged sources raise nothing: they stand in the report.
    """
    check_language(settings.language)
    _check_place(names, out)
    out.mkdir(parents=True, exist_ok=True)
    filelock = needed("filelock", "Preparing data")
    try:
        with filelock.FileLock(out / LOCK, timeout=0):
            return _prepare(names, out, settings, workers, allow_hub, say, progress)
    except filelock.Timeout as error:
        raise ValueError(f"Another preparation is at work in {out}; wait for it, or give another --out.") from error


def _prepare(names, out, settings, workers, allow_hub, say, progress) -> Prepared:
    known = _read_manifest(out)
    sources, sentences = look_at(names, allow_hub, known and known["sources"])
    for sentence in sentences:
        say(sentence)
    manifest = {"format": 1, "settings": settings.to_dict(), "sources": [source.remembered() for source in sources]}
    _check_manifest(out, known, manifest)
    if (out / INDEX).is_file():
        shutil.rmtree(out / WORK, ignore_errors=True)
        say(f"{out} is finished already.")
        return Prepared(Shards.open(out), 0.0, 0.0)
    write_whole(out / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
    started = time.perf_counter()
    _process(sources, out / WORK, settings, workers, say, progress)
    processed = time.perf_counter()
    _write(sources, out, settings)
    shutil.rmtree(out / WORK)
    return Prepared(Shards.open(out), processed - started, time.perf_counter() - processed)


def _check_place(names: list[str], out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder.")
    ours = (LOCK, f"{MANIFEST}.tmp")  # what a run that was killed before its manifest stood may leave
    if out.is_dir() and not (out / MANIFEST).exists() and any(path.name not in ours for path in out.iterdir()):
        raise ValueError(f"--out {out} holds other files; give a new or an empty folder.")
    for name in names:
        if Path(name).is_dir() and out.resolve().is_relative_to(Path(name).resolve()):
            raise ValueError(
                f"--out {out} lies within the source {name}, which would read its own results; give another place."
            )


def _read_manifest(out: Path) -> dict | None:
    path = out / MANIFEST
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove {out} and prepare the data again.") from error


def _check_manifest(out: Path, known: dict | None, manifest: dict) -> None:
    """Work that was begun with other settings or sources would mix with this."""
    if known is None or known == manifest:
        return
    before, now = (m.get("settings", {}) | {"sources": m.get("sources")} for m in (known, manifest))
    differ = ", ".join(name for name in now if before.get(name) != now[name]) or "format"
    raise ValueError(f"{out} was begun with other values of: {differ}; give the same ones, or another --out.")


def _process(sources: list[Source], work: Path, settings: Settings, workers: int, say, progress: Progress) -> None:
    """Stage one: every record becomes an outcome, saved part by part."""
    work.mkdir(exist_ok=True)
    if (work / "complete").is_file():
        return
    number, done = finished(work)
    if number:
        say(f"Going on after {done.total():,} documents ({number} parts).")
    found: list[Outcome] = []
    for results, ends in ordered_map(partial(_batch, settings=settings), batches(records(sources, settings, done)), workers):
        found += results
        progress(results)
        if ends:
            write_part(work, number, found)
            number, found = number + 1, []
    write_whole(work / "complete", b"")


def _batch(batch: Batch, settings: Settings) -> tuple[list[Outcome], bool]:
    return outcomes(batch.records, settings), batch.ends


def _write(sources: list[Source], out: Path, settings: Settings) -> None:
    """Stage two: copies are dropped, the rest is split and written; the index comes last."""
    seen, tally = Seen(settings.near_duplicates), report.Tally([source.name for source in sources])
    writers = {split: ShardWriter(out, split, settings.shard_tokens) for split in ("train", "validation")}
    for found in read_parts(out / WORK):
        if found.reason:
            tally.drop(found, found.reason, found.detail)
        elif copy := seen.copy_of(f"{sources[found.source].name}: {found.origin}", found.digest, signature_of(found)):
            tally.drop(found, *copy)
        else:
            split = "validation" if held_out(found.digest, settings.seed, settings.validation) else "train"
            writers[split].add(np.frombuffer(found.tokens, TOKEN), found.text_bytes)
            tally.keep(found, split)
    for writer in writers.values():
        writer.close()
    shards = {split: writer.shards for split, writer in writers.items()}
    fingerprint = Shards(out, settings.seed, {split: tuple(files) for split, files in shards.items()}).fingerprint
    report.write(out, report.content(tally, settings, fingerprint))
    write_index(out, settings.seed, shards)
