"""What a head does, measured: previous-token, duplicate-token and induction scores on repeated random tokens.

The input is a sequence of T random tokens, twice: there is nothing to understand in it, so attention that still lands on
the right place is a mechanism and not a memory.

    previous-token score    mean over i of pattern[i, i-1]
    duplicate-token score   mean over the second copy of pattern[i, i-T]      (the same token, one copy earlier)
    induction score         mean over the second copy of pattern[i, i-T+1]    (the token that came after it)

A head that spread its attention evenly would score `chance`. The scores say what a head attends to, not that it is used; and
a high induction score does not make a head part of the circuit of some task (Wang et al. 2022 found several that are not).

Sources: Olsson et al. 2022, 2209.11895 (induction, prefix matching); Elhage et al. 2021; TransformerLens' demo (the formulas).
"""

from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.hooks import Watch
from gpt2_core.model import GPT2
from interp.edits import NO_EDITS, Plan
from interp.finite import refuse_not_finite
from interp.intervene import compile_plan
from interp.run import Provenance, provenance

LOWEST, HIGHEST = 100, 20000  # ids of ordinary tokens, neither single bytes nor the rarest


@dataclass(frozen=True)
class HeadScores:
    """previous_token, duplicate_token, induction: Float [layer head], mean attention in 0..1.

    chance: what evenly spread attention would score, per role. first_copy_loss, second_copy_loss: nats per token, of each copy from its
    second token on; their difference is what the model gains from having seen the sequence before.
    """

    previous_token: Float[Tensor, "layer head"]
    duplicate_token: Float[Tensor, "layer head"]
    induction: Float[Tensor, "layer head"]
    chance: dict[str, float]
    first_copy_loss: float
    second_copy_loss: float
    length: int
    seed: int
    provenance: Provenance

    @property
    def gain(self) -> float:
        """Nats per token saved on the second copy."""
        return self.first_copy_loss - self.second_copy_loss


def repeated_random_tokens(d_vocab: int, batch: int, length: int, seed: int) -> Int[Tensor, "batch pos"]:
    """`length` random tokens, twice: [batch 2 * length], the same for the same seed on every device."""
    generator = torch.Generator().manual_seed(seed)
    low = LOWEST if d_vocab > 2 * LOWEST else 0
    once = torch.randint(low, min(HIGHEST, d_vocab), (batch, length), generator=generator)
    return repeat(once, "b t -> b (two t)", two=2)


@torch.no_grad()
def scores(model: GPT2, seed: int = 0, batch: int = 4, length: int = 50, plan: Plan = NO_EDITS) -> HeadScores:
    """Scores every head on repeated random tokens, without a leading `<|endoftext|>`.

    length: tokens per copy; both copies must fit the context (ValueError otherwise). plan: edits in force, so that one can see
    which heads lose their role when another is turned off.
    """
    if not 2 <= length <= model.config.n_ctx // 2:
        raise ValueError(f"length must lie in 2..{model.config.n_ctx // 2} for this context, got {length}.")
    tokens = repeated_random_tokens(model.config.d_vocab, batch, length, seed)
    offsets = {"previous_token": (1, 1), "duplicate_token": (length, length), "induction": (length - 1, length)}
    kept: dict[str, list[Tensor]] = {role: [] for role in offsets}

    def read(name: str, pattern: Tensor) -> None:
        for role, (back, start) in offsets.items():
            kept[role].append(_mean_at_offset(pattern, back, start))

    # One layer's patterns at a time, so that they are never all in memory.
    watch = Watch(lambda name: name.endswith("attn.hook_pattern"), read, compile_plan(model, plan, bos=False))
    logits = model(tokens, hook=watch)
    refuse_not_finite(model, logits, tokens, watch)
    first, second = _copy_losses(logits, tokens.to(logits.device), length)
    table = {role: torch.stack(rows) for role, rows in kept.items()}
    chance = {role: _chance(start, 2 * length) for role, (_, start) in offsets.items()}
    losses = {"first_copy_loss": first, "second_copy_loss": second}
    return HeadScores(**table, **losses, chance=chance, length=length, seed=seed, provenance=provenance(model, plan, bos=False))


def _mean_at_offset(pattern: Float[Tensor, "batch head query key"], back: int, start: int) -> Float[Tensor, " head"]:
    """Mean over batch and queries i >= start of pattern[i, i - back]."""
    diagonal = pattern.float().diagonal(-back, dim1=-2, dim2=-1)  # entry j is query j + back
    return diagonal[..., start - back :].mean((0, 2)).cpu()


def _chance(start: int, n: int) -> float:
    """The mean over queries start <= i < n for a head that gives each of its i + 1 keys the same weight."""
    return sum(1 / (i + 1) for i in range(start, n)) / (n - start)


def _copy_losses(logits: Tensor, tokens: Tensor, length: int) -> tuple[float, float]:
    """Mean loss of predicting tokens 1..T-1 of the first copy and of the second, nats."""
    loss = -logits[:, :-1].float().log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    return loss[:, : length - 1].mean().item(), loss[:, length:].mean().item()
