"""The Playground in Chromium: texts that stream, are stopped, continued, put away, copied and saved."""

import json
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest

from app.service.generation import PREVIEW_TOKENS
from gpt2_core import load

pytestmark = pytest.mark.browser
PROMPT = "When the old clock struck twelve, the old"
TEXT, BESIDE = "#gb_playground_text_00", "#gb_playground_text_10"
STOP = "#gb_playground_stop"


def opened(page, url, **query):
    page.goto(f"{url}/?{urlencode({'prompt': PROMPT, **query})}")
    page.wait_for_selector(f"{TEXT} .gb-generated")  # never an empty form


def set_number(page, name, value):
    """Types a number, as a person does, and sees it taken over by the slider."""
    box = page.locator(f"#gb_playground_{name} input[type=number]")
    taken = f"document.querySelector('#gb_playground_{name} input[type=range]').value === '{value}'"
    for _ in range(4):  # a slider that is still unfolding puts its old number back
        box.fill("")
        box.press_sequentially(str(value))
        box.press("Tab")
        page.wait_for_timeout(500)
        if page.evaluate(taken):
            break
    until(page, taken)


def count(page, kind="generated", strip=TEXT):
    return page.locator(f"{strip} .gb-tok.gb-{kind}").count()


def until(page, expression, timeout=60_000):
    page.wait_for_function(expression, timeout=timeout)


def generated(page, n, strip=TEXT):
    until(page, f"document.querySelectorAll('{strip} .gb-tok.gb-generated').length === {n}")


def writing(page):
    """A text is being written, and some of it has been shown."""
    until(page, f"(n => n > 0 && n !== {PREVIEW_TOKENS})(document.querySelectorAll('{TEXT} .gb-generated').length)")


def ended(page):
    until(page, f"document.querySelector('{STOP}').disabled")


def begins(page):
    """A text begins to be written, as the Stop button tells: in place of one that may be as long."""
    page.evaluate(f"""() => {{
        const stop = document.querySelector('{STOP}');
        window.begun = false;
        new MutationObserver(() => {{ window.begun ||= !stop.disabled; }}).observe(stop, {{ attributes: true }});
    }}""")
    page.click("#gb_playground_generate")
    until(page, "window.begun")


def test_a_text_streams_is_stopped_is_continued_and_becomes_the_prompt(page_url, browser_page):
    page = browser_page
    opened(page, page_url)
    assert count(page) == PREVIEW_TOKENS and page.locator(f"{STOP}[disabled]").count()
    page.wait_for_selector("#gb_playground_alternatives .gb-alt-row")

    set_number(page, "tokens", 500)
    page.click("#gb_playground_generate")
    writing(page)
    page.click(STOP)
    ended(page)
    page.wait_for_selector("#gb_playground_about_00:has-text('stopped by you')")
    stopped = count(page)
    assert 0 < stopped < 500
    page.wait_for_timeout(500)
    assert count(page) == stopped
    assert "Error" not in page.inner_text(TEXT)

    set_number(page, "tokens", 15)
    page.click("#gb_playground_generate")
    generated(page, 15)
    ended(page)

    pos = count(page, "prompt") + 1 + 5  # the sixth generated token
    page.click(f"{TEXT} .gb-tok[data-pos='{pos}']")
    until(page, f"document.querySelector('#gb_playground_alternatives .gb-alt-title').textContent.includes('position {pos},')")
    before = page.locator(f"{TEXT} .gb-tok").all_inner_texts()
    row = page.locator("#gb_playground_alternatives .gb-alt-row:not(.gb-chosen)").first
    chosen = row.locator(".gb-token").inner_text()
    row.click()
    page.wait_for_selector(f"{TEXT} .gb-continued[data-pos='{pos}']")
    generated(page, 5 + 15)
    ended(page)
    after = page.locator(f"{TEXT} .gb-tok").all_inner_texts()
    assert after[:pos] == before[:pos] and after[pos] == chosen != before[pos] and count(page, "continued") == 1

    page.click("#gb_playground_about_00 [data-name=use]")
    until(page, f"document.querySelector('#gb_prompt textarea').value.length > {len(PROMPT)}")
    prompt = page.input_value("#gb_prompt textarea")
    assert prompt.startswith(PROMPT)
    # What was sampled need not be what the tokenizer makes of the text: " cl" + "ock" comes back as " clock".
    tokens = 1 + len(load("glass-7m").tokenizer.encode(prompt))
    until(page, f"document.querySelectorAll('#gb_tokens .gb-tok').length === {tokens}")
    assert "prompt=" in page.url


def test_edits_put_the_unedited_text_beside_and_several_texts_below_each_other(page_url, browser_page):
    page = browser_page
    plan = json.dumps([{"op": "zero", "component": "z", "layer": 2, "head": 1}])
    opened(page, page_url, plan=plan)
    page.wait_for_selector(f"{BESIDE} .gb-generated")
    edited, beside = page.locator(TEXT).bounding_box(), page.locator(BESIDE).bounding_box()
    assert edited["x"] + edited["width"] <= beside["x"] and abs(edited["y"] - beside["y"]) < 60
    assert "With the edits" in page.inner_text("#gb_playground_about_00")
    assert "Without the edits" in page.inner_text("#gb_playground_about_10")

    page.click("#gb_playground_more button")
    set_number(page, "samples", 2)
    set_number(page, "tokens", 8)
    page.locator("#gb_playground_seed :is(input, textarea)").press_sequentially("3")
    page.click("#gb_playground_generate")
    for strip in (TEXT, BESIDE, "#gb_playground_text_01", "#gb_playground_text_11"):
        generated(page, 8, strip)
    ended(page)
    texts = [page.inner_text(s) for s in (TEXT, BESIDE, "#gb_playground_text_01", "#gb_playground_text_11")]
    assert len(set(texts)) == 4
    begins(page)  # with the same seed
    ended(page)
    generated(page, 8)
    assert page.inner_text(TEXT) == texts[0]

    page.click("#gb_playground_head [data-name=save]")
    with page.expect_download() as saved:
        page.click(".gb-menu [data-kind=SVG]")
    svg = Path(saved.value.path()).read_text()
    assert saved.value.suggested_filename == "generated.svg"
    for number in (1, 2):
        assert f"Text {number} · With the edits" in svg and f"Text {number} · Without the edits" in svg

    page.set_viewport_size({"width": 390, "height": 844})
    box = "document.querySelector('{}').getBoundingClientRect()"
    until(page, f"{box.format(BESIDE)}.y > {box.format(TEXT)}.bottom - 1")  # one column
    until(page, "document.documentElement.scrollWidth <= innerWidth")

    page.click("#gb_edits button >> nth=0")  # the edit goes, and so do the texts it wrote
    page.wait_for_selector(BESIDE, state="hidden")
    page.wait_for_selector("#gb_playground_text_01", state="hidden")
    generated(page, PREVIEW_TOKENS)


def test_a_new_prompt_ends_the_text_of_the_old_one_and_copies_carry_the_credit(page_url, browser_page):
    page = browser_page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page, page_url)
    page.click("#gb_playground_about_00 [data-name=copy]")
    until(page, "document.querySelector('#gb_playground_about_00 [data-name=copy]').textContent === 'Copied'")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(rf"{PROMPT}.+\n\n\[The text after “.+” was generated by glass-7m with GPT-2 Glassbox\.\]", copied, re.S)
    page.evaluate(f"getSelection().selectAllChildren(document.querySelector('{TEXT} .gb-strip'))")
    page.keyboard.press("Control+c")
    by_hand = page.evaluate("navigator.clipboard.readText()")
    assert by_hand.endswith("was generated by glass-7m with GPT-2 Glassbox.]") and "·" not in by_hand

    set_number(page, "tokens", 500)
    page.click("#gb_playground_generate")
    writing(page)
    page.press("#gb_prompt textarea", "End")
    page.keyboard.type(" clock")
    until(page, f"[...document.querySelectorAll('{TEXT} .gb-prompt')].at(-1).textContent === '·clock'")
    ended(page)
    generated(page, PREVIEW_TOKENS)
    assert count(page, "prompt") == 10
