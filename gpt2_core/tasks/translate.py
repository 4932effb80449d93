"""Translate: example pairs `english sentence = french sentence`, then `english sentence =` (section 3.7).

Decoding as in the paper: greedy, and the first generated sentence is the translation.
Open in the paper, chosen here: one pair per line, because a line break is the plainest sign that a pair is complete (it is
also the stop string); the number of pairs is the user's; at most 64 new tokens, more than any example sentence needs.
The other direction is the same format with the languages swapped. WebText has almost no French (10 MB of 40 GB), so
expect single words to be right and sentences to drift.
"""

from gpt2_core.tasks.base import Example, Field, GenerationDefaults, Part, Task, Values, first_line, first_sentences


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Reads one `sentence = translation` per line; ValueError names the first line that is not one."""
    found = []
    for number, line in enumerate((line.strip() for line in text.splitlines() if line.strip()), start=1):
        left, sign, right = line.partition(" = ")
        if not sign or not left.strip() or not right.strip():
            raise ValueError(f"Line {number} of the pairs is {line!r}; expected 'sentence = translation'.")
        found.append((left.strip(), right.strip()))
    return tuple(found)


def build(values: Values) -> tuple[Part, ...]:
    examples = tuple(Part("pair", f"{left} = {right}\n", "example") for left, right in pairs(values["pairs"]))
    return *examples, Part("sentence", values["sentence"], "question"), Part("equals", " =", "cue")


def _answer(text: str) -> str:
    return first_sentences(first_line(text), 1)


EVERYDAY = (
    ("Good morning.", "Bonjour."),
    ("Where is the station?", "Où est la gare ?"),
    ("The house is very old.", "La maison est très vieille."),
    ("I would like a glass of water, please.", "Je voudrais un verre d'eau, s'il vous plaît."),
)
SMALL_WORDS = (("the dog", "le chien"), ("the cat", "le chat"), ("the book", "le livre"), ("the mother", "la mère"))
COURTESIES = (("Good evening, sir.", "Bonsoir, monsieur."), ("Yes, madam.", "Oui, madame."), ("No, sir.", "Non, monsieur."))


def _examples(swap: bool) -> tuple[Example, ...]:
    def example(name: str, known: tuple[tuple[str, str], ...], ask: tuple[str, str], suits: str = "released") -> Example:
        lines = [f"{pair[swap]} = {pair[not swap]}" for pair in known]
        return Example(name, {"pairs": "\n".join(lines), "sentence": ask[swap]}, ask[not swap], suits)  # type: ignore[arg-type]

    return (
        example("everyday", EVERYDAY, ("The garden is very small.", "Le jardin est très petit.")),
        example("small_words", SMALL_WORDS, ("the father", "le père")),
        example("courtesies", COURTESIES, ("Yes, sir.", "Oui, monsieur."), "books"),
    )


def _task(name: str, swap: bool, metric: str) -> Task:
    return Task(
        name=name,
        source="Radford et al. 2019, section 3.7",
        fields=(Field("pairs", max_chars=4_000, multiline=True), Field("sentence", max_chars=600)),
        build=build,
        examples=_examples(swap),
        decoding=GenerationDefaults(max_new_tokens=64, stop=("\n",)),
        postprocess=_answer,
        metrics=(metric,),
    )


ENGLISH_TO_FRENCH = _task("translate_en_fr", False, "wmt14_en_fr_bleu")
FRENCH_TO_ENGLISH = _task("translate_fr_en", True, "wmt14_fr_en_bleu")
