"""A step of training beside transformers': the same small GPT-2, the same rows, AdamW, one process, in turns.

transformers computes the logits of all positions and hands them to `cross_entropy`; ours never holds them. "ours" gives the
same loss and gradients (checked before timing); "ours, sampled" is what the embedded family was trained with, and an estimate.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers import GPT2LMHeadModel

from gpt2_core.config import GPT2Config
from gpt2_core.model import GPT2
from gpt2_core.train.batches import Batch
from gpt2_core.train.loss import choose_candidates
from gpt2_core.train.objective import Objective
from gpt2_core.train.optimizer import make_optimizer
from gpt2_core.train.recipe import Optimizer
from tests.helpers import hf_model, random_model

SHAPE = GPT2Config(n_layers=4, n_heads=4, d_model=128, n_ctx=512)  # glass-7m's
ROWS, WINDOW, NEGATIVES = 8, 512, 2048
OPTIMIZER = Optimizer(learning_rate=1e-4, steps=1000)


def training_step() -> dict[str, Callable[[], Any]]:
    """Forward, backward, clipping and AdamW of 8 rows of 512 tokens, matrix products in bfloat16."""
    model = random_model(SHAPE)
    peer = hf_model(model)
    for network in (model, peer):
        network.train()
    # words are not equally frequent: a step of text has some 1,500 distinct tokens
    frequent = (torch.rand(ROWS, WINDOW + 1, generator=torch.Generator().manual_seed(0)) ** 6 * SHAPE.d_vocab).long()
    none = torch.zeros(0, WINDOW + 1, dtype=torch.long)
    batch = Batch(frequent, none, torch.zeros(0, WINDOW))
    candidates = choose_candidates(batch.targets, SHAPE.d_vocab, NEGATIVES, seed=0)
    objective = Objective(model, torch.bfloat16, chunk=256, compiled=True)
    ours = _step(model, lambda: objective(batch, None).sum() / batch.weight)
    sampled = _step(model, lambda: objective(batch, candidates).sum() / batch.weight)
    theirs = _step(peer, lambda: _transformers_loss(peer, frequent))
    _check(model, peer, ours, theirs)
    return {"ours": ours, "ours, sampled": sampled, "transformers": theirs}


def _step(model: GPT2 | GPT2LMHeadModel, loss: Callable[[], torch.Tensor]) -> Callable[[], float]:
    optimizer = make_optimizer(model, OPTIMIZER)

    def step() -> float:
        with torch.enable_grad():
            value = loss()
            value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return value.item()

    return step


def _transformers_loss(model: GPT2LMHeadModel, tokens: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(tokens[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())


def _check(model: GPT2, peer: GPT2LMHeadModel, ours: Callable[[], float], theirs: Callable[[], float]) -> None:
    """Raises where the losses of the first three steps differ by more than bfloat16 explains."""
    pairs = [(ours(), theirs()) for _ in range(3)]
    if not all(abs(a - b) < 0.01 for a, b in pairs) or pairs[-1][0] >= pairs[0][0]:
        raise ValueError(f"The losses {pairs} are not the same or do not fall; the times would not be comparable.")
