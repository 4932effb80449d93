"""What is asked of the logits at the end of a prompt: one number a prompt, larger when the right answer is likelier.

    logit_difference        mean logit of the correct answers - mean logit of the wrong ones. Linear in the final LayerNorm's
                            output, so it can be attributed; blind to both answers rising together.
    best_logit_difference   mean logit of the correct answers - the largest wrong logit.
    probability_difference  sum of the correct answers' probabilities - sum of the wrong ones'.
    probability             sum of the correct answers' probabilities.
    log_probability         its natural logarithm, nats.

Pitfall: probabilities saturate (a component that only makes a sure answer surer seems to do nothing), logit differences do
not. Zhang and Nanda 2023, 2309.16042, compare them; Heimersheim and Nanda 2024, 2404.15255, say what each can hide.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

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


METRICS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "logit_difference": _logit_difference,
    "best_logit_difference": _best_logit_difference,
    "probability_difference": _probability_difference,
    "probability": _probability,
    "log_probability": _log_probability,
}


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
        values = logits if logits.dtype == torch.float64 else logits.float()
        return METRICS[self.name](values, correct, wrong)

    def of(self, prompt: int) -> "AnswerMetric":
        """The metric of one prompt, for any number of variants of it."""
        row = range(self.correct.shape[0])[prompt]
        return AnswerMetric(self.name, self.correct[row : row + 1], self.wrong[row : row + 1])

    def direction(self, W_U: Float[Tensor, "d_model d_vocab"]) -> Float[Tensor, "prompt d_model"]:
        """The direction of the residual stream (after the final LayerNorm) that a logit difference measures.

        Raises ValueError for the other metrics, which are not linear.
        """
        if self.name != "logit_difference":
            raise ValueError(f"Only logit_difference is a direction, got {self.name}; measure that for attributions.")
        return _mean_column(W_U, self.correct) - _mean_column(W_U, self.wrong)


def answer_metric(name: str, correct: Sequence[Sequence[int]], wrong: Sequence[Sequence[int]]) -> AnswerMetric:
    """A metric from lists of answers, one list a prompt. Raises ValueError for an unknown name or a prompt without answers."""
    if name not in METRICS:
        raise ValueError(f"No metric is called {name!r}; expected one of {', '.join(METRICS)}.")
    if len(correct) != len(wrong) or not correct:
        raise ValueError(f"Each prompt needs correct and wrong answers; got {len(correct)} and {len(wrong)} lists.")
    return AnswerMetric(name, _padded(correct), _padded(wrong))


def _padded(rows: Sequence[Sequence[int]]) -> Int[Tensor, "prompt most"]:
    if not all(rows):
        raise ValueError(f"Prompt {[bool(row) for row in rows].index(False)} has no answers; give it at least one token id.")
    most = max(map(len, rows))
    return torch.tensor([[*row, *[NO_ID] * (most - len(row))] for row in rows])


def _gather(values: Float[Tensor, "prompt d_vocab"], ids: Int[Tensor, "prompt most"]) -> tuple[Tensor, Tensor]:
    """The values at the ids, and which of them are ids at all."""
    return values.gather(-1, ids.clamp(min=0)), ids != NO_ID


def _mean_column(W_U: Float[Tensor, "d_model d_vocab"], ids: Int[Tensor, "prompt most"]) -> Float[Tensor, "prompt d_model"]:
    ids = ids.to(W_U.device)
    columns, known = W_U.T[ids.clamp(min=0)], (ids != NO_ID)[..., None]
    return torch.where(known, columns, 0.0).sum(1) / known.sum(1)
