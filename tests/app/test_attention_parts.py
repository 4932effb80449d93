"""Surgery, the variants of attention, scores and paths: each number against its naive definition, and the scripts that print it."""

import numpy as np
import pytest
import torch
from scripts import numbers, run_here

from app.figures.attention import paths_bars
from app.service import attention as heads
from app.service import attention_paths as paths
from app.service import attention_scores as scores
from app.service import attention_shown as shown
from app.service import attention_surgery as surgery
from app.service import view as limits
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import attention, attention_head, attention_surgery, edit_form
from app.tabs import attention_choices as choices
from app.text import words
from interp import bridge
from interp.edits import Edit, Plan
from interp.run import trace

PROMPT = "Mr. Darnley bowed to Miss Harwick. Mr. Darn"
OFF = Plan((Edit.zero("z", 0, 1),))


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m", device="cpu"))


def view_of(store, prompt=PROMPT, **changes) -> View:
    return View(store, PageState(**{"model": "glass-2m", "prompt": prompt, "layer": 1, "head": 1, **changes}))


def naive_lengths(view, kind):
    """[layer head query key] by loops."""
    run, n = trace(view.model, view.state.prompt, view.state.plan), len(view.run)
    cfg = view.config
    out = np.zeros((cfg.n_layers, cfg.n_heads, n, n))
    for layer, head, query in np.ndindex(cfg.n_layers, cfg.n_heads, n):
        for key in range(query + 1):
            vector = run.activations["v", layer][key, head].detach()
            if kind == "norms":
                vector = vector @ view.model.h[layer].attn.W_O[head].detach()
            out[layer, head, query, key] = (run.activations["pattern", layer][head, query, key] * vector).norm()
    return out


@pytest.mark.parametrize("kind", ["value_weighted", "norms"])
def test_lengths_of_vectors(store, kind):
    view = view_of(store, plan=Plan((Edit.zero("mlp_out", 0),)))
    expected = naive_lengths(view, kind)
    assert np.allclose(shown.head_table(view, view.run, kind, 1, 0), expected[1, 0], atol=1e-5)
    small = shown.thumbnails(view, kind, hide_first=False)
    assert small.block == 1 and np.allclose(small.pooled, expected, atol=1e-5) and small.check.holds
    assert small.largest == pytest.approx(expected.max(), abs=1e-5)
    rest = shown.thumbnails(view, kind, hide_first=True)
    expected[..., 0] = 0
    assert np.allclose(rest.pooled, expected, atol=1e-5) and rest.largest == pytest.approx(expected.max(), abs=1e-5)
    assert shown.largest_of(view, kind) >= small.largest


def test_lengths_are_pooled_and_fall_back_to_weights(store, monkeypatch):
    view = view_of(store, " ".join([PROMPT] * 6))
    small = shown.thumbnails(view, "norms", False)
    table = shown.norms(view, view.run).norms.numpy()
    assert small.block > 1 and small.pooled[1, 0].max() == table[1, 0].max()
    assert small.pooled[0, 1, 3, 1] == table[0, 1, 3 * small.block : 4 * small.block, small.block : 2 * small.block].max()
    monkeypatch.setattr(limits, "PATTERNS_IN_RUN", 0)
    assert shown.thumbnails(view, "norms", False).kind == "weights" and shown.largest_of(view, "norms") == 1


def set_by_hand(pattern, edit):
    """One weight set in a pattern [batch head query key], row by row."""
    for query in edit.positions:
        row = pattern[0, edit.head, query]
        rest = row.sum() - row[edit.key]
        if edit.renormalise and rest > 0:
            row *= (1 - edit.value) / rest
        row[edit.key] = edit.value
    return pattern


@pytest.mark.parametrize(("rows", "which", "renormalise"), [("cell", "head", True), ("column", "layer", False)])
@pytest.mark.parametrize("read_at", ["last", "selected"])
def test_the_effect_is_that_of_a_hand_written_hook(store, rows, which, renormalise, read_at):
    view = view_of(store, position=14)
    edits = surgery.proposal(view, (14, 4), 0.25, rows, which, renormalise)
    assert len(edits) == (1 if which == "head" else view.config.n_heads)
    assert edits[0].positions == ((14,) if rows == "cell" else tuple(range(5, len(view.run))))
    found = surgery.effect(view, edits, read_at)
    tokens, model, at = torch.tensor([view.run.tokens]), view.model, 14 if read_at == "selected" else len(view.run) - 1
    hooks = [(edit.hook_name, lambda pattern, hook, edit=edit: set_by_hand(pattern.clone(), edit)) for edit in edits]
    with torch.no_grad():
        p = model(tokens)[0, at].double().log_softmax(-1)
        q = model.run_with_hooks(tokens, fwd_hooks=hooks)[0, at].double().log_softmax(-1)
    assert found.position == at and not found.in_force
    assert found.kl == pytest.approx(((p.exp() * (p - q)).sum() / np.log(2)).item(), abs=1e-5)
    moved = (q.exp() - p.exp()).numpy()
    largest = np.sort(np.abs(moved))[-surgery.MOVERS :]  # tokens that move equally little may come in either order
    assert np.allclose(np.sort(np.abs(moved[found.ids])), largest, atol=1e-6)
    assert (np.diff(moved[found.ids]) <= 1e-6).all()
    assert np.allclose(found.p_before, p.exp()[found.ids], atol=1e-6) and np.allclose(
        found.p_after, q.exp()[found.ids], atol=1e-6
    )
    assert found.answer == p.argmax() and found.rival != found.answer
    with torch.no_grad():
        for hooked, heads_of, total in (
            (hooks, found.heads_after, found.difference_after),
            ([], found.heads_before, found.difference_before),
        ):
            cache: dict = {}
            names = [f"blocks.{layer}.attn.hook_z" for layer in range(2)] + ["ln_final.hook_scale"]
            keep = [(name, lambda x, hook, cache=cache: cache.update({hook.name: x.clone()})) for name in names]
            logits = model.run_with_hooks(tokens, fwd_hooks=[*hooked, *keep])[0, at]
            assert total == pytest.approx((logits[found.answer] - logits[found.rival]).item(), abs=1e-4)
            direction = (model.W_U[:, found.answer] - model.W_U[:, found.rival]) * model.ln_f.weight
            for layer, head in np.ndindex(2, view.config.n_heads):
                written = cache[names[layer]][0, at, head] @ model.h[layer].attn.W_O[head]
                share = ((written - written.mean()) / cache[names[-1]][0, at] * direction).sum().item()
                assert heads_of[layer, head] == pytest.approx(share, abs=1e-4)


def test_what_is_in_force_is_compared_with_the_plan_without_it(store):
    view = view_of(store, plan=OFF)
    edits = surgery.proposal(view, (15, 5), 0.0, "cell", "head", True)
    preview = surgery.effect(view, edits)
    now = surgery.effect(view_of(store, plan=surgery.with_surgery(OFF, edits)), ())
    assert now.in_force and not preview.in_force and now.edits == preview.edits == edits
    assert now.kl == preview.kl and np.array_equal(now.change, preview.change) and now.check.holds
    assert not {at for at in now.ranked(99)} & now.edited and len(now.ranked(99)) == 2 * view.config.n_heads - 1


def test_steps_are_undone_together(store):
    view = view_of(store)
    layer = surgery.proposal(view, (9, 3), 0.0, "cell", "layer", True)
    column = surgery.proposal(view, (9, 2), 0.5, "column", "head", False)
    plan = surgery.with_surgery(surgery.with_surgery(OFF, layer), column)
    assert surgery.surgery(plan) == (*layer, *column)
    assert surgery.undone(plan).edits == (*OFF.edits, *layer) and surgery.undone(surgery.undone(plan)) == OFF == surgery.undone(
        OFF
    )
    assert surgery.without_surgery(plan) == OFF
    again = surgery.with_surgery(plan, surgery.proposal(view, (9, 3), 0.5, "cell", "layer", True))
    assert len(again) == len(plan) and surgery.undone(again).edits == (*OFF.edits, *column)


def test_a_columns_chip_is_short(store):
    column = surgery.proposal(view_of(store), (9, 2), 0.5, "column", "head", False)
    assert edit_form.chip(words("en"), column[0]).label == "L1H1 pattern 3–15 → 2 = 0.5"
    assert edit_form.chip(words("en"), Edit.set_cell(1, 1, 9, 2, 0.5)).label == "L1H1 pattern 9 → 2 = 0.5"


def test_without_a_key_the_weight_is_the_rows_largest(store):
    view = view_of(store, position=15)
    row = heads.head_pattern(view, view.run, 1, 1)[15]
    assert surgery.cell(view, -1) == surgery.cell(view, 16) == (15, row.argmax()) and surgery.cell(view, 3) == (15, 3)


@pytest.mark.parametrize("method", paths.METHODS)
def test_paths_are_those_of_interp(store, method):
    from interp.attention import patterns
    from interp.rollout import flow, rollout

    view = view_of(store, position=9, plan=OFF)
    found = paths.paths(view, method)
    expected = [
        rollout(patterns(run)).values[-1, 9] if method == "rollout" else flow(patterns(run), 9).shares
        for run in (view.run, view.before)
    ]
    for shares, want in zip((found.shares, found.before), expected):
        assert np.allclose(shares, want[:10], atol=1e-6)
    assert found.even.sum() == pytest.approx(1, abs=1e-5) and len(found.even) == 10 and found.check.holds


def test_a_long_axis_names_the_first_and_the_last_token():
    labels = dict.fromkeys(("token", "share", "now", "even", "before", "description"), "x")
    for n, named in ((48, None), (951, 24)):
        figure = paths_bars(["a"] * n, np.full(n, 1 / n), np.full(n, 1 / n), labels)
        ticks = figure.layout.xaxis.tickvals
        assert (ticks is None) == (named is None) and (ticks is None or (len(ticks), ticks[0], ticks[-1]) == (24, "0", "950"))


def test_evenly_spread_paths_by_loops(store):
    view = view_of(store, position=3)
    layer = np.array([[(k <= q) / (q + 1) for k in range(4)] for q in range(4)]) / 2 + np.eye(4) / 2
    assert np.allclose(paths.paths(view, "rollout").even, np.linalg.matrix_power(layer, 2)[3], atol=1e-6)


def test_the_score_is_the_sum_of_its_parts(store):
    view = view_of(store, plan=OFF)
    for by_head in (False, True):
        found = scores.parts(view, (15, 5), by_head)
        assert found.table.sum().item() == pytest.approx(found.score, abs=1e-4) and all(c.holds for c in found.checks)
    table = np.array([[1.0, -5.0], [2.0, 0.5]])
    assert scores.largest(table, ("a", "b"), 2) == [("a", "b", -5.0), ("b", "a", 2.0)]


def test_scripts_print_what_the_panels_show(store, capsys, monkeypatch):
    view = view_of(store)
    made = bridge.to_transformer_lens(view.model)
    monkeypatch.setattr(bridge, "to_transformer_lens", lambda model: made)  # 2 s each; test_evidence.py runs a script as it is
    edits = surgery.proposal(view, (15, 5), 0.0, "cell", "head", True)
    found = surgery.effect(view, edits)
    panels = [
        (shown.grid_evidence(view, "norms"), slice(2, None)),
        (shown.head_evidence(view, "value_weighted"), slice(4, 5)),
        (heads.roles_evidence(view), slice(2, None)),
        (surgery.movers_evidence(view, found), slice(2, 4)),
        (surgery.compensation_evidence(view, found), slice(2, 4)),
        (paths.evidence(view, "rollout"), slice(2, 3)),
        (scores.parts_evidence(view, (15, 5), False), slice(2, 3)),
        (scores.dimensions_evidence(view, (15, 5)), slice(1, 2)),
    ]
    for panel, columns in panels:
        assert panel.lens_code or panel.name in ("attention-compensation", "L1H1-score-parts")
        for code in filter(None, (panel.code, panel.lens_code)):
            lines = [
                line for line in run_here(code, capsys).splitlines() if not line.startswith(("KL", "sum", "score", "logit"))
            ]
            printed = np.array([numbers(line)[0][: len(panel.rows[0][columns])] for line in lines])
            assert np.allclose(printed, np.array([row[columns] for row in panel.rows], float), atol=2e-5), panel.name


def test_scripts_under_edits_and_long_tables(store, capsys):
    view = view_of(store, plan=surgery.with_surgery(OFF, [Edit.set_cell(1, 1, 15, 5, 0.0)]))
    found = surgery.effect(view, ())
    panel = surgery.movers_evidence(view, found)
    assert panel.lens_code == "" and f"{found.kl:.6f} bits" in run_here(panel.code, capsys)
    flown = paths.evidence(view_of(store, position=6), "flow")
    printed = [numbers(line)[0][0] for line in run_here(flown.code, capsys).splitlines()]
    assert np.allclose(printed, [row[2] for row in flown.rows], atol=1e-5)
    long = view_of(store, " ".join([PROMPT] * 20))
    table = shown.head_evidence(long, "weights")
    assert table.facts["least"] == shown.LEAST and 0 < len(table.rows) < 300 * 300 / 2
    assert all(row[4] >= shown.LEAST for row in table.rows)


def test_vectors_of_a_head_that_is_off_do_not_add_up_and_the_badge_says_why(store):
    head, _ = attention._grid_values(View(store, choices.SHOW.on(view_of(store, plan=OFF).state, "norms")), ())
    assert head["badges"][0] | {"title": ""} == {"text": "outputs edited", "title": "", "ok": False}
    head, _ = attention._grid_values(View(store, choices.SHOW.on(view_of(store).state, "norms")), ())
    assert head["badges"][0]["ok"] and head["exports"]["picture"] == "gb_attention_grid"


def test_choices_reach_the_pictures(store):
    view = view_of(store)
    state = choices.KEY.on(choices.SHOW.on(view.state, "norms"), 3)
    value = attention_head._head_value(View(store, state))
    assert value["largest"] > 1 and "written" in value["text"]["unit"] and value["ends_at"] is None
    strong = View(store, choices.STRONG.on(state, True))
    assert attention_head._head_value(strong)["ends_at"] == pytest.approx(value["largest"] / 10)
    assert attention._grid_values(strong, ())[1]["clipped"]
    assert attention_surgery.proposed(View(store, state))[0] == Edit.set_cell(1, 1, 15, 3, 0.0, renormalise=True)
    cut = attention_surgery.operate(view, 0.0)
    assert choices.chosen_cell(View(store, cut)) == choices.chosen_cell(view) and cut.plan.edits[0].key == choices.KEY.of(cut)
    chosen = attention_head._select(view.state, type("E", (), {"query": 4, "key": 2}))
    assert chosen.position == 4 and choices.KEY.of(chosen) == 2
    assert choices.KEY.of(attention_head._select(chosen, type("E", (), {"query": 5, "key": None}))) == choices.EVERY
