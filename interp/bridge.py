"""To transformer-lens and transformers, and back: the same weights, so the same logits and activations.

    tl = to_transformer_lens(model)          a TransformerBridge; runs notebooks of the field on our weights
    model = from_transformer_lens(tl)        raw or folded (`enable_compatibility_mode`), with the head's bias if there is one
    hf = to_hf(model)                        transformers' GPT2LMHeadModel
    model = from_hf(hf)

Weights are copied; nothing is shared. Hook names are the same on both sides, with the same values, except that transformer-lens
shows masked attention scores as the lowest float where this package has -inf. Both libraries are imported when they are needed
(4 s); the rest of this package does without them. Source: TransformerLens 4, `build_bridge_from_module`.
"""

from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from gpt2_core.checkpoints.read import BUFFER
from gpt2_core.config import GPT2Config
from gpt2_core.model import GPT2
from interp.folding import STEPS, FoldedGPT2, centred, empty, with_weights


def to_transformer_lens(model: GPT2) -> Any:
    """A TransformerBridge with these weights, on the same device and in the same dtype.

    It takes text where the model has a tokenizer, else token ids. Folded weights stay folded: their head's bias is taken along.
    """
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    hf = _transformers_model(model, attention="eager")  # the one that shows its patterns
    names = {"architecture": "GPT2LMHeadModel", "hf_config": hf.config}
    if model.tokenizer is None:
        return build_bridge_from_module(hf, tokenizer=None, **names)
    from transformers import AutoTokenizer

    with TemporaryDirectory() as folder:  # transformer-lens reads a tokenizer a second time, from where it came
        model.tokenizer.to_hf_files(folder)
        hf.config.save_pretrained(folder)
        return build_bridge_from_module(hf, tokenizer=AutoTokenizer.from_pretrained(folder), **names)


@torch.no_grad()
def from_transformer_lens(tl_model: Any, tokenizer: Any = None) -> GPT2:
    """A GPT2 with the weights of a transformer-lens model: a FoldedGPT2 where its output head has a bias.

    tokenizer: ours, which transformer-lens does not carry. Raises ValueError for a model that is no GPT-2.
    """
    config = _config_of(tl_model)
    weights = {"wte.weight": tl_model.W_E, "wpe.weight": tl_model.W_pos}
    parts = {name: getattr(tl_model, name) for name in "W_Q W_K W_V b_Q b_K b_V W_O b_O W_in b_in W_out b_out".split()}
    for layer, block in enumerate(tl_model.blocks):
        own = {name: part[layer] for name, part in parts.items()}
        norms = _norm(block.ln1, "ln_1", config) | _norm(block.ln2, "ln_2", config)
        weights |= {f"h.{layer}.{name}": value for name, value in (_block(own) | norms).items()}
    weights |= _norm(tl_model.ln_final, "ln_f", config)
    if not config.tied:
        weights["lm_head.weight"] = tl_model.W_U.T
    weights = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in weights.items()}
    if tl_model.b_U is not None and tl_model.b_U.any():
        weights |= {"lm_head.weight": tl_model.W_U.T.detach().clone(), "lm_head.bias": tl_model.b_U.detach().clone()}
        source = empty(GPT2, config, tokenizer)
        source.source = "transformer-lens"
        return with_weights(source, weights, _processing(weights))
    return _assigned(config, tokenizer, weights, "transformer-lens")


@torch.no_grad()
def from_hf(hf_model: Any, tokenizer: Any = None) -> GPT2:
    """A GPT2 with the weights of transformers' GPT2LMHeadModel or GPT2Model. Raises ValueError for anything else."""
    config = GPT2Config.from_hf(hf_model.config.to_dict(), model_name=hf_model.config.name_or_path or "custom")
    stored = {name.removeprefix("transformer."): value for name, value in hf_model.state_dict().items()}
    head = stored.get("lm_head.weight", stored["wte.weight"])
    config = replace(config, tied=torch.equal(head, stored["wte.weight"]))
    names = {name for name, _ in empty(GPT2, config).named_parameters()}
    differing = stored.keys() ^ (names | {"lm_head.weight"})
    if other := sorted(name for name in differing - {"lm_head.weight"} if not BUFFER.fullmatch(name)):
        raise ValueError(f"The model differs from a GPT-2 language model in {other[0]}; give a GPT2LMHeadModel or GPT2Model.")
    weights = {name: stored[name].detach().clone() for name in names}
    return _assigned(config, tokenizer, weights, f"transformers, {hf_model.config.name_or_path or 'in memory'}")


def to_hf(model: GPT2) -> Any:
    """transformers' GPT2LMHeadModel with these weights, on the same device and in the same dtype, in eval mode.

    Raises ValueError for folded weights, whose head has a bias that transformers' GPT-2 lacks.
    """
    if isinstance(model, FoldedGPT2):
        raise ValueError("Folded weights have a bias in the output head, which transformers' GPT-2 lacks; give the raw model.")
    return _transformers_model(model, attention="sdpa")


def _transformers_model(model: GPT2, attention: str) -> Any:
    from transformers import GPT2Config as TransformersConfig
    from transformers import GPT2LMHeadModel

    settings = {name: value for name, value in model.config.to_hf().items() if name != "architectures"}
    with torch.random.fork_rng(devices=[]):  # its initialisation, thrown away, leaves the caller's random numbers alone
        hf = GPT2LMHeadModel(TransformersConfig(**settings, attn_implementation=attention))
        if isinstance(model, FoldedGPT2):
            hf.lm_head = nn.Linear(model.config.d_model, model.config.d_vocab)
    hf = hf.to(device=model.W_E.device, dtype=model.W_E.dtype).eval()
    weights = {name if name.startswith("lm_head") else f"transformer.{name}": p for name, p in model.state_dict().items()}
    hf.load_state_dict({"lm_head.weight": model.W_U.T} | weights, strict=True)
    return hf


def _assigned(config: GPT2Config, tokenizer: Any, weights: dict[str, Tensor], source: str) -> GPT2:
    model = empty(GPT2, config, tokenizer)
    model.load_state_dict(weights, assign=True)
    model.source = source
    return model.eval()


def _config_of(tl_model: Any) -> GPT2Config:
    """The shape of a transformer-lens model, after a look at what GPT-2 would compute differently."""
    cfg = tl_model.cfg
    expected = {
        "act_fn": ("gelu_new", "gelu_pytorch_tanh"),
        "normalization_type": ("LN", "LNPre"),
        "positional_embedding_type": ("standard",),
    }
    for name, allowed in expected.items():
        if (came := getattr(cfg, name, allowed[0])) not in allowed:
            raise ValueError(
                f"The transformer-lens model has {name} {came!r}; GPT-2 has {allowed[0]!r}, so it cannot be taken."
            )
    return GPT2Config(
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        d_model=cfg.d_model,
        n_ctx=cfg.n_ctx,
        d_vocab=cfg.d_vocab,
        d_mlp=cfg.d_mlp,
        eps=cfg.eps,
        tied=torch.equal(tl_model.W_U.T, tl_model.W_E),
        model_name=cfg.model_name or "custom",
    )


def _block(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """One layer's matrices, per head on that side, side by side on ours."""
    return {
        "attn.c_attn.weight": torch.cat([rearrange(own[f"W_{part}"], "h d e -> d (h e)") for part in "QKV"], -1),
        "attn.c_attn.bias": torch.cat([own[f"b_{part}"].flatten() for part in "QKV"]),
        "attn.c_proj.weight": rearrange(own["W_O"], "h e d -> (h e) d"),
        "attn.c_proj.bias": own["b_O"],
        "mlp.c_fc.weight": own["W_in"],
        "mlp.c_fc.bias": own["b_in"],
        "mlp.c_proj.weight": own["W_out"],
        "mlp.c_proj.bias": own["b_out"],
    }


def _norm(theirs: Any, name: str, config: GPT2Config) -> dict[str, Tensor]:
    """A LayerNorm's gain and bias; one that was folded away has gain 1 and bias 0."""
    gain = getattr(theirs, "weight", None)
    shift = getattr(theirs, "bias", None)
    gain = torch.ones(config.d_model) if gain is None else gain
    return {f"{name}.weight": gain, f"{name}.bias": torch.zeros_like(gain) if shift is None else shift}


def _processing(weights: dict[str, Tensor]) -> tuple[str, ...]:
    """Which steps of `fold` these weights look to have had."""
    norms = [(p, 1.0 if name.endswith("weight") else 0.0) for name, p in weights.items() if "ln_" in name]
    writing = [p for name, p in weights.items() if name[:3] in ("wte", "wpe") or "c_proj" in name]
    head = [weights["lm_head.weight"].T, weights["lm_head.bias"]]
    value_biases = [p.chunk(3)[2] for name, p in weights.items() if name.endswith("c_attn.bias")]
    found = (
        all(bool((p == value).all()) for p, value in norms),
        all(_no_mean(p) for p in writing),
        all(_no_mean(p) for p in head),
        not any(bool(p.any()) for p in value_biases),
    )
    return tuple(step for step, is_so in zip(STEPS, found) if is_so)


def _no_mean(p: Tensor) -> bool:
    return torch.allclose(centred(p), p, atol=1e-3 * p.abs().max().item(), rtol=0)
