"""The form of a task: a fixed pool of boxes whose labels, contents and visibility follow what is chosen."""

from collections.abc import Sequence

import gradio as gr

from app.service.zero_shot_choice import OWN_TEXT, Chosen
from app.text import Words
from gpt2_core.tasks import TASKS, Field, Task

# Boxes are hidden by a class, not taken out of the document, so that nothing moves while they come and go.
HIDDEN = "gb-zero-shot-off"


def text_fields(task: Task) -> tuple[Field, ...]:
    """The fields that are typed."""
    return tuple(field for field in task.fields if not field.options)


def option_field(task: Task) -> Field | None:
    """The field that is a choice among fixed strings, if the task has one."""
    return next((field for field in task.fields if field.options), None)


POOL = max(len(text_fields(task)) for task in TASKS.values())


def values_of(task: Task, option: str | None, texts: Sequence[str]) -> dict[str, str]:
    """What the boxes say, by field."""
    values = {field.name: text or "" for field, text in zip(text_fields(task), texts)}
    chosen = option_field(task)
    if chosen is not None:
        values[chosen.name] = option if option in chosen.options else chosen.default
    return values


def task_choices(t: Words) -> list[tuple[str, str]]:
    """The tasks as (label, name)."""
    return [(t(f"zero_shot.task_{name}"), name) for name in TASKS]


def example_choices(t: Words, chosen: Chosen, kind: str) -> list[tuple[str, str]]:
    """The task's examples, those that suit the model first, and the reader's own text where there is one."""
    ordered = sorted(chosen.task.examples, key=lambda example: example.suits != kind)
    named = [(t(f"zero_shot.suits_{e.suits}", name=t(f"zero_shot.example_{e.name}")), e.name) for e in ordered]
    return [*named, *([(t("zero_shot.own"), OWN_TEXT)] if chosen.own else [])]


def example_update(t: Words, chosen: Chosen, kind: str) -> dict:
    """The list of examples and the one that stands in the boxes."""
    return gr.update(choices=example_choices(t, chosen, kind), value=OWN_TEXT if chosen.own else chosen.example.name)


def box_updates(t: Words, chosen: Chosen) -> list:
    """One update per text box of the pool."""
    fields = [*text_fields(chosen.task), *[None] * POOL][:POOL]
    return [gr.update(value="", elem_classes=[HIDDEN]) if field is None else _box(t, field, chosen) for field in fields]


def _box(t: Words, field: Field, chosen: Chosen) -> dict:
    label = t(f"zero_shot.{'required' if field.required else 'optional'}", name=t(f"zero_shot.field_{field.name}"))
    lines, most = (3, 8) if field.multiline else (1, 3)
    return gr.update(value=chosen.values[field.name], label=label, lines=lines, max_lines=most, elem_classes=[])


def option_update(t: Words, chosen: Chosen) -> dict:
    """The update of the choice."""
    field = option_field(chosen.task)
    if field is None:
        return gr.update(elem_classes=[HIDDEN])
    choices = [(t(f"zero_shot.option_{option}"), option) for option in field.options]
    label = t(f"zero_shot.field_{field.name}")
    return gr.update(choices=choices, value=chosen.values[field.name], label=label, elem_classes=[])
