"""Direct logit attribution: exact sums, naive loops, transformer-lens, and runs under a plan."""

import pytest
import torch
from helpers import bridge, max_difference, random_model, tiny_config

from interp import attribution
from interp.edits import NO_EDITS, Edit, Plan
from interp.folding import fold
from interp.run import trace
from interp.targets import direction, logit

CONFIG = tiny_config(n_layers=3, d_model=32, d_vocab=101, n_ctx=32)
MODEL = random_model(CONFIG)
FOLDED = fold(MODEL)
PROMPT = [100, 7, 3, 55, 7, 3, 80, 12, 41]
RUN = trace(MODEL, PROMPT, bos=False)
FOLDED_RUN = trace(FOLDED, PROMPT, bos=False)
SOMEWHERE = torch.randn(32, generator=torch.Generator().manual_seed(5))
TARGETS = {
    "logit": logit(MODEL, 55),
    "difference": logit(MODEL, 55, minus=12),
    "centred": logit(MODEL, 55, minus="mean"),
    "direction": direction("somewhere", SOMEWHERE),
}
HOW = [attribution.by_layer, attribution.by_head, attribution.by_neuron]


def naive(model, run, vector, target_vector, position):
    """Contribution of a residual vector by the definition: centre, divide by the run's scale, gain, dot."""
    scale = run.activations["ln_final.hook_scale"][position].item()
    centred = vector - vector.mean()
    return sum((centred[i] / scale * model.ln_f.weight[i] * target_vector[i]).item() for i in range(len(vector)))


@pytest.mark.parametrize("how", HOW, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("position", [-1, 0, 4])
def test_parts_sum_to_the_models_own_value(how, name, position):
    result = how(MODEL, RUN, TARGETS[name], position)
    at = range(len(PROMPT))[position]
    expected = {
        "logit": RUN.logits[at, 55],
        "difference": RUN.logits[at, 55] - RUN.logits[at, 12],
        "centred": RUN.logits[at, 55] - RUN.logits[at].mean(),
        "direction": RUN.activations["ln_final.hook_out"][at] @ SOMEWHERE,
    }[name].item()
    assert result.value == pytest.approx(expected, abs=1e-5) and result.total == pytest.approx(expected, abs=1e-4)
    assert result.check.holds and result.check.residual <= 1e-4 and result.position == at
    assert len(set(result.labels)) == len(result.labels) == len(result.values) and "edits" not in result.labels
    assert result.provenance == RUN.provenance


@torch.no_grad()
@pytest.mark.parametrize("model_run", [(MODEL, RUN), (FOLDED, FOLDED_RUN)], ids=["raw", "folded"])
def test_every_part_by_its_definition(model_run):
    model, run = model_run
    position, vector = 6, model.W_U[:, 55] - model.W_U[:, 12]
    target = logit(model, 55, minus=12)
    layers, heads = (f(model, run, target, position) for f in (attribution.by_layer, attribution.by_head))
    for part in ("embed", "pos_embed"):
        expected = naive(model, run, run.activations[f"hook_{part}"][position], vector, position)
        assert layers[part] == heads[part] == pytest.approx(expected, abs=1e-5)
    for layer in range(3):
        for part in ("attn_out", "mlp_out"):
            expected = naive(model, run, run.activations[part, layer][position], vector, position)
            assert layers[f"{layer}_{part}"] == pytest.approx(expected, abs=1e-5)
        attn = model.h[layer].attn
        for head in range(4):
            wrote = run.activations["z", layer][position, head] @ attn.W_O[head]
            expected = naive(model, run, wrote, vector, position)
            assert heads[f"L{layer}H{head}"] == heads.heads[layer, head].item() == pytest.approx(expected, abs=1e-5)
            constant = attn.b_V[head] + model.h[layer].ln_1.bias @ attn.W_V[head]
            expected = naive(model, run, constant @ attn.W_O[head], vector, position)
            assert heads.value_bias[layer, head].item() == pytest.approx(expected, abs=1e-5)
        assert heads[f"{layer}_b_O"] == pytest.approx(naive(model, run, attn.b_O, vector, position), abs=1e-5)
    assert layers["ln_f.bias"] == pytest.approx((model.ln_f.bias @ vector).item(), abs=1e-5)
    assert layers["b_U"] == pytest.approx((model.b_U[55] - model.b_U[12]).item(), abs=1e-6)
    assert layers.scale == run.activations["ln_final.hook_scale"][position].item()


def test_heads_differ_from_folded_ones_by_the_value_biases_only():
    raw = attribution.by_head(MODEL, RUN, logit(MODEL, 55, minus=12))
    folded = attribution.by_head(FOLDED, FOLDED_RUN, logit(FOLDED, 55, minus=12))
    assert max_difference(raw.heads - raw.value_bias, folded.heads) <= 1e-4 < (raw.heads - folded.heads).abs().max()
    assert folded.value_bias.abs().max() == 0
    layers = [attribution.by_layer(m, r, logit(m, 55, minus=12)) for m, r in ((MODEL, RUN), (FOLDED, FOLDED_RUN))]
    for label in (f"{layer}_{part}" for layer in range(3) for part in ("attn_out", "mlp_out")):
        assert layers[0][label] == pytest.approx(layers[1][label], abs=1e-4)
    single = [attribution.by_layer(m, r, logit(m, 55)) for m, r in ((MODEL, RUN), (FOLDED, FOLDED_RUN))]
    assert abs(single[0]["1_mlp_out"] - single[1]["1_mlp_out"]) > 1e-3  # W_U is centred over the vocabulary
    centred = [attribution.by_layer(m, r, logit(m, 55, minus="mean")) for m, r in ((MODEL, RUN), (FOLDED, FOLDED_RUN))]
    assert centred[0]["1_mlp_out"] == pytest.approx(centred[1]["1_mlp_out"], abs=1e-4)


@torch.no_grad()
def test_folded_attribution_equals_transformer_lens():
    theirs = bridge(MODEL)
    theirs.enable_compatibility_mode(disable_warnings=True)
    _, cache = theirs.run_with_cache(torch.tensor([PROMPT]))
    right, wrong, n = torch.tensor(55), torch.tensor(12), len(PROMPT)

    def attributed(stack):
        return cache.logit_attrs(stack, right, wrong)[:, 0].double()  # [part pos]

    parts, labels = cache.decompose_resid(return_labels=True)
    stream, names = cache.accumulated_resid(incl_mid=True, return_labels=True)
    heads, layers, sums = attributed(cache.stack_head_results()), attributed(parts), attributed(stream)
    neurons = attributed(cache.stack_neuron_results(-1))
    target = logit(FOLDED, 55, minus=12)
    for position in (0, 4, n - 1):
        ours = attribution.by_layer(FOLDED, FOLDED_RUN, target, position)
        assert list(ours.labels[: len(labels)]) == labels
        assert max_difference(ours.values[: len(labels)], layers[:, position]) <= 1e-4
        ours = attribution.by_head(FOLDED, FOLDED_RUN, target, position)
        assert max_difference(ours.heads.flatten(), heads[:, position]) <= 1e-4
        ours = attribution.by_neuron(FOLDED, FOLDED_RUN, target, position, k=10**6)
        table = torch.zeros(3 * CONFIG.d_mlp, dtype=torch.float64)
        table[ours.neurons[:, 0] * CONFIG.d_mlp + ours.neurons[:, 1]] = ours.contributions
        assert max_difference(table, neurons[: len(table), position]) <= 1e-4
        ours = attribution.accumulated(FOLDED, FOLDED_RUN, target, position)
        assert list(ours.labels) == names
        assert max_difference(ours.values - ours.values[-1] + sums[-1, position], sums[:, position]) <= 1e-4


@torch.no_grad()
def test_neurons_of_one_layer_and_of_all():
    target, vector = logit(MODEL, 9), MODEL.W_U[:, 9]
    table = torch.tensor(
        [
            [naive(MODEL, RUN, RUN.activations["post", l][-1, n] * MODEL.W_out[l, n], vector, -1) for n in range(CONFIG.d_mlp)]
            for l in range(3)
        ]
    )
    every = attribution.by_neuron(MODEL, RUN, target, k=7)
    order = table.flatten().abs().topk(7).indices
    assert [tuple(pair) for pair in every.neurons.tolist()] == [divmod(i, CONFIG.d_mlp) for i in order.tolist()]
    assert max_difference(every.contributions, table.flatten()[order]) <= 1e-5
    assert every["remainder"] == pytest.approx((table.sum() - table.flatten()[order].sum()).item(), abs=1e-4)
    one = attribution.by_neuron(MODEL, RUN, target, layer=1, k=3)
    assert max_difference(one.contributions, table[1][table[1].abs().topk(3).indices]) <= 1e-5
    mlp = attribution.by_layer(MODEL, RUN, target)["1_mlp_out"]
    assert one.contributions.sum().item() + one["remainder"] + one["1_b_out"] == pytest.approx(mlp, abs=1e-4)
    assert {"0_mlp_out", "2_mlp_out"} < set(one.labels) and "1_mlp_out" not in one.labels and one.check.holds


@torch.no_grad()
@pytest.mark.parametrize("position", [-1, 3])
def test_sources_by_their_definition(position):
    target, vector = logit(MODEL, 9), MODEL.W_U[:, 9]
    result = attribution.by_source(MODEL, RUN, target, position)
    assert result.values.shape == (3, 4, len(PROMPT)) and result.check.holds and result.check.residual <= 1e-6
    for layer, head, key in ((0, 0, 0), (1, 3, 2), (2, 1, result.position), (1, 1, 8)):
        weight = RUN.activations["pattern", layer][head, result.position, key]
        moved = weight * RUN.activations["v", layer][key, head] @ MODEL.W_O[layer, head]
        assert result.values[layer, head, key].item() == pytest.approx(naive(MODEL, RUN, moved, vector, position), abs=1e-5)
    assert max_difference(result.heads, attribution.by_head(MODEL, RUN, target, position).heads) == 0
    assert not result.values[..., range(len(PROMPT))[position] + 1 :].any()


@torch.no_grad()
def test_accumulated_is_the_running_sum_and_not_the_logit_lens():
    target = logit(MODEL, 9, minus=4)
    result, parts = attribution.accumulated(MODEL, RUN, target, 5), attribution.by_layer(MODEL, RUN, target, 5)
    biases = parts["ln_f.bias"] + parts["b_U"]
    running = [parts["embed"] + parts["pos_embed"] + biases]
    for label in parts.labels[2:-2]:
        running.append(running[-1] + parts[label])
    assert result.labels[:3] == ("0_pre", "0_mid", "1_pre") and result.labels[-1] == "final_post"
    assert max_difference(result.values, torch.tensor(running)) <= 1e-4 and result.check.holds
    lens = MODEL.unembed(RUN.activations["resid_pre", 0][None])[0, 5]
    assert abs(result.values[0].item() - (lens[9] - lens[4]).item()) > 1e-2


EDITS = [
    Edit.zero("z", 1, 2),
    Edit.scale("attn_out", 0, value=2.0),
    Edit.zero("mlp_out", 1),
    Edit.scale("mlp_post", 2, value=0.5),
    Edit.scale("resid_pre", 0, value=1.5),
    Edit.scale("resid_mid", 1, value=0.5),
    Edit.scale("resid_post", 2, value=3.0),
    Edit.set_cell(1, 0, 8, 2, 0.9),
    Edit.scale("v", 2, 1, value=-1.0),
]


@pytest.mark.parametrize("plan", [Plan((e,)) for e in EDITS] + [Plan(tuple(EDITS))], ids=lambda p: p.edits[-1].component)
def test_sums_hold_under_a_plan(plan):
    run = trace(MODEL, PROMPT, plan, bos=False)
    target = logit(MODEL, 55)
    assert run.logits[-1, 55] != RUN.logits[-1, 55]
    for how in HOW:
        result = how(MODEL, run, target)
        assert result.value == run.logits[-1, 55].item() and abs(result.total - result.value) <= 1e-4
    assert attribution.by_neuron(MODEL, run, target, layer=0, k=4).check.residual <= 1e-4
    assert attribution.by_source(MODEL, run, target).check.residual <= 1e-5
    assert attribution.accumulated(MODEL, run, target).check.residual <= 1e-4


def test_edits_are_named_where_no_part_holds_them():
    run = trace(MODEL, PROMPT, Plan((Edit.scale("attn_out", 0, value=2.0),)), bos=False)
    target = logit(MODEL, 55)
    by_layer, by_head = attribution.by_layer(MODEL, run, target), attribution.by_head(MODEL, run, target)
    assert "edits" not in by_layer.labels  # attn_out is what it became
    heads = by_head.heads[0].sum().item() + by_head["0_b_O"]
    assert by_head["edits"] == pytest.approx(heads, abs=1e-4) and by_layer["0_attn_out"] == pytest.approx(2 * heads, abs=1e-4)
    zeroed = attribution.by_source(MODEL, trace(MODEL, PROMPT, Plan((Edit.zero("z", 1, 2),)), bos=False), target)
    assert zeroed.heads[1, 2] == 0 and zeroed.edits[1, 2].item() == pytest.approx(-zeroed.values[1, 2].sum().item())
    assert zeroed.edits.abs().sum() - zeroed.edits[1, 2].abs() < 1e-6


def test_a_wrong_part_breaks_the_check():
    run = trace(MODEL, PROMPT, NO_EDITS, bos=False)
    run.activations.cache_dict["blocks.1.hook_mlp_out"] = run.activations["mlp_out", 1] * 1.01
    assert not attribution.by_layer(MODEL, run, logit(MODEL, 55)).check.holds


def test_float64_is_exact_and_half_precision_is_judged_by_its_rounding():
    double = random_model(CONFIG).double()
    result = attribution.by_head(double, trace(double, PROMPT, bos=False), logit(double, 55))
    assert result.check.residual <= 1e-10 and result.check.tolerance <= 1e-9
    half = random_model(CONFIG).bfloat16()
    result = attribution.by_head(half, trace(half, PROMPT, bos=False), logit(half, 55))
    assert result.check.holds and result.check.residual > 1e-4


def test_a_target_is_named_by_its_tokens():
    labels = [logit(MODEL, 9, minus=minus).label for minus in (None, 4, "mean")]
    assert labels == ["'<|9|>'", "'<|9|>' − '<|4|>'", "'<|9|>' − mean"]


def test_what_cannot_be_explained():
    with pytest.raises(ValueError, match="vocabulary of 101"):
        logit(MODEL, 101)
    with pytest.raises(ValueError, match=r"0\.\.8"):
        attribution.by_layer(MODEL, RUN, TARGETS["logit"], position=9)
    with pytest.raises(ValueError, match="Layer 3 does not exist"):
        attribution.by_neuron(MODEL, RUN, TARGETS["logit"], layer=3)
    with pytest.raises(ValueError, match="somewhere is a direction"):
        TARGETS["direction"].of_logits(RUN.logits)
