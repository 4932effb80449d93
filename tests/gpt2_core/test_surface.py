"""Code written for transformer-lens runs on our model and gives what it gives on transformer-lens's own."""

import pytest
import torch
from helpers import bridge, max_difference, random_model, some_tokens, tiny_config
from transformer_lens import patching
from transformer_lens.head_detector import detect_head
from transformer_lens.utilities import get_act_name

from gpt2_core.activations import act_name
from gpt2_core.tokenizer import Tokenizer

CONFIG = tiny_config(n_layers=2, n_heads=2, d_model=32)
MODEL = random_model(CONFIG, tokenizer=Tokenizer.load())
CLEAN, CORRUPTED = some_tokens(CONFIG, 1, 6, seed=1), some_tokens(CONFIG, 1, 6, seed=2)


def metric(logits):
    return logits[0, -1, 11] - logits[0, -1, 222]


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(n for n in dir(patching) if n.startswith("get_act_patch_") and "direct" not in n))
def test_patching_functions(name):
    sweep, lens = getattr(patching, name), bridge(MODEL)
    ours = sweep(MODEL, CORRUPTED, MODEL.run_with_cache(CLEAN)[1], metric)
    theirs = sweep(lens, CORRUPTED, lens.run_with_cache(CLEAN)[1], metric)
    assert ours.shape == theirs.shape and ours.std() > 0
    assert max_difference(ours, theirs) <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("component", ["q", "k", "v"])
def test_direct_path_patching(component):
    lens, results = bridge(MODEL), []
    for model in (MODEL, lens):
        caches = [model.run_with_cache(tokens)[1] for tokens in (CLEAN, CORRUPTED)]
        results.append(patching.get_act_patch_direct_path_all_sources(model, CORRUPTED, *caches, metric, component, False))
    assert results[0].std() > 0
    assert max_difference(*results) <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("pattern", ["previous_token_head", "duplicate_token_head", "induction_head"])
def test_head_detector(pattern):
    text = "the old clock and the old house and the old clock"
    tokens = MODEL.to_tokens(text)
    scores = detect_head(MODEL, text, pattern)
    _, cache = bridge(MODEL).run_with_cache(tokens, remove_batch_dim=True)
    assert max_difference(scores, detect_head(MODEL, text, pattern, cache=cache)) <= 1e-4
    assert scores.shape == (2, 2) and (scores >= 0).all()


@pytest.mark.parametrize(
    "args", [("k", 6), ("resid_pre", 3), ("scale", 4, "ln1"), ("embed",), ("pattern", 0, "attn"), ("attn", 2), ("q", 1, "a"),
             ("mlp_post", 1), ("pre", 0, "mlp"), ("scale",), ("normalized", 1, "ln2"), ("k6",), ("scale4ln1",), ("attn_scores", 5)]
)  # fmt: skip
def test_short_names_equal_transformer_lens(args):
    assert act_name(*args) == get_act_name(*args)


@torch.no_grad()
def test_weights_equal_transformer_lens():
    lens = bridge(MODEL)
    for name in ("W_E", "W_pos", "W_U", "W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O", "W_in", "W_out"):
        assert max_difference(getattr(MODEL, name), getattr(lens, name)) == 0, name


@torch.no_grad()
def test_cache_forms():
    logits, cache = MODEL.run_with_cache("the old clock", remove_batch_dim=True)
    assert cache["pattern", -1].shape == (2, 4, 4) and cache["blocks.0.attn.hook_pattern"] is cache["pattern", 0]
    with pytest.raises(KeyError, match="not in this cache"):
        MODEL.run_with_cache("the old clock", names_filter="hook_embed")[1]["pattern", 0]
    with pytest.raises(ValueError, match="one row"):
        MODEL.run_with_cache(some_tokens(CONFIG), remove_batch_dim=True)
    loss = MODEL.run_with_hooks("the old clock", return_type="loss")
    ids = MODEL.to_tokens("the old clock")[0]
    expected = -logits[0].log_softmax(-1)[torch.arange(3), ids[1:]].mean()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


@torch.no_grad()
def test_cache_keeps_the_edited_activation():
    half = MODEL.run_with_cache(CLEAN, "blocks.0.attn.hook_z", hook=lambda n, x: x / 2 if n.endswith("hook_z") else None)
    assert max_difference(half[1]["z", 0] * 2, MODEL.run_with_cache(CLEAN)[1]["z", 0]) <= 1e-6
    assert max_difference(half[0], MODEL(CLEAN)) > 1e-4


def test_text_helpers():
    assert MODEL.to_str_tokens("the old") == ["<|endoftext|>", "the", " old"]
    assert MODEL.to_string(MODEL.to_tokens("the old", prepend_bos=False)) == "the old"
    assert MODEL.to_single_token(" old") == 1468
    with pytest.raises(ValueError, match="expected one"):
        MODEL.to_single_token("antidisestablishmentarianism")
    with pytest.raises(ValueError, match="equal lengths"):
        MODEL.to_tokens(["a", "a b c"])
