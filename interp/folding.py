"""Folded weights: the same predictions from weights that are easier to read. An explicit mode; raw weights are the default.

A LayerNorm multiplies by a gain and adds a bias before a matrix reads it, and takes no notice of the mean of what it is given;
a softmax takes no notice of a constant. So some of what the weights say has no effect, and some is said in two places. `fold`
takes the first away and brings the second together:

    layer_norm        gain and bias go into the matrices that read (W_Q, W_K, W_V, W_in, W_U and their biases); what reads
                      has mean zero, as what a LayerNorm gives it has
    centre_writing    what writes to the residual stream (W_E, W_pos, W_O, b_O, W_out, b_out) writes no mean
    centre_unembed    W_U and b_U have mean zero over the vocabulary
    value_biases      b_V @ W_O goes into b_O, since the weights of a head's attention sum to 1

What stays the same: log-probabilities, losses, attention patterns; the effect on them of patching or mean-ablating resid_pre,
v, z, pattern, attn_out, mlp_out or neurons, and of zeroing attn_out, mlp_out or neurons; the attribution of a logit *difference*
to attn_out, mlp_out and neurons; the logit lens read as log-probabilities.
What changes: raw logits (by a constant per position) and with them the attribution of a single logit; norms of the residual
stream; the effect of zeroing v or z, and the attribution of anything to single heads (b_V is theirs in raw weights, b_O's here);
everything read from W_Q ... W_U directly. So say which weights a per-head number is from.

Pitfall: after editing a pattern so that its rows no longer sum to 1, folded value biases are no longer the same model.
Sources: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; TransformerLens' weight processing.
"""

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gpt2_core.config import GPT2Config
from gpt2_core.hooks import Tap
from gpt2_core.model import GPT2, UNHOOKED, Block

STEPS = ("layer_norm", "centre_writing", "centre_unembed", "value_biases")


class FoldedGPT2(GPT2):
    """A GPT2 whose output head has its own weights and a bias `b_U`, which the final LayerNorm's bias becomes.

    Made by `fold`. processing: the steps that were taken. It runs, is hooked and edited like any GPT2.
    """

    def __init__(self, config: GPT2Config, tokenizer=None, processing: tuple[str, ...] = ()):
        super().__init__(replace(config, tied=False), tokenizer)
        self.lm_head = nn.Linear(config.d_model, config.d_vocab)
        self.processing = processing

    b_U = property(lambda self: self.lm_head.bias)

    def unembed(self, resid: Float[Tensor, "batch pos d_model"], tap: Tap = UNHOOKED) -> Float[Tensor, "batch pos d_vocab"]:
        """Final LayerNorm and output head, with its bias."""
        return tap("logits", self.lm_head(self.ln_f(resid, tap, "ln_final")))

    def save_pretrained(self, folder: str | Path) -> None:
        """Raises ValueError: the released layout has no place for the head's bias."""
        raise ValueError("Folded weights have a bias in the output head, which GPT-2's files lack; save the raw model instead.")


def is_folded(model: GPT2) -> bool:
    """Whether a model's weights were processed by `fold`."""
    return isinstance(model, FoldedGPT2) and bool(model.processing)


@torch.no_grad()
def fold(
    model: GPT2,
    layer_norm: bool = True,
    centre_writing: bool = True,
    centre_unembed: bool = True,
    value_biases: bool = True,
) -> FoldedGPT2:
    """A new model with folded weights and equal log-probabilities (1e-4 in float32); the given one is left as it is.

    Each step may be left out; see the module for what each does and which quantities it changes. Computed in float64, kept in
    the model's dtype on its device. Folding twice changes nothing.
    """
    chosen = dict(zip(STEPS, (layer_norm, centre_writing, centre_unembed, value_biases)))
    before = getattr(model, "processing", ())
    steps = tuple(step for step in STEPS if chosen[step] or step in before)
    weights = _embeddings(model, centre_writing) | _head(model, layer_norm, centre_unembed)
    for layer, block in enumerate(model.h):
        folded = _block(block, layer_norm, centre_writing, value_biases)
        weights |= {f"h.{layer}.{name}": value.to(model.wte.weight.dtype) for name, value in folded.items()}
    return with_weights(model, weights, steps)


def with_weights(model: GPT2, weights: dict[str, Tensor], processing: tuple[str, ...]) -> FoldedGPT2:
    """A FoldedGPT2 of another model's shape and origin that holds these weights (released names, and `lm_head.bias`)."""
    out = empty(FoldedGPT2, model.config, model.tokenizer, processing)
    out.load_state_dict(weights, assign=True)
    out.source = f"{model.source.partition(', folded')[0]}, folded ({', '.join(processing)})" if processing else model.source
    out.weights_sha256 = model.weights_sha256
    return out.eval()


def empty(kind: type[GPT2], *args) -> GPT2:
    """A model without memory for its weights, which are about to be assigned; no random number is drawn."""
    with torch.device("meta"), _NoInitialisation():
        return kind(*args)


class _NoInitialisation(TorchFunctionMode):
    """Leaves out `nn.init`, whose numbers would be thrown away."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def centred(x: Float[Tensor, "*rest d_model"]) -> Float[Tensor, "*rest d_model"]:
    """x less its mean over the last axis: all of it that a LayerNorm lets through."""
    return x - x.mean(-1, keepdim=True)


def read_through(
    weight: Float[Tensor, "d_model out"],
    bias: Float[Tensor, " out"],
    gain: Float[Tensor, " d_model"],
    shift: Float[Tensor, " d_model"],
) -> tuple[Float[Tensor, "d_model out"], Float[Tensor, " out"]]:
    """A matrix that reads a LayerNorm's output, rewritten to read its normalised input; the weight's columns get mean zero."""
    through = gain[:, None] * weight
    return through - through.mean(0), bias + shift @ weight


def _block(block: Block, layer_norm: bool, centre_writing: bool, value_biases: bool) -> dict[str, Float[Tensor, "..."]]:
    """One block's weights by their names in it, float64."""
    w = {name: p.double() for name, p in block.state_dict().items()}
    if layer_norm:
        for ln, reader in (("ln_1", "attn.c_attn"), ("ln_2", "mlp.c_fc")):
            gain, shift = w[f"{ln}.weight"], w[f"{ln}.bias"]
            names = (f"{reader}.weight", f"{reader}.bias")
            w |= zip(names, read_through(*(w[name] for name in names), gain, shift))
            w |= {f"{ln}.weight": torch.ones_like(gain), f"{ln}.bias": torch.zeros_like(shift)}
    if centre_writing:
        w |= {name: centred(w[name]) for name in w if "c_proj" in name}
    if value_biases:
        b_q, b_k, b_v = w["attn.c_attn.bias"].chunk(3)
        w["attn.c_proj.bias"] = w["attn.c_proj.bias"] + b_v @ w["attn.c_proj.weight"]
        w["attn.c_attn.bias"] = torch.cat([b_q, b_k, torch.zeros_like(b_v)])
    return w


def _embeddings(model: GPT2, centre_writing: bool) -> dict[str, Float[Tensor, "..."]]:
    tables = {"wte.weight": model.W_E.detach(), "wpe.weight": model.W_pos.detach()}
    return {name: centred(t.double()).to(t.dtype) if centre_writing else t.clone() for name, t in tables.items()}


def _head(model: GPT2, layer_norm: bool, centre_unembed: bool) -> dict[str, Float[Tensor, "..."]]:
    weight, bias = model.W_U.detach().double(), model.b_U.detach().double()
    gain, shift = (p.detach().double() for p in (model.ln_f.weight, model.ln_f.bias))
    if layer_norm:
        weight, bias = read_through(weight, bias, gain, shift)
        gain, shift = torch.ones_like(gain), torch.zeros_like(shift)
    if centre_unembed:
        weight, bias = centred(weight), centred(bias)
    out = {"ln_f.weight": gain, "ln_f.bias": shift, "lm_head.weight": weight.T.contiguous(), "lm_head.bias": bias}
    return {name: value.to(model.W_E.dtype) for name, value in out.items()}
