"""To and from transformer-lens and transformers: equal weights, logits, and every activation that has a name on both sides."""

import pytest
import torch
from helpers import max_difference, random_model, some_tokens, tiny_config

from gpt2_core.tokenizer import Tokenizer
from interp.bridge import from_hf, from_transformer_lens, to_hf, to_transformer_lens
from interp.folding import STEPS, FoldedGPT2, fold

CONFIG = tiny_config(d_model=32, d_vocab=101, n_ctx=32, eps=0.1)
UNTIED = tiny_config(d_model=32, d_vocab=101, n_ctx=32, tied=False, d_mlp=100)
RAW = random_model(CONFIG)
MODELS = {"raw": RAW, "untied": random_model(UNTIED), "folded": fold(RAW), "double": random_model(CONFIG).double()}
TOKENS = some_tokens(CONFIG)


def equal_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_to_transformer_lens_and_back(name):
    model = MODELS[name]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    theirs = to_transformer_lens(model)
    logits, cache = theirs.run_with_cache(TOKENS)
    ours, own = model.run_with_cache(TOKENS)
    assert logits.dtype == ours.dtype and max_difference(ours, logits) <= 1e-5
    missing = {key for key in own if key not in cache}
    assert not missing and len(own) > 80, missing
    assert max(max_difference(own[key], cache[key]) for key in own) <= 1e-5
    back = from_transformer_lens(theirs)
    assert equal_weights(model, back) and type(back) is type(model) and back.config.shape() == model.config.shape()
    assert getattr(back, "processing", None) == getattr(model, "processing", None)
    assert max_difference(back(TOKENS), model(TOKENS)) == 0 and "transformer-lens" in back.source
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@torch.no_grad()
def test_an_edit_does_the_same_on_both_sides():
    def halve(z, hook):
        z[:, :, 1] *= 0.5
        return z

    hooks = [("blocks.0.attn.hook_z", halve)]
    theirs = to_transformer_lens(RAW).run_with_hooks(TOKENS, fwd_hooks=hooks)
    assert max_difference(RAW.run_with_hooks(TOKENS, fwd_hooks=hooks), theirs) <= 1e-5 < max_difference(RAW(TOKENS), theirs)


@torch.no_grad()
def test_a_model_that_transformer_lens_has_folded():
    theirs = to_transformer_lens(RAW)
    theirs.enable_compatibility_mode(disable_warnings=True)
    ours = from_transformer_lens(theirs)
    assert isinstance(ours, FoldedGPT2) and ours.processing == STEPS
    assert max_difference(ours(TOKENS), theirs(TOKENS)) <= 1e-5
    assert max_difference(ours(TOKENS).log_softmax(-1), RAW(TOKENS).log_softmax(-1)) <= 1e-4


@torch.no_grad()
def test_text_goes_in_where_there_is_a_tokenizer():
    model = random_model(tiny_config(d_model=16, n_heads=2, n_layers=1), tokenizer=Tokenizer.load())
    theirs = to_transformer_lens(model)
    text = "When the clock struck twelve"
    assert theirs.to_tokens(text).tolist() == model.to_tokens(text).tolist()
    assert max_difference(theirs(text), model(model.to_tokens(text))) <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("name", ["raw", "untied", "double"])
def test_to_transformers_and_back(name):
    model = MODELS[name]
    state = torch.random.get_rng_state()
    hf = to_hf(model)
    assert torch.equal(torch.random.get_rng_state(), state)
    out = hf(TOKENS, output_hidden_states=True)
    ours, cache = model.run_with_cache(TOKENS)
    assert out.logits.dtype == ours.dtype and max_difference(out.logits, ours) <= 1e-5
    assert max_difference(out.hidden_states[1], cache["resid_post", 0]) <= 1e-5
    back = from_hf(hf)
    assert equal_weights(back, model) and back.config.shape() == model.config.shape() and back.source.startswith("transformers")
    hf.transformer.wte.weight.add_(1.0)
    assert max_difference(back(TOKENS), model(TOKENS)) == 0  # a copy


@torch.no_grad()
def test_a_bare_transformers_model_has_the_tied_head():
    assert max_difference(from_hf(to_hf(RAW).transformer)(TOKENS), RAW(TOKENS)) == 0


def test_what_is_no_gpt2_is_refused():
    from transformer_lens import TransformerBridge, TransformerBridgeConfig

    shape = {"d_model": 16, "d_head": 8, "n_heads": 2, "n_layers": 1, "n_ctx": 8, "d_mlp": 64, "d_vocab": 11, "seed": 0}
    native = TransformerBridge.boot_native(
        TransformerBridgeConfig(**shape, act_fn="gelu_new", normalization_type="LN"), tokenizer=None
    )
    tokens = torch.tensor([[1, 5, 10]])
    with torch.no_grad():
        assert max_difference(from_transformer_lens(native)(tokens), native(tokens)) <= 1e-5
    relu = TransformerBridge.boot_native(
        TransformerBridgeConfig(**shape, act_fn="relu", normalization_type="LN"), tokenizer=None
    )
    with pytest.raises(ValueError, match="act_fn 'relu'"):
        from_transformer_lens(relu)
    with pytest.raises(ValueError, match="give the raw model"):
        to_hf(MODELS["folded"])
    hf = to_hf(RAW)
    hf.config.activation_function = "relu"
    with pytest.raises(ValueError, match="activation_function"):
        from_hf(hf)


def test_another_head_is_no_language_model():
    from transformers import GPT2ForSequenceClassification

    with pytest.raises(ValueError, match="score.weight; give a GPT2LMHeadModel"):
        from_hf(GPT2ForSequenceClassification(to_hf(RAW).config))
