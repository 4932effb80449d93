"""What the text components are given, and whether its colours can be read."""

import json
import re

import numpy as np
import pytest
from text_values import MODULES, TEXT, palettes, rows, strip_value

from app.components import bundle
from app.components.alternatives import Chosen, alternatives_value
from app.components.edit_chips import EditChip, edit_chips_value
from app.components.next_token import NextToken, next_token_value, scale_for
from app.components.token_strip import StripToken, token_strip_value


def test_equal_content_has_an_equal_id_and_any_change_another():
    assert strip_value(3) == strip_value(3)
    assert len({strip_value(i)["id"] for i in (None, 1, 2, 3)}) == 4
    a, b = next_token_value(rows([0.5]), text=TEXT, label="x"), next_token_value(rows([0.4]), text=TEXT, label="x")
    assert a["id"] != b["id"]


def test_values_are_plain_json_even_from_numpy_numbers():
    token = StripToken(np.int64(2), "a", shade=np.float32(0.25), before=np.float32(0.5))
    value = token_strip_value([token], text=TEXT, label="x")
    assert json.loads(json.dumps(value))["tokens"][0] == {
        "pos": 2, "text": "a", "title": "", "shade": 0.25, "sign": False, "kind": "prompt", "edited": False, "before": 0.5,
    }  # fmt: skip
    json.dumps(next_token_value([NextToken("a", np.int64(3), np.float32(0.5))], text=TEXT, label="x", entropy=np.float64(1.5)))


def test_each_component_names_the_sentence_that_is_missing():
    lacking = {key: value for key, value in TEXT.items() if key != "clear"}
    with pytest.raises(KeyError, match="lacks clear"):
        edit_chips_value([], text=lacking)


@pytest.mark.parametrize("module", MODULES)
def test_scripts_use_exactly_the_sentences_they_declare(module):
    name = module.__name__.rsplit(".", 1)[-1]
    script = (bundle.ASSETS / "js" / f"{name}.js").read_text()
    used = set(re.findall(r"value\.text\.(\w+)", script))
    if "value.text[kind]" in script:
        used |= {"generated", "continued"}
    if "G.exportMenu(" in script:
        used |= {"export", "export_failed"}
    assert used == set(module.TEXT_KEYS)


@pytest.mark.parametrize(
    "build",
    [
        lambda: token_strip_value([StripToken(0, "a", shade=1.2)], text=TEXT, label="x"),
        lambda: token_strip_value([StripToken(0, "a", shade=-0.2)], text=TEXT, label="x"),
        lambda: token_strip_value([StripToken(0, "a", shade=float("nan"))], text=TEXT, label="x"),
        lambda: token_strip_value([StripToken(0, "a", kind="other")], text=TEXT, label="x"),
        lambda: token_strip_value([StripToken(0, "a"), StripToken(0, "b")], text=TEXT, label="x"),
        lambda: strip_value(99),
        lambda: next_token_value(rows([0.1, 0.2]), text=TEXT, label="x"),
        lambda: next_token_value(rows([12.0]), text=TEXT, label="x"),
        lambda: next_token_value(rows([0.5]), text=TEXT, label="x", layout="wide"),
        lambda: next_token_value(rows([0.5]), text=TEXT, label="x", scale=0.4),
        lambda: next_token_value(rows([0.5]), text=TEXT, label="x", entropy=-1.0),
        lambda: alternatives_value(1, Chosen("a", 1.5), rows([0.5]), text=TEXT),
        lambda: alternatives_value(1, Chosen("a", 0.1), rows([0.1, 0.5]), text=TEXT),
    ],
)
def test_impossible_values_are_refused(build):
    with pytest.raises(ValueError):
        build()


def test_signed_shades_reach_minus_one():
    assert token_strip_value([StripToken(0, "a", shade=-1, sign=True)], text=TEXT, label="x")["tokens"][0]["shade"] == -1


def test_bars_keep_to_the_layout_and_the_scale_holds_bar_and_ghost():
    many = rows([0.03 - i / 1000 for i in range(25)], before=[0.2] + [0.001] * 24)
    compact = next_token_value(many, text=TEXT, label="x", layout="compact")
    full = next_token_value(many, text=TEXT, label="x", layout="full")
    assert (len(compact["rows"]), len(full["rows"])) == (5, 20)
    assert full["scale"] == 0.25  # the ghost of 0.2, not the bar of 0.03
    assert [scale_for(p) for p in (0.0, 0.02, 0.021, 0.74, 1.0)] == [0.02, 0.02, 0.05, 0.75, 1.0]


def test_edits_are_numbered_in_the_order_of_the_plan():
    value = edit_chips_value([EditChip("a"), EditChip("b", "why")], text=TEXT)
    assert value["edits"] == [{"index": 0, "label": "a", "title": ""}, {"index": 1, "label": "b", "title": "why"}]


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def _contrast(a, b):
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_has_aa_contrast_and_scales_are_monotone(mode):
    colours = palettes()[mode]
    for ink in ("ink", "muted", "accent", "warn", "error"):
        for ground in ("bg", "panel", "sunken"):
            assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for ink, ground in (("accent-ink", "accent"), ("error", "error-soft"), ("warn", "warn-soft"), ("ink", "accent-soft")):
        assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for part in ("focus", "line-strong", "seq-5", *(f"cat-{i}" for i in range(1, 7))):
        assert _contrast(colours[part], colours["panel"]) >= 3, part
    seq = [_luminance(colours[f"seq-{i}"]) for i in range(9)]
    arms = [[_luminance(colours[name]) for name in ("zero", *(f"{arm}-{i}" for i in range(1, 5)))] for arm in ("neg", "pos")]
    for scale in (seq, *arms):
        steps = np.diff(scale)
        assert (steps < 0).all() if mode == "light" else (steps > 0).all()
    assert colours["seq-0"] == colours["zero"] == colours["panel"]
