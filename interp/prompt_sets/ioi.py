"""Indirect object identification: "Then, Mary and John went to the store. John gave a drink to" -> " Mary", not " John".

The subject stands twice (S1, S2), the indirect object once (IO); to finish the sentence is to name the one that is not
repeated. Templates come in two orders: BABA (subject first) and ABBA (indirect object first).

Corruptions: "swap" puts the IO in the place of S2, which turns the answer round and changes one token; "abc" (the paper's
p_ABC) takes three names that are none of the two, which removes the task and keeps the grammar.

Adversarial prompts (`extra`): a natural sentence behind the first clause names one of the two once more (X): "Mary had a good
day." Naming the IO twice takes away what tells the two apart, and the model errs; naming the S a third time is the control.

Source: Wang et al. 2022, 2211.00593, section 2 and appendices E (templates, places, objects) and L (the extra sentences).
"""

from random import Random

from gpt2_core.tokenizer import Tokenizer
from interp.prompt_sets.names import FIRST_NAMES
from interp.prompt_sets.pairs import PromptPair, PromptSet, draw, place, single_tokens

SOURCE = "Wang et al. 2022, 2211.00593"
CORRUPTIONS = {
    "swap": "the second subject is the indirect object, so that the answer is the other name",
    "abc": "three other names, none of them repeated",
}
ORDERS = ("ABBA", "BABA")
BABA = (
    "Then, {S1} and {IO} went to the {PLACE}. {S2} gave a {OBJECT} to",
    "Then, {S1} and {IO} had a lot of fun at the {PLACE}. {S2} gave a {OBJECT} to",
    "Then, {S1} and {IO} were working at the {PLACE}. {S2} decided to give a {OBJECT} to",
    "Then, {S1} and {IO} were thinking about going to the {PLACE}. {S2} wanted to give a {OBJECT} to",
    "Then, {S1} and {IO} had a long argument, and afterwards {S2} said to",
    "After {S1} and {IO} went to the {PLACE}, {S2} gave a {OBJECT} to",
    "When {S1} and {IO} got a {OBJECT} at the {PLACE}, {S2} decided to give it to",
    "While {S1} and {IO} were working at the {PLACE}, {S2} gave a {OBJECT} to",
    "While {S1} and {IO} were commuting to the {PLACE}, {S2} gave a {OBJECT} to",
    "After the lunch, {S1} and {IO} went to the {PLACE}. {S2} gave a {OBJECT} to",
    "Afterwards, {S1} and {IO} went to the {PLACE}. {S2} gave a {OBJECT} to",
    "Then, {S1} and {IO} had a long argument. Afterwards {S2} said to",
    "The {PLACE} {S1} and {IO} went to had a {OBJECT}. {S2} gave it to",
    "Friends {S1} and {IO} found a {OBJECT} at the {PLACE}. {S2} gave it to",
)
EXTRA = ("had a good day", "was enjoying the situation", "was tired", "enjoyed being with a friend", "was an enthusiast person")
PLACES = ("store", "garden", "restaurant", "school", "hospital", "office", "house", "station")
OBJECTS = ("ring", "kiss", "bone", "basketball", "computer", "necklace", "drink", "snack")
# The eight prompts that exploratory notebooks use: sentence, its two names, and the answer of the first of the two prompts.
EIGHT = (
    ("When {A} and {B} went to the shops, {S2} gave the bag to", "John", "Mary", "Mary"),
    ("When {A} and {B} went to the park, {S2} gave the ball to", "Tom", "James", "Tom"),
    ("When {A} and {B} went to the shops, {S2} gave an apple to", "Dan", "Sid", "Dan"),
    ("After {A} and {B} went to the park, {S2} gave a drink to", "Martin", "Amy", "Martin"),
)


def build(
    tokenizer: Tokenizer,
    n: int = 100,
    seed: int = 0,
    corruption: str = "swap",
    orders: tuple[str, ...] = ORDERS,
    extra: str | None = None,
) -> PromptSet:
    """n pairs, the orders in turn. The metric is the logit difference of IO and S. Raises ValueError for unknown options.

    extra: "IO" or "S" is named once more, at X, in a sentence of its own.
    """
    if corruption not in CORRUPTIONS:
        raise ValueError(f"No corruption of IOI is called {corruption!r}; expected one of {', '.join(CORRUPTIONS)}.")
    if not orders or not set(orders) <= set(ORDERS):
        raise ValueError(f"orders are {' and '.join(ORDERS)}, got {orders!r}; give one or both.")
    if extra not in (None, "IO", "S"):
        raise ValueError(f"An extra sentence names IO or S, got {extra!r}; give one of them, or None.")
    names = single_tokens(tokenizer, FIRST_NAMES, at_least=5)
    places, objects = (tuple(single_tokens(tokenizer, words, at_least=1)) for words in (PLACES, OBJECTS))
    pool = tuple(names)

    def make(random: Random, index: int) -> PromptPair:
        template = in_order(random.choice(BABA), orders[index % len(orders)])
        template = with_sentence(template, random.choice(EXTRA)) if extra else template
        io, s, *others = random.sample(pool, 5)
        rest = {"PLACE": random.choice(places), "OBJECT": random.choice(objects)}
        changed = (io, s, io) if corruption == "swap" else others
        clean, corrupted = (
            place(tokenizer, template, {**rest, "IO": a, "S1": b, "S2": c, "X": a if extra == "IO" else b})
            for a, b, c in ((io, s, s), tuple(changed))
        )
        return PromptPair(clean, corrupted, (names[io],), (names[s],), template)

    pairs = draw(make, n, seed, "ioi")
    return PromptSet("ioi", pairs, "logit_difference", SOURCE, CORRUPTIONS[corruption], seed, tokenizer.bos_id)


def eight(tokenizer: Tokenizer) -> PromptSet:
    """The eight prompts of TransformerLens' exploratory notebook, each corrupted by its partner; their metric is symmetric.

    On GPT-2 small the mean logit difference is 3.55, and exactly its negative on the corrupted prompts.
    """
    pairs = []
    for sentence, a, b, first in EIGHT:
        answers = single_tokens(tokenizer, (a, b))
        for io in (first, b if first == a else a):
            s = b if io == a else a
            template = in_order(sentence.replace("{A}", "{S1}").replace("{B}", "{IO}"), "BABA" if s == a else "ABBA")
            clean, corrupted = (place(tokenizer, template, {"IO": io, "S1": s, "S2": second}) for second in (s, io))
            pairs.append(PromptPair(clean, corrupted, (answers[io],), (answers[s],), template))
    return PromptSet("ioi_eight", tuple(pairs), "logit_difference", SOURCE, CORRUPTIONS["swap"], 0, tokenizer.bos_id)


def with_sentence(template: str, words: str) -> str:
    """A template with "{X} had a good day." behind its last full stop or comma, which stands before S2 in all of them."""
    at = max(template.rfind("."), template.rfind(",")) + 1
    return f"{template[:at]} {{X}} {words}.{template[at:]}"


def in_order(template: str, order: str) -> str:
    """A BABA template in either order: ABBA names the indirect object first."""
    if order == "BABA":
        return template
    return template.replace("{S1}", "{first}").replace("{IO}", "{S1}").replace("{first}", "{IO}")
