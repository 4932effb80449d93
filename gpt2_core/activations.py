"""What `run_with_cache` returns: activations by hook name, with transformer-lens's shorthands."""

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

_ALIASES = {
    "attn": "pattern",
    "attn_logits": "attn_scores",
    "key": "k",
    "query": "q",
    "value": "v",
    "mlp_pre": "pre",
    "mlp_mid": "mid",
    "mlp_post": "post",
}
_LAYER_TYPES = {"a": "attn", "m": "mlp", "b": "", "block": "", "blocks": "", "attention": "attn"}
_IN_ATTENTION = ("k", "v", "q", "z", "result", "pattern", "attn_scores")
_IN_MLP = ("pre", "mid", "post")
_IN_LAYER_NORM = ("scale", "normalized")


def act_name(name: str, layer: int | str | None = None, layer_type: str | None = None) -> str:
    """A hook name from its shorthand, as transformer-lens's `get_act_name`.

    act_name("k", 6) == "blocks.6.attn.hook_k"; act_name("resid_pre", 3); act_name("scale", 4, "ln1"); act_name("embed").
    Full names pass through. `layer_type` may be the name's second half as "a"/"attn", "m"/"mlp", "ln1", "ln2".
    """
    if ("." in name or name.startswith("hook_")) and layer is None and layer_type is None:
        return name
    match = re.fullmatch(r"([a-z]+)(\d+)([a-z]?.*)", name)
    if match is not None and layer is None:
        name, layer, layer_type = match[1], int(match[2]), match[3] or layer_type
    name = _ALIASES.get(name, name)
    layer_type = _LAYER_TYPES.get(layer_type or "", layer_type or "")
    if name in _IN_ATTENTION:
        layer_type = "attn"
    elif name in _IN_MLP:
        layer_type = "mlp"
    elif name in _IN_LAYER_NORM and layer is None:
        return f"ln_final.hook_{name}"
    elif name not in _IN_LAYER_NORM:
        layer_type = ""
    prefix = "" if layer is None else f"blocks.{layer}."
    return f"{prefix}{layer_type + '.' if layer_type else ''}hook_{name}"


class ActivationCache(Mapping[str, Tensor]):
    """Activations by name: `cache["blocks.0.attn.hook_pattern"]`, or short: `cache["pattern", 0]`.

    A layer of -1 is the last block. Values are what the run computed, not copies; do not change them in place.
    """

    def __init__(self, activations: dict[str, Tensor], n_layers: int, has_batch_dim: bool = True):
        self.cache_dict, self._n_layers, self.has_batch_dim = activations, n_layers, has_batch_dim

    def __getitem__(self, key: str | tuple) -> Tensor:
        if isinstance(key, tuple) and len(key) > 1 and isinstance(key[1], int) and key[1] < 0:
            key = (key[0], self._n_layers + key[1], *key[2:])
        name = key if key in self.cache_dict else act_name(*((key,) if isinstance(key, str) else key))
        if name not in self.cache_dict:
            raise KeyError(f"{name} is not in this cache of {len(self)} activations; ask for it with names_filter.")
        return self.cache_dict[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.cache_dict)

    def __len__(self) -> int:
        return len(self.cache_dict)

    def __repr__(self) -> str:
        return f"ActivationCache with {len(self)} activations, {self._n_layers} layers"

    def remove_batch_dim(self) -> "ActivationCache":
        """The same activations without the leading axis; the batch must be one row. Raises ValueError otherwise."""
        if not self.has_batch_dim:
            return self
        sizes = {value.shape[0] for value in self.cache_dict.values()}
        if sizes - {1}:
            raise ValueError(f"Only a batch of one row can lose its batch axis; this cache has {sorted(sizes)}.")
        return ActivationCache({k: v[0] for k, v in self.cache_dict.items()}, self._n_layers, has_batch_dim=False)

    def to(self, device) -> "ActivationCache":
        """A copy of the cache on another device."""
        return ActivationCache({k: v.to(device) for k, v in self.cache_dict.items()}, self._n_layers, self.has_batch_dim)
