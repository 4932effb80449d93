"""Attention, predictions, lens and head scores against naive loops and transformer-lens."""

import math

import pytest
import torch
from helpers import bridge, max_difference, random_model, tiny_config

from gpt2_core.tokenizer import Tokenizer
from interp import attention, heads, lens, predictions
from interp.edits import Edit, Plan
from interp.run import trace

CONFIG = tiny_config(n_layers=3)
MODEL = random_model(CONFIG, tokenizer=Tokenizer.load())
RUN = trace(MODEL, "When the old clock struck twelve, the old")
TOKENS = torch.tensor([RUN.tokens])


def test_patterns_equal_transformer_lens():
    result = attention.patterns(RUN)
    with torch.no_grad():
        _, cache = bridge(MODEL).run_with_cache(TOKENS)
    theirs = torch.stack([cache[f"blocks.{layer}.attn.hook_pattern"][0] for layer in range(3)])
    assert max_difference(result.values, theirs) <= 1e-5
    assert result.check.holds
    only = trace(MODEL, RUN.text, names_filter=attention.pattern_names(3))
    assert max_difference(attention.patterns(only).values, result.values) <= 1e-6 and len(only.activations) == 3


def test_an_edited_cell_shows_in_the_check():
    edited = attention.patterns(trace(MODEL, RUN.text, Plan((Edit.set_cell(0, 1, 5, 2, 1.0),))))
    assert edited.values[0, 1, 5, 2] == 1 and not edited.check.holds
    kept = attention.patterns(trace(MODEL, RUN.text, Plan((Edit.set_cell(0, 1, 5, 2, 1.0, renormalise=True),))))
    assert kept.check.holds


def test_rows_are_judged_by_the_precision_of_their_weights():
    rounded = [attention.rows_check(5e-3, dtype).holds for dtype in (torch.float32, torch.bfloat16, torch.float16)]
    assert rounded == [False, True, True]
    assert attention.rows_check(9e-5, torch.float32).holds and not attention.rows_check(3e-2, torch.bfloat16).holds


def test_next_tokens_by_hand():
    result = predictions.next_tokens(RUN, k=7)
    p = torch.tensor([math.exp(x) for x in RUN.logits[-1].double().tolist()], dtype=torch.float64)
    p /= p.sum()
    order = sorted(range(len(p)), key=lambda i: -p[i])[:7]
    assert result.ids.tolist() == order and result.position == len(RUN) - 1
    assert max_difference(result.probabilities, p[order]) <= 1e-6
    assert result.entropy == pytest.approx(-sum(x * math.log2(x) for x in p.tolist()), abs=1e-3)
    assert result.check.holds
    assert max_difference(predictions.probability_of(RUN, order), result.probabilities) == 0
    for outside in (99, -len(RUN) - 1):
        with pytest.raises(ValueError, match=f"Position {outside} is outside"):
            predictions.next_tokens(RUN, position=outside)


def test_token_statistics_by_loop():
    stats = predictions.token_statistics(RUN)
    assert math.isnan(stats.surprisal[0]) and stats.rank[0] == -1
    for i in range(1, len(RUN)):
        p = RUN.logits[i - 1].double().softmax(-1)
        own = p[RUN.tokens[i]].item()
        assert stats.surprisal[i].item() == pytest.approx(-math.log2(own), abs=1e-4)
        assert stats.rank[i].item() == (p > own).sum().item()
        assert stats.entropy[i].item() == pytest.approx(-(p * p.log2()).sum().item(), abs=1e-3)
    with torch.no_grad():
        loss = MODEL.run_with_hooks(TOKENS, return_type="loss").item()
    assert stats.mean_surprisal == pytest.approx(loss / math.log(2), abs=1e-4)


def test_statistics_of_a_long_text_do_not_depend_on_the_chunks():
    model = random_model(tiny_config(n_ctx=300, d_vocab=50257), tokenizer=Tokenizer.load())
    run = trace(model, [5, 6, 7] * 90)
    logprobs = run.logits[:-1].log_softmax(-1).gather(1, torch.tensor(run.tokens[1:])[:, None])[:, 0]
    assert max_difference(predictions.token_statistics(run).logprob[1:], logprobs) <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("mid", [False, True])
def test_lens_equals_transformer_lens(mid):
    result = lens.logit_lens(MODEL, RUN, k=3, mid=mid)
    their = bridge(MODEL)
    _, cache = their.run_with_cache(TOKENS)
    assert len(result.labels) == len(lens.lens_names(3, mid)) == result.top_ids.shape[0]
    for row, name in enumerate(lens.lens_names(3, mid)):
        p = their.unembed(their.ln_final(cache[name]))[0].softmax(-1)
        assert max_difference(result.top_probabilities[row], p.topk(3).values) <= 1e-5
        assert max_difference(result.entropy[row], -(p * p.log2()).sum(-1)) <= 1e-3
    assert result.check.holds
    final = RUN.logits.softmax(-1)
    assert max_difference(result.target_probability[-1], final.max(-1).values) <= 1e-5
    assert result.target_rank[-1].eq(0).all()
    assert max_difference(result.kl_to_final[-1], torch.zeros(len(RUN))) <= 1e-4
    first = their.unembed(their.ln_final(cache["blocks.0.hook_resid_pre"]))[0].log_softmax(-1)
    kl = (final * (final.log() - first)).sum(-1) / math.log(2)
    assert max_difference(result.kl_to_final[0], kl) <= 1e-3


def test_lens_tracks_a_given_token():
    with pytest.raises(ValueError, match="not in the vocabulary of 50257"):
        lens.logit_lens(MODEL, RUN, target=50257)
    target = RUN.tokens[3]
    result = lens.logit_lens(MODEL, RUN, target=target)
    p = RUN.logits.softmax(-1)
    assert max_difference(result.target_probability[-1], p[:, target]) <= 1e-5
    assert result.target_rank[-1].tolist() == [(row > row[target]).sum().item() for row in p]


def naive_scores(patterns, length):
    """[layer head] per role by loops over [layer batch head query key]."""
    n_layers, n_batch, n_heads, n, _ = patterns.shape
    out = {}
    for role, back, start in (("previous_token", 1, 1), ("duplicate_token", length, length), ("induction", length - 1, length)):
        table = torch.zeros(n_layers, n_heads)
        for layer in range(n_layers):
            for head in range(n_heads):
                cells = [patterns[layer, b, head, i, i - back].item() for b in range(n_batch) for i in range(start, n)]
                table[layer, head] = sum(cells) / len(cells)
        out[role] = table
    return out


@torch.no_grad()
def test_head_scores_by_loops_and_losses_by_hand():
    result = heads.scores(MODEL, seed=3, batch=2, length=8)
    tokens = heads.repeated_random_tokens(CONFIG.d_vocab, 2, 8, seed=3)
    assert torch.equal(tokens[:, :8], tokens[:, 8:])
    logits, cache = bridge(MODEL).run_with_cache(tokens)
    expected = naive_scores(torch.stack([cache[f"blocks.{layer}.attn.hook_pattern"] for layer in range(3)]), 8)
    for role, table in expected.items():
        assert max_difference(getattr(result, role), table) <= 1e-5, role
    loss = -logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    assert result.first_copy_loss == pytest.approx(loss[:, :7].mean().item(), abs=1e-4)
    assert result.second_copy_loss == pytest.approx(loss[:, 8:].mean().item(), abs=1e-4)
    assert result.gain == pytest.approx(result.first_copy_loss - result.second_copy_loss)
    assert not result.provenance.bos


def test_chance_is_what_even_attention_scores():
    even = random_model(CONFIG)
    with torch.no_grad():
        for block in even.h:
            block.attn.c_attn.weight[:, : 2 * CONFIG.d_model] = 0
            block.attn.c_attn.bias[: 2 * CONFIG.d_model] = 0
    result = heads.scores(even, length=10)
    for role in ("previous_token", "duplicate_token", "induction"):
        assert max_difference(getattr(result, role), torch.full((3, 4), result.chance[role])) <= 1e-5


def test_a_perfect_previous_token_head_scores_one():
    result = heads.scores(_previous_token_model(), length=10)
    assert result.previous_token[0, 0] > 0.99 and result.induction[0, 0] < 0.01


def _previous_token_model():
    """One layer, one head; positions are orthogonal and a query reads the key of the position before it."""
    config = tiny_config(n_layers=1, n_heads=1, d_model=64, n_ctx=32)
    model = random_model(config)
    with torch.no_grad():
        model.wte.weight.zero_()
        model.wpe.weight.copy_(torch.eye(64)[:32])
        model.h[0].ln_1.weight.fill_(1.0)
        model.h[0].ln_1.bias.zero_()
        weight, shift = torch.zeros(64, 192), torch.roll(torch.eye(64), -1, 1)
        weight[:, :64], weight[:, 64:128] = 10 * shift, torch.eye(64)
        model.h[0].attn.c_attn.weight.copy_(weight)
        model.h[0].attn.c_attn.bias.zero_()
    return model


def test_scores_under_a_plan_and_with_bad_lengths():
    edited = heads.scores(MODEL, length=8, plan=Plan((Edit.zero("pattern", 0, 1),)))
    assert edited.previous_token[0, 1] == 0 and edited.previous_token[0, 0] > 0
    with pytest.raises(ValueError, match=r"2\.\.32"):
        heads.scores(MODEL, length=40)


def test_a_text_needs_a_tokenizer():
    with pytest.raises(ValueError, match="no tokenizer"):
        trace(random_model(tiny_config(d_model=16)), "The old clock")


def test_a_run_may_keep_no_activations():
    run = trace(MODEL, RUN.text, names_filter=[])
    assert len(run.activations) == 0 and max_difference(run.logits, RUN.logits) <= 1e-5
