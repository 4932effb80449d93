"""What the anatomy tab shows: one position's way through the network, every vector on it, and what each part adds to the stream."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.service.view import View
from gpt2_core.config import GPT2Config
from gpt2_core.hooks import Watch
from interp.edits import Plan
from interp.intervene import compile_plan
from interp.run import Check

BINS = 64  # a layer's neurons are drawn as at most so many strips, each the largest of its neurons
IN_BLOCK = {
    "resid_pre": "hook_resid_pre", "ln1": "ln1.hook_out", "q": "attn.hook_q", "k": "attn.hook_k", "v": "attn.hook_v",
    "attn_scores": "attn.hook_attn_scores", "pattern": "attn.hook_pattern", "z": "attn.hook_z", "result": "attn.hook_result",
    "attn_out": "hook_attn_out", "resid_mid": "hook_resid_mid", "ln2": "ln2.hook_out", "pre": "mlp.hook_pre",
    "post": "mlp.hook_post", "mlp_out": "hook_mlp_out", "resid_post": "hook_resid_post",
}  # fmt: skip
AT_ENDS = {"embed": "hook_embed", "pos_embed": "hook_pos_embed", "ln_final": "ln_final.hook_out", "logits": "unembed.hook_out"}
POINTS = ("embed", "pos_embed", *IN_BLOCK, "ln_final", "logits")
PER_HEAD = ("q", "k", "v", "attn_scores", "pattern", "z", "result")
OVER_KEYS = ("attn_scores", "pattern")
SLOPE = {torch.float32: 1e-5, torch.float64: 1e-10}  # how far a sum may be off, of the largest entry
COARSE = 0.05  # the same for 16-bit weights


def hook_name(point: str, layer: int) -> str:
    """The hook of a point: `hook_name("ln1", 2) == "blocks.2.ln1.hook_out"`."""
    return AT_ENDS[point] if point in AT_ENDS else f"blocks.{layer}.{IN_BLOCK[point]}"


def shape_of(config: GPT2Config, point: str, n: int) -> str:
    """The tensor's axes and sizes for a prompt of n tokens, in words: "position 12 x head 4 x d_head 32"."""
    if point in OVER_KEYS:
        return f"head {config.n_heads} × query {n} × key {n}"
    if point in PER_HEAD:
        last = f"d_model {config.d_model}" if point == "result" else f"d_head {config.d_head}"
        return f"position {n} × head {config.n_heads} × {last}"
    width = {"pre": f"d_mlp {config.d_mlp}", "post": f"d_mlp {config.d_mlp}", "logits": f"d_vocab {config.d_vocab}"}
    return f"position {n} × {width.get(point, f'd_model {config.d_model}')}"


@dataclass(frozen=True)
class Way:
    """One position's way. vectors: by hook name, at that position ([head d_head] for z). heads [layer head]: size of what each writes.

    resid: norms of the stream [2 layers + 1], before each attention, each MLP, and at the end. attn, mlp: [layer 2], the norm of
    what the part writes and its cosine with the stream it is added to. bins: [layer bin]. added: what edits of the stream itself add,
    by hook name. checks: the sum of all parts is the stream; heads and bias are the attention's output.
    """

    position: int
    vectors: dict[str, np.ndarray]
    resid: np.ndarray
    attn: np.ndarray
    mlp: np.ndarray
    heads: np.ndarray
    bins: np.ndarray
    added: dict[str, np.ndarray]
    checks: tuple[Check, ...]


def way(view: View, plan: Plan | None = None) -> Way:
    """The way of the selected position under the edits in force, or under another plan."""
    s = view.state
    plan = s.plan if plan is None else plan
    key = (s.model, "anatomy way", s.prompt, s.bos, plan, view.position)
    return view.store.result(key, lambda: _way(view, plan))


@torch.no_grad()
def _way(view: View, plan: Plan) -> Way:
    vectors, cfg, layers = _collect(view, plan), view.config, range(view.config.n_layers)
    at = lambda point, layer=0: vectors[hook_name(point, layer)]  # noqa: E731
    streams = [at("resid_pre")]
    for layer in layers:
        streams += [at("resid_mid", layer), at("resid_post", layer)]
    written = [at("embed") + at("pos_embed")] + [at(part, la) for la in layers for part in ("attn_out", "mlp_out")]
    added = _added(vectors, plan, cfg)
    total = np.sum([*written, *added.values()], axis=0)
    per_head = [np.einsum("he,hed->hd", at("z", la), view.model.h[la].attn.W_O.double().cpu().numpy()) for la in layers]
    sums = [heads.sum(0) + view.model.h[la].attn.b_O.double().cpu().numpy() for la, heads in zip(layers, per_head)]
    edited = {edit.layer for edit in plan if edit.component == "attn_out"}
    outs = [(own, at("attn_out", la)) for la, own in zip(layers, sums) if la not in edited]
    slack = SLOPE.get(view.model.cfg.dtype, COARSE)
    return Way(
        view.position,
        vectors,
        np.array([np.linalg.norm(x) for x in streams]),
        np.array([_beside(at("attn_out", la), at("resid_pre", la)) for la in layers]),
        np.array([_beside(at("mlp_out", la), at("resid_mid", la)) for la in layers]),
        np.array([np.linalg.norm(heads, axis=-1) for heads in per_head]),
        np.array([[np.abs(part).max() for part in np.array_split(at("post", la), min(BINS, cfg.d_mlp))] for la in layers]),
        added,
        (Check("parts", _off(total, streams[-1]), slack), Check("heads", max((_off(*o) for o in outs), default=0.0), slack)),
    )


def _collect(view: View, plan: Plan) -> dict[str, np.ndarray]:
    """Every vector of the way, in float64; what costs memory (scores, patterns, results) is not asked for."""
    costly = {*OVER_KEYS, "result"}
    names = {hook_name(p, la) for p in POINTS if p not in costly for la in range(view.config.n_layers)}
    names |= {f"blocks.{la}.{ln}.hook_scale" for la in range(view.config.n_layers) for ln in ("ln1", "ln2")}
    kept: dict[str, np.ndarray] = {}

    def see(name: str, x: Tensor) -> None:
        row = x[0, view.position if x.shape[1] == len(view.run) else 0]  # the output reads one position only
        kept[name] = row.double().cpu().numpy()

    hook = Watch(names.__contains__, see, compile_plan(view.model, plan, view.state.bos))
    view.model(torch.tensor([view.run.tokens], device=view.model.wte.weight.device), hook=hook, logits_at=view.position)
    return kept


def _added(vectors: dict[str, np.ndarray], plan: Plan, config: GPT2Config) -> dict[str, np.ndarray]:
    """What edits of the stream itself add to it, by the hook where they do."""
    before = vectors["hook_embed"] + vectors["hook_pos_embed"]
    touched, added = {edit.hook_name for edit in plan}, {}
    for layer in range(config.n_layers):
        for point, part in (("resid_pre", None), ("resid_mid", "attn_out"), ("resid_post", "mlp_out")):
            before = before if part is None else before + vectors[hook_name(part, layer)]
            name = hook_name(point, layer)
            if name in touched:
                added[name] = vectors[name] - before
            before = vectors[name]
    return added


def _beside(part: np.ndarray, stream: np.ndarray) -> tuple[float, float]:
    norms = np.linalg.norm(part), np.linalg.norm(stream)
    return float(norms[0]), float(part @ stream / (norms[0] * norms[1])) if all(norms) else 0.0


def _off(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))


def parameter_counts(config: GPT2Config) -> dict[str, int]:
    """Parameters by what is drawn: tokens, positions, and of one layer its attention, its MLP, its LayerNorms; the last LayerNorm."""
    d, m = config.d_model, config.d_mlp
    return {
        "embed": config.d_vocab * d,
        "pos_embed": config.n_ctx * d,
        "attention": 4 * d * d + 4 * d,
        "mlp": 2 * d * m + m + d,
        "layer_norms": 4 * d,
        "ln_final": 2 * d,
        "unembed": 0 if config.tied else config.d_vocab * d,
    }
