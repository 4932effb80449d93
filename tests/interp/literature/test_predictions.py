"""Predictions and direct attribution against their definitions written out as loops."""

import pytest
import torch
from literature_models import batches, difference, measured, repeated

from interp import literature
from interp.literature import attributions, prompts


def test_losses_and_logits(model):
    tokens = model.to_tokens("Hello world!")
    logprobs = model(tokens)[0, :-1].log_softmax(-1)
    assert measured("loss", model)["loss"] == pytest.approx(-logprobs.gather(-1, tokens[0, 1:, None]).mean().item(), abs=1e-5)
    logits = model(model.to_tokens(prompts.MILK))[0, -1]
    mary, john = 5335, 1757
    milk = measured("milk", model)
    assert milk["probability of ' Mary'"] == pytest.approx(logits.softmax(-1)[mary].item(), rel=1e-4)
    assert milk["logit of ' John'"] == pytest.approx((logits - logits.mean())[john].item(), abs=1e-4)
    swapped = model(model.to_tokens(prompts.MILK_BY_MARY))[0, -1]
    pair = measured("milk_pair", model)
    assert pair["Mary gives"] == pytest.approx((swapped[john] - swapped[mary]).item(), abs=1e-5)
    assert pair["John gives"] == pytest.approx((logits[john] - logits[mary]).item(), abs=1e-5)


def test_eight_differences_and_the_corrupted_mean_is_their_negative(model):
    clean, corrupted, right, wrong = batches(model)
    found = measured("ioi_eight", model)
    logits = model(clean)[:, -1]
    for i in range(8):
        assert found[f"prompt {i + 1}"] == pytest.approx((logits[i, right[i]] - logits[i, wrong[i]]).item(), abs=1e-5)
    assert found["mean"] == pytest.approx(difference(model(clean), right, wrong), abs=1e-5)
    assert found["mean, names swapped"] == pytest.approx(-found["mean"], abs=1e-5)


def test_folded_bias_and_repeated_losses(model):
    bias = model.ln_f.bias @ model.W_U
    bias = bias - bias.mean()
    found = measured("folded_bias", model)
    assert found["' John'"] == pytest.approx(bias[1757].item(), abs=1e-4)
    assert found[found.rows[2]] == pytest.approx(bias.max().item(), abs=1e-4)
    tokens = repeated()
    loss = -model(tokens)[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    assert measured("repeated_loss", model)["second copy"] == pytest.approx(loss[:, 100:].mean().item(), abs=1e-4)


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
    clean, _, right, wrong = batches(folded)
    _, cache = folded.run_with_cache(clean)
    direct = _direct(folded, cache, right, wrong)
    torch.testing.assert_close(measured("dla_heads", folded).values.float(), direct, atol=1e-5, rtol=1e-3)
    layer, head = divmod(direct.argmax().item(), 3)
    assert attributions.top_head(folded) == (layer, head)

    def zero(z, hook):
        z[:, -1, head] = 0
        return z

    hooks = [(f"blocks.{layer}.attn.hook_z", zero)]
    without = folded.run_with_hooks(clean, fwd_hooks=hooks)
    found = measured("backup", folded)
    assert found["whole model"] == pytest.approx(difference(folded(clean), right, wrong), abs=1e-5)
    assert found[f"without L{layer}H{head}"] == pytest.approx(difference(without, right, wrong), abs=1e-5)
    seen = {}
    names = ["ln_final.hook_scale", *[f"blocks.{i}.attn.hook_z" for i in range(3)]]
    folded.run_with_hooks(clean, fwd_hooks=[*hooks, *[(n, lambda x, hook: seen.update({hook.name: x.clone()})) for n in names]])
    cache = {("z", i): seen[f"blocks.{i}.attn.hook_z"] for i in range(3)} | {names[0]: seen[names[0]]}
    expected = _direct(folded, cache, right, wrong)
    assert expected[layer, head] == 0
    torch.testing.assert_close(measured("backup_heads", folded).values.float(), expected, atol=1e-5, rtol=1e-3)


def test_layers_and_points_sum_to_the_difference_and_biases_cancel(model):
    clean, _, right, wrong = batches(model)
    logits, cache = model.run_with_cache(clean)
    direction = (model.W_U[:, right] - model.W_U[:, wrong]).T * model.ln_f.weight
    scale = cache["ln_final.hook_scale"][:, -1]

    def read(x):
        return (((x - x.mean(-1, keepdim=True)) / scale) * direction).sum(-1).mean().item()

    points, layers = measured("accumulated", model), measured("dla_layers", model)
    assert points["final_post"] == pytest.approx(difference(logits, right, wrong), abs=1e-4)
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
    torch.testing.assert_close(measured("dla_prompt", folded).values[1].float(), expected, atol=1e-5, rtol=1e-3)
    best = {}
    for layer, block in enumerate(folded.h):
        written = block.mlp.c_proj.weight - block.mlp.c_proj.weight.mean(-1, keepdim=True)
        for n, v in enumerate(cache[f"blocks.{layer}.mlp.hook_post"][0, -1] * (written @ folded.W_U[:, 5335]) / scale):
            best[f"' Mary': L{layer}N{n}"] = v.item()
    top = max(best, key=lambda label: abs(best[label]))
    assert measured("dla_neurons", folded)[top] == pytest.approx(best[top], rel=1e-3)


def test_identities_hold_on_every_model(model):
    outcome = literature.run_one(literature.BY_ID["sums"], model)
    assert outcome.status == "pass" and outcome.comparison.cells == 5
    assert set(outcome.measured.rows) == set(attributions.SUMS)
