"""Data sets of the Hugging Face hub as sources: `hf:owner/name` or `hf:owner/name:configuration`, streamed, and only where the command allows it.

Nothing is contacted without `--hub`. The revision is pinned when a preparation starts, so that going on later reads the same rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gpt2_core.train.documents import Place, Record, row_record
from gpt2_core.train.needs import needed

PREFIX = "hf:"
KNOWN = {
    "Skylion007/openwebtext": "CC0-1.0 (the packaging; the pages belong to their authors), about 13 GB to stream, 40 GB of text"
}


@dataclass(frozen=True)
class HubSource:
    """A data set, its configuration ("" for the only one) and its revision."""

    id: str
    revision: str
    config: str = ""


def parts_of(name: str) -> tuple[str, str]:
    """(id, configuration) of `hf:owner/name` or `hf:owner/name:configuration`."""
    id, _, config = name.removeprefix(PREFIX).partition(":")
    return id, config


def refused(name: str) -> ValueError:
    """What a user who did not allow the hub is told: what would be streamed, and how to allow it."""
    id, _ = parts_of(name)
    about = KNOWN.get(id, f"see https://huggingface.co/datasets/{id} for its licence and size")
    return ValueError(f"{name} would be streamed from the Hugging Face hub ({about}); add --hub to allow that.")


def pin(name: str) -> tuple[HubSource, str]:
    """The data set at its present revision, and a sentence with its licence and size. Raises ValueError where it is not found."""
    id, config = parts_of(name)
    hub = needed("huggingface_hub", "Reading the hub")
    try:
        info = hub.HfApi().dataset_info(id, files_metadata=True)
    except (OSError, ValueError) as error:  # no network, no such data set, no access
        raise ValueError(f"{name} was not found on the hub ({type(error).__name__}: {str(error).splitlines()[0]}).") from error
    size = sum(file.size or 0 for file in info.siblings or ())
    licence = (info.card_data or {}).get("license") or "unknown: look at its card"
    sentence = f"{id} at {info.sha[:12]}: licence {licence}, {size / 1e9:.1f} GB in all its files."
    return HubSource(id, info.sha, config), sentence


def read_hub(source: HubSource, place: Place, skip: int) -> Iterator[Record]:
    """The rows of the data set's `train` split from `skip` on. A broken connection ends the run, for rows must not go missing."""
    rows, number = _stream(source), skip
    try:
        for number, row in enumerate(rows.skip(skip) if skip else rows, skip + 1):
            yield row_record(row, place.within(number))
    except Exception as error:  # whatever the network and the library raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(
            f"hf:{source.id} broke off after row {number} ({what}); run the same command again, it goes on."
        ) from error


def _stream(source: HubSource) -> Any:
    library = needed("datasets", "Reading a hub data set")
    try:
        return library.load_dataset(source.id, source.config or None, split="train", streaming=True, revision=source.revision)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"hf:{source.id} cannot be streamed ({type(error).__name__}: {str(error).splitlines()[0]})."
        ) from error
