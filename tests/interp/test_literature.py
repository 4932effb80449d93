"""Every measure of the literature page against its definition written out as a loop, on random weights: right before anyone has
GPT-2's. What GPT-2 small itself gives is in test_known_results.py."""

import math

import pytest
import torch

from gpt2_core import load
from gpt2_core.config import SIZES
from interp import literature, prompt_sets
from interp.folding import fold
from interp.literature import ablations, attributions, heads, patches, prompts, reference
from interp.literature.check import Bound, Check, about, at_least, at_most, compare, near
from tests.helpers import random_model, tiny_config


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def model():
    return random_model(tiny_config(n_layers=3, n_heads=3, d_model=24, n_ctx=256), seed=1, tokenizer=_tokenizer())


@pytest.fixture(scope="module")
def folded(model):
    return fold(model)


def _tokenizer():
    return load("glass-2m").tokenizer


def _batches(model):
    """The eight prompts and their corruptions [8 15], and the ids of the right and of the other name [8]."""
    pairs = prompts.eight_pairs(model)
    bos = model.tokenizer.bos_id
    clean, corrupted = (torch.tensor([[bos, *getattr(pair, side).ids] for pair in pairs]) for side in ("clean", "corrupted"))
    return clean, corrupted, *(torch.tensor([getattr(pair, side)[0] for pair in pairs]) for side in ("correct", "wrong"))


def _difference(logits, right, wrong):
    rows = torch.arange(len(logits))
    return (logits[rows, -1, right] - logits[rows, -1, wrong]).mean().item()


def _measured(id, model):
    return literature.BY_ID[id].measure(model)


# -- comparing ---------------------------------------------------------------------------------------------------------------


def test_a_bound_is_an_interval_and_a_missing_cell_is_a_miss():
    measured = prompts.listed({"a": 1.0, "b": 2.0, "c": math.nan})
    expected = near({"a": 1.05}, 0.1) | {("b", ""): at_most(1.5), ("c", ""): at_least(0), ("d", ""): about(0, 1)}
    found = compare(measured, expected)
    assert found.cells == 4 and not found.passed
    assert [miss.cell[0] for miss in found.misses] == ["c", "d", "b"]  # the worst first, and NaN is never inside
    assert found.misses[1].measured is None and found.misses[2].measured == 2.0
    assert found.largest == pytest.approx(0.05) and found.where == ("a", "")
    assert compare(measured, near({"a": 1.05}, 0.1)).passed and not compare(measured, near({"a": 1.2}, 0.1)).passed
    assert [str(b) for b in (about(1, 0.1), at_least(3), at_most(0.5), Bound(0, -math.inf, 2))] == [
        "1 ± 0.1",
        "≥ 3",
        "≤ 0.5",
        "≤ 2",
    ]


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("dla_heads", (9, 9), 2.985),
        ("dla_heads", (10, 7), -1.899),
        ("patch_resid_pre", (8, 10), 0.66),
        ("patch_resid_pre", (9, 14), 0.94),
        ("patch_attn_out", (5, 10), 0.35),
        ("patch_attn_out", (11, 14), -0.41),
        ("patch_mlp_out", (0, 10), 0.85),
        ("patch_z", (5, 5), 0.343),
        ("patch_v", (8, 10), 0.273),
        ("patch_pattern", (9, 9), 0.277),
        ("previous_token", (4, 11), 0.992),
        ("duplicate_token", (0, 5), 0.703),
        ("induction", (7, 10), 0.904),
        ("backup_heads", (10, 10), 1.229),
        ("copying_ov", (11, 3), 0.999),
        ("copying", (1, 11), -0.999),
        ("patch_one_pair", (0, 10), 1.0),
    ],
)
def test_the_stored_tables_are_the_published_ones(name, place, value):
    table = torch.tensor(reference.values(name))
    assert table.shape in ((12, 12), (12, 15), (12, 17))
    assert table[place].item() == pytest.approx(value, abs=0.006) and reference.source(name).startswith("TransformerLens")


def test_expected_cells_are_those_that_gpt2_small_would_be_measured_at(model):
    heads_of, positions = {"H" + str(i) for i in range(12)}, {str(i) for i in range(17)}
    for check in literature.CHECKS:
        assert check.expected and check.source and check.mode in ("raw", "folded")
        for row, column in check.expected:
            assert column == "" or (row[0] == "L" and int(row[1:]) < 12 and column in heads_of | positions), (check.id, row)
    assert len(literature.BY_ID) == len(literature.CHECKS) == 33


def test_the_eight_prompts_are_the_notebooks(model):
    clean, corrupted, right, wrong = _batches(model)
    assert clean.shape == (8, 15) and torch.equal(corrupted, clean[[1, 0, 3, 2, 5, 4, 7, 6]])
    names = [5335, 1757, 1757, 5335, 4186, 3700, 3700, 4186, 6035, 15686, 15686, 6035, 5780, 14235, 14235, 5780]
    assert torch.stack([right, wrong], 1).flatten().tolist() == names
    assert len(model.tokenizer.encode(prompts.ABSTRACT)) + 1 == 33


# -- predictions -------------------------------------------------------------------------------------------------------------


def test_losses_and_logits(model):
    tokens = model.to_tokens("Hello world!")
    logprobs = model(tokens)[0, :-1].log_softmax(-1)
    assert _measured("loss", model)["loss"] == pytest.approx(-logprobs.gather(-1, tokens[0, 1:, None]).mean().item(), abs=1e-5)
    logits = model(model.to_tokens(prompts.MILK))[0, -1]
    mary, john = 5335, 1757
    milk = _measured("milk", model)
    assert milk["probability of ' Mary'"] == pytest.approx(logits.softmax(-1)[mary].item(), rel=1e-4)
    assert milk["logit of ' John'"] == pytest.approx((logits - logits.mean())[john].item(), abs=1e-4)
    swapped = model(model.to_tokens(prompts.MILK_BY_MARY))[0, -1]
    pair = _measured("milk_pair", model)
    assert pair["Mary gives"] == pytest.approx((swapped[john] - swapped[mary]).item(), abs=1e-5)
    assert pair["John gives"] == pytest.approx((logits[john] - logits[mary]).item(), abs=1e-5)


def test_eight_differences_and_the_corrupted_mean_is_their_negative(model):
    clean, corrupted, right, wrong = _batches(model)
    found = _measured("ioi_eight", model)
    logits = model(clean)[:, -1]
    for i in range(8):
        assert found[f"prompt {i + 1}"] == pytest.approx((logits[i, right[i]] - logits[i, wrong[i]]).item(), abs=1e-5)
    assert found["mean"] == pytest.approx(_difference(model(clean), right, wrong), abs=1e-5)
    assert found["mean, names swapped"] == pytest.approx(-found["mean"], abs=1e-5)


def test_folded_bias_and_repeated_losses(model):
    bias = model.ln_f.bias @ model.W_U
    bias = bias - bias.mean()
    found = _measured("folded_bias", model)
    assert found["' John'"] == pytest.approx(bias[1757].item(), abs=1e-4)
    assert found[found.rows[2]] == pytest.approx(bias.max().item(), abs=1e-4)
    tokens = _repeated()
    loss = -model(tokens)[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    assert _measured("repeated_loss", model)["second copy"] == pytest.approx(loss[:, 100:].mean().item(), abs=1e-4)


def _repeated():
    torch.manual_seed(0)
    return torch.randint(100, 20000, (2, 100)).repeat(1, 2)


# -- attribution -------------------------------------------------------------------------------------------------------------


def _direct(model, cache, right, wrong):
    """[layer head], the notebook's formula on folded weights: every head's output over the last LayerNorm's scale, read out."""
    direction = (model.W_U[:, right] - model.W_U[:, wrong]).T  # [8 d_model]
    scale = cache["ln_final.hook_scale"][:, -1]
    rows = []
    for layer, block in enumerate(model.h):
        out = torch.einsum("bhe,hed->bhd", cache["z", layer][:, -1], block.attn.W_O)
        rows.append(torch.einsum("bhd,bd->h", (out - out.mean(-1, keepdim=True)) / scale[:, None], direction) / 8)
    return torch.stack(rows)


def test_direct_effects_of_heads_and_of_backup_heads(folded):
    clean, _, right, wrong = _batches(folded)
    _, cache = folded.run_with_cache(clean)
    direct = _direct(folded, cache, right, wrong)
    torch.testing.assert_close(_measured("dla_heads", folded).values.float(), direct, atol=1e-5, rtol=1e-3)
    layer, head = divmod(direct.argmax().item(), 3)
    assert attributions.top_head(folded) == (layer, head)

    def zero(z, hook):
        z[:, -1, head] = 0
        return z

    hooks = [(f"blocks.{layer}.attn.hook_z", zero)]
    without = folded.run_with_hooks(clean, fwd_hooks=hooks)
    found = _measured("backup", folded)
    assert found["whole model"] == pytest.approx(_difference(folded(clean), right, wrong), abs=1e-5)
    assert found[f"without L{layer}H{head}"] == pytest.approx(_difference(without, right, wrong), abs=1e-5)
    seen = {}
    names = ["ln_final.hook_scale", *[f"blocks.{i}.attn.hook_z" for i in range(3)]]
    folded.run_with_hooks(clean, fwd_hooks=[*hooks, *[(n, lambda x, hook: seen.update({hook.name: x.clone()})) for n in names]])
    cache = {("z", i): seen[f"blocks.{i}.attn.hook_z"] for i in range(3)} | {names[0]: seen[names[0]]}
    expected = _direct(folded, cache, right, wrong)
    assert expected[layer, head] == 0
    torch.testing.assert_close(_measured("backup_heads", folded).values.float(), expected, atol=1e-5, rtol=1e-3)


def test_layers_and_points_sum_to_the_difference_and_biases_cancel(model):
    clean, _, right, wrong = _batches(model)
    logits, cache = model.run_with_cache(clean)
    direction = (model.W_U[:, right] - model.W_U[:, wrong]).T * model.ln_f.weight
    scale = cache["ln_final.hook_scale"][:, -1]

    def read(x):
        return (((x - x.mean(-1, keepdim=True)) / scale) * direction).sum(-1).mean().item()

    points, layers = _measured("accumulated", model), _measured("dla_layers", model)
    assert points["final_post"] == pytest.approx(_difference(logits, right, wrong), abs=1e-4)
    assert points["1_mid"] == pytest.approx(read(cache["resid_mid", 1][:, -1]), abs=1e-4)  # no bias: it cancels over the pairs
    assert layers["2_attn_out"] == pytest.approx(read(cache["attn_out", 2][:, -1]), abs=1e-5)
    assert layers["ln_f.bias"] == pytest.approx(0, abs=1e-7) == layers["b_U"]
    assert layers.values.sum().item() == pytest.approx(points["final_post"], abs=1e-4)


def test_one_prompt_and_its_neurons(folded):
    tokens = folded.to_tokens(prompts.SHOPS)
    _, cache = folded.run_with_cache(tokens)
    scale, column = cache["ln_final.hook_scale"][0, -1], folded.W_U[:, [5335]] - folded.W_U[:, [1757]]
    out = torch.einsum("he,hed->hd", cache["z", 1][0, -1], folded.h[1].attn.W_O)
    expected = ((out - out.mean(-1, keepdim=True)) / scale @ column)[:, 0]
    torch.testing.assert_close(_measured("dla_prompt", folded).values[1].float(), expected, atol=1e-5, rtol=1e-3)
    best = {}
    for layer, block in enumerate(folded.h):
        written = block.mlp.c_proj.weight - block.mlp.c_proj.weight.mean(-1, keepdim=True)
        for n, v in enumerate(cache[f"blocks.{layer}.mlp.hook_post"][0, -1] * (written @ folded.W_U[:, 5335]) / scale):
            best[f"' Mary': L{layer}N{n}"] = v.item()
    top = max(best, key=lambda label: abs(best[label]))
    assert _measured("dla_neurons", folded)[top] == pytest.approx(best[top], rel=1e-3)


def test_identities_hold_on_every_model(model):
    outcome = literature.run_one(literature.BY_ID["sums"], model)
    assert outcome.status == "pass" and outcome.comparison.cells == 5
    assert set(outcome.measured.rows) == set(attributions.SUMS)


# -- patching ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "hook", "place"),
    [
        ("patch_resid_pre", "hook_resid_pre", (slice(None), 11)),
        ("patch_attn_out", "hook_attn_out", (slice(None), 14)),
        ("patch_mlp_out", "hook_mlp_out", (slice(None), 10)),
        ("patch_z", "attn.hook_z", (slice(None), slice(None), 2)),
        ("patch_v", "attn.hook_v", (slice(None), slice(None), 1)),
        ("patch_pattern", "attn.hook_pattern", (slice(None), 0)),
    ],
)
def test_maps_are_the_notebooks_batch_of_eight(model, id, hook, place):
    """All eight patched in one batch with a hook, the metric their mean, normalised by the two means."""
    clean, corrupted, right, wrong = _batches(model)
    logits, cache = model.run_with_cache(clean)
    high, low = _difference(logits, right, wrong), _difference(model(corrupted), right, wrong)
    found = _measured(id, model)
    for layer in range(3):
        name = f"blocks.{layer}.{hook}"

        def put(x, hook, name=name):
            x[place] = cache[name][place]
            return x

        patched = _difference(model.run_with_hooks(corrupted, fwd_hooks=[(name, put)]), right, wrong)
        assert found.values[layer, place[-1]].item() == pytest.approx((patched - low) / (high - low), abs=2e-4)


def test_a_map_of_one_pair(model):
    clean, corrupted = (model.to_tokens(text) for text in (prompts.MILK_BY_MARY, prompts.MILK))
    john, mary = torch.tensor([1757]), torch.tensor([5335])
    logits, cache = model.run_with_cache(clean)
    high, low = _difference(logits, john, mary), _difference(model(corrupted), john, mary)

    def put(x, hook):
        x[:, 10] = cache["resid_pre", 1][:, 10]
        return x

    patched = _difference(model.run_with_hooks(corrupted, fwd_hooks=[("blocks.1.hook_resid_pre", put)]), john, mary)
    found = _measured("patch_one_pair", model)
    assert found.values.shape == (3, 17)
    assert found["L1", "10"] == pytest.approx((patched - low) / (high - low), abs=1e-4)


def test_the_direct_path_is_the_linearised_one_of_folded_weights(model, folded, monkeypatch):
    """delta = (clean result - corrupted result) / ln_1's scale of the corrupted run; added to q at every position."""
    monkeypatch.setattr(patches, "top_head", lambda model: (2, 1))
    clean, corrupted = (folded.to_tokens(text) for text in (prompts.DRINK, prompts.DRINK_BY_MARY))
    mary, john = torch.tensor([5335]), torch.tensor([1757])
    logits, new = folded.run_with_cache(clean)
    base, old = folded.run_with_cache(corrupted)
    high, low = _difference(logits, mary, john), _difference(base, mary, john)
    found = _measured("direct_path", model)  # raw weights: the same number
    for layer, head in ((0, 2), (1, 0)):
        change = (new["z", layer] - old["z", layer])[:, :, head] @ folded.h[layer].attn.W_O[head]
        moved = change / old["blocks.2.ln1.hook_scale"] @ folded.h[2].attn.W_Q[1]

        def add(q, hook, moved=moved):
            q[:, :, 1] += moved
            return q

        patched = _difference(folded.run_with_hooks(corrupted, fwd_hooks=[("blocks.2.attn.hook_q", add)]), mary, john)
        expected = (patched - low) / (high - low)
        assert found[f"L{layer}", f"H{head}"] == pytest.approx(expected, abs=2e-4), (layer, head)
    assert found["L2", "H0"] == pytest.approx(0, abs=1e-4)  # it comes too late to be read


def test_no_difference_is_refused_in_a_sentence(model):
    with pytest.raises(ValueError, match="nothing to bring back"):
        patches._normalised(torch.zeros(2), 0.1, 0.1)


# -- heads -------------------------------------------------------------------------------------------------------------------


def test_head_scores_read_the_notebooks_tokens(model):
    _, cache = model.run_with_cache(_repeated())
    pattern = cache["pattern", 1]
    at = torch.arange(200)
    wanted = {
        "previous_token": pattern[:, :, at[1:], at[1:] - 1].mean((0, 2)),
        "duplicate_token": pattern[:, :, at[100:], at[100:] - 100].mean((0, 2)),
        "induction": pattern[:, :, at[100:], at[100:] - 99].mean((0, 2)),
    }
    for role, expected in wanted.items():
        torch.testing.assert_close(_measured(role, model).values[1].float(), expected, atol=1e-5, rtol=1e-4)
    diagonal = pattern.diagonal(-99, dim1=-2, dim2=-1).mean((0, 2))  # the notebook's, with one cell of the first copy
    assert (diagonal - wanted["induction"]).abs().max() <= heads.ONE_CELL


def test_copying_scores_are_of_the_eigenvalues_of_folded_weights(model, folded):
    for id, around in (("copying_ov", torch.eye(24).double()), ("copying", (folded.W_U @ folded.W_E).double())):
        W_OV = (folded.h[1].attn.W_V[2] @ folded.h[1].attn.W_O[2]).double()
        values = torch.linalg.eigvals(W_OV @ around)
        expected = values.real.sum() / values.abs().sum()
        assert _measured(id, model)["L1", "H2"] == pytest.approx(expected.item(), abs=2e-3), id


def test_attention_from_the_end(model):
    n = 6
    found, drawn = heads.attention_from_end(model, n), prompt_sets.build("ioi", model.tokenizer, n, seed=0)
    sums = {"IO": torch.zeros(3, 3), "S2": torch.zeros(3, 3)}
    for pair in drawn.pairs:
        ids = list(pair.clean.ids)
        _, cache = model.run_with_cache(torch.tensor([ids]))
        places = {"IO": ids.index(pair.correct[0]), "S2": len(ids) - 1 - ids[::-1].index(pair.wrong[0])}
        for word, place in places.items():
            sums[word] += torch.stack([cache["pattern", layer][0, :, -1, place] for layer in range(3)])
    for word, total in sums.items():
        torch.testing.assert_close(found[word].float(), total / n, atol=1e-5, rtol=1e-4)


def test_circuit_heads_are_found_by_their_effect_where_no_paper_names_them(model, monkeypatch):
    monkeypatch.setattr(heads, "N_NAMES", 4)
    found = _measured("ioi_heads", model)
    direct, looked = _measured("dla_heads", model).values, heads.attention_from_end(model)
    movers = [divmod(i, 3) for i in direct.flatten().argsort(descending=True)[:3].tolist()]
    assert found["attention to the indirect object, name movers"] == pytest.approx(
        sum(looked["IO"][head].item() for head in movers) / 3, abs=1e-6
    )
    assert found.facts["movers"] == prompts.named(movers) and 0 <= found["copy score, all heads"] <= 1


def test_sink(model):
    _, cache = model.run_with_cache(model.to_tokens("Hello world!"))
    resid = cache["resid_pre", 1][0]
    found = _measured("sink", model)
    assert found[found.rows[0]] == pytest.approx((resid[0].norm() / resid[1:].norm(dim=-1).max()).item(), rel=1e-4)
    assert found["its largest number"] == pytest.approx(resid[0].abs().max().item(), rel=1e-5)


# -- ablations and prompt sets -----------------------------------------------------------------------------------------------


def test_values_of_the_first_layer(folded):
    tokens = folded.to_tokens(prompts.ABSTRACT)

    def zero(v, hook):
        v[:, :, 1] = 0
        return v

    logits = folded.run_with_hooks(tokens, fwd_hooks=[("blocks.0.attn.hook_v", zero)])[0, :-1].log_softmax(-1)
    found = _measured("ablate_v", folded)
    assert found["without L0H1"] == pytest.approx(-logits.gather(-1, tokens[0, 1:, None]).mean().item(), abs=1e-5)
    assert found["whole model"] != found["without L0H1"]


def test_many_prompts_are_the_mean_of_each_alone(model, monkeypatch):
    monkeypatch.setattr(ablations, "N_MANY", 7)
    monkeypatch.setattr(ablations, "N_YEARS", 5)
    differences, probabilities = [], []
    for pair in prompt_sets.build("ioi", model.tokenizer, 7, seed=0).pairs:
        logits = model(torch.tensor([pair.clean.ids]))[0, -1]
        differences.append((logits[pair.correct[0]] - logits[pair.wrong[0]]).item())
        probabilities.append(logits.softmax(-1)[pair.correct[0]].item())
    found = _measured("ioi_many", model)
    assert found["mean logit difference"] == pytest.approx(sum(differences) / 7, abs=1e-5)
    assert found["share in which the right name leads"] == pytest.approx(sum(d > 0 for d in differences) / 7)
    assert found["mean probability of the right name"] == pytest.approx(sum(probabilities) / 7, rel=1e-4)
    years = []
    for pair in prompt_sets.build("greater_than", model.tokenizer, 5, seed=0).pairs:
        p = model(torch.tensor([pair.clean.ids]))[0, -1].softmax(-1)
        years.append((p[list(pair.correct)].sum() - p[list(pair.wrong)].sum()).item())
    assert _measured("greater_than", model)["years above less years below"] == pytest.approx(sum(years) / 5, abs=1e-6)


def test_mean_ablation_takes_the_mean_over_other_names_of_the_same_template(model):
    n, part = 20, ablations.Part.head(1, 2)
    found = ablations.mean_ablated(model, {"whole": (), "without": [part]}, n)
    drawn = prompt_sets.build("ioi", model.tokenizer, n, seed=0, corruption="abc", orders=("BABA",)).pairs
    whole, without = [], []
    for pair in drawn:
        same = [p for p in drawn if p.template == pair.template and len(p.clean.ids) == len(pair.clean.ids)]
        means = sum(model.run_with_cache(torch.tensor([p.corrupted.ids]))[1]["z", 1][0, :, 2] for p in same) / len(same)

        def replace(z, hook, means=means):
            z[0, :, 2] = means
            return z

        for out, hooks in ((whole, []), (without, [("blocks.1.attn.hook_z", replace)])):
            logits = model.run_with_hooks(torch.tensor([pair.clean.ids]), fwd_hooks=hooks)[0, -1]
            out.append((logits[pair.correct[0]] - logits[pair.wrong[0]]).item())
    assert found["whole"] == pytest.approx(sum(whole) / n, abs=1e-5)
    assert found["without"] == pytest.approx(sum(without) / n, abs=1e-5) and found["without"] != found["whole"]


def test_knock_outs_are_shares_of_the_whole(model, monkeypatch):
    given = {"whole model": 2.0, "without its name movers": 1.5, "without the first MLP": -0.5}
    asked = {}
    monkeypatch.setattr(ablations, "mean_ablated", lambda model, sets: asked.update(sets) or given)
    found = _measured("ioi_knock_outs", model)
    assert found["without its name movers, share of it"] == 0.75 and found["without the first MLP, share of it"] == -0.25
    assert len(asked["without its name movers"]) == 3 and "the paper's circuit alone" not in asked  # it has 12 x 12 heads
    assert len(set(ablations.CIRCUIT)) == 26


# -- running -----------------------------------------------------------------------------------------------------------------


def test_cheap_ones_come_first_and_an_embedded_model_has_no_expectation():
    costs = [check.tokens(SIZES["gpt2"].config) for check in literature.CHECKS]
    assert costs == sorted(costs) and costs[0] < 10
    glass = load("glass-2m")
    outcomes = list(literature.run(glass, ["dla_heads", "loss", "sums"]))
    assert [(o.check.id, o.status) for o in outcomes] == [("loss", "none"), ("sums", "pass"), ("dla_heads", "none")]
    assert outcomes[0].expected == {} and outcomes[0].comparison is None
    assert [o.provenance.weights for o in outcomes] == ["raw", "raw", "folded"]
    assert literature.seconds(glass, literature.CHECKS[-1]) > literature.seconds(glass, literature.CHECKS[0]) > 0


def test_expectations_are_for_openais_small_weights_only(model):
    named = random_model(model.config, tokenizer=model.tokenizer)
    assert not literature.is_small(named)
    named.weights_sha256 = SIZES["gpt2"].sha256
    assert literature.is_small(named) and literature.is_small(fold(named))
    failed = literature.run_one(literature.BY_ID["loss"], named)  # not these weights, after all
    assert failed.status == "fail" and failed.comparison.misses[0].measured == failed.measured["loss"]
    assert literature.run_one(literature.BY_ID["loss"], named.to(torch.bfloat16)).status == "none"


def test_what_cannot_be_run_says_why_and_the_rest_goes_on(model):
    short = random_model(tiny_config(d_model=16, n_heads=2, n_ctx=64), tokenizer=model.tokenizer)
    fine, refused = literature.run(short, ["previous_token", "loss"])
    assert refused.status == "refused" and "length must lie in 2..32" in refused.reason and fine.status == "none"
    demanded = Check("x", "x", literature.BY_ID["previous_token"].measure, "x", near({"a": 1}, 1), len, everywhere=True)
    assert literature.run_one(demanded, short).status == "fail"
    infinite = Check("x", "x", lambda m: prompts.listed({"a": math.inf}), "x", {}, len)
    assert "not finite" in literature.run_one(infinite, short).reason


def test_unknown_checks_and_folded_models_are_refused(model, folded):
    with pytest.raises(ValueError, match="No check is called 'nonsense'; expected some of loss"):
        literature.chosen(["nonsense"])
    with pytest.raises(ValueError, match="give the model as it was released"):
        next(literature.run(folded))
    assert next(literature.run(model)).check.id == literature.CHECKS[0].id
