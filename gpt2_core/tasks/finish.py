"""Finish a passage: a few sentences without their last word; the model says the word (section 3.3, LAMBADA).

The word can be guessed from the whole passage but not from its last sentence alone, so it tests how far back the model
looks. Decoding is greedy, up to the end of the first word; 8 tokens are more than a word of the test has.
The paper's 63.24 % adds a filter against words that could not end a sentence (stop words); without it the same model
reaches 52.66 %. The word returned here is unfiltered.
"""

import re

from gpt2_core.tasks.base import Example, Field, GenerationDefaults, Part, Task, Values

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def build(values: Values) -> tuple[Part, ...]:
    return (Part("passage", values["passage"], "context"),)


def first_word(text: str) -> str:
    """The first word, without the punctuation around it; "" when there is none."""
    match = _WORD.search(text)
    return match.group() if match else ""


EXAMPLES = (
    Example(
        "violin",
        {
            "passage": "Marta put the violin back into its case and shook her head. \"I can't do it, Papa. Everybody plays better "
            'than I do." Her father opened the case again. "Nobody is asking you to be the best," he said. "I am only '
            "asking you to take out the"
        },
        "violin",
    ),
    Example(
        "dog",
        {
            "passage": '"What will you call him?" asked Aunt Ruth. The puppy had already found her slippers. Ben thought about it '
            'for a long time. He had read that all the kings of France were called Louis. "Come here," he said at last, and '
            'held out a biscuit. "Come here,'
        },
        "Louis",
    ),
    Example(
        "stranger",
        {
            "passage": "The stranger took off his hat, and sat down by the fire. He said nothing for some time. At last the old man "
            "rose from his chair, and went to the"
        },
        "door",
        suits="books",
    ),
)

TASK = Task(
    name="finish",
    source="Radford et al. 2019, section 3.3 and table 3",
    fields=(Field("passage", max_chars=8_000, multiline=True),),
    build=build,
    examples=EXAMPLES,
    decoding=GenerationDefaults(max_new_tokens=8),
    postprocess=first_word,
    metrics=("lambada_ppl", "lambada_acc"),
)
