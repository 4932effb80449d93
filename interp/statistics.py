"""From one number a prompt to what may be said of them: distribution, interval, worst cases, and what chance would give.

A mean hides its tail: GPT-2 small is right on the average sentence with an indirect object and wrong on about one in seventy,
always of the same kind. So a result over a prompt set is shown with its spread, the interval of its mean, and its worst prompts.

Bootstrap: prompts are drawn again with replacement, the statistic is computed anew each time, and the middle 95 % of what comes
is the interval. "percentile" takes it as it is; "bca" corrects its bias and skewness (Efron 1987) and is the better one for
skewed values. Pitfalls: the interval is about prompts like these, of the same template, not about language; prompts that share
words are not independent, so it is too narrow; below some twenty prompts neither method keeps its level.

Null: `shuffled` gives pairs the answers, or the corrupted prompts, of other pairs. What a measure shows on these is what it shows
for no reason.

Sources: Efron and Tibshirani 1993, chapters 13 and 14; Phipson and Smyth 2010 (p-values of permutations are never 0).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

import torch
from jaxtyping import Float
from torch import Tensor

from interp.prompt_sets.pairs import PromptPair, PromptSet

STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {  # of values [... prompt cell] to [... cell]
    "mean": lambda values: values.mean(-2),
    "median": lambda values: values.quantile(0.5, dim=-2),
    "share_positive": lambda values: (values > 0).to(values.dtype).mean(-2),
}
METHODS = ("percentile", "bca")
SHUFFLES = ("answers", "corrupted")
CHUNK = 2**24  # numbers in memory at once while resampling


@dataclass(frozen=True)
class Interval:
    """estimate, low, high: of the statistic, over the first axis of the values. level: e.g. 0.95. The seed repeats it exactly."""

    statistic: str
    estimate: Float[Tensor, "..."]
    low: Float[Tensor, "..."]
    high: Float[Tensor, "..."]
    level: float
    method: str
    resamples: int
    seed: int


@dataclass(frozen=True)
class Case:
    """A prompt of a set and its value."""

    index: int
    value: float
    prompt: str


@dataclass(frozen=True)
class Summary:
    """The distribution of one number a prompt. quartiles: 25, 50 and 75 %. worst: the smallest values first."""

    values: Float[Tensor, " prompt"]
    interval: Interval
    std: float
    minimum: float
    maximum: float
    quartiles: tuple[float, float, float]
    share_positive: float
    n_unique: int
    worst: tuple[Case, ...]

    @property
    def mean(self) -> float:
        return self.values.mean().item()

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Null:
    """What a measure gives on shuffled pairs. observed: its mean on the real ones; means: [shuffle]; what: was shuffled.

    p_value: the share of shuffles whose mean is as far from 0 as the observed one, the real one counted among them.
    """

    observed: float
    means: Float[Tensor, " shuffle"]
    p_value: float
    what: str
    seed: int


def bootstrap(
    values: Float[Tensor, "prompt ..."],
    statistic: str = "mean",
    level: float = 0.95,
    method: str = "bca",
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The bootstrap interval of a statistic over prompts, for every cell of the other axes at once.

    values: [prompt ...], such as [prompt] or [prompt layer head]; all cells share the resamples. Raises ValueError for values
    that are not finite, fewer than two prompts, or an unknown statistic or method.
    """
    _check(values, statistic, level, method, resamples)
    flat = values.detach().double().cpu().reshape(values.shape[0], -1)
    measure = STATISTICS[statistic]
    resampled, estimate = _resampled(flat, measure, resamples, seed), measure(flat)
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)[:, None].expand(2, flat.shape[1])
    if method == "bca":
        tails = _bca(tails, resampled, estimate, flat, measure)
    bounds = [_quantile(resampled, tail).reshape(values.shape[1:]) for tail in tails]
    return Interval(statistic, estimate.reshape(values.shape[1:]), *bounds, level, method, resamples, seed)


def summarise(
    values: Float[Tensor, " prompt"], prompts: Sequence[str], worst: int = 10, method: str = "bca", seed: int = 0
) -> Summary:
    """Distribution, interval of the mean and worst cases of one number a prompt. Raises ValueError where the counts differ."""
    if len(values) != len(prompts):
        raise ValueError(f"There are {len(values)} values and {len(prompts)} prompts; expected one value a prompt.")
    interval = bootstrap(values, method=method, seed=seed)
    held = values.detach().double().cpu()
    q = held.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    return Summary(
        values=held,
        interval=interval,
        std=held.std().item(),
        minimum=held.min().item(),
        maximum=held.max().item(),
        quartiles=(q[0], q[1], q[2]),
        share_positive=(held > 0).double().mean().item(),
        n_unique=len(set(prompts)),
        worst=worst_cases(held, prompts, worst),
    )


def worst_cases(values: Float[Tensor, " prompt"], prompts: Sequence[str], n: int = 10) -> tuple[Case, ...]:
    """The n prompts with the smallest values, the smallest first; equal values in the order of the prompts."""
    order = sorted(range(len(prompts)), key=lambda i: values[i].item())[:n]
    return tuple(Case(i, values[i].item(), prompts[i]) for i in order)


def shuffled(drawn: PromptSet, seed: int = 0, what: str = "answers") -> PromptSet:
    """The same clean prompts with the answers, or the corrupted prompts, of other pairs: what they show is chance.

    "answers" permutes the answers over the whole set. "corrupted" permutes the corrupted prompts among pairs whose words of
    interest stand at the same positions; a pair that has no such partner keeps its own.
    """
    if what not in SHUFFLES:
        raise ValueError(f"Only {' or '.join(SHUFFLES)} of pairs can be shuffled, got {what!r}.")
    random, groups = Random(seed), {}
    for index, pair in enumerate(drawn.pairs):
        key = "all" if what == "answers" else (len(pair.clean.ids), *sorted(pair.clean.spans.items()))
        groups.setdefault(key, []).append(index)
    pairs = list(drawn.pairs)
    for group in groups.values():
        for index, other in zip(group, random.sample(group, len(group))):
            pairs[index] = _with(drawn.pairs[index], drawn.pairs[other], what)
    return replace(drawn, pairs=tuple(pairs))


def null_baseline(
    measure: Callable[[PromptSet], Float[Tensor, " prompt"]],
    drawn: PromptSet,
    shuffles: int = 20,
    seed: int = 0,
    what: str = "answers",
) -> Null:
    """A measure (a set to one number a prompt) on the real pairs and on shuffled ones."""
    if shuffles < 1:
        raise ValueError(f"A null baseline needs at least one shuffle, got {shuffles}.")
    observed = measure(drawn).double().mean().item()
    means = torch.stack([measure(shuffled(drawn, seed + i, what)).double().mean().cpu() for i in range(shuffles)])
    p_value = (1 + (means.abs() >= abs(observed)).sum().item()) / (1 + shuffles)
    return Null(observed, means, p_value, what, seed)


def _check(values: Tensor, statistic: str, level: float, method: str, resamples: int) -> None:
    if statistic not in STATISTICS or method not in METHODS:
        raise ValueError(
            f"Expected a statistic of {', '.join(STATISTICS)} and a method of {', '.join(METHODS)}, got {statistic!r}, {method!r}."
        )
    if not 0 < level < 1 or resamples < 2:
        raise ValueError(f"An interval needs a level in 0..1 and two resamples or more, got {level} and {resamples}.")
    if values.shape[0] < 2:
        raise ValueError(f"An interval over prompts needs at least two of them, got {values.shape[0]}.")
    if not values.isfinite().all():
        raise ValueError(f"{(~values.isfinite()).sum().item()} values are not finite; leave those prompts out and say so.")


def _resampled(flat: Tensor, measure: Callable[[Tensor], Tensor], resamples: int, seed: int) -> Float[Tensor, "resample cell"]:
    n, generator = len(flat), torch.Generator().manual_seed(seed)
    chosen = torch.randint(n, (resamples, n), generator=generator)
    return torch.cat([measure(flat[rows]) for rows in chosen.split(max(1, CHUNK // flat.numel()))])


def _bca(
    tails: Tensor, resampled: Tensor, estimate: Tensor, flat: Tensor, measure: Callable[[Tensor], Tensor]
) -> Float[Tensor, "two cell"]:
    """The quantiles of the resamples to take in place of `tails`, cell by cell (Efron and Tibshirani 1993, equation 14.10)."""
    below = ((resampled < estimate).double() + (resampled <= estimate).double()).mean(0) / 2  # half of the ties
    bias = torch.special.ndtri(below)
    left_out = torch.stack([measure(torch.cat([flat[:i], flat[i + 1 :]])) for i in range(len(flat))])
    spread = left_out.mean(0) - left_out
    acceleration = spread.pow(3).sum(0) / (6 * spread.pow(2).sum(0).pow(1.5))
    acceleration = torch.where(spread.abs().amax(0) > 0, acceleration, 0.0)  # all values equal: nothing to correct
    z = bias + torch.special.ndtri(tails)
    return torch.special.ndtr(bias + z / (1 - acceleration * z))


def _quantile(resampled: Float[Tensor, "resample cell"], at: Float[Tensor, " cell"]) -> Float[Tensor, " cell"]:
    """The quantile `at` of each column, linear between its neighbours."""
    ordered, place = resampled.sort(0).values, at * (len(resampled) - 1)
    low = place.long().clamp(max=len(resampled) - 2)[None]
    below, above = ordered.gather(0, low)[0], ordered.gather(0, low + 1)[0]
    return below + (above - below) * (place - low[0])


def _with(pair: PromptPair, other: PromptPair, what: str) -> PromptPair:
    if what == "corrupted":
        return replace(pair, corrupted=other.corrupted)
    return replace(pair, correct=other.correct, wrong=other.wrong)
