"""The same prompt read by every model at hand, what each model costs, and the paper's numbers as points."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from app.service.memory import enough_memory
from app.service.view import View
from app.service.zero_shot import fitting
from gpt2_core.accounting import forward_flops_per_token, kv_cache_bytes_per_token, weight_bytes
from gpt2_core.checkpoints import ModelEntry
from gpt2_core.config import RELEASED, SIZES
from gpt2_core.model import GPT2
from gpt2_core.tasks.published import CURVES, METRICS, SOTA, Metric, results
from gpt2_core.tasks.scaling import Line, published_line
from interp.edits import Plan
from interp.predictions import next_tokens, probability_of, token_statistics
from interp.run import trace

TOP = 5
MOST_RUNS, TIMING_SECONDS = 5, 0.25  # a forward pass is repeated this often, as long as it takes no longer than this in all


@dataclass(frozen=True)
class Reading:
    """What one model made of the prompt.

    p, before: probabilities of the likeliest next tokens, with and without the edits (None where none acts). entropy: bits.
    bits: mean surprisal per predicted token, NaN where nothing was predicted. seconds: median of `n_timed` forward passes.
    """

    model: str
    shown: tuple[str, ...]
    ids: tuple[int, ...]
    p: tuple[float, ...]
    before: tuple[float, ...] | None
    entropy: float
    bits: float
    n_tokens: int
    seconds: float
    n_timed: int
    left_out: int

    @property
    def ms_per_token(self) -> float:
        return 1000 * self.seconds / self.n_tokens


@dataclass(frozen=True)
class Cost:
    """What a model costs, computed from its shape. flops: of one token in a context of `n_ctx`."""

    entry: ModelEntry
    n_params: int
    weights: int
    kv_per_token: int
    flops: float
    n_ctx: int


@dataclass(frozen=True)
class Curve:
    """A metric's printed numbers: those of the released sizes (name, parameters, value), the best earlier result, other systems."""

    metric: Metric
    points: tuple[tuple[str, int, float], ...]
    sota: float | None
    others: tuple[tuple[str, float], ...]
    line: Line | None


def read(view: View, name: str) -> Reading:
    """The page's prompt, read by a model. Loads it if it is not in memory.

    Raises ValueError, in a sentence, for a model that is not here or too large, and for a prompt that it cannot read.
    """
    return view.store.result(_key(view, name), lambda: _read(view, name))


def known(view: View, name: str) -> Reading | None:
    """The reading, if it was made before."""
    return view.store.peek(_key(view, name))


def _key(view: View, name: str) -> tuple:
    # The name is inside a tuple, so that the numbers, which are small, outlive the model in the store.
    s = view.state
    return ("scaling", name), s.prompt, s.bos, s.plan


def _read(view: View, name: str) -> Reading:
    state = view.state
    with enough_memory(name):
        model = view.store.model(name)
        plan, left_out = fitting(state.plan, model.config)
        run = view.run if name == state.model else trace(model, state.prompt, plan, state.bos, [])
        top = next_tokens(run, k=TOP)
        ids = top.ids.tolist()
        before = None
        if plan:
            unedited = view.before if name == state.model else trace(model, state.prompt, Plan(), state.bos, [])
            before = tuple(probability_of(unedited, ids).tolist())
        seconds, n_timed = forward_seconds(model, run.tokens)
    return Reading(
        name,
        tuple(model.tokenizer.shown(ids)),
        tuple(ids),
        tuple(top.probabilities.tolist()),
        before,
        top.entropy,
        token_statistics(run).mean_surprisal if len(run) > 1 else float("nan"),
        len(run),
        seconds,
        n_timed,
        left_out,
    )


@torch.no_grad()
def forward_seconds(model: GPT2, tokens: tuple[int, ...], clock: Callable[[], float] = time.perf_counter) -> tuple[float, int]:
    """Median seconds of a forward pass over the tokens that predicts the next one, and how many passes were timed."""
    ids, taken = torch.tensor([tokens]), []
    while len(taken) < MOST_RUNS and sum(taken) < TIMING_SECONDS:
        start = clock()
        model(ids, logits_at=-1).cpu()  # the copy waits for a GPU to finish
        taken.append(clock() - start)
    return statistics.median(taken), len(taken)


def costs(entries: list[ModelEntry], dtype: torch.dtype) -> list[Cost]:
    """What each model costs, smallest first."""
    rows = [
        Cost(
            entry,
            entry.config.n_params,
            weight_bytes(entry.config, dtype),
            kv_cache_bytes_per_token(entry.config, dtype),
            forward_flops_per_token(entry.config),
            entry.config.n_ctx,
        )
        for entry in entries
    ]
    return sorted(rows, key=lambda row: row.n_params)


def dtype_named(name: str) -> torch.dtype:
    """float32 or bfloat16. Raises ValueError for another name."""
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in kinds:
        raise ValueError(f"Memory is counted for {' or '.join(kinds)}, not for {name!r}.")
    return kinds[name]


def curve(metric: str) -> Curve:
    """What the paper printed for a metric. Raises ValueError for a metric it does not have."""
    rows = results(metric)
    points = tuple((name, SIZES[name].config.n_params, rows[name].value) for name in RELEASED if name in rows)
    others = tuple((name, row.value) for name, row in rows.items() if name != SOTA and name not in RELEASED)
    sota = rows[SOTA].value if SOTA in rows else None
    return Curve(METRICS[metric], points, sota, others, published_line(metric) if metric in CURVES else None)


def unit_of(metric: Metric) -> str:
    """The unit as it is printed; the kinds of ROUGE are told apart."""
    kind = metric.name.rsplit("_", 1)[-1].upper()
    return metric.unit.replace("ROUGE", f"ROUGE-{kind}")


def metric_names() -> list[str]:
    """Every metric, those with a number for each size first."""
    return [*CURVES, *(name for name in METRICS if name not in CURVES)]
