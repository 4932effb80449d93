"""The prompts offered as chips. Each shows something that the model at hand really does; tests hold them to it.

The words that say what to look for are in `app/text/examples.py`, under the same name.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Example:
    """A prompt with the place to look at. position: a token's index (a leading `<|endoftext|>` counted), None for the last.

    role: look at the head that has most of this role in the model at hand, in place of layer and head.
    """

    name: str
    prompt: str
    position: int | None = None
    layer: int = 0
    head: int = 0
    tab: str = "probabilities"
    role: Literal["previous_token", "induction"] | None = None


EMBEDDED = (
    Example("clock", "When the old clock struck twelve, the old"),
    Example("said", '"What do you mean?" he'),
    Example("hand", "He put his hand on his"),
    Example(
        "previous", "When the old clock struck twelve, the old man opened the door", tab="attention", role="previous_token"
    ),
    Example("copy", "Mr. Darnley bowed to Miss Harwick. Mr. Darn", tab="attention", role="induction"),
    Example("loop", "The king and the queen, and the king and the", tab="playground"),
)

RELEASED = (
    Example("ioi", "When Mary and John went to the store, John gave a drink to"),
    Example(
        "induction", "Mr. and Mrs. Dursley were proud to say that they were normal. Mr. Durs", tab="attention", layer=5, head=5
    ),
    Example("tower", "The Eiffel Tower is in the city of", tab="lens"),
    Example("year", "The war lasted from the year 1732 to the year 17"),
    Example("brackets", 'He shouted "Wait for me (and for my dog'),
    Example("translate", "good morning = bonjour\ngood night = bonne nuit\nthank you ="),
)


def examples_for(embedded: bool) -> tuple[Example, ...]:
    """The chips for an embedded model, or for one of the released sizes."""
    return EMBEDDED if embedded else RELEASED
