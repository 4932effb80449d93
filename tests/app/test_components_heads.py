"""Head grid, enlarged head and lens table: the numbers that travel, and the pictures in a real browser."""

import base64
import io
import json
import re
import time

import gradio as gr
import numpy as np
import pytest
from browsers import served
from PIL import Image

from app.components import bundle, head_grid, head_view, lens_table
from app.components.head_grid import head_grid_value, pool_patterns
from app.components.head_view import head_view_value, read_weights
from app.components.lens_table import lens_table_value, sampled_rows
from app.components.packing import grey_png, pack, unpack

MODULES = (head_grid, head_view, lens_table)
TEXT = {key: f"<{key}>" for module in MODULES for key in module.TEXT_KEYS} | {
    "hover": "from {query} to {key}: {value}",
    "hover_pooled": "{value} of {count}, queries {query_from}-{query_to}, keys {key_from}-{key_to}",
    "hover_difference": "{value} ({before} to {after})",
    "tile_label": "layer {layer} head {head}",
    "changed": "changed {value}",
    "hover_before": "was {before}",
    "threshold": "{count} of {total} from {value}",
    "position": "position {position}",
    "cell": "{layer} {position} {top} {p}",
}
MARKUP = "<img src=x onerror=window.hacked=1>"


def patterns(layers, heads, positions, seed=0):
    """Causal softmax of noise, [layer head query key]."""
    scores = np.random.default_rng(seed).normal(size=(layers, heads, positions, positions)).astype(np.float32) * 2
    scores[..., ~np.tril(np.ones((positions, positions), bool))] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def tokens(count):
    return [MARKUP, *(f"·w{i}" for i in range(1, count))]


def grid(weights, **kw):
    return head_grid_value(weights, tokens=tokens(weights[0].shape[-1]), text=TEXT, **kw)


def view(pattern, before=None, **kw):
    return head_view_value(pattern, before, tokens=tokens(len(pattern)), layer=2, head=1, text=TEXT, **kw)


def lens(rows, positions, **kw):
    p = np.random.default_rng(1).random((rows, positions)).astype(np.float32)
    words = [[f"·t{(3 * i + j) % 7}" for j in range(positions)] for i in range(rows)]
    return lens_table_value([f"L{i}" for i in range(rows)], tokens(positions), words, p, text=TEXT, **kw), words, p


def pixels(value):
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(value["png"]))))
    assert image.dtype == np.uint8 and image.ndim == 2
    return image


# ---- numbers ------------------------------------------------------------------------------------------------------------


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


# ---- the browser --------------------------------------------------------------------------------------------------------

WEIGHTS = patterns(4, 4, 12)
AFTER, BEFORE = patterns(1, 2, 20, seed=5)[0]


def _report(event: gr.EventData):
    return json.dumps(event._data, sort_keys=True)


def _lens_value():
    value, words, _ = lens(6, 1024, top5=[[[("·a", 0.5), ("·b", 0.125)]] * 1024] * 6, before_text=[["·t0"] * 1024] * 6)
    return value


def _page_under_test():
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    values = {"grid": grid(WEIGHTS, selected=(0, 0), off={(2, 1)}), "view": view(AFTER, BEFORE, position=7)}
    with gr.Blocks() as demo:
        long, empty = gr.Button("long", elem_id="long"), gr.Button("empty", elem_id="empty")
        log = gr.Textbox(elem_id="log")
        parts = (
            head_grid.head_grid("grid", value=values["grid"]),
            head_view.head_view("view", value=values["view"]),
            lens_table.lens_table("lens", value=_lens_value()),
        )
        for part, event in zip(parts, ("headselect", "cellselect", "cellselect")):
            getattr(part, event)(_report, None, log, trigger_mode="always_last", **quiet)
        long.click(lambda: (grid(patterns(2, 3, 1024)), view(patterns(1, 1, 1024)[0, 0])), None, list(parts[:2]), **quiet)
        empty.click(lambda: (None, None, None), None, list(parts), **quiet)
    return demo


@pytest.fixture(scope="module")
def site():
    with served(_page_under_test()) as url:
        yield url


@pytest.fixture
def page(chromium, site):
    sheet = chromium.new_page(viewport={"width": 1280, "height": 1000})
    sheet.set_default_timeout(60_000)
    problems = []
    sheet.on("pageerror", lambda error: problems.append(str(error)))
    sheet.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    sheet.goto(f"{site}?__theme=light")
    for part in ("grid", "view", "lens"):
        sheet.wait_for_selector(f"#{part} [data-painted]", state="attached")
    yield sheet
    hacked = sheet.evaluate("window.hacked")
    sheet.close()
    assert problems == [] and hacked is None


def logged(page, **expected):
    want = json.dumps(expected, sort_keys=True)
    page.wait_for_function(
        "want => document.querySelector('#log textarea, #log input').value === want", arg=want, timeout=60_000
    )


def painted(page, part):
    return page.evaluate(f"document.querySelector('#{part} [data-painted]').dataset.painted")


def tip(page, locator, **position):
    locator.scroll_into_view_if_needed()
    page.wait_for_timeout(100)  # a scroll hides the tip
    locator.hover(position=position or None)
    return page.locator("#gb-tip").inner_text()


@pytest.mark.browser
def test_hover_reads_the_weight_of_the_cell_under_the_pointer(page):
    canvas = page.locator("#grid [data-head='L1H2'] canvas")
    size = canvas.bounding_box()["width"]
    for query, key in ((5, 3), (11, 0), (0, 0)):
        words = tip(page, canvas, x=(key + 0.5) / 12 * size, y=(query + 0.5) / 12 * size)
        level = round(float(WEIGHTS[1, 2, query, key]) * 255) / 255
        assert words == f"from {tokens(12)[query]} to {tokens(12)[key]}: {level:.2f}"


@pytest.mark.browser
def test_heads_are_chosen_by_mouse_and_keys(page):
    page.locator("#grid [data-head='L1H1']").click()
    logged(page, layer=1, head=1)
    for key, layer, head in (("ArrowDown", 2, 1), ("ArrowRight", 2, 2), ("ArrowUp", 1, 2), ("ArrowLeft", 1, 1)):
        page.keyboard.press(key)
        logged(page, layer=layer, head=head)
        assert page.locator("#grid [aria-selected='true']").get_attribute("data-head") == f"L{layer}H{head}"
    page.locator("#grid [data-head='L3H0']").focus()
    page.keyboard.press("Enter")
    logged(page, layer=3, head=0)
    assert page.locator("#grid [tabindex='0']").count() == 1
    assert "<off>" in page.locator("#grid [data-head='L2H1']").get_attribute("aria-label")


@pytest.mark.browser
def test_long_prompts_are_painted_and_the_hover_says_that_it_is_a_block(page):
    before = painted(page, "grid"), painted(page, "view")
    page.locator("#long").click()
    page.wait_for_function(
        "was => ['grid', 'view'].every((id, i) => document.querySelector(`#${id} [data-painted]`).dataset.painted !== was[i])",
        arg=before, timeout=60_000,
    )  # fmt: skip
    weights = patterns(2, 3, 1024)[1, 2]
    canvas = page.locator("#grid [data-head='L1H2'] canvas")
    size = canvas.bounding_box()["width"]
    words = tip(page, canvas, x=size * 0.2, y=size * 0.9)
    value, count, q0, q1, k0, k1 = re.match(r"([\d.]+) of (\d+), queries (\d+)-(\d+), keys (\d+)-(\d+)", words).groups()
    piece = weights[int(q0) : int(q1) + 1, int(k0) : int(k1) + 1]
    assert piece.size == int(count) == 22 * 22 and float(value) == pytest.approx(piece.max(), abs=0.5 / 255 + 0.005)
    page.locator("#view [data-choice='lines']").click()
    shown, total = re.search(r"([\d,]+) of ([\d,]+) from", page.locator("#view .hv-notes").inner_text()).groups()
    assert total == f"{1024 * 1025 // 2:,}" and 0 < int(shown.replace(",", "")) <= 3000


@pytest.mark.browser
def test_a_null_value_keeps_the_last_picture(page):
    was = painted(page, "grid"), painted(page, "view"), painted(page, "lens")
    page.locator("#empty").click()
    time.sleep(0.6)
    assert was == (painted(page, "grid"), painted(page, "view"), painted(page, "lens"))
    assert page.locator("#grid .hg-tile").count() == 16 and page.locator("#lens .lt-cell").count() > 0


@pytest.mark.browser
def test_the_enlarged_head_reads_exact_weights_and_switches_without_the_server(page):
    canvas = page.locator("#view canvas")
    words = tip(page, canvas, x=300, y=330)
    query, key = (tokens(20).index(t) for t in re.match(r"from (.+) to (.+): ", words).groups())
    assert words.endswith(f": {AFTER[query, key]:.4f}")
    calls = []
    page.on("request", lambda request: calls.append(request.url) if request.method == "POST" else None)
    page.locator("#view [data-choice='difference']").click()
    change = float(AFTER[query, key] - BEFORE[query, key])
    shown = f"{'+' if change >= 0 else '−'}{abs(change):.4f} ({BEFORE[query, key]:.4f} to {AFTER[query, key]:.4f})"
    assert tip(page, canvas, x=300, y=330) == shown
    assert calls == []
    canvas.click(position={"x": 300, "y": 330})
    logged(page, query=query, key=key)


@pytest.mark.browser
def test_cells_and_queries_are_chosen_by_keys(page):
    best = int(AFTER[7].argmax())
    page.locator("#view canvas").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    logged(page, query=8, key=max(0, best - 1))
    page.locator("#view [data-choice='lines']").click()
    page.locator("#view canvas").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    logged(page, query=7, key=None)


@pytest.mark.browser
def test_pictures_are_handed_to_the_panel(page):
    picture = "id => [...document.querySelectorAll(`#${id} *`)].find((node) => node.gbPicture).gbPicture()"
    large = page.evaluate(picture, "view")
    assert large.count("<rect") > 100 and "·w7" in large and "<image" not in large
    assert page.evaluate(picture, "grid").count("<image") == 16


@pytest.mark.browser
def test_the_lens_holds_few_nodes_and_moves_by_keys(page):
    assert page.locator("#lens .lt-cell").count() < 6 * 40
    page.locator("#lens [data-row='2'][data-pos='3']").click()
    logged(page, row=2, pos=3)
    page.keyboard.press("ArrowDown")
    logged(page, row=3, pos=3)
    page.keyboard.press("End")
    logged(page, row=3, pos=1023)
    assert page.evaluate("document.activeElement.dataset.pos") == "1023"
    assert page.locator("#lens .lt-cell").count() < 6 * 40
    page.mouse.move(5, 5)
    words = tip(page, page.locator("#lens [data-row='5'][data-pos='1022']"))
    assert "position 1022" in words and "0.5000 ·a\n0.1250 ·b" in words and "was ·t0" in words


@pytest.mark.browser
def test_dark_mode_repaints_and_the_phone_page_is_no_wider_than_the_phone(page):
    corner = (
        "() => [...document.querySelector('#grid [data-head=L0H0] canvas').getContext('2d').getImageData(70, 2, 1, 1).data]"
    )
    light = page.evaluate(corner)
    page.evaluate("document.body.classList.add('dark')")
    page.wait_for_function(f"light => String(({corner})()) !== String(light)", arg=light)
    assert light[:3] == [255, 255, 255] and max(page.evaluate(corner)[:3]) < 60
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#grid .hg-tile").first.bounding_box()["width"] >= 40
