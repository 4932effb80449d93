"""GPT-2, the whole network in the order the data flows.

    V d_vocab (50257)   T position (<= n_ctx)   D d_model   H n_heads   E d_head (D / H)   M d_mlp (4 D)   B batch

    tokens [B T] -> wte + wpe -> x [B T D]
    each block:  x = x + attn(ln_1(x));  x = x + mlp(ln_2(x))        (pre-LayerNorm: the residual stream is never normalised)
    ln_f(x) @ wte.T -> logits [B T V]                                (the head is the token embedding, without a bias)

Parameter names and layouts are the released checkpoints' (`h.0.attn.c_attn.weight` is [in, out]), so loading is
`load_state_dict`. Each point of the data flow is a `tap`: see `gpt2_core/hooks.py`.

Sources: Radford et al. 2019, section 2.3; openai/gpt-2 `src/model.py` (tanh GELU, eps 1e-5, scale 1/sqrt(d_head)).
"""

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from gpt2_core.cache import KVCache
from gpt2_core.config import GPT2Config
from gpt2_core.hooks import HookFunction, Tap
from gpt2_core.surface import LensSurface

gelu_new = partial(F.gelu, approximate="tanh")
UNHOOKED = Tap(None)


class Conv1D(nn.Module):
    """x @ weight + bias, weight [in, out]: the released checkpoints' layout."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.empty(n_out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], -1)


class LayerNorm(nn.LayerNorm):
    """(x - mean) / scale * weight + bias, each step a tap under the name given ("ln1", "ln2", "ln_final")."""

    def forward(self, x: Tensor, tap: Tap, name: str) -> Tensor:
        x = tap(f"{name}.in", x)
        if tap.wants(f"{name}.scale", f"{name}.normalized"):
            x = x - x.mean(-1, keepdim=True)
            x = x / tap(f"{name}.scale", (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt())
            x = tap(f"{name}.normalized", x) * self.weight + self.bias
        else:
            x = super().forward(x)
        return tap(f"{name}.out", x)


class Attention(nn.Module):
    """Causal multi-head self-attention; `W_Q` ... `b_O` are views of the released matrices, one slice per head."""

    def __init__(self, cfg: GPT2Config, layer: int):
        super().__init__()
        self.cfg, self.layer = cfg, layer
        self.c_attn = Conv1D(cfg.d_model, 3 * cfg.d_model)
        self.c_proj = Conv1D(cfg.d_model, cfg.d_model)

    def _per_head(self, index: int) -> tuple[Float[Tensor, "head d_model d_head"], Float[Tensor, "head d_head"]]:
        weight, bias = self.c_attn.weight.chunk(3, -1)[index], self.c_attn.bias.chunk(3, -1)[index]
        heads = {"h": self.cfg.n_heads}
        return rearrange(weight, "d (h e) -> h d e", **heads), rearrange(bias, "(h e) -> h e", **heads)

    W_Q, b_Q = property(lambda self: self._per_head(0)[0]), property(lambda self: self._per_head(0)[1])
    W_K, b_K = property(lambda self: self._per_head(1)[0]), property(lambda self: self._per_head(1)[1])
    W_V, b_V = property(lambda self: self._per_head(2)[0]), property(lambda self: self._per_head(2)[1])
    W_O = property(lambda self: rearrange(self.c_proj.weight, "(h e) d -> h e d", h=self.cfg.n_heads))
    b_O = property(lambda self: self.c_proj.bias)

    def qkv(self, x: Tensor, ln: LayerNorm, tap: Tap) -> list[Float[Tensor, "batch pos head d_head"]]:
        """Queries, keys and values of the residual stream x [batch pos d_model]."""
        parts = tap("qkv.out", self._project(tap("qkv.in", ln(x, tap, "ln1")), tap)).chunk(3, -1)
        forked = tap("attn_in", self._fork(x)) if tap.wants("attn_in") else None
        out = []
        for index, (name, part) in enumerate(zip("qkv", parts)):
            part = rearrange(part, "b t (h e) -> b t h e", h=self.cfg.n_heads)
            if forked is not None or tap.wants(f"{name}_input"):
                own = tap(f"{name}_input", self._fork(x) if forked is None else forked.clone())
                part = part + self._change(index, x, own, ln)
            out.append(tap(name, part))
        return out

    def _project(self, y: Tensor, tap: Tap) -> Float[Tensor, "batch pos qkv"]:
        """Queries, keys and values in one product, unless a hook tells their inputs apart."""
        if not tap.wants("q.in", "k.in", "v.in"):
            return self.c_attn(y)
        weights = zip("qkv", self.c_attn.weight.chunk(3, -1), self.c_attn.bias.chunk(3, -1))
        return torch.cat([tap(f"{name}.in", y) @ weight + bias for name, weight, bias in weights], -1)

    def _fork(self, x: Tensor) -> Float[Tensor, "batch pos head d_model"]:
        """A copy of the residual stream for each head, so that one head's input can be edited alone."""
        return repeat(x, "b t d -> b t h d", h=self.cfg.n_heads).clone()

    def _change(self, index: int, x: Tensor, own: Tensor, ln: LayerNorm) -> Float[Tensor, "batch pos head d_head"]:
        """What q, k or v gain when each head reads its own residual stream [b t h d] in place of x [b t d]."""
        normalised = partial(F.layer_norm, normalized_shape=ln.normalized_shape, weight=ln.weight, eps=ln.eps)  # biases cancel
        return einsum(normalised(own) - normalised(x)[:, :, None], self._per_head(index)[0], "b t h d, h d e -> b t h e")

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, tap: Tap) -> Float[Tensor, "b t h e"]:
        """softmax(q k / sqrt(E)) v; explicit where the scores or the pattern are looked at, fused otherwise.

        q [b h query e]; k, v [b h key e]; mask Bool [b|1 1 query key], None for plain causal attention.
        """
        if tap.wants("attn_scores", "pattern"):
            if mask is None:
                n, total = q.shape[-2], k.shape[-2]
                mask = torch.ones(n, total, dtype=torch.bool, device=q.device).tril(total - n)
            scores = (q @ k.transpose(-1, -2) / self.cfg.attn_scale).masked_fill(~mask, -torch.inf)
            scores = tap("attn_scores", scores)
            pattern = tap("pattern", scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(q.dtype))
            z = pattern @ v
        else:
            z = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None and q.shape[-2] > 1)
        return tap("z", z.transpose(1, 2))

    def forward(self, x: Tensor, ln: LayerNorm, mask: Tensor | None, cache: KVCache | None, tap: Tap) -> Tensor:
        q, k, v = (part.transpose(1, 2) for part in self.qkv(x, ln, tap))
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        z = self.attend(q, k, v, mask, tap)
        if tap.wants("result"):
            result = tap("result", einsum(z, self.W_O, "b t h e, h e d -> b t h d"))
            return tap("attn_out", result.sum(2) + self.b_O)
        return tap("attn_out", self.c_proj(z.flatten(2)))


class MLP(nn.Module):
    """Two matrices with the tanh GELU between them."""

    def __init__(self, cfg: GPT2Config):
        super().__init__()
        self.c_fc = Conv1D(cfg.d_model, cfg.d_mlp)
        self.c_proj = Conv1D(cfg.d_mlp, cfg.d_model)

    def forward(self, x: Tensor, tap: Tap) -> Tensor:
        post = tap("mlp.post", gelu_new(tap("mlp.pre", self.c_fc(x))))
        return tap("mlp_out", self.c_proj(post))


class Block(nn.Module):
    """x + attn(ln_1(x)), then x + mlp(ln_2(x))."""

    def __init__(self, cfg: GPT2Config, layer: int):
        super().__init__()
        self.ln_1 = LayerNorm(cfg.d_model, eps=cfg.eps)
        self.attn = Attention(cfg, layer)
        self.ln_2 = LayerNorm(cfg.d_model, eps=cfg.eps)
        self.mlp = MLP(cfg)

    def forward(self, x: Tensor, mask: Tensor | None, cache: KVCache | None, tap: Tap) -> Tensor:
        x = tap("resid_pre", x)
        x = tap("resid_mid", x + self.attn(x, self.ln_1, mask, cache, tap))
        mlp_in = tap("mlp_in", x.clone()) if tap.wants("mlp_in") else x
        return tap("resid_post", x + self.mlp(self.ln_2(mlp_in, tap, "ln2"), tap))


class GPT2(LensSurface, nn.Module):
    """A GPT-2 whose every activation can be seen and changed.

    `model(tokens)` gives logits. Weights are uninitialised until a checkpoint is loaded (`gpt2_core.load`) or
    `init_weights` is called. `source` and `weights_sha256` say where the weights came from.
    """

    def __init__(self, config: GPT2Config, tokenizer=None):
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.source, self.weights_sha256 = "uninitialised", None
        self.wte = nn.Embedding(config.d_vocab, config.d_model)
        self.wpe = nn.Embedding(config.n_ctx, config.d_model)
        self.h = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.ln_f = LayerNorm(config.d_model, eps=config.eps)
        if not config.tied:
            self.lm_head = nn.Linear(config.d_model, config.d_vocab, bias=False)
        self.eval()

    @property
    def cfg(self) -> GPT2Config:
        """The shape, with the device and dtype that the weights have now."""
        return replace(self.config, device=str(self.wte.weight.device), dtype=self.wte.weight.dtype)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator | None = None) -> "GPT2":
        """GPT-2's initialisation: N(0, 0.02), positions N(0, 0.01), residual projections scaled by 1/sqrt(2 n_layers)."""
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                p.zero_()
            elif "ln_" in name:
                p.fill_(1.0)
            else:
                std = 0.01 if name.startswith("wpe") else 0.02
                residual = name.endswith("c_proj.weight")
                p.normal_(0.0, std / (2 * self.config.n_layers) ** 0.5 if residual else std, generator=generator)
        self.source = "random initialisation"
        return self

    def forward(
        self,
        tokens: Int[Tensor, "batch pos"] | Float[Tensor, "batch pos d_model"],
        *,
        hook: HookFunction | None = None,
        cache: KVCache | None = None,
        mask: Bool[Tensor, "batch total"] | None = None,
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
        logits_at: int | slice | list[int] | None = None,
    ) -> Float[Tensor, "batch n d_vocab"] | Float[Tensor, "batch pos d_model"]:
        """Next-token logits at every position.

        tokens: Int [batch pos]; with `start_at_layer`, the residual stream before that block, Float [batch pos d_model].
        hook: called as hook(name, tensor) at every point, see `gpt2_core.hooks`.
        cache: keys and values of earlier positions, extended in place by this call (needs `torch.no_grad()`).
        mask: Bool [batch, cached + pos], False for left padding; positions are counted from each row's first True.
        stop_at_layer: return the residual before that block, [batch pos d_model] (negative counts from the end).
        logits_at: unembed only these positions: an int, a slice or a list; None is all.
        Raises ValueError for no tokens, ids outside the vocabulary, more positions than `n_ctx`.
        """
        cfg = self.config
        x, past = tokens.to(self.wte.weight.device), cache.length if cache is not None else 0
        self._check(tokens, past, start_at_layer, cache)
        first = range(cfg.n_layers + 1)[start_at_layer or 0]
        last = cfg.n_layers if stop_at_layer is None else range(cfg.n_layers + 1)[stop_at_layer]
        queries, keys = _positions(x.shape[1], past, mask, x.device)
        if hasattr(hook, "positioned"):
            hook = hook.positioned(queries, keys)
        tap = Tap(hook)
        if start_at_layer is None:
            x = self._embed(x, queries, tap)
        attention = _attention_mask(queries, keys, past, mask)
        for layer in range(first, last):
            x = self.h[layer](x, attention, cache, tap.block(layer))
        if cache is not None:
            cache.advance(x.shape[1])
        if stop_at_layer is not None:
            return x
        return self.unembed(x if logits_at is None else x[:, [logits_at] if isinstance(logits_at, int) else logits_at], tap)

    def unembed(self, resid: Float[Tensor, "batch pos d_model"], tap: Tap = UNHOOKED) -> Float[Tensor, "batch pos d_vocab"]:
        """Final LayerNorm and output head: residual stream to logits (the logit lens of any layer)."""
        y = self.ln_f(resid, tap, "ln_final")
        return tap("logits", F.linear(y, self.wte.weight if self.config.tied else self.lm_head.weight))

    def _embed(self, tokens: Tensor, positions: Tensor, tap: Tap) -> Float[Tensor, "batch pos d_model"]:
        embed = tap("embed", self.wte(tap("tokens", tokens)))
        pos_embed = self.wpe(tap("positions", positions.clamp(min=0))).expand(embed.shape)
        if tap.wants("pos_embed"):  # a copy, so that rows can be edited apart
            pos_embed = tap("pos_embed", pos_embed.clone())
        return embed + pos_embed

    def _check(self, tokens: Tensor, past: int, start_at_layer: int | None, cache: KVCache | None) -> None:
        cfg, width = self.config, 2 if start_at_layer is None else 3
        if tokens.ndim != width or tokens.shape[1] == 0 or tokens.shape[0] == 0:
            what = "token ids [batch pos]" if width == 2 else "a residual stream [batch pos d_model]"
            raise ValueError(f"Expected {what} with at least one position, got shape {list(tokens.shape)}.")
        if past + tokens.shape[1] > cfg.n_ctx:
            n = past + tokens.shape[1]
            raise ValueError(f"{n} positions are more than the context of {cfg.n_ctx}; shorten the text to {cfg.n_ctx} tokens.")
        # Reading ids on a GPU would wait for it; ids made there come from the model itself.
        if width == 2 and tokens.device.type == "cpu" and (tokens.min() < 0 or tokens.max() >= cfg.d_vocab):
            low, high = int(tokens.min()), int(tokens.max())
            raise ValueError(
                f"Token ids {low}..{high} do not fit the vocabulary of {cfg.d_vocab} "
                f"(0..{cfg.d_vocab - 1}); a checkpoint with its own vocabulary needs its vocab.json and merges.txt beside it."
            )
        if cache is not None and torch.is_grad_enabled():
            raise ValueError("A KV cache is for inference: wrap the call in torch.no_grad(), or leave the cache out.")


def _positions(n: int, past: int, mask: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """Positions of the queries [batch|1 n] and of all keys [batch|1 past + n]; padding is -1."""
    if mask is None:
        keys = torch.arange(past + n, device=device)[None]
    else:
        if mask.shape[1] != past + n:
            raise ValueError(f"mask covers {mask.shape[1]} positions, expected {past + n} (cached {past} + given {n}).")
        mask = mask.to(device)
        keys = torch.where(mask, mask.long().cumsum(1) - 1, -1)
    return keys[:, past:], keys


def _attention_mask(queries: Tensor, keys: Tensor, past: int, mask: Tensor | None) -> Tensor | None:
    """Which keys each query sees, Bool [batch|1 1 query key]; None where plain causal attention says the same."""
    n, total = queries.shape[1], keys.shape[1]
    if mask is None and (past == 0 or n == 1):
        return None
    causal = torch.ones(n, total, dtype=torch.bool, device=keys.device).tril(past)[None, None]
    if mask is None:
        return causal
    # A padding query sees only itself, so that no row of the softmax is empty.
    diagonal = torch.eye(total, dtype=torch.bool, device=keys.device)[past:]
    return causal & ((keys >= 0)[:, None, None, :] | diagonal)
