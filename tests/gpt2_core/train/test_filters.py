"""Each rule with a text that breaks it and no other, made by hand; limits from both sides."""

import pytest

from gpt2_core.train import filters
from gpt2_core.train.filters import RULES, Measured, check_language, language_of, quality

GOOD = """The harbour lay quiet that evening, and the boats that have come home were tied to the wall with old ropes.
A woman walked along the stones to see whether her brother would be among the men who carried their nets up the hill.
She asked the first of them, and he shook his head; the second only pointed out to sea, where nothing moved.
Then, when the lamps were being lit, a sail appeared beyond the rocks, grey and very small against the darker water."""

LINES = GOOD.split("\n")


def broken_by(text: str) -> list[str]:
    return [rule.reason for rule in RULES if not rule.passes(Measured(text))]


def numbered(count: int, form: str) -> str:
    """Lines that differ, so that no rule of repetition is broken."""
    words = "amber birch cedar daisy elder fennel garlic hazel iris juniper kelp laurel maple nettle olive pine quince rose sage thyme".split()
    return "\n".join(form.format(a=words[n % 20], b=words[(7 * n + n // 20) % 20]) for n in range(count))


BAD = {
    "too few words": LINES[0],
    "mean length of words": " ".join(f"{w}{'-and-so-on-and-on'}" for w in GOOD.split()) + " the of and to",
    "words without letters": GOOD + " " + " ".join(str(1000 + 37 * n) for n in range(len(GOOD.split()) // 3)),
    "symbols instead of words": GOOD + " " + "#" * (len(GOOD.split()) // 8),
    "lines with bullets": "\n".join(f"- {line.strip()}" for line in GOOD.replace(",", ",\n").replace(";", ";\n").split("\n")),
    "lines ending in an ellipsis": "\n".join([*LINES[:2], *(f"{line}..." for line in LINES[2:])]),
    "no function words": numbered(40, "{a} {b}"),
    "filler text": GOOD + "\nLorem ipsum",
}


def test_a_good_text_breaks_nothing():
    assert broken_by(GOOD) == [] and quality(GOOD, "en") is None


@pytest.mark.parametrize("reason", BAD)
def test_a_text_breaks_its_rule_and_no_other(reason):
    assert broken_by(BAD[reason]) == [reason]
    assert quality(BAD[reason], "en").reason == reason


def test_repeated_lines():
    text = "\n".join([GOOD, *["and so it was"] * 5])  # nine lines, of which four stood before
    assert filters.repeated_lines(Measured(text)) == 4 / 9
    assert "repeated lines" in broken_by(text) and "repeated lines (characters)" not in broken_by(text)
    short = "\n".join(["He was seen.", "They came too.", "None of it was so."])
    again, lines = max(LINES, key=len), [*LINES, *short.split("\n")]
    long = "\n".join([*lines, again])
    assert filters.repeated_line_characters(Measured(long)) == len(again) / (sum(map(len, lines)) + len(again))
    twice = "\n".join([*lines, *LINES[:2]])
    assert broken_by(twice) == ["repeated lines (characters)"]


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_top_n_gram_against_a_count_of_tuples(n):
    words = (GOOD + " very very good " * 6 + " round and round and round").split()
    counts: dict[tuple[str, ...], int] = {}
    for at in range(len(words) - n + 1):
        counts[tuple(words[at : at + n])] = counts.get(tuple(words[at : at + n]), 0) + 1
    most = max(counts.values())
    longest = max(sum(map(len, gram)) for gram, count in counts.items() if count == most)
    expected = most * longest / sum(map(len, words))
    assert filters.top_ngram(n)(Measured(" ".join(words))) == pytest.approx(expected)


@pytest.mark.parametrize(
    "n, words, reason",
    [
        (2, "ring ring", "repeated 2-gram"),
        (3, "ring the bell", "repeated 3-gram"),
        (4, "ring the great bell", "repeated 4-gram"),
    ],
)
def test_repeated_n_grams_break_their_rule(n, words, reason):
    assert reason in broken_by(GOOD + f" {words}" * 30)
    assert filters.top_ngram(n)(Measured(GOOD.split("\n")[3])) == 0  # nothing comes twice


def test_limits_belong_to_what_is_kept():
    by_reason = {rule.reason: rule for rule in RULES}
    assert by_reason["too few words"].passes(Measured("word " * 50)) and not by_reason["too few words"].passes(
        Measured("word " * 49)
    )
    rule = by_reason["mean length of words"]
    assert [rule.passes(Measured(" ".join(["x" * n] * 9))) for n in (2, 3, 10, 11)] == [False, True, True, False]


def test_rules_of_english_are_not_asked_of_other_languages():
    assert quality(BAD["no function words"], "en").reason == "no function words"
    assert quality(BAD["no function words"], "de") is None


def test_every_rule_names_its_source_and_its_measure():
    for rule in RULES:
        assert rule.measure.__doc__.endswith(".") and "20" in rule.source
        assert rule.least > 0 or rule.most < float("inf")


@pytest.mark.parametrize("code, text", [
    ("en", GOOD),
    ("de", "Der Hafen lag an diesem Abend still, und die Boote waren mit alten Seilen an der Mauer festgemacht."),
    ("fr", "Le port était calme ce soir-là, et les bateaux étaient attachés au mur avec de vieilles cordes."),
    ("ko", "그날 저녁 항구는 조용했고 배들은 낡은 밧줄로 벽에 묶여 있었다."),
])  # fmt: skip
def test_languages(code, text):
    assert language_of(text) == code
    check_language(code)


def test_the_language_of_a_long_text_is_told_from_three_places():
    title = "Titre en français: " * 20
    assert language_of(title + (GOOD + "\n") * 50) == "en"


def test_an_unknown_language_is_refused():
    check_language("any")
    with pytest.raises(ValueError, match="'qq' is not known; expected any, or one of .*en"):
        check_language("qq")
