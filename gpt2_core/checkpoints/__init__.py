"""Finding, reading, checking, fetching and writing checkpoints of the Hugging Face layout."""

from pathlib import Path

import torch

from gpt2_core.checkpoints.download import DownloadPlan, PlannedFile, Progress, describe_download, fetch
from gpt2_core.checkpoints.export import save_pretrained
from gpt2_core.checkpoints.find import Found, ModelEntry, absent, available, locate
from gpt2_core.checkpoints.read import read_checkpoint
from gpt2_core.checkpoints.verify import CheckpointError
from gpt2_core.model import GPT2
from gpt2_core.runtime import resolve_device, resolve_dtype

__all__ = [
    "CheckpointError",
    "DownloadPlan",
    "Found",
    "ModelEntry",
    "PlannedFile",
    "available",
    "describe_download",
    "fetch",
    "load",
    "locate",
    "save_pretrained",
]


def load(
    name: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "float32",
    download: bool = False,
    progress: Progress | None = None,
    revision: str | None = None,
) -> GPT2:
    """Load a GPT-2 with its tokenizer.

    name: a registry name ("glass-7m", "gpt2", ...), a folder in the Hugging Face layout, or a hub id; looked for as an
        explicit folder, then among the embedded models, then in the Hugging Face cache.
    device, dtype: see `gpt2_core.runtime` ("auto", "cpu", "cuda", ...; "float32", "bfloat16", "float16").
    download: only True uses the network, for what is not on this machine; `describe_download` says beforehand how much.
    progress: called as progress(bytes done, bytes in total) while downloading; what it raises cancels the download.
    revision: of a hub repository; the registry's models are pinned to one.
    Raises CheckpointError (a ValueError), in one sentence, for anything that cannot be loaded.
    """
    on, kind = resolve_device(device), resolve_dtype(dtype)
    found = locate(str(name), revision)
    if found is None and download:
        fetch(str(name), revision, progress)
        found = locate(str(name), revision)
    if found is None:
        raise CheckpointError(absent(str(name)))
    return read_checkpoint(found, on, kind)
