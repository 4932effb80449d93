"""Path patching: what one head tells another, all other routes held still.

Activation patching of a head changes everything after it. To ask for one path, sender -> receiver, three ways are offered, and a
result says which one it is (`METHODS`):

"exact"    Algorithm 1 of Wang et al. 2022. (1) run the original prompt, keep every head's output; (2) run the new prompt, likewise;
           (3) run the original again with every head held at its original output, except the senders, which give their new
           one; MLPs and LayerNorms are recomputed, so a path may pass through them; note what reaches the receivers' queries,
           keys or values; (4) run the original with these put in, and everything after the receivers recomputed.
"direct"   the sender's change is added to the receiver's input alone: no path through MLPs; LayerNorm is recomputed there.
"linear"   the same with the receiver's LayerNorm held at its original scale: a product of matrices, so effects of several
           senders add up before the receiver.

The receiver may be the final residual stream: then step (3) alone gives the logits, and "linear" is direct logit attribution of the
difference. Pitfall: the three differ most in early layers, whose heads are read by MLPs; a path that "direct" does not see
may be the strongest one. With `receivers` at several heads, all are patched at once.

Sources: Wang et al. 2022, 2211.00593, appendix B; Goldowsky-Dill et al. 2023, 2304.05969; TransformerLens 4.3
`get_act_patch_direct_path` is "direct", its older linearised version "linear".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from gpt2_core.model import GPT2
from gpt2_core.streaming import end_id
from interp.edits import NO_EDITS, Plan
from interp.fused import fused
from interp.given import each_a
from interp.intervene import compile_plan
from interp.metrics import MetricFunction, evaluate, metric_name
from interp.patching import Prompt, token_pair
from interp.run import Check, Provenance, check_place, judged, provenance
from interp.sweep import Entry, Layout, Rerun, record

METHODS = {
    "exact": "path patching, exact (Wang et al. 2022, Algorithm 1): MLPs and LayerNorm recomputed",
    "direct": "direct path: MLPs held, LayerNorm recomputed",
    "linear": "direct path, linearised: MLPs and LayerNorm held",
}
Head = tuple[int, int]  # layer, head


@dataclass(frozen=True)
class Receiver:
    """The queries, keys or values of one head, as the end of a path."""

    layer: int
    head: int
    input: Literal["q", "k", "v"] = "q"


@dataclass(frozen=True)
class PathPatching:
    """The metric with each sender's path patched: values Float [layer head]; of one set of senders together, Float [].

    method: a key of METHODS, label: its sentence. base: the metric of the original run, new: of the new one. receivers: empty for the
    final residual stream. A sender that comes after every receiver leaves the base. check: no sender at all changes nothing.
    """

    values: Float[Tensor, "..."]
    method: str
    label: str
    receivers: tuple[Receiver, ...]
    positions: tuple[int, ...] | None
    metric: str
    base: float
    new: float
    original_tokens: tuple[int, ...]
    new_tokens: tuple[int, ...]
    check: Check
    provenance: Provenance

    @property
    def effect(self) -> Float[Tensor, "..."]:
        """What each path changed, in the metric's unit."""
        return self.values - self.base


@torch.no_grad()
def sweep(
    model: GPT2,
    original_tokens: Prompt,
    new_tokens: Prompt,
    metric: MetricFunction,
    receivers: Sequence[Receiver] = (),
    *,
    senders: Sequence[Head] | None = None,
    method: Literal["exact", "direct", "linear"] = "exact",
    positions: Sequence[int] | None = None,
    plan: Plan = NO_EDITS,
    bos: bool = True,
) -> PathPatching:
    """Patches the paths from every head alone, or from the `senders` together, to the receivers (none: the final residual stream).

    original_tokens: the prompt that is run; new_tokens: the one that senders take their new output from. positions: where the
    receivers' inputs are replaced (None: everywhere; the final residual stream is only read at the end). plan: edits in force.
    Raises ValueError for heads that do not exist, and for "direct" and "linear" under edits of the residual stream.
    """
    paths = _Paths(
        model,
        token_pair(model, original_tokens, new_tokens, bos),
        metric,
        each_a(Receiver, receivers, "receivers"),
        method,
        positions,
        plan,
    )
    if senders is not None:
        values = paths.values([each_a(tuple, senders, "heads (layer, head)")])[0]
    else:
        heads = range(model.config.n_heads)
        values = torch.stack([paths.values([((layer, h),) for h in heads]) for layer in range(model.config.n_layers)])
    nothing = (paths.values([()], start=0)[0] - paths.metrics[0]).abs().item()
    check = judged("no sender changes nothing", nothing, model.cfg.dtype, max(map(abs, paths.metrics)))
    return PathPatching(
        values=values,
        method=method,
        label=METHODS[method],
        receivers=paths.receivers,
        positions=None if positions is None else tuple(positions),
        metric=metric_name(metric),
        base=paths.metrics[0],
        new=paths.metrics[1],
        original_tokens=paths.original.tokens,
        new_tokens=paths.new.tokens,
        check=check,
        provenance=provenance(model, plan, paths.bos),
    )


class _Paths:
    """Passes 1 and 2, done; `values` runs 3 and 4 for several sets of senders at once."""

    def __init__(
        self,
        model: GPT2,
        tokens: tuple[list[int], list[int]],
        metric: MetricFunction,
        receivers: tuple[Receiver, ...],
        method: str,
        positions: Sequence[int] | None,
        plan: Plan,
    ):
        _check(model, method, receivers, positions, len(tokens[0]), plan)
        self.model, self.metric, self.method, self.receivers = fused(model), metric, method, receivers
        self.weights = [block.attn.c_attn.weight for block in model.h]
        self.bos = tokens[0][0] == end_id(model)
        hook = compile_plan(model, plan, self.bos)
        self.original, self.new = record(self.model, tokens, ("resid_pre", "q", "k", "v", "z", "attn_out"), hook)
        self.metrics = [evaluate(metric, run.logits[None]).item() for run in (self.original, self.new)]
        self.rerun = Rerun(self.model, self.original, hook)
        self.first = next(i for i, (a, b) in enumerate(zip(*tokens)) if a != b)
        length, device = len(tokens[0]), self.rerun.device
        self.replaced = torch.zeros(length, dtype=torch.bool, device=device)
        self.replaced[slice(None) if positions is None else list(positions)] = True
        self.end = 1 + max((r.layer for r in receivers), default=model.config.n_layers)  # no pass 3 beyond the last receiver

    def values(self, rows: Sequence[tuple[Head, ...]], start: int | None = None) -> Float[Tensor, " row"]:
        """The metric for each row's set of senders; start: the layer that pass 3 begins at (None: that of the first sender)."""
        for layer, head in (sender for row in rows for sender in row):
            check_place(self.model.config, layer, head)
        start = min((layer for row in rows for layer, _ in row), default=0) if start is None else start
        at = Layout.tails([self.first] * len(rows), self.rerun.length, self.rerun.device)
        through = self._recomputed if self.method == "exact" else self._added
        received, final = through(rows, at, start)
        if self.receivers:
            final = self._fourth(received, at, len(rows))
        if final is None:
            return torch.full((len(rows),), self.metrics[0])
        if self.method == "linear" and not self.receivers:
            return evaluate(self.metric, self._frozen_logits(final)).cpu()
        return evaluate(self.metric, self.rerun.logits(final)).cpu()

    def _attn_out(self, layer: int, rows: Sequence[tuple[Head, ...]], at: Layout) -> tuple[Tensor, Tensor]:
        """(z, attn_out) of a layer with each row's senders at their new output; [token ...]."""
        z = rearrange(self.original["z", layer][at.pos], "(r t) h e -> r t h e", r=len(rows)).clone()
        for r, row in enumerate(rows):
            for head in (h for where, h in row if where == layer):
                z[r, :, head] = self.new["z", layer][self.first :, head]
        z = z.flatten(0, 1)
        tap = self.rerun.tap(layer, at.pos)
        return z, tap("attn_out", self.rerun.blocks[layer].attn.c_proj(z.flatten(1))[None])[0]

    def _recomputed(self, rows: Sequence[tuple[Head, ...]], at: Layout, start: int) -> tuple[dict, Tensor]:
        """Pass 3 of the algorithm: queries, keys and values at the receivers' layers, and the last residual stream at the end."""
        rerun, received = self.rerun, {}
        x = self.original["resid_pre", start][at.pos]
        for layer in range(start, min(self.end, rerun.n_layers)):
            if layer > start:
                x = rerun.tap(layer, at.pos)("resid_pre", x[None])[0]
            self._receive(layer, x, at, received)
            _, attn_out = self._attn_out(layer, rows, at)
            x = rerun.after_attn_out(layer, x, attn_out, at)
        return received, x.view(len(rows), -1, x.shape[-1])[:, -1]

    def _added(self, rows: Sequence[tuple[Head, ...]], at: Layout, start: int) -> tuple[dict, Tensor]:
        """The same where nothing stands between senders and receivers: their change is added to what receivers read."""
        received, change = {}, torch.zeros_like(self.original["resid_pre", 0][at.pos])
        for layer in range(start, min(self.end, self.rerun.n_layers)):
            if self.method == "direct":
                self._receive(layer, self.original["resid_pre", layer][at.pos] + change, at, received)
            else:
                self._receive_linear(layer, change, at, received)
            change = change + self._attn_out(layer, rows, at)[1] - self.original["attn_out", layer][at.pos]
        last = change.view(len(rows), -1, change.shape[-1])[:, -1]
        return received, last if self.method == "linear" else self.original.final + last

    def _receive(self, layer: int, x: Tensor, at: Layout, received: dict) -> None:
        """Notes queries, keys and values [token head d_head] where a receiver is."""
        if any(r.layer == layer for r in self.receivers):
            block = self.rerun.blocks[layer]
            parts = block.attn.qkv(x[None], block.ln_1, self.rerun.tap(layer, at.pos))
            received[layer] = {name: part[0] for name, part in zip("qkv", parts)}

    def _receive_linear(self, layer: int, change: Tensor, at: Layout, received: dict) -> None:
        if any(r.layer == layer for r in self.receivers):
            block = self.model.h[layer]
            moved = _frozen_norm(change, self.original["resid_pre", layer][at.pos], block.ln_1)
            moved = moved @ self.weights[layer]
            parts = rearrange(moved, "t (three h e) -> three t h e", three=3, h=self.model.config.n_heads)
            received[layer] = {name: self.original[name, layer][at.pos] + part for name, part in zip("qkv", parts)}

    def _frozen_logits(self, change: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_vocab"]:
        moved = _frozen_norm(change, self.original.final.expand_as(change), self.model.ln_f)
        return self.original.logits + moved @ self.model.W_U

    def _fourth(self, received: dict, at: Layout, n_rows: int) -> Tensor | None:
        """Pass 4: the original with the receivers' inputs put in. None where nothing was sent."""
        if not received:
            return None
        chosen = self.replaced[at.pos]

        def override(layer: int, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            parts = {"q": q, "k": k, "v": v}
            for receiver in self.receivers:
                if receiver.layer == layer:
                    new = parts[receiver.input].clone()
                    new[chosen, receiver.head] = received[layer][receiver.input][chosen, receiver.head]
                    parts[receiver.input] = new
            return parts["q"], parts["k"], parts["v"]

        start = min(received)
        entry = Entry(self.original["resid_pre", start][at.pos], at, start, settled=True)
        return self.rerun.finish([entry], override)


def _frozen_norm(change: Tensor, original: Tensor, ln: torch.nn.LayerNorm) -> Tensor:
    """What a change of LayerNorm's input does to its output when the scale stays the original's."""
    scale = (original.var(-1, keepdim=True, unbiased=False) + ln.eps).sqrt()
    return (change - change.mean(-1, keepdim=True)) / scale * ln.weight


def _check(
    model: GPT2, method: str, receivers: Sequence[Receiver], positions: Sequence[int] | None, length: int, plan: Plan
) -> None:
    config = model.config
    if method not in METHODS:
        raise ValueError(f"No method of path patching is called {method!r}; expected one of {', '.join(METHODS)}.")
    for r in receivers:
        check_place(config, r.layer, r.head)
        if r.input not in ("q", "k", "v"):
            raise ValueError(f"A head reads by 'q', 'k' or 'v', got {r.input!r}.")
    if positions is not None and not (positions and all(-length <= p < length for p in positions)):
        raise ValueError(f"positions must be some of 0..{length - 1}, or count from the end, got {list(positions)}.")
    if method != "exact" and any(edit.component.startswith("resid") for edit in plan):
        raise ValueError(f"Under edits of the residual stream there is no {METHODS[method]}; use method 'exact'.")
