"""Checks of activation patching: which pieces of a clean run, put into the corrupted one, bring the answer back.

The eight sentences are patched one by one and averaged before the score is normalised, as the notebook does:
(mean patched - mean corrupted) / (mean clean - mean corrupted). Patching does not depend on how weights are folded.
"""

from collections.abc import Callable

import torch

from gpt2_core.config import GPT2Config
from gpt2_core.model import GPT2
from interp import patching, path_patching
from interp.literature.attributions import top_head
from interp.literature.check import Check, Measured, about, at_most
from interp.literature.predictions import MAIN
from interp.literature.prompts import (
    DRINK,
    DRINK_BY_MARY,
    MILK,
    MILK_BY_MARY,
    eight_pairs,
    layers_by_heads,
    layers_by_positions,
    named,
)
from interp.literature.reference import source, table
from interp.metrics import Metric, logit_diff

TOO_CLOSE = 1e-3
S_INHIBITION = ((7, 3), (7, 9), (8, 6), (8, 10))
DIRECT = 0.083  # L8H6 -> query of L9H9, the strongest of the notebook's paths


def eight_sweeps(component: str) -> Callable[[GPT2], Measured]:
    """A check's measure: the mean over the eight pairs of a sweep of this component, normalised."""

    def measure(model: GPT2) -> Measured:
        bos = [model.tokenizer.bos_id]
        sweeps = [
            patching.sweep(
                model,
                bos + list(pair.clean.ids),
                bos + list(pair.corrupted.ids),
                logit_diff(pair.correct[0], pair.wrong[0]),
                component,
            )
            for pair in eight_pairs(model)
        ]
        values = torch.stack([sweep.values.double() for sweep in sweeps]).mean(0)
        clean, corrupted = (sum(getattr(s, run) for s in sweeps) / len(sweeps) for run in ("clean", "corrupted"))
        draw = layers_by_heads if component in patching.OF_HEADS else layers_by_positions
        return draw(_normalised(values, clean, corrupted), clean=f"{clean:.3f}", corrupted=f"{corrupted:.3f}")

    return measure


def _normalised(values: torch.Tensor, clean: float, corrupted: float) -> torch.Tensor:
    if abs(clean - corrupted) < TOO_CLOSE:
        raise ValueError(
            f"This model's logit difference is {clean:.4f} on the clean prompts and {corrupted:.4f} on the corrupted ones; "
            "there is nothing to bring back, so choose a larger model."
        )
    return (values - corrupted) / (clean - corrupted)


def _john_or_mary(model: GPT2, right: str = " John", other: str = " Mary") -> Metric:
    return logit_diff(model.to_single_token(right), model.to_single_token(other))


def _one_pair(model: GPT2) -> Measured:
    sweep = patching.sweep(model, MILK_BY_MARY, MILK, _john_or_mary(model), "resid_pre")
    return layers_by_positions(_normalised(sweep.values, sweep.clean, sweep.corrupted), prompt=MILK_BY_MARY, other=MILK)


def _direct_path(model: GPT2) -> Measured:
    layer, head = top_head(model)
    metric, receiver = _john_or_mary(model, " Mary", " John"), path_patching.Receiver(layer, head, "q")
    found = path_patching.sweep(model, DRINK_BY_MARY, DRINK, metric, [receiver], method="linear")
    values = _normalised(found.values, found.new, found.base)
    return layers_by_heads(values, prompt=DRINK, other=DRINK_BY_MARY, receiver=named([(layer, head)]))


def _positions(config: GPT2Config) -> int:
    return 8 * 15 * config.n_layers * 2


def _heads(config: GPT2Config) -> int:
    return 8 * config.n_heads * config.n_layers * 3


def _map(id: str, component: str, title: str) -> Check:
    heads = component in patching.OF_HEADS
    cost, columns = (_heads, "H") if heads else (_positions, "")
    return Check(id, title, eight_sweeps(component), source(id), table(id, 0.01, columns), cost)


CHECKS = (
    Check(
        "patch_one_pair",
        "One pair of prompts: the residual stream, layer by position",
        _one_pair,
        f"{MAIN}, cell 37",
        table("patch_one_pair", 0.01, ""),
        lambda c: 17 * c.n_layers * 2,
    ),
    Check(
        "direct_path",
        "The path of single heads to the query of the strongest head, all else held still",
        _direct_path,
        "TransformerLens, direct_path_patching_ioi.ipynb",
        {("L8", "H6"): about(DIRECT, 0.005)}
        | {(f"L{layer}", f"H{head}"): at_most(DIRECT + 0.005) for layer, head in S_INHIBITION if (layer, head) != (8, 6)},
        lambda c: c.n_heads * c.n_layers * 6,
    ),
    _map("patch_resid_pre", "resid_pre", "The residual stream, layer by position, over the eight sentences"),
    _map("patch_attn_out", "attn_out", "What attention writes, layer by position"),
    _map("patch_mlp_out", "mlp_out", "What the MLP writes, layer by position"),
    _map("patch_z", "z", "Each head's output, at all positions"),
    _map("patch_v", "v", "Each head's values, at all positions"),
    _map("patch_pattern", "pattern", "Each head's attention pattern"),
)
