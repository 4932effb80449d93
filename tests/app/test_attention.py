"""The attention tab: what it computes, against interp; and the page in a browser."""

import time

import numpy as np
import pytest
import torch

from app.components.head_grid import pool_patterns
from app.service import attention as service
from app.service import view as view_module
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import attention as tab
from app.tabs import attention_choices as choices
from app.tabs import attention_head, attention_roles, attention_surgery
from app.text import words
from app.text.attention import EN, KO
from interp.attention import patterns
from interp.edits import Edit, Plan
from interp.heads import scores
from interp.run import trace

PROMPT = "When the old clock struck twelve, the old man opened the door"
LONG = " ".join([PROMPT] * 5)
OFF = Plan((Edit.zero("z", 2, 1),))


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(device="cpu"))


def view_of(store, prompt=PROMPT, chosen=None, **changes) -> View:
    """chosen: settings of the tab, {SETTING: value}."""
    state = PageState(prompt=prompt, tab="attention", **changes)
    for setting, value in (chosen or {}).items():
        state = setting.on(state, value)
    return View(store, state)


def ordered(store, order, measured, times=0, **changes):
    return tab._grid_values(view_of(store, chosen={choices.ORDER: order, choices.TIMES: times}, **changes), measured)


@pytest.mark.parametrize("prompt", [PROMPT, LONG])
def test_pictures_equal_interp(store, prompt):
    view = view_of(store, prompt)
    found, whole = service.pictures(view), patterns(view.run)
    values = whole.values.numpy()
    assert found.block == -(-len(view.run) // service.THUMBNAIL)
    assert np.array_equal(found.pooled, pool_patterns(values, found.block))
    assert np.array_equal(found.pooled_rest, pool_patterns(values.copy(), found.block, hide_first=True))
    assert found.check.holds and found.check.residual == pytest.approx(whole.check.residual, abs=1e-9)
    assert found.changed is None and not found.beyond
    n = len(view.run)
    sink, distance, entropy = (np.zeros(values.shape[:2]) for _ in range(3))
    for query in range(1, n):
        sink += values[:, :, query, 0] / (n - 1)
        distance += (values[:, :, query] * (query - np.arange(n)).clip(0)).sum(-1) / (n - 1)
        row = values[:, :, query, : query + 1].astype(np.float64)
        entropy -= (row * np.log2(np.maximum(row, 1e-300))).sum(-1) / (n - 1)
    assert np.allclose(found.sink, sink, atol=1e-6) and np.allclose(found.distance, distance, atol=1e-5)
    assert np.allclose(found.entropy, entropy, atol=1e-5)


def test_changed_is_the_largest_change_of_a_weight(store):
    view = view_of(store, plan=OFF)
    found = service.pictures(view)
    expected = (patterns(view.run).values - patterns(view.before).values).abs().amax((2, 3)).numpy()
    assert np.array_equal(found.changed, expected)
    assert not found.changed[:3].any() and found.changed[3].min() > 0


@pytest.mark.parametrize(
    "plan",
    [
        Plan(),
        Plan((Edit.add("resid_pre", 0, text=" angry", value=3.0), Edit.scale("resid_pre", 2, value=1.5))),
        Plan((Edit.set_cell(2, 1, 9, 4, 0.5), Edit.zero("z", 0, 2), Edit.scale("resid_post", 1, value=0.5))),
    ],
)
def test_patterns_that_the_run_did_not_keep_are_the_same(store, monkeypatch, plan):
    kept = view_of(store, plan=plan)
    expected = patterns(kept.run).values
    assert len(expected) == kept.config.n_layers
    monkeypatch.setattr(view_module, "PATTERNS_IN_RUN", 0)
    bare = view_of(ModelStore(Settings(device="cpu")), plan=plan)
    assert not [name for name in bare.run.activations if name.endswith("hook_pattern")]
    again = torch.stack(list(service.layer_patterns(bare, bare.run)))
    assert (again - expected).abs().max() < 1e-5
    assert np.abs(service.head_pattern(bare, bare.run, 2, 1) - expected[2, 1].numpy()).max() < 1e-5
    assert np.allclose(service.pictures(bare).pooled, service.pictures(kept).pooled, atol=1e-5)


def test_scores_are_those_of_interp(store):
    view = view_of(store, plan=OFF)
    expected = scores(view.model, plan=OFF)
    for role in service.ROLES:
        values, chance = service.measure(view, role)
        assert np.allclose(values, getattr(expected, role).numpy(), atol=1e-6) and chance == expected.chance[role]
    assert service.measure_scores(view) == service.score_key(view)
    even = {"sink": lambda i: 1 / (i + 1), "distance": lambda i: i / 2, "entropy": lambda i: np.log2(i + 1)}
    for name, uniform in even.items():
        chance = service.measure(view, name)[1]
        assert chance == pytest.approx(np.mean([uniform(i) for i in range(1, len(view.run))]))
    with pytest.raises(ValueError, match="induction"):
        service.measure(view, "colour")


def test_roles_need_the_threshold(store, monkeypatch):
    view = view_of(store)
    values = np.stack([service.measure(view, role)[0] for role in service.ROLES])
    for threshold in (0.15, 0.4):
        monkeypatch.setattr(service, "ROLE_THRESHOLD", threshold)
        found = service.roles(view)
        assert set(found) == {tuple(at) for at in np.argwhere(values.max(0) >= threshold).tolist()}
        assert all(values[service.ROLES.index(role)][head] == values.max(0)[head] for head, role in found.items())


def test_a_head_is_turned_off_and_on(store):
    plan = Plan((Edit.zero("mlp_out", 0),))
    off = service.with_factor(plan, 2, 1, 0.0)
    assert off.edits == (*plan.edits, Edit.zero("z", 2, 1)) and service.factor_in_force(off, 2, 1) == 0
    assert service.with_factor(off, 2, 1, 0.0) == plan
    half = service.with_factor(off, 2, 1, 0.5)
    assert half.edits == (*plan.edits, Edit.scale("z", 2, 1, value=0.5)) and service.factor_in_force(half, 2, 1) == 0.5
    assert service.factor_in_force(plan, 2, 1) is None
    part = Plan((Edit.zero("z", 2, 1, positions=(3,)),))
    assert service.factor_in_force(part, 2, 1) is None and service.with_factor(part, 2, 1, 0.0).edits[0] == part.edits[0]


@pytest.mark.parametrize(
    "edits",
    [
        (Edit.scale("z", 2, 1, value=0.5), Edit.scale("z", 2, 1, value=0.25)),
        (Edit.scale("z", 2, value=3.0), Edit.scale("z", 2, 1, value=0.5)),
        (Edit.zero("z", 2),),
        (Edit.scale("z", 2, 1, value=2.0), Edit.zero("z", 2, 0), Edit.scale("z", 1, 1, value=7.0)),
    ],
)
def test_the_factor_stated_is_the_one_the_model_sees(store, edits):
    model, plan = store.model("glass-7m"), Plan(edits)
    only_others = Plan(tuple(e for e in edits if e.layer != 2))
    name = "blocks.2.attn.hook_z"
    z, before = (trace(model, PROMPT, p, True, [name]).activations[name][:, 1] for p in (plan, only_others))
    torch.testing.assert_close(z, service.factor_in_force(plan, 2, 1) * before)


def test_turning_a_head_off_leaves_the_edits_of_all_heads():
    layer = Edit.zero("z", 2)
    plan = Plan((layer, Edit.scale("z", 2, 1, value=0.5), Edit.scale("z", 2, 1, value=0.5)))
    assert service.own_factor(plan, 2, 1) == 0.25 and service.own_factor(plan, 2, 0) is None
    assert service.with_factor(plan, 2, 1, 0.25).edits == (layer,)
    assert service.with_factor(Plan((layer,)), 2, 1, 0.0).edits == (layer, Edit.zero("z", 2, 1))


def test_rows_sum_to_1_in_half_precision_too():
    found = service.pictures(view_of(ModelStore(Settings(device="cpu", dtype="bfloat16")))).check
    assert 1e-4 < found.residual and found.holds


def test_one_cell_is_set_once(store):
    first, second = Edit.set_cell(2, 1, 9, 4, 0.2), Edit.set_cell(2, 1, 9, 4, 0.7, renormalise=True)
    other = Edit.set_cell(2, 1, 9, 3, 0.1)
    plan = service.with_cell(service.with_cell(service.with_cell(Plan(), first), other), second)
    assert plan.edits == (other, second)
    assert service.cells_set(plan, 2, 1, 20) == [(9, 3), (9, 4)] and service.cells_set(plan, 2, 1, 9) == []
    weights = service.head_pattern(view_of(store, plan=plan), view_of(store, plan=plan).run, 2, 1)
    assert weights[9, 4] == pytest.approx(0.7) and weights[9].sum() == pytest.approx(1, abs=1e-5)


def test_edited_heads(store):
    plan = Plan((Edit.zero("z", 1), Edit.scale("q", 2, 3, value=2), Edit.set_cell(3, 0, 5, 2, 1.0), Edit.zero("mlp_out", 0)))
    assert service.edited_heads(view_of(store, plan=plan)) == {(1, 0), (1, 1), (1, 2), (1, 3), (2, 3)}


def test_grid_orders_and_filters(store):
    view = view_of(store, layer=2, head=1)
    measured = (service.measure_scores(view),)
    _, matrix = tab._grid_values(view, measured)
    assert matrix["matrix"] and len(matrix["tiles"]) == 16 and matrix["selected"] == [2, 1]
    _, sorted_ = ordered(store, "previous_token", measured)
    values, chance = service.measure(view, "previous_token")
    order = [(tile["layer"], tile["head"]) for tile in sorted_["tiles"]]
    assert [values[h] for h in order] == sorted(values.ravel(), reverse=True)
    assert all(tile["score"][1] == pytest.approx(values[tile["layer"], tile["head"]]) for tile in sorted_["tiles"])
    _, few = ordered(store, "previous_token", measured, times=2)
    assert {(x["layer"], x["head"]) for x in few["tiles"]} == {tuple(at) for at in np.argwhere(values >= 2 * chance).tolist()}
    head, none = ordered(store, "previous_token", measured, times=100)
    assert none["tiles"] == [] and "100" in head["what"]
    _, layer = tab._grid_values(view_of(store, chosen={choices.LAYER: 3, choices.HIDE: True}), measured)
    assert [tile["layer"] for tile in layer["tiles"]] == [3] * 4 and layer["hide_first"] and layer["scale"] < 1


def test_heads_of_a_role_stand_together(store):
    measured = (service.measure_scores(view_of(store)),)
    _, grid = ordered(store, "role", measured)
    tiles, roles = [(x["layer"], x["head"]) for x in grid["tiles"]], service.roles(view_of(store))
    named = [roles[at] for at in tiles[: len(roles)]]
    assert len(tiles) == 16 and len(roles) >= 3 and named == sorted(named, key=service.ROLES.index)
    assert tiles[len(roles) :] == [at for at in np.ndindex(4, 4) if at not in roles]
    assert [x["score"] is None for x in grid["tiles"]] == [at not in roles for at in tiles]


def test_ordering_by_a_score_waits_for_it(store):
    head, grid = ordered(store, "induction", ())
    assert head["what"] == EN["attention.waiting"] and grid["__type__"] == "update"


def test_rows_of_an_edited_pattern_are_called_so(store):
    plan = Plan((Edit.scale("pattern", 2, 1, value=3.0),))
    head, grid = tab._grid_values(view_of(store, plan=plan), ())
    assert not head["badges"][0]["ok"] and head["badges"][0]["text"] == EN["attention.rows_edited"]
    assert EN["attention.beyond"] in head["what"] and len(grid["tiles"]) == 16
    assert attention_head._head_value(view_of(store, plan=plan, layer=2, head=1))["before"]


def test_a_weight_that_cannot_be_is_refused(store):
    view = view_of(store, layer=2, head=1, position=5, chosen={choices.KEY: 2})
    for value in (1.5, -0.1, None):
        with pytest.raises(ValueError, match="between 0 and 1"):
            attention_surgery.operate(view, value)
    new = attention_surgery.operate(view, 0.25)
    assert new.plan.edits == (Edit.set_cell(2, 1, 5, 2, 0.25, renormalise=True),) and choices.KEY.of(new) == 2 and choices.VALUE.of(new) == 0.25


def test_one_token_and_a_lone_end_of_text(store):
    for prompt in ("a", ""):
        view = view_of(store, prompt, bos=not prompt)
        assert len(view.run) == 1
        assert service.pictures(view).pooled.shape[-1] == 1
        again = {choices.ORDER: "sink", choices.TIMES: 2, choices.HIDE: True}
        tab._grid_values(view_of(store, prompt, chosen=again, bos=not prompt), (service.measure_scores(view),))
        attention_head._head_words(view, ())
        assert attention_surgery.effect(view).kl > 0  # a row of one weight has nothing to rescale


def test_words_are_paired_and_filled(store):
    assert EN.keys() == KO.keys()
    view = view_of(store, plan=OFF, layer=2, head=1, lang="ko")
    said = attention_head._head_words(view, (service.measure_scores(view),))
    assert words("ko")("attention.head_factor_0") in said[0]["what"] and said[1] == "L2H1 다시 켜기"


def test_figure_has_a_bar_per_head(store):
    view = view_of(store, plan=OFF)
    _, figure = attention_roles._values(view, (service.measure_scores(view),))
    values = service.measure(view, "previous_token")[0]
    assert list(figure.data[0].x) == pytest.approx(sorted(values.ravel(), reverse=True)) and len(figure.data) == 2
    assert attention_roles._values(view, ())[0]["what"] == EN["attention.waiting"]


# In the browser -----------------------------------------------------------------------------------------------------------


def opened(page, url, query, wait="#gb_attention_view [data-painted]"):
    page.goto(f"{url}/?{query}")
    page.wait_for_selector(wait)
    page.wait_for_selector("#gb_next [data-painted]")


def header(page) -> str:
    return page.inner_text("#gb_next")


@pytest.mark.browser
def test_a_head_is_chosen_turned_off_and_on(page_url, browser_page):
    page = browser_page
    opened(page, page_url, "prompt=When the old clock struck twelve, the old", "#gb_next [data-painted]")
    page.get_by_role("tab", name="Attention").click()
    tile = page.locator("#gb_attention_grid [data-head='L2H1']")
    tile.click()
    page.wait_for_selector("#gb_attention_view .hv-title:text-is('L2H1')")
    before = header(page)
    assert "was" not in before
    page.get_by_role("button", name="Turn L2H1 off").click()
    page.get_by_role("button", name="Turn L2H1 on again").wait_for()
    assert "L2H1 off" in page.inner_text("#gb_edits")
    page.wait_for_function("document.querySelector('#gb_next').innerText.includes('was')")
    assert header(page) != before
    page.wait_for_selector("#gb_attention_grid .hg-off[data-head='L2H1']")
    page.wait_for_selector("#gb_attention_grid [data-head='L3H0'] .hg-changed")
    page.get_by_role("button", name="Turn L2H1 on again").click()
    page.get_by_role("button", name="Turn L2H1 off").wait_for()
    page.wait_for_function("before => document.querySelector('#gb_next').innerText === before", arg=before)
    assert "plan" not in page.url


@pytest.mark.browser
def test_surgery_from_a_cell_to_its_undoing(page_url, browser_page):
    page = browser_page
    opened(page, page_url, "tab=attention&layer=1&head=2&prompt=Mr. Darnley bowed to Miss Harwick. Mr. Darn")
    page.wait_for_selector("#gb_attention_compensation .main-svg")
    assert "Preview" in page.inner_text("#gb_attention_movers_head") and "“ley”" in page.inner_text("#gb_attention_cell")
    page.locator("#gb_attention_cut").click()
    page.wait_for_function("document.querySelector('#gb_attention_cell').innerText.includes('with 0.0000')")
    page.wait_for_function("document.querySelector('#gb_attention_movers_head').innerText.includes('set by hand')")
    assert "= 0" in page.inner_text("#gb_edits") and "plan=" in page.url
    page.locator("#gb_attention_view canvas").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#gb_attention_cell').innerText.includes('endoftext')")
    assert "s.attention.key=0" in page.url
    page.locator("#gb_attention_heads label").nth(1).click()
    page.locator("#gb_attention_weight input").fill("0.9")
    page.locator("#gb_attention_set").click()
    page.wait_for_function("document.querySelector('#gb_attention_cell').innerText.includes('with 0.9000')")
    assert page.inner_text("#gb_edits").count("= 0.9") == 4
    page.locator("#gb_attention_weight input").fill("7")
    page.wait_for_function("document.querySelector('#gb_message').innerText.includes('between 0 and 1')")
    page.locator("#gb_attention_undo").click()
    page.wait_for_function("!document.querySelector('#gb_edits').innerText.includes('= 0.9')")
    page.locator("#gb_attention_undo_all").click()
    page.wait_for_function("document.querySelector('#gb_attention_movers_head').innerText.includes('Preview')")
    page.locator("#gb_attention_show input").click()
    page.get_by_role("option", name="length of what is written").click()
    page.wait_for_function("document.querySelector('#gb_attention_grid').innerText.includes('vector written')")
    with page.expect_download() as waiting:
        page.locator("#gb_attention_head [data-name='save']").click()
        page.get_by_role("menuitem", name="SVG").click()
    assert waiting.value.suggested_filename == "heads.svg" and "s.attention.show=norms" in page.url


@pytest.mark.browser
def test_heads_are_ordered_by_a_score(page_url, browser_page):
    page = browser_page
    opened(page, page_url, "tab=attention")
    page.locator("#gb_attention_order input").click()
    page.get_by_role("option", name="looks one token back").click()
    page.wait_for_selector("#gb_attention_grid .hg-flow .hg-score b")
    numbers = [float(x) for x in page.locator("#gb_attention_grid .hg-score b").all_inner_texts()]
    assert len(numbers) == 16 and numbers == sorted(numbers, reverse=True)
    page.locator("#gb_attention_filter input").click()
    page.get_by_role("option", name="at least 2 × chance").click()
    page.wait_for_function("document.querySelectorAll('#gb_attention_grid .hg-tile').length < 16")
    page.wait_for_selector("#gb_attention_bars .main-svg")


@pytest.mark.browser
def test_phone_width(page_url, browser_page):
    page = browser_page
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, page_url, "tab=attention&lang=ko&layer=1&head=2")
    page.wait_for_function("document.querySelector('#gb_attention_roles_said').innerText.includes('0.4')")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "L1H2" in page.inner_text("#gb_attention_off")


@pytest.mark.browser
def test_64_tokens_are_painted(page_url, browser_page):
    page = browser_page
    text = "+".join(["the+old+clock"] * 21)
    opened(page, page_url, f"prompt={text}&tab=probabilities", "#gb_next [data-painted]")
    start = time.perf_counter()
    page.get_by_role("tab", name="Attention").click()
    for elem_id in ("gb_attention_grid", "gb_attention_view"):
        page.wait_for_selector(f"#{elem_id} [data-painted]")
    print(f"attention tab painted after {time.perf_counter() - start:.2f} s")
    assert page.locator("#gb_attention_grid .hg-tile").count() == 16


def test_64_tokens_take_less_than_a_second(store):
    view = view_of(store, " ".join(["the old clock"] * 21), plan=OFF)
    assert len(view.run) == 64 and view.before
    start = time.process_time()
    tab._grid_values(view, ())
    attention_head._head_words(view, ())
    attention_head._head_value(view)
    assert time.process_time() - start < 0.3  # measured: 0.01 s; the scores come after the pictures
