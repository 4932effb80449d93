"""Sparse autoencoders in the SAELens layout: written here, read, and edited; every formula by hand."""

import math

import pytest
import torch
from helpers import max_difference, random_model, tiny_config
from sae_folders import NEW, OLD, folder

from gpt2_core import generate
from interp.edits import Edit, Plan
from interp.run import trace
from interp.sae import FeatureEdit, feature_hook, load, read

MODEL = random_model(tiny_config(n_layers=2, d_model=32, d_vocab=200))
IDS = [5, 17, 99, 3, 17, 60, 8]
RUN = trace(MODEL, IDS)
TOKENS = torch.tensor([RUN.tokens])


@pytest.mark.parametrize("cfg", [OLD, NEW, {**OLD, "model_from_pretrained_kwargs": {"center_writing_weights": True}}])
def test_features_and_error_by_hand(tmp_path, cfg):
    w = folder(tmp_path, cfg)
    sae = load(tmp_path, MODEL)
    found, centred = read(sae, RUN), "model_from_pretrained_kwargs" in cfg
    x = RUN.activations[sae.hook_name].flatten(1)
    assert sae.hook_name == (cfg.get("hook_name") or cfg["metadata"]["hook_name"]) and sae.centred == centred
    missed = []
    for i, row in enumerate(x):
        row = row - row.mean() if centred else row
        shifted = row - w["b_dec"] if cfg["apply_b_dec_to_input"] else row
        features = (shifted @ w["W_enc"] + w["b_enc"]).clamp(min=0)
        assert max_difference(found.features[i], features) <= 1e-5 and found.active[i] == (features > 0).sum()
        missed.append(row - features @ w["W_dec"] - w["b_dec"])
        assert found.error[i].item() == pytest.approx((missed[-1].norm() / row.norm()).item(), abs=1e-5)
    x = x - x.mean(-1, keepdim=True) if centred else x
    total = sum((row - x[1:].mean(0)).pow(2).sum() for row in x[1:])
    assert found.unexplained == pytest.approx((sum(m.pow(2).sum() for m in missed[1:]) / total).item(), rel=1e-4)
    assert found.provenance == RUN.provenance
    for short in ([], [5]):  # one and two positions have no variance over positions
        reading = read(sae, trace(MODEL, short))
        assert math.isnan(reading.unexplained) and reading.error.isfinite().all()
    ids, values = found.top(3, k=4)
    assert values.tolist() == sorted(found.features[3].tolist(), reverse=True)[:4]
    assert max_difference(found.features[3, ids], values) == 0


def test_a_perfect_autoencoder_has_no_error(tmp_path):
    """Features +x and -x of an orthonormal basis give everything back."""
    eye = torch.eye(32)
    both = torch.cat([eye, -eye])
    folder(tmp_path, {**OLD, "d_sae": 64}, W_enc=both.T.contiguous(), W_dec=both, b_enc=torch.zeros(64), b_dec=torch.ones(32))
    sae = load(tmp_path, MODEL)
    found = read(sae, RUN)
    assert found.error.max() <= 1e-5 and found.unexplained <= 1e-9 and (found.active <= 32).all()
    with torch.no_grad():
        assert max_difference(MODEL(TOKENS, hook=feature_hook(MODEL, sae, [], replace=True)), MODEL(TOKENS)) <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("cfg", [OLD, NEW, {**OLD, "model_from_pretrained_kwargs": {"center_writing_weights": True}}])
def test_edits_add_only_the_difference(tmp_path, cfg):
    w = folder(tmp_path, cfg)
    sae = load(tmp_path, MODEL)
    features = read(sae, RUN).features
    strong = features[[2, 4]].amin(0).index_fill(0, torch.tensor(7), 0.0).argmax().item()  # at work at both positions
    edits = [FeatureEdit(7, 3.0), FeatureEdit(strong, -2.0, "scale", (2, 4))]

    def by_hand(x, hook):
        flat = x.flatten(2).clone()
        for i in range(len(features)):
            flat[0, i] += (3.0 - features[i, 7]) * w["W_dec"][7]
            if i in (2, 4):
                flat[0, i] += -3.0 * features[i, strong] * w["W_dec"][strong]
        return flat.view_as(x)

    expected = MODEL.run_with_hooks(TOKENS, fwd_hooks=[(sae.hook_name, by_hand)])
    assert max_difference(MODEL(TOKENS, hook=feature_hook(MODEL, sae, edits)), expected) <= 1e-4
    assert features[[2, 4], strong].min() > 0 and max_difference(expected, RUN.logits[None]) > 1e-3
    assert max_difference(MODEL(TOKENS, hook=feature_hook(MODEL, sae, [])), RUN.logits[None]) <= 1e-5


@torch.no_grad()
def test_replacing_puts_the_reconstruction_in_place_and_a_plan_comes_first(tmp_path):
    folder(tmp_path, {**OLD, "model_from_pretrained_kwargs": {"center_writing_weights": True}})
    sae, plan = load(tmp_path, MODEL), Plan((Edit.scale("resid_pre", 1, value=2.0),))

    def by_hand(x, hook):
        x = 2 * x
        features = sae.encode(x)
        features[..., 4] = 1.5
        return sae.decode(features) + x.mean(-1, keepdim=True)

    expected = MODEL.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.hook_resid_pre", by_hand)])
    hook = feature_hook(MODEL, sae, [FeatureEdit(4, 1.5)], replace=True, plan=plan)
    assert max_difference(MODEL(TOKENS, hook=hook), expected) <= 1e-4


@torch.no_grad()
def test_features_are_edited_while_generating(tmp_path):
    folder(tmp_path, OLD)
    hook = feature_hook(MODEL, load(tmp_path, MODEL), [FeatureEdit(7, 30.0)])
    ids = list(RUN.tokens)
    for _ in range(4):
        ids.append(MODEL(torch.tensor([ids]), hook=hook)[0, -1].argmax().item())
    assert list(generate(MODEL, list(RUN.tokens), max_new_tokens=4, hook=hook, stop_ids=()).ids) == ids[len(RUN) :]


KINDS = {
    "topk as OpenAI's": {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}, "normalize_activations": "layer_norm"},
    "topk of long rows": {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": True, "apply_b_dec_to_input": False},
    "jumprelu": {"architecture": "jumprelu", "normalize_activations": "constant_norm_rescale"},
    "jumprelu, centred": {"architecture": "jumprelu", "model_from_pretrained_kwargs": {"center_writing_weights": True}},
}


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_by_hand(tmp_path, kind):
    """Position by position, feature by feature, in the order of SAELens' `process_sae_in`, `encode` and `decode`."""
    cfg = {**OLD, **KINDS[kind]}
    w = folder(tmp_path, cfg, **{"threshold": torch.linspace(0, 2, 50)} if "jumprelu" in kind else {})
    sae, x = load(tmp_path, MODEL), RUN.activations[cfg["hook_name"]]
    found, long = read(sae, RUN), cfg.get("rescale_acts_by_decoder_norm", False)
    rebuilt, pushed = [], []
    for i, row in enumerate(x):
        mean = row.mean() if "centred" in kind or "OpenAI" in kind else 0.0
        row = row - mean
        std = (row.pow(2).sum() / 31).sqrt() if "OpenAI" in kind else row.norm() / 32**0.5 if kind == "jumprelu" else 1.0
        given = row / (std + 1e-5) if "OpenAI" in kind else row / std
        before = (given - w["b_dec"] * cfg["apply_b_dec_to_input"]) @ w["W_enc"] + w["b_enc"]
        lengths = w["W_dec"].pow(2).sum(-1).sqrt() if long else torch.ones(50)
        before = before * lengths
        if "topk" in kind:
            limit = sorted(before.tolist())[-sae.k]
            features = torch.tensor([max(v, 0.0) if v >= limit else 0.0 for v in before.tolist()])
        else:
            features = torch.tensor([v if v > max(t, 0.0) else 0.0 for v, t in zip(before.tolist(), w["threshold"].tolist())])
        assert max_difference(found.features[i], features) <= 1e-4
        assert 0 < found.active[i] == (features > 0).sum() < 40
        rebuilt.append((features / lengths) @ w["W_dec"] + w["b_dec"])
        rebuilt[-1] = rebuilt[-1] * std + mean
        assert found.error[i].item() == pytest.approx(((row + mean - rebuilt[-1]).norm() / row.norm()).item(), rel=1e-3)
        pushed.append((2.5 - features[7]) * w["W_dec"][7] / lengths[7] * std)
    for replace, wanted in ((False, x + torch.stack(pushed)), (True, torch.stack(rebuilt) + torch.stack(pushed))):
        hook = feature_hook(MODEL, sae, [FeatureEdit(7, 2.5)], replace=replace)
        expected = MODEL.run_with_hooks(TOKENS, fwd_hooks=[(sae.hook_name, lambda x, hook, wanted=wanted: wanted[None])])
        assert max_difference(MODEL(TOKENS, hook=hook), expected) <= 1e-3
        assert max_difference(expected, RUN.logits[None]) > 1e-2


def test_centred_can_be_said_by_the_caller(tmp_path):
    folder(tmp_path, OLD)
    shifted = RUN.activations["blocks.1.hook_resid_pre"] + 5
    for centred in (False, True):
        sae = load(tmp_path, MODEL, centred=centred)
        same = max_difference(sae.encode(shifted), sae.encode(shifted - 5)) <= 1e-4
        assert same == centred


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "jumprelu"}, "threshold"),
        ({"architecture": "gated"}, "only standard"),
        ({"activation_fn_str": "topk"}, "k = None of 50"),
        ({"architecture": "topk", "k": 51}, "k = 51 of 50"),
        ({"normalize_activations": "expected_average_only_in"}, "normalisation"),
        ({"normalize_activations": True}, "normalisation"),
        ({"hook_name": "blocks.7.hook_resid_pre"}, "does not have"),
        ({"hook_name": "blocks.0.mlp.hook_post"}, "128"),
        ({"hook_name": "blocks.0.attn.hook_pattern"}, "no vector"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, change, message):
    folder(tmp_path, {**OLD, **change})
    with pytest.raises(ValueError, match=message):
        load(tmp_path, MODEL)


def test_other_tensors_missing_files_and_wrong_edits_are_refused(tmp_path):
    folder(tmp_path, OLD, threshold=torch.ones(50))
    with pytest.raises(ValueError, match="threshold"):
        load(tmp_path, MODEL)
    folder(tmp_path, OLD, scaling_factor=2 * torch.ones(50))
    with pytest.raises(ValueError, match="scaling_factor"):
        load(tmp_path, MODEL)
    with pytest.raises(ValueError, match="no SAELens folder"):
        load(tmp_path / "nowhere", MODEL)
    folder(tmp_path, OLD)
    with pytest.raises(ValueError, match="Feature 50"):
        feature_hook(MODEL, load(tmp_path, MODEL), [FeatureEdit(50, 1.0)])
    with pytest.raises(ValueError, match="scale"):
        FeatureEdit(1, 1.0, "add")
