"""Resolve a pronoun: put each candidate in its place and see which sentence is likelier (section 3.4, Winograd).

The method is Trinh & Le 2018. Full scoring compares the probability of the whole substituted sentence; it favours short
and frequent names. Partial scoring compares only the words after the pronoun, given the sentence up to and including the
candidate: the scored words are the same for both candidates, so the bias disappears. The paper's figure 3 shows both and
does not say which one its 70.70 % is; partial is the default here.
The pronoun is marked with square brackets, because a sentence may hold the same pronoun twice.
"""

import re

from gpt2_core.tasks.base import Choice, Example, Field, Part, Task, Values

_SLOT = re.compile(r"\[([^\[\]]+)\]")


def _around(sentence: str) -> tuple[str, str]:
    slots = _SLOT.findall(sentence)
    if len(slots) != 1:
        raise ValueError(f"The sentence has {len(slots)} words in [square brackets]; mark exactly one pronoun, as in '[it]'.")
    before, _, after = _SLOT.split(sentence)
    if not after.strip():
        raise ValueError("Nothing follows the bracketed pronoun; the words after it decide between the candidates, add them.")
    return before, after


def choices(values: Values) -> tuple[Choice, ...]:
    before, after = _around(values["sentence"])
    candidates = (values["candidate_a"], values["candidate_b"])
    if candidates[0] == candidates[1]:
        raise ValueError(f"Both candidates are {candidates[0]!r}; give two different ones.")
    if values["scoring"] == "full":
        return tuple(Choice(name, "", _put_in(before, name) + after) for name in candidates)
    return tuple(Choice(name, _put_in(before, name), after) for name in candidates)


def _put_in(before: str, candidate: str) -> str:
    # At the beginning of the sentence "the cup" has to become "The cup".
    return before + candidate if before.strip() else candidate[0].upper() + candidate[1:]


def build(values: Values) -> tuple[Part, ...]:
    before, after = _around(values["sentence"])
    substituted = _put_in(before, values["candidate_a"])[len(before) :]
    return Part("before", before, "context"), Part("candidate", substituted, "question"), Part("after", after, "cue")


def _example(name: str, sentence: str, a: str, b: str, answer: str, suits: str = "released") -> Example:
    values = {"sentence": sentence, "candidate_a": a, "candidate_b": b, "scoring": "partial"}
    return Example(name, values, answer, suits)  # type: ignore[arg-type]


EXAMPLES = (
    _example("soup", "The soup would not stay in the bowl because [it] was cracked.", "the soup", "the bowl", "the bowl"),
    _example("loan", "Anna lent Maria her bicycle because [she] had to get to work.", "Anna", "Maria", "Maria"),
    _example(
        "ladder", "The ladder broke under the painter because [he] was too heavy.", "the ladder", "the painter", "the painter"
    ),
    _example("key", "The key did not open the door, for [it] was made for another lock.", "the key", "the door", "the key"),
    _example(
        "letter",
        "The captain gave the letter to the lady, and [she] put it in her bosom.",
        "the captain",
        "the lady",
        "the lady",
        suits="books",
    ),
)

TASK = Task(
    name="resolve",
    source="Radford et al. 2019, section 3.4; Trinh & Le 2018",
    fields=(
        Field("sentence", max_chars=1_000),
        Field("candidate_a", max_chars=100),
        Field("candidate_b", max_chars=100),
        Field("scoring", options=("partial", "full"), default="partial"),
    ),
    build=build,
    list_choices=choices,
    examples=EXAMPLES,
    metrics=("winograd_acc",),
)
