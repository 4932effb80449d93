"""The network on a CUDA device against the same network on the CPU; runs wherever there is one."""

import pytest
import torch
from helpers import max_difference, random_model, some_tokens, tiny_config

from gpt2_core.cache import KVCache

pytestmark = pytest.mark.gpu

CONFIG = tiny_config(n_layers=4, d_model=256, n_heads=4, n_ctx=128)
TOKENS = some_tokens(CONFIG, 2, 64)


@pytest.fixture(scope="module")
def reference():
    with torch.no_grad():
        return random_model(CONFIG)(TOKENS)


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 1e-4), (torch.float16, 5e-3), (torch.bfloat16, 2e-2)])
def test_logits(reference, dtype, relative):
    logits = random_model(CONFIG).to("cuda", dtype)(TOKENS).float().cpu()
    assert (logits - reference).norm() / reference.norm() <= relative


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_explicit_attention_equals_fused(dtype):
    model = random_model(CONFIG).to("cuda", dtype)
    explicit, fused = model.run_with_cache(TOKENS)[0].float(), model(TOKENS).float()
    assert (explicit - fused).norm() / fused.norm() <= (1e-4 if dtype == torch.float32 else 2e-2)


@torch.no_grad()
def test_cached_equals_uncached():
    model = random_model(CONFIG).to("cuda")
    cache = KVCache.empty(model.cfg, batch=2, capacity=64)
    parts = [model(part, cache=cache) for part in TOKENS.split((40, 1, 23), dim=1)]
    assert max_difference(torch.cat(parts, 1), model(TOKENS)) <= 1e-3


@torch.no_grad()
def test_padding_and_hooks():
    model = random_model(CONFIG).to("cuda")
    padded, mask = torch.cat([torch.zeros(2, 5, dtype=torch.long), TOKENS], 1), torch.arange(69)[None].expand(2, -1) >= 5
    assert max_difference(model(padded, mask=mask)[:, 5:], model(TOKENS)) <= 1e-3
    halved = model.run_with_hooks(TOKENS, [("blocks.1.attn.hook_z", lambda z, hook: z / 2)])
    assert (
        max_difference(
            halved.cpu(), random_model(CONFIG).run_with_hooks(TOKENS, [("blocks.1.attn.hook_z", lambda z, hook: z / 2)])
        )
        <= 1e-2
    )
