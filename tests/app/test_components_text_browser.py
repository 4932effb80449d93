"""The text components in a browser."""

import json
import math
import re
import time

import gradio as gr
import numpy as np
import pytest
from browsers import served, tip, watched
from text_values import MARKUP, TEXT, WORDS, palettes, rows, shaded_value, strip_value

from app.components import alternatives as alts
from app.components import edit_chips, next_token, token_strip
from app.components.alternatives import Chosen, alternatives_value
from app.components.edit_chips import EditChip, edit_chips_value
from app.components.next_token import next_token_value
from app.components.token_strip import StripToken, token_strip_value

PICTURE = "[...document.querySelectorAll('#prose *')].find((node) => node.gbPicture).gbPicture()"


def _page_under_test():
    quiet = {"show_progress": "hidden", "api_visibility": "private"}

    def report(event: gr.EventData):
        time.sleep(0.15)  # slower than a held arrow key
        return json.dumps(event._data, sort_keys=True)

    def stream():
        for n in range(1, 41):
            tokens = [StripToken(i, f"·w{i}", kind="generated") for i in range(n)]
            yield token_strip_value(tokens, text=TEXT, label="generated", inline=True)

    long = token_strip_value(
        [StripToken(i, f"·w{i}", shade=i / 1024) for i in range(1024)], text=TEXT, label="long", selected=1000
    )
    bars = next_token_value(
        rows([0.6, 0.3, 0.05], [0.12, 0.3, 0.5]), text=TEXT, label="next", layout="full", edited=True, entropy=1.5
    )
    with gr.Blocks() as demo:
        log = gr.Textbox(elem_id="log")
        strip = token_strip.token_strip("strip", strip_value(1))
        chips = edit_chips.edit_chips("chips", edit_chips_value([EditChip("L2H1"), EditChip("L0H3")], text=TEXT))
        more, nothing, fewer, first = (gr.Button(name, elem_id=name) for name in ("more", "nothing", "fewer", "first"))
        with gr.Tabs():
            with gr.Tab("one"):
                prose = token_strip.token_strip("prose", shaded_value())
            with gr.Tab("two"):
                bars_ = next_token.next_token("bars", bars)
                other = alts.alternatives("alts", alternatives_value(7, Chosen("·w1", 0.3), rows([0.6, 0.3]), text=TEXT))
                far = token_strip.token_strip("long", long)
        strip.tokenselect(report, None, log, trigger_mode="multiple", **quiet)
        bars_.tokenpick(report, None, log, **quiet)
        other.continuefrom(report, None, log, **quiet)
        chips.editremove(report, None, log, **quiet)
        chips.editclear(lambda: "cleared", None, log, **quiet)
        more.click(stream, None, prose, **quiet)
        nothing.click(lambda: (None, None), None, [strip, bars_], **quiet)
        first.click(lambda: {**long, "selected": 3, "id": "first"}, None, far, **quiet)
        fewer.click(lambda: edit_chips_value([], text=TEXT), None, chips, **quiet)
    return demo


@pytest.fixture(scope="module")
def site():
    with served(_page_under_test()) as url:
        yield url


@pytest.fixture
def page(chromium, site):
    with watched(chromium, f"{site}?__theme=light", 900) as view:
        view.wait_for_selector("#prose [data-painted]")
        yield view


def logged(page, expected):
    page.wait_for_function(
        "want => document.querySelector('#log textarea, #log input').value === want", arg=expected, timeout=60_000
    )


@pytest.mark.browser
def test_tokens_are_chosen_by_mouse_and_keys_and_markup_stays_text(page):
    assert page.locator("#strip [data-pos='5']").inner_text() == MARKUP
    assert page.evaluate("window.hacked") is None
    page.locator("#strip [data-pos='3']").click()
    logged(page, '{"pos": 3}')
    for key, expected in (("ArrowRight", 4), ("ArrowLeft", 3), ("End", 7), ("Home", 0)):
        page.keyboard.press(key)
        logged(page, json.dumps({"pos": expected}))
        assert page.evaluate("document.activeElement.dataset.pos") == str(expected)
    page.locator("#strip [data-pos='2']").focus()
    page.keyboard.press("Enter")
    logged(page, '{"pos": 2}')
    assert page.locator("#strip [aria-selected='true']").get_attribute("data-pos") == "2"
    assert page.locator("#strip [tabindex='0']").count() == 1


@pytest.mark.browser
def test_after_quick_keys_the_server_knows_the_last_choice(page):
    page.locator("#strip [data-pos='1']").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.locator("#strip [aria-selected='true']").get_attribute("data-pos") == "6"
    logged(page, '{"pos": 6}')


@pytest.mark.browser
def test_a_saved_picture_still_says_what_the_model_wrote(page):
    page.locator("#more").click()
    page.wait_for_function("document.querySelectorAll('#prose .gb-tok').length === 40", timeout=60_000)
    svg = page.evaluate(PICTURE)
    assert "&#60;generated&#62;" in svg and svg.count("<line ") == 41  # forty tokens and the key


@pytest.mark.browser
def test_an_unopened_tab_draws_when_it_is_opened_and_bars_show_before_and_after(page):
    assert page.locator("#bars [data-painted]").count() == 0
    page.get_by_role("tab", name="two").click()
    page.wait_for_selector("#long [data-painted]")
    first = page.locator("#bars .gb-next-row").first
    assert first.locator(".gb-next-was").inner_text() == "was 12%"
    now, ghost, axis = (first.locator(s).bounding_box()["width"] for s in (".gb-bar-now", ".gb-bar-ghost", ".gb-bar"))
    assert now / axis == pytest.approx(0.6 / 0.75, abs=0.01)  # the axis of 0.6 ends at 0.75
    assert ghost / axis == pytest.approx(0.12 / 0.75, abs=0.01)
    assert tip(page, first).startswith(f"logprob \u2212{-np.log(0.6):.3f}, id 10")
    first.click()
    logged(page, '{"id": 10, "text": "\\u00b7w0"}')
    page.locator("#alts .gb-alt-row").first.press("ArrowDown")
    page.keyboard.press("Enter")
    logged(page, '{"id": 11, "pos": 7}')


@pytest.mark.browser
def test_a_thousand_tokens_scroll_in_their_own_box_and_not_the_page(page):
    page.get_by_role("tab", name="two").click()
    page.wait_for_selector("#long [data-painted]")
    box = page.locator("#long .gb-strip")
    assert box.bounding_box()["height"] < 260
    chosen = page.locator("#long [aria-selected='true']").bounding_box()
    assert box.bounding_box()["y"] <= chosen["y"] <= box.bounding_box()["y"] + box.bounding_box()["height"]
    assert page.evaluate("window.scrollY") == 0


@pytest.mark.browser
def test_a_token_chosen_while_its_tab_is_hidden_is_in_view_when_the_tab_comes_back(page):
    page.get_by_role("tab", name="two").click()
    page.wait_for_selector("#long [data-painted]")
    assert page.evaluate("document.querySelector('#long .gb-strip').scrollTop") > 0
    page.get_by_role("tab", name="one").click()
    page.locator("#first").click()
    page.wait_for_selector("#long [data-painted='first']", state="attached")
    page.get_by_role("tab", name="two").click()
    page.wait_for_function("document.querySelector('#long .gb-strip').scrollTop < 20")


@pytest.mark.browser
def test_a_stream_ends_with_its_last_value_and_null_keeps_the_picture(page):
    page.locator("#more").click()
    page.wait_for_function("document.querySelectorAll('#prose .gb-tok').length === 40", timeout=60_000)
    before = page.locator("#strip [data-painted]").get_attribute("data-painted")
    page.locator("#nothing").click()
    time.sleep(0.6)
    assert page.locator("#strip [data-painted]").get_attribute("data-painted") == before
    assert page.locator("#strip .gb-tok").count() == len(WORDS)


@pytest.mark.browser
def test_edits_are_removed_one_by_one_cleared_and_empty_says_so(page):
    page.get_by_role("button", name="remove L0H3").click()
    logged(page, '{"index": 1}')
    page.get_by_role("button", name="<clear>").click()
    logged(page, "cleared")
    page.locator("#fewer").click()
    page.wait_for_selector("#chips :text('<empty>')")


@pytest.mark.browser
def test_dark_mode_repaints_with_the_other_scale(page):
    last = page.locator("#prose .gb-tok").nth(1)
    light = last.evaluate("e => getComputedStyle(e).backgroundColor")
    page.evaluate("document.body.classList.add('dark')")
    page.wait_for_function("([e, was]) => getComputedStyle(e).backgroundColor !== was", arg=[last.element_handle(), light])
    assert page.evaluate("Glassbox.seq(0)") == palettes()["dark"]["seq-0"]
    assert page.evaluate("Glassbox.div(1)") == palettes()["dark"]["pos-4"]


@pytest.mark.browser
def test_a_picture_is_whole_and_several_stand_below_each_other(page):
    import xml.etree.ElementTree as ET

    def texts(svg):
        return [node.text for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]

    one = page.evaluate(PICTURE)
    assert texts(one)[: len(WORDS)] == WORDS and "var(--" not in one
    assert page.evaluate(f"Glassbox.svgStack([{PICTURE}])") == one
    two = page.evaluate(f"Glassbox.svgStack([{PICTURE}, {PICTURE}])")
    assert texts(two) == 2 * ["shaded", *texts(one)]
    made = f"Glassbox.svgToPng({json.dumps(two)}).then(createImageBitmap).then((image) => [image.width, image.height])"
    png = page.evaluate(made)
    size = [float(re.search(rf'<svg[^>]*? {side}="([\d.]+)"', one)[1]) for side in ("width", "height")]
    assert png == [2 * math.ceil(size[0]), pytest.approx(4 * (size[1] + 28), abs=2)] and size[0] > 300


@pytest.mark.browser
def test_address_takes_exactly_the_given_parameters(page):
    page.evaluate("Glassbox.syncUrl('prompt=a+%26+b&s.neurons.plus=')")  # an emptied box is a choice too
    assert page.evaluate("location.search") == "?prompt=a+%26+b&s.neurons.plus="


@pytest.mark.browser
def test_phone_width_never_scrolls_sideways_and_targets_are_large(chromium, site):
    view = chromium.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    view.set_default_timeout(60_000)
    view.goto(f"{site}?__theme=dark")
    view.wait_for_selector("#prose [data-painted]")
    view.get_by_role("tab", name="two").click()
    view.wait_for_selector("#long [data-painted]")
    assert view.evaluate("document.documentElement.scrollWidth") <= 390
    for selector in ("#strip .gb-tok", "#bars .gb-next-row", "#alts .gb-alt-row", "#chips .gb-edit-x"):
        assert view.locator(selector).first.bounding_box()["height"] >= 40, selector
    view.close()
