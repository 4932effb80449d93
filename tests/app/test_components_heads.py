"""Patterns and rows on their way to the browser: nothing is lost but what is said."""

import json
import re

import numpy as np
import pytest
from head_values import MODULES, TEXT, grid, lens, patterns, pixels, tokens, view

from app.components import bundle
from app.components.head_grid import head_grid_value, pool_patterns
from app.components.head_view import read_weights
from app.components.lens_table import sampled_rows
from app.components.packing import grey_png, pack, unpack


def test_the_grid_carries_every_weight_to_half_a_grey_level():
    weights = patterns(3, 4, 12)
    value = grid(weights)
    sheet = pixels(value).reshape(3, 12, 4, 12).transpose(0, 2, 1, 3) / 255 * value["scale"]
    assert value["block"] == 1 and np.abs(sheet - weights).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize(("positions", "block"), [(10, 3), (12, 4), (7, 8), (5, 1)])
def test_pooling_keeps_the_largest_weight_of_each_block(positions, block):
    weights = patterns(1, 2, positions)[0]
    pooled = pool_patterns(weights, block)
    for head in range(2):
        for q in range(pooled.shape[1]):
            for k in range(pooled.shape[2]):
                piece = weights[head, q * block : (q + 1) * block, k * block : (k + 1) * block]
                assert pooled[head, q, k] == piece.max()


def test_a_single_strong_cell_survives_a_long_prompt():
    weights = np.zeros((1, 1, 1000, 1000), np.float32)
    weights[0, 0, 700, 123] = 1
    value = grid(weights, max_pixels=48)
    assert pixels(value).shape[0] <= 48
    assert np.argwhere(pixels(value)).tolist() == [[700 // value["block"], 123 // value["block"]]]


def test_hiding_the_first_token_rescales_to_what_remains_and_leaves_the_input_alone():
    weights = patterns(2, 2, 9)
    kept = weights.copy()
    value = grid(weights, hide_first=True)
    assert (weights == kept).all()
    assert value["scale"] == pytest.approx(weights[..., 1:].max())
    sheet = pixels(value).reshape(2, 9, 2, 9)
    assert sheet.max() == 255 and not sheet[..., 0].any()


def test_colours_may_end_early_for_faint_stripes():
    weights = patterns(2, 2, 9)
    value, large = grid(weights, ends_at=0.1), view(weights[0, 1], ends_at=0.1)
    assert (
        value["scale"] == 0.1 and value["clipped"] and not grid(weights)["clipped"] and not grid(weights, ends_at=2)["clipped"]
    )
    sheet = pixels(value).reshape(2, 9, 2, 9).transpose(0, 2, 1, 3) / 255 * 0.1
    assert np.abs(sheet - weights.clip(max=0.1)).max() <= 0.05 / 255 + 1e-6
    assert large["ends_at"] == 0.1 and (read_weights(large) == weights[0, 1]).all()


def test_reduced_patterns_give_the_same_picture():
    weights = patterns(2, 3, 100)
    for hide in (False, True):
        value = grid(weights, hide_first=hide, max_pixels=24)
        again = head_grid_value(
            pool_patterns(weights.copy(), value["block"], hide_first=hide), tokens=tokens(100), text=TEXT, hide_first=hide,
            pooled_by=value["block"],
        )  # fmt: skip
        assert again == value and again["block"] == 5
    with pytest.raises(ValueError, match="one row per token"):
        head_grid_value(weights, tokens=tokens(100), text=TEXT, pooled_by=5)


def test_chosen_tiles_come_in_the_given_order_and_layers_may_stream():
    weights = patterns(3, 4, 6)
    order = [(2, 3), (0, 1), (1, 0), (2, 2), (0, 0)]
    value = grid(weights, tiles=order, scores={(0, 1): ("prev", 0.9)}, off={(1, 0)}, changed={(2, 2): 0.25})
    assert [(t["layer"], t["head"]) for t in value["tiles"]] == order and not value["matrix"]
    sheet = pixels(value)
    for i, (layer, head) in enumerate(order):
        y, x = divmod(i, value["columns"])
        tile = sheet[y * 6 : y * 6 + 6, x * 6 : x * 6 + 6] / 255
        assert np.abs(tile - weights[layer, head]).max() <= 0.5 / 255 + 1e-6
    assert [t["off"] for t in value["tiles"]] == [False, False, True, False, False]
    streamed = head_grid_value(iter(weights), tokens=tokens(6), text=TEXT)
    assert streamed == grid(weights)


def test_a_selection_changes_the_value_but_not_the_picture():
    a, b = grid(patterns(2, 2, 5)), grid(patterns(2, 2, 5), selected=(1, 0))
    assert a["picture"] == b["picture"] and a["id"] != b["id"]
    assert grid(patterns(2, 2, 5)) == a and grid(patterns(2, 2, 5, seed=1))["picture"] != a["picture"]


@pytest.mark.parametrize("causal", [True, False])
def test_up_to_256_tokens_the_enlarged_head_is_exact(causal):
    pattern = patterns(1, 1, 40)[0, 0] if causal else np.random.default_rng(0).random((40, 40)).astype(np.float32)
    value = view(pattern, pattern / 2, edited_cells=[(3, 1)])
    assert value["causal"] is causal and value["after"]["dtype"] == "float32"
    assert (read_weights(value) == pattern).all() and (read_weights(value, "before") == pattern / 2).all()


def test_numbers_that_are_no_weights_have_their_own_scale():
    lengths = 5 * patterns(1, 2, 300)
    value = head_grid_value(lengths, tokens=tokens(300), text=TEXT, largest=5)
    assert value["scale"] == 5 and grid(lengths / 5)["png"] == value["png"]
    large = view(lengths[0, 1], largest=5)
    assert large["largest"] == 5 and np.abs(read_weights(large) - lengths[0, 1]).max() <= 2.5 / 65535 + 1e-6
    for wrong in (lambda: grid(lengths), lambda: view(lengths[0, 1], largest=3)):
        with pytest.raises(ValueError, match="outside 0"):
            wrong()


def test_beyond_256_tokens_it_is_exact_to_half_a_16_bit_step():
    pattern = patterns(1, 1, 300)[0, 0]
    value = view(pattern)
    assert value["after"]["dtype"] == "uint16"
    assert np.abs(read_weights(value) - pattern).max() <= 0.5 / 65535 + 1e-7


def test_packing_gives_back_what_it_took():
    for array in (np.arange(6, dtype=np.uint32).reshape(2, 3), np.array([0.1, -3], np.float32), np.array([65535], np.uint16)):
        back = unpack(json.loads(json.dumps(pack(array))))
        assert back.dtype == array.dtype and back.shape == array.shape and (back == array).all()
    with pytest.raises(ValueError, match="float64"):
        pack(np.zeros(2))
    with pytest.raises(ValueError, match="uint8 matrix"):
        grey_png(np.zeros(3, np.uint8))


def test_left_out_rows_are_never_the_first_or_the_last():
    for count in (2, 5, 24, 49, 97):
        for most in (2, 3, 12, 48):
            rows = sampled_rows(count, most)
            assert rows[0] == 0 and rows[-1] == count - 1 and len(rows) <= most and rows == sorted(set(rows))
    value, _, p = lens(49, 3, max_rows=7)
    indices = [row["index"] for row in value["rows"]]
    assert (indices[0], indices[-1], len(indices), value["left_out"]) == (0, 48, 7, 42)
    assert (unpack(value["top_p"]) == p[indices]).all()


def test_words_travel_once_and_cells_point_at_them():
    top5 = [[[(f"·t{j}", 0.5), ("·x", 0.25)] if j else [("·y", 1.0)] for j in range(4)] for _ in range(3)]
    value, words, _ = lens(3, 4, top5=top5)
    assert len(value["words"]) == len(set(value["words"]))
    assert [[value["words"][n] for n in row] for row in unpack(value["top"])] == words
    assert value["words"][unpack(value["top5"]["words"])[1, 2, 1]] == "·x"
    assert unpack(value["top5"]["p"])[0, 0].tolist() == [1, -1]  # a missing place is -1


@pytest.mark.parametrize(
    "build",
    [
        lambda: grid(patterns(1, 1, 4), tiles=[(0, 1)]),
        lambda: grid(patterns(1, 1, 4), selected=(1, 0)),
        lambda: grid(patterns(1, 1, 4) * 2),
        lambda: grid(-patterns(1, 1, 4)),
        lambda: grid(patterns(1, 1, 4) * np.nan),
        lambda: grid(patterns(1, 1, 4), max_pixels=0),
        lambda: head_grid_value(patterns(1, 1, 4), tokens=["a"], text=TEXT),
        lambda: head_grid_value([], tokens=["a"], text=TEXT),
        lambda: view(patterns(1, 1, 4)[0, 0], patterns(1, 1, 3)[0, 0]),
        lambda: view(patterns(1, 1, 4)[0, 0], show="difference"),
        lambda: view(patterns(1, 1, 4)[0, 0], mode="cube"),
        lambda: view(patterns(1, 1, 4)[0, 0], position=4),
        lambda: view(patterns(1, 1, 4)[0, 0], edited_cells=[(0, -1)]),
        lambda: lens(2, 3, colors={"entropy": np.zeros((3, 2))}),
        lambda: lens(2, 3, color="rank"),
        lambda: lens(2, 3, colors={"taste": np.zeros((2, 3))}),
        lambda: lens(2, 3, before_text=[["a"] * 3]),
        lambda: lens(0, 3),
        lambda: sampled_rows(5, 1),
    ],
)
def test_impossible_values_are_refused(build):
    with pytest.raises(ValueError):
        build()


@pytest.mark.parametrize("module", MODULES)
def test_scripts_use_exactly_the_sentences_they_declare(module):
    name = module.__name__.rsplit(".", 1)[-1]
    script = "".join(path.read_text() for path in sorted((bundle.ASSETS / "js").glob(f"{name}*.js")))
    used = set(re.findall(r"(?:\bt|\.text)\.(\w+)", script)) & set(TEXT)
    unknown = set(re.findall(r"value\.text\.(\w+)", script)) - set(module.TEXT_KEYS)
    indexed = {
        key for key in module.TEXT_KEYS if f'"{key}"' in script or f"unit_{key}" in module.TEXT_KEYS or key.startswith("unit_")
    }
    assert not unknown and set(module.TEXT_KEYS) <= used | indexed | {"export", "export_failed"}
