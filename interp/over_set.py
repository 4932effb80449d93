"""A causal analysis over a whole prompt set: for every cell the distribution, the interval of its mean, and the worst prompts.

    drawn = prompt_sets.build("ioi", model.tokenizer, n=50)
    found = over_set(model, drawn, patched("z"))
    found.mean, found.interval.low, found.interval.high         # [layer head]
    found.summary(9, 9).worst                                   # one head: the prompts on which its effect is smallest

One prompt is an anecdote, and a mean hides its tail, so this is the way to ask any of the causal methods; `steps` streams them pair
by pair. An analysis is a function (model, pair, plan) -> Float [*cell], where `pair` is a PromptBatch of one pair. Ready-made:

    patched(component)     activation patching, every cell               knocked_out(component)   each head (MLP, ...) taken away
    paths(receivers)       path patching from every head                 ablated(parts)           some parts taken away together
    traced(subject)        causal tracing: noise, one state restored     recovered(kept)          what a circuit keeps

All of them give effects in the metric's unit. They are made relative only over the set, by the mean difference of its clean and
corrupted prompts (`normalised`), as the papers do: divided pair by pair, a pair whose prompts hardly differ would drown the rest.

Prompts of a set may differ in length, so a position is named, not counted: `at=("S2", "END")` keeps the last token of these words.

Pitfalls: see `interp.statistics` for what an interval over prompts means. Among hundreds of cells some intervals miss 0 by chance.
Sources: Wang et al. 2022, 2211.00593 (effects over p_IOI); Efron 1987 (intervals).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gpt2_core.model import GPT2
from interp import patching, path_patching
from interp.ablation import Ablation, Part, ablate
from interp.circuits import circuit_logits
from interp.edits import NO_EDITS, Plan
from interp.finite import last_logits
from interp.intervene import compile_plan
from interp.knockout import knock_out_search
from interp.metrics import evaluate
from interp.prompt_sets.pairs import PromptBatch, PromptSet
from interp.run import Provenance, provenance
from interp.statistics import Interval, Summary, bootstrap, summarise
from interp.sweep_run import TOO_CLOSE
from interp.tracing import causal_trace, draw_noise

Analysis = Callable[[GPT2, PromptBatch, Plan], Float[Tensor, "..."]]


@dataclass(frozen=True)
class SetStep:
    """One pair, done. values: Float [*cell]; clean, corrupted: the metric of its two prompts. done and total count pairs."""

    values: Float[Tensor, "..."]
    clean: float
    corrupted: float
    done: int
    total: int


@dataclass(frozen=True)
class OverSet:
    """values: Float [prompt *cell], effects in the metric's unit, float64; interval: of the mean of each cell.

    clean, corrupted: the metric of the prompts themselves, Float [prompt]. prompts: the clean texts; n_unique: how many differ.
    """

    values: Float[Tensor, "prompt ..."]
    interval: Interval
    clean: Float[Tensor, " prompt"]
    corrupted: Float[Tensor, " prompt"]
    prompts: tuple[str, ...] = field(repr=False)
    n_unique: int
    name: str
    corruption: str
    metric: str
    seed: int
    provenance: Provenance

    @property
    def mean(self) -> Float[Tensor, "..."]:
        return self.interval.estimate

    @property
    def difference(self) -> float:
        """The mean metric of the clean prompts less that of the corrupted ones."""
        return (self.clean - self.corrupted).mean().item()

    @property
    def normalised(self) -> Float[Tensor, "..."]:
        """Mean effects as a share of `difference`. Raises ValueError where the prompts do not differ on average."""
        if abs(self.difference) < TOO_CLOSE:
            raise ValueError(
                f"The {self.metric} of the clean and the corrupted prompts of {self.name!r} is the same on average; "
                "choose a set or a model that tells them apart."
            )
        return self.mean / self.difference

    @property
    def clear(self) -> Bool[Tensor, "..."]:
        """The cells whose interval does not hold 0."""
        return (self.interval.low > 0) | (self.interval.high < 0)

    def summary(self, *cell: int, worst: int = 10) -> Summary:
        """Distribution, interval and worst cases (smallest values first) of one cell, such as (layer, head)."""
        if len(cell) != self.values.ndim - 1:
            raise ValueError(f"A cell here has {self.values.ndim - 1} indices, got {list(cell)}.")
        return summarise(self.values[(slice(None), *cell)], self.prompts, worst, seed=self.interval.seed)

    def of_the_set(self, worst: int = 10) -> Summary:
        """Distribution, interval and worst cases of the metric on the clean prompts: how well the model does the task at all."""
        return summarise(self.clean, self.prompts, worst, seed=self.interval.seed)


def over_set(
    model: GPT2,
    drawn: PromptSet,
    analysis: Analysis,
    *,
    plan: Plan = NO_EDITS,
    bos: bool = True,
    metric: str | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> OverSet:
    """An analysis of every pair of a set, with its statistics.

    plan: edits in force in every run. metric: a name of METRICS, None for the set's own. level, seed: of the intervals.
    Raises ValueError, with the pair's text, for a pair that cannot be analysed, and for cells that differ from pair to pair.
    """
    return collected(model, drawn, list(steps(model, drawn, analysis, plan, bos, metric)), plan, bos, metric, level, seed)


@torch.no_grad()
def steps(
    model: GPT2, drawn: PromptSet, analysis: Analysis, plan: Plan = NO_EDITS, bos: bool = True, metric: str | None = None
) -> Iterator[SetStep]:
    """`over_set` as it goes, a pair at a time in the order of the set; stop asking and it stops."""
    hook, shape = compile_plan(model, plan, bos), None
    for done, pair in enumerate(drawn.each(bos, metric, model.wte.weight.device), 1):
        ends = last_logits(model, torch.cat([pair.clean, pair.corrupted]), hook)
        clean, corrupted = evaluate(pair.metric, ends).tolist()
        try:
            values = analysis(model, pair, plan).detach().double().cpu()
        except ValueError as error:
            raise ValueError(f"Pair {done - 1} of {drawn.name!r} ({drawn.pairs[done - 1].clean.text!r}): {error}") from error
        if shape not in (None, values.shape):
            raise ValueError(
                f"Pair {done - 1} of {drawn.name!r} gives cells {list(values.shape)} and those before it {list(shape)}; prompts "
                "differ in length, so name positions with at=."
            )
        shape = values.shape
        yield SetStep(values, clean, corrupted, done, len(drawn))


def collected(
    model: GPT2,
    drawn: PromptSet,
    found: Sequence[SetStep],
    plan: Plan = NO_EDITS,
    bos: bool = True,
    metric: str | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> OverSet:
    """The statistics of the steps so far (two or more): what `over_set` gives of all."""
    if len(found) < 2:
        raise ValueError(f"Statistics over prompts need at least two of them, got {len(found)}; draw a larger set.")
    values, texts = torch.stack([step.values for step in found]), drawn.texts[: len(found)]
    clean, corrupted = (torch.tensor([getattr(s, end) for s in found], dtype=torch.float64) for end in ("clean", "corrupted"))
    return OverSet(
        values=values,
        interval=bootstrap(values, level=level, seed=seed),
        clean=clean,
        corrupted=corrupted,
        prompts=texts,
        n_unique=len({pair.clean.ids for pair in drawn.pairs[: len(found)]}),
        name=drawn.name,
        corruption=drawn.corruption,
        metric=metric or drawn.metric,
        seed=drawn.seed,
        provenance=provenance(model, plan, bos),
    )


def places(pair: PromptBatch, words: Sequence[str]) -> list[int]:
    """The position of the last token of named words. Raises ValueError for a word that the pair does not have."""
    unknown = [word for word in words if word not in pair.positions]
    if unknown:
        raise ValueError(f"There is no word {unknown[0]!r} in this pair; it has {', '.join(pair.positions)}.")
    return [int(pair.positions[word][0]) for word in words]


def at_words(values: Float[Tensor, "*cell pos"], pair: PromptBatch, words: Sequence[str] | None) -> Float[Tensor, "*cell word"]:
    """The values at the last token of named words; None keeps every position."""
    return values if words is None else values[..., places(pair, words)]


def patched(component: str = "resid_pre", at: Sequence[str] | None = None, **options: Any) -> Analysis:
    """The effect of each cell of `patching.sweep`; options as for `patching.prepare`. at: words to keep of the last axis, positions."""

    def analysis(model: GPT2, pair: PromptBatch, plan: Plan) -> Tensor:
        metric = pair.metric.alone(0)
        found = patching.sweep(model, pair.clean, pair.corrupted, metric, component, plan=plan, **options)
        return at_words(found.effect, pair, at)

    return analysis


def paths(receivers: Sequence[path_patching.Receiver] = (), **options: Any) -> Analysis:
    """The effect of the path from every head (or `senders`) to the receivers, on the clean prompt; options as for its `sweep`."""

    def analysis(model: GPT2, pair: PromptBatch, plan: Plan) -> Tensor:
        metric = pair.metric.alone(0)
        return path_patching.sweep(model, pair.clean, pair.corrupted, metric, receivers, plan=plan, **options).effect

    return analysis


def knocked_out(
    component: str = "head", ablation: Ablation | None = None, at: Sequence[str] | None = None, **options: Any
) -> Analysis:
    """The metric without each head (or "attn", "mlp") less the metric with it, [layer unit]; options as for `knock_out_search`.

    ablation: None puts in the output on the pair's corrupted prompt. at: words at whose last token it is taken away; None: everywhere.
    """

    def analysis(model: GPT2, pair: PromptBatch, plan: Plan) -> Tensor:
        how = (_taken_by(ablation, pair), component, None if at is None else places(pair, at), plan)
        return knock_out_search(model, pair.clean, pair.metric, *how, **options).effects[0]

    return analysis


def ablated(parts: Sequence[Part], ablation: Ablation | None = None, at: Sequence[str] | None = None) -> Analysis:
    """The metric without some parts together less the metric with them, []. ablation, at: as for `knocked_out`."""

    def analysis(model: GPT2, pair: PromptBatch, plan: Plan) -> Tensor:
        whole = last_logits(model, pair.clean, compile_plan(model, plan, pair.bos))
        where = None if at is None else places(pair, at)
        part = ablate(model, pair.clean, parts, _taken_by(ablation, pair), where, plan, pair.bos)
        return (evaluate(pair.metric, part) - evaluate(pair.metric, whole))[0]

    return analysis


def traced(
    subject: str, at: Sequence[str] | None = None, samples: int = 10, factor: float | int = 3, seed: int = 0, **options: Any
) -> Analysis:
    """The indirect effect of each state when noise drowns a word, [layer pos]; options as for `causal_trace`. at: words to keep."""

    def analysis(model: GPT2, pair: PromptBatch, plan: Plan) -> Tensor:
        (last,) = places(pair, [subject])
        span = (int(pair.starts[subject][0]), last + 1)
        noise = draw_noise(model, span[1] - span[0], samples, factor, seed)
        metric = pair.metric.alone(0)
        found = causal_trace(model, pair.clean[0], span, metric, noise=noise, plan=plan, **options)
        return at_words(found.effect, pair, at)

    return analysis


def recovered(kept: Sequence[Any], level: str = "node") -> Analysis:
    """The metric of a circuit (nodes or edges) less that of the corrupted prompt, []; `normalised` of it is faithfulness."""

    def analysis(model: GPT2, pair: PromptBatch, plan: Plan) -> Tensor:
        circuit = circuit_logits(model, pair.clean, pair.corrupted, kept, level, plan, pair.bos)
        empty = last_logits(model, pair.corrupted, compile_plan(model, plan, pair.bos))
        return (evaluate(pair.metric, circuit) - evaluate(pair.metric, empty))[0]

    return analysis


def _taken_by(ablation: Ablation | None, pair: PromptBatch) -> Ablation:
    return Ablation.resample(pair.corrupted) if ablation is None else ablation
