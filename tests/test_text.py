"""The words of the page: both languages say the same things, every part has what it prints, and nothing is left over."""

import ast
import importlib
import re
from pathlib import Path
from string import Formatter

import numpy as np
import pytest

from app import text
from app.examples import EMBEDDED, RELEASED
from app.state import TABS
from app.tabs import edit_form
from app.text import EN, KO, words
from interp.edits import EDITABLE, OPERATIONS

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [p for p in sorted((ROOT / "app").rglob("*.py")) if p.parent.name != "text" or p.stem == "__init__"]
COMPONENTS = sorted(p.stem for p in (ROOT / "app" / "components").glob("*.py"))
HANGUL = re.compile(r"[\uac00-\ud7a3]")


def places(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name is not None}


def own_words(sentence: str) -> list[str]:
    """The English words of a sentence, places and names with digits or capitals left out."""
    return re.findall(r"(?<![\w-])[a-z]{3,}(?![\w-])", re.sub(r"\{[^}]*\}", "", sentence))


@pytest.mark.parametrize("part", text.PARTS, ids=lambda part: part.__name__.rpartition(".")[2])
def test_both_languages_have_the_same_keys(part):
    assert part.EN.keys() == part.KO.keys()


def test_parts_do_not_overwrite_each_other():
    assert len(EN) == sum(len(part.EN) for part in text.PARTS)


@pytest.mark.parametrize("key", sorted(EN))
def test_both_languages_have_the_same_places(key):
    assert places(EN[key]) == places(KO[key])


def test_sentences_say_something_in_their_language():
    assert [key for key in EN if not EN[key].strip() or not KO[key].strip()] == []
    assert [key for key, sentence in EN.items() if HANGUL.search(sentence)] == []
    # Names and formulas may be the same; several English words in a Korean sentence without a Korean one were forgotten.
    assert [key for key in KO if len(own_words(KO[key])) > 3 and not HANGUL.search(KO[key])] == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_components_find_all_their_sentences(name):
    """`TEXT_KEYS` of a component are in the section of the component's name."""
    keys = getattr(importlib.import_module(f"app.components.{name}"), "TEXT_KEYS", ())
    for lang in ("en", "ko"):
        section = words(lang).section(name)
        assert [key for key in keys if key not in section] == [], lang


def used_keys() -> tuple[set[str], list[re.Pattern]]:
    """Keys written out in the sources; patterns of those put together (`f"edits.op_{op}"`) and of sections used whole."""
    whole, patterns, parts = set(), [], {key.partition(".")[0] for key in EN}
    for path in SOURCES:
        source = path.read_text(encoding="utf-8")
        patterns += [
            re.compile(rf"{name}\..+") for name in re.findall(r"section\(\"(\w+)\"\)", source) if name not in COMPONENTS
        ]
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                whole.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                pieces = [re.escape(p.value) if isinstance(p, ast.Constant) else ".+" for p in node.values]
                if pieces[0].partition("\\.")[0] in parts:
                    patterns.append(re.compile("".join(pieces)))
    return whole, patterns


def test_no_sentence_is_left_over():
    whole, patterns = used_keys()
    for name in COMPONENTS:
        keys = getattr(importlib.import_module(f"app.components.{name}"), "TEXT_KEYS", ())
        whole |= {f"{name}.{key}" for key in keys}
    assert [key for key in EN if key not in whole and not any(pattern.fullmatch(key) for pattern in patterns)] == []


def test_every_key_that_is_asked_for_exists():
    parts = {key.partition(".")[0] for key in EN}
    asked = re.compile(rf"({'|'.join(sorted(parts))})\.[a-z]\w*")
    missing = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            first = node.args[0] if isinstance(node, ast.Call) and node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and asked.fullmatch(first.value):
                called = ast.unparse(node.func)
                if called.endswith(("label", "words", "t", "I18N", ")")) and first.value not in EN:
                    missing[first.value] = path.name
    assert missing == {}


def test_keys_made_of_data_exist():
    made = [f"edits.op_{op}" for op in edit_form.OPERATIONS] + [f"edits.component_{c}" for c in EDITABLE]
    made += [f"edits.chip_{op}" for op in OPERATIONS] + [f"page.tab_{tab}" for tab in TABS]
    made += [f"examples.{e.name}{end}" for e in EMBEDDED + RELEASED for end in ("", "_look")]
    assert [key for key in made if key not in EN] == []


def test_a_sentence_is_filled_in():
    assert words("en")("page.edits_dropped", count=2, model="gpt2") == "2 edits do not exist in gpt2 and were taken away."
    assert "gpt2" in words("ko")("page.edits_dropped", count=2, model="gpt2")
    with pytest.raises(KeyError):
        words("en")("page.no_such_sentence")
    with pytest.raises(KeyError):
        words("en")("page.edits_dropped", count=2)
    with pytest.raises(KeyError):
        words("tlh")


@pytest.mark.parametrize("number", [-0.16, np.float32(-0.16), np.float64(-0.16)])
def test_a_negative_number_has_a_minus_sign_and_a_word_keeps_its_hyphen(number):
    said = words("en")("attribution.sources_what", token="a-b", other="c", top="-", value=number)
    assert "“a-b”" in said and said.endswith("“-”: −0.16.")


def test_durations_are_rounded_to_what_a_reader_can_use():
    said = [words("en").lasting(x) for x in (0.01, 0.44, 9.949, 9.96, 99.4, 394, 5999, 6042.6)]
    assert said == ["0.1 s", "0.4 s", "9.9 s", "10 s", "99 s", "7 min", "100 min", "1.7 h"]
    assert [words("ko").lasting(x) for x in (2, 600, 7200)] == ["2.0초", "10분", "2.0시간"]
