"""The patching tab: what is asked, what each cell says, what may be added to the plan, and scripts that print the maps."""

import gradio as gr
import numpy as np
import pytest
import torch
from scripts import run_here

from app.components.packing import unpack
from app.page import Notice, Page
from app.service import patching as service
from app.service import patching_pair as pairs
from app.service import patching_scripts as scripts
from app.service.lens import NotOneToken
from app.service.patching import Place
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import patching as tab
from app.tabs import patching_cell, patching_job, patching_maps, patching_words
from app.text import words
from interp.edits import Edit, Plan
from interp.intervene import compile_plan
from interp.predictions import probabilities

EDITED = Plan((Edit.scale("mlp_out", 0, value=0.5),))


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m"))


def view_of(store, *settings, **changes) -> View:
    state = PageState(model="glass-2m", prompt="The old clock struck twelve").but(**changes)
    for setting, value in settings:
        state = setting.on(state, value)
    return View(store, state)


def asked(view, side=0):
    return service.asked(view, pairs.question(view))[side]


def by_hand(view, q, hooks):
    """The last logits of the base run with some activations taken from the source run, through hooks of transformer-lens' names."""
    model, plan = view.model, compile_plan(view.model, q.plan, q.bos)
    base, source = torch.tensor([list(q.base)]), torch.tensor([list(q.source)])
    plan = plan and plan.positioned(*[torch.arange(len(q.base))[None]] * 2)
    _, cache = model.run_with_cache(source, list(hooks), hook=plan)

    def put(name, x):
        x = plan(name, x) if plan is not None and plan.wants(name) else x
        return hooks[name](x.clone(), cache[name]) if name in hooks else x

    return model(base, hook=put)[0, -1]


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


# ---- the numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["denoise", "noise"])
@pytest.mark.parametrize("plan", [Plan(), EDITED])
@pytest.mark.parametrize("metric", ["logit_diff", "probability"])
def test_a_cell_is_the_run_with_that_activation_replaced(store, mode, plan, metric):
    view = view_of(store, (pairs.MODE, mode), (pairs.METRIC, metric), plan=plan)
    q = pairs.question(view)
    stream, heads = (service.whole(view, what) for what in service.asked(view, q))
    for layer, position in ((0, q.first), (1, len(q.clean) - 1)):
        name = f"blocks.{layer}.hook_resid_pre"
        logits = by_hand(view, q, {name: lambda x, new, p=position: x.index_copy(1, torch.tensor([p]), new[:, p : p + 1])})
        assert stream.values[layer, position] == pytest.approx(measure(q, logits), abs=1e-4)
    for layer, head in ((0, 1), (1, 0)):
        name = f"blocks.{layer}.attn.hook_z"
        logits = by_hand(view, q, {name: lambda x, new, h=head: x.index_copy(2, torch.tensor([h]), new[:, :, h : h + 1])})
        assert heads.values[layer, head] == pytest.approx(measure(q, logits), abs=1e-4)
    assert heads.base == (heads.corrupted if mode == "denoise" else heads.clean)
    share = (heads.values - heads.corrupted) / (heads.clean - heads.corrupted)
    assert np.allclose(heads.normalised, share)


def test_kl_is_zero_at_the_clean_run(store):
    view = view_of(store, (pairs.METRIC, "kl"))
    found = service.whole(view, asked(view))
    q = pairs.question(view)
    clean, corrupted = (view.model(torch.tensor([list(ids)]))[0, -1].double().log_softmax(-1) for ids in (q.clean, q.corrupted))
    assert found.clean == pytest.approx(0, abs=1e-6)
    assert found.corrupted == pytest.approx((clean.exp() * (clean - corrupted)).sum().item(), abs=1e-4)


def test_a_layers_heads_by_position_are_cells_of_their_own(store):
    view = view_of(store, (service.BY_POSITION, True), layer=1)
    what = asked(view, 1)
    found = service.whole(view, what)
    assert found.values.shape == (2, len(what.question.clean))
    place = Place(what, 1, 9)
    name = "blocks.1.attn.hook_z"

    def put(x, new):
        x[:, 9, 1] = new[:, 9, 1]
        return x

    logits = by_hand(view, what.question, {name: put})
    assert found.values[1, 9] == pytest.approx(measure(what.question, logits), abs=1e-4)
    assert torch.allclose(service.patched_logits(view, place), logits, atol=1e-4)


def test_rows_stream_and_a_stopped_sweep_goes_on_where_it_was(store, monkeypatch):
    view = view_of(ModelStore(Settings(model="glass-2m")) and store, (pairs.CLEAN, "The king said that he"), (pairs.CORRUPTED, "The queen said that he"))  # fmt: skip
    what = asked(view)
    steps = service.steps(view, what)
    first, second = next(steps), next(steps)
    assert np.isnan(first.values).all() and not np.isnan(second.values[0]).any() and second.done == 0.5
    steps.close()
    assert service.known(view, what) is None and service.begun(view, what).done == 0.5
    computed = []
    original = service.patching.prepare
    monkeypatch.setattr(service.patching, "prepare", lambda *a, **k: computed.append(k.get("layers")) or original(*a, **k))
    whole = service.whole(view, what)
    monkeypatch.undo()
    assert computed[-1] == (1,) and whole.done == 1 and service.known(view, what) is whole
    again = service.patching.sweep(view.model, list(what.question.clean), list(what.question.corrupted), pairs.metric_of(view, what.question))  # fmt: skip
    assert np.allclose(whole.values, again.values.numpy(), atol=1e-5)


def test_what_it_will_cost_is_the_sweeps_estimate_and_nothing_once_it_is_there(store):
    view = view_of(store, (pairs.CLEAN, "The boy and the"), (pairs.CORRUPTED, "The girl and the"))
    what = asked(view)
    cost = service.cost(view, what)
    assert cost.rows == 2 * 3 and cost.small  # two layers, the three positions from the first that differs
    service.whole(view, what)
    assert service.cost(view, what) == service.NOTHING
    seconds, memory = 125.0, 2.5e9
    said = patching_job.cost_text(words("en"), service.Cost(1e15, memory, seconds, 7))
    assert "2 min" in said and "2.5 GB" in said


def test_what_is_large_waits_to_be_asked_and_fills_its_maps_as_it_runs(store, monkeypatch):
    with gr.Blocks():
        job = patching_maps.build(Page(store))
    monkeypatch.setattr(service, "AT_ONCE", 0)
    monkeypatch.setattr(patching_job, "FRAME", 0)
    view = view_of(store, (pairs.CLEAN, "The man and his"), (pairs.CORRUPTED, "The dog and his"))
    *heads, left, right, go, stop = job.render(view)
    assert np.isnan(unpack(left["values"])).all() and left["caption"]
    assert go["visible"] and not stop["visible"] and "Compute" in go["value"] and f"{2 * 3 + 4} runs" in go["value"]
    pictures = list(job.run(view.state))
    map_of = lambda picture: next((v for c, v in picture.items() if c.elem_id == "gb_patching_stream"), None)  # noqa: E731
    known = [1 - np.isnan(unpack(m["values"])).mean() for m in map(map_of, pictures) if m]
    assert known == sorted(known) and 0 < known[1] < 1 and known[-1] == 1
    first, last = ({c.elem_id: v for c, v in picture.items()} for picture in (pictures[0], pictures[-1]))
    assert first["gb_patching_maps_stop"]["visible"] and not last["gb_patching_maps_stop"]["visible"]
    assert not last["gb_patching_maps_go"]["visible"] and not last["gb_patching_stream"]["caption"]


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
        for id, was in zip(runs[name].ids, runs[name].before):
            assert id not in table or was == pytest.approx(table[id], abs=1e-6)


# ---- the pictures and scripts -------------------------------------------------------------------------------------------


def test_both_maps_share_one_scale_with_the_two_runs_as_its_places(store):
    view = view_of(store)
    maps = tuple(service.whole(view, what) for what in service.asked(view, pairs.question(view)))
    _, _, left, right = patching_maps._draw(view, maps)
    assert left["bound"] == right["bound"] >= 1 and left["ticks"][0][0] == 0 and left["ticks"][1][0] == 1
    raw = view_of(store, (patching_maps.NORMALISED, False))
    _, _, left, right = patching_maps._draw(raw, maps)
    assert [at for at, _ in left["ticks"]] == [maps[0].corrupted, maps[0].clean] and left["center"] == maps[0].corrupted
    head = patching_maps._draw(raw, maps)[0]
    assert len(head["badges"]) == 2 and all(badge["ok"] for badge in head["badges"])


def test_a_pair_without_a_difference_shows_raw_values_and_says_so(store):
    view = view_of(store, (pairs.ANSWER, " the"), (pairs.OTHER, " the"))
    maps = tuple(service.whole(view, what) for what in service.asked(view, pairs.question(view)))
    head, _, left, _ = patching_maps._draw(view, maps)
    assert "no difference" in head["what"] and left["unit"] == words("en")("patching.unit_nats")


@pytest.mark.parametrize(
    ("side", "settings"),
    [
        (0, ()),
        (0, ((pairs.METRIC, "kl"), (pairs.MODE, "noise"))),
        (1, ()),
        (1, ((service.RIGHT, "pattern"), (service.BY_POSITION, True))),
        (1, ((service.RIGHT, "neurons"), (pairs.METRIC, "probability"))),
        (1, ((pairs.PAIR, "docstring"),)),
    ],
)
def test_both_scripts_print_the_map(store, capsys, side, settings):
    view = view_of(store, *settings, layer=1)
    what = asked(view, side)
    panel, found = scripts.map_evidence(view, what), service.whole(view, what)
    assert [row[2] for row in panel.rows] == found.values.ravel().tolist()
    for code in (panel.code, panel.lens_code):
        lines = run_here(code, capsys).splitlines()[-len(found.values) :]
        assert np.allclose([list(map(float, line.split())) for line in lines], found.values, atol=2e-4)


def test_the_cells_script_prints_the_patched_prediction(store, capsys):
    view = view_of(store, (service.LOOK, "stream"), position=9, plan=EDITED)
    place = patching_cell._place(view)
    panel = scripts.cell_evidence(view, place)
    shown = [row[3] for row in panel.rows if row[0] == "patched"]
    lines = run_here(panel.code, capsys).splitlines()
    assert np.allclose([float(line.split("%")[0]) / 100 for line in lines], shown, atol=2e-6)
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
    at = page.evaluate("document.querySelector('#gb_patching_stream [data-painted]').gbCell(1, 9)")
    page.mouse.click(at["x"], at["y"])
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
