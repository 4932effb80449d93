"""The page as a person uses it: one long walk through Chromium, and what must hold on every visit."""

import json
from urllib.parse import quote

import pytest

from gpt2_core.checkpoints import available

pytestmark = pytest.mark.browser

PLAN = quote(json.dumps([{"op": "zero", "component": "z", "layer": 2, "head": 1}]))


def painted(page, selector):
    """Waits until a picture is drawn; its content's hash."""
    page.wait_for_selector(f"{selector} [data-painted]", state="visible")
    return page.locator(f"{selector} [data-painted]").first.get_attribute("data-painted")


def changed(page, selector, old):
    """Waits until a picture is drawn from something else; its new hash."""
    page.wait_for_function(
        "([s, old]) => { const e = document.querySelector(s + ' [data-painted]'); return e && e.dataset.painted !== old; }",
        arg=[selector, old],
    )
    return painted(page, selector)


def settled(page):
    """Waits until the pictures of a tab have stopped growing: what is clicked next then lies where it is seen."""
    page.wait_for_function("""() => {
        const height = document.documentElement.scrollHeight, now = performance.now();
        if (window.seenHeight !== height) [window.seenHeight, window.seenAt] = [height, now];
        return now - window.seenAt > 700;
    }""")


def opened(page, url):
    page.goto(url)
    painted(page, "#gb_next")
    return page


def test_a_walk_through_the_page(page_url, browser_page):
    """Types, streams, clicks a token, opens a head, turns it off, sees the probabilities change, turns it on again."""
    page = opened(browser_page, page_url)
    page.fill("#gb_prompt textarea", "")
    page.locator("#gb_prompt textarea").press_sequentially("He opened the old door and went into the", delay=5)
    page.click("#gb_run")
    page.wait_for_selector("#gb_next .gb-host:has-text('the” (position 9)')")  # not of the half of it that was typed by then
    page.wait_for_function("() => document.querySelectorAll('#gb_tokens .gb-token').length === 10")

    page.click("#gb_playground_generate")
    page.wait_for_selector("#gb_playground_text_00 .gb-token[data-pos='8']:has-text('into')")
    page.wait_for_function("() => document.querySelectorAll('#gb_playground_text_00 .gb-token.gb-generated').length >= 20")
    page.locator("#gb_playground_text_00 .gb-token.gb-generated").nth(3).click()
    painted(page, "#gb_playground_alternatives")

    before = painted(page, "#gb_next")
    text_before = page.inner_text("#gb_next .gb-host")
    page.get_by_role("tab", name="Attention").click()
    painted(page, "#gb_attention_grid")
    settled(page)
    page.locator("#gb_attention_grid [data-head=L2H1]").click()
    page.wait_for_selector("#gb_attention_off:has-text('L2H1')")
    settled(page)
    page.click("#gb_attention_off")
    off = changed(page, "#gb_next", before)
    assert off != before and "was" in page.inner_text("#gb_next .gb-host")
    page.wait_for_selector("#gb_edits:has-text('L2H1 off')")  # each picture is drawn when its turn comes
    page.wait_for_function("location.search.includes('plan=')")

    page.click("#gb_attention_off")
    assert changed(page, "#gb_next", off) == before
    assert page.inner_text("#gb_next .gb-host") == text_before
    page.wait_for_function("!location.search.includes('plan=')")


def test_nothing_is_loaded_from_any_other_host(page_url, chromium):
    page = chromium.new_page(viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(60_000)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    opened(page, page_url)
    for tab in ("Probabilities", "Attention", "Zero-shot", "Lens", "Scaling"):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(700)
    page.close()
    elsewhere = [url for url in requests if not url.startswith((page_url, "data:", "blob:"))]
    assert len(requests) > 20 and not elsewhere


def test_an_address_opens_the_same_view(page_url, browser_page):
    query = f"prompt={quote('They went into the old house')}&position=3&tab=lens&plan={PLAN}"
    page = opened(browser_page, f"{page_url}/?{query}")
    assert page.input_value("#gb_prompt textarea") == "They went into the old house"
    page.wait_for_selector("#gb_edits:has-text('L2H1 off')")
    page.wait_for_selector("#gb_tokens .gb-token[aria-selected=true][data-pos='3']")
    page.get_by_role("tab", name="Lens", selected=True).wait_for()
    painted(page, "#gb_lens_table")


@pytest.mark.parametrize(
    "query",
    ["plan=nonsense", "tab=nowhere", "position=-1", "model=../../etc", f"prompt={'x' * 20001}", "lang=fr", "position=99999"],
)
def test_a_bad_address_says_one_sentence_and_stays_usable(page_url, browser_page, query):
    page = browser_page
    page.goto(f"{page_url}/?{query}")
    if query != "position=99999":  # beyond the prompt means its last token
        page.wait_for_selector("#gb_message .gb-error")
        sentence = page.inner_text("#gb_message .gb-error span")
        assert sentence.endswith(".") and "Traceback" not in sentence
    painted(page, "#gb_next")


def test_korean_and_back(page_url, browser_page):
    page = opened(browser_page, f"{page_url}/?lang=ko")
    assert page.inner_text("#gb_run") == "실행"
    page.get_by_role("tab", name="어텐션").wait_for()
    page.click("#gb_toolbar [data-name=en]")
    page.wait_for_function("() => document.querySelector('#gb_run')?.innerText === 'Run'")


def test_phone_width_has_no_sideways_scroll(page_url, chromium):
    page = chromium.new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.set_default_timeout(60_000)
    opened(page, f"{page_url}/?tab=scaling")
    chosen = "document.querySelector('#gb_tab_scaling-button[aria-selected=true]')?.getBoundingClientRect()"
    page.wait_for_function(f"() => {chosen}?.right <= 390 && {chosen}.left >= 0")  # the open tab is in view in its strip
    for tab in ("Playground", "Probabilities", "Attention", "Zero-shot", "Lens", "Scaling"):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(900)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    page.locator("#gb_scaling_costs_head .gb-badge").tap()  # a finger reads what was checked, and by how much it was missed
    page.get_by_role("tooltip").filter(has_text="at most").wait_for()
    page.close()


def test_keyboard_moves_the_selected_token(page_url, browser_page):
    page = opened(browser_page, page_url)
    selected = page.locator("#gb_tokens .gb-token[aria-selected=true]")
    at = int(selected.get_attribute("data-pos"))
    old = painted(page, "#gb_next")
    selected.focus()
    page.keyboard.press("ArrowLeft")
    changed(page, "#gb_next", old)
    page.wait_for_selector(f"#gb_tokens .gb-token[aria-selected=true][data-pos='{at - 1}']")


def test_an_edit_from_the_form_and_its_removal(page_url, browser_page):
    page = opened(browser_page, page_url)
    old = painted(page, "#gb_next")
    page.click("#gb_edit_form > button")
    painted(page, "#gb_edit_head")  # the form is made when it is first opened
    page.fill("#gb_edit_layer input", "1")
    page.fill("#gb_edit_head_number :is(input, textarea)", "3")
    page.click("#gb_edit_add")
    edited = changed(page, "#gb_next", old)
    page.wait_for_selector("#gb_edits:has-text('L1H3 off')")
    page.fill("#gb_edit_layer input", "77")
    page.click("#gb_edit_add")
    page.wait_for_selector("#gb_message .gb-error")
    assert "layer 77 does not exist" in page.inner_text("#gb_message")
    assert painted(page, "#gb_next") == edited
    page.locator("#gb_edits button").first.click()
    assert changed(page, "#gb_next", edited) == old


def test_exports_reproduce_the_run(page_url, browser_page, tmp_path):
    page = opened(browser_page, f"{page_url}/?plan={PLAN}")
    saved = {}
    for name in ("JSON", "CSV", "Python"):
        page.click("#gb_toolbar [data-name=export]")
        with page.expect_download() as download:
            page.locator(".gb-menu button", has_text=name).click()
        saved[name] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[name])
    data = json.loads(saved["JSON"].read_text())
    assert data["provenance"]["model"] == "glass-7m" and len(data["provenance"]["weights_sha256"]) == 64
    assert len(saved["CSV"].read_text().splitlines()) == len(data["tokens"]) + 1
    best = data["tokens"][-1]["next"][0]
    printed = _run_script(saved["Python"])
    assert printed.splitlines()[0] == f"{best['probability']:8.4%}  {best['text']!r}"


def _run_script(path):
    import subprocess
    import sys
    from pathlib import Path

    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=root,
        env={"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_chip_works(page_url, browser_page):
    page = opened(browser_page, page_url)
    chips = page.locator("[id^=gb_example_]:visible")
    assert chips.count() == 6
    for number in range(1, 6):
        old = painted(page, "#gb_tokens")
        chips.nth(number).click()
        changed(page, "#gb_tokens", old)
        page.wait_for_selector("#gb_message .gb-notice")


def test_a_model_that_is_not_here_is_offered_and_nothing_is_lost(page_url, browser_page):
    absent = [entry for entry in available() if entry.state == "downloadable"]
    if not absent:
        pytest.skip("every released model is on this machine")
    page = opened(browser_page, page_url)
    old = painted(page, "#gb_next")
    page.click("#gb_model input")
    page.get_by_role("option", name=f"{absent[0].name} {absent[0].label}").click()
    page.wait_for_selector("#gb_download_what:has-text('B, licence')")
    page.wait_for_selector("#gb_download_go")
    page.wait_for_function(
        "document.querySelector('#gb_model input').value.startsWith('glass-7m')"
    )  # the list shows the model in use
    assert painted(page, "#gb_next") == old
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector("#gb_download_go", state="hidden")
