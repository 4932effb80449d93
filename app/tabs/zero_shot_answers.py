"""How the prompt's parts, the paper's numbers and the models' answers are shown."""

from collections import Counter
from collections.abc import Sequence

from app.components.model_columns import Bar, Bars, ModelColumn, Text, model_columns_value
from app.components.panel import panel_value
from app.components.prompt_parts import KINDS, PromptPart, prompt_parts_value
from app.service.scaling import unit_of
from app.service.view import View
from app.service.zero_shot import Answer, Assembled, Compared, Comparison, Failed, Outcome, TaskRun
from app.service.zero_shot_choice import Chosen
from app.text import Words
from gpt2_core.config import SIZES
from gpt2_core.tasks import Notice, Part, Task
from gpt2_core.tasks.published import METRICS, SOTA, results

PAPER_MODEL = "gpt2-xl"


def about_value(t: Words, task: Task) -> dict:
    """What the task is, how its answer is written, and where the paper describes it."""
    how = task.decoding
    sentence = t(f"zero_shot.how_{task.name}", k=how.top_k if how else "", tokens=how.max_new_tokens if how else "")
    return panel_value(
        f"{t(f'zero_shot.about_{task.name}')} {sentence}", help=f"{sentence}\n{task.source}.", help_label=t("page.help")
    )


def paper_value(t: Words, task: Task) -> dict:
    """The paper's numbers of the task, so that nobody takes one answer for an evaluation."""
    numbers = ", ".join(
        t("zero_shot.number", dataset=METRICS[m].dataset, value=results(m)[PAPER_MODEL].value, unit=unit_of(METRICS[m]))
        for m in task.metrics
    )
    rows = "\n".join(_paper_row(t, metric) for metric in task.metrics)
    size = SIZES[PAPER_MODEL].label
    return panel_value(t("zero_shot.paper", size=size, numbers=numbers), help=rows, help_label=t("page.help"))


def _paper_row(t: Words, metric: str) -> str:
    def name(model: str) -> str:
        return t("zero_shot.sota") if model == SOTA else SIZES[model].label if model in SIZES else model

    rows = ", ".join(f"{name(model)} {row.value:g}" for model, row in results(metric).items())
    m = METRICS[metric]
    return t("zero_shot.paper_row", dataset=m.dataset, unit=unit_of(m), rows=rows, source=m.source)


def part_labels(t: Words, parts: Sequence[Part]) -> list[str]:
    """The parts' printed names; those that repeat are numbered."""
    seen: Counter[str] = Counter()
    labels = []
    for part in parts:
        seen[part.name] += 1
        labels.append(t(f"zero_shot.part_{part.name}", number=seen[part.name]))
    return labels


def notice_text(t: Words, notice: Notice) -> str:
    """What was left out to make the prompt fit, in a sentence."""
    sizes = {"before": f"{notice.tokens_before:,}", "after": f"{notice.tokens_after:,}"}
    if notice.shortened is not None and not notice.dropped:
        part = t(f"zero_shot.part_{notice.shortened}", number="")
        return t("zero_shot.shortened", part=part.strip(), characters=f"{notice.characters:,}", **sizes)
    return t("zero_shot.dropped", count=len(notice.dropped), **sizes)


def parts_value(t: Words, assembled: Assembled, task: Task) -> dict:
    """The prompt in view."""
    labels = part_labels(t, assembled.parts)
    kinds = {kind: t(f"zero_shot.kind_{kind}") for kind in KINDS}
    parts = [
        PromptPart(label, part.kind, part.text, kinds[part.kind], counted)
        for label, part, counted in zip(labels, assembled.parts, assembled.counted)
    ]
    notes = [t("zero_shot.count", n=f"{assembled.n_tokens:,}", n_ctx=f"{assembled.n_ctx:,}")]
    if task.decoding is None:
        notes.append(t("zero_shot.first_candidate"))
    if assembled.notice is not None:
        notes.append(notice_text(t, assembled.notice))
    return prompt_parts_value(
        parts, label=t("zero_shot.prompt_label"), kinds=kinds, notes=notes, counted=t("zero_shot.kind_counted")
    )


def problem_value(t: Words, problem: str) -> dict:
    """The last prompt stays, with what is wrong with the new one."""
    return prompt_parts_value(None, label=t("zero_shot.prompt_label"), kinds={}, problem=problem)


# ---- answers ------------------------------------------------------------------------------------------------------------


def columns_value(t: Words, view: View, chosen: Chosen, runs: Sequence[TaskRun], found: Sequence[Outcome | str]) -> dict:
    """A column per run. What has no outcome yet is a sentence on what it waits for."""
    answer = "" if chosen.own else chosen.example.answer.rstrip(".")
    note = t("zero_shot.expected", answer=answer) if answer else ""
    columns = [_column(t, view, run, outcome) for run, outcome in zip(runs, found, strict=True)]
    return model_columns_value(columns, label=t("zero_shot.answers_label"), note=note)


def stale_value(t: Words) -> dict:
    """The last answers stay, dimmed."""
    return model_columns_value(None, label=t("zero_shot.answers_label"), note=t("zero_shot.stale"))


def _column(t: Words, view: View, run: TaskRun, outcome: Outcome | str) -> ModelColumn:
    title, notes = _title(t, view, run), _edit_notes(t, view, run)
    if isinstance(outcome, str):
        return ModelColumn(title, outcome, "waiting", notes=notes)
    if isinstance(outcome, Failed):
        return ModelColumn(title, outcome.problem, "failed", notes=notes)
    if outcome.notice is not None:
        notes.append(notice_text(t, outcome.notice))
    if isinstance(outcome, Comparison):
        status = t("zero_shot.compared", seconds=f"{outcome.seconds:.2f}")
        return ModelColumn(title, status, "done", [b for way in outcome.ways for b in _way(t, way)], notes=notes)
    key = "zero_shot.writing" if outcome.finish is None else f"zero_shot.done_{outcome.finish}"
    status = t(key, n=outcome.n_tokens, seconds=f"{outcome.seconds:.2f}")
    return ModelColumn(title, status, "running" if outcome.finish is None else "done", _texts(t, outcome), notes=notes)


def _title(t: Words, view: View, run: TaskRun) -> str:
    size = SIZES.get(run.model)
    name = run.model if size is None or size.embedded else f"{run.model}, {size.label}"
    if run.plan:
        return t("zero_shot.column_edited", model=name)
    without = bool(view.state.plan) and not run.left_out
    return t("zero_shot.column_unedited", model=name) if without else name


def _edit_notes(t: Words, view: View, run: TaskRun) -> list[str]:
    notes = []
    if run.plan:
        notes.append(t("zero_shot.edits_applied", count=len(run.plan)))
        if run.model != view.state.model:
            notes.append(t("zero_shot.edits_other", page_model=view.state.model, model=run.model))
    if run.left_out:
        notes.append(t("zero_shot.edits_left_out", count=run.left_out, model=run.model))
    return notes


def _texts(t: Words, answer: Answer) -> list[Text]:
    mark = t("zero_shot.generated_by", model=answer.run.model)
    empty = t("zero_shot.nothing_yet" if answer.finish is None else "zero_shot.no_answer")
    return [
        Text(t("zero_shot.reply"), answer.answer, mark, main=True, empty=empty),
        Text(t("zero_shot.raw"), answer.raw, mark, empty=empty),
    ]


def _way(t: Words, way: Compared) -> list[Text | Bars]:
    label = t(f"zero_shot.way_{way.scoring}")
    if way.problem:
        return [Text(label, way.problem)]
    low = min(candidate.logprob for candidate in way.candidates) or -1.0
    bars = []
    for i, c in enumerate(way.candidates):
        tokens = "\n".join(f"{token}  {value:.3f}" for token, value in zip(c.tokens, c.logprobs))
        title = t("zero_shot.bar_hint", scored=c.scored.strip(), tokens=tokens, sum=f"{c.logprob:.3f}")
        bars.append(Bar(c.name, c.logprob / low, f"{c.logprob:.2f}", f"{100 * c.share:.0f}%", title, picked=i == way.picked))
    picks = Text(t("zero_shot.picks"), way.candidates[way.picked].name, main=True)
    return [picks, Bars(label, bars, t("zero_shot.bar_note", low=f"{low:.1f}"), align="right")]
