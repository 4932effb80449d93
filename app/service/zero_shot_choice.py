"""What is chosen in the Zero-shot tab: a task, an example of it, the reader's own text over that, and the models to ask.

All of it lies in the page's state, so that an address has it. The boxes of the form only show it. What a box says becomes the state
only together with the mark of what the boxes were filled for: a late event that tells of another example's text is nothing new.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.service.view import View
from app.service.zero_shot import task_named
from app.setting import Setting
from app.state import PageState
from gpt2_core.tasks import TASKS, Example, Task

OWN_TEXT = "own"  # in the list of examples: the values are the reader's, no example's
PAGE = "page"  # among the models to ask: the page's own
TASK, EXAMPLE = Setting("zero_shot.task", ""), Setting("zero_shot.example", "")  # "": what suits the model
OWN = Setting("zero_shot.own", "")  # the fields that differ from the example, as JSON: {"question": "Who sat by the river?"}
MODELS = Setting("zero_shot.models", PAGE)  # names with commas between
# The task shown first: for the embedded models the one in which old novels are enough to be right.
FIRST_TASK = {"books": "finish", "released": next(iter(TASKS))}


@dataclass(frozen=True)
class Chosen:
    """example: what the boxes were filled with; own: the fields that the reader wrote instead."""

    task: Task
    example: Example
    own: Mapping[str, str]
    models: tuple[str, ...]

    @property
    def values(self) -> dict[str, str]:
        """A value for every field."""
        return {**full_values(self.task, self.example.values), **self.own}

    @property
    def mark(self) -> str:
        """What the boxes were filled for."""
        return f"{self.task.name} {self.example.name}"


def suits(view: View) -> str:
    """Which examples suit the page's model."""
    return "books" if view.entry.state == "embedded" else "released"


def first_example(task: Task, kind: str) -> Example:
    """The first example that suits, or the first of all."""
    return next((example for example in task.examples if example.suits == kind), task.examples[0])


def example_named(task: Task, name: str) -> Example:
    """An example of a task. Raises ValueError for a name that none has."""
    for example in task.examples:
        if example.name == name:
            return example
    expected = ", ".join(example.name for example in task.examples)
    raise ValueError(f"The task {task.name} has no example {name[:40]!r}; choose one of {expected}.")


def full_values(task: Task, values: Mapping[str, str]) -> dict[str, str]:
    """A value for every field."""
    return {field.name: values.get(field.name, field.default) for field in task.fields}


def chosen(view: View) -> Chosen:
    """What the state says. Raises ValueError for what cannot be chosen, as an address may ask for it."""
    state, kind = view.state, suits(view)
    task = task_named(TASK.of(state) or FIRST_TASK[kind])
    name = EXAMPLE.of(state)
    example = example_named(task, name) if name else first_example(task, kind)
    models = [state.model if name == PAGE else name for name in MODELS.of(state).split(",") if name]
    return Chosen(task, example, _own(task, OWN.of(state)), tuple(dict.fromkeys(models)))


def _own(task: Task, text: str) -> dict[str, str]:
    fields = [field.name for field in task.fields]
    try:
        own = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        own = None
    if not isinstance(own, dict) or not all(k in fields and isinstance(v, str) for k, v in own.items()):
        raise ValueError(
            f"zero_shot.own is {text[:40]!r}; expected JSON with a text for some of the fields {', '.join(fields)}."
        )
    return own


def typed(view: View, values: Mapping[str, str], mark: str) -> PageState:
    """The state with what the boxes say, if they were filled for what is chosen. The example below stays chosen, whatever the model."""
    now = chosen(view)
    if mark != now.mark:
        return view.state
    filled = full_values(now.task, now.example.values)
    own = {name: text for name, text in values.items() if text.strip() != filled[name].strip()}
    state = OWN.on(view.state, json.dumps(own, ensure_ascii=False, sort_keys=True) if own else "")
    return EXAMPLE.on(TASK.on(state, now.task.name), now.example.name) if own else state


def choose_task(view: View, name: str) -> PageState:
    """Another task, with the example that suits the model."""
    if name == chosen(view).task.name:
        return view.state
    return EXAMPLE.on(OWN.on(TASK.on(view.state, task_named(name).name), ""), "")


def choose_example(view: View, name: str, mark: str) -> PageState:
    """An example in place of what is in the boxes. A list that was filled for another task has nothing to say."""
    now = chosen(view)
    if mark != now.mark or name == OWN_TEXT or (name == now.example.name and not now.own):
        return view.state
    example = example_named(now.task, name)
    return EXAMPLE.on(TASK.on(OWN.on(view.state, ""), now.task.name), example.name)


def choose_models(state: PageState, names: Sequence[str]) -> PageState:
    """The models to ask; the page's own stays the page's, whichever that becomes."""
    return MODELS.on(state, ",".join(PAGE if name == state.model else name for name in names))
