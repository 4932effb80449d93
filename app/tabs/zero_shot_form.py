"""The form of a task: a fixed pool of boxes whose labels, contents and visibility follow the task and the example."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gradio as gr

from app.text import Words
from gpt2_core.tasks import TASKS, Example, Field, Task

# Boxes are hidden by a class, not taken out of the document, so that nothing moves while they come and go.
HIDDEN = "gb-zero-shot-off"
OWN = "own"  # the values are the reader's, no example's
# The task shown first: for the embedded models the one in which old novels are enough to be right.
FIRST_TASK = {"books": "finish", "released": next(iter(TASKS))}


def text_fields(task: Task) -> tuple[Field, ...]:
    """The fields that are typed."""
    return tuple(field for field in task.fields if not field.options)


def option_field(task: Task) -> Field | None:
    """The field that is a choice among fixed strings, if the task has one."""
    return next((field for field in task.fields if field.options), None)


POOL = max(len(text_fields(task)) for task in TASKS.values())


@dataclass(frozen=True)
class Filled:
    """What the boxes were last filled and labelled for.

    It lies in the browser, in a hidden text box: kept on the server it would be ahead of the boxes while an answer is on its way.
    """

    task: str
    example: str
    suits: str
    lang: str
    model: str

    def to_text(self) -> str:
        return "\n".join((self.task, self.example, self.suits, self.lang, self.model))

    @staticmethod
    def from_text(text: str | None) -> "Filled | None":
        """None for anything but the text of `to_text`, as before the first filling."""
        parts = (text or "").split("\n")
        return Filled(*parts) if len(parts) == 5 and parts[0] in TASKS else None


@dataclass(frozen=True)
class Form:
    """The boxes as they should be. refill: write the values into them; relabel: also their labels."""

    task: Task
    example: str
    values: Mapping[str, str]
    models: list[str]
    refill: bool
    relabel: bool


def suits(state_of_model: str) -> str:
    """Which examples suit a model, by its `ModelEntry.state`."""
    return "books" if state_of_model == "embedded" else "released"


def first_example(task: Task, kind: str) -> Example:
    """The first example that suits, or the first of all."""
    return next((example for example in task.examples if example.suits == kind), task.examples[0])


def example_named(task: Task, name: str) -> Example | None:
    """The example of that name; None for the reader's own text."""
    return next((example for example in task.examples if example.name == name), None)


def full_values(task: Task, values: Mapping[str, str]) -> dict[str, str]:
    """A value for every field."""
    return {field.name: values.get(field.name, field.default) for field in task.fields}


def values_of(task: Task, option: str | None, texts: Sequence[str]) -> dict[str, str]:
    """What the boxes say, by field."""
    values = {field.name: text or "" for field, text in zip(text_fields(task), texts)}
    chosen = option_field(task)
    if chosen is not None:
        values[chosen.name] = option if option in chosen.options else chosen.default
    return values


def same(a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    """Whether two sets of values are equal but for white space around them."""
    return all(a.get(name, "").strip() == b.get(name, "").strip() for name in {*a, *b})


def settle(
    filled: Filled | None, now: Filled, option: str | None, texts: Sequence[str], models: Sequence[str], at_hand: Sequence[str]
) -> Form:
    """What the form becomes. `now` is what the controls and the page say, `filled` what the boxes were last filled for.

    Another task, another example, and another kind of model while an example stands untouched: the boxes are filled. Otherwise they
    are the reader's.
    """
    task_name = now.task if now.task in TASKS else FIRST_TASK[now.suits]
    task = TASKS[task_name]
    current = values_of(task, option, texts)
    name, refill = now.example, True
    if filled is None:
        name = name if example_named(task, name) else first_example(task, now.suits).name
    elif now.task != filled.task:
        name = first_example(task, now.suits).name
    elif now.example not in (filled.example, OWN):
        pass  # chosen from the list
    else:
        # By what the boxes hold: on the way here they may have been empty for a moment.
        standing = next((e for e in task.examples if same(current, full_values(task, e.values))), None)
        if standing is not None and now.suits != filled.suits:
            name = first_example(task, now.suits).name
        else:
            name, refill = (standing.name if standing else OWN), False
    example = example_named(task, name)
    values = full_values(task, example.values) if refill and example is not None else current
    chosen = [model for model in models if model in at_hand]
    if filled is None or filled.model != now.model:
        gone = {now.model, filled.model if filled else now.model}
        chosen = [now.model] + [model for model in chosen if model not in gone]
    relabel = filled is None or (filled.task, filled.lang) != (task_name, now.lang)
    return Form(task, name, values, chosen, refill, relabel)


def task_choices(t: Words) -> list[tuple[str, str]]:
    """The tasks as (label, name)."""
    return [(t(f"zero_shot.task_{name}"), name) for name in TASKS]


def example_choices(t: Words, task: Task, kind: str) -> list[tuple[str, str]]:
    """The task's examples, those that suit the model first, and the reader's own."""
    ordered = sorted(task.examples, key=lambda example: example.suits != kind)
    named = [(t(f"zero_shot.suits_{e.suits}", name=t(f"zero_shot.example_{e.name}")), e.name) for e in ordered]
    return [*named, (t("zero_shot.own"), OWN)]


def box_updates(t: Words, form: Form) -> list:
    """One update per text box of the pool."""
    fields = [*text_fields(form.task), *[None] * POOL][:POOL]
    updates = []
    for field in fields:
        changes: dict = {}
        if form.relabel:
            changes |= {"elem_classes": [] if field is not None else [HIDDEN]}
        if field is not None and form.relabel:
            label = t(f"zero_shot.{'required' if field.required else 'optional'}", name=t(f"zero_shot.field_{field.name}"))
            changes |= {"label": label, "lines": 3 if field.multiline else 1, "max_lines": 8 if field.multiline else 3}
        if form.refill:
            changes |= {"value": "" if field is None else form.values[field.name]}
        updates.append(gr.update(**changes) if changes else gr.skip())
    return updates


def option_update(t: Words, form: Form):
    """The update of the choice."""
    field = option_field(form.task)
    changes: dict = {}
    if form.relabel:
        changes |= {"elem_classes": [] if field is not None else [HIDDEN]}
    if field is not None and form.relabel:
        choices = [(t(f"zero_shot.option_{option}"), option) for option in field.options]
        changes |= {"label": t(f"zero_shot.field_{field.name}"), "choices": choices}
    if field is not None and (form.refill or form.relabel):
        changes |= {"value": form.values[field.name]}
    return gr.update(**changes) if changes else gr.skip()
