"""Patchscopes against the same patch written by hand for transformer-lens, and against greedy decoding without a cache."""

import pytest
import torch
from helpers import bridge, max_difference, random_model, tiny_config

from interp.edits import Edit, Plan
from interp.patchscope import hidden_state, patchscope
from interp.run import trace

MODEL = random_model(tiny_config(n_layers=3, d_model=32, d_vocab=200))
SOURCE, TARGET = [5, 17, 99, 3], [60, 8, 7, 44, 2]
BOS = 199


@torch.no_grad()
@pytest.mark.parametrize(("source_layer", "target_layer", "at"), [(2, 0, -1), (0, 2, 1), (3, 1, 0), (1, 1, 5)])
def test_patch_equals_transformer_lens_and_goes_on_greedily(source_layer, target_layer, at):
    found = patchscope(MODEL, SOURCE, 2, source_layer, TARGET, at, target_layer, max_new_tokens=4, k=3)
    their = bridge(MODEL)
    _, cache = their.run_with_cache(torch.tensor([[BOS, *SOURCE]]))
    name = "blocks.2.hook_resid_post" if source_layer == 3 else f"blocks.{source_layer}.hook_resid_pre"
    state = cache[name][0, 2]

    def patched(ids):
        def f(x, hook):
            x = x.clone()
            x[:, range(6)[at]] = state
            return x

        return their.run_with_hooks(torch.tensor([ids]), fwd_hooks=[(f"blocks.{target_layer}.hook_resid_pre", f)])[0, -1]

    ids = [BOS, *TARGET]
    top = patched(ids).softmax(-1).topk(3)
    assert found.top_ids.tolist() == top.indices.tolist() and max_difference(found.top_probabilities, top.values) <= 1e-5
    written = []
    for _ in range(4):
        written.append(patched(ids + written).argmax().item())
    assert found.text == "".join(f"<|{id}|>" for id in written)
    assert found.check.holds and found.baseline_ids.tolist() == trace(MODEL, TARGET).logits[-1].topk(3).indices.tolist()
    assert (found.source_token, found.target_token) == ("<|17|>", f"<|{([BOS, *TARGET])[at]}|>")


def test_transform_and_plan():
    plan = Plan((Edit.zero("attn_out", 0),))
    state = hidden_state(MODEL, SOURCE, -1, 2, plan)
    assert max_difference(state, trace(MODEL, SOURCE, plan).activations["resid_pre", 2][-1]) <= 1e-6
    doubled = patchscope(MODEL, SOURCE, -1, 2, TARGET, -1, 2, transform=lambda h: 2 * h, max_new_tokens=1)
    hook = [
        (
            "blocks.2.hook_resid_pre",
            lambda x, hook: torch.cat([x[:, :-1], 2 * hidden_state(MODEL, SOURCE, -1, 2)[None, None]], 1),
        )
    ]
    with torch.no_grad():
        expected = MODEL.run_with_hooks(torch.tensor([[BOS, *TARGET]]), fwd_hooks=hook)[0, -1].softmax(-1).topk(5)
    assert max_difference(doubled.top_probabilities, expected.values) <= 1e-5
    under = patchscope(MODEL, SOURCE, -1, 2, TARGET, plan=plan, max_new_tokens=1)
    assert under.check.holds and under.baseline_ids.tolist() == trace(MODEL, TARGET, plan).logits[-1].topk(5).indices.tolist()


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ((9, 0, TARGET), "Position 9"),
        ((0, 4, TARGET), "Layer 4"),
        ((0, 0, TARGET, -1, 3), r"0\.\.2"),
        ((0, 0, [1] * 62), "context"),
    ],
)
def test_places_that_are_not_there(places, message):
    with pytest.raises(ValueError, match=message):
        patchscope(MODEL, SOURCE, *places)
