"""The pictures of heads and layers in a browser."""

import json
import re
import time

import gradio as gr
import pytest
from browsers import served, tip, watched
from head_values import grid, lens, patterns, tokens, view

from app.components import head_grid, head_view, lens_table

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
    with watched(chromium, f"{site}?__theme=light", 1000) as sheet:
        for part in ("grid", "view", "lens"):
            sheet.wait_for_selector(f"#{part} [data-painted]", state="attached")
        yield sheet
        assert sheet.evaluate("window.hacked") is None


def logged(page, **expected):
    want = json.dumps(expected, sort_keys=True)
    page.wait_for_function(
        "want => document.querySelector('#log textarea, #log input').value === want", arg=want, timeout=60_000
    )


def painted(page, part):
    return page.evaluate(f"document.querySelector('#{part} [data-painted]').dataset.painted")


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
    page.wait_for_function("document.documentElement.scrollWidth <= 390")
    page.wait_for_function("document.querySelector('#grid .hg-tile').getBoundingClientRect().width >= 40")
