"""Zero-shot tasks: the prompt put together for a model, answered, or its candidates compared."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from app.service.memory import enough_memory
from app.service.view import View
from gpt2_core.config import GPT2Config
from gpt2_core.generate import stream
from gpt2_core.model import GPT2
from gpt2_core.tasks import TASKS, Choice, Notice, Part, Task, fit, fit_choices, prompt_text
from gpt2_core.tasks.choosing import score_choices
from interp.edits import Plan
from interp.intervene import compile_plan


@dataclass(frozen=True)
class Assembled:
    """A prompt as a model reads it: parts that add up to `prompt`, and what was left out to make it fit.

    counted: for tasks that compare, the parts whose probability is counted (the first candidate is put in). n_tokens is without
    `<|endoftext|>`.
    """

    parts: tuple[Part, ...]
    counted: tuple[bool, ...]
    prompt: str
    n_tokens: int
    n_ctx: int
    notice: Notice | None


@dataclass(frozen=True)
class TaskRun:
    """One column: a model with those edits in force that exist in it; `left_out` says how many do not."""

    model: str
    plan: Plan
    left_out: int


@dataclass(frozen=True)
class Answer:
    """What a model wrote: `raw` continuation, the `answer` read from it, seconds of writing. finish None: still writing."""

    run: TaskRun
    raw: str
    answer: str
    n_tokens: int
    seconds: float
    finish: str | None
    notice: Notice | None


@dataclass(frozen=True)
class Candidate:
    """A candidate with the tokens that were counted, printed, and their log-probabilities in nats."""

    name: str
    scored: str
    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    share: float

    @property
    def logprob(self) -> float:
        return sum(self.logprobs)


@dataclass(frozen=True)
class Compared:
    """All candidates under one way of scoring ("partial", "full", or "" where there is one); `problem` where it cannot be done."""

    scoring: str
    candidates: tuple[Candidate, ...] = ()
    picked: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Comparison:
    """What a model makes of the candidates; the first of `ways` is the one asked for."""

    run: TaskRun
    ways: tuple[Compared, ...]
    seconds: float
    notice: Notice | None


@dataclass(frozen=True)
class Failed:
    """A model that could not answer, and why, in a sentence."""

    run: TaskRun
    problem: str


Outcome = Answer | Comparison | Failed


def assemble(model: GPT2, bos: bool, task: Task, values: Mapping[str, str]) -> Assembled:
    """The prompt of a task for a model, shortened from the left where the context is too small.

    Raises ValueError, in a sentence, for values that the task cannot use.
    """
    parts, n_ctx = task.assemble(values), model.config.n_ctx
    if task.decoding is not None:
        fitted = fit(parts, model.tokenizer, n_ctx, task.decoding.max_new_tokens, bos)
        kept, counted, notice = fitted.parts, (False,) * len(fitted.parts), fitted.notice
    else:
        choices = task.choices(values)
        fitted_choices = fit_choices(choices, model.tokenizer, n_ctx, bos)
        first = fitted_choices.choices[0]
        kept = without_front(parts, len(choices[0].prefix) - len(first.prefix))
        counted, notice = counted_parts(kept, first), fitted_choices.notice
    prompt = prompt_text(kept)
    return Assembled(kept, counted, prompt, len(model.tokenizer.encode(prompt)), n_ctx, notice)


def without_front(parts: Sequence[Part], characters: int) -> tuple[Part, ...]:
    """The parts without their first so many characters."""
    kept = []
    for part in parts:
        cut, characters = min(characters, len(part.text)), max(0, characters - len(part.text))
        kept.append(replace(part, text=part.text[cut:]))
    return tuple(part for part in kept if part.text)


def counted_parts(parts: Sequence[Part], choice: Choice) -> tuple[bool, ...]:
    """Which parts lie in the choice's scored text."""
    starts = [sum(len(part.text) for part in parts[:i]) for i in range(len(parts))]
    return tuple(start >= len(choice.prefix) for start in starts)


def fitting(plan: Plan, config: GPT2Config) -> tuple[Plan, int]:
    """The edits that exist in a model of this shape, and the number of those that do not."""

    def exists(edit) -> bool:
        return edit.layer < config.n_layers and (edit.head is None or edit.head < config.n_heads)

    kept = tuple(edit for edit in plan if exists(edit))
    return Plan(kept), len(plan) - len(kept)


def task_runs(view: View, names: Sequence[str]) -> list[TaskRun]:
    """A run per model; where edits act, a second one without them."""
    runs = []
    for name in names:
        plan, left_out = fitting(view.state.plan, view.store.entry(name).config)
        runs.append(TaskRun(name, plan, left_out))
        if plan:
            runs.append(TaskRun(name, Plan(), 0))
    return runs


def kept(view: View, run: TaskRun, task: Task, values: Mapping[str, str]) -> Answer | Comparison | None:
    """The outcome that was computed before, if it is still there."""
    return view.store.peek(_key(view, run, task, values))


def outcomes(view: View, run: TaskRun, task: Task, values: Mapping[str, str]) -> Iterator[Answer | Comparison]:
    """The answer as it grows, token by token, or the comparison at once; the last one is kept in the store.

    Raises ValueError, in a sentence, for bad values and for a model that cannot be loaded.
    """
    with enough_memory(run.model):
        model = view.store.model(run.model)
        steps = _answer if task.decoding is not None else _compare
        last = None
        for last in steps(model, run, task, values, view.state.bos):
            yield last
    view.store.result(_key(view, run, task, values), lambda: last)


def _key(view: View, run: TaskRun, task: Task, values: Mapping[str, str]) -> tuple:
    return (
        run.model,
        "zero_shot",
        task.name,
        tuple(sorted(task.checked(values).items())),
        view.state.bos,
        run.plan,
        run.left_out,
    )


def _answer(model: GPT2, run: TaskRun, task: Task, values: Mapping[str, str], bos: bool) -> Iterator[Answer]:
    assembled, how = assemble(model, bos, task, values), task.decoding
    hook, raw, start = compile_plan(model, run.plan, bos), "", time.perf_counter()
    steps = stream(
        model,
        assembled.prompt,
        max_new_tokens=how.max_new_tokens,
        temperature=how.temperature,
        top_k=how.top_k,
        stop=how.stop,
        bos=bos,
        hook=hook,
        top=0,
    )
    for number, step in enumerate(steps, start=1):
        raw += step.text
        seconds = time.perf_counter() - start
        yield Answer(run, raw, task.postprocess(raw), number, seconds, step.finished[0], assembled.notice)


def _compare(model: GPT2, run: TaskRun, task: Task, values: Mapping[str, str], bos: bool) -> Iterator[Comparison]:
    start, hook = time.perf_counter(), compile_plan(model, run.plan, bos)
    asked, ways, notice = values.get("scoring", ""), [], None
    scorings = next((field.options for field in task.fields if field.name == "scoring"), ("",))
    for scoring in sorted(scorings, key=lambda s: s != asked):
        choices = task.choices({**values, "scoring": scoring} if scoring else values)
        fitted = fit_choices(choices, model.tokenizer, model.config.n_ctx, bos)
        notice = notice or fitted.notice
        ways.append(_compared(model, scoring, fitted.choices, bos, hook))
    yield Comparison(run, tuple(ways), time.perf_counter() - start, notice)


def _compared(model: GPT2, scoring: str, choices: Sequence[Choice], bos: bool, hook) -> Compared:
    try:
        scored = score_choices(model, choices, bos, hook=hook)
    except ValueError as error:  # whole sentences cannot be scored without <|endoftext|>; the other way still can
        return Compared(scoring, problem=str(error))
    candidates = tuple(
        Candidate(s.choice.name, s.choice.scored, tuple(model.tokenizer.shown(s.tokens)), s.token_logprobs, share)
        for s, share in zip(scored.scores, scored.shares)
    )
    return Compared(scoring, candidates, scored.picked)


def task_named(name: str) -> Task:
    """A task of the registry. Raises ValueError for another name."""
    if name not in TASKS:
        raise ValueError(f"There is no task {name!r}; choose one of {', '.join(TASKS)}.")
    return TASKS[name]
