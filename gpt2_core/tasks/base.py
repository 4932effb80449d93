"""What a zero-shot task is: named fields, a way to put them into one prompt, and how the answer is read.

GPT-2 is not trained for any of these tasks; the prompt alone says which one is meant (Radford et al. 2019, section 2:
p(output | input, task), with the task written out in words). A prompt is a row of named parts and nothing else: the text
the model sees is exactly `"".join(part.text for part in parts)`.

The pitfall is the last character. GPT-2's tokens carry the space *before* a word (" Paris" is one token), so a prompt that
ends in a space asks for a word without one, which the model has rarely seen. `Task.assemble` refuses such a prompt.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Values = Mapping[str, str]
Kind = Literal["context", "example", "question", "cue"]


@dataclass(frozen=True)
class Part:
    """One named stretch of a prompt; `kind` says what it is for, `text` is taken over character by character."""

    name: str
    text: str
    kind: Kind


@dataclass(frozen=True)
class Field:
    """One thing to fill in. `options` makes it a choice among fixed strings; `default` stands in for an empty value."""

    name: str
    required: bool = True
    max_chars: int = 400
    multiline: bool = False
    options: tuple[str, ...] = ()
    default: str = ""


@dataclass(frozen=True)
class GenerationDefaults:
    """How the paper draws the answer. temperature 0 is greedy decoding; generation ends at the first stop string."""

    max_new_tokens: int
    temperature: float = 0.0
    top_k: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """Values to start from, written for this project. `answer` is what a reader would say, "" where there is no single one.

    suits: "released" for OpenAI's models, "books" for the small embedded models trained on old novels.
    """

    name: str
    values: Values
    answer: str = ""
    suits: Literal["released", "books"] = "released"


@dataclass(frozen=True)
class Choice:
    """One candidate of a task that compares: `scored` is the text whose log-probability counts, given `prefix`."""

    name: str
    prefix: str
    scored: str

    @property
    def text(self) -> str:
        return self.prefix + self.scored


@dataclass(frozen=True)
class Task:
    """One zero-shot task. `build` and `list_choices` get values that are complete and checked; call the methods instead.

    decoding is None for tasks that compare candidates and write nothing. source names the paper's section; metrics are
    keys of `gpt2_core.tasks.published.METRICS`.
    """

    name: str
    source: str
    fields: tuple[Field, ...]
    build: Callable[[Values], tuple[Part, ...]]
    examples: tuple[Example, ...]
    decoding: GenerationDefaults | None = None
    postprocess: Callable[[str], str] = str.strip
    list_choices: Callable[[Values], tuple[Choice, ...]] | None = None
    metrics: tuple[str, ...] = ()

    def assemble(self, values: Values) -> tuple[Part, ...]:
        """The parts of the prompt, in order (a task that compares shows its first candidate put in).

        Raises ValueError when a field is unknown, missing, too long or malformed.
        """
        parts = tuple(part for part in self.build(self.checked(values)) if part.text)
        text = prompt_text(parts)
        if text != text.rstrip(" "):
            raise ValueError(
                f"The prompt of {self.name} ends in a space; GPT-2's tokens begin with the space, so end it with a word."
            )
        return parts

    def choices(self, values: Values) -> tuple[Choice, ...]:
        """The candidates to compare. Raises ValueError for a task that has none, or for malformed values."""
        if self.list_choices is None:
            raise ValueError(f"The task {self.name} writes its answer and compares no candidates; use assemble().")
        return self.list_choices(self.checked(values))

    def checked(self, values: Values) -> dict[str, str]:
        """The values with line ends unified, outer white space removed and defaults filled in, or a ValueError."""
        unknown = sorted(set(values) - {field.name for field in self.fields})
        if unknown:
            expected = ", ".join(field.name for field in self.fields)
            raise ValueError(f"The task {self.name} has no field {unknown[0]!r}; its fields are {expected}.")
        return {field.name: _checked_value(self.name, field, values.get(field.name, "")) for field in self.fields}


def _checked_value(task: str, field: Field, value: str) -> str:
    value = value.replace("\r\n", "\n").replace("\r", "\n").strip() or field.default
    if field.required and not value:
        raise ValueError(f"The field {field.name} of {task} is empty; fill it in or choose an example.")
    if len(value) > field.max_chars:
        raise ValueError(
            f"The field {field.name} of {task} has {len(value)} characters; at most {field.max_chars} are taken, shorten it."
        )
    if not field.multiline and "\n" in value:
        raise ValueError(f"The field {field.name} of {task} must be one line; join its lines.")
    if field.options and value not in field.options:
        raise ValueError(f"The field {field.name} of {task} is {value!r}; it must be one of {', '.join(field.options)}.")
    return value


def prompt_text(parts: tuple[Part, ...]) -> str:
    """The text the model sees."""
    return "".join(part.text for part in parts)


def question_answer_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Reads lines "Q: ..." and "A: ..." in turn (blank lines are free) into pairs; ValueError names the first bad line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        mark = "Q:" if number % 2 == 0 else "A:"
        if not line.startswith(mark) or not line[2:].strip():
            raise ValueError(f"Line {number + 1} of the examples is {line!r}; expected {mark!r} and a text after it.")
    if len(lines) % 2:
        raise ValueError(f"The last question of the examples, {lines[-1]!r}, has no answer; add a line that begins with 'A:'.")
    texts = [line[2:].strip() for line in lines]
    return tuple(zip(texts[::2], texts[1::2], strict=True))


# A full stop after these ends no sentence; a closing quotation mark or bracket belongs to the sentence before it.
_NOT_AN_END = r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\b[A-Z])"
_SENTENCE_END = re.compile(_NOT_AN_END + r"[.!?]+[\"'”’)\]]*(?=\s|$)|\n{2,}")


def first_sentences(text: str, count: int) -> str:
    """The first `count` sentences, cut after `.`, `!`, `?` or an empty line; all of the text when there are fewer."""
    text = text.strip()
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[count - 1]].strip() if len(ends) >= count else text


def first_line(text: str) -> str:
    """The first line with anything on it."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
