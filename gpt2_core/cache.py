"""Keys and values of tokens already read, so that each new token costs one row of work instead of the whole prompt."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.config import GPT2Config


@dataclass
class KVCache:
    """Per layer, keys and values of `length` positions in buffers of a fixed capacity.

    `keys`, `values`: Float [layer batch head capacity d_head]. The model appends in place while it runs; a cache belongs to one
    caller. For inference only: use it under `torch.no_grad()`.
    """

    keys: Float[Tensor, "layer batch head capacity d_head"]
    values: Float[Tensor, "layer batch head capacity d_head"]
    length: int = 0

    @staticmethod
    def empty(config: GPT2Config, batch: int = 1, capacity: int | None = None) -> "KVCache":
        """An empty cache on the config's device, in its dtype (`model.cfg` says both); capacity defaults to the context length."""
        shape = (config.n_layers, batch, config.n_heads, capacity or config.n_ctx, config.d_head)
        keys, values = (torch.zeros(shape, device=config.device, dtype=config.dtype) for _ in range(2))
        return KVCache(keys, values)

    @property
    def capacity(self) -> int:
        return self.keys.shape[3]

    @property
    def batch(self) -> int:
        return self.keys.shape[1]

    @property
    def n_bytes(self) -> int:
        return 2 * self.keys.numel() * self.keys.element_size()

    def append(self, layer: int, k: Float[Tensor, "b h q e"], v: Float[Tensor, "b h q e"]) -> tuple[Tensor, Tensor]:
        """Writes one layer's new keys and values behind the old ones; returns all of them, [batch head key d_head]."""
        end = self.length + k.shape[2]
        if end > self.capacity:
            raise ValueError(f"The KV cache holds {self.capacity} positions, {end} were needed; make it with more capacity.")
        if k.shape[0] != self.batch:
            raise ValueError(f"The KV cache has {self.batch} rows, the tokens have {k.shape[0]}; see KVCache.expand.")
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, n: int) -> None:
        """Counts n positions as read; the model calls it once all layers have appended."""
        self.length += n

    def trim(self, length: int) -> None:
        """Forgets every position from `length` on."""
        if not 0 <= length <= self.length:
            raise ValueError(f"The KV cache has {self.length} positions and cannot be trimmed to {length}.")
        self.length = length

    def select(self, rows: Int[Tensor, " rows"] | list[int], capacity: int | None = None) -> "KVCache":
        """A new cache whose batch is the given rows of this one (repeats allowed), with room for `capacity` positions."""
        index = torch.as_tensor(rows, device=self.keys.device)
        capacity = capacity or self.capacity
        out = KVCache(
            *(b.new_zeros(b.shape[0], len(index), b.shape[2], capacity, b.shape[4]) for b in (self.keys, self.values))
        )
        for new, old in ((out.keys, self.keys), (out.values, self.values)):
            new[:, :, :, : self.length] = old[:, index, :, : self.length]
        out.length = self.length
        return out

    def expand(self, batch: int, capacity: int | None = None) -> "KVCache":
        """A new cache in which the single row of this one stands `batch` times."""
        if self.batch != 1:
            raise ValueError(f"Only a cache of one row can be expanded; this one has {self.batch}.")
        return self.select([0] * batch, capacity)
