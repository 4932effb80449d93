"""Changes at hooks: they keep their positions, follow the plan, and leave the rest of the model alone."""

import pytest
import torch
from helpers import max_difference, random_model, tiny_config

from gpt2_core.cache import KVCache
from interp.changes import change_hook, chosen, site
from interp.edits import Edit, Plan

CONFIG = tiny_config(n_layers=2, d_model=32, d_vocab=200)
MODEL = random_model(CONFIG)
TOKENS = torch.randint(0, 200, (1, 9), generator=torch.Generator().manual_seed(0))


def doubled(x, queries):
    return torch.where(chosen(queries, (2, 6))[..., None], 2 * x, x)


@torch.no_grad()
def test_a_change_keeps_its_positions_with_a_cache_and_with_padding():
    hook = change_hook(MODEL, [("blocks.1.hook_resid_pre", doubled)])
    whole = MODEL(TOKENS, hook=hook)

    def by_hand(x, hook):
        x = x.clone()
        x[:, [2, 6]] *= 2
        return x

    assert max_difference(whole, MODEL.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.hook_resid_pre", by_hand)])) <= 1e-5
    cache = KVCache.empty(MODEL.cfg)
    steps = torch.cat([MODEL(part, hook=hook, cache=cache) for part in TOKENS.split((4, 1, 4), 1)], 1)
    assert max_difference(steps, whole) <= 1e-4
    padded, mask = torch.cat([torch.zeros(1, 3, dtype=torch.long), TOKENS], 1), torch.arange(12)[None] >= 3
    assert max_difference(MODEL(padded, hook=hook, mask=mask)[:, 3:], whole) <= 1e-4


@torch.no_grad()
def test_changes_follow_the_plan_and_each_other():
    name, plan = "blocks.0.hook_resid_post", Plan((Edit.scale("resid_post", 0, value=3.0),))
    hook = change_hook(MODEL, [(name, lambda x, q: x + 1), (name, lambda x, q: x * 2)], plan)
    expected = MODEL.run_with_hooks(TOKENS, fwd_hooks=[(name, lambda x, hook: (3 * x + 1) * 2)])
    assert max_difference(MODEL(TOKENS, hook=hook), expected) <= 1e-5
    assert hook.wants(name) and not hook.wants("blocks.1.hook_resid_post")


def test_sites():
    assert site(CONFIG, "mlp_out", 1) == "blocks.1.hook_mlp_out"
    with pytest.raises(ValueError, match="Layer 2"):
        site(CONFIG, "resid_pre", 2)
    with pytest.raises(ValueError, match="residual stream"):
        site(CONFIG, "z", 0)
