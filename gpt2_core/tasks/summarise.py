"""Summarise a text: the article, then `TL;DR:` (Radford et al. 2019, section 3.6, table 4).

On the web "TL;DR:" (too long; didn't read) stands before a summary. The paper removes it to show that the hint, and not
the article alone, induces the behaviour: ROUGE falls by 6.4 points. Both variants are here.
Decoding as in the paper: top-k sampling with k = 2, 100 tokens, the first 3 sentences kept.
Open in the paper, chosen here: a line break before the hint, for summaries on the web begin a paragraph; temperature 1.
"""

from gpt2_core.tasks.base import Example, Field, GenerationDefaults, Part, Task, Values, first_sentences

HINTS = {"TL;DR:": "\nTL;DR:", "none": ""}


def build(values: Values) -> tuple[Part, ...]:
    return Part("article", values["article"], "context"), Part("hint", HINTS[values["hint"]], "cue")


EXAMPLES = (
    Example(
        "ferry",
        {
            "article": "The ferry that links the island of Sorvik with the mainland stopped running on Monday after engineers "
            "found a crack in its hull. About four hundred people live on the island, and many of them cross every day to "
            "work or go to school. The ferry company said that repairs would take at least three weeks. Until then, fishing "
            "boats will carry passengers twice a day, in the morning and in the evening, but they cannot take cars. The "
            'mayor asked the government for a helicopter in case someone falls ill. "We are used to storms," she said. '
            '"We are not used to being cut off in fine weather."'
        },
    ),
    Example(
        "bees",
        {
            "article": "When the roof of the old brewery was opened for repairs last spring, the builders found something "
            "they had not planned for: a colony of about sixty thousand bees. The owner, who wanted to turn the building into "
            "flats, first called a pest controller. A neighbour called a beekeeper instead. It took the beekeeper two days to "
            "move the combs, one by one, into wooden boxes. The bees now live at the edge of a school garden, where children "
            "learn to look after them, and the brewery has its first tenants. The builders were given eleven jars of honey."
        },
    ),
    Example(
        "squire",
        {
            "article": "The old squire had lived alone in the great house since the death of his wife, and saw nobody but his "
            "servants and the doctor. One night in December a young man knocked at the door, wet through with the rain, and "
            "said that he was the son of the squire's brother, who had been lost at sea. The squire did not believe him. But "
            "the young man took from his coat a silver watch, and when the old man saw it he began to weep, and ordered a "
            "fire to be lighted in the best room."
        },
        suits="books",
    ),
)

TASK = Task(
    name="summarise",
    source="Radford et al. 2019, section 3.6 and table 4",
    fields=(
        Field("article", max_chars=20_000, multiline=True),
        Field("hint", options=tuple(HINTS), default="TL;DR:"),
    ),
    build=build,
    examples=EXAMPLES,
    decoding=GenerationDefaults(max_new_tokens=100, temperature=1.0, top_k=2),
    postprocess=lambda text: first_sentences(text, 3),
    metrics=("cnn_dailymail_rouge_1", "cnn_dailymail_rouge_2", "cnn_dailymail_rouge_l", "cnn_dailymail_rouge_avg"),
)
