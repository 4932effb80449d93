"""The patching tab: what is asked, what one cell says, and what may be added to the plan."""

import numpy as np
import pytest
import torch
from scripts import run_here
from views import view_of

from app.page import Notice
from app.service import patching as service
from app.service import patching_pair as pairs
from app.service import patching_scripts as scripts
from app.service.lens import NotOneToken
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import patching as tab
from app.tabs import patching_cell, patching_maps, patching_words
from app.text import words
from interp.edits import Edit, Plan
from interp.predictions import probabilities

EDITED = Plan((Edit.scale("mlp_out", 0, value=0.5),))


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m"))


def asked(view, side=0):
    return service.asked(view, pairs.question(view))[side]


def measure(q, logits):
    p = logits.softmax(-1)
    return {
        "logit_difference": lambda: logits[list(q.correct)].mean() - logits[list(q.wrong)].mean(),
        "probability": lambda: p[list(q.correct)].sum(),
    }[q.measure]().item()


# ---- what is asked ------------------------------------------------------------------------------------------------------


def test_the_built_in_pair_differs_at_one_token_and_shows_an_effect_on_every_embedded_model(store):
    for model in ("glass-2m", "glass-3m", "glass-7m"):
        view = View(ModelStore(Settings(model=model)), PageState(model=model))
        q = pairs.question(view)
        assert q.first == q.last == 9 and len(q.clean) == 15
        clean, corrupted = pairs.ends(view, q, q.plan)
        assert clean - corrupted > 2, model


def test_each_template_of_the_menu_gives_a_pair_with_its_own_answers_and_measure(store):
    for name in pairs.PAIR.one_of[2:]:
        view = View(store, pairs.choose(PageState(model="glass-2m"), name, 1))
        first, second = pairs.chosen_pair(View(store, pairs.choose(view.state, name, 0))), pairs.chosen_pair(view)
        q = pairs.question(view)
        assert first.clean != second.clean and len(q.clean) == len(q.corrupted)
        assert (q.correct, q.wrong, q.measure) == (second.correct, second.wrong, second.measure) and second.correct


def test_a_typed_pair_asks_for_the_two_runs_own_predictions(store):
    view = view_of(store, (pairs.CLEAN, "The king and the"), (pairs.CORRUPTED, "The queen and the"))
    q = pairs.question(view)
    tops = [View(store, PageState(model="glass-2m", prompt=p)).run.logits[-1].topk(2).indices.tolist() for p in ("The king and the", "The queen and the")]  # fmt: skip
    assert q.correct == (tops[0][0],) and q.wrong == (next(i for i in tops[1] if i != tops[0][0]),)
    named = view_of(store, (pairs.ANSWER, "·king"), (pairs.OTHER, " queen"))
    q = pairs.question(named)
    assert named.model.tokenizer.strings([*q.correct, *q.wrong]) == [" king", " queen"]


def test_what_was_typed_is_forgotten_with_the_pair_and_the_menus_own_text_is_not_written_down(store):
    view = view_of(store)
    pair = pairs.chosen_pair(view)
    assert pairs.typed(view, pairs.CLEAN, pair.clean) == view.state
    typed = pairs.typed(view, pairs.CORRUPTED, "Another text")
    assert pairs.pair_of(View(store, typed)).corrupted == "Another text"
    assert pairs.CORRUPTED.of(pairs.choose(typed, "ioi")) == ""


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_pairs_that_cannot_be_patched_say_why(store, lang):
    t = words(lang)
    short = view_of(store, (pairs.CLEAN, "The king"), (pairs.CORRUPTED, "The old king"), lang=lang)
    said = patching_words.problem_text(short)
    assert said == t("patching.lengths", n=2, m=3, clean=t("patching.nothing"), corrupted=t("patching.stretch", text=" old", count=1))  # fmt: skip
    same = view_of(store, (pairs.PAIR, "page"), lang=lang)
    assert patching_words.problem_text(same) == t("patching.same", n=len(same.run) - 1)
    several = view_of(store, (pairs.ANSWER, "antidisestablishment"), lang=lang)
    with pytest.raises(NotOneToken):
        pairs.question(several)
    assert str(len(several.model.tokenizer.encode("antidisestablishment"))) in patching_words.problem_text(several)
    assert patching_words.problem_text(view_of(store, lang=lang)) == ""


# ---- a cell and the plan ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["denoise", "noise"])
@pytest.mark.parametrize(("look", "part"), [("stream", "z"), ("heads", "z"), ("heads", "q"), ("heads", "result")])
def test_added_to_the_plan_the_page_shows_the_patched_run(store, mode, look, part):
    view = view_of(store, (pairs.MODE, mode), (service.LOOK, look), (service.RIGHT, part), layer=1, head=0, position=9)
    service.whole(view, asked(view, 1))
    place = patching_cell._place(view)
    with pytest.raises(Notice) as said:
        patching_cell._add(view)
    page = View(store, said.value.state)
    assert len(page.state.plan) == 1 and page.run.tokens == place.what.question.base
    shown = service.three(view, place)["patched"]
    assert torch.allclose(probabilities(page.run)[shown.ids], torch.tensor(shown.p), atol=1e-5)


def test_patterns_and_neurons_are_no_edits_and_say_so(store):
    for part in ("pattern", "neurons"):
        view = view_of(store, (service.RIGHT, part), (service.LOOK, "heads"))
        with pytest.raises(ValueError, match="cannot be an edit"):
            patching_cell._add(view)


def test_the_strongest_head_is_shown_until_a_cell_is_chosen(store):
    view = view_of(store)
    found = service.whole(view, asked(view, 1))
    place = patching_cell._place(view)
    far = np.abs(found.values - found.base)
    assert far[place.row, place.column] == far.max()
    event = type("Event", (), {"row": 0, "col": 1})()
    state = patching_maps._chosen(view.state, "heads", event)
    assert (state.layer, state.head) == (0, 1) and patching_cell._place(View(store, state)).name == "z L0H1"
    state = patching_maps._chosen(view.state, "stream", event)
    assert (state.layer, state.position) == (0, 1) and patching_cell._place(View(store, state)).name == "resid_pre L0 @ 1"


def test_with_edits_in_force_the_run_without_them_is_shown_beside(store):
    view = view_of(store, (service.LOOK, "heads"), plan=EDITED, layer=1)
    place = patching_cell._place(view)
    runs = service.three(view, place)
    plain = service.three(view, service.without_edits(place))
    for name in runs:
        assert plain[name].before is None and runs[name].before is not None
        table = dict(zip(plain[name].ids, plain[name].p))
        both = [(table[id], was) for id, was in zip(runs[name].ids, runs[name].before) if id in table]
        assert both and [was for _, was in both] == pytest.approx([p for p, _ in both], abs=1e-6)


def test_the_cells_script_prints_the_patched_prediction(store, capsys):
    view = view_of(store, (service.LOOK, "stream"), position=9, plan=EDITED)
    place = patching_cell._place(view)
    panel = scripts.cell_evidence(view, place)
    lines = [line.split()[:2] for line in run_here(panel.code, capsys).splitlines()]
    assert [name for name, _ in lines] == [row[0] for row in panel.rows] and len(lines) == 15
    assert np.allclose([float(p[:-1]) / 100 for _, p in lines], [row[3] for row in panel.rows], atol=2e-6)
    assert scripts.map_evidence(view, place.what).lens_code == ""  # edits are in force


def test_the_strip_numbers_the_positions_of_the_run(store):
    view = view_of(store)
    (value,) = tab._strip(view)
    assert [c["pos"] for c in value["columns"]] == list(range(15)) and [i for i, c in enumerate(value["columns"]) if not c["same"]] == [9]  # fmt: skip
    assert value["ok"] and value["selected"] is None
    assert tab._strip(view_of(store, position=9))[0]["selected"] == 9
    (value,) = tab._strip(view_of(store, (pairs.CLEAN, "One"), (pairs.CORRUPTED, "One more")))
    assert not value["ok"] and all(c["pos"] is None for c in value["columns"]) and value["columns"][-1]["clean"] is None


@pytest.mark.browser
def test_a_reader_patches_a_cell_keeps_it_and_mends_a_pair(page_url, browser_page):
    """Open the tab, choose a cell, add it to the plan, look at a set, and read why a pair does not fit."""
    page = browser_page
    page.goto(f"{page_url}/?tab=patching&model=glass-2m&lang=en")
    page.wait_for_selector("#gb_patching_stream [data-painted]", state="attached")
    page.wait_for_selector("#gb_patching_cell_patched [data-painted]", state="attached")
    page.locator("#gb_patching_stream").scroll_into_view_if_needed()
    at = page.evaluate("""() => {
        const host = document.querySelector('#gb_patching_stream [data-painted]'), at = host.gbCell(1, 9), box = host.getBoundingClientRect();
        return { x: at.x - box.x, y: at.y - box.y };
    }""")
    page.locator("#gb_patching_stream [data-painted]").click(position=at)  # wherever it is by then
    page.wait_for_function("document.querySelector('#gb_patching_cell_head').innerText.includes('resid_pre L1 @ 9')")
    page.wait_for_function("location.search.includes('s.patching.look=stream') && location.search.includes('position=9')")
    page.locator("#gb_patching_add").click()
    page.wait_for_function("document.querySelector('#gb_prompt textarea').value.includes('Captain Smith')")
    page.wait_for_function("location.search.includes('plan=')")
    page.wait_for_function("document.querySelector('#gb_patching_stream_head').innerText.includes('Without the edits')")
    page.get_by_label("Over many pairs").check()
    page.wait_for_selector("#gb_patching_set_worst [data-painted]", state="attached")
    clean = page.locator("#gb_patching_clean textarea")
    clean.fill("The old king")
    clean.blur()
    page.wait_for_function(
        "document.querySelector('#gb_patching_tokens .tp-warn')?.innerText.includes('The clean prompt has 3 tokens')"
    )
