"""Every analysis on the models and prompts at the edges: its checks hold and its numbers are finite.

Untied and folded heads, one layer, one head, half precision, a prompt of a single token, without `<|endoftext|>`, under a plan.
"""

from dataclasses import fields, is_dataclass

import pytest
import torch
from helpers import random_model, some_tokens, tiny_config

from interp import (
    ablation,
    attention,
    attention_norms,
    attribution,
    attribution_patching,
    circuits,
    compensation,
    heads,
    knockout,
    lens,
    metrics,
    patching,
    patchscope,
    path_patching,
    predictions,
    qk,
    rollout,
    saliency,
    tracing,
    trajectory,
    weights,
    weights_composition,
)
from interp.edits import NO_EDITS, Edit, Plan
from interp.folding import fold
from interp.run import Check, trace
from interp.targets import logit

SMALL = {"n_layers": 2, "n_heads": 2, "d_model": 16, "d_vocab": 60, "n_ctx": 32}
MODELS = {
    "tied": lambda: random_model(tiny_config(**SMALL)),
    "untied": lambda: random_model(tiny_config(**SMALL, tied=False)),
    "folded": lambda: fold(random_model(tiny_config(**SMALL))),
    "one head": lambda: random_model(tiny_config(**{**SMALL, "n_heads": 1})),
    "one layer": lambda: random_model(tiny_config(**{**SMALL, "n_layers": 1})),
    "bfloat16": lambda: random_model(tiny_config(**SMALL)).bfloat16(),
}
PLAN = Plan((Edit.scale("mlp_out", 0, value=1.5), Edit.scale("resid_post", 0, value=0.8)))
METRIC = metrics.logit_diff(3, 5)
BEFORE_OR_AFTER = (trajectory.Trajectory, predictions.TokenStatistics)  # NaN where there is no token before, or after
ANSWERS = metrics.answer_metric("logit_difference", [[3]], [[5]])


def of_a_run(model, tokens, plan):
    run = trace(model, tokens, plan, bos=False)
    target, last = logit(model, 3, minus=5), model.config.n_layers - 1
    patterns = attention.patterns(run)
    yield from (predictions.next_tokens(run), predictions.token_statistics(run), lens.logit_lens(model, run, mid=True))
    yield from (lens.logit_lens(model, run, layer_norm="frozen"), trajectory.trajectory(model, run))
    yield from (patterns, rollout.rollout(patterns), rollout.flow(patterns), attention_norms.attention_norms(model, run))
    yield from (each(model, run, target) for each in (attribution.by_layer, attribution.by_head, attribution.by_neuron))
    yield from (attribution.by_source(model, run, target), attribution.accumulated(model, run, target))
    yield from (saliency.gradient_x_input(model, run, target), qk.score_parts(model, run, last, 0, -1, 0, by_head=True))
    yield patchscope.patchscope(model, tokens, -1, last, tokens, -1, 0, max_new_tokens=2, plan=plan, bos=False)


def of_a_pair(model, clean, corrupted, plan):
    pair = torch.tensor([clean]), torch.tensor([corrupted])
    yield from (patching.sweep(model, clean, corrupted, METRIC, name, plan=plan, bos=False) for name in ("resid_pre", "z", "v"))
    yield attribution_patching.preview(model, clean, corrupted, METRIC, "attn_out", plan=plan, bos=False)
    yield path_patching.sweep(
        model, clean, corrupted, METRIC, [path_patching.Receiver(model.config.n_layers - 1, 0)], plan=plan
    )
    taken = ablation.Ablation.resample(pair[1])
    yield knockout.knock_out_search(model, pair[0], METRIC, taken, plan=plan)
    yield compensation.compensation(model, pair[0], ANSWERS, [ablation.Part.head(0, 0)], taken, plan=plan)
    yield tracing.causal_trace(model, clean, (len(clean) - 1, len(clean)), METRIC, "mlp_out", 3, plan=plan)
    *_, step = circuits.discover(model, *pair, METRIC, 0.01, plan=plan)
    yield step.circuit


def numbers(result):
    """Every tensor and check in a result, however deep."""
    if isinstance(result, torch.Tensor | Check):
        yield result
    elif is_dataclass(result):
        for field in fields(result):
            yield from numbers(getattr(result, field.name))
    elif isinstance(result, tuple | list):
        for each in result:
            yield from numbers(each)


@pytest.mark.parametrize(("length", "plan"), [(1, NO_EDITS), (7, PLAN)], ids=["one token", "under a plan"])
@pytest.mark.parametrize("kind", MODELS)
def test_checks_hold_and_numbers_are_finite(kind, length, plan):
    model = MODELS[kind]()
    clean, corrupted = (some_tokens(model.config, 1, length, seed)[0].tolist() for seed in (1, 2))
    results = [*of_a_run(model, clean, plan), *of_a_pair(model, clean, corrupted, plan)]
    seen = 0
    for result in results:
        came = result.provenance
        assert (came.plan, came.bos, came.weights) == (plan.to_json(), False, "folded" if kind == "folded" else "raw")
        assert came.dtype == str(model.cfg.dtype).removeprefix("torch.") and came.device == "cpu"
        for number in numbers(result):
            if isinstance(number, Check):
                seen += 1
                assert number.holds, (type(result).__name__, number)
            elif number.is_floating_point() and not isinstance(result, BEFORE_OR_AFTER):
                assert number.isfinite().all(), type(result).__name__
    assert seen > 20


@pytest.mark.parametrize("kind", MODELS)
def test_weights_at_the_edges(kind):
    model = MODELS[kind]()
    scores = heads.scores(model, length=5)
    found = [
        scores,
        weights.copying(model),
        weights.singular_vectors(model, 0, 0, n=2, k=3),
        weights.token_row(model, 0, 0, 3, k=2),
    ]
    found += [weights_composition.composition(model, mode) for mode in "QKV"]
    for result in [each for each in found if not isinstance(each, weights.Ends)]:
        came = result.provenance
        assert (came.weights, came.plan, came.bos) == ("folded" if kind == "folded" else "raw", "[]", False)
    for number in (number for result in found for number in numbers(result)):
        assert not number.is_floating_point() or number.isfinite().all()
    shape = (model.config.n_layers, model.config.n_heads)
    assert scores.induction.shape == weights.copying(model).scores.shape == shape
