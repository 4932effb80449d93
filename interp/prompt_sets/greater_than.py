"""Greater-than: "The war lasted from the year 1732 to the year 17" -> any two digits above 32.

A year is used only if the tokenizer cuts it into the century and two digits (" 17", "32"; " 1700" is one token). The corrupted
prompt ends its first year in 01, after which every end is possible, so it says nothing about where to stop.

Source: Hanna et al. 2023, 2305.00586: the sum of the probabilities of larger endings less that of the others.
"""

from random import Random

from gpt2_core.tokenizer import Tokenizer
from interp.prompt_sets.pairs import PromptPair, PromptSet, draw, place, single_tokens

SOURCE = "Hanna et al. 2023, 2305.00586"
CORRUPTION = "the first year ends in 01, so that every ending is possible"
TEMPLATE = "The {NOUN} lasted from the year {XX}{YY} to the year {XX2}"
NOUNS = (
    "abuse accident agreement attack ban battle campaign career case challenge clash collaboration competition conflict conquest "
    "construction contest contract controversy conversation crisis debate decline demonstration development dispute disruption "
    "drought endeavor engagement epidemic evaluation exchange expedition experiment exploration festival fight growth hike "
    "imprisonment improvement investigation invasion journey marriage mission negotiation operation partnership plan plague "
    "practice process program progress project pursuit quest reform regime reign relationship resistance retreat revolution riot "
    "rise scandal siege strike struggle study test tour tradition training trip violence visit voyage war work"
).split()
CENTURIES, LOWEST, HIGHEST = range(11, 19), 2, 98


def build(tokenizer: Tokenizer, n: int = 100, seed: int = 0) -> PromptSet:
    """n pairs. The metric is the probability difference. Raises ValueError where no year is cut into two tokens."""
    nouns = tuple(single_tokens(tokenizer, NOUNS))
    endings = single_tokens(tokenizer, [f"{y:02d}" for y in range(100)], at_least=100, before="")
    years = [
        (century, y)
        for century in CENTURIES
        if _is_split(tokenizer, century, 1)
        for y in range(LOWEST, HIGHEST + 1)
        if _is_split(tokenizer, century, y)
    ]
    if not years:
        raise ValueError("This tokenizer cuts no year into its century and two digits; use GPT-2's own vocabulary.")

    def make(random: Random, index: int) -> PromptPair:
        noun, (century, y) = random.choice(nouns), random.choice(years)
        clean, corrupted = (
            place(tokenizer, TEMPLATE, {"NOUN": noun, "XX": str(century), "YY": f"{end:02d}", "XX2": str(century)})
            for end in (y, 1)
        )
        larger, others = (tuple(endings[f"{end:02d}"] for end in ends) for ends in (range(y + 1, 100), range(y + 1)))
        return PromptPair(clean, corrupted, larger, others, TEMPLATE)

    pairs = draw(make, n, seed, "greater_than")
    return PromptSet("greater_than", pairs, "probability_difference", SOURCE, CORRUPTION, seed, tokenizer.bos_id)


def _is_split(tokenizer: Tokenizer, century: int, y: int) -> bool:
    return tokenizer.strings(tokenizer.encode(f" {century}{y:02d}")) == [f" {century}", f"{y:02d}"]
