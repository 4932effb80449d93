"""The attribution tab: its numbers against the library and against sums, its scripts, and the tab in Chromium."""

import re
from urllib.parse import urlencode

import numpy as np
import pytest
import torch
from scripts import run_here

from app.service import attribution as service
from app.service.view import View
from app.settings import Settings
from app.state import TABS, PageState
from app.store import ModelStore, n_bytes
from app.tabs import attribution as tab
from app.text import words
from interp.edits import NO_EDITS, Edit, Plan

PROMPT = "The boy met Tom. The girl met Tom. The boy met"
OFF = Plan((Edit.zero("z", 1, 2), Edit.add("resid_pre", 1, text=" old", value=2.0)))


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-7m"))


def view_of(store, **changes):
    return View(store, PageState(model="glass-7m", prompt=PROMPT, tab="attribution").but(**changes))


def test_the_target_is_read_from_two_texts(store):
    view = view_of(store)
    tom, sam = (view.model.tokenizer.encode(name)[0] for name in (" Tom", " Sam"))
    assert service.wanted(view, "", "") == service.Wanted(int(view.run.logits[-1].argmax()))
    assert service.wanted(view, "·Tom", " Sam") == service.Wanted(tom, sam)
    with pytest.raises(ValueError, match="difference is 0"):
        service.wanted(view, " Tom", "·Tom")
    with pytest.raises(ValueError, match="exactly one token"):
        service.wanted(view, " clocktower", "")


@pytest.mark.parametrize("plan", [NO_EDITS, OFF])
def test_every_split_sums_to_the_logit_difference(store, plan):
    view = view_of(store, plan=plan)
    what = service.wanted(view, " Tom", " Sam")
    logits = view.run.logits[-1]
    difference = (logits[what.token] - logits[what.minus]).item()
    parts = service.layers(view, what, plan)
    heads, _ = service.head_table(view, what, plan)
    of_all, edited, check = service.sources(view, what, None, plan)
    of_one, _, _ = service.sources(view, what, (1, 1), plan)
    assert parts.values.sum() == pytest.approx(difference, abs=1e-4) and parts.check.holds and check.holds
    attention = sum(value for label, value in zip(parts.labels, parts.values) if label.endswith("attn_out"))
    direction = (view.model.W_U[:, what.token] - view.model.W_U[:, what.minus]).double() * view.model.ln_f.weight.double()
    _, cache = view.model.run_with_cache(torch.tensor([view.run.tokens])) if not plan else (None, None)
    assert of_one.sum() == pytest.approx(heads[1, 1], abs=1e-5) and of_all.sum() + edited == pytest.approx(
        heads.sum(), abs=1e-4
    )
    assert bool(edited) == bool(plan)
    if cache is not None:
        scale = cache["ln_final.hook_scale"][0, -1].double()
        bias = sum(((b.attn.b_O.double() - b.attn.b_O.double().mean()) / scale * direction).sum().item() for b in view.model.h)
        assert heads.sum() + bias == pytest.approx(attention, abs=1e-4)
    else:
        assert heads[1, 2] == pytest.approx(0, abs=1e-6)  # it is off


def test_saliency_is_the_slope_and_integrated_gradients_are_complete(store):
    view = view_of(store)
    what = service.wanted(view, " Tom", "")
    slope, check = service.saliency(view, what, "gradient", NO_EDITS)
    assert check.name == "slope" and check.holds and slope.shape == (len(view.run),)
    for method in service.METHODS[1:]:
        values, check = service.saliency(view, what, method, NO_EDITS)
        assert check.holds and values.shape == slope.shape
    neurons = service.neurons(view, what, NO_EDITS)
    assert len(neurons.labels) == service.NEURONS and (np.diff(np.abs(neurons.values)) <= 1e-9).all()


@pytest.mark.parametrize("plan", [NO_EDITS, OFF], ids=["plain", "edited"])
def test_where_activations_take_too_much_memory_those_of_one_position_give_the_same(store, plan, monkeypatch):
    view = view_of(store, plan=plan, position=4)
    what = service.wanted(view, " Tom", "")

    def all_panels() -> list[np.ndarray]:
        sums = [found.values for found in (service.layers(view, what, plan), service.neurons(view, what, plan))]
        return [*sums, service.head_table(view, what, plan)[0], service.sources(view, what, None, plan)[0]]

    whole = all_panels()
    monkeypatch.setattr(service, "MOST_BYTES", 0)
    for ours, theirs in zip(all_panels(), whole, strict=True):
        assert np.abs(theirs).max() > 0 and np.allclose(ours, theirs, atol=1e-5)
    (run,) = [run for key, (run, _) in store._results.items() if key[1:2] == ("attribution run",) and key[-2:] == (plan, 4)]
    assert n_bytes(run.activations) < 0.5 * sum(x.nbytes for x in run.activations.values())


@pytest.mark.parametrize("minus", ["", " Sam"])
def test_scripts_print_what_the_panels_show(store, minus, capsys):
    view = view_of(store)
    what = service.wanted(view, " Tom", minus)
    panels = [service.layers_evidence(view, what), service.heads_evidence(view, what), service.neurons_evidence(view, what)]
    panels += [service.sources_evidence(view, what, head) for head in (None, (1, 2))]
    panels += [service.saliency_evidence(view, what, method) for method in ("gradient", "mean")]
    for panel in panels:
        printed = [float(x) for x in re.findall(r"[+-]\d+\.\d{6}\b", run_here(panel.code, capsys))]
        shown = [row[-1] for row in panel.rows]
        assert panel.columns[-1] == "logits"
        assert np.allclose(printed, shown, atol=2e-6), panel.name
    for panel in panels[:2]:
        printed = dict(re.findall(r"^\s*(\S+) ([+-]\d+\.\d{6})$", run_here(panel.lens_code, capsys), re.M))
        shown = {label: value for label, value in panel.rows if label in printed}
        assert len(shown) >= 9 and all(
            value == pytest.approx(float(printed[label]), abs=1e-4) for label, value in shown.items()
        )


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_panels_say_what_they_show(store, lang):
    for plan in (NO_EDITS, OFF):
        view = view_of(store, lang=lang, plan=plan)
        for render in (tab._layers, tab._heads, tab._sources, tab._neurons, tab._saliency):
            head, picture = render(view)
            assert "{" not in head["what"] and head["exports"]["name"].startswith("attribution")
        assert tab._heads(view)[1]["selected"] == [0, 0]
    assert words(lang)("attribution.mean") in tab._layers(view)[0]["what"]
    assert "attribution" in TABS


@pytest.mark.browser
def test_a_reader_asks_why(page_url, browser_page):
    page = browser_page
    page.goto(f"{page_url}/?{urlencode({'prompt': PROMPT, 'tab': 'attribution', 'model': 'glass-7m'})}")
    for name in ("layers", "sources", "neurons", "saliency"):
        page.wait_for_selector(f"#gb_attribution_{name} .js-plotly-plot .bars")
    page.wait_for_selector("#gb_attribution_heads [data-painted]")
    page.fill("#gb_attribution_minus :is(input, textarea)", " Sam")
    page.wait_for_function("() => document.querySelector('#gb_attribution_layers_head').innerText.includes('·Sam')")
    assert "s.attribution.minus=+Sam" in page.url
    with page.expect_download() as saved:
        page.click("#gb_attribution_layers_head [data-name=save]")
        page.click(".gb-layer [data-kind=SVG]")
    assert "<svg" in saved.value.path().read_text() and saved.value.suggested_filename == "attribution-layers.svg"
    with page.expect_download() as saved:
        page.click("#gb_attribution_heads_head [data-name=save]")
        page.click(".gb-layer [data-kind=CSV]")
    assert saved.value.path().read_text().startswith("head,logits")
    page.click("#gb_attribution_heads_head [data-name=code]")
    assert "attribution.by_head" in page.inner_text("dialog .gb-code")
    page.get_by_role("button", name="transformer-lens").click()
    assert "run_with_cache" in page.inner_text("dialog .gb-code")
