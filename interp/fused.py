"""The matrix products of a block as oneDNN computes them: on a CPU in float32, the same numbers in less time.

PyTorch gives `x @ weight + bias` to MKL, which on some processors (AMD's) does not use their widest instructions, and runs GELU over
the result once more. oneDNN, the library behind `torch.compile` on CPUs, uses them and applies GELU before the result leaves
the processor's cache. Sums are taken in another order: results differ by rounding, about 1e-6.

What is made here reads the model's own weights and is forgotten after use; the model is not changed. Where oneDNN has nothing
to offer (GPUs, other number formats, builds without it) the model is used as it is.
"""

import copy

import torch
from torch import Tensor, nn

from gpt2_core.hooks import Tap
from gpt2_core.model import GPT2, Block, Conv1D


class FusedLinear(nn.Module):
    """x @ weight + bias, then GELU where asked, over a Conv1D's own parameters."""

    def __init__(self, of: Conv1D, gelu: bool = False):
        super().__init__()
        # Not registered as parameters: they stay the model's.
        self._tensors = (of.weight.detach().T, of.bias.detach())
        self._after = ("gelu", [], "tanh") if gelu else ("none", [], "")

    # As Conv1D has them, so that W_Q ... b_O are the same views.
    weight, bias = property(lambda self: self._tensors[0].T), property(lambda self: self._tensors[1])

    def forward(self, x: Tensor) -> Tensor:
        out = torch.ops.mkldnn._linear_pointwise(x.reshape(-1, x.shape[-1]), *self._tensors, *self._after)
        return out.view(*x.shape[:-1], -1)


class FusedMLP(nn.Module):
    """An MLP whose hidden layer is seen after GELU only (no plan edits it before)."""

    def __init__(self, c_fc: Conv1D, c_proj: Conv1D):
        super().__init__()
        self.c_fc, self.c_proj = FusedLinear(c_fc, gelu=True), FusedLinear(c_proj)

    def forward(self, x: Tensor, tap: Tap) -> Tensor:
        return tap("mlp_out", self.c_proj(tap("mlp.post", self.c_fc(x))))


def can_fuse(model: GPT2) -> bool:
    """Whether this model's products are float32 on a CPU that oneDNN serves."""
    weight = model.wte.weight
    here = weight.device.type == "cpu" and weight.dtype == torch.float32
    return here and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def fused(model: GPT2) -> GPT2:
    """The model with fused products where there are any, for inference; else the model itself."""
    return _with(model, h=nn.ModuleList(map(_fused, model.h))) if can_fuse(model) else model


def _fused(block: Block) -> Block:
    attn = _with(block.attn, c_attn=FusedLinear(block.attn.c_attn), c_proj=FusedLinear(block.attn.c_proj))
    return _with(block, attn=attn, mlp=FusedMLP(block.mlp.c_fc, block.mlp.c_proj))


def _with(module: nn.Module, **children: nn.Module) -> nn.Module:
    """A copy of a module that has these children in place of its own, and shares everything else."""
    out = copy.copy(module)
    out._modules = {**module._modules, **children}
    return out
