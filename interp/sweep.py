"""The engine of every sweep: many variants of one run, each recomputed only where it can differ.

A patched variant is a run ("the base") in which something was changed in one layer at some positions. What comes before that
layer is the base's; so is, in every later layer, each position before the first changed one, because attention looks back
only. So a variant is a handful of *changed tokens*, and the variants of one layer are computed together:

    packed tokens [token d_model]     the changed tokens of all variants, one behind the other; `Layout` says whose they are
    keys and values                   the base's, with those of the changed tokens put in their places
    later layers                      variants of neighbouring layers join the batch where they begin (`Entry`)
    the last block                    only its last position, for that is all the metric reads; its one query needs no keys and
                                      no values (`Rerun._attend_once`)

One matrix product thus serves all variants at once, and no work is done for a token that must come out as it was.

The naive way (one forward pass per variant, with a hook) is the oracle in the tests. Plans of edits hold in every variant: the
engine calls the same hooks at the same points, with each token's own position.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.config import GPT2Config
from gpt2_core.hooks import Tap, Watch
from gpt2_core.model import GPT2, UNHOOKED
from interp.finite import refuse_not_finite
from interp.intervene import PlanHook

# What an engine needs of a run, and what the components read besides: short name -> hook inside a block.
NAMES = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "mlp_post": "mlp.hook_post",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "z": "attn.hook_z",
    "pattern": "attn.hook_pattern",
}


@dataclass(frozen=True)
class Recording:
    """A finished run. activations: (short name, layer) -> Float [pos ...], patterns [head query key]; final: [d_model], the
    residual stream at the last position before the last LayerNorm."""

    model: GPT2
    tokens: tuple[int, ...]
    activations: dict[tuple[str, int], Tensor]
    final: Float[Tensor, " d_model"]

    @cached_property
    def logits(self) -> Float[Tensor, " d_vocab"]:
        """Of the last position; computed when they are asked for, because most metrics read two tokens of the vocabulary."""
        with torch.no_grad():
            return self.model.unembed(self.final[None, None])[0, 0]

    def __getitem__(self, key: tuple[str, int]) -> Tensor:
        return self.activations[key]

    def __len__(self) -> int:
        return len(self.tokens)


@torch.no_grad()
def record(
    model: GPT2, prompts: Sequence[Sequence[int]], names: Sequence[str], hook: PlanHook | None = None
) -> tuple[Recording, ...]:
    """Runs prompts of equal length once, together, and keeps the named activations (keys of NAMES) of every layer of each."""
    wanted = {f"blocks.{layer}.{NAMES[name]}": (name, layer) for name in names for layer in range(model.config.n_layers)}
    kept: dict[str, Tensor] = {}
    watch = Watch(wanted.__contains__, kept.__setitem__, hook)
    ids = torch.tensor([list(tokens) for tokens in prompts])
    final = model(ids, hook=watch, stop_at_layer=model.config.n_layers)[:, -1]
    refuse_not_finite(model, model.ln_f(final, UNHOOKED, "ln_final"), ids, hook)
    return tuple(
        Recording(model, tuple(tokens), {key: kept[name][i] for name, key in wanted.items()}, final[i])
        for i, tokens in enumerate(prompts)
    )


def absorbs(config: GPT2Config, length: int, first: int) -> bool:
    """Whether the last block is cheaper without keys and values, where tokens from `first` on are changed; see `_attend_once`."""
    return (length - first - 1) * 6 * config.d_model > 4 * (config.n_heads - 1) * length


@dataclass(frozen=True)
class Layout:
    """Which tokens of which variants are packed into one tensor [token ...]: of each row, positions starts[row] to ends[row] - 1.

    length: positions of the run. Rows are either points (one token) or tails (every token from the start on).
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    length: int
    device: torch.device

    @staticmethod
    def points(starts: Sequence[int], length: int, device: torch.device) -> "Layout":
        """One token per row."""
        return Layout(tuple(starts), tuple(start + 1 for start in starts), length, device)

    @staticmethod
    def tails(starts: Sequence[int], length: int, device: torch.device) -> "Layout":
        """Per row, every token from its start on."""
        return Layout(tuple(starts), (length,) * len(starts), length, device)

    def __len__(self) -> int:
        return len(self.starts)

    def __add__(self, other: "Layout") -> "Layout":
        return Layout(self.starts + other.starts, self.ends + other.ends, self.length, self.device)

    @cached_property
    def first(self) -> int:
        return min(self.starts)

    @cached_property
    def row(self) -> Int[Tensor, " token"]:
        """The row of each token."""
        counts = torch.tensor(self.ends) - torch.tensor(self.starts)
        return torch.repeat_interleave(torch.arange(len(self)), counts).to(self.device)

    @cached_property
    def pos(self) -> Int[Tensor, " token"]:
        """The position of each token."""
        return torch.cat([torch.arange(start, end) for start, end in zip(self.starts, self.ends)]).to(self.device)

    def _slots(self, first: int) -> Int[Tensor, " token"]:
        """Where each token stands in a flat table of all rows by the positions from `first` on."""
        return self.row * (self.length - first) + self.pos - first

    def spread(
        self, whole: Float[Tensor, "pos ..."], part: Float[Tensor, "token ..."], first: int
    ) -> Float[Tensor, "row n ..."]:
        """The base's positions from `first` on, once per row, with this layout's tokens put in their places."""
        width, shape = self.length - first, whole.shape[1:]
        if len(part) == len(self) * width and first == self.first:  # nothing of the base is left
            return part.view(len(self), width, *shape)
        out = whole[first:].expand(len(self), width, *shape).clone(memory_format=torch.contiguous_format)
        slots = self._slots(first)
        if first > self.first:
            kept = (self.pos >= first).nonzero()[:, 0]
            slots, part = slots[kept], part[kept]
        out.view(-1, *shape).index_copy_(0, slots, part)
        return out

    def pick(self, table: Float[Tensor, "row n ..."], first: int) -> Float[Tensor, "token ..."]:
        """This layout's tokens out of a table of all rows by the positions from `first` on."""
        flat = table.reshape(-1, *table.shape[2:])
        return flat if len(self.pos) == len(flat) else flat.index_select(0, self._slots(first))

    def reached(self, only_last: bool) -> "Layout":
        """The tokens that attention lets these ones change."""
        if only_last:
            return Layout.points([self.length - 1] * len(self), self.length, self.device)
        every = all(end == self.length for end in self.ends)
        return self if every else Layout.tails(self.starts, self.length, self.device)


@dataclass(frozen=True)
class Entry:
    """Changed tokens x [token d_model] of some variants, on their way into a block. settled: they are what the plan's edits at
    resid_pre of that block gave already."""

    x: Float[Tensor, "token d_model"]
    at: Layout
    block: int
    settled: bool = False


# (layer, q, k, v) -> q, k, v; each [token head d_head]
Override = Callable[[int, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class Rerun:
    """Runs changed tokens on from the middle of a base run, whose resid_pre, q, k and v are recorded."""

    def __init__(self, model: GPT2, base: Recording, hook: PlanHook | None = None):
        self.model, self.base, self.hook, self.blocks = model, base, hook, model.h
        self.n_layers, self.length = model.config.n_layers, len(base)
        self.device = base.final.device

    def tap(self, layer: int, positions: Int[Tensor, " query"]) -> Tap:
        """The plan's edits in a block, for queries at these positions."""
        if self.hook is None:
            return UNHOOKED
        keys = torch.arange(self.length, device=self.device)[None]
        return Tap(self.hook.positioned(positions[None], keys)).block(layer)

    def finish(self, entries: Sequence[Entry], override: Override | None = None) -> Float[Tensor, "row d_model"]:
        """The residual stream at the last position after the last block: the rows of each entry, in the order of `entries`.

        Entries stand in the order of their blocks; each joins the others at its own. One that comes after the last block holds
        last positions only. override: what replaces queries, keys and values of the changed tokens in some layers.
        """
        x, at, waiting = None, None, list(entries)
        for layer in range(entries[0].block, self.n_layers + 1):
            if x is not None and layer < self.n_layers:
                x = self.tap(layer, at.pos)("resid_pre", x[None])[0]
            while waiting and waiting[0].block == layer:
                entry = waiting.pop(0)
                new = entry.x
                if not entry.settled and layer < self.n_layers:
                    new = self.tap(layer, entry.at.pos)("resid_pre", new[None])[0]
                x, at = (new, entry.at) if x is None else (torch.cat([x, new]), at + entry.at)
            if layer < self.n_layers:
                then = at.reached(only_last=layer == self.n_layers - 1)
                x, at = self._block(layer, x, at, then, override), then
        return x  # one token per row: the last

    def _block(self, layer: int, x: Tensor, at: Layout, then: Layout, override: Override | None) -> Tensor:
        """Tokens `then` after the block, of tokens `at` before it."""
        base = self.base
        unseen = self.hook is None and override is None and x.dtype in (torch.float32, torch.float64)
        if unseen and layer == self.n_layers - 1 and absorbs(self.model.config, self.length, at.first):
            z = self._attend_once(x, at)
        else:
            tap = self.tap(layer, at.pos)
            q, k, v = (part[0] for part in self.blocks[layer].attn.qkv(x[None], self.blocks[layer].ln_1, tap))
            if override is not None:
                q, k, v = override(layer, q, k, v)
            q = at.spread(base["q", layer], q, then.first)
            z = self.attend(layer, q, at.spread(base["k", layer], k, 0), at.spread(base["v", layer], v, 0), then.first)
        if then is not at:
            x = then.pick(at.spread(base["resid_pre", layer], x, then.first), then.first)
        return self.after_attention(layer, x, then.pick(z, then.first), then)

    @cached_property
    def _read_last(self) -> Float[Tensor, "pos d_model"]:
        """What the base's last block reads: its residual stream after LayerNorm."""
        return self.blocks[-1].ln_1(self.base["resid_pre", self.n_layers - 1], UNHOOKED, "ln1")

    def _attend_once(self, x: Tensor, at: Layout) -> Float[Tensor, "row 1 head d_head"]:
        """z of the last block at the last position, of tokens before it [token d_model], without a key or a value.

        One query q per row reads y, its tokens after LayerNorm. Its scores q . (y W_K + b_K) are (W_K q) . y and a number that is
        the same for every key, which softmax ignores; its weights a sum to 1, so sum of a (y W_V + b_V) is (sum of a y) W_V + b_V.
        Each is one small product per row in place of one per token; the sums are the same, in another order.
        """
        attn, ln = self.blocks[-1].attn, self.blocks[-1].ln_1
        y = at.spread(self._read_last, ln(x, UNHOOKED, "ln1"), 0)
        q = einsum(y[:, -1], attn.W_Q, "row d, head d e -> row head e") + attn.b_Q
        sought = einsum(q, attn.W_K, "row head e, head d e -> row head d")
        weights = (einsum(sought, y, "row head d, row key d -> row head key") / attn.cfg.attn_scale).softmax(-1)
        found = einsum(weights, y, "row head key, row key d -> row head d")
        return (einsum(found, attn.W_V, "row head d, head d e -> row head e") + attn.b_V)[:, None]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, first: int) -> Float[Tensor, "row n head d_head"]:
        """z at the positions from `first` on; q [row n head d_head], k and v [row pos head d_head]."""
        n = q.shape[1]
        positions = torch.arange(first, self.length, device=self.device)
        mask = None
        if 1 < n < self.length:
            mask = torch.ones(n, self.length, dtype=torch.bool, device=self.device).tril(first)[None, None]
        tap = self.tap(layer, positions)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        return self.blocks[layer].attn.attend(q, k, v, mask, tap)

    def after_attention(self, layer: int, x: Tensor, z: Tensor, at: Layout) -> Float[Tensor, "token d_model"]:
        """resid_post of tokens [token d_model] with resid_pre x and head outputs z [token head d_head]."""
        tap, block = self.tap(layer, at.pos), self.blocks[layer]
        attn_out = tap("attn_out", block.attn.c_proj(z.flatten(1))[None])[0]
        return self.after_attn_out(layer, x, attn_out, at)

    def after_attn_out(self, layer: int, x: Tensor, attn_out: Tensor, at: Layout) -> Float[Tensor, "token d_model"]:
        """resid_post of tokens with resid_pre x and attention output `attn_out`, both [token d_model]."""
        return self.after_mid(layer, self.tap(layer, at.pos)("resid_mid", (x + attn_out)[None])[0], at)

    def after_mid(self, layer: int, mid: Tensor, at: Layout) -> Float[Tensor, "token d_model"]:
        """resid_post of tokens with resid_mid `mid` [token d_model], which the plan's edits are in already."""
        tap, block, mid = self.tap(layer, at.pos), self.blocks[layer], mid[None]
        return tap("resid_post", mid + block.mlp(block.ln_2(mid, tap, "ln2"), tap))[0]

    def logits(self, final: Float[Tensor, "row d_model"], reads: Sequence[int] | None = None) -> Float[Tensor, "row id"]:
        """Logits of the whole vocabulary, or of the tokens that a metric reads."""
        if reads is None:
            return self.model.unembed(final[None])[0]
        head = self.model.wte if self.model.config.tied else self.model.lm_head
        read = self.model.ln_f(final[None], UNHOOKED, "ln_final")[0] @ head.weight[list(reads)].T
        return read + self.model.b_U[list(reads)]  # 0 but for folded weights
