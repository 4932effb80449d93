"""From logits to the next token: pure functions of (logits, random generators, settings).

Order, as in OpenAI's `sample.py` and in Hugging Face's generation: repetition penalty, division by the temperature, then
the filters top-k, top-p, min-p. Every filter's meaning (ties, thresholds) is that of Hugging Face's class of the same name.

Sources: Radford et al. 2019 (top-k, Fan et al. 2018); Holtzman et al. 2020 (top-p); Nguyen et al. 2024 (min-p); Keskar et
al. 2019, CTRL, section 4.1 (repetition penalty).
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the model's distribution.

    temperature: 0 takes the likeliest token; 1 draws from the model as it is; larger is more uniform.
    top_k: only the k likeliest tokens (and ties with the k-th). top_p: only the smallest set of likeliest tokens whose
    probability reaches p. min_p: only tokens at least min_p times as probable as the likeliest. None switches a filter off.
    repetition_penalty: above 1 makes tokens already present (prompt included) less likely.
    Raises ValueError for a value outside its range.
    """

    temperature: float | int = 1.0
    top_k: int | None = None
    top_p: float | int | None = None
    min_p: float | int | None = None
    repetition_penalty: float | int = 1.0

    def __post_init__(self) -> None:
        if not _is_number(self.temperature) or not (self.temperature == 0 or 1e-3 <= self.temperature <= 1e3):
            raise ValueError(f"temperature must be 0 (greedy) or between 0.001 and 1000, got {self.temperature!r}.")
        if self.top_k is not None and (not isinstance(self.top_k, int) or self.top_k is True or self.top_k < 1):
            raise ValueError(f"top_k must be a whole number of at least 1, or None for no limit, got {self.top_k!r}.")
        if self.top_p is not None and (not _is_number(self.top_p) or not 0 < self.top_p <= 1):
            raise ValueError(f"top_p must be above 0 and at most 1, or None for no limit, got {self.top_p!r}.")
        if self.min_p is not None and (not _is_number(self.min_p) or not 0 <= self.min_p <= 1):
            raise ValueError(f"min_p must be between 0 and 1, or None for no limit, got {self.min_p!r}.")
        if not _is_number(self.repetition_penalty) or not 1e-2 <= self.repetition_penalty <= 1e2:
            raise ValueError(f"repetition_penalty must be between 0.01 and 100 (1 is none), got {self.repetition_penalty!r}.")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def generators(seed: int, streams: Sequence[int]) -> list[torch.Generator]:
    """One independent random stream per row, fixed by (seed, stream number) alone.

    They live on the CPU, so that a row draws the same numbers alone, in a batch, and on any device.
    """
    return [torch.Generator().manual_seed(_mix(seed, stream)) for stream in streams]


def _mix(seed: int, stream: int) -> int:
    # torch's CPU generator reads only 32 bits of its seed; a hash keeps nearby (seed, stream) pairs apart within them.
    return int.from_bytes(hashlib.sha256(f"{seed}/{stream}".encode()).digest()[:4], "little")


def processed_logits(
    logits: Float[Tensor, "batch d_vocab"], previous_ids: Int[Tensor, "batch previous"] | None, settings: Sampling
) -> Float[Tensor, "batch d_vocab"]:
    """The logits after penalty, temperature and filters, in float32; what was filtered out is -inf.

    Their softmax is the distribution that `sample` draws from. `previous_ids` are the tokens already in each row, -1 for
    padding; only the repetition penalty reads them. With temperature 0 the penalised logits come back undivided and
    unfiltered, for their argmax is the answer.
    """
    scores = logits.float()
    if settings.repetition_penalty != 1 and previous_ids is not None:
        scores = _penalised(scores, previous_ids, settings.repetition_penalty)
    if settings.greedy:
        return scores
    scores = scores / settings.temperature
    if settings.top_k is not None:
        scores = _top_k(scores, settings.top_k)
    if settings.top_p is not None and settings.top_p < 1:
        scores = _top_p(scores, settings.top_p)
    if settings.min_p is not None:
        scores = _min_p(scores, settings.min_p)
    return scores


def _penalised(scores: Tensor, previous_ids: Tensor, penalty: float) -> Tensor:
    batch, d_vocab = scores.shape
    ids = previous_ids.to(scores.device)
    seen = torch.zeros(batch, d_vocab + 1, dtype=torch.bool, device=scores.device)  # last column: padding
    seen.scatter_(1, torch.where(ids < 0, d_vocab, ids), True)
    lowered = torch.where(scores < 0, scores * penalty, scores / penalty)
    return torch.where(seen[:, :d_vocab], lowered, scores)


def _top_k(scores: Tensor, k: int) -> Tensor:
    kth = scores.topk(min(k, scores.shape[-1])).values[:, -1:]
    return scores.masked_fill(scores < kth, -math.inf)


def _top_p(scores: Tensor, p: float) -> Tensor:
    ascending, order = scores.sort()
    remove = ascending.softmax(-1).cumsum(-1) <= 1 - p
    remove[:, -1] = False  # the likeliest token always stays
    return scores.masked_fill(remove.scatter(1, order, remove), -math.inf)


def _min_p(scores: Tensor, min_p: float) -> Tensor:
    probabilities = scores.softmax(-1)
    likeliest = probabilities.amax(-1, keepdim=True)
    return scores.masked_fill(probabilities < min_p * likeliest, -math.inf)


def sample(
    logits: Float[Tensor, "batch d_vocab"],
    rows: Sequence[torch.Generator],
    settings: Sampling,
    previous_ids: Int[Tensor, "batch previous"] | None = None,
) -> Int[Tensor, " batch"]:
    """Draw one token id per row; `rows` holds a random generator for each (unused with temperature 0).

    Each row takes exactly one uniform number and inverts its cumulative distribution, on the CPU in float64, so that the
    result depends on nothing but that row. Raises ValueError where the logits are NaN or nowhere finite.
    """
    scores = processed_logits(logits, previous_ids, settings)
    if scores.isnan().any() or scores.amax(-1).isinf().any():
        raise ValueError("The logits are not finite numbers, so no token can be chosen; check the weights, dtype and edits.")
    if settings.greedy:
        return scores.argmax(-1)
    if len(rows) != len(scores):
        raise ValueError(f"Sampling {len(scores)} rows needs as many random generators, got {len(rows)}.")
    cumulative = scores.cpu().double().softmax(-1).cumsum(-1)
    uniform = torch.stack([torch.rand(1, generator=row, dtype=torch.float64) for row in rows])
    # right=True: the first entry strictly above the draw, which is never a token of probability 0.
    ids = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    return ids.squeeze(1).to(logits.device)
