"""What heads and neurons are built to do, read from their weights alone, without a prompt.

A head is two matrices of rank d_head: W_QK = W_Q W_K^T says which token looks at which, W_OV = W_V W_O what is moved when it does.
Between the token embedding and the output head they become tables over the vocabulary: W_E W_OV W_U says by how much attending
to a source token raises each output token, W_E W_QK W_E^T / sqrt(d_head) how well a query token likes a key token. The tables are
never made (50,257 squared): see `interp.weights_pairs` for their largest entries.

    copying          do eigenvalues of W_E W_OV W_U point forwards? Sum Re / sum | |: 1 raises what it reads, -1 lowers it
    singular_vectors the directions that W_OV or W_QK reads and writes, each read through the vocabulary
    token_row        one row of a table: what a head writes after reading this token, or which keys this query likes
    neuron_effect    which tokens a neuron's output weights raise and lower
    vector_effect    the same for any vector of the residual stream

`folded=True`, the default, takes the weights as `interp.folding.fold` would leave them: with the LayerNorms' gains, and without
what has no effect. The literature's numbers are of such weights; `folded=False` takes them as they stand.

Pitfalls: positions, biases and the LayerNorms' scales are left out. Later heads do not read embeddings but what other layers made
of them; `first_mlp=True` takes W_E + MLP_0(W_E), which in GPT-2 is nearer to what they see. A table can say what a head would do
and not that it ever does.

Sources: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits" (circuits, copying); Millidge & Black 2022 (SVD).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from gpt2_core.hooks import Tap
from gpt2_core.model import GPT2
from interp.folding import centred, read_through
from interp.given import token_ids
from interp.run import Provenance, check_place, of_weights

Circuit = Literal["OV", "QK"]
CHUNK = 4096  # tokens of the vocabulary at a time, where a product over it is made


@dataclass(frozen=True)
class HeadMatrices:
    """A layer's heads, at least float32. W_Q, W_K, W_V: [head d_model d_head]; W_O: [head d_head d_model]."""

    W_Q: Float[Tensor, "head d_model d_head"]
    W_K: Float[Tensor, "head d_model d_head"]
    W_V: Float[Tensor, "head d_model d_head"]
    W_O: Float[Tensor, "head d_head d_model"]


@dataclass(frozen=True)
class Copying:
    """scores: [layer head], -1..1; eigenvalues: [layer head d_head], of W_E W_OV W_U (all others are 0)."""

    scores: Float[Tensor, "layer head"]
    eigenvalues: Complex[Tensor, "layer head d_head"]
    folded: bool
    provenance: Provenance


@dataclass(frozen=True)
class Ends:
    """The tokens that are raised and lowered most. ids, values: [... k], from the strongest on."""

    up_ids: Int[Tensor, "*rest k"]
    up_values: Float[Tensor, "*rest k"]
    down_ids: Int[Tensor, "*rest k"]
    down_values: Float[Tensor, "*rest k"]


@dataclass(frozen=True)
class SingularVectors:
    """A head's matrix as singular_values [d_head] and, for the first n, directions [n d_model] on both sides.

    OV: `read` in the embedding (which tokens it takes), `written` in the output head (which it raises). QK: `read` is the query's
    side, `written` the key's, both in the embedding. The sign of a pair is free: it is chosen so that the strongest token read is
    positive; tokens that are lowered on one side go with those lowered on the other.
    """

    circuit: str
    singular_values: Float[Tensor, " d_head"]
    left: Float[Tensor, "n d_model"]
    right: Float[Tensor, "n d_model"]
    read: Ends
    written: Ends
    folded: bool
    provenance: Provenance


@torch.no_grad()
def head_matrices(model: GPT2, layer: int, folded: bool = True) -> HeadMatrices:
    """The matrices of a layer's heads, folded (gain in, means out) or as they stand."""
    check_place(model.config, layer)
    block = model.h[layer]
    attn, gain = block.attn, _wide(block.ln_1.weight)[:, None]
    reading = [_wide(w) for w in (attn.W_Q, attn.W_K, attn.W_V)]
    if not folded:
        return HeadMatrices(*reading, _wide(attn.W_O))
    through = [gain * w for w in reading]
    return HeadMatrices(*(w - w.mean(1, keepdim=True) for w in through), centred(_wide(attn.W_O)))


@torch.no_grad()
def embedding(model: GPT2, folded: bool = True, first_mlp: bool = False) -> Float[Tensor, "d_vocab d_model"]:
    """The token embedding; with `first_mlp`, W_E + MLP_0(ln_2(W_E)): what the first layer makes of a token without attention."""
    table = model.W_E.detach()
    if first_mlp:
        block, tap = model.h[0], Tap(None)
        table = torch.cat([rows + block.mlp(block.ln_2(rows, tap, "ln2"), tap) for rows in table.split(CHUNK)])
    return centred(_wide(table)) if folded else _wide(table)


@torch.no_grad()
def unembedding(model: GPT2, folded: bool = True) -> Float[Tensor, "d_model d_vocab"]:
    """The output head; folded: with the final LayerNorm's gain, and mean zero over the vocabulary."""
    if not folded:
        return _wide(model.W_U)
    bias = torch.zeros_like(_wide(model.b_U))
    weight, _ = read_through(_wide(model.W_U), bias, _wide(model.ln_f.weight), _wide(model.ln_f.bias))
    return centred(weight)


@torch.no_grad()
def copying(model: GPT2, folded: bool = True, first_mlp: bool = False) -> Copying:
    """The OV copying score of every head, from the eigenvalues of W_E W_OV W_U.

    They are those of the small matrix W_O W_U W_E W_V [d_head d_head], so no table over the vocabulary is needed.
    """
    tokens, head = embedding(model, folded, first_mlp), unembedding(model, folded)
    pairs = zip(head.split(CHUNK, 1), tokens.split(CHUNK))
    middle = sum(u.double() @ e.double() for u, e in pairs)  # [d_model d_model]
    rows = []
    for layer in range(model.config.n_layers):
        w = head_matrices(model, layer, folded)
        rows.append(torch.linalg.eigvals(w.W_O.double() @ middle @ w.W_V.double()))
    eigenvalues = torch.stack(rows)
    return Copying(eigenvalues.sum(-1).real / eigenvalues.abs().sum(-1), eigenvalues, folded, of_weights(model))


@torch.no_grad()
def factors(
    model: GPT2, layer: int, head: int, circuit: Circuit, folded: bool = True, first_mlp: bool = False
) -> tuple[Float[Tensor, "d_vocab d_head"], Float[Tensor, "d_vocab d_head"]]:
    """(left, right) with left @ right.T the head's table over the vocabulary.

    OV: [source output]; QK: [query key], divided by sqrt(d_head) as scores are.
    """
    if circuit not in ("OV", "QK"):
        raise ValueError(f"A head's circuit is 'OV' or 'QK', got {circuit!r}.")
    check_place(model.config, layer, head)
    w = head_matrices(model, layer, folded)
    tokens = embedding(model, folded, first_mlp)
    if circuit == "OV":
        return tokens @ w.W_V[head], (w.W_O[head] @ unembedding(model, folded)).T
    return tokens @ w.W_Q[head] / model.config.attn_scale, tokens @ w.W_K[head]


@torch.no_grad()
def token_row(
    model: GPT2,
    layer: int,
    head: int,
    token: int,
    circuit: Circuit = "OV",
    k: int = 10,
    folded: bool = True,
    first_mlp: bool = False,
) -> Ends:
    """OV: the outputs that reading `token` raises and lowers most. QK: the keys that `token`, as query, likes most and least."""
    left, right = factors(model, layer, head, circuit, folded, first_mlp)
    return _ends(right @ left[token_ids(token, model.config.d_vocab)[0]], k)


@torch.no_grad()
def neuron_effect(model: GPT2, layer: int, neuron: int, k: int = 10, folded: bool = True) -> Ends:
    """The tokens whose logits a neuron's output weights raise and lower most, per unit of activation and of final scale."""
    check_place(model.config, layer)
    weight = _wide(model.h[layer].mlp.c_proj.weight)
    return _ends(weight[_within(neuron, model.config.d_mlp, "neuron")] @ unembedding(model, folded), k)


@torch.no_grad()
def vector_effect(model: GPT2, vectors: Float[Tensor, "row d_model"], k: int = 10, folded: bool = True) -> Ends:
    """The tokens whose logits each vector of the residual stream raises and lowers most, [row k], per unit of final scale."""
    return _ends(_wide(vectors) @ unembedding(model, folded), k)


@torch.no_grad()
def singular_vectors(
    model: GPT2,
    layer: int,
    head: int,
    circuit: Circuit = "OV",
    n: int = 8,
    k: int = 10,
    folded: bool = True,
    first_mlp: bool = False,
) -> SingularVectors:
    """The n strongest directions of W_OV or W_QK, and the k tokens at either end of each. W_QK without the 1/sqrt(d_head)."""
    if circuit not in ("OV", "QK"):
        raise ValueError(f"A head's circuit is 'OV' or 'QK', got {circuit!r}.")
    check_place(model.config, layer, head)
    w = head_matrices(model, layer, folded)
    pair = (w.W_V[head], w.W_O[head].T) if circuit == "OV" else (w.W_Q[head], w.W_K[head])
    (q_left, r_left), (q_right, r_right) = (torch.linalg.qr(m.double()) for m in pair)
    u, singular_values, vh = torch.linalg.svd(r_left @ r_right.T)
    tokens = embedding(model, folded, first_mlp)
    left, right = ((q @ vectors)[:, :n].T.to(tokens.dtype) for q, vectors in ((q_left, u), (q_right, vh.T)))
    read = left @ tokens.T
    sign = read.gather(1, read.abs().argmax(1, keepdim=True)).sign()
    left, right, read = left * sign, right * sign, read * sign
    written = right @ (unembedding(model, folded) if circuit == "OV" else tokens.T)
    ends = (_ends(read, k), _ends(written, k))
    return SingularVectors(circuit, singular_values, left, right, *ends, folded, of_weights(model))


def _ends(values: Float[Tensor, "*rest d_vocab"], k: int) -> Ends:
    k = min(k, values.shape[-1])
    up, down = values.topk(k), values.topk(k, largest=False)
    return Ends(up.indices, up.values, down.indices, down.values)


def _wide(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """At least float32."""
    return weight.detach().to(torch.promote_types(weight.dtype, torch.float32))


def _within(index: int, n: int, what: str) -> int:
    if not 0 <= index < n:
        raise ValueError(f"There is no {what} {index}; give one of 0..{n - 1}.")
    return index
