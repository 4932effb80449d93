"""One attention score taken apart, against transformer-lens's score and decomposition and naive loops."""

import pytest
import torch
from helpers import bridge, max_difference, random_model, tiny_config

from interp.edits import Edit, Plan
from interp.qk import qk_names, residual_parts, score_parts
from interp.run import trace

MODEL = random_model(tiny_config(n_layers=3, d_model=32, d_vocab=200, eps=0.1))
RUN = trace(MODEL, [5, 17, 99, 3, 17, 60, 8])


@torch.no_grad()
@pytest.mark.parametrize("by_head", [False, True])
@pytest.mark.parametrize(("layer", "head", "query", "key"), [(0, 1, 4, 2), (1, 0, 7, 7), (2, 3, -1, 0)])
def test_sums_equal_transformer_lens_score(layer, head, query, key, by_head):
    _, cache = bridge(MODEL).run_with_cache(torch.tensor([RUN.tokens]))
    found = score_parts(MODEL, RUN, layer, head, query, key, by_head)
    theirs = cache["attn_scores", layer][0, head, query, key].item()
    assert found.score == pytest.approx(theirs, abs=1e-4)
    for total in (found.dimensions.sum(), found.table.sum(), found.query_side.sum(), found.key_side.sum()):
        assert total.item() == pytest.approx(theirs, abs=1e-4)
    q, k = cache["q", layer][0, query, head], cache["k", layer][0, key, head]
    assert max_difference(found.dimensions, q * k / 8**0.5) <= 1e-5
    assert all(check.holds for check in found.checks)


@torch.no_grad()
def test_every_cell_by_hand():
    layer, head, query, key = 1, 2, 5, 3
    found, block, x = score_parts(MODEL, RUN, layer, head, query, key), MODEL.h[1], RUN.activations
    assert found.labels == ("embed", "pos_embed", "L0 attn", "L0 mlp", "bias")
    token = [MODEL.wte.weight[RUN.tokens[p]] for p in range(8)]
    sides = []
    for p, W, b in ((query, block.attn.W_Q[head], block.attn.b_Q[head]), (key, block.attn.W_K[head], block.attn.b_K[head])):
        parts = [token[p], MODEL.wpe.weight[p], x["attn_out", 0][p], x["mlp_out", 0][p]]
        scale = x["blocks.1.ln1.hook_scale"][p]
        side = [((part - part.mean()) / scale * block.ln_1.weight) @ W for part in parts]
        sides.append([*side, block.ln_1.bias @ W + b])
    for a, q in enumerate(sides[0]):
        for b, k in enumerate(sides[1]):
            assert found.table[a, b].item() == pytest.approx((q @ k).item() / 8**0.5, abs=1e-5)


@torch.no_grad()
def test_parts_per_head_equal_transformer_lens():
    their = bridge(MODEL)
    their.set_use_attn_result(True)
    _, cache = their.run_with_cache(torch.tensor([RUN.tokens]))
    labels, parts = residual_parts(MODEL, RUN, 2, 6, by_head=True)
    for layer in range(2):
        for head in range(4):
            own = parts[labels.index(f"L{layer}H{head}")]
            assert max_difference(own, cache["result", layer][0, 6, head]) <= 1e-5
        assert max_difference(parts[labels.index(f"L{layer} b_O")], MODEL.h[layer].attn.b_O) == 0
    assert max_difference(parts.sum(0), cache["resid_pre", 2][0, 6]) <= 1e-5


def test_few_names_suffice_and_float64_is_exact():
    few = score_parts(MODEL, trace(MODEL, RUN.tokens[1:], names_filter=qk_names(2)), 2, 1, 6, 4, by_head=True)
    assert max_difference(few.table, score_parts(MODEL, RUN, 2, 1, 6, 4, by_head=True).table) <= 1e-6
    from_the_end = score_parts(MODEL, RUN, 2, 1, -2, -4)
    assert (from_the_end.query, from_the_end.key) == (6, 4)
    assert torch.equal(from_the_end.table, score_parts(MODEL, RUN, 2, 1, 6, 4).table)
    double = random_model(MODEL.config).double()
    assert all(check.residual <= 1e-12 for check in score_parts(double, trace(double, [5, 6, 7]), 2, 1, 3, 1).checks)


def test_edits_are_a_part_of_their_own():
    run = trace(MODEL, RUN.tokens[1:], Plan((Edit.scale("resid_post", 0, value=2.0),)))
    found = score_parts(MODEL, run, 1, 0, 5, 2)
    assert found.labels[-2:] == ("edits", "bias") and found.query_side[-2].abs() > 1e-3
    assert all(check.holds for check in found.checks)
    plain = score_parts(MODEL, RUN, 1, 0, 5, 2)
    for component in "qk":
        run = trace(MODEL, RUN.tokens[1:], Plan((Edit.scale(component, 1, 0, value=2.0),)))
        doubled = score_parts(MODEL, run, 1, 0, 5, 2)
        assert all(check.holds for check in doubled.checks) and doubled.score == pytest.approx(2 * plain.score, abs=1e-4)
        side = doubled.query_side if component == "q" else doubled.key_side
        assert side[doubled.labels.index("edits")].item() == pytest.approx(plain.score, abs=1e-4)  # what came on top
        other = score_parts(MODEL, run, 1, 1, 5, 2)
        assert other.query_side[-2].abs() <= 1e-5 and other.key_side[-2].abs() <= 1e-5  # another head was not edited


def test_a_wrong_part_breaks_the_check():
    run = trace(MODEL, RUN.tokens[1:])
    run.activations.cache_dict["blocks.0.hook_mlp_out"] = run.activations["mlp_out", 0] * 1.1
    assert [check.holds for check in score_parts(MODEL, run, 1, 0, 5, 2).checks] == [True, False]


@pytest.mark.parametrize("place", [(0, 0, 2, 3), (0, 0, 8, 0), (3, 0, 1, 0), (0, 4, 1, 0), (0, 0, -9, -9)])
def test_places_that_are_not_there(place):
    with pytest.raises(ValueError):
        score_parts(MODEL, RUN, *place)
