"""Why a head looks where it looks: one attention score taken apart.

The score of query position i and key position j is a dot product, so it is a sum, in two ways:

    score = q_i . k_j / sqrt(d_head)
          = sum over the head's dimensions e of q_i[e] k_j[e] / sqrt(d_head)                            `dimensions`
          = sum over parts a of x_i and b of x_j of (a W_Q) . (b W_K) / sqrt(d_head), biases a part too  `table`

The residual stream x is the sum of its parts: token embedding, position embedding, and what each earlier attention layer (or
head) and MLP added. ln_1 is taken as the linear map it was at that position (its scale frozen), so the parts of q and k add up exactly.
"bias" is what is left without any input: beta of ln_1 through W_Q, plus b_Q. Row sums of the table say what the query side
contributes (against the whole key), column sums what the key side does.

Pitfalls: only differences between keys of one query matter after the softmax, so a part that is large and equal for all keys does
nothing (compare the same query with two keys). Parts in opposite directions cancel, so no part alone is "the reason".

Sources: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits" (QK circuit); frozen LayerNorm as in direct
logit attribution there.
"""

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from gpt2_core.model import GPT2
from interp.run import Check, Provenance, Run, check_place


@dataclass(frozen=True)
class ScoreParts:
    """One attention score before the softmax, and its two sums.

    score: as the run had it. dimensions: Float [d_head]. labels: the parts, "embed", "pos_embed", "L0 attn" (or "L0H0", ...,
    "L0 b_O"), "L0 mlp", ..., "bias"; in a run with edits also "edits": what they changed in the residual stream, q and k.
    table: Float [query_part key_part]. checks: both sums equal the score.
    """

    layer: int
    head: int
    query: int
    key: int
    score: float
    dimensions: Float[Tensor, " d_head"]
    labels: tuple[str, ...]
    table: Float[Tensor, "query_part key_part"]
    checks: tuple[Check, ...]
    provenance: Provenance

    @property
    def query_side(self) -> Float[Tensor, " query_part"]:
        """What each part of the query's residual stream contributes, against the whole key."""
        return self.table.sum(1)

    @property
    def key_side(self) -> Float[Tensor, " key_part"]:
        """What each part of the key's residual stream contributes, against the whole query."""
        return self.table.sum(0)


def qk_names(layer: int) -> list[str]:
    """The hooks that `score_parts` reads for a head of this layer."""
    own = [f"blocks.{layer}.{site}" for site in ("hook_resid_pre", "attn.hook_q", "attn.hook_k", "attn.hook_attn_scores")]
    earlier = [f"blocks.{i}.{site}" for i in range(layer) for site in ("hook_attn_out", "attn.hook_z", "hook_mlp_out")]
    return ["hook_embed", "hook_pos_embed", *earlier, *own]


@torch.no_grad()
def score_parts(model: GPT2, run: Run, layer: int, head: int, query: int, key: int, by_head: bool = False) -> ScoreParts:
    """Takes apart the score of one head between a query and a key position (negative positions count from the end).

    by_head: what earlier attention layers added is given per head. Raises ValueError for a key after its query, and for a layer,
    head or position that is not there.
    """
    cfg, n = model.config, len(run)
    check_place(cfg, layer, head)
    if not (-n <= query < n and -n <= key < n and key % n <= query % n):
        raise ValueError(
            f"Query {query} cannot look at key {key}: positions lie in 0..{n - 1} and no key comes after its query."
        )
    query, key = query % n, key % n
    own, scale = run.activations, cfg.attn_scale
    score = own["attn_scores", layer][head, query, key].double()
    dimensions = own["q", layer][query, head].double() * own["k", layer][key, head].double() / scale
    attn = model.h[layer].attn
    labels, q = _projected(model, run, layer, query, attn.W_Q[head], attn.b_Q[head], by_head)
    _, k = _projected(model, run, layer, key, attn.W_K[head], attn.b_K[head], by_head)
    for name, parts, at in (("q", q, query), ("k", k, key)):
        if any((edit.component, edit.layer) == (name, layer) for edit in run.plan):
            parts[labels.index("edits")] += own[name, layer][at, head].double() - parts.sum(0)
    table = einsum(q, k, "a e, b e -> a b") / scale
    half = model.cfg.dtype in (torch.float16, torch.bfloat16)
    checks = tuple(
        Check(name, (total - score).abs().item() / max(1.0, abs(score.item())), 5e-2 if half else 1e-4)
        for name, total in (("dimensions sum to the score", dimensions.sum()), ("parts sum to the score", table.sum()))
    )
    sums = dimensions.float(), labels, table.float(), checks
    return ScoreParts(layer, head, query, key, score.item(), *sums, run.provenance)


def _projected(
    model: GPT2, run: Run, layer: int, position: int, weight: Tensor, bias: Tensor, by_head: bool
) -> tuple[tuple[str, ...], Float[Tensor, "part d_head"]]:
    """The parts of a query or key, "bias" last, float64."""
    labels, parts = residual_parts(model, run, layer, position, by_head)
    ln, resid = model.h[layer].ln_1, run.activations["resid_pre", layer][position].double()
    scale = (resid.var(correction=0) + model.config.eps).sqrt()
    normalised = (parts - parts.mean(-1, keepdim=True)) / scale * ln.weight.double()
    constant = ln.bias.double() @ weight.double() + bias.double()
    return (*labels, "bias"), torch.cat([normalised @ weight.double(), constant[None]])


def residual_parts(
    model: GPT2, run: Run, layer: int, position: int, by_head: bool = False
) -> tuple[tuple[str, ...], Float[Tensor, "part d_model"]]:
    """What the residual stream before block `layer` is made of at a position, float64; the parts sum to it.

    In a run with edits the last part, "edits", is what is not accounted for by what the components wrote.
    """
    check_place(model.config, layer)
    cache, position = run.activations, run.at(position)
    parts = {"embed": cache["hook_embed"][position], "pos_embed": cache["hook_pos_embed"][position]}
    for i in range(layer):
        attn = model.h[i].attn
        if by_head:
            results = einsum(cache["z", i][position].double(), attn.W_O.double(), "head e, head e d -> head d")
            parts |= {f"L{i}H{h}": result for h, result in enumerate(results)} | {f"L{i} b_O": attn.b_O}
        else:
            parts[f"L{i} attn"] = cache["attn_out", i][position]
        parts[f"L{i} mlp"] = cache["mlp_out", i][position]
    table = torch.stack([part.double() for part in parts.values()])
    if run.plan:
        rest = cache["resid_pre", layer][position].double() - table.sum(0)
        return (*parts, "edits"), torch.cat([table, rest[None]])
    return tuple(parts), table
