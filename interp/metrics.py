"""What a run is judged by: functions from last-position logits [row d_vocab] to one number per row, larger when right is likelier.

    logit_difference        mean logit of the correct answers - mean logit of the wrong ones. Linear in the final LayerNorm's
                            output, so it can be attributed; nats of log-odds; blind to both answers rising together
    best_logit_difference   mean logit of the correct answers - the largest wrong logit
    probability_difference  sum of the correct answers' probabilities - sum of the wrong ones' (greater-than: 2305.00586)
    probability             sum of the correct answers' probabilities: what the reader of a text sees, blind near 0 and 1
    log_probability         its natural logarithm, nats: also moved by every other token's logit

For one prompt: `logit_diff(correct, wrong)`, `probability(id)`, `probability_diff`, `log_probability`, and `kl(reference_logits)`,
which is KL(reference || patched) in nats: how far the whole prediction went, right or wrong. For the prompts of a set, each with
its own answers: `answer_metric(name, correct, wrong)`. Any function [row d_vocab] -> [row] is a metric; the ones of this file also say
which tokens they read, so that a sweep unembeds these columns alone.

Pitfall: the metric decides what is found. Probabilities saturate (a component that only makes a sure answer surer seems to do
nothing) and hide what pushes an unlikely token up; a logit difference is blind to what moves both tokens alike; patching results
can change sign between the two.

Sources: Wang et al. 2022, 2211.00593 (logit difference); Zhang & Nanda 2023, 2309.16042 (which metric to prefer: the logit
difference); Heimersheim & Nanda 2024, 2404.15255 (what each can hide); Conmy et al. 2023, 2304.14997 (KL).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core import distribution
from interp.given import token_ids

Ids = int | Sequence[int]
MetricFunction = Callable[[Tensor], Tensor]  # a Metric, an AnswerMetric, or any function [row d_vocab] -> [row]
NO_ID = -1  # fills rows with fewer answers than others


def _mean(values: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, values, 0.0).sum(-1) / known.sum(-1)


def _logit_difference(logits: Tensor, correct: Tensor, wrong: Tensor) -> Tensor:
    return _mean(*_gather(logits, correct)) - _mean(*_gather(logits, wrong))


def _best_logit_difference(logits: Tensor, correct: Tensor, wrong: Tensor) -> Tensor:
    values, known = _gather(logits, wrong)
    return _mean(*_gather(logits, correct)) - values.masked_fill(~known, -torch.inf).amax(-1)


def _probability_difference(logits: Tensor, correct: Tensor, wrong: Tensor) -> Tensor:
    return _probability(logits, correct, wrong) - _probability(logits, wrong, correct)


def _probability(logits: Tensor, correct: Tensor, wrong: Tensor) -> Tensor:
    values, known = _gather(logits.softmax(-1), correct)
    return torch.where(known, values, 0.0).sum(-1)


def _log_probability(logits: Tensor, correct: Tensor, wrong: Tensor) -> Tensor:
    values, known = _gather(logits.log_softmax(-1), correct)
    return values.masked_fill(~known, -torch.inf).logsumexp(-1)


# (logits [row d_vocab], correct [row n], wrong [row m], filled up with NO_ID) -> [row]
METRICS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "logit_difference": _logit_difference,
    "best_logit_difference": _best_logit_difference,
    "probability_difference": _probability_difference,
    "probability": _probability,
    "log_probability": _log_probability,
}
_OF_FEW_LOGITS = ("logit_difference", "best_logit_difference")  # the others need all of them for the softmax


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


def logit_diff(correct: Ids, wrong: Ids) -> Metric:
    """logit[correct] - logit[wrong]; of several ids on a side, the mean of their logits."""
    return _metric("logit_difference", "logit_diff", _ids(correct), _ids(wrong))


def probability(id: Ids) -> Metric:
    """The probability of a token, in 0..1; of several ids, of any of them."""
    return _metric("probability", "probability", _ids(id))


def probability_diff(correct: Ids, wrong: Ids) -> Metric:
    """The probability of any of `correct` less that of any of `wrong`, in -1..1 (greater-than: Hanna et al. 2023, 2305.00586)."""
    return _metric("probability_difference", "probability_diff", _ids(correct), _ids(wrong))


def log_probability(id: Ids) -> Metric:
    """The natural logarithm of a token's probability; of several ids, of any of them. Nats."""
    return _metric("log_probability", "log_probability", _ids(id))


def kl(reference_logits: Float[Tensor, " d_vocab"] | Float[Tensor, "1 d_vocab"]) -> Metric:
    """KL(reference || patched) in nats: the expected loss of reading the patched prediction where the reference is true.

    reference_logits: the last position's logits of the run to compare with, usually the clean one. 0 is equality.
    """
    reference = _precise(reference_logits.detach()).flatten().log_softmax(-1)
    return Metric(
        "kl(reference || patched)",
        lambda logits: distribution.kl(reference[None].to(logits.device), logits.log_softmax(-1)),
    )


@dataclass(frozen=True)
class AnswerMetric:
    """A metric of METRICS with its answers: `metric(logits)` takes last-position logits [prompt d_vocab] to [prompt].

    correct, wrong: token ids, a row a prompt, filled up with NO_ID. A metric of one prompt takes any number of rows (variants
    of that prompt); otherwise row i of the logits must be prompt i, and ValueError is raised for another number of rows.
    """

    name: str
    correct: Int[Tensor, "prompt correct"]
    wrong: Int[Tensor, "prompt wrong"]

    def __call__(self, logits: Float[Tensor, "prompt d_vocab"]) -> Float[Tensor, " prompt"]:
        rows, mine = logits.shape[0], self.correct.shape[0]
        if mine not in (1, rows):
            raise ValueError(
                f"The metric knows the answers of {mine} prompts, the logits have {rows} rows; give one row a prompt."
            )
        correct, wrong = (ids.to(logits.device).expand(rows, -1) for ids in (self.correct, self.wrong))
        return METRICS[self.name](_precise(logits), correct, wrong)

    def of(self, prompt: int) -> "AnswerMetric":
        """The metric of one prompt, for any number of variants of it."""
        row = range(self.correct.shape[0])[prompt]
        return AnswerMetric(self.name, self.correct[row : row + 1], self.wrong[row : row + 1])

    def alone(self, prompt: int) -> Metric:
        """The same numbers as `of`, from a Metric that says which logits it reads: what sweeps are fastest with."""
        rows = (ids[prompt].tolist() for ids in (self.correct, self.wrong))
        return _metric(self.name, self.name, *(tuple(id for id in row if id != NO_ID) for row in rows))

    def direction(self, W_U: Float[Tensor, "d_model d_vocab"]) -> Float[Tensor, "prompt d_model"]:
        """The direction of the residual stream (after the final LayerNorm) that a logit difference measures.

        Raises ValueError for the other metrics, which are not linear.
        """
        if self.name != "logit_difference":
            raise ValueError(f"Only logit_difference is a direction, got {self.name}; measure that for attributions.")
        return _mean_column(W_U, self.correct) - _mean_column(W_U, self.wrong)


def answer_metric(name: str, correct: Sequence[Ids], wrong: Sequence[Ids]) -> AnswerMetric:
    """A metric from answers, one id or a list of them a prompt. Raises ValueError for an unknown name or a prompt without answers."""
    if name not in METRICS:
        raise ValueError(f"No metric is called {name!r}; expected one of {', '.join(METRICS)}.")
    if len(correct) != len(wrong) or not correct:
        raise ValueError(f"Each prompt needs correct and wrong answers; got {len(correct)} and {len(wrong)} lists.")
    return AnswerMetric(name, _padded(correct), _padded(wrong))


def metric_name(metric: MetricFunction) -> str:
    """What to call a metric: its name, or that of the function."""
    return getattr(metric, "name", None) or getattr(metric, "__name__", type(metric).__name__)


def evaluate(metric: MetricFunction, logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, " batch"]:
    """The metric of each row, in float32 or better. Raises ValueError where a function gives anything but one finite number per row."""
    values = metric(logits)
    if not isinstance(values, Tensor) or values.shape != logits.shape[:1]:
        came = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(
            f"The metric {metric_name(metric)} gave {came} for {logits.shape[0]} rows; expected one number per row."
        )
    return finite_values(metric, _precise(values))


def finite_values(metric: MetricFunction, values: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """The values that a metric gave. Raises ValueError where one is not finite."""
    if not values.isfinite().all():
        row = int((~values.isfinite()).nonzero()[0])
        raise ValueError(
            f"The metric {metric_name(metric)} gave {values[row]:g} for row {row} of {len(values)}; expected finite numbers, so "
            "take another metric."
        )
    return values


def _metric(formula: str, name: str, correct: tuple[int, ...], wrong: tuple[int, ...] = ()) -> Metric:
    """A formula of METRICS with the same answers in every row."""
    few = formula in _OF_FEW_LOGITS
    n = len(correct)
    sides = [tuple(range(n)), tuple(range(n, n + len(wrong)))] if few else [correct, wrong]

    def of(logits: Tensor) -> Tensor:
        ids = (torch.tensor(side, dtype=torch.long, device=logits.device).expand(len(logits), -1) for side in sides)
        return METRICS[formula](logits, *ids)

    shown = ", ".join(_shown(side) for side in (correct, wrong) if side)
    unit = "" if formula in ("probability", "probability_difference") else "nats"
    return Metric(f"{name}({shown})", of, correct + wrong if few else None, unit)


def _gather(values: Float[Tensor, "row d_vocab"], ids: Int[Tensor, "row most"]) -> tuple[Tensor, Tensor]:
    """The values at the ids, and which of them are ids at all."""
    return values.gather(-1, ids.clamp(min=0)), ids != NO_ID


def _padded(rows: Sequence[Ids]) -> Int[Tensor, "prompt most"]:
    if empty := [i for i, row in enumerate(rows) if not token_ids(row)]:
        raise ValueError(f"Prompt {empty[0]} has no answers; give it at least one token id.")
    rows = [_ids(row) for row in rows]
    most = max(map(len, rows))
    return torch.tensor([[*row, *[NO_ID] * (most - len(row))] for row in rows])


def _mean_column(W_U: Float[Tensor, "d_model d_vocab"], ids: Int[Tensor, "prompt most"]) -> Float[Tensor, "prompt d_model"]:
    ids = ids.to(W_U.device)
    columns, known = W_U.T[ids.clamp(min=0)], (ids != NO_ID)[..., None]
    return torch.where(known, columns, 0.0).sum(1) / known.sum(1)


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _ids(ids: Ids) -> tuple[int, ...]:
    given = token_ids(ids)
    if not given or min(given) < 0:
        raise ValueError(f"A metric needs token ids from 0, got {list(given)}.")
    return given


def _shown(ids: Sequence[int]) -> str:
    return str(ids[0]) if len(ids) == 1 else "[" + ", ".join(map(str, ids[:4])) + (", ...]" if len(ids) > 4 else "]")
