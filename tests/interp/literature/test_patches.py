"""Maps of patching, and of direct paths, against hooks on whole runs."""

import pytest
import torch
from literature_models import batches, difference, measured

from interp.literature import patches, prompts


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
    clean, corrupted, right, wrong = batches(model)
    logits, cache = model.run_with_cache(clean)
    high, low = difference(logits, right, wrong), difference(model(corrupted), right, wrong)
    found = measured(id, model)
    for layer in range(3):
        name = f"blocks.{layer}.{hook}"

        def put(x, hook, name=name):
            x[place] = cache[name][place]
            return x

        patched = difference(model.run_with_hooks(corrupted, fwd_hooks=[(name, put)]), right, wrong)
        assert found.values[layer, place[-1]].item() == pytest.approx((patched - low) / (high - low), abs=2e-4)


def test_a_map_of_one_pair(model):
    clean, corrupted = (model.to_tokens(text) for text in (prompts.MILK_BY_MARY, prompts.MILK))
    john, mary = torch.tensor([1757]), torch.tensor([5335])
    logits, cache = model.run_with_cache(clean)
    high, low = difference(logits, john, mary), difference(model(corrupted), john, mary)

    def put(x, hook):
        x[:, 10] = cache["resid_pre", 1][:, 10]
        return x

    patched = difference(model.run_with_hooks(corrupted, fwd_hooks=[("blocks.1.hook_resid_pre", put)]), john, mary)
    found = measured("patch_one_pair", model)
    assert found.values.shape == (3, 17)
    assert found["L1", "10"] == pytest.approx((patched - low) / (high - low), abs=1e-4)


def test_the_direct_path_is_the_linearised_one_of_folded_weights(model, folded, monkeypatch):
    """delta = (clean result - corrupted result) / ln_1's scale of the corrupted run; added to q at every position."""
    monkeypatch.setattr(patches, "top_head", lambda model: (2, 1))
    clean, corrupted = (folded.to_tokens(text) for text in (prompts.DRINK, prompts.DRINK_BY_MARY))
    mary, john = torch.tensor([5335]), torch.tensor([1757])
    logits, new = folded.run_with_cache(clean)
    base, old = folded.run_with_cache(corrupted)
    high, low = difference(logits, mary, john), difference(base, mary, john)
    found = measured("direct_path", model)  # raw weights: the same number
    for layer, head in ((0, 2), (1, 0)):
        change = (new["z", layer] - old["z", layer])[:, :, head] @ folded.h[layer].attn.W_O[head]
        moved = change / old["blocks.2.ln1.hook_scale"] @ folded.h[2].attn.W_Q[1]

        def add(q, hook, moved=moved):
            q[:, :, 1] += moved
            return q

        patched = difference(folded.run_with_hooks(corrupted, fwd_hooks=[("blocks.2.attn.hook_q", add)]), mary, john)
        expected = (patched - low) / (high - low)
        assert found[f"L{layer}", f"H{head}"] == pytest.approx(expected, abs=2e-4), (layer, head)
    assert found["L2", "H0"] == pytest.approx(0, abs=1e-4)  # it comes too late to be read


def test_no_difference_is_refused_in_a_sentence(model):
    with pytest.raises(ValueError, match="nothing to bring back"):
        patches._normalised(torch.zeros(2), 0.1, 0.1)
