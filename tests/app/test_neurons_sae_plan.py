"""A feature of an autoencoder on the page's plan: every tab and the printed script have the numbers of the feature's own hook."""

from urllib.parse import parse_qsl

import pytest
import stores
import torch
from scripts import run_here

from app.page import Notice
from app.service import neurons_sae
from app.service.scripts import script
from app.service.view import View
from app.state import PageState
from app.tabs import edit_form
from app.tabs import neurons_sae as panel
from app.text import words
from interp.edits import Edit, Plan
from interp.sae import FeatureEdit, feature_hook


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    store, _ = stores.with_autoencoder(tmp_path_factory.mktemp("saes"))
    state = PageState(model="glass-2m", prompt="The old clock struck twelve")
    return View(store, neurons_sae.VALUE.on(neurons_sae.FEATURE.on(state, 5), 6.0))


def with_plan(view) -> View:
    class Page:
        store = view.store

    with pytest.raises(Notice) as told:
        panel._to_plan(Page, view.state)
    return View(view.store, told.value.state)


def test_the_button_puts_it_on_the_plan_and_every_run_has_it(view, capsys):
    edited = with_plan(view)
    (edit,) = edited.state.plan
    assert edit == Edit.of_feature("release/layer", "resid_pre", 1, 5, 6.0)
    hook = feature_hook(view.model, neurons_sae.autoencoder(view), [FeatureEdit(5, 6.0)])
    with torch.no_grad():
        expected = view.model(torch.tensor([view.run.tokens]), hook=hook)[0]
    assert (edited.run.logits - expected).abs().max() <= 1e-5 < (edited.run.logits - view.run.logits).abs().max()
    back = PageState.from_query(dict(parse_qsl(edited.state.to_query())), view.state)
    assert back.plan == edited.state.plan
    shifts = [neurons_sae.edited(at, neurons_sae.features(at)).kl for at in (edited, view)]
    assert shifts[0] == shifts[1] > 0
    printed = run_here(script(edited, "", "print(f'{run.logits[-1, 7].item():.5f}')"), capsys)
    assert float(printed) == pytest.approx(expected[-1, 7].item(), abs=2e-5)
    for lang, said in (
        ("en", "feature 5 of release/layer at resid_pre L1 = 6"),
        ("ko", "resid_pre L1에서 release/layer의 특징 5 = 6"),
    ):
        assert edit_form.chip(words(lang), edit).label == said
    assert "feature" not in edit_form.OPERATIONS and edit_form.chip(words("en"), Edit.zero("z", 0, 1)).label


def test_names_of_the_network_are_refused_in_a_sentence(view):
    for name in ("../layer", "/etc", "release", "release/layer/../layer"):
        plan = Plan((Edit.of_feature(name, "resid_pre", 1, 5, 6.0),))
        with pytest.raises(ValueError, match="no autoencoder called"):
            _ = View(view.store, view.state.but(plan=plan)).run
