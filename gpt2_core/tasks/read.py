"""Read a passage and answer: the document, the conversation so far, the question and a final `A:` (section 3.5, CoQA).

Decoding is greedy. The blank line between turns is that of the paper's appendix sample; the rule to stop is open in the
paper: here the first line written is the answer, and writing ends where the model begins a question of its own. At most 48
new tokens, for CoQA's answers are a few words.
Later questions may lean on earlier ones ("and who helped her?"), which is why the history is part of the prompt.
"""

from gpt2_core.tasks.base import Example, Field, GenerationDefaults, Part, Task, Values, first_line, question_answer_pairs


def build(values: Values) -> tuple[Part, ...]:
    turns = question_answer_pairs(values["history"])
    return (
        Part("document", values["document"] + "\n\n", "context"),
        *(Part("turn", f"Q: {question}\nA: {answer}\n\n", "context") for question, answer in turns),
        Part("question", f"Q: {values['question']}\n", "question"),
        Part("answer", "A:", "cue"),
    )


EXAMPLES = (
    Example(
        "kite",
        {
            "document": "Nadia had built the kite herself, out of bamboo and an old yellow raincoat. On Saturday she carried it "
            "up the hill behind the school with her brother Tomas. There was hardly any wind at first, and Tomas wanted to go "
            "home. Then a gust came from the lake, the kite rose over the trees, and the string cut into Nadia's hand. She "
            "did not let go until the sun was down.",
            "history": "Q: Who built the kite?\nA: Nadia\n\nQ: What colour was the raincoat?\nA: yellow",
            "question": "Who went up the hill with her?",
        },
        "Tomas",
    ),
    Example(
        "bakery",
        {
            "document": "The bakery on Mill Street opens at five in the morning. Mr. Okafor, who has run it for thirty years, "
            "bakes two hundred loaves before his first customer arrives. His daughter Grace sells them, and on Fridays she "
            "also makes cinnamon rolls, which are gone by eight. Last month the oven broke, and for three days the street "
            "smelled of nothing at all.",
            "history": "Q: When does the bakery open?\nA: at five in the morning\n\nQ: Who sells the bread?\nA: Grace",
            "question": "What does she make on Fridays?",
        },
        "cinnamon rolls",
    ),
    Example(
        "captain",
        {
            "document": "The captain stood upon the deck and looked at the sea. Behind him stood the boy, whose name was "
            "Thomas. The captain gave him a letter, and told him to carry it to the old lady who lived in the white house upon "
            "the hill.",
            "history": "Q: Who stood upon the deck?\nA: The captain.",
            "question": "What did he give to the boy?",
        },
        "A letter.",
        suits="books",
    ),
)

TASK = Task(
    name="read",
    source="Radford et al. 2019, section 3.5",
    fields=(
        Field("document", max_chars=20_000, multiline=True),
        Field("history", required=False, max_chars=6_000, multiline=True),
        Field("question", max_chars=400),
    ),
    build=build,
    examples=EXAMPLES,
    decoding=GenerationDefaults(max_new_tokens=48, stop=("\nQ:",)),
    postprocess=first_line,
    metrics=("coqa_f1",),
)
