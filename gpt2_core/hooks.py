"""Every point of a GPT-2 that can be seen and changed, under transformer-lens's names, and how a hook reaches it.

A hook is an argument, not a state: `model(tokens, hook=h)` calls `h(name, tensor)` at every named point, in the order the
data flows. Returning a tensor replaces the activation, returning None leaves it. Nothing is registered, so nothing has to be
removed, and two threads may edit one model at the same time.

A hook may carry optional methods:
- `wants(name) -> bool`: it is then called only where it says so, and the rest of the model stays on its fast path. Points
  that cost memory (a residual stream per head) exist only for hooks that ask for them this way.
- `settled(names, tensor)`: called after all wanted names of one site have had their turn, with what came of it.
- `positioned(query_positions, key_positions) -> hook`: called once per forward pass with the positions of the tokens in this
  call, Int [batch|1, query], and of all keys, Int [batch|1, key] (padding is -1). What it returns is used as the hook. An edit
  "at position 5" thus stays at position 5 with a KV cache or a padded batch.

Names: TransformerLens (HookedTransformer's names, used by papers and notebooks, and TransformerBridge's). Names that always
carry the same tensor share a *site*; the model mentions sites, hooks mention names.
"""

from collections.abc import Callable, Iterator

from torch import Tensor

HookFunction = Callable[[str, Tensor], Tensor | None]


# site -> the names that fire there; a block's names are relative to `blocks.{layer}.`
BLOCK_SITES: dict[str, tuple[str, ...]] = {
    "resid_pre": ("hook_in", "hook_resid_pre"),
    "ln1.in": ("ln1.hook_in",),
    "ln1.scale": ("ln1.hook_scale",),
    "ln1.normalized": ("ln1.hook_normalized",),
    "ln1.out": ("ln1.hook_out", "attn.hook_in"),
    "qkv.in": ("attn.qkv.hook_in",),
    "q.in": ("attn.q.hook_in",),
    "k.in": ("attn.k.hook_in",),
    "v.in": ("attn.v.hook_in",),
    "qkv.out": ("attn.qkv.hook_out",),
    "attn_in": ("hook_attn_in", "attn.hook_attn_in"),
    "q_input": ("hook_q_input", "attn.hook_q_input"),
    "q": ("attn.q.hook_out", "attn.hook_q"),
    "k_input": ("hook_k_input", "attn.hook_k_input"),
    "k": ("attn.k.hook_out", "attn.hook_k"),
    "v_input": ("hook_v_input", "attn.hook_v_input"),
    "v": ("attn.v.hook_out", "attn.hook_v"),
    "attn_scores": ("attn.hook_attn_scores",),
    "pattern": ("attn.hook_pattern",),
    "z": ("attn.hook_z", "attn.o.hook_in"),
    "result": ("attn.hook_result",),
    "attn_out": ("attn.o.hook_out", "attn.hook_hidden_states", "attn.hook_out", "hook_attn_out"),
    "resid_mid": ("hook_resid_mid",),
    "mlp_in": ("hook_mlp_in",),
    "ln2.in": ("ln2.hook_in",),
    "ln2.scale": ("ln2.hook_scale",),
    "ln2.normalized": ("ln2.hook_normalized",),
    "ln2.out": ("ln2.hook_out", "mlp.hook_in", "mlp.in.hook_in"),
    "mlp.pre": ("mlp.in.hook_out", "mlp.hook_pre"),
    "mlp.post": ("mlp.hook_post", "mlp.out.hook_in"),
    "mlp_out": ("mlp.out.hook_out", "mlp.hook_out", "hook_mlp_out"),
    "resid_post": ("hook_out", "hook_resid_post"),
}
EMBED_SITES: dict[str, tuple[str, ...]] = {
    "tokens": ("embed.hook_in",),
    "embed": ("embed.hook_out", "hook_embed"),
    "positions": ("pos_embed.hook_in",),
    "pos_embed": ("pos_embed.hook_out", "hook_pos_embed"),
}
FINAL_SITES: dict[str, tuple[str, ...]] = {
    "ln_final.in": ("ln_final.hook_in",),
    "ln_final.scale": ("ln_final.hook_scale",),
    "ln_final.normalized": ("ln_final.hook_normalized",),
    "ln_final.out": ("ln_final.hook_out", "unembed.hook_in"),
    "logits": ("unembed.hook_out", "hook_unembed"),
}
SITES = {**EMBED_SITES, **BLOCK_SITES, **FINAL_SITES}

# These make the model do extra work (a copy of the residual stream per head, a second projection): only for hooks with `wants`.
OPTIONAL_SITES = frozenset(
    ("attn_in", "q_input", "k_input", "v_input", "qkv.in", "qkv.out", "result", "mlp_in"),
)
_OPTIONAL_ENDINGS = tuple(name for site in OPTIONAL_SITES for name in BLOCK_SITES[site])


def hook_names(n_layers: int, optional: bool = False) -> Iterator[str]:
    """Every hook name of a model with `n_layers` blocks, in the order the data flows.

    `optional=True` includes the costly points that only fire for hooks with `wants`.
    """
    yield from (name for names in EMBED_SITES.values() for name in names)
    for layer in range(n_layers):
        for site, names in BLOCK_SITES.items():
            if optional or site not in OPTIONAL_SITES:
                yield from (f"blocks.{layer}.{name}" for name in names)
    yield from (name for names in FINAL_SITES.values() for name in names)


def is_optional(name: str) -> bool:
    """Whether a hook name is one of the costly points that fire only where `wants` asks for them."""
    parts = name.split(".", 2)
    return len(parts) == 3 and parts[0] == "blocks" and parts[2] in _OPTIONAL_ENDINGS


class Tap:
    """A hook as the model's code sees it: `x = tap("resid_pre", x)`. Without a hook it hands x back."""

    __slots__ = ("_hook", "_wants", "_prefix")

    def __init__(self, hook: HookFunction | None, prefix: str = "", wants: Callable[[str], bool] | None = None):
        self._hook, self._prefix = hook, prefix
        self._wants = wants or getattr(hook, "wants", None) or (lambda name: not is_optional(name))

    def block(self, layer: int) -> "Tap":
        """The same hook, inside block `layer`."""
        return self if self._hook is None else Tap(self._hook, f"blocks.{layer}.", self._wants)

    def wants(self, *sites: str) -> bool:
        """Whether the hook is to be called at any of these sites."""
        return self._hook is not None and any(self._wants(self._prefix + name) for site in sites for name in SITES[site])

    def __call__(self, site: str, x: Tensor) -> Tensor:
        if self._hook is None:
            return x
        wanted = [self._prefix + name for name in SITES[site] if self._wants(self._prefix + name)]
        for name in wanted:
            replacement = self._hook(name, x)
            if replacement is not None:
                x = _checked(name, x, replacement)
        if wanted and hasattr(self._hook, "settled"):
            self._hook.settled(wanted, x)
        return x


class Watch:
    """A hook that shows activations to `see(name, tensor)` where `wants` says so, after all edits of another hook at that site."""

    def __init__(self, wants: Callable[[str], bool], see: Callable[[str, Tensor], None], inner: HookFunction | None = None):
        self._sees, self._see, self._inner = wants, see, inner
        self._edits = getattr(inner, "wants", None) or (lambda name: inner is not None and not is_optional(name))

    def wants(self, name: str) -> bool:
        return self._sees(name) or self._edits(name)

    def positioned(self, queries: Tensor, keys: Tensor) -> "Watch":
        if not hasattr(self._inner, "positioned"):
            return self
        return Watch(self._sees, self._see, self._inner.positioned(queries, keys))

    def __call__(self, name: str, x: Tensor) -> Tensor | None:
        return self._inner(name, x) if self._edits(name) else None

    def settled(self, names: list[str], x: Tensor) -> None:
        """Called by the model once every name of a site has had its turn: names that share a site show the same tensor."""
        for name in filter(self._sees, names):
            self._see(name, x)


def _checked(name: str, x: Tensor, replacement: Tensor) -> Tensor:
    if not isinstance(replacement, Tensor) or replacement.shape != x.shape:
        came = list(replacement.shape) if isinstance(replacement, Tensor) else type(replacement).__name__
        raise ValueError(f"The hook at {name} returned {came}; expected None or a tensor of shape {list(x.shape)}.")
    return replacement
