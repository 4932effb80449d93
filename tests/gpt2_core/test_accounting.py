"""Costs against the parameters of real modules, PyTorch's own FLOP counter, and the tensors actually kept."""

import pytest
import torch
from helpers import random_model, some_tokens, tiny_config
from torch.utils.flop_counter import FlopCounterMode

from gpt2_core import accounting
from gpt2_core.cache import KVCache
from gpt2_core.config import RELEASED, SIZES
from gpt2_core.model import GPT2

GIB = 2**30


def table(*column):
    return dict(zip(RELEASED, column))


@pytest.mark.parametrize("name", RELEASED)
def test_parameters_of_the_released_sizes(name):
    config = SIZES[name].config
    counted = accounting.parameters(config)
    with torch.device("meta"):
        model = GPT2(config)
    assert counted.total == table(124_439_808, 354_823_168, 774_030_080, 1_557_611_200)[name]
    assert counted.non_embedding == table(85_056_000, 302_311_424, 708_390_400, 1_475_561_600)[name]
    assert counted.total == sum(p.numel() for p in model.parameters()) == config.n_params


@pytest.mark.parametrize("tied", [True, False])
def test_every_component_of_a_module(tied):
    model = GPT2(tiny_config(d_vocab=97, tied=tied, d_mlp=100))
    place = {"wte": "token_embedding", "wpe": "position_embedding", "lm_head": "untied_head", "attn": "attention"}
    place |= {"mlp": "mlp", "ln_1": "layer_norm", "ln_2": "layer_norm", "ln_f": "layer_norm"}
    expected = dict.fromkeys(accounting.parameters(model.cfg).components, 0)
    for name, p in model.named_parameters():
        part = next(key for key in place if f"{key}." in name)
        expected[place[part]] += p.numel()
    assert accounting.parameters(model.cfg).components == expected


@pytest.mark.parametrize("name", RELEASED)
def test_the_table_of_published_and_derived_costs(name):
    config = SIZES[name].config
    assert accounting.training_flops_per_token(config, attention=False) == pytest.approx(
        table(7.47e8, 2.13e9, 4.64e9, 9.35e9)[name], rel=2e-3
    )
    only_attention = accounting.training_flops_per_token(config) - accounting.training_flops_per_token(config, attention=False)
    assert only_attention == pytest.approx(table(1.13e8, 3.02e8, 5.66e8, 9.44e8)[name], rel=3e-3)
    assert accounting.weight_bytes(config) / GIB == pytest.approx(table(0.464, 1.322, 2.883, 5.803)[name], abs=6e-4)
    half = accounting.weight_bytes(config, torch.bfloat16) / GIB
    assert half == pytest.approx(table(0.232, 0.661, 1.442, 2.901)[name], abs=6e-4)
    assert accounting.adam_training_bytes(config) / GIB == pytest.approx(table(1.85, 5.29, 11.53, 23.21)[name], abs=6e-3)
    assert accounting.kv_cache_bytes_per_token(config, torch.float16) == table(36_864, 98_304, 184_320, 307_200)[name]
    assert accounting.kv_cache_bytes_per_token(config) == table(73_728, 196_608, 368_640, 614_400)[name]
    assert accounting.kv_cache_bytes(config, 1024) / 2**20 == table(72, 192, 360, 600)[name]
    no_attention = accounting.forward_flops_per_token(config, 1) / 2 / accounting.parameters(config).total
    assert no_attention == pytest.approx(1, abs=0.01)  # forward is about 2 N per token


@torch.no_grad()
@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("tokens, past, batch, at", [(16, 0, 1, None), (7, 0, 3, 1), (1, 9, 2, None), (5, 4, 1, 2)])
def test_forward_flops_equal_pytorchs_counter(explicit, tokens, past, batch, at):
    config = tiny_config(d_vocab=331, d_mlp=100)
    model = random_model(config)
    cache = KVCache.empty(config, batch)
    if past:
        model(some_tokens(config, batch, past), cache=cache)
    with FlopCounterMode(display=False) as counter:
        model(
            some_tokens(config, batch, tokens),
            cache=cache,
            hook=(lambda name, x: None) if explicit else None,
            logits_at=None if at is None else list(range(at)),
        )
    ours = accounting.forward_flops(config, tokens, past=past, batch=batch, logits_positions=at)
    expected = counter.get_total_flops()
    if not explicit:  # PyTorch's counter knows no formula for the CPU's fused attention kernel
        counted = {str(op) for op in counter.get_flop_counts()["Global"]}
        expected += 0 if any("attention" in op for op in counted) else ours.attention_scores
    assert ours.total == expected


@torch.no_grad()
@pytest.mark.parametrize("tokens, batch", [(20, 1), (33, 2)])
def test_activation_bytes_equal_what_a_cache_holds(tokens, batch):
    config = tiny_config(d_vocab=331)
    _, cache = random_model(config).run_with_cache(some_tokens(config, batch, tokens))
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in cache.values()}
    assert accounting.activation_bytes(config, tokens, batch) == pytest.approx(sum(storages.values()), rel=0.01)


def test_kv_cache_bytes_equal_the_buffers():
    config = tiny_config()
    cache = KVCache.empty(config, batch=3, capacity=10)
    assert accounting.kv_cache_bytes(config, 10, batch=3) == cache.n_bytes
