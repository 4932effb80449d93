"""The methods that code written for transformer-lens expects on a model: thin wrappers over `model(tokens, hook=...)`.

transformer-lens's `patching` functions, its head detector and most notebook code run on our model through these. Names and
argument order are that library's (TransformerLens 4, HookedTransformer and TransformerBridge).
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from gpt2_core.activations import ActivationCache
from gpt2_core.hooks import Watch, hook_names, is_optional

NamesFilter = str | Sequence[str] | Callable[[str], bool] | None
FwdHook = tuple[str | Callable[[str], bool], Callable[..., Tensor | None]]


class HookPoint:
    """What a hook function receives as its second argument: `hook.name`, `hook.layer()`, and `hook.ctx` to keep things in."""

    def __init__(self, name: str):
        self.name, self.ctx = name, {}

    def layer(self) -> int:
        """The block this point lies in. Raises ValueError for points outside the blocks."""
        parts = self.name.split(".")
        if parts[0] != "blocks":
            raise ValueError(f"{self.name} lies in no block.")
        return int(parts[1])


class _Functions:
    """A hook made of transformer-lens's (name or predicate, function) pairs."""

    def __init__(self, fwd_hooks: Iterable[FwdHook]):
        self._hooks = [(_as_predicate(where), f) for where, f in fwd_hooks]
        self._points: dict[str, HookPoint] = {}

    def wants(self, name: str) -> bool:
        return any(matches(name) for matches, _ in self._hooks)

    def __call__(self, name: str, x: Tensor) -> Tensor:
        point = self._points.setdefault(name, HookPoint(name))
        for matches, f in self._hooks:
            if matches(name):
                out = f(x, hook=point)
                x = x if out is None else out
        return x


def _as_predicate(where: NamesFilter) -> Callable[[str], bool]:
    if where is None:
        return lambda name: not is_optional(name)
    if callable(where):
        return where
    names = frozenset([where] if isinstance(where, str) else where)
    return names.__contains__


class LensSurface:
    """Mixed into GPT2."""

    def run_with_cache(
        self,
        tokens: Int[Tensor, "batch pos"] | Int[Tensor, " pos"] | list[int] | list[str] | str,
        names_filter: NamesFilter = None,
        remove_batch_dim: bool = False,
        return_type: str | None = "logits",
        hook: Any = None,
        **forward: Any,
    ) -> tuple[Any, ActivationCache]:
        """A forward pass that keeps activations. Returns (logits, ActivationCache).

        names_filter: None (every name that costs nothing extra), a name, a list of names, or a predicate. A name that does not
        exist raises KeyError. `hook` edits the same run; what is kept is what came out of it. Other arguments go to `forward`.
        """
        self._check_names(names_filter)
        kept: dict[str, Tensor] = {}
        out = self._run(tokens, Watch(_as_predicate(names_filter), kept.__setitem__, hook), return_type, forward)
        cache = ActivationCache(kept, self.config.n_layers)
        return out, cache.remove_batch_dim() if remove_batch_dim else cache

    def run_with_hooks(
        self,
        tokens: Int[Tensor, "batch pos"] | Int[Tensor, " pos"] | list[int] | list[str] | str,
        fwd_hooks: Sequence[FwdHook] = (),
        return_type: str | None = "logits",
        **forward: Any,
    ) -> Any:
        """A forward pass with hook functions f(activation, hook) -> replacement or None at the named points."""
        for where, _ in fwd_hooks:
            self._check_names(where)
        return self._run(tokens, _Functions(fwd_hooks), return_type, forward)

    def _run(self, tokens: Any, hook: Any, return_type: str | None, forward: dict[str, Any]) -> Any:
        if isinstance(tokens, list) and tokens and isinstance(tokens[0], int):
            tokens = torch.tensor(tokens)
        tokens = self.to_tokens(tokens) if isinstance(tokens, str | list) else tokens
        tokens = tokens[None] if tokens.ndim == 1 else tokens
        logits = self(tokens, hook=hook, **forward)
        if return_type is None:
            return None
        if return_type not in ("logits", "loss", "both"):
            raise ValueError(f"return_type must be 'logits', 'loss', 'both' or None, got {return_type!r}.")
        if return_type == "logits":
            return logits
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten().to(logits.device))
        return loss if return_type == "loss" else (logits, loss)

    def _check_names(self, where: NamesFilter) -> None:
        if where is None or callable(where):
            return
        unknown = set([where] if isinstance(where, str) else where) - self.hook_dict.keys()
        if unknown:
            raise KeyError(f"No hook is called {sorted(unknown)[0]!r} in a model of {self.config.n_layers} layers.")

    @property
    def hook_dict(self) -> dict[str, HookPoint]:
        """Every hook name of this model, optional ones included."""
        return {name: HookPoint(name) for name in hook_names(self.config.n_layers, optional=True)}

    def set_use_split_qkv_input(self, on: bool) -> None:
        """Nothing to set: per-head copies of the residual stream exist whenever a hook asks for them."""

    set_use_attn_in = set_use_attn_result = set_use_hook_mlp_in = set_use_split_qkv_input

    # -- text ------------------------------------------------------------------------------------------------------------

    def to_tokens(self, text: str | list[str], prepend_bos: bool = True) -> Int[Tensor, "batch pos"]:
        """Token ids of a text, or of several of equal length, with `<|endoftext|>` in front unless told otherwise."""
        rows = [self.tokenizer.encode(t) for t in ([text] if isinstance(text, str) else text)]
        rows = [[self.tokenizer.bos_id] * prepend_bos + row for row in rows]
        if len({len(row) for row in rows}) != 1:
            raise ValueError(
                f"Texts have {[len(r) for r in rows]} tokens; equal lengths are needed (or `generate`, which pads)."
            )
        return torch.tensor(rows, device=self.wte.weight.device)

    def to_str_tokens(self, text: str | Int[Tensor, " pos"], prepend_bos: bool = True) -> list[str]:
        """One string per token."""
        ids = self.to_tokens(text, prepend_bos)[0] if isinstance(text, str) else text.flatten()
        return list(self.tokenizer.strings(ids.tolist()))

    def to_string(self, tokens: Int[Tensor, "..."] | list[int]) -> str:
        """The text of token ids."""
        return self.tokenizer.decode(torch.as_tensor(tokens).flatten().tolist())

    def to_single_token(self, text: str) -> int:
        """The id of a text that is exactly one token. Raises ValueError otherwise."""
        ids = self.tokenizer.encode(text)
        if len(ids) != 1:
            raise ValueError(f"{text!r} is {len(ids)} tokens ({self.tokenizer.strings(ids)}); expected one.")
        return ids[0]

    # -- weights, in transformer-lens's shapes (views; right-multiplication) ------------------------------------------------

    @property
    def blocks(self) -> Any:
        return self.h

    W_E = property(lambda self: self.wte.weight)
    W_pos = property(lambda self: self.wpe.weight)
    W_U = property(lambda self: (self.wte if self.config.tied else self.lm_head).weight.T)
    b_U = property(lambda self: self.wte.weight.new_zeros(self.config.d_vocab))
    W_Q = property(lambda self: torch.stack([block.attn.W_Q for block in self.h]))
    W_K = property(lambda self: torch.stack([block.attn.W_K for block in self.h]))
    W_V = property(lambda self: torch.stack([block.attn.W_V for block in self.h]))
    W_O = property(lambda self: torch.stack([block.attn.W_O for block in self.h]))
    b_Q = property(lambda self: torch.stack([block.attn.b_Q for block in self.h]))
    b_K = property(lambda self: torch.stack([block.attn.b_K for block in self.h]))
    b_V = property(lambda self: torch.stack([block.attn.b_V for block in self.h]))
    b_O = property(lambda self: torch.stack([block.attn.b_O for block in self.h]))
    W_in = property(lambda self: torch.stack([block.mlp.c_fc.weight for block in self.h]))
    W_out = property(lambda self: torch.stack([block.mlp.c_proj.weight for block in self.h]))
    b_in = property(lambda self: torch.stack([block.mlp.c_fc.bias for block in self.h]))
    b_out = property(lambda self: torch.stack([block.mlp.c_proj.bias for block in self.h]))

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the model in the Hugging Face layout, which `transformers` and `gpt2_core.load` read."""
        from gpt2_core.checkpoints import save_pretrained  # the reader builds this class; imported where it is used

        save_pretrained(self, folder)
