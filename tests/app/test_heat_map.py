"""The heat map: the numbers that travel, and the picture in a real browser."""

import json
import re

import gradio as gr
import numpy as np
import pytest
from browsers import served

from app.components import bundle
from app.components.heat_map import TEXT_KEYS, heat_map, heat_map_value
from app.components.packing import unpack
from app.text import words

TEXT = words("en").section("heat_map")
MARKUP = "<img src=x onerror=window.hacked=1>"
NUMBERS = np.linspace(-1, 1.5, 3 * 5).reshape(3, 5).astype(np.float32)


def value(numbers=NUMBERS, **kw):
    rows, columns = np.shape(numbers)
    names = {"rows": [f"L{i}" for i in range(rows)], "columns": [f"t{j}" for j in range(columns)]}
    return heat_map_value(numbers, **(names | {"text": TEXT, "unit": "logits"} | kw))


def test_the_numbers_travel_exactly_and_missing_ones_are_nan():
    numbers = NUMBERS.copy()
    numbers[1, 2] = np.nan
    sent = unpack(value(numbers)["values"])
    assert np.array_equal(sent, numbers, equal_nan=True)
    json.dumps(value(numbers), allow_nan=False)


def test_the_scale_ends_at_the_largest_distance_from_its_centre_unless_told():
    assert value()["bound"] == pytest.approx(1.5)
    assert value(center=1.0)["bound"] == pytest.approx(2.0)
    assert value(bound=3)["bound"] == 3.0
    assert value(np.full((2, 2), np.nan))["bound"] == 1.0  # nothing is computed yet


def test_equal_content_has_an_equal_id_and_a_selection_another():
    assert value()["id"] == value()["id"] != value(selected=(1, 1))["id"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": ["a"]},
        {"columns": []},
        {"selected": (3, 0)},
        {"marked": [(0, -1)]},
        {"bound": 0},
        {"bound": float("nan")},
        {"numbers": np.full((2, 2), np.inf)},
        {"numbers": np.zeros((0, 0))},
    ],
)
def test_impossible_values_are_refused(wrong):
    with pytest.raises(ValueError):
        value(**wrong)


def test_the_script_uses_exactly_the_sentences_it_declares():
    script = (bundle.ASSETS / "js" / "heat_map.js").read_text()
    assert set(re.findall(r"(?:\bt|\.text)\.(\w+)", script)) & set(TEXT) == set(TEXT_KEYS) == set(TEXT)


@pytest.mark.browser
def test_a_map_is_read_clicked_walked_and_scrolled(chromium):
    """Hover, click, arrow keys, a map larger than its box, and its picture."""
    small = value(selected=(0, 0), marked=[(2, 4)], columns=[MARKUP, "b", "c", "d", "e"], ticks=[(0.0, "none")], bound=1.5)
    large = value(np.arange(48.0 * 1024).reshape(48, 1024), diverging=False, caption="all cells")
    with gr.Blocks() as demo:
        button, log = gr.Button("large", elem_id="large"), gr.Textbox(elem_id="log")
        part = heat_map("map", value=small)
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        part.cellselect(_report, None, log, trigger_mode="multiple", **quiet)
        button.click(lambda: large, None, part, **quiet)
    with served(demo) as url:
        page = chromium.new_page(viewport={"width": 1000, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(f"{url}?__theme=light")
        page.wait_for_selector(f"#map [data-painted='{small['id']}']", state="attached")
        page.mouse.move(**_cell(page, 1, 3))
        page.wait_for_function("() => document.getElementById('gb-tip')?.textContent.includes('L1 · d: 0.43 logits')")
        page.mouse.click(**_cell(page, 1, 3))
        _logged(page, 1, 3)
        for key, row, column in (("ArrowDown", 2, 3), ("End", 2, 4)):
            page.keyboard.press(key)
            _logged(page, row, column)
        assert TEXT["marked"] in page.locator("#gb-tip").inner_text()
        picture = page.evaluate("document.querySelector('#map [data-painted]').gbPicture()")
        assert picture.count("<rect") >= 15 and "1.50" in picture and "<img" not in picture
        page.locator("#large").click()
        page.wait_for_selector(f"#map [data-painted='{large['id']}']", state="attached")
        page.mouse.click(**_cell(page, 47, 1023))
        _logged(page, 47, 1023)
        assert not page.evaluate("window.hacked")
        page.close()


def _report(event: gr.EventData):
    return json.dumps([event._data["row"], event._data["col"]])


def _logged(page, *cell):
    wanted = json.dumps(list(cell))
    page.wait_for_function("want => document.querySelector('#log textarea, #log input').value === want", arg=wanted)


def _cell(page, row, column):
    return page.evaluate("([r, c]) => document.querySelector('#map [data-painted]').gbCell(r, c)", [row, column])
