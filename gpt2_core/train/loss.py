"""Cross-entropy against a large vocabulary, without ever holding the logits of a batch.

The logits of n positions are [n V]: at V = 50,257 they outweigh everything else that a small GPT-2 computes, and most of a
training step is spent moving them. Here they exist for `chunk` positions at a time. The gradient of a chunk is known as soon
as its softmax is (p - 1 at the target), so both gradients are made in the forward pass and the logits are forgotten.

`sampled_cross_entropy` leaves out most of the vocabulary as well: the softmax runs over the targets of the step and a few
thousand random other tokens, each of which stands for as many as were left out (log_weight is the log of that number, added to
its logit). The sum over the vocabulary is then right on average; its logarithm, the loss, is slightly low. Measure with the
exact one, and train the end of a run with it.

Sums are over positions, in nats, each position weighed by `importance` (default 1): divide by the total importance of the whole
step, so that accumulation and data parallelism change nothing.

Sources: Bengio & Senecal 2008 (importance-sampled softmax); Wijmans et al. 2024, 2411.09009 (logits in pieces).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor


def chunked_cross_entropy(
    hidden: Float[Tensor, "n d_model"],
    weight: Float[Tensor, "d_vocab d_model"],
    targets: Int[Tensor, " n"],
    importance: Float[Tensor, " n"] | None = None,
    chunk: int = 512,
    compiled: bool = False,
) -> Float[Tensor, ""]:
    """The exact loss of the logits hidden @ weight.T, summed; products in hidden's dtype, softmax and sum in float32.

    compiled: one kernel of torch.compile for the softmax, the loss and the gradient (1.7 times as fast on a CPU, once compiled).
    """
    importance = _ones(targets) if importance is None else importance
    return _sum(hidden, weight, targets, importance, None, chunk, compiled)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The tokens that a sampled softmax runs over, in ascending order, and the log of how many each stands for."""

    ids: Int[Tensor, " candidate"]
    log_weight: Float[Tensor, " candidate"]


def choose_candidates(targets: Int[Tensor, "..."], d_vocab: int, negatives: int, seed: int) -> Candidates:
    """All distinct `targets` (of a whole step, so that every part of it uses the same) and `negatives` of the other tokens.

    The negatives are drawn without replacement, the same for the same arguments on every device. Where fewer others exist than
    asked for, all are taken and the loss is exact.
    """
    present = torch.zeros(d_vocab, dtype=torch.bool)
    present[targets.flatten().cpu()] = True
    others = (~present).nonzero()[:, 0]
    drawn = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))[:negatives]]
    log_weight = torch.zeros(d_vocab)
    log_weight[drawn] = (torch.tensor(len(others)) / max(len(drawn), 1)).log()
    present[drawn] = True
    ids = present.nonzero()[:, 0]
    return Candidates(ids.to(targets.device), log_weight[ids].to(targets.device))


def sampled_cross_entropy(
    hidden: Float[Tensor, "n d_model"],
    weight: Float[Tensor, "d_vocab d_model"],
    targets: Int[Tensor, " n"],
    candidates: Candidates,
    importance: Float[Tensor, " n"] | None = None,
    chunk: int = 512,
    compiled: bool = False,
) -> Float[Tensor, ""]:
    """An estimate of `chunked_cross_entropy` over the candidates only. Every target must be one of them (ValueError)."""
    index = torch.searchsorted(candidates.ids, targets.contiguous()).clamp(max=len(candidates.ids) - 1)
    if not torch.equal(candidates.ids[index], targets):
        raise ValueError("A target is not among the candidates; choose_candidates must see all targets of the step.")
    rows = weight.index_select(0, candidates.ids)
    importance = _ones(targets) if importance is None else importance
    return _sum(hidden, rows, index, importance, candidates.log_weight, chunk, compiled)


def _ones(targets: Tensor) -> Tensor:
    return torch.ones(targets.shape, device=targets.device)


def _losses(logits: Tensor, log_weight: Tensor | None, target: Tensor, importance: Tensor) -> Tensor:
    """The weighed losses [n 1] of logits [n V]; target, importance [n 1]."""
    exact = logits.float() if log_weight is None else logits.float() + log_weight
    return (exact.logsumexp(-1, keepdim=True) - exact.gather(1, target)) * importance


def _losses_and_gradient(
    logits: Tensor, log_weight: Tensor | None, target: Tensor, importance: Tensor
) -> tuple[Tensor, Tensor]:
    """The same, and their gradient [n V] in the dtype of the logits."""
    exact = logits.float() if log_weight is None else logits.float() + log_weight
    logprobs = exact.log_softmax(-1)
    hit = torch.arange(logits.shape[1], device=logits.device) == target
    gradient = (logprobs.exp() - hit.float()) * importance
    return -logprobs.gather(1, target) * importance, gradient.to(logits.dtype)


@lru_cache(maxsize=2)
def _compiled(kernel):
    return torch.compile(kernel, dynamic=True)


def _sum(*inputs) -> Tensor:
    # needs_input_grad does not know of no_grad, and inside the function gradients are always off
    return _Chunked.apply(torch.is_grad_enabled(), *inputs)


class _Chunked(torch.autograd.Function):
    """The sum of the losses, with both gradients made beside it."""

    @staticmethod
    def forward(ctx, learning, hidden, weight, targets, importance, log_weight, chunk, compiled):
        kernel = _losses_and_gradient if learning else _losses
        kernel = _compiled(kernel) if compiled else kernel
        hidden, rows = hidden.detach(), weight.detach().to(hidden.dtype)
        hidden_grad = torch.empty_like(hidden) if learning else None
        weight_grad = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if learning else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for at in range(0, len(targets), chunk):
            part = slice(at, at + chunk)
            given = (hidden[part] @ rows.T, log_weight, targets[part, None], importance[part, None])
            if not learning:
                total += kernel(*given).sum()
                continue
            losses, gradient = kernel(*given)
            total += losses.sum()
            torch.mm(gradient, rows, out=hidden_grad[part])
            weight_grad += gradient.T @ hidden[part]
        ctx.save_for_backward(hidden_grad, weight_grad)
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    def backward(ctx, upstream):
        hidden_grad, weight_grad = ctx.saved_tensors
        return None, hidden_grad * upstream, (weight_grad * upstream).to(ctx.weight_dtype), *[None] * 5
