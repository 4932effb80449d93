"""The network against Hugging Face and transformer-lens on equal weights, and each fast path against its slow one."""

import threading
from dataclasses import replace

import pytest
import torch
import transformers
from helpers import bridge, hf_model, max_difference, random_model, some_tokens, tiny_config

from gpt2_core.cache import KVCache
from gpt2_core.config import RELEASED, SIZES, GPT2Config
from gpt2_core.hooks import BLOCK_SITES, EMBED_SITES, FINAL_SITES, Tap, hook_names
from gpt2_core.model import GPT2

TINY = tiny_config(eps=0.01)
MODEL = random_model(TINY)
TOKENS = some_tokens(TINY)


def test_registry_parameter_counts():
    """Facts: true counts of the released sizes."""
    counts = {"gpt2": 124_439_808, "gpt2-medium": 354_823_168, "gpt2-large": 774_030_080, "gpt2-xl": 1_557_611_200}
    assert {name: SIZES[name].config.n_params for name in RELEASED} == counts


def test_config_counts_what_the_model_has():
    for config in (TINY, tiny_config(tied=False), tiny_config(d_mlp=100, n_ctx=32)):
        assert sum(p.numel() for p in GPT2(config).parameters()) == config.n_params


def test_config_says_what_hugging_faces_says():
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 8}
    ours, theirs = GPT2Config.from_hf(sizes), transformers.GPT2Config(**sizes)
    assert (ours.n_ctx, ours.d_vocab, ours.tied) == (theirs.n_positions, theirs.vocab_size, theirs.tie_word_embeddings)
    assert (ours.eps, ours.d_mlp) == (theirs.layer_norm_epsilon, 32)
    written = {
        key: value for key, value in ours.to_hf().items() if key not in ("architectures", "n_ctx") and "pdrop" not in key
    }
    assert written == {key: getattr(theirs, key) for key in written}
    odd = GPT2Config(2, 2, 8, n_ctx=16, d_vocab=11, d_mlp=24, eps=1e-6, tied=False)
    assert odd.to_hf()["n_inner"] == 24 and GPT2Config.from_hf(odd.to_hf()) == odd
    assert GPT2Config.from_hf(sizes | {"n_ctx": 512}).n_ctx == 512  # files of 2019 say it so
    assert odd.shape() == replace(odd, model_name="other", device="meta", dtype=torch.bfloat16).shape()
    assert odd.shape() != replace(odd, eps=1e-5).shape()


@torch.no_grad()
@pytest.mark.parametrize("name", RELEASED)
def test_logits_equal_hugging_face(name):
    """The width and heads of each released size, at a reduced number of layers and a smaller vocabulary."""
    size = SIZES[name].config
    config = tiny_config(d_model=size.d_model, n_heads=size.n_heads, n_layers=2, n_ctx=128, d_vocab=1000)
    model, tokens = random_model(config), some_tokens(config, 1, 48)
    assert max_difference(model(tokens), hf_model(model)(tokens).logits) <= 1e-4


@torch.no_grad()
def test_bf16_is_close_to_fp32():
    reference = MODEL(TOKENS)
    half = random_model(TINY).to(torch.bfloat16)(TOKENS).float()
    assert (half - reference).norm() / reference.norm() <= 2e-2


@torch.no_grad()
def test_untied_head():
    model = random_model(tiny_config(tied=False))
    assert max_difference(model(TOKENS), hf_model(model)(TOKENS).logits) <= 1e-4


@torch.no_grad()
def test_every_hook_equals_transformer_lens():
    _, theirs = bridge(MODEL).run_with_cache(TOKENS)
    _, ours = MODEL.run_with_cache(TOKENS)
    assert set(theirs.keys()) == set(ours.keys())
    for name in theirs.keys():
        assert ours[name].shape == theirs[name].shape, name
        assert max_difference(ours[name], theirs[name]) <= 1e-4, name


@torch.no_grad()
def test_optional_hooks_equal_transformer_lens():
    lens = bridge(MODEL)
    lens.set_use_attn_result(True)
    lens.set_use_split_qkv_input(True)
    lens.set_use_hook_mlp_in(True)
    _, theirs = lens.run_with_cache(TOKENS)
    wanted = [n for n in MODEL.hook_dict if n in theirs and n.endswith(("result", "_input", "mlp_in"))]
    assert len(wanted) >= 10
    logits, ours = MODEL.run_with_cache(TOKENS, names_filter=wanted)
    assert max_difference(logits, MODEL(TOKENS)) <= 1e-5
    for name in wanted:
        assert max_difference(ours[name], theirs[name]) <= 1e-4, name


def test_hook_dict_has_every_name_of_transformer_lens():
    assert set(bridge(MODEL).hook_dict) <= set(MODEL.hook_dict)


@torch.no_grad()
@pytest.mark.parametrize("site", [s for s in BLOCK_SITES])
def test_an_edit_at_each_site_changes_what_follows(site):
    name = f"blocks.0.{BLOCK_SITES[site][-1]}"
    out = MODEL.run_with_hooks(
        TOKENS, [(name, lambda x, hook: x * torch.linspace(0.5, 1.5, x.shape[-1]) if x.shape[-1] > 1 else x * 1.5)]
    )
    if site == "attn_scores":  # a scaled -inf stays -inf
        assert out.isfinite().all()
    assert max_difference(out, MODEL(TOKENS)) > 1e-4


@torch.no_grad()
@pytest.mark.parametrize(
    "name",
    [
        "hook_resid_pre",
        "attn.hook_q",
        "attn.hook_v",
        "attn.hook_pattern",
        "attn.hook_z",
        "mlp.hook_post",
        "hook_mlp_out",
    ],
)
def test_edits_equal_transformer_lens(name):
    hooks = [(f"blocks.1.{name}", lambda x, hook: x * 0.5)]
    assert max_difference(MODEL.run_with_hooks(TOKENS, hooks), bridge(MODEL).run_with_hooks(TOKENS, fwd_hooks=hooks)) <= 1e-4


@torch.no_grad()
def test_plain_hook_sees_every_name_in_order():
    seen = []
    MODEL(TOKENS, hook=lambda name, x: seen.append(name))
    assert seen == list(hook_names(TINY.n_layers))


@torch.no_grad()
def test_explicit_attention_equals_fused():
    assert max_difference(MODEL.run_with_cache(TOKENS)[0], MODEL(TOKENS)) <= 1e-5
    exact = random_model(TINY).double()
    assert (exact.run_with_cache(TOKENS)[0] - exact(TOKENS)).abs().max() <= 1e-12  # no step in between in float32


@torch.no_grad()
def test_identity_edit_changes_nothing_and_wrong_shape_is_refused():
    assert torch.equal(MODEL.run_with_hooks(TOKENS, [("blocks.0.hook_resid_pre", lambda x, hook: x.clone())]), MODEL(TOKENS))
    with pytest.raises(ValueError, match=r"hook at blocks\.0\.hook_resid_pre returned \[2, 12\]"):
        MODEL.run_with_hooks(TOKENS, [("blocks.0.hook_resid_pre", lambda x, hook: x[..., 0])])
    with pytest.raises(KeyError, match="No hook is called"):
        MODEL.run_with_hooks(TOKENS, [("blocks.7.hook_resid_pre", lambda x, hook: x)])


@torch.no_grad()
def test_start_and_stop_in_the_middle():
    resid = MODEL(TOKENS, stop_at_layer=1)
    _, cache = MODEL.run_with_cache(TOKENS, ["blocks.1.hook_resid_pre"])
    assert torch.equal(resid, cache["resid_pre", 1])
    assert torch.equal(MODEL(resid, start_at_layer=1), MODEL(TOKENS))
    assert torch.equal(MODEL(TOKENS, stop_at_layer=-1), MODEL(TOKENS, stop_at_layer=TINY.n_layers))


@torch.no_grad()
def test_logits_at_asked_positions():
    full = MODEL(TOKENS)
    assert max_difference(MODEL(TOKENS, logits_at=-1), full[:, -1:]) <= 1e-5
    assert max_difference(MODEL(TOKENS, logits_at=[0, 5]), full[:, [0, 5]]) <= 1e-5
    assert max_difference(MODEL(TOKENS, logits_at=slice(3, None)), full[:, 3:]) <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("chunks", [(12,), (5, 7), (1,) * 12, (11, 1)])
def test_cached_equals_uncached(chunks):
    cache = KVCache.empty(MODEL.cfg, batch=2, capacity=12)
    parts = [MODEL(part, cache=cache) for part in TOKENS.split(chunks, dim=1)]
    assert cache.length == 12
    assert max_difference(torch.cat(parts, 1), MODEL(TOKENS)) <= 1e-5


@torch.no_grad()
def test_left_padding_equals_the_row_alone():
    short = TOKENS[:1, :7]
    padded = torch.cat([torch.zeros(1, 5, dtype=torch.long), short], 1)
    mask = torch.arange(12)[None] >= 5
    assert max_difference(MODEL(padded, mask=mask)[:, 5:], MODEL(short)) <= 1e-5
    _, cache = MODEL.run_with_cache(padded, mask=mask)
    assert cache["pattern", 0].isfinite().all()


@torch.no_grad()
def test_cache_rows_can_be_selected_expanded_and_trimmed():
    cache = KVCache.empty(MODEL.cfg, batch=2)
    MODEL(TOKENS[:, :8], cache=cache)
    swapped = cache.select([1, 0])
    assert max_difference(MODEL(TOKENS[[1, 0], 8:], cache=swapped), MODEL(TOKENS)[[1, 0], 8:]) <= 1e-5
    cache.trim(4)
    assert max_difference(MODEL(TOKENS[:, 4:], cache=cache), MODEL(TOKENS)[:, 4:]) <= 1e-5
    cache.trim(0)
    assert max_difference(MODEL(TOKENS, cache=cache), MODEL(TOKENS)) <= 1e-5
    with pytest.raises(ValueError, match="12 positions and cannot be trimmed to 13"):
        cache.trim(13)
    one = KVCache.empty(MODEL.cfg)
    MODEL(TOKENS[:1, :8], cache=one)
    many = MODEL(TOKENS[:1, 8:].expand(3, -1), cache=one.expand(3))
    assert max_difference(many, MODEL(TOKENS)[:1, 8:].expand(3, -1, -1)) <= 1e-5


def test_gradients_flow_through_hooks():
    seen = {}

    def keep(x, hook):
        seen[hook.name] = x
        x.retain_grad()

    loss = MODEL.run_with_hooks(TOKENS, [("blocks.0.attn.hook_z", keep)], return_type="loss")
    loss.backward()
    grad = seen["blocks.0.attn.hook_z"].grad
    assert grad is not None and grad.abs().sum() > 0
    step = 1e-2 * grad / grad.norm()
    moved = MODEL.run_with_hooks(TOKENS, [("blocks.0.attn.hook_z", lambda x, hook: x + step)], return_type="loss")
    assert (moved - loss).item() == pytest.approx((step * grad).sum().item(), rel=0.05)


@torch.no_grad()
def test_two_threads_editing_one_model_do_not_see_each_other():
    def edited(scale):
        return MODEL.run_with_hooks(TOKENS, [("blocks.0.hook_attn_out", lambda x, hook: x * scale)])

    alone = {scale: edited(scale) for scale in (0.0, 2.0)}
    wrong = []

    @torch.no_grad()
    def work(scale):
        for _ in range(20):
            if not torch.equal(edited(scale), alone[scale]):
                wrong.append(scale)

    threads = [threading.Thread(target=work, args=(scale,)) for scale in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and not torch.equal(alone[0.0], alone[2.0])


@torch.no_grad()
def test_unedited_weights_after_in_place_hooks():
    """Code written for transformer-lens patches in place; that must never reach the weights."""
    before = {k: v.clone() for k, v in MODEL.state_dict().items()}

    def overwrite(x, hook):
        x[:] = 0
        return x

    MODEL.run_with_hooks(TOKENS, [(lambda name: name.endswith(("embed", "hook_q", "hook_v", "hook_out")), overwrite)])
    assert all(torch.equal(before[k], v) for k, v in MODEL.state_dict().items())


@torch.no_grad()
def test_bad_input_is_one_sentence():
    for tokens, message in (
        (torch.zeros(1, 0, dtype=torch.long), "at least one position"),
        (torch.zeros(0, 3, dtype=torch.long), "at least one position"),
        (torch.zeros(1, 65, dtype=torch.long), "more than the context of 64"),
        (torch.tensor([[3, 50257]]), "ids 3..50257 do not fit the vocabulary of 50257"),
        (torch.tensor([[-1, 3]]), "ids -1..3 do not fit the vocabulary of 50257"),
    ):
        with pytest.raises(ValueError, match=message):
            MODEL(tokens)


def test_cache_under_grad_is_refused():
    with pytest.raises(ValueError, match=r"torch\.no_grad"):
        MODEL(TOKENS, cache=KVCache.empty(MODEL.cfg, batch=2))


def test_residual_adds_up():
    with torch.no_grad():
        logits, cache = MODEL.run_with_cache(TOKENS)
    for layer in range(TINY.n_layers):
        assert torch.equal(cache["resid_pre", layer] + cache["attn_out", layer], cache["resid_mid", layer])
        assert torch.equal(cache["resid_mid", layer] + cache["mlp_out", layer], cache["resid_post", layer])
    assert max_difference(MODEL.unembed(cache["resid_post", -1], Tap(None)), logits) <= 1e-5


def halve(x, hook):
    return x if x.dtype == torch.long else x * torch.linspace(0.5, 1.0, x.shape[-1])


@torch.no_grad()
@pytest.mark.parametrize("edited", [n for n in hook_names(1, optional=True) if "tokens" not in n])
def test_watching_never_changes_what_an_edit_does(edited):
    """The same edit alone, and with every other point of the block watched, fused paths and per-head copies included."""
    model = random_model(tiny_config(n_layers=1))
    alone = model.run_with_hooks(TOKENS, [(edited, halve)])
    hooked = _Only(edited)
    watched, cache = model.run_with_cache(TOKENS, lambda name: True, hook=hooked)
    assert max_difference(alone, watched) <= 1e-4
    assert set(cache) == set(model.hook_dict)
    for names in (*EMBED_SITES.values(), *FINAL_SITES.values()):
        assert all(torch.equal(cache[name], cache[names[0]]) for name in names)
    for names in BLOCK_SITES.values():
        assert all(torch.equal(cache[f"blocks.0.{name}"], cache[f"blocks.0.{names[0]}"]) for name in names)


class _Only:
    """A hook that edits one point."""

    def __init__(self, name):
        self.name = name

    def wants(self, name):
        return name == self.name

    def __call__(self, name, x):
        return halve(x, None)


@torch.no_grad()
def test_ids_as_a_list_and_a_model_without_a_tokenizer():
    ids = TOKENS[0].tolist()
    assert torch.equal(MODEL.run_with_cache(ids)[0], MODEL.run_with_cache(TOKENS[:1])[0])
