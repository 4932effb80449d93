"""Capitals: "The capital of France is the city of" -> " Paris"; the corrupted prompt asks for another country.

A recalled fact: nothing in the prompt but the country says the answer, so the information has to come from the weights. Only
capitals of one token are kept, and countries of as many tokens as each other are paired.

Source: Merullo et al. 2023, 2305.16130 (the question form); Meng et al. 2022, 2202.05262 (facts of this kind).
"""

from random import Random

from gpt2_core.tokenizer import Tokenizer
from interp.prompt_sets.pairs import PromptPair, PromptSet, draw, place, single_tokens

SOURCE = "Merullo et al. 2023, 2305.16130"
CORRUPTION = "another country, so that the answer is its capital"
TEMPLATES = (
    "The capital of {SUBJECT} is the city of",
    "The capital city of {SUBJECT} is",
    "Q: What is the capital of {SUBJECT}?\nA:",
)
CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "China": "Beijing",
    "Russia": "Moscow", "England": "London", "Egypt": "Cairo", "Greece": "Athens", "Ireland": "Dublin", "Austria": "Vienna",
    "Poland": "Warsaw", "Hungary": "Budapest", "Portugal": "Lisbon", "Sweden": "Stockholm", "Norway": "Oslo",
    "Denmark": "Copenhagen", "Finland": "Helsinki", "Belgium": "Brussels", "Turkey": "Ankara", "Iran": "Tehran",
    "Iraq": "Baghdad", "Syria": "Damascus", "Lebanon": "Beirut", "India": "Delhi", "Pakistan": "Islamabad",
    "Afghanistan": "Kabul", "Thailand": "Bangkok", "Indonesia": "Jakarta", "Cuba": "Havana", "Peru": "Lima", "Ukraine": "Kiev",
    "Libya": "Tripoli", "Scotland": "Edinburgh", "Canada": "Ottawa", "Chile": "Santiago", "Bangladesh": "Dhaka",
    "Tunisia": "Tunis", "Wales": "Cardiff", "South Korea": "Seoul", "North Korea": "Pyongyang", "the Netherlands": "Amsterdam",
    "the Philippines": "Manila", "the United Kingdom": "London", "the United States": "Washington",
}  # fmt: skip


def build(tokenizer: Tokenizer, n: int = 100, seed: int = 0) -> PromptSet:
    """n pairs. The metric is the logit difference of the two capitals; SUBJECT is the country's last token."""
    answers = single_tokens(tokenizer, dict.fromkeys(CAPITALS.values()))
    lengths: dict[int, list[str]] = {}
    for country, capital in CAPITALS.items():
        if capital in answers:
            lengths.setdefault(len(tokenizer.encode(f" {country}")), []).append(country)
    paired = [countries for countries in lengths.values() if len(countries) > 1]
    countries = [country for group in paired for country in group]
    group_of = {country: group for group in paired for country in group}

    def make(random: Random, index: int) -> PromptPair:
        template, country = random.choice(TEMPLATES), random.choice(countries)
        other = random.choice([c for c in group_of[country] if CAPITALS[c] != CAPITALS[country]])
        clean, corrupted = (place(tokenizer, template, {"SUBJECT": c}) for c in (country, other))
        return PromptPair(clean, corrupted, (answers[CAPITALS[country]],), (answers[CAPITALS[other]],), template)

    pairs = draw(make, n, seed, "capitals")
    return PromptSet("capitals", pairs, "logit_difference", SOURCE, CORRUPTION, seed, tokenizer.bos_id)
