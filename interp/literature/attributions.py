"""Checks of direct logit attribution over the eight sentences: by layer, by head, after a head is taken away, and the sums.

Each prompt is read with its own final LayerNorm scale, held fixed, and the mean over the prompts is taken last. Numbers of
single heads are of folded weights, in which what a head adds whatever it reads is counted to the layer and not to the head.
"""

import torch

from gpt2_core.model import GPT2
from interp import patching
from interp.attribution import HeadAttribution, accumulated, by_head, by_layer, by_neuron
from interp.edits import NO_EDITS, Edit, Plan
from interp.lens import logit_lens
from interp.literature.check import Bound, Cell, Check, Measured, about, at_most, near
from interp.literature.predictions import EIGHT_MEAN
from interp.literature.prompts import SHOPS, difference, eight_pairs, eight_runs, layers_by_heads, listed, named, strongest
from interp.literature.reference import listed as listed_numbers
from interp.literature.reference import source, table
from interp.metrics import logit_diff
from interp.run import trace
from interp.targets import logit

DEMO = "TransformerLens 4, Direct_Logit_Attribution_Demo.ipynb"
SHOPS_HEADS = {"L9H9": 1.9583, "L9H6": 1.6281, "L10H7": -1.4267, "L11H1": -0.9117, "L11H10": -0.9042}
SHOPS_HEADS |= {"L10H0": 0.6370, "L10H10": 0.4524, "L8H10": 0.4264}
SHOPS_NEURONS = {"' Mary': L11N611": 0.3188, "' John': L11N621": -0.4359, "' the': L10N2214": 0.4369}
EXACT = 5e-4  # what an identity may miss in float32, whose raw logits are near -100


def mean_by_head(model: GPT2, plan: Plan = NO_EDITS) -> tuple[torch.Tensor, float]:
    """(direct effects [layer head], logit difference): means over the eight prompts."""
    found = [by_head(model, run, target) for run, target in eight_runs(model, plan)]
    return torch.stack([one.heads for one in found]).mean(0), sum(one.value for one in found) / len(found)


def top_head(model: GPT2) -> tuple[int, int]:
    """The head with the largest mean direct effect on the eight prompts: in GPT-2 small L9H9, a name mover."""
    return strongest(mean_by_head(model)[0])[0]


def _accumulated(model: GPT2) -> Measured:
    found = [accumulated(model, run, target) for run, target in eight_runs(model)]
    means = torch.stack([one.values for one in found]).mean(0)
    return listed(dict(zip(found[0].labels, means.tolist())), "logits")


def _by_layer(model: GPT2) -> Measured:
    found = [by_layer(model, run, target) for run, target in eight_runs(model)]
    means = torch.stack([one.values for one in found]).mean(0)
    return listed(dict(zip(found[0].labels, means.tolist())), "logits")


def _by_head(model: GPT2) -> Measured:
    return layers_by_heads(mean_by_head(model)[0], "logits")


def _shops(model: GPT2) -> HeadAttribution:
    mary, john = (model.to_single_token(name) for name in (" Mary", " John"))
    return by_head(model, trace(model, SHOPS), logit(model, mary, minus=john))


def _shops_heads(model: GPT2) -> Measured:
    return layers_by_heads(_shops(model).heads, "logits", prompt=SHOPS)


def _shops_neurons(model: GPT2) -> Measured:
    run, rows = trace(model, SHOPS), {}
    for text in (" Mary", " John", " the"):
        found = by_neuron(model, run, logit(model, model.to_single_token(text)), k=1)
        layer, neuron = found.neurons[0].tolist()
        rows[f"{text!r}: L{layer}N{neuron}"] = found.contributions[0].item()
    return listed(rows, "logits", prompt=SHOPS)


def _without_top(model: GPT2) -> tuple[tuple[int, int], torch.Tensor, torch.Tensor, float, float]:
    """The top head, the direct effects before and after its z is zeroed at the end, and the logit differences."""
    before, whole = mean_by_head(model)
    layer, head = strongest(before)[0]
    end = len(eight_pairs(model)[0].clean.ids)  # `<|endoftext|>` stands in front
    after, without = mean_by_head(model, Plan((Edit.zero("z", layer, head, positions=(end,)),)))
    return (layer, head), before, after, whole, without


def _backup(model: GPT2) -> Measured:
    top, before, after, whole, without = _without_top(model)
    expected_loss = before[top].item()
    rows = {"whole model": whole, f"without {named([top])}": without, "fell by": whole - without}
    return listed(rows | {f"direct effect of {named([top])}": expected_loss}, "logits")


def _backup_heads(model: GPT2) -> Measured:
    top, _, after, _, _ = _without_top(model)
    return layers_by_heads(after, "logits", without=named([top]))


def _sums(model: GPT2) -> Measured:
    pair = eight_pairs(model)[0]
    run, target = trace(model, list(pair.clean.ids)), difference(model, pair)
    attributed = by_head(model, run, target)
    rows = {
        "heads, MLPs, embeddings and biases sum to the logit difference": attributed.check.residual,
        "heads and b_O sum to what attention writes": _head_sum(model, run),
        "the last row of the lens is the model's logits": logit_lens(model, run).check.residual,
    }
    metric = logit_diff(pair.correct[0], pair.wrong[0])
    bos = [model.tokenizer.bos_id]
    prepared = patching.prepare(model, bos + list(pair.clean.ids), bos + list(pair.corrupted.ids), metric, "resid_pre")
    return listed(rows | {check.name: check.residual for check in prepared.checks()}, "logits", prompt=pair.clean.text)


def _head_sum(model: GPT2, run) -> float:
    """The largest difference between attn_out and its heads' outputs and bias, over layers, relative to its size."""
    misses = []
    for layer, block in enumerate(model.h):
        z, out = run.activations["z", layer].double(), run.activations["attn_out", layer].double()
        summed = torch.einsum("phe,hed->pd", z, block.attn.W_O.double()) + block.attn.b_O.double()
        misses.append(((summed - out).abs().max() / out.abs().max().clamp(min=1)).item())
    return max(misses)


def _layer_labels(n_layers: int) -> list[str]:
    return ["embed", "pos_embed", *[f"{layer}_{part}" for layer in range(n_layers) for part in ("attn_out", "mlp_out")]]


def _points(n_layers: int) -> list[str]:
    return [*[f"{layer}_{at}" for layer in range(n_layers) for at in ("pre", "mid")], "final_post"]


def _shops_expected() -> dict[Cell, Bound]:
    cells = {tuple(label.replace("H", " H").split()): value for label, value in SHOPS_HEADS.items()}
    return {cell: about(value, 2e-3) for cell, value in cells.items()}


SUMS = (
    "heads, MLPs, embeddings and biases sum to the logit difference",
    "heads and b_O sum to what attention writes",
    "the last row of the lens is the model's logits",
    "patching a run with itself changes nothing",
    "patching every position gives the other run",
)

CHECKS = (
    Check(
        "sums",
        "What must be equal: sums of parts, the last row of the lens, patching nothing and everything",
        _sums,
        "identities (Elhage et al. 2021)",
        {(name, ""): at_most(EXACT) for name in SUMS},
        lambda c: 60,
        everywhere=True,
    ),
    Check(
        "accumulated",
        "The logit difference if the network ended at each point, its last LayerNorm held fixed",
        _accumulated,
        source("accumulated"),
        listed_numbers("accumulated", _points(12), 0.005),
        lambda c: 130,
    ),
    Check(
        "dla_layers",
        "What each layer adds to the logit difference directly",
        _by_layer,
        source("dla_layers"),
        listed_numbers("dla_layers", _layer_labels(12), 0.005),
        lambda c: 130,
    ),
    Check(
        "dla_heads",
        "What each head adds to the logit difference directly",
        _by_head,
        source("dla_heads"),
        table("dla_heads", 0.005),
        lambda c: 130,
        mode="folded",
    ),
    Check(
        "dla_prompt",
        "What each head adds on one single prompt",
        _shops_heads,
        DEMO,
        _shops_expected(),
        lambda c: 20,
        mode="folded",
    ),
    Check(
        "dla_neurons",
        "The neuron that adds most, up or down, to a word's logit",
        _shops_neurons,
        DEMO,
        near(SHOPS_NEURONS, 2e-3),
        lambda c: 40,
        mode="folded",
    ),
    Check(
        "backup",
        "Without the strongest head the logit difference falls by much less than that head's own share",
        _backup,
        source("backup_heads"),
        near({"whole model": EIGHT_MEAN, "direct effect of L9H9": 2.98545}, 0.005) | near({"without L9H9": 2.92}, 0.01),
        lambda c: 260,
        mode="folded",
    ),
    Check(
        "backup_heads",
        "What each head adds directly once the strongest is gone: backup heads take over",
        _backup_heads,
        source("backup_heads"),
        table("backup_heads", 0.01),
        lambda c: 260,
        mode="folded",
    ),
)
