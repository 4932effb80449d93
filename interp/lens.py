"""The logit lens: what the model would predict if it stopped after each layer.

The residual stream after any layer has the shape that the output head reads, so it can be read out early:
logits_l = unembed(ln_f(resid_l)). Early rows are a projection, not a belief: a layer may keep its knowledge in directions that
the head does not read (`tuned_lens` learns to turn them).

The final LayerNorm can be taken in two ways, which agree on the last row and nowhere else:

    "recomputed"   each layer is divided by its own scale: what the model would say if it stopped there (the default)
    "frozen"       each layer is divided by the last layer's scale: rows are then sums of what was added so far, as in direct
                   logit attribution, but early layers, tens or hundreds of times smaller, look almost uniform

Sources: nostalgebraist 2020, "interpreting GPT: the logit lens"; Elhage et al. 2021 (the frozen form).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.distribution import entropy, kl
from gpt2_core.model import GPT2
from interp.given import token_ids
from interp.run import Check, Provenance, Run

CHUNK = 128  # positions at a time: a few tables of [128 d_vocab] floats
LAYER_NORMS = ("recomputed", "frozen")
Translate = Callable[[str, Tensor], Tensor]  # (hook name, residual stream [pos d_model]) -> what to read instead


@dataclass(frozen=True)
class LogitLens:
    """What each layer predicts at each position.

    labels: "embed", then "L0", "L1", ... (with `mid`, "L0 mid" after the attention of each layer); the last row is the model's own.
    top_ids, top_probabilities: [row pos k]; entropy: [row pos], bits; target_rank, target_probability: [row pos], of the token
    tracked: the given target, else the final prediction at each position. kl_to_final: [row pos], bits, KL(final || row).
    layer_norm: "recomputed" or "frozen".
    """

    labels: tuple[str, ...]
    top_ids: Int[Tensor, "row pos k"]
    top_probabilities: Float[Tensor, "row pos k"]
    entropy: Float[Tensor, "row pos"]
    target_probability: Float[Tensor, "row pos"]
    target_rank: Int[Tensor, "row pos"]
    kl_to_final: Float[Tensor, "row pos"]
    check: Check
    layer_norm: str
    provenance: Provenance


def lens_names(n_layers: int, mid: bool = False) -> list[str]:
    """The hooks that `logit_lens` reads."""
    names = ["blocks.0.hook_resid_pre"]
    for layer in range(n_layers):
        names += [f"blocks.{layer}.hook_resid_mid"] * mid + [f"blocks.{layer}.hook_resid_post"]
    return names


@torch.no_grad()
def read_rows(
    model: GPT2,
    run: Run,
    mid: bool = False,
    layer_norm: str = "recomputed",
    translate: Translate | None = None,
    at: slice = slice(None),
) -> Iterator[Float[Tensor, "pos d_vocab"]]:
    """The logits (float32) of every row of a lens, one row at a time: a table of all rows is never made.

    translate: turns the residual stream of a named hook into what is read, as a tuned lens does. at: positions, all by default.
    Raises ValueError for a layer_norm that is neither "recomputed" nor "frozen".
    """
    if layer_norm not in LAYER_NORMS:
        raise ValueError(f"layer_norm must be one of {', '.join(LAYER_NORMS)}, got {layer_norm!r}.")
    if translate is not None and layer_norm == "frozen":
        raise ValueError("A translated lens is read with LayerNorm recomputed, as it was trained; leave layer_norm as it is.")
    names = lens_names(model.config.n_layers, mid)
    scale = _scale(model, run.activations[names[-1]][at])
    for name in names:
        resid = run.activations[name][at]
        if layer_norm == "frozen":
            yield _frozen(model, resid, scale).float()
        else:
            yield model.unembed((resid if translate is None else translate(name, resid))[None])[0].float()


@torch.no_grad()
def logit_lens(
    model: GPT2,
    run: Run,
    k: int = 5,
    target: int | None = None,
    mid: bool = False,
    layer_norm: str = "recomputed",
    translate: Translate | None = None,
) -> LogitLens:
    """Reads every layer of a run through the final LayerNorm and the output head.

    target: a token id to track through the layers; None tracks, at each position, what the model finally predicts there.
    layer_norm: "recomputed" for each layer or "frozen" at the last layer's scale. translate: a tuned lens.
    """
    if target is not None:
        (target,) = token_ids(target, run.logits.shape[-1])
    parts, worst = [], 0.0
    for at in chunks(run):
        own = run.logits[at].float()
        final = own.log_softmax(-1)
        tracked = final.argmax(-1) if target is None else torch.full((len(own),), target, device=own.device)
        rows = []
        for logits in read_rows(model, run, mid, layer_norm, translate, at):
            logprobs = logits.log_softmax(-1)
            rows.append((*_row(logprobs, tracked, k), kl(final, logprobs) / math.log(2)))
        worst = max(worst, (logits - own).abs().max().item())
        parts.append([torch.stack(column) for column in zip(*rows)])
    columns = [torch.cat(pieces, 1) for pieces in zip(*parts)]
    return LogitLens(labels(model.config.n_layers, mid), *columns, final_check(model, worst), layer_norm, run.provenance)


def chunks(run: Run) -> list[slice]:
    """The positions of a run, some at a time."""
    return [slice(start, start + CHUNK) for start in range(0, len(run), CHUNK)]


def final_check(model: GPT2, residual: float) -> Check:
    """The check that a lens ends in the model's own logits."""
    half = model.cfg.dtype in (torch.float16, torch.bfloat16)
    return Check("last row equals the logits", residual, 0.5 if half else 1e-4)


def _scale(model: GPT2, resid: Float[Tensor, "pos d_model"]) -> Float[Tensor, "pos 1"]:
    """What the final LayerNorm divides this residual stream by."""
    return (resid.var(-1, keepdim=True, correction=0) + model.config.eps).sqrt()


def _frozen(model: GPT2, resid: Tensor, scale: Tensor) -> Float[Tensor, "pos d_vocab"]:
    centred = (resid - resid.mean(-1, keepdim=True)) / scale
    return (centred * model.ln_f.weight + model.ln_f.bias) @ model.W_U + model.b_U


def _row(logprobs: Tensor, tracked: Tensor, k: int) -> tuple[Tensor, ...]:
    top = logprobs.topk(min(k, logprobs.shape[-1]), dim=-1)
    own = logprobs.gather(-1, tracked[:, None])
    return top.indices, top.values.exp(), entropy(logprobs) / math.log(2), own[:, 0].exp(), (logprobs > own).sum(-1)


def labels(n_layers: int, mid: bool = False) -> tuple[str, ...]:
    """The name of each row: "embed", "L0", ..., with `mid` "L0 mid" before "L0"."""
    names = ["embed"]
    for layer in range(n_layers):
        names += [f"L{layer} mid"] * mid + [f"L{layer}"]
    return tuple(names)
