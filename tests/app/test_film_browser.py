"""The film of a training in a browser: it moves, plays, is chosen from and saved."""

import json
import re

import numpy as np
import pytest
from helpers import random_model, tiny_config
from synthetic_film import NEXT, folders_of, synthetic_film

from app import ui
from app.components.film import Reel, film_value
from app.service import training as service
from app.settings import Settings
from app.store import ModelStore
from app.tabs import training_pictures as pictures
from app.text import words
from gpt2_core.checkpoints import save_pretrained
from gpt2_core.tokenizer import Tokenizer
from interp.film import ROLES
from interp.film_store import write

NAME = "glass-7m"
FILM = synthetic_film()
TEXT = words("en").section("film")


def reel(film=FILM) -> Reel:
    return pictures.reel(words("en"), film, Tokenizer.load())


def value(film=FILM, **place):
    return film_value(reel(film), text=TEXT, lang="en", **place)


ROOT = "#gb_training_film"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("film")


@pytest.fixture(scope="module")
def folders(root):
    """Where films lie, by the model's name."""
    return folders_of([FILM], root)


@pytest.fixture(scope="module")
def site(root, folders):
    """The page on a model in a folder, which has no film, beside the embedded model, which has one."""
    patch = pytest.MonkeyPatch()
    patch.setattr(service, "film_folder", lambda entry: folders.get(entry.name))
    save_pretrained(random_model(tiny_config(n_heads=2, d_model=16), tokenizer=Tokenizer.load()), root / "mine")
    store = ModelStore(Settings(model=str(root / "mine"), device="cpu"))
    demo = ui.build(store)
    _, url, _ = demo.launch(**ui.launch_options(store) | {"prevent_thread_lock": True, "quiet": True, "server_port": None})
    yield url.rstrip("/")
    demo.close()
    patch.undo()


def opened(page, url, query=f"model={NAME}&lang=en"):
    page.goto(f"{url}/?tab=training&{query}")
    page.wait_for_selector(f"{ROOT} [data-painted] .fm-slider", timeout=90_000)  # the first visit, on a machine at work


def at(page, frame):
    page.wait_for_function(
        "([s, f]) => document.querySelector(s + ' [data-frame]')?.dataset.frame === String(f)", arg=[ROOT, frame]
    )


def saved(page, button, kind):
    with page.expect_download() as download:
        button.click()
        page.get_by_role("menuitem", name=kind, exact=True).click()
    return download.value.path().read_text(encoding="utf-8-sig")


def cells(page) -> np.ndarray:
    return np.array(page.locator(f"{ROOT} .fm-cell").all_inner_texts(), float).reshape(4, 4)


@pytest.mark.browser
def test_the_slider_moves_heads_pattern_words_and_address(site, browser_page):
    page = browser_page
    opened(page, site, f"model={NAME}&lang=en&layer=3&head=0")
    at(page, 39)
    np.testing.assert_allclose(cells(page), FILM.induction[39], atol=0.00501)
    page.locator(f"{ROOT} .fm-slider").focus()
    page.keyboard.press("Home")
    at(page, 0)
    np.testing.assert_allclose(cells(page), FILM.induction[0], atol=0.00501)
    assert "untrained" in page.inner_text(f"{ROOT} .fm-transport") and FILM.samples[0].strip()[:18] in page.inner_text(
        f"{ROOT} .fm-sample"
    )
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    at(page, 12)
    page.wait_for_function("location.search.includes('frame=12')")
    np.testing.assert_allclose(cells(page), FILM.induction[12], atol=0.00501)
    assert f"step {FILM.steps[12]}," in page.inner_text(f"{ROOT} .fm-sample")
    order = np.argsort(-FILM.prompts[0].top_probs[12])
    assert page.inner_text(f"{ROOT} .fm-next .gb-token >> nth=0") == FILM.prompts[0].top_strings[12][order[0]].replace(" ", "·")
    pattern = json.loads(saved(page, page.locator(f"{ROOT} .fm-one .gb-export"), "JSON"))
    rows, expected = np.array([[*row[:2], row[4]] for row in pattern["rows"]]), FILM.prompts[0].attention(12)[3, 0]
    assert pattern["step"] == FILM.steps[12] and len(rows) == 14 * 15 / 2
    np.testing.assert_allclose(rows[:, 2], expected[rows[:, 0].astype(int), rows[:, 1].astype(int)], atol=6e-5)
    page.reload()
    page.wait_for_selector(f"{ROOT} [data-painted] .fm-slider")
    at(page, 12)


@pytest.mark.browser
def test_it_plays_without_the_server_and_stops_at_the_end(site, browser_page):
    page = browser_page
    opened(page, site, f"model={NAME}&lang=en&frame=30")
    at(page, 30)
    page.wait_for_selector("#gb_training_sizes .main-svg")  # the last of the tab: from here on nothing is on its way
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator(f"{ROOT} .fm-speed").select_option("fast")
    page.get_by_role("button", name="Play").click()
    at(page, 39)
    page.get_by_role("button", name="Play").wait_for()
    assert asked == [], "nothing is asked while it plays"
    page.wait_for_function("location.search.includes('frame=39')")
    page.get_by_role("button", name="Play").click()  # from the beginning
    page.wait_for_function("s => Number(document.querySelector(s + ' [data-frame]').dataset.frame) < 30", arg=ROOT)
    page.get_by_role("button", name="Pause").click()
    stopped = page.get_attribute(f"{ROOT} [data-frame]", "data-frame")
    page.wait_for_function(f"location.search.includes('frame={stopped}')")
    assert page.get_attribute(f"{ROOT} [data-frame]", "data-frame") == stopped


@pytest.mark.browser
def test_a_head_a_role_and_a_text_are_chosen_and_saved(site, browser_page):
    page = browser_page
    opened(page, site)
    page.locator(f"{ROOT} .fm-cell[data-name=L2H1]").click()
    page.wait_for_selector(f"{ROOT} .fm-title:has-text('Where L2H1 looks')")
    page.wait_for_selector(f"{ROOT} .fm-title:has-text('L2H1 over time')")
    page.wait_for_function("location.search.includes('layer=2') && location.search.includes('head=1')")
    page.get_by_role("button", name="previous token").click()
    np.testing.assert_allclose(cells(page), FILM.previous_token[39], atol=0.00501)
    page.locator(f"{ROOT} .fm-link").click()
    page.wait_for_selector(f"{ROOT} .fm-title:has-text('Where L0H3 looks')")
    page.get_by_role("button", name="random tokens, twice").first.click()
    pattern = json.loads(saved(page, page.locator(f"{ROOT} .fm-one .gb-export"), "JSON"))
    assert pattern["tokens"][1] == "·table" and (pattern["layer"], pattern["head"]) == (0, 3)
    table = saved(page, page.locator(f"{ROOT} .fm-stack .gb-export").first, "CSV").splitlines()
    columns, rows = table[0].split(","), np.array([line.split(",") for line in table[1:]], float)
    assert columns[5:] == list(ROLES) and len(rows) == 40 * 16
    for i, role in enumerate(ROLES):
        np.testing.assert_allclose(rows[:, 5 + i].reshape(40, 4, 4), getattr(FILM, role), atol=6e-7)
    curve = json.loads(saved(page, page.locator(f"{ROOT} .fm-curves .gb-export").nth(1), "JSON"))
    assert [row[3] for row in curve["rows"]] == list(FILM.first_copy_loss) and curve["columns"][3:] == [
        "first_copy_loss",
        "second_copy_loss",
    ]
    for export in (
        f"{ROOT} .fm-curves .gb-export >> nth=0",
        f"{ROOT} .fm-stack .gb-export >> nth=0",
        f"{ROOT} .fm-one .gb-export",
    ):
        assert saved(page, page.locator(export), "SVG").startswith("<svg")
    words_saved = json.loads(saved(page, page.locator(f"{ROOT} .fm-pair >> nth=1 >> .gb-export >> nth=1"), "JSON"))
    assert [row[4] for row in words_saved["rows"]] == list(FILM.samples) and len(NEXT) == 5


@pytest.mark.browser
def test_the_bump_is_told_and_shown(site, browser_page):
    page = browser_page
    opened(page, site)
    gain, bump = FILM.copy_gain, FILM.induction_bump
    said = page.inner_text(f"{ROOT} .fm-bump")
    assert f"from {gain[bump]:.2f} to {gain[bump + 1]:.2f} nats" in said and "L3H0" in said and "Olsson et al. (2022)" in said
    page.get_by_role("button", name="Show that moment").click()
    at(page, bump + 1)
    chart = page.locator(f"{ROOT} .fm-chart").first.bounding_box()
    page.mouse.click(chart["x"] + 56, chart["y"] + 60)
    at(page, 0)


@pytest.mark.browser
def test_a_model_without_a_film_offers_one_and_stays_the_pages_model(site, browser_page):
    page = browser_page
    page.goto(f"{site}/?tab=training&lang=en")
    page.get_by_role("button", name=f"Open the film of {NAME}").click(timeout=90_000)
    page.wait_for_selector(f"{ROOT} [data-painted] .fm-slider", timeout=90_000)
    assert "another model than" in page.inner_text("#gb_training_about")
    page.wait_for_function("location.search.includes('film=glass-7m') && location.search.includes('mine')")
    page.wait_for_selector("#gb_training_losses .main-svg")
    page.wait_for_selector("#gb_training_sizes .main-svg")
    page.goto(f"{site}/?tab=training&lang=en&film=gpt2")
    page.wait_for_selector("#gb_message :text('no film of the training of gpt2')", timeout=90_000)


@pytest.mark.browser
def test_another_film_is_chosen_and_the_pages_model_stays(site, root, folders, browser_page, monkeypatch):
    page, mine = browser_page, str(root / "mine")
    film = synthetic_film(mine, layers=2, heads=2, frames=5, copies=False, losses=False)
    monkeypatch.setitem(folders, mine, write(film, root / "film of mine"))
    opened(page, site, f"model={mine}&lang=en&layer=9&head=9")
    at(page, 4)
    assert page.locator(f"{ROOT} .fm-cell").count() == 4 and page.locator(f"{ROOT} .gb-selected").inner_text()
    assert "does not learn to copy" in page.inner_text(f"{ROOT} .fm-bump")
    assert "not recorded" in page.inner_text(f"{ROOT} .fm-curves")
    page.locator("#gb_training_of input").click()
    page.get_by_role("option", name=NAME).click()
    page.wait_for_function("s => document.querySelectorAll(s + ' .fm-cell').length === 16", arg=ROOT, timeout=90_000)
    at(page, 39)
    page.wait_for_function("location.search.includes('film=glass-7m') && location.search.includes('mine')")
    page.locator("#gb_training_of input").click()
    page.get_by_role("option", name="mine").click()
    page.wait_for_function("s => document.querySelectorAll(s + ' .fm-cell').length === 4", arg=ROOT, timeout=90_000)


@pytest.mark.browser
def test_phone_width_and_korean(site, browser_page):
    page = browser_page
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, site, f"model={NAME}&lang=ko")
    page.wait_for_selector("#gb_training_sizes .main-svg")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator(f"{ROOT} .fm-one").scroll_into_view_if_needed()
    box = page.locator(f"{ROOT} .fm-transport").bounding_box()
    assert -1 <= box["y"] < 40, "the slider stays in view"
    assert re.search("[\uac00-\ud7a3]", page.inner_text(f"{ROOT} .fm-bump")) and page.locator(f"{ROOT} .fm-cell").count() == 16
