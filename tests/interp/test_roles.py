"""Roles, their nulls and the copy score: heads built to have a role get it, heads without do not."""

import pytest
import torch
from helpers import bridge, max_difference, random_model, tiny_config

from interp.edits import Edit, Plan
from interp.heads import repeated_random_tokens, scores
from interp.roles import TOP, attention_roles, copy_role, copy_scores, null_scores, roles_of

CONFIG = tiny_config(n_layers=2, d_model=32, d_vocab=300, eps=0.1)
MODEL = random_model(CONFIG)


def positional_model(back):
    """One layer, one head that looks `back` positions behind, whatever the tokens."""
    model = random_model(tiny_config(n_layers=1, n_heads=1, d_model=64, n_ctx=32, d_vocab=300))
    with torch.no_grad():
        model.wte.weight.zero_()
        model.wpe.weight.copy_(torch.eye(64)[:32])
        model.h[0].ln_1.weight.fill_(1.0)
        model.h[0].ln_1.bias.zero_()
        weight = torch.zeros(64, 192)
        weight[:, :64], weight[:, 64:128] = 10 * torch.roll(torch.eye(64), -back, 1), torch.eye(64)
        model.h[0].attn.c_attn.weight.copy_(weight)
        model.h[0].attn.c_attn.bias.zero_()
    return model


def duplicate_model():
    """One layer, one head that looks at equal tokens: keys and queries are the token's own random vector."""
    model = random_model(tiny_config(n_layers=1, n_heads=1, d_model=64, n_ctx=32, d_vocab=300))
    with torch.no_grad():
        model.wte.weight.copy_(torch.nn.functional.normalize(torch.randn(300, 64, generator=torch.Generator().manual_seed(1))))
        model.wpe.weight.zero_()
        model.h[0].ln_1.weight.fill_(1.0)
        model.h[0].ln_1.bias.zero_()
        weight = torch.zeros(64, 192)
        weight[:, :64], weight[:, 64:128] = 3 * torch.eye(64), torch.eye(64)
        model.h[0].attn.c_attn.weight.copy_(weight)
        model.h[0].attn.c_attn.bias.zero_()
    return model


def test_a_previous_token_head_has_that_role_only():
    roles = attention_roles(positional_model(1), seeds=(0, 1, 2), batch=2, length=10)
    assert roles_of(roles, 0, 0) == ("previous_token",)
    previous = roles[0]
    assert previous.heads == ((0, 0),) and previous.null.high.item() < 0.5 < previous.score.low.item()


def test_a_head_that_counts_back_is_not_called_an_induction_head():
    """Its induction score is perfect, and the null shows that it does the same without any repetition."""
    roles = attention_roles(positional_model(9), seeds=(0, 1), batch=2, length=10)
    induction = roles[2]
    assert induction.score.low.item() > 0.99 and induction.null.low.item() > 0.99
    assert roles_of(roles, 0, 0) == ()


def test_a_head_that_finds_equal_tokens_is_a_duplicate_head():
    found = attention_roles(duplicate_model(), seeds=(0, 1, 2), batch=2, length=10)
    assert roles_of(found, 0, 0) == ("duplicate_token",) and found[1].null.high.item() < 0.2
    strict = attention_roles(duplicate_model(), seeds=(0, 1, 2), batch=2, length=10, thresholds={"duplicate_token": 0.99})
    assert roles_of(strict, 0, 0) == ()


def test_spreads_are_over_the_scores_of_the_seeds():
    role = attention_roles(MODEL, seeds=(3, 4, 7), batch=2, length=8)[2]
    each = torch.stack([scores(MODEL, seed, 2, 8).induction for seed in (3, 4, 7)])
    assert max_difference(role.score.mean, each.mean(0)) <= 1e-6
    assert torch.equal(role.score.low, each.amin(0)) and torch.equal(role.score.high, each.amax(0))
    with pytest.raises(ValueError, match="seed"):
        attention_roles(MODEL, seeds=())


@torch.no_grad()
def test_null_scores_by_loops():
    length, batch, seed = 8, 2, 5
    found = null_scores(MODEL, seed, batch, length)
    first, second = (repeated_random_tokens(300, batch, length, s)[:, :length] for s in (seed, ~seed & 0x7FFFFFFF))
    assert not torch.equal(first, second)
    _, cache = bridge(MODEL).run_with_cache(torch.cat([first, second], 1))
    generator = torch.Generator().manual_seed(seed)
    keys = [int(r * (q + 2)) for q, r in enumerate(torch.rand(15, generator=generator).tolist())]
    assert all(0 <= key <= q + 1 for q, key in enumerate(keys))
    for layer in range(2):
        for head in range(4):
            p = cache["pattern", layer][:, head]
            cells = {
                "previous_token": [p[b, q, keys[q - 1]] for b in range(2) for q in range(1, 16)],
                "duplicate_token": [p[b, q, q - 8] for b in range(2) for q in range(8, 16)],
                "induction": [p[b, q, q - 7] for b in range(2) for q in range(8, 16)],
            }
            for role, values in cells.items():
                assert found[role][layer, head].item() == pytest.approx(sum(values).item() / len(values), abs=1e-5), role


@torch.no_grad()
def test_copy_score_by_loops():
    tokens = list(range(20, 40))
    shifts = [torch.randint(1, 20, (), generator=torch.Generator().manual_seed(seed)).item() for seed in (3, 8)]
    others = [token for shift in shifts for token in tokens[shift:] + tokens[:shift]]  # of the null: each token's partners
    for negative in (False, True):
        found, role = copy_scores(MODEL, tokens, negative), copy_role(MODEL, tokens, (3, 8), negative)
        assert role.provenance.bos and torch.equal(role.score.mean, found) and role.null.mean.any()
        for layer, block in enumerate(MODEL.h):
            for head in range(4):
                hits = chance = 0
                for i, token in enumerate(tokens):
                    _, cache = MODEL.run_with_cache(torch.tensor([[299, token]]))
                    x = cache["resid_post", 0][0, 1]
                    x = (x - x.mean()) / (x.var(correction=0) + 0.1).sqrt() * block.ln_1.weight + block.ln_1.bias
                    out = (x @ block.attn.W_V[head] + block.attn.b_V[head]) @ block.attn.W_O[head]
                    logits = MODEL.unembed((-out if negative else out)[None, None])[0, 0]
                    top = logits.topk(TOP).indices.tolist()
                    hits, chance = hits + (token in top), chance + (others[i] in top) + (others[i + 20] in top)
                assert found[layer, head].item() == pytest.approx(hits / 20, abs=1e-6)
                assert role.null.mean[layer, head].item() == pytest.approx(chance / 40, abs=1e-6)


def copying_model():
    """Head 0 of layer 1 writes back the token it reads, head 1 pushes it down; block 0 writes nothing."""
    model = random_model(tiny_config(n_layers=2, n_heads=2, d_model=64, d_vocab=60))
    with torch.no_grad():
        model.wte.weight.copy_(torch.eye(64)[:60])
        model.wpe.weight.zero_()
        for part in (model.h[0].attn.c_proj, model.h[0].mlp.c_proj):
            part.weight.zero_()
            part.bias.zero_()
        model.h[1].attn.c_attn.weight[:, 128:160] = torch.eye(64)[:, :32]
        model.h[1].attn.c_attn.weight[:, 160:] = torch.eye(64)[:, :32]
        model.h[1].attn.c_attn.bias.zero_()
        model.h[1].attn.c_proj.weight[:32] = torch.eye(64)[:32]
        model.h[1].attn.c_proj.weight[32:] = -torch.eye(64)[:32]
    return model


def test_copying_heads_get_the_role_and_others_do_not():
    model, tokens = copying_model(), list(range(4, 28))
    copy, negative = (copy_role(model, tokens, seeds=(0, 1, 2), negative=sign) for sign in (False, True))
    assert copy.heads == ((1, 0),) and copy.score.mean[1, 0] == 1 and copy.null.high[1, 0] < 0.5
    assert negative.heads == ((1, 1),) and negative.score.mean[1, 1] == 1
    assert roles_of((copy, negative), 1, 1) == ("negative_copy",)
    with pytest.raises(ValueError, match="two different"):
        copy_role(model, [5, 5])


def test_a_head_that_writes_the_same_for_all_copies_nothing():
    """Its bias brings back the five tokens of the list, whatever it reads: score and null are both 1."""
    model = random_model(tiny_config(n_layers=1, n_heads=1, d_model=64, d_vocab=60))
    with torch.no_grad():
        model.wte.weight.copy_(torch.eye(64)[:60])
        model.h[0].attn.c_attn.weight[:, 128:] = 0
        model.h[0].attn.c_attn.bias[128:] = torch.tensor([5.0] * 5 + [0.0] * 59)
        model.h[0].attn.c_proj.weight.copy_(torch.eye(64))
        model.ln_f.weight.fill_(1.0)
        model.ln_f.bias.zero_()
    role = copy_role(model, [0, 1, 2, 3, 4])
    assert role.score.mean.item() == role.null.low.item() == 1 and role.heads == ()


def test_a_plan_is_in_force():
    edited = attention_roles(MODEL, seeds=(0,), batch=2, length=8, plan=Plan((Edit.zero("pattern", 0, 1),)))
    for role in edited:
        assert role.score.mean[0, 1] == role.null.mean[0, 1] == 0 and role.score.mean[0, 0] > 0
    tokens = list(range(20, 60))
    plain, other = (copy_scores(MODEL, tokens, plan=plan) for plan in (Plan(), Plan((Edit.scale("mlp_out", 0, value=-8.0),))))
    assert not torch.equal(plain, other)
