"""Value-weighted and norm-based attention, against loops over transformer-lens's activations."""

import torch
from helpers import bridge, max_difference, random_model, tiny_config

from interp.attention_norms import attention_norms, head_vectors, norm_names
from interp.edits import Edit, Plan
from interp.run import trace

CONFIG = tiny_config(n_layers=2, d_model=32, d_vocab=200)
MODEL = random_model(CONFIG)
RUN = trace(MODEL, [5, 17, 99, 3, 17, 60, 8])


@torch.no_grad()
def their_cache():
    their = bridge(MODEL)
    their.set_use_attn_result(True)
    return their, their.run_with_cache(torch.tensor([RUN.tokens]))[1]


@torch.no_grad()
def test_norms_by_loops_over_transformer_lens():
    result, n = attention_norms(MODEL, RUN), len(RUN)
    their, cache = their_cache()
    for layer in range(2):
        pattern, v = cache["pattern", layer][0], cache["v", layer][0]
        for q in range(n):
            for k in range(n):
                vectors = [pattern[h, q, k] * (v[k, h] @ their.W_O[layer, h]) for h in range(4)]
                for h in range(4):
                    assert abs(result.norms[layer, h, q, k] - vectors[h].norm()) <= 1e-5
                    assert abs(result.value_weighted[layer, h, q, k] - pattern[h, q, k] * v[k, h].norm()) <= 1e-5
                assert abs(result.together[layer, q, k] - sum(vectors).norm()) <= 1e-5
    assert result.check.holds and result.check.residual > 0
    assert max_difference(result.shares.sum(-1), torch.ones(2, 4, n)) <= 1e-5


@torch.no_grad()
def test_vectors_sum_to_the_heads_result_of_transformer_lens():
    _, cache = their_cache()
    for layer, head, query in ((0, 1, 4), (1, 3, -1)):
        found = head_vectors(MODEL, RUN, layer, head, query)
        assert max_difference(found.vectors.sum(0), cache["result", layer][0, query, head]) <= 1e-5
        assert max_difference(found.vectors.norm(dim=-1), attention_norms(MODEL, RUN).norms[layer, head, query]) <= 1e-5
        assert found.check.holds


@torch.no_grad()
def test_f_is_the_layer_norm_frozen_transform_of_the_paper():
    found = head_vectors(MODEL, RUN, 1, 2, 5)
    block, x = MODEL.h[1], RUN.activations["blocks.1.hook_resid_pre"]
    scale = RUN.activations["blocks.1.ln1.hook_scale"]
    for k in range(6):
        normalised = (x[k] - x[k].mean()) / scale[k] * block.ln_1.weight + block.ln_1.bias
        f = (normalised @ block.attn.W_V[2] + block.attn.b_V[2]) @ block.attn.W_O[2]
        assert max_difference(found.vectors[k], RUN.activations["pattern", 1][2, 5, k] * f) <= 1e-5


def test_only_the_names_asked_for_are_needed_and_an_edit_of_z_breaks_the_check():
    few = trace(MODEL, RUN.tokens[1:], names_filter=norm_names(2))
    assert max_difference(attention_norms(MODEL, few).norms, attention_norms(MODEL, RUN).norms) <= 1e-6
    edited = trace(MODEL, RUN.tokens[1:], Plan((Edit.scale("z", 0, 1, value=3.0),)))
    assert not attention_norms(MODEL, edited).check.holds


def test_float64_is_exact_and_heads_that_cancel_write_nothing_together():
    model = random_model(CONFIG).double()
    with torch.no_grad():  # head 1 of layer 0 is head 0 with its output turned round; heads 2 and 3 write nothing
        for part in model.h[0].attn.c_attn.weight.chunk(3, -1):
            part[:, 8:16] = part[:, :8]
        for part in model.h[0].attn.c_attn.bias.chunk(3, -1):
            part[8:16] = part[:8]
        model.h[0].attn.c_proj.weight[8:16] = -model.h[0].attn.c_proj.weight[:8]
        model.h[0].attn.c_proj.weight[16:] = 0
    result = attention_norms(model, trace(model, RUN.tokens[1:]))
    assert result.check.residual <= 1e-12 and result.together[0].max() <= 1e-6
    assert result.norms[0, 0].max() > 0.1
