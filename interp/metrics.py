"""What a patched run is judged by: functions from the logits of the last position [batch d_vocab] to one number per row.

    logit_diff(correct, wrong)    logit[correct] - logit[wrong]: linear in what the last layer writes, in nats of log-odds
    probability(id)               softmax: what the reader of a text sees, but blind where it is already near 0 or 1
    log_probability(id)           its logarithm, nats: also moved by every other token's logit
    kl(reference_logits)          KL(reference || patched), nats: how far the whole prediction went, right or wrong

Any function [batch d_vocab] -> [batch] is a metric. The ones of this file also say which tokens they read, so that a sweep
unembeds these columns alone. Pitfall: the metric decides what is found. A probability hides what pushes an unlikely token up;
a logit difference is blind to what moves both tokens alike; patching results can change sign between the two.

Sources: Wang et al. 2022, 2211.00593 (logit difference); Zhang & Nanda 2023, 2309.16042 (which metric to prefer: the logit
difference); Conmy et al. 2023, 2304.14997 (KL).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Ids = int | Sequence[int]


@dataclass(frozen=True)
class Metric:
    """A named metric. Called with logits [batch d_vocab], it gives Float [batch].

    reads: the token ids whose logits decide it, or None where all do. `of(logits of those ids [batch id])` is the same number
    as the call on all logits. unit: "nats", or "" for a probability.
    """

    name: str
    of: Callable[[Float[Tensor, "batch id"]], Float[Tensor, " batch"]]
    reads: tuple[int, ...] | None = None
    unit: str = "nats"

    def __call__(self, logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, " batch"]:
        if self.reads is None:
            return self.of(_precise(logits))
        if max(self.reads) >= logits.shape[-1]:
            raise ValueError(f"{self.name} reads token {max(self.reads)}, the vocabulary has {logits.shape[-1]}; give its ids.")
        return self.of(_precise(logits[..., list(self.reads)]))


MetricFunction = Callable[[Tensor], Tensor]  # a Metric, or any function [batch d_vocab] -> [batch]


def logit_diff(correct: Ids, wrong: Ids) -> Metric:
    """logit[correct] - logit[wrong]; of several ids on a side, the mean of their logits."""
    right, left = _ids(correct), _ids(wrong)
    n = len(right)
    name = f"logit_diff({_shown(right)}, {_shown(left)})"
    return Metric(name, lambda x: x[:, :n].mean(-1) - x[:, n:].mean(-1), right + left)


def probability(id: Ids) -> Metric:
    """The probability of a token, in 0..1; of several ids, of any of them."""
    ids = _ids(id)
    return Metric(f"probability({_shown(ids)})", lambda x: x.softmax(-1)[:, list(ids)].sum(-1), unit="")


def probability_diff(correct: Ids, wrong: Ids) -> Metric:
    """The probability of any of `correct` less that of any of `wrong`, in -1..1 (greater-than: Hanna et al. 2023, 2305.00586)."""
    right, left = list(_ids(correct)), list(_ids(wrong))

    def of(logits: Tensor) -> Tensor:
        p = logits.softmax(-1)
        return p[:, right].sum(-1) - p[:, left].sum(-1)

    return Metric(f"probability_diff({_shown(right)}, {_shown(left)})", of, unit="")


def log_probability(id: Ids) -> Metric:
    """The natural logarithm of a token's probability; of several ids, of any of them. Nats."""
    ids = list(_ids(id))
    return Metric(f"log_probability({_shown(ids)})", lambda x: x.log_softmax(-1)[:, ids].logsumexp(-1))


def kl(reference_logits: Float[Tensor, " d_vocab"] | Float[Tensor, "1 d_vocab"]) -> Metric:
    """KL(reference || patched) in nats: the expected loss of reading the patched prediction where the reference is true.

    reference_logits: the last position's logits of the run to compare with, usually the clean one. 0 is equality.
    """
    reference = _precise(reference_logits.detach()).flatten().log_softmax(-1)

    def of(logits: Tensor) -> Tensor:
        own = reference.to(logits.device)
        return (own.exp() * (own - logits.log_softmax(-1))).sum(-1)

    return Metric("kl(reference || patched)", of)


def metric_name(metric: MetricFunction) -> str:
    """What to call a metric: its name, or that of the function."""
    return getattr(metric, "name", None) or getattr(metric, "__name__", type(metric).__name__)


def evaluate(metric: MetricFunction, logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, " batch"]:
    """The metric of each row, in float32 or better. Raises ValueError where a function gives anything but one number per row."""
    values = metric(logits)
    if not isinstance(values, Tensor) or values.shape != logits.shape[:1]:
        came = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(
            f"The metric {metric_name(metric)} gave {came} for {logits.shape[0]} rows; expected one number per row."
        )
    return _precise(values)


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _ids(ids: Ids) -> tuple[int, ...]:
    given = (ids,) if isinstance(ids, int) else tuple(int(i) for i in ids)
    if not given or min(given) < 0:
        raise ValueError(f"A metric needs token ids from 0, got {list(given)}.")
    return given


def _shown(ids: Sequence[int]) -> str:
    return str(ids[0]) if len(ids) == 1 else "[" + ", ".join(map(str, ids[:4])) + (", ...]" if len(ids) > 4 else "]")
