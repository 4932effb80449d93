"""Laws that predict a language model's loss from its size, and straight lines through the published points.

Kaplan et al. 2020: loss falls as a power of the number of parameters *outside the embeddings*, of the data, or of the
compute, whichever is short. Hoffmann et al. 2022 (Chinchilla): both together, with a floor. The constants belong to each
paper's own data and vocabulary, so compare slopes rather than levels. All losses are in nats per token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gpt2_core.config import RELEASED, SIZES, GPT2Config
from gpt2_core.tasks.published import CURVES, results

Number = int | float
_GPT1_VOCABULARY = 40_478


@dataclass(frozen=True)
class Line:
    """y = intercept + slope * log10(parameters), fitted by least squares; r2 is the share of variance explained.

    scale "log": the line describes ln(metric) (perplexities), "linear": the metric itself.
    """

    intercept: float
    slope: float
    r2: float
    n_points: int
    scale: Literal["linear", "log"]

    def at(self, n_params: Number) -> float:
        """The metric the line gives for a model of n_params parameters."""
        value = self.intercept + self.slope * math.log10(n_params)
        return math.exp(value) if self.scale == "log" else value


def non_embedding_params(config: GPT2Config) -> int:
    """Parameters without token and position embeddings: the N of Kaplan et al. (the last LayerNorm is counted)."""
    return config.n_params - (config.d_vocab + config.n_ctx) * config.d_model


def kaplan_loss_of_size(n_non_embedding: Number) -> float:
    """L(N) = (8.8e13 / N)^0.076 with enough data and training. Source: Kaplan et al. 2020, equation 1.1."""
    return (8.8e13 / n_non_embedding) ** 0.076


def kaplan_loss_of_data(n_tokens: Number) -> float:
    """L(D) = (5.4e13 / D)^0.095 for a large model stopped in time. Source: Kaplan et al. 2020, equation 1.2."""
    return (5.4e13 / n_tokens) ** 0.095


def kaplan_loss(n_non_embedding: Number, n_tokens: Number) -> float:
    """L(N, D) = [(N_c/N)^(a_N/a_D) + D_c/D]^a_D, both limits at once. Source: Kaplan et al. 2020, equation 1.5."""
    return ((8.8e13 / n_non_embedding) ** (0.076 / 0.095) + 5.4e13 / n_tokens) ** 0.095


def chinchilla_loss(n_params: Number, n_tokens: Number) -> float:
    """L(N, D) = 1.69 + 406.4 / N^0.34 + 410.7 / D^0.28. Source: Hoffmann et al. 2022, equation 10."""
    return 1.69 + 406.4 / n_params**0.34 + 410.7 / n_tokens**0.28


def training_flops(n_params: Number, n_tokens: Number) -> float:
    """6 N D floating point operations, forward and backward, attention left out. Source: Kaplan et al. 2020, section 2.1."""
    return 6 * n_params * n_tokens


def printed_millions(config: GPT2Config) -> int:
    """The millions of parameters this shape would have with GPT-1's vocabulary.

    It reproduces all four labels of table 2 (117, 345, 762, 1542): our explanation of OpenAI's "error", not theirs.
    """
    params = config.n_params - (config.d_vocab - _GPT1_VOCABULARY) * config.d_model
    return round(params / 1e6)


def fit_line(n_params: Sequence[Number], values: Sequence[Number], scale: Literal["linear", "log"]) -> Line:
    """Least squares of the values (or of their natural logarithm) against log10(parameters).

    Raises ValueError for fewer than two sizes.
    """
    xs = [math.log10(n) for n in n_params]
    ys = [math.log(value) if scale == "log" else value for value in values]
    if len(set(xs)) < 2:
        raise ValueError(f"A line needs at least two different sizes, got {len(set(xs))}.")
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    x_spread = sum((x - x_mean) ** 2 for x in xs)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / x_spread
    y_spread = sum((y - y_mean) ** 2 for y in ys)
    r2 = 1.0 if y_spread == 0 else slope**2 * x_spread / y_spread
    return Line(y_mean - slope * x_mean, slope, r2, len(xs), scale)


def published_line(metric: str) -> Line:
    """The line through the paper's four points of one metric of table 3 (say so beside it: four points).

    Raises ValueError for a metric that the paper gives for fewer sizes.
    """
    if metric not in CURVES:
        raise ValueError(f"The paper gives {metric!r} for fewer than four sizes; a line exists for {', '.join(CURVES)}.")
    rows = results(metric)
    values = [rows[name].value for name in RELEASED]
    return fit_line([SIZES[name].config.n_params for name in RELEASED], values, "log" if metric.endswith("_ppl") else "linear")
