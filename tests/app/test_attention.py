"""The attention tab: what it computes, against interp."""

import numpy as np
import pytest
import torch
import views

from app.components.head_grid import pool_patterns
from app.service import attention as service
from app.service import view as view_module
from app.service.view import View
from app.settings import Settings
from app.store import ModelStore
from app.tabs import attention as tab
from app.tabs import attention_choices as choices
from app.tabs import attention_head, attention_surgery
from interp.attention import patterns
from interp.edits import Edit, Plan
from interp.heads import scores
from interp.run import trace

PROMPT = "When the old clock struck twelve, the old man opened the door"
LONG = " ".join([PROMPT] * 5)
OFF = Plan((Edit.zero("z", 2, 1),))


def view_of(store, prompt=PROMPT, chosen=None, **changes) -> View:
    """chosen: settings of the tab, {SETTING: value}."""
    return views.view_of(store, *(chosen or {}).items(), prompt=prompt, tab="attention", **changes)


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


def test_one_token_and_a_lone_end_of_text(store):
    for prompt in ("a", ""):
        view = view_of(store, prompt, bos=not prompt)
        assert len(view.run) == 1
        assert service.pictures(view).pooled.shape[-1] == 1
        again = {choices.ORDER: "sink", choices.TIMES: 2, choices.HIDE: True}
        tab._grid_values(view_of(store, prompt, chosen=again, bos=not prompt), (service.measure_scores(view),))
        attention_head._head_words(view, ())
        assert attention_surgery.effect(view).kl > 0  # a row of one weight has nothing to rescale


# In the browser -----------------------------------------------------------------------------------------------------------


def opened(page, url, query, wait="#gb_attention_view [data-painted]"):
    page.goto(f"{url}/?{query}")
    page.wait_for_selector(wait)
    page.wait_for_selector("#gb_next [data-painted]")
