"""Gendered pronoun: "So Mary is a really great friend, isn't" -> " she"; with a man's name, " he".

What is tested is what a model has learned to expect of a name, which says nothing about any person; both lists hold only names
that text in English mostly gives to one gender, and a name of the other list makes the corrupted prompt.

Source: Mathwin et al. 2023, "Identifying a Preliminary Circuit for Predicting Gendered Pronouns in GPT-2 Small".
"""

from random import Random

from gpt2_core.tokenizer import Tokenizer
from interp.prompt_sets.names import MEN, WOMEN
from interp.prompt_sets.pairs import PromptPair, PromptSet, draw, place, single_tokens

SOURCE = "Mathwin et al. 2023, gendered pronouns in GPT-2 small"
CORRUPTION = "a name of the other gender, so that the answer is the other pronoun"
TEMPLATES = (
    "So {NAME} is a really great friend, isn't",
    "So {NAME} is such a good cook, isn't",
    "So {NAME} is a very good athlete, isn't",
    "So {NAME} is a really nice person, isn't",
    "So {NAME} is such a funny person, isn't",
)


def build(tokenizer: Tokenizer, n: int = 100, seed: int = 0) -> PromptSet:
    """n pairs, the genders in turn. The metric is the logit difference of the two pronouns."""
    lists = [tuple(single_tokens(tokenizer, names)) for names in (MEN, WOMEN)]
    pronouns = tuple(single_tokens(tokenizer, ("he", "she")).values())

    def make(random: Random, index: int) -> PromptPair:
        template, which = random.choice(TEMPLATES), index % 2
        clean, corrupted = (place(tokenizer, template, {"NAME": random.choice(lists[i])}) for i in (which, 1 - which))
        return PromptPair(clean, corrupted, (pronouns[which],), (pronouns[1 - which],), template)

    return PromptSet("pronoun", draw(make, n, seed, "pronoun"), "logit_difference", SOURCE, CORRUPTION, seed, tokenizer.bos_id)
