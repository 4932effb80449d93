"""What a GPT-2 costs: parameters, arithmetic, bytes; computed from its shape, without a model.

Convention: one multiply and one add are 2 FLOPs; only matrix products are counted (LayerNorm, softmax, GELU and biases are
below 1 %); attention is counted over the full square that a matrix product computes, the masked half included. That is
what `torch.utils.flop_counter` counts. Letters: L n_layers, d d_model, m d_mlp, V d_vocab, T tokens.

Sources: Kaplan et al. 2020, Table 1; Chowdhery et al. 2022 (PaLM), appendix B, for the attention term of training.
"""

from dataclasses import dataclass

import torch

from gpt2_core.config import GPT2Config


@dataclass(frozen=True)
class Parameters:
    """Parameter counts. `components` sums to `total`; `embedding` is tokens plus positions; a tied head counts once, as tokens."""

    components: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.components.values())

    @property
    def embedding(self) -> int:
        return sum(self.components[name] for name in ("token_embedding", "position_embedding", "untied_head"))

    @property
    def non_embedding(self) -> int:
        return self.total - self.embedding


def parameters(config: GPT2Config) -> Parameters:
    """Count the parameters by component, as numbers of the released checkpoints (weights and biases)."""
    d, m, layers = config.d_model, config.d_mlp, config.n_layers
    return Parameters(
        {
            "token_embedding": config.d_vocab * d,
            "position_embedding": config.n_ctx * d,
            "attention": layers * (4 * d * d + 4 * d),
            "mlp": layers * (2 * d * m + m + d),
            "layer_norm": (2 * layers + 1) * 2 * d,
            "untied_head": 0 if config.tied else config.d_vocab * d,
        }
    )


@dataclass(frozen=True)
class ForwardFlops:
    """FLOPs of one forward pass, by kind of matrix product."""

    attention_weights: int  # Q, K, V and output projections
    attention_scores: int  # queries with keys, and pattern with values
    mlp: int
    unembedding: int

    @property
    def total(self) -> int:
        return self.attention_weights + self.attention_scores + self.mlp + self.unembedding


def forward_flops(
    config: GPT2Config, tokens: int, *, past: int = 0, batch: int = 1, logits_positions: int | None = None
) -> ForwardFlops:
    """FLOPs to run `tokens` new positions after `past` cached ones (a generation step: tokens=1).

    `logits_positions`: how many of the positions are unembedded; None means all of them.
    """
    d, layers = config.d_model, config.n_layers
    unembedded = tokens if logits_positions is None else logits_positions
    return ForwardFlops(
        attention_weights=batch * tokens * layers * 2 * 4 * d * d,
        attention_scores=batch * tokens * layers * 2 * 2 * (past + tokens) * d,
        mlp=batch * tokens * layers * 2 * 2 * d * config.d_mlp,
        unembedding=batch * unembedded * 2 * config.d_vocab * d,
    )


def forward_flops_per_token(config: GPT2Config, context: int | None = None) -> float:
    """FLOPs per token of a forward pass over `context` tokens (default: the full context), all logits computed."""
    context = context or config.n_ctx
    return forward_flops(config, context).total / context


def training_flops_per_token(config: GPT2Config, context: int | None = None, *, attention: bool = True) -> int:
    """FLOPs per token of one training step (forward and backward): 6 N, plus 12 L d T for attention scores.

    N is the number of all parameters, as is common for GPT-2; the lookup of embeddings costs nothing, but the tied head's
    product costs 2 V d, which this N counts. `attention=False` leaves only 6 N.
    """
    context = context or config.n_ctx
    return 6 * parameters(config).total + (12 * config.n_layers * config.d_model * context if attention else 0)


def weight_bytes(config: GPT2Config, dtype: torch.dtype = torch.float32) -> int:
    """Bytes of the weights in memory."""
    return parameters(config).total * dtype.itemsize


def adam_training_bytes(config: GPT2Config) -> int:
    """Bytes of float32 training with Adam without activations: weights, gradients and two moments, 16 per parameter."""
    return 16 * parameters(config).total


def kv_cache_bytes_per_token(config: GPT2Config, dtype: torch.dtype = torch.float32) -> int:
    """Bytes by which the cache of keys and values grows with each token of each row: 2 L d numbers."""
    return 2 * config.n_layers * config.d_model * dtype.itemsize


def kv_cache_bytes(config: GPT2Config, tokens: int, batch: int = 1, dtype: torch.dtype = torch.float32) -> int:
    """Bytes of the cached keys and values of `batch` rows of `tokens` tokens."""
    return batch * tokens * kv_cache_bytes_per_token(config, dtype)


def activation_bytes(config: GPT2Config, tokens: int, batch: int = 1, dtype: torch.dtype = torch.float32) -> int:
    """Bytes that `model.run_with_cache(tokens)` keeps with every default hook name, logits included.

    Names that carry the same tensor are counted once. Scores and patterns grow with the square of `tokens`, all else linearly.
    """
    d, m, heads, layers = config.d_model, config.d_mlp, config.n_heads, config.n_layers
    attention = 5 * d + 2 * heads * tokens  # q, k, v, z, attn_out; scores and pattern
    mlp = 2 * m + d  # pre, post, mlp_out
    norms = 2 * (2 * d + 1)  # normalized, out, scale
    residual = 2 * d  # resid_mid, resid_post; resid_pre is the block before's resid_post
    ends = 3 * d + 2 * d + 1 + config.d_vocab  # embed, pos_embed, first resid_pre; ln_final's three; logits
    ids = 2 * torch.int64.itemsize  # tokens, positions
    return batch * tokens * ((layers * (attention + mlp + norms + residual) + ends) * dtype.itemsize + ids)
