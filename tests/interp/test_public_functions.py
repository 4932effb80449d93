"""One table of the library's functions, and what all of them must do alike: refuse what does not fit in a sentence, never give
NaN as an answer, not care whether the model is in training mode, and see for themselves whether a prompt begins with `<|endoftext|>`.
"""

from dataclasses import fields, is_dataclass

import pytest
import torch
from helpers import random_model, some_tokens, tiny_config

from gpt2_core.streaming import end_id
from gpt2_core.tokenizer import Tokenizer
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
    knockout_greedy,
    metrics,
    neurons,
    patching,
    patchscope,
    path_patching,
    predictions,
    qk,
    roles,
    rollout,
    saliency,
    steering,
    steering_effect,
    tracing,
    weights,
    weights_composition,
    weights_pairs,
)
from interp.edits import Edit, Plan
from interp.run import trace
from interp.targets import logit

CONFIG = tiny_config(n_layers=2, n_heads=2, d_model=16, n_ctx=16)
MODEL = random_model(CONFIG, tokenizer=Tokenizer.load())
END = end_id(MODEL)
IDS, OTHER = ([END, *some_tokens(CONFIG, 1, 4, seed)[0].tolist()] for seed in (1, 2))
METRIC = metrics.logit_diff(3, 5)
ANSWERS = metrics.answer_metric("logit_difference", [[3]], [[5]])
PUSH = Edit.add("resid_pre", 1, text="hot", minus="cold", value=2.0)


def rows(*prompts):
    return [torch.tensor([ids], dtype=torch.long) for ids in prompts]


def noise(model):
    return tracing.draw_noise(model, 1, samples=2)


# What begins with token ids: f(model, ids, others of equal length, and plan and bos where it takes them).
OF_SEEN = {  # these see for themselves how the ids begin
    "ablate": lambda m, a, b, **o: ablation.ablate(m, *rows(a), [ablation.Part.head(0, 1)], **o),
    "knock_out_search": lambda m, a, b, **o: knockout.knock_out_search(m, *rows(a), METRIC, **o),
    "greedy_knock_out": lambda m, a, b, **o: list(knockout_greedy.greedy_knock_out(m, *rows(a), METRIC, steps=1, **o)),
    "compensation": lambda m, a, b, **o: compensation.compensation(m, *rows(a), ANSWERS, [ablation.Part.head(0, 1)], **o),
    "causal_trace": lambda m, a, b, **o: tracing.causal_trace(m, a, (0, 1), METRIC, noise=noise(MODEL), **o),
    "discover nodes": lambda m, a, b, **o: list(circuits.discover(m, *rows(a, b), METRIC, 0.01, **o))[-1].circuit,
    "circuit_logits": lambda m, a, b, **o: circuits.circuit_logits(m, *rows(a, b), [circuits.EMBED], **o),
}
OF_PAIRS = {  # these too, where they are given ids; their bos is for texts
    "patching.sweep": lambda m, a, b, **o: patching.sweep(m, a, b, METRIC, **o),
    "patching.sweep of heads": lambda m, a, b, **o: patching.sweep(m, a, b, metrics.probability(3), "z", **o),
    "path_patching.sweep": lambda m, a, b, **o: path_patching.sweep(m, a, b, METRIC, [path_patching.Receiver(1, 0)], **o),
    "preview": lambda m, a, b, **o: attribution_patching.preview(m, a, b, METRIC, **o),
}
OF_PROMPTS = {  # these put `<|endoftext|>` in front where bos says so
    "trace": lambda m, a, b, **o: trace(m, a, **o).logits,
    "hidden_state": lambda m, a, b, **o: patchscope.hidden_state(m, a, -1, 1, **o),
    "patchscope": lambda m, a, b, **o: patchscope.patchscope(m, a, -1, 1, b, -1, 0, max_new_tokens=1, **o),
    "before_after": lambda m, a, b, **o: steering.before_after(m, a, [steering.ClampNeuron(0, 1, 2)], max_new_tokens=1, **o),
    "aim": lambda m, a, b, **o: steering_effect.aim(m, a, PUSH, **o),
    "applied": lambda m, a, b, **o: steering_effect.applied(m, a, PUSH, **o),
    "sweep_values": lambda m, a, b, **o: steering_effect.sweep_values(m, a, PUSH, [0, 1], [3], **o),
    "top_activations": lambda m, a, b, **o: neurons.top_activations(m, a, 0, 2, window=16, **o),
}
OF_EDGES = {
    "discover edges": lambda m, a, b, **o: list(circuits.discover(m, *rows(a, b), METRIC, 0.01, "edge", **o))[-1].circuit
}
OF_IDS = {**OF_SEEN, **OF_EDGES, **OF_PAIRS, **OF_PROMPTS}
# What reads a run: f(model, run, position)
OF_A_RUN = {
    "next_tokens": lambda m, run, at: predictions.next_tokens(run, at),
    "probabilities": lambda m, run, at: predictions.probabilities(run, at),
    "probability_of": lambda m, run, at: predictions.probability_of(run, [3], at),
    "flow": lambda m, run, at: rollout.flow(attention.patterns(run), at),
    "head_vectors": lambda m, run, at: attention_norms.head_vectors(m, run, 0, 0, at),
    "by_layer": lambda m, run, at: attribution.by_layer(m, run, logit(m, 3), at),
    "by_head": lambda m, run, at: attribution.by_head(m, run, logit(m, 3), at),
    "by_neuron": lambda m, run, at: attribution.by_neuron(m, run, logit(m, 3), at),
    "by_source": lambda m, run, at: attribution.by_source(m, run, logit(m, 3), at),
    "accumulated": lambda m, run, at: attribution.accumulated(m, run, logit(m, 3), at),
    "gradient_x_input": lambda m, run, at: saliency.gradient_x_input(m, run, logit(m, 3), at),
    "integrated_gradients": lambda m, run, at: saliency.integrated_gradients(m, run, logit(m, 3), at, steps=2),
    "score_parts, query": lambda m, run, at: qk.score_parts(m, run, 1, 0, at, 0),
    "score_parts, key": lambda m, run, at: qk.score_parts(m, run, 1, 0, -1, at),
    "residual_parts": lambda m, run, at: qk.residual_parts(m, run, 1, at),
    "hidden_state": lambda m, run, at: patchscope.hidden_state(m, run.tokens, at, 1, bos=False),
    "activations_at": lambda m, run, at: neurons.activations_at(m, run.tokens, at),
    "ablate": lambda m, run, at: ablation.ablate(m, *rows(run.tokens), [ablation.Part.mlp(0)], positions=[at]),
    "knock_out_search": lambda m, run, at: knockout.knock_out_search(m, *rows(run.tokens), METRIC, positions=[at]),
    "path_patching.sweep": lambda m, run, at: path_patching.sweep(
        m, run.tokens, OTHER, METRIC, [path_patching.Receiver(1, 0)], positions=[at]
    ),
    "causal_trace": lambda m, run, at: tracing.causal_trace(m, list(run.tokens), (at, at + 1), METRIC, noise=noise(m)),
    "sweep_values": lambda m, run, at: steering_effect.sweep_values(m, run.tokens, PUSH, [1], [3], position=at, bos=False),
}
# What reads one layer: f(model, run, layer), or one head of it: f(model, run, layer, head). Layer n_layers is the end of the stream.
OF_A_LAYER = {
    "by_neuron": lambda m, run, layer: attribution.by_neuron(m, run, logit(m, 3), layer=layer),
    "hidden_state": lambda m, run, layer: patchscope.hidden_state(m, run.tokens, -1, layer, bos=False),
    "ablate": lambda m, run, layer: ablation.ablate(m, *rows(run.tokens), [ablation.Part.mlp(layer)]),
    "top_activations": lambda m, run, layer: neurons.top_activations(m, run.tokens, layer),
    "contrast": lambda m, run, layer: steering.contrast(m, "hot", "cold", layer),
    "mean_difference": lambda m, run, layer: steering.mean_difference(m, ["hot"], ["cold"], layer),
    "neuron_effect": lambda m, run, layer: weights.neuron_effect(m, layer, 0),
    "head_matrices": lambda m, run, layer: weights.head_matrices(m, layer),
    "patching.sweep": lambda m, run, layer: patching.sweep(m, IDS, OTHER, METRIC, layers=[layer]),
    "a plan": lambda m, run, layer: trace(m, "hot", Plan((Edit.scale("mlp_out", layer, value=2.0),))),
}
OF_A_HEAD = {
    "head_vectors": lambda m, run, *place: attention_norms.head_vectors(m, run, *place),
    "score_parts": lambda m, run, *place: qk.score_parts(m, run, *place, -1, 0),
    "ablate": lambda m, run, *place: ablation.ablate(m, *rows(run.tokens), [ablation.Part.head(*place)]),
    "path_patching.sweep": lambda m, run, *place: path_patching.sweep(m, IDS, OTHER, METRIC, [path_patching.Receiver(*place)]),
    "senders": lambda m, run, *place: path_patching.sweep(m, IDS, OTHER, METRIC, senders=[place]),
    "circuit_logits": lambda m, run, *place: circuits.circuit_logits(m, *rows(IDS, OTHER), [circuits.Node("head", *place)]),
    "factors": lambda m, run, *place: weights.factors(m, *place, "OV"),
    "token_row": lambda m, run, *place: weights.token_row(m, *place, 3),
    "singular_vectors": lambda m, run, *place: weights.singular_vectors(m, *place),
    "neighbours": lambda m, run, *place: weights_composition.neighbours(m, *place, "Q"),
    "top_pairs": lambda m, run, *place: weights_pairs.top_pairs(m, *place),
}
OF_THE_MODEL = {
    "scores": lambda m, **o: heads.scores(m, length=4, **o),
    "null_scores": lambda m, **o: roles.null_scores(m, length=4, **o),
    "attention_roles": lambda m, **o: roles.attention_roles(m, seeds=(0, 1), length=4, **o),
    "copy_scores": lambda m, **o: roles.copy_scores(m, [1, 2, 3], **o),
}


def numbers(result):
    """Every tensor and number in a result, however deep; not where it comes from."""
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, float):
        yield torch.tensor(result)
    elif is_dataclass(result):
        for field in fields(result):
            yield from numbers(getattr(result, field.name))
    elif isinstance(result, dict):
        yield from numbers(tuple(result.values()))
    elif isinstance(result, tuple | list):
        for each in result:
            yield from numbers(each)


def one_sentence(caught):
    said = str(caught.value)
    return said.endswith((".", ")")) and "\n" not in said and "size of tensor" not in said and len(said) < 400


@pytest.mark.parametrize("name", OF_IDS)
def test_prompts_that_are_empty_or_too_long_or_of_unknown_tokens_are_refused(name):
    without = {"bos": False} if name in OF_PROMPTS else {}
    for ids in ([], [END] * 17, [END, 50257], [END, -1]):
        if len(ids) > 16 and name == "top_activations":
            continue  # reads a text of any length, in windows
        with pytest.raises(ValueError) as caught:
            OF_IDS[name](MODEL, ids, ids[:-1] + [3] * (len(ids) > 0), **without)
        assert one_sentence(caught), (ids, caught.value)


@pytest.mark.parametrize("name", [*OF_IDS, *OF_THE_MODEL])
def test_numbers_that_are_not_finite_are_refused_with_their_place(name):
    broken = random_model(CONFIG, tokenizer=MODEL.tokenizer)
    broken.h[0].mlp.c_fc.bias.data[3] = torch.nan
    with pytest.raises(ValueError, match=r"not finite.*first at blocks\.0\.hook_mlp_out"):
        OF_IDS[name](broken, IDS, OTHER) if name in OF_IDS else OF_THE_MODEL[name](broken)


@pytest.mark.parametrize("name", [*OF_IDS, *OF_THE_MODEL])
def test_training_mode_changes_nothing_and_nothing_keeps_a_graph(name):
    def results(model):
        found = OF_IDS[name](model, IDS, OTHER) if name in OF_IDS else OF_THE_MODEL[name](model)
        return list(numbers(found))

    training = random_model(CONFIG, tokenizer=MODEL.tokenizer).train()
    before, after = results(MODEL), results(training)
    assert training.training and before
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num())
        # The type checker of the tests wraps generators, so that torch does not see that they are; their steps keep a graph here alone.
        assert not b.requires_grad or name in ("greedy_knock_out", "discover nodes", "discover edges")
    assert all(p.grad is None for p in training.parameters())


@pytest.mark.parametrize("name", [*OF_IDS, *OF_THE_MODEL, "gradient_x_input", "integrated_gradients", "neighbours"])
def test_the_modes_of_a_notebook_change_nothing_and_its_random_numbers_are_left_alone(name):
    def results():
        if name in OF_A_RUN and name not in OF_IDS:
            return list(numbers(OF_A_RUN[name](MODEL, trace(MODEL, IDS, bos=False), 2)))
        if name in OF_A_HEAD and name not in OF_IDS:
            return list(numbers(OF_A_HEAD[name](MODEL, None, 1, 0)))
        return list(numbers(OF_IDS[name](MODEL, IDS, OTHER) if name in OF_IDS else OF_THE_MODEL[name](MODEL)))

    usual = results()
    torch.manual_seed(7)
    random, wide = torch.get_rng_state(), torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.inference_mode():
            found = results()
    finally:
        torch.set_default_dtype(wide)
    assert torch.equal(random, torch.get_rng_state())
    for a, b in zip(usual, found, strict=True):
        assert a.is_complex() or torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("name", [*OF_IDS, *OF_THE_MODEL])
def test_half_precision_is_taken(name):
    half = random_model(CONFIG, tokenizer=MODEL.tokenizer).bfloat16()
    found = OF_IDS[name](half, IDS, OTHER) if name in OF_IDS else OF_THE_MODEL[name](half)
    assert list(numbers(found))


@pytest.mark.parametrize("name", {**OF_SEEN, **OF_PAIRS})
def test_a_plan_with_texts_reads_them_as_the_prompt_begins(name):
    plan = Plan((Edit.patch("mlp_out", 0, text="hot water"),))
    for ids, other, bos in ((IDS, OTHER, True), (IDS[1:], OTHER[1:], False)):
        seen, told, wrong = (list(numbers(OF_IDS[name](MODEL, ids, other, plan=plan, **o))) for o in ({}, {"bos": bos}, {"bos": not bos}))  # fmt: skip
        assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(seen, told, strict=True))
        differs = any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(told, wrong))
        assert differs == (name in OF_SEEN), "an explicit bos is followed; of a pair of ids it is for texts only"


@pytest.mark.parametrize("name", OF_A_RUN)
def test_positions_outside_the_run_are_refused(name):
    run = trace(MODEL, IDS, bos=False)
    assert OF_A_RUN[name](MODEL, run, 2) is not None
    for at in (5, -6, 99):
        with pytest.raises(ValueError) as caught:
            OF_A_RUN[name](MODEL, run, at)
        assert one_sentence(caught), caught.value


@pytest.mark.parametrize("name", {**OF_A_LAYER, **OF_A_HEAD})
def test_layers_and_heads_that_do_not_exist_are_refused(name):
    run = trace(MODEL, IDS, bos=False)
    for f in [table[name] for table in (OF_A_LAYER, OF_A_HEAD) if name in table]:
        places = [(3,), (-1,)] if f is OF_A_LAYER.get(name) else [(2, 0), (-1, 0), (0, 2), (0, -1)]
        for place in places:
            with pytest.raises(ValueError) as caught:
                f(MODEL, run, *place)
            assert one_sentence(caught), caught.value
