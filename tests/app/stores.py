"""Stores of tiny models that are made instead of loaded."""

import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from helpers import random_model, tiny_config
from safetensors.torch import save_file

from app import store as store_module
from app.settings import Settings
from app.store import ModelStore
from gpt2_core.checkpoints import ModelEntry

TINY = tiny_config(d_vocab=100)
BYTES = 4 * TINY.n_params


def loads(monkeypatch) -> list[str]:
    """Tiny models under the names a to e (e is to be downloaded); the list of what was loaded. A fixture of the tests of stores."""
    loaded = []

    def load(name, device, dtype):
        loaded.append(name)
        time.sleep(0.02)
        return random_model(replace(TINY, model_name=name))

    def entries():
        states = {name: "cached" for name in "abcd"} | {"e": "downloadable"}
        return [ModelEntry(name, name, state, 548_000_000, TINY) for name, state in states.items()]

    monkeypatch.setattr(store_module, "load", load)
    monkeypatch.setattr(store_module, "available", entries)
    return loaded


def a_store(models=2, **changes):
    """A store with room for so many tiny models."""
    return ModelStore(Settings(**{"model": "a", "device": "cpu", "memory_gb": (models + 0.5) * BYTES / 1e9, **changes}))


def with_autoencoder(folder: Path) -> tuple[ModelStore, dict[str, torch.Tensor]]:
    """A store of glass-2m whose folder has one autoencoder of random directions, two folders down, "release/layer"; its weights."""
    store = ModelStore(Settings(model="glass-2m", sae=str(folder)))
    w = torch.randn(24, store.model("glass-2m").config.d_model, generator=torch.Generator().manual_seed(1))
    tensors = {"W_enc": w.T.contiguous(), "b_enc": -torch.ones(24), "W_dec": w, "b_dec": torch.zeros(w.shape[1])}
    place = folder / "release" / "layer"
    place.mkdir(parents=True)
    save_file(tensors, place / "sae_weights.safetensors")
    (place / "cfg.json").write_text(json.dumps({"hook_name": "blocks.1.hook_resid_pre", "architecture": "standard"}))
    return store, tensors
