"""Where is the model of this name? On this machine only: nothing here uses the network.

Order: an explicit folder, the embedded models, the Hugging Face cache. A registry name always means the registry; write
`./gpt2` for a folder of that name.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import huggingface_hub
from huggingface_hub import constants

from gpt2_core.checkpoints.verify import CheckpointError
from gpt2_core.config import SIZES, GPT2Config, Size

EMBEDDED = Path(__file__).resolve().parent.parent.parent / "assets" / "models"
CONFIG, WEIGHTS, INDEX, PICKLE = "config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
MOVED = {"distilgpt2": "distilbert/distilgpt2"}  # ids from before repositories had owners


@dataclass(frozen=True)
class Found:
    """A checkpoint folder on this machine. `sha256` is the checksum that its weights must have, where one is known."""

    name: str
    folder: Path
    state: Literal["folder", "embedded", "cached"]
    source: str
    sha256: str | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A line of the model picker. `bytes` is the size of the weights file, None where it was never published."""

    name: str
    label: str
    state: Literal["embedded", "cached", "downloadable"]
    bytes: int | None
    config: GPT2Config


def locate(name: str, revision: str | None = None) -> Found | None:
    """The checkpoint of a registry name, folder or hub id, if it is on this machine; `revision` is of a hub repository.

    Raises CheckpointError for a name that can be none of these, and for a folder that does not exist.
    """
    size = registered(name)
    if size is None and (folder := _explicit(name, revision)) is not None:
        return Found(folder.name, folder, "folder", f"folder {folder}")
    if (embedded := _embedded(size.name if size else name)) is not None and revision is None:
        return Found(embedded.name, embedded, "embedded", f"embedded {embedded.name}", size.sha256 if size else None)
    if size is not None and size.embedded:
        raise CheckpointError(f"The embedded model {size.name} is missing from {EMBEDDED}; restore it from the repository.")
    return _cached(name, size, revision)


def registered(name: str) -> Size | None:
    """The registry's entry for a name or hub id: "gpt2" and "openai-community/gpt2" are the same."""
    return SIZES.get(name) or next((size for size in SIZES.values() if size.hub_id == name), None)


def hub_id(name: str) -> str:
    """The repository that a name means today; ids from before repositories had owners are translated."""
    size = registered(name)
    return (size.hub_id if size else None) or MOVED.get(name, name)


def absent(name: str) -> str:
    """The sentence for a model that is not on this machine: what it is and how to get it."""
    size, where = registered(name), f"not in the Hugging Face cache ({constants.HF_HUB_CACHE})"
    if size is not None:
        large = f"{size.file_bytes / 1e6:,.0f} MB, " if size.file_bytes else ""
        return f"{size.name} ({large}licence {size.licence}) is {where}; load it with download=True, or give a folder."
    known = ", ".join(SIZES)
    return f"{name!r} is no folder, none of {known}, and {where}; check the spelling, or load it with download=True."


def available() -> list[ModelEntry]:
    """Every model of the registry and every embedded one: what is here, what can be downloaded, and how large it is."""
    entries = [_entry(size) for size in SIZES.values()]
    others = {folder.name for folder in EMBEDDED.glob("*") if (folder / WEIGHTS).is_file()} - SIZES.keys()
    for name in sorted(others):
        folder = EMBEDDED / name
        config = GPT2Config.from_hf(json.loads((folder / CONFIG).read_text(encoding="utf-8")), name)
        entries.append(ModelEntry(name, f"{name} (embedded)", "embedded", (folder / WEIGHTS).stat().st_size, config))
    return [entry for entry in entries if entry is not None]


def _entry(size: Size) -> ModelEntry | None:
    if size.embedded and _embedded(size.name) is None:
        return None
    found = locate(size.name)
    state = "downloadable" if found is None else found.state
    weights = found.folder / WEIGHTS if found is not None else None
    here = weights.stat().st_size if weights is not None and weights.is_file() else None
    return ModelEntry(size.name, size.label, state, here or size.file_bytes, size.config)


def _explicit(name: str, revision: str | None) -> Path | None:
    if not name:
        raise CheckpointError(f"An empty name was given; expected one of {', '.join(SIZES)}, a folder or a hub id.")
    path = Path(name).expanduser()
    if path.is_file():
        raise CheckpointError(f"{path} is a file; give the folder that holds it together with its {CONFIG}.")
    if path.is_dir():
        if revision is not None:
            raise CheckpointError(f"{path} is a folder and has no revision {revision!r}; leave revision out.")
        return path.resolve()
    if HUB_ID.fullmatch(name) is None or name.startswith((".", "/", "~")) or ".." in name:
        raise CheckpointError(f"There is no folder {name!r}, and it is no model name; expected one of {', '.join(SIZES)}.")
    return None


def _embedded(name: str) -> Path | None:
    folder = EMBEDDED / name
    return folder if "/" not in name and (folder / CONFIG).is_file() else None


def _cached(name: str, size: Size | None, revision: str | None) -> Found | None:
    pinned = revision or (size.revision if size else None)
    repositories = dict.fromkeys((hub_id(name), name, *([size.name] if size else [])))
    for wanted in dict.fromkeys((pinned, None if revision is None else revision)):
        for repository in repositories:
            if (folder := _snapshot(repository, wanted)) is not None:
                is_pinned = size is not None and folder.name == size.revision
                source = f"{repository} revision {folder.name}"
                return Found(size.name if size else name, folder, "cached", source, size.sha256 if is_pinned else None)
    return None


def _snapshot(repository: str, revision: str | None) -> Path | None:
    """The folder of a cached revision (None: the one last fetched as "main") if it holds a configuration and weights."""
    files = {}
    for file in (CONFIG, WEIGHTS, INDEX, PICKLE):
        at = huggingface_hub.try_to_load_from_cache(repository, file, cache_dir=constants.HF_HUB_CACHE, revision=revision)
        if isinstance(at, str):
            files[file] = Path(at)
    if CONFIG not in files or len(files) == 1:
        return None
    folder = files[CONFIG].parent
    if WEIGHTS not in files and INDEX in files and not _has_all_shards(files[INDEX]):
        return None
    return folder


def _has_all_shards(index: Path) -> bool:
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError):
        return True  # damaged: reading it says so
    return all((index.parent / shard).is_file() for shard in shards)
