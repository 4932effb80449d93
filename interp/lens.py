"""The logit lens: what the model would predict if it stopped after each layer.

The residual stream after any layer has the shape that the output head reads, so it can be read out early:
logits_l = unembed(ln_f(resid_l)). The final LayerNorm is recomputed for each layer; dividing early layers by the last
layer's scale, which are hundreds of times smaller, would make every early row look uniform. Early rows are a projection,
not a belief: a layer may keep its knowledge in directions that the head does not read.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.model import GPT2
from interp.run import Check, Run


@dataclass(frozen=True)
class LogitLens:
    """What each layer predicts at each position.

    labels: "embed", then "L0", "L1", ... (with `mid`, "L0 mid" after the attention of each layer); the last row is the model's own.
    top_ids, top_probabilities: [row pos k]; entropy: [row pos], bits; target_rank, target_probability: [row pos], of the token
    tracked: the given target, else the final prediction at each position. kl_to_final: [row pos], bits, KL(final || row).
    """

    labels: tuple[str, ...]
    top_ids: Int[Tensor, "row pos k"]
    top_probabilities: Float[Tensor, "row pos k"]
    entropy: Float[Tensor, "row pos"]
    target_probability: Float[Tensor, "row pos"]
    target_rank: Int[Tensor, "row pos"]
    kl_to_final: Float[Tensor, "row pos"]
    check: Check


def lens_names(n_layers: int, mid: bool = False) -> list[str]:
    """The hooks that `logit_lens` reads."""
    names = ["blocks.0.hook_resid_pre"]
    for layer in range(n_layers):
        names += [f"blocks.{layer}.hook_resid_mid"] * mid + [f"blocks.{layer}.hook_resid_post"]
    return names


@torch.no_grad()
def logit_lens(model: GPT2, run: Run, k: int = 5, target: int | None = None, mid: bool = False) -> LogitLens:
    """Reads every layer of a run through the final LayerNorm and the output head.

    target: a token id to track through the layers; None tracks, at each position, what the model finally predicts there.
    """
    n_layers = model.config.n_layers
    names = lens_names(n_layers, mid)
    final = run.logits.float().log_softmax(-1)
    tracked = final.argmax(-1) if target is None else torch.full((len(run),), target, device=final.device)
    final_p = final.exp()
    final_entropy = -_dot(final_p, final)
    rows = []
    for name in names:
        logits = model.unembed(run.activations[name][None])[0].float()
        logprobs = logits.log_softmax(-1)
        kl = -final_entropy - _dot(final_p, logprobs)
        rows.append((*_row(logprobs, tracked, k), kl / math.log(2)))
    residual = (logits - run.logits.float()).abs().max().item()
    columns = [torch.stack(column) for column in zip(*rows)]
    tolerance = 1e-4 if model.cfg.dtype == torch.float32 else 0.5
    return LogitLens(_labels(n_layers, mid), *columns, Check("last row equals the logits", residual, tolerance))


def _row(logprobs: Tensor, tracked: Tensor, k: int) -> tuple[Tensor, ...]:
    top = logprobs.topk(k, dim=-1)
    own = logprobs.gather(-1, tracked[:, None])
    entropy = -_dot(logprobs.exp(), logprobs) / math.log(2)
    return top.indices, top.values.exp(), entropy, own[:, 0].exp(), (logprobs > own).sum(-1)


def _dot(a: Float[Tensor, "pos d_vocab"], b: Float[Tensor, "pos d_vocab"]) -> Float[Tensor, " pos"]:
    """The sum over the vocabulary of a * b, without a table of the products."""
    return torch.linalg.vecdot(a, b)


def _labels(n_layers: int, mid: bool) -> tuple[str, ...]:
    labels = ["embed"]
    for layer in range(n_layers):
        labels += [f"L{layer} mid"] * mid + [f"L{layer}"]
    return tuple(labels)
