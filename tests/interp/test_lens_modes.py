"""The logit lens with LayerNorm frozen, and with a translator."""

import math

import pytest
import torch
from helpers import bridge, max_difference, random_model, tiny_config

from interp import lens
from interp.run import trace

MODEL = random_model(tiny_config(n_layers=3, d_model=32, d_vocab=200, eps=0.1))  # an eps that shows
RUN = trace(MODEL, [5, 17, 99, 3, 17, 60, 8])


@torch.no_grad()
def test_frozen_lens_divides_by_transformer_lens_final_scale():
    their = bridge(MODEL)
    _, cache = their.run_with_cache(torch.tensor([RUN.tokens]))
    result = lens.logit_lens(MODEL, RUN, k=3, layer_norm="frozen")
    scale = cache["ln_final.hook_scale"]
    for row, name in enumerate(lens.lens_names(3)):
        x = cache[name]
        normalised = (x - x.mean(-1, keepdim=True)) / scale * MODEL.ln_f.weight + MODEL.ln_f.bias
        p = their.unembed(normalised)[0].softmax(-1)
        assert max_difference(result.top_probabilities[row], p.topk(3).values) <= 1e-5
        assert max_difference(result.entropy[row], -(p * p.log2()).sum(-1)) <= 1e-3
    assert result.check.holds and result.layer_norm == "frozen"


def test_the_two_modes_differ_at_the_first_row_and_agree_at_the_last():
    frozen, recomputed = (lens.logit_lens(MODEL, RUN, layer_norm=mode) for mode in ("frozen", "recomputed"))
    assert max_difference(frozen.entropy[0], recomputed.entropy[0]) > 1e-2
    assert frozen.entropy[0].mean() > recomputed.entropy[0].mean()  # early rows look more uniform
    assert max_difference(frozen.top_probabilities[-1], recomputed.top_probabilities[-1]) <= 1e-5


def test_frozen_rows_are_sums_of_what_was_added():
    """With the scale frozen the read-out is affine: the step of the logits is the read-out of what the block wrote."""
    rows = list(lens.read_rows(MODEL, RUN, layer_norm="frozen"))
    x, final = RUN.activations, RUN.activations["blocks.2.hook_resid_post"]
    scale = (final.var(-1, keepdim=True, correction=0) + 0.1).sqrt()
    for layer in range(3):
        written = x["attn_out", layer] + x["mlp_out", layer]
        step = (written - written.mean(-1, keepdim=True)) / scale * MODEL.ln_f.weight @ MODEL.W_U
        assert max_difference(rows[layer + 1] - rows[layer], step) <= 1e-4


def test_a_translator_is_read_in_place_of_the_residual_and_bad_modes_are_refused():
    last = lens.lens_names(3)[-1]
    result = lens.logit_lens(MODEL, RUN, translate=lambda name, x: RUN.activations[last])
    assert max_difference(result.kl_to_final, torch.zeros(4, len(RUN))) <= 1e-4
    part = next(lens.read_rows(MODEL, RUN, at=slice(2, 4)))
    assert max_difference(part, next(lens.read_rows(MODEL, RUN))[2:4]) <= 1e-5
    with pytest.raises(ValueError, match="recomputed, frozen"):
        lens.logit_lens(MODEL, RUN, layer_norm="final")
    with pytest.raises(ValueError, match="translated"):
        lens.logit_lens(MODEL, RUN, layer_norm="frozen", translate=lambda name, x: x)
    assert math.isfinite(result.check.residual)
