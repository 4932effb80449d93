"""Fetching a model from the Hugging Face hub, on request only: first a plan to show, then the download.

The weights are fetched into a partial file that a later attempt continues, are compared with the published size and
sha256, and only then enter the Hugging Face cache, where every other program finds them too. (`hf_hub_download` itself
begins large files anew after an interruption since huggingface_hub 2.)
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants, errors, file_download
from huggingface_hub.hf_api import ModelInfo

from gpt2_core.checkpoints.find import CONFIG, INDEX, PICKLE, WEIGHTS, hub_id, registered
from gpt2_core.checkpoints.verify import CheckpointError, check_file
from gpt2_core.config import SIZES

Progress = Callable[[int, int], None]  # (bytes done, bytes in total)
COMMIT = re.compile(r"[0-9a-f]{40}")
SMALL_FILES = (CONFIG, "vocab.json", "merges.txt", "tokenizer.json", "added_tokens.json")


@dataclass(frozen=True)
class PlannedFile:
    """A file of a download; its size and checksum where they are published."""

    name: str
    bytes: int | None
    sha256: str | None


@dataclass(frozen=True)
class DownloadPlan:
    """What a download would fetch, to be shown before it starts."""

    repo: str
    revision: str
    files: tuple[PlannedFile, ...]
    bytes: int
    licence: str


def describe_download(name: str, revision: str | None = None) -> DownloadPlan:
    """What downloading this model would fetch, how large it is, and under which licence.

    A model of the registry is described without the network; for any other hub id the hub is asked, which also pins the
    revision. Raises CheckpointError, in one sentence.
    """
    size = registered(name)
    if size is None:
        return _asked(hub_id(name), revision, None)
    if size.hub_id is None:
        raise CheckpointError(f"{size.name} is part of this program; there is nothing to download.")
    if size.revision is None or size.file_bytes is None or revision not in (None, size.revision):
        return _asked(size.hub_id, revision or size.revision, size.licence)
    files = (PlannedFile(CONFIG, None, None), PlannedFile(WEIGHTS, size.file_bytes, size.sha256))
    return DownloadPlan(size.hub_id, size.revision, files, size.file_bytes, size.licence)


def fetch(name: str, revision: str | None = None, progress: Progress | None = None) -> Path:
    """Fetch a model into the Hugging Face cache and return its folder there.

    An interrupted download continues where it stopped. Raises CheckpointError where the hub cannot be reached, has no such
    model, or sends something else than was published; what `progress` raises (to cancel) passes through.
    """
    shown = describe_download(name, revision)
    plan = _asked(shown.repo, shown.revision, shown.licence)
    known = registered(name)
    if known is not None and known.revision == plan.revision:
        plan = _with_registry(plan, known.name)
    folder, done = Path(), 0
    for file in plan.files:
        with _one_sentence(f"downloading {file.name} of {plan.repo}"):
            folder = _fetch(plan, file, done, progress).parent
        done += file.bytes or 0
    if known is None and revision is None:
        _remember_as_main(plan)
    return folder


def _remember_as_main(plan: DownloadPlan) -> None:
    """Note in the cache, as huggingface_hub does, which commit "main" was, so that the id alone finds it offline."""
    ref = _cache_of(plan) / "refs" / "main"
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(plan.revision)


def _cache_of(plan: DownloadPlan) -> Path:
    return Path(constants.HF_HUB_CACHE, file_download.repo_folder_name(repo_id=plan.repo, repo_type="model"))


def _asked(repo: str, revision: str | None, licence: str | None) -> DownloadPlan:
    with _one_sentence(f"asking the hub about {repo}"):
        info = huggingface_hub.HfApi(endpoint=constants.ENDPOINT).model_info(repo, revision=revision, files_metadata=True)
    if revision is not None and COMMIT.fullmatch(revision) and info.sha != revision:
        raise CheckpointError(f"The hub answered with revision {info.sha} of {repo}, but {revision} was asked for; try again.")
    files = _wanted(info)
    licence = licence or (info.card_data.get("license") if info.card_data else None) or "not stated; see the model's page"
    return DownloadPlan(repo, info.sha or revision or "main", files, sum(file.bytes or 0 for file in files), licence)


def _wanted(info: ModelInfo) -> tuple[PlannedFile, ...]:
    there = {s.rfilename: PlannedFile(s.rfilename, s.size, s.lfs.sha256 if s.lfs else None) for s in info.siblings or ()}
    if CONFIG not in there:
        raise CheckpointError(f"{info.id} has no {CONFIG}, so it is no model that can be loaded.")
    small = [there[name] for name in SMALL_FILES if name in there]
    if WEIGHTS in there:
        return (*small, there[WEIGHTS])
    shards = [f for name, f in there.items() if name.startswith("model-") and name.endswith(".safetensors")]
    if INDEX in there and shards:
        return (*small, there[INDEX], *shards)
    what = f"the pickle {PICKLE}, which is never loaded" if PICKLE in there else "no weights that can be read"
    raise CheckpointError(f"{info.id} offers {what}; expected {WEIGHTS}, which its owner can make with save_pretrained.")


def _with_registry(plan: DownloadPlan, name: str) -> DownloadPlan:
    """Where this program knows the checksum itself, its own counts, not the hub's."""
    known = SIZES[name].sha256
    files = (PlannedFile(f.name, f.bytes, known or f.sha256) if f.name == WEIGHTS else f for f in plan.files)
    return DownloadPlan(plan.repo, plan.revision, tuple(files), plan.bytes, plan.licence)


def _fetch(plan: DownloadPlan, file: PlannedFile, done: int, progress: Progress | None) -> Path:
    if file.sha256 is not None:
        _fetch_blob(plan, file, file.sha256, _bar(progress, done, plan.bytes))
    path = huggingface_hub.hf_hub_download(
        plan.repo, file.name, revision=plan.revision, cache_dir=constants.HF_HUB_CACHE, endpoint=constants.ENDPOINT,
        tqdm_class=_bar(None, 0, 0),
    )  # fmt: skip
    check_file(Path(path), file.bytes, file.sha256, f"{file.name} of {plan.repo}", f"delete {path} and download it again")
    if progress is not None:
        progress(done + (file.bytes or 0), plan.bytes)
    return Path(path)


def _fetch_blob(plan: DownloadPlan, file: PlannedFile, sha256: str, bar: type) -> None:
    """Put a large file among the cache's blobs, named by its checksum as the hub does; `hf_hub_download` then links it."""
    blobs = _cache_of(plan) / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    if (blobs / sha256).exists():
        return
    url = huggingface_hub.hf_hub_url(plan.repo, file.name, revision=plan.revision, endpoint=constants.ENDPOINT)
    partial = blobs / f"{sha256}.partial"
    with partial.open("ab") as target:
        headers = huggingface_hub.utils.build_hf_headers()
        have = target.tell()
        if file.bytes is not None and have > file.bytes:
            have = target.truncate(0)
        file_download.http_get(url, target, resume_size=have, headers=headers, expected_size=file.bytes, tqdm_class=bar)
    try:
        check_file(partial, file.bytes, sha256, f"The download of {file.name}", "it was thrown away, so try again")
    except CheckpointError:
        partial.unlink()
        raise
    os.replace(partial, blobs / sha256)


def _bar(progress: Progress | None, before: int, total: int) -> type:
    """huggingface_hub reports to a progress bar class; this one reports to a function, and draws nothing."""

    class Bar:
        def __init__(self, *args: object, initial: int = 0, **kwargs: object):
            self.n = initial

        def update(self, n: int = 1) -> None:
            self.n += n
            if progress is not None:
                progress(before + self.n, total)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *exception: object) -> None:
            return None

        def close(self) -> None:
            return None

        refresh = set_postfix_str = lambda self, *args, **kwargs: None

    return Bar


@contextmanager
def _one_sentence(doing: str) -> Iterator[None]:
    """Turns what huggingface_hub and the network raise into a CheckpointError of one sentence."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        if (reason := _reason(error)) is None:
            raise
        raise CheckpointError(f"While {doing}: {reason}.") from error


def _reason(error: Exception) -> str | None:
    first_line = next(iter(str(error).splitlines()), "") or type(error).__name__
    for kind, reason in (
        (errors.OfflineModeIsEnabled, "HF_HUB_OFFLINE forbids the network; unset it, or give a folder on this machine"),
        (errors.GatedRepoError, "its owner must grant access first; ask on its page, then log in with `hf auth login`"),
        (errors.RevisionNotFoundError, "the hub has no such revision; leave it out to take the current one"),
        (errors.RepositoryNotFoundError, "the hub has no model of this name, or it is private; check the spelling"),
        (errors.HFValidationError, "this cannot be the name of a model on the hub; check the spelling"),
        (errors.HfHubHTTPError, f"the hub answered with an error ({first_line}); try again later"),
        (OSError, f"the network or the disk failed ({first_line}); check both and try again, what has come is kept"),
    ):
        if isinstance(error, kind):
            return reason
    if type(error).__module__.partition(".")[0] in ("httpx", "httpx2"):  # the client of huggingface_hub 1 and 2
        return f"the network failed ({first_line}); check the connection and try again, what has come is kept"
    return None
