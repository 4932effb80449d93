"""The paper's zero-shot tasks: one short file each, every choice of prompt with its reason and its section of the paper."""

from gpt2_core.tasks import answer, choose, finish, read, resolve, summarise, translate
from gpt2_core.tasks.base import Choice, Example, Field, GenerationDefaults, Part, Task, Values, prompt_text
from gpt2_core.tasks.fit import Fitted, FittedChoices, Notice, fit, fit_choices

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        summarise.TASK,
        translate.ENGLISH_TO_FRENCH,
        translate.FRENCH_TO_ENGLISH,
        answer.TASK,
        read.TASK,
        finish.TASK,
        resolve.TASK,
        choose.TASK,
    )
}

__all__ = [
    "TASKS",
    "Choice",
    "Example",
    "Field",
    "Fitted",
    "FittedChoices",
    "GenerationDefaults",
    "Notice",
    "Part",
    "Task",
    "Values",
    "fit",
    "fit_choices",
    "prompt_text",
]
