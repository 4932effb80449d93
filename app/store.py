"""The only thing of the program that changes while it runs: the models in memory, and results worth keeping for a while."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.settings import Settings
from gpt2_core.accounting import weight_bytes
from gpt2_core.checkpoints import CheckpointError, available, describe_download, fetch, load, locate
from gpt2_core.checkpoints.find import ModelEntry, absent
from gpt2_core.checkpoints.read import read_config
from gpt2_core.model import GPT2
from gpt2_core.runtime import available_memory, resolve_device, resolve_dtype
from interp.sae import Autoencoders

AUTOENCODERS = Path(__file__).resolve().parents[1] / "saes"  # where nothing else was said with --sae
KEPT_RESULTS = 48
KEPT_BYTES = 1e9


class ModelStore:
    """Loads models on demand within a memory budget, and keeps recent results.

    Safe to use from several threads. Nothing is downloaded except by `download`.
    """

    def __init__(self, settings: Settings = Settings()):  # noqa: B008 - frozen
        self.settings = settings
        self.device: torch.device = resolve_device(settings.device)
        self.dtype: torch.dtype = resolve_dtype(settings.dtype)
        self._models: OrderedDict[str, GPT2] = OrderedDict()
        self._results: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()  # with its bytes
        self._loading, self._lock = threading.Lock(), threading.Lock()
        self._downloads: dict[str, tuple[Hashable, threading.Event]] = {}  # who asked, and whether it was cancelled
        self._folder = _folder_entry(settings.model)

    @property
    def budget(self) -> int:
        """Bytes of weights that may be in memory at once."""
        return int(self.settings.memory_gb * 1e9)

    def entries(self) -> list[ModelEntry]:
        """Every model the page can offer: embedded, cached, downloadable; and the folder given at the start, if any."""
        return available() + ([self._folder] if self._folder else [])

    def entry(self, name: str) -> ModelEntry:
        """One entry. Raises ValueError for a name the page does not offer, so that no path comes in from the network."""
        for entry in self.entries():
            if entry.name == name:
                return entry
        raise ValueError(f"No model is called {name!r}; choose one of {', '.join(e.name for e in self.entries())}.")

    def at_hand(self) -> list[ModelEntry]:
        """The models that can be run without a download and fit the budget."""
        return [e for e in self.entries() if e.state != "downloadable" and weight_bytes(e.config, self.dtype) <= self.budget]

    def in_memory(self, name: str) -> bool:
        """Whether a model is loaded, so that running it costs no loading."""
        with self._lock:
            return name in self._models

    def model(self, name: str) -> GPT2:
        """A model, loaded if it is not in memory. Raises ValueError where it is not on this machine or too large."""
        with self._lock:
            if name in self._models:
                self._models.move_to_end(name)
                return self._models[name]
        with self._loading:
            with self._lock:
                if name in self._models:
                    return self._models[name]
            needed = self._check_offered(name)
            self._make_room(needed)
            available = available_memory(self.device)
            if available is not None and needed > available:
                raise ValueError(
                    f"{name} needs {needed / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB are free; choose a smaller model."
                )
            model = load(name, device=self.device, dtype=self.dtype)
            model.autoencoders = Autoencoders(self.settings.sae or AUTOENCODERS, model)
            with self._lock:
                self._models[name] = model
            return model

    def _check_offered(self, name: str) -> int:
        """Bytes that a model's weights will take. Raises ValueError where it is not on this machine or over the budget."""
        entry = self.entry(name)
        if entry.state == "downloadable":
            size = f" ({entry.bytes / 1e6:,.0f} MB)" if entry.bytes else ""
            raise ValueError(f"{name}{size} is not on this machine; download it first, or choose another model.")
        needed = weight_bytes(entry.config, self.dtype)
        if needed > self.budget and name != self.settings.model:  # the model one asked to open with is opened
            raise ValueError(
                f"{name} needs {needed / 1e9:.1f} GB for its weights and the budget is {self.settings.memory_gb:g} GB; "
                f"start with --memory-gb {needed / 1e9 + 1:.0f}, or with --dtype bfloat16."
            )

        return needed

    def _make_room(self, needed: int) -> None:
        """Lets the least recently used models go, with their results, until `needed` bytes fit the budget."""
        with self._lock:
            while self._models and sum(map(_bytes, self._models.values())) + needed > self.budget:
                gone, _ = self._models.popitem(last=False)
                self._results = OrderedDict((k, v) for k, v in self._results.items() if gone not in k)

    def download(self, name: str, progress: Callable[[int, int], None], owner: Hashable = None) -> None:
        """Fetches a released model's weights, which a person asked for. `progress(bytes done, bytes in all)`.

        owner: who may cancel it. Raises ValueError where downloads are off, the name is not of the registry, the model is
        already being downloaded, or the download was cancelled.
        """
        if not self.settings.downloads:
            raise ValueError("Downloads are switched off here; start with --downloads yes, or choose a model that is at hand.")
        if self.entry(name).state != "downloadable":
            raise ValueError(f"{name} is already on this machine.")
        cancelled = threading.Event()
        with self._lock:
            if name in self._downloads:
                raise ValueError(f"{name} is already being downloaded; wait until it is here.")
            self._downloads[name] = owner, cancelled

        def report(done: int, total: int) -> None:
            if cancelled.is_set():
                raise ValueError(f"The download of {name} was cancelled; it continues where it stopped next time.")
            progress(done, total)

        try:
            fetch(name, progress=report)
        finally:
            with self._lock:
                del self._downloads[name]

    def cancel_download(self, name: str, owner: Hashable = None) -> None:
        """Makes a download that the owner began end at its next report; without one, does nothing."""
        with self._lock:
            began, cancelled = self._downloads.get(name, (None, None))
        if cancelled is not None and began == owner:
            cancelled.set()

    def describe_download(self, name: str):
        """Repository, size and licence of a download, before it starts."""
        return describe_download(self.entry(name).name)

    def peek(self, key: tuple) -> Any | None:
        """The result kept under a key, or None; nothing is computed."""
        with self._lock:
            if key not in self._results:
                return None
            self._results.move_to_end(key)
            return self._results[key][0]

    def result(self, key: tuple, compute: Callable[[], Any]) -> Any:
        """The result kept under a key (which names the model), computed if it is not there."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key][0]
        value = compute()
        size = n_bytes(value)
        with self._lock:
            self._results.pop(key, None)
            self._results[key] = value, size
            kept = sum(size for _, size in self._results.values())
            while len(self._results) > KEPT_RESULTS or (len(self._results) > 1 and kept > KEPT_BYTES):
                kept -= self._results.popitem(last=False)[1][1]
        return value


def n_bytes(value: Any) -> int:
    """Bytes of the tensors and arrays in a result, however deep in dataclasses, mappings and sequences."""
    if isinstance(value, torch.Tensor):
        return min(value.nbytes, value.untyped_storage().nbytes())  # an expanded one takes less than its shape says
    if isinstance(value, np.ndarray):
        return value.nbytes
    if is_dataclass(value):
        return sum(n_bytes(getattr(value, f.name)) for f in fields(value))
    if isinstance(value, Mapping):
        return sum(map(n_bytes, value.values()))
    return sum(map(n_bytes, value)) if isinstance(value, list | tuple) else 0


def _folder_entry(name: str) -> ModelEntry | None:
    """The entry of a model that the registry does not list, of which only config.json is read."""
    if any(name == entry.name for entry in available()):
        return None
    found = locate(name)
    if found is None:
        raise CheckpointError(absent(name))
    return ModelEntry(name, Path(name).name, "cached", None, read_config(found.folder, found.name))


def _bytes(model: GPT2) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())
