"""Choose the missing word: a passage, a sentence with a gap, and candidates (section 3.2, Children's Book Test).

Each candidate gets P(candidate | context) * P(rest of the sentence | candidate, context), as in the paper; the likeliest
one is the answer. The test has 20 sentences of context and 10 candidates of one kind (common nouns, or names).
Open in the paper, chosen here: context and sentence are joined by a space, for they follow each other in one paragraph of
a book. The gap is XXXXX, as in the data set. The space before the gap belongs to the candidate (" door" is one token).
"""

from gpt2_core.tasks.base import Choice, Example, Field, Part, Task, Values

GAP = "XXXXX"


def _around(values: Values) -> tuple[str, str]:
    before, gap, after = values["sentence"].partition(GAP)
    if not gap or GAP in after:
        raise ValueError(f"The sentence must contain the gap {GAP} exactly once; mark the missing word with it.")
    joined = f"{values['context']} {before}" if values["context"] else before
    return joined, after


def candidates(text: str) -> tuple[str, ...]:
    """One candidate per line or comma; ValueError when there are fewer than two, or one twice."""
    names = [name.strip() for name in text.replace(",", "\n").splitlines() if name.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"The candidates are {', '.join(names)!r}; give at least two different words, one per line.")
    return tuple(names)


def choices(values: Values) -> tuple[Choice, ...]:
    before, after = _around(values)
    prefix = before.rstrip(" ")
    space = before[len(prefix) :]
    return tuple(Choice(name, prefix, space + name + after) for name in candidates(values["candidates"]))


def build(values: Values) -> tuple[Part, ...]:
    before, after = _around(values)
    context = before[: len(values["context"])]
    return (
        Part("context", context, "context"),
        Part("before", before[len(context) :], "question"),
        Part("candidate", candidates(values["candidates"])[0], "question"),
        Part("after", after, "cue"),
    )


EXAMPLES = (
    Example(
        "fox",
        {
            "context": "The fox had lost his tail in a trap, and he was ashamed to show himself. For three days he hid under the "
            'roots of an oak. On the fourth day the crow found him there. "Come out," said the crow, "nobody will laugh." '
            "But when the fox came out, the rabbits laughed, and the squirrels laughed, and the crow laughed loudest of all. "
            'The fox looked at them one after another. "A tail," he said, "only gathers mud. You should cut off yours."',
            "sentence": "The rabbits ran home to ask their mother whether they too should cut off a XXXXX.",
            "candidates": "day\ncrow\noak\ntail\ntrap\nmother\nroot\nmud\nrabbit\nhome",
        },
        "tail",
    ),
    Example(
        "miller",
        {
            "context": "There was once a miller who had three daughters, and the youngest of them could talk to the river. When the "
            'summer was dry the mill stood still, and there was no flour in the house. "Go and ask the river for water," said '
            'the miller. The girl went down to the bank and sat under the willow. "River," she said, "my father\'s wheel will '
            'not turn." The river answered her so softly that no one else could hear it.',
            "sentence": "In the night it began to rain, and in the morning the XXXXX was turning.",
            "candidates": "river\nwillow\nflour\nwheel\nbank\nhouse\nmiller\nsummer\nwater\ngirl",
        },
        "wheel",
    ),
    Example(
        "garden",
        {
            "context": "The young lady walked in the garden with her father, and he told her that the captain was to come that evening.",
            "sentence": "She said nothing, but took her father's XXXXX, and went into the house.",
            "candidates": "arm\nevening\ngarden\nroof\nsea",
        },
        "arm",
        suits="books",
    ),
)

TASK = Task(
    name="choose",
    source="Radford et al. 2019, section 3.2 and table 3",
    fields=(
        Field("context", required=False, max_chars=12_000, multiline=True),
        Field("sentence", max_chars=1_000),
        Field("candidates", max_chars=400, multiline=True),
    ),
    build=build,
    list_choices=choices,
    examples=EXAMPLES,
    metrics=("cbt_cn_acc", "cbt_ne_acc"),
)
