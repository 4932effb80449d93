'''Docstring: a Python function's arguments, documented in order; after ":param" the next argument's name is due.

    def port(self, load, size, files, last):
        """oil column piece

        :param load: crime population
        :param size: unit dark
        :param                                     -> " files"

To be right the model must know which arguments were documented and which one comes next in the definition.

Corruptions: "random_random" gives other names to the arguments in the definition and in the docstring, "random_definition"
only in the definition. The wrong answers are the definition's other arguments, and the metric is the correct logit less the
largest wrong one.

Source: Heimersheim and Janiak 2023, "A circuit for Python docstrings in a 4-layer attention-only transformer".
'''

from random import Random

from gpt2_core.tokenizer import Tokenizer
from interp.prompt_sets.pairs import PromptPair, PromptSet, draw, place, single_tokens

SOURCE = "Heimersheim and Janiak 2023, a circuit for Python docstrings"
CORRUPTIONS = {
    "random_random": "other argument names in the definition, and yet others in the docstring",
    "random_definition": "other argument names in the definition",
}
TEMPLATE = '''def {FUNCTION}(self, {A_DEF}, {B_DEF}, {C_DEF}, {D_DEF}):
    """{W1} {W2} {W3}

    :param {A_DOC}: {W4} {W5}
    :param {B_DOC}: {W6} {W7}
    :param'''
FILLERS = ("FUNCTION", "W1", "W2", "W3", "W4", "W5", "W6", "W7")
NAMES = (
    "load size files last image name path value index count state start end key data text line mode type list file user group node "
    "item field code date time level color width height length order parent child source target result error message body title "
    "label image input output table model test run port host token request response query option config object element"
).split()
WORDS = (
    "oil column piece crime population unit dark winter river garden music paper window doctor market window engine summer mountain "
    "coffee bridge village island station forest kitchen church battle dinner silver iron cotton hotel camera teacher farmer king "
    "army league season weather science history language road street city country ocean animal"
).split()


def build(tokenizer: Tokenizer, n: int = 100, seed: int = 0, corruption: str = "random_random") -> PromptSet:
    """n pairs. Positions are the arguments in the definition (A_DEF ...) and the docstring (A_DOC, B_DOC), and END."""
    if corruption not in CORRUPTIONS:
        raise ValueError(f"No corruption of docstrings is called {corruption!r}; expected one of {', '.join(CORRUPTIONS)}.")
    names = single_tokens(tokenizer, dict.fromkeys(NAMES), at_least=10)
    words = tuple(single_tokens(tokenizer, dict.fromkeys(WORDS), at_least=7))
    functions = [word for word in names if tokenizer.strings(tokenizer.encode(f"def {word}(self"))[1:2] == [f" {word}"]]

    def make(random: Random, index: int) -> PromptPair:
        drawn = random.sample(tuple(names), 10)
        own, definition, docstring = drawn[:4], drawn[4:8], drawn[8:]
        fill = dict(zip(FILLERS, (random.choice(functions), *random.sample(words, 7))))
        changed = docstring if corruption == "random_random" else own[:2]
        clean, corrupted = (
            place(tokenizer, TEMPLATE, {**fill, **_arguments(in_definition, documented)})
            for in_definition, documented in ((own, own[:2]), (definition, changed))
        )
        a, b, c, d = (names[name] for name in own)
        return PromptPair(clean, corrupted, (c,), (a, b, d), corruption)

    pairs = draw(make, n, seed, "docstring")
    return PromptSet("docstring", pairs, "best_logit_difference", SOURCE, CORRUPTIONS[corruption], seed, tokenizer.bos_id)


def _arguments(in_definition: list[str], documented: list[str]) -> dict[str, str]:
    return dict(zip(("A_DEF", "B_DEF", "C_DEF", "D_DEF"), in_definition)) | dict(zip(("A_DOC", "B_DOC"), documented))
