"""Answer a question from memory: example pairs `Q: ...` / `A: ...`, then the question and `A:` (section 3.8).

The pairs show the model how short an answer of Natural Questions is. Decoding is greedy; the paper's confidence in an
answer is the probability of its tokens.
Open in the paper, chosen here: the number of pairs is the user's; line breaks between the lines; the first line written
is the answer, and writing ends where the model begins a question of its own; at most 32 new tokens, for answers are names,
years and short phrases.
"""

from gpt2_core.tasks.base import Example, Field, GenerationDefaults, Part, Task, Values, first_line, question_answer_pairs


def build(values: Values) -> tuple[Part, ...]:
    pairs = question_answer_pairs(values["pairs"])
    return (
        *(Part("pair", f"Q: {question}\nA: {answer}\n", "example") for question, answer in pairs),
        Part("question", f"Q: {values['question']}\n", "question"),
        Part("answer", "A:", "cue"),
    )


FACTS = (
    "Q: who wrote the play romeo and juliet\nA: William Shakespeare\n"
    "Q: what is the capital of japan\nA: Tokyo\n"
    "Q: how many legs does a spider have\nA: eight\n"
    "Q: in which year did the second world war end\nA: 1945"
)
NOVEL = (
    "Q: Who opened the door?\nA: The old servant.\n"
    "Q: Who sat by the fire?\nA: The old man.\n"
    "Q: Who came in from the garden?\nA: The young lady."
)
EXAMPLES = (
    Example("science", {"pairs": FACTS, "question": "who developed the theory of relativity"}, "Albert Einstein"),
    Example("geography", {"pairs": FACTS, "question": "what is the capital of italy"}, "Rome"),
    Example("moon", {"pairs": FACTS, "question": "who was the first man to walk on the moon"}, "Neil Armstrong"),
    Example("parlour", {"pairs": NOVEL, "question": "Who sat at the window?"}, suits="books"),
)

TASK = Task(
    name="answer",
    source="Radford et al. 2019, section 3.8",
    fields=(Field("pairs", max_chars=6_000, multiline=True), Field("question", max_chars=400)),
    build=build,
    examples=EXAMPLES,
    decoding=GenerationDefaults(max_new_tokens=32, stop=("\nQ:",)),
    postprocess=first_line,
    metrics=("natural_questions_em",),
)
