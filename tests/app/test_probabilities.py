"""The Probabilities tab: statistics against gpt2_core's own scoring, and the tab in Chromium."""

import json
import math
from urllib.parse import urlencode

import numpy as np
import pytest

from app.service.probabilities import text_view
from app.service.view import View
from app.state import PageState
from app.tabs import probabilities
from app.text import words
from gpt2_core.scoring import perplexity, score
from interp.edits import Edit, Plan
from interp.intervene import compile_plan

PROMPT = "When the old clock struck twelve, the old"
OFF = Plan((Edit("zero", "z", 2, 1),))


@pytest.mark.parametrize("bos", [True, False])
def test_surprisal_and_means_are_those_of_the_cores_scoring(store, bos):
    model = store.model("glass-7m")
    text = text_view(View(store, PageState(prompt=PROMPT, bos=bos)))
    scores = score(model, PROMPT, bos=bos)
    expected = [math.nan, *scores.surprisals_bits] if bos else [math.nan, *scores.surprisals_bits[1:]]
    np.testing.assert_allclose(text.now.surprisal, expected, atol=1e-3)
    assert text.now.rank[1:].tolist() == [r for r in scores.ranks if r is not None]
    assert text.now.perplexity == pytest.approx(scores.perplexity, rel=1e-4)
    total = -scores.total_logprob / math.log(2)
    assert text.now.tokens == len(scores.ids) - (not bos)
    assert text.now.bits_per_token == pytest.approx(total / text.now.tokens, rel=1e-4)
    n_bytes = len(PROMPT.encode()) - (0 if bos else len(b"When"))
    assert text.now.bits_per_byte == pytest.approx(total / n_bytes, rel=1e-4)
    assert text.before is None and text.most_bits == pytest.approx(math.log2(50257))


def test_edits_bring_the_statistics_without_them(store):
    model = store.model("glass-7m")
    text = text_view(View(store, PageState(prompt=PROMPT, plan=OFF)))
    hook = compile_plan(model, OFF, True)
    for stats, h in ((text.now, hook), (text.before, None)):
        np.testing.assert_allclose(stats.surprisal[1:], score(model, PROMPT, hook=h).surprisals_bits, atol=1e-3)
    assert abs(text.now.bits_per_token - text.before.bits_per_token) > 0.01
    shown = probabilities.figures(words("en"), text)
    assert shown[0].was == f"was {text.before.bits_per_token:.2f}" and shown[0].value == f"{text.now.bits_per_token:.2f}"
    assert shown[2].was is None  # the number of tokens is the same


def test_perplexity_agrees_with_that_over_long_text(store):
    text = text_view(View(store, PageState(prompt=PROMPT * 3)))
    long = perplexity(store.model("glass-7m"), PROMPT * 3, stride=512, bos=True)
    assert text.now.perplexity == pytest.approx(long.perplexity, rel=1e-4)


def test_a_single_token_has_no_mean_and_still_a_picture(store):
    view = View(store, PageState(prompt=""))
    text = text_view(view)
    assert text.now.tokens == 0 and math.isnan(text.now.bits_per_token)
    assert [f.value for f in probabilities.figures(words("ko"), text)] == ["–", "–", "0", "–"]
    assert all(value is not None for value in probabilities._render(view))


def test_shades_are_surprisal_over_a_blind_guess_and_stay_in_range(store):
    view = View(store, PageState(prompt=PROMPT + " zx qqq"))
    text = text_view(view)
    value = probabilities.strip_value(view, words("en"), text)
    assert value["tokens"][0]["shade"] is None
    for token, bits in zip(value["tokens"][1:], text.now.surprisal[1:], strict=True):
        assert token["shade"] == pytest.approx(min(1.0, bits / math.log2(50257)), abs=1e-4)


@pytest.mark.browser
def test_a_chosen_token_moves_everything_and_a_bar_continues_the_prompt(page_url, browser_page):
    page = browser_page
    plan = json.dumps([{"op": "zero", "component": "z", "layer": 2, "head": 1}])
    page.goto(f"{page_url}/?{urlencode({'prompt': PROMPT, 'tab': 'probabilities', 'plan': plan})}")
    page.wait_for_selector("#gb_probabilities_line .js-plotly-plot .trace, #gb_probabilities_line .js-plotly-plot")
    assert "was" in page.inner_text("#gb_probabilities_about")
    assert page.locator("#gb_probabilities_text .gb-ghost").count() == 9

    before = page.inner_text("#gb_probabilities_bars")
    page.click("#gb_probabilities_text .gb-tok[data-pos='4']")
    page.wait_for_function("document.querySelector('#gb_tokens [aria-selected=true]').dataset.pos === '4'")
    page.wait_for_function("t => document.querySelector('#gb_probabilities_bars').innerText !== t", arg=before)
    page.wait_for_function("location.search.includes('position=4')")
    before = page.inner_text("#gb_probabilities_bars")
    page.click("#gb_tokens .gb-tok[data-pos='6']")
    page.wait_for_function("document.querySelector('#gb_probabilities_text [aria-selected=true]').dataset.pos === '6'")

    page.wait_for_function("t => document.querySelector('#gb_probabilities_bars').innerText !== t", arg=before)
    rows = page.locator("#gb_probabilities_bars .gb-next-row")
    rows.nth(1).click()
    page.wait_for_function("document.querySelectorAll('#gb_probabilities_text .gb-tok').length === 8")
    assert page.input_value("#gb_prompt textarea").startswith("When the old clock struck twelve")
