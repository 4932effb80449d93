"""AdamW over a GPT-2: decay on matrices only; its moments by parameter name, so that they can be saved without pickle."""

import torch
from torch import Tensor

from gpt2_core.model import GPT2
from gpt2_core.train.recipe import Optimizer

MOMENTS = ("exp_avg", "exp_avg_sq")


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay pulls this parameter to zero: matrices and the token embedding, not positions, gains and biases."""
    return parameter.ndim == 2 and name != "wpe.weight"


def make_optimizer(model: GPT2, o: Optimizer) -> torch.optim.AdamW:
    """Fused AdamW (one kernel for all of a parameter's arithmetic) with two groups: with decay and without."""
    named = list(model.named_parameters())
    groups = [
        {"params": [p for name, p in named if decays(name, p)], "weight_decay": o.weight_decay},
        {"params": [p for name, p in named if not decays(name, p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=o.learning_rate, betas=(o.beta1, o.beta2), eps=o.eps, fused=True)


def moments(optimizer: torch.optim.AdamW, model: GPT2) -> dict[str, Tensor]:
    """Both moments of each parameter as {"exp_avg.<parameter>": tensor, ...}; needs at least one update."""
    return {f"{m}.{name}": optimizer.state[p][m] for name, p in model.named_parameters() for m in MOMENTS}


@torch.no_grad()
def restore_moments(optimizer: torch.optim.AdamW, model: GPT2, saved: dict[str, Tensor], step: int) -> None:
    """Put saved moments back, on each parameter's device, after `step` updates."""
    for name, p in model.named_parameters():
        count = torch.tensor(float(step), device=p.device)  # fused AdamW counts on the device
        optimizer.state[p] = {"step": count} | {m: saved[f"{m}.{name}"].to(p.device).clone() for m in MOMENTS}


def set_learning_rate(optimizer: torch.optim.AdamW, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
