"""Small models for tests, and the same weights in the libraries we are compared with."""

import torch
from torch import Tensor

from gpt2_core.config import GPT2Config
from gpt2_core.model import GPT2


def tiny_config(**changes) -> GPT2Config:
    """A GPT-2 small enough to run in milliseconds."""
    return GPT2Config(**{"n_layers": 2, "n_heads": 4, "d_model": 64, "n_ctx": 64, "d_vocab": 50257, **changes})


def random_model(config: GPT2Config, seed: int = 0, tokenizer=None) -> GPT2:
    """Random weights of a trained model's scale, LayerNorm gains and all biases included, so that no term can hide."""
    generator = torch.Generator().manual_seed(seed)
    model = GPT2(config, tokenizer)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "ln_" in name:
                p.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))
            elif name.endswith("bias"):
                p.copy_(0.1 * noise)
            elif name.startswith("w"):
                p.copy_((0.1 if name.startswith("wte") else 0.05) * noise)
            else:
                p.copy_(noise / p.shape[0] ** 0.5)
    model.source = f"random, seed {seed}"
    return model


def hf_model(model: GPT2):
    """transformers' GPT-2 with the weights of ours, eager attention, eval mode."""
    from transformers import GPT2Config as HFConfig
    from transformers import GPT2LMHeadModel

    config = HFConfig(**{k: v for k, v in model.config.to_hf().items() if k != "architectures"})
    config._attn_implementation = "eager"
    hf = GPT2LMHeadModel(config).eval()
    weights = {f"transformer.{k}": v for k, v in model.state_dict().items() if not k.startswith("lm_head")}
    weights["lm_head.weight"] = model.W_U.T
    missing, unexpected = hf.load_state_dict(weights, strict=False)
    assert not unexpected and not missing, (missing, unexpected)
    return hf


def bridge(model: GPT2):
    """transformer-lens's bridge over the same weights."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    hf = hf_model(model)
    return build_bridge_from_module(hf, architecture="GPT2LMHeadModel", hf_config=hf.config, tokenizer=None)


def some_tokens(config: GPT2Config, batch: int = 2, pos: int = 12, seed: int = 0) -> Tensor:
    """Random token ids [batch pos]."""
    return torch.randint(0, config.d_vocab, (batch, pos), generator=torch.Generator().manual_seed(seed))


def max_difference(a: Tensor, b: Tensor) -> float:
    """Largest |a - b| over finite entries; infinities must stand at the same places."""
    a, b = a.detach().float(), b.detach().float()
    finite = a.isfinite() & b.isfinite() & (a > -1e30) & (b > -1e30)
    assert torch.equal(a > -1e30, b > -1e30), "masked entries differ"
    difference = (a - b)[finite].abs()
    print(f"max {difference.max():.2e} mean {difference.mean():.2e}")
    return difference.max().item()
