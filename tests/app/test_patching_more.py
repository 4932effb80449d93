"""The further panels of patching: previews and what they miss, paths, noise, and whole sets; each with scripts that print it."""

import json

import numpy as np
import pytest
import torch
from scripts import run_here
from views import view_of

from app import store as store_module
from app.evidence import as_json
from app.figures.patching import Cloud, distribution, exact_and_preview
from app.service import patching as service
from app.service import patching_noise as noise
from app.service import patching_pair as pairs
from app.service import patching_paths as paths
from app.service import patching_preview as preview
from app.service import patching_scripts_more as scripts
from app.service import patching_set as sets
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import patching_more, patching_noise, patching_paths, patching_preview, patching_set
from app.text import words
from interp.edits import Edit, Plan
from interp.intervene import compile_plan
from interp.path_patching import Receiver


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m"))


def last(steps):
    *_, found = steps
    return found


def numbers(text: str, rows: int) -> np.ndarray:
    return np.array([list(map(float, line.split())) for line in text.splitlines()[-rows:]])


# ---- previews -----------------------------------------------------------------------------------------------------------


def test_a_preview_is_under_the_edits_in_force(store):
    view = view_of(store, plan=Plan((Edit.zero("mlp_out", 0),)))
    q = pairs.question(view)
    found = preview.guess(view, service.asked(view, q)[0], "attribution").found
    for value, ids in ((found.clean, q.clean), (found.corrupted, q.corrupted)):
        logits = view.model(torch.tensor([list(ids)]), hook=compile_plan(view.model, q.plan, True))[0, -1]
        assert value == pytest.approx((logits[q.correct[0]] - logits[q.wrong[0]]).item(), abs=1e-4)


@pytest.mark.parametrize("mode", ["denoise", "noise"])
def test_a_preview_is_the_change_times_the_gradient(store, mode):
    view = view_of(store, (pairs.MODE, mode))
    q = pairs.question(view)
    guess = preview.guess(view, service.asked(view, q)[0], "attribution")
    name, model = "blocks.1.hook_resid_pre", view.model
    _, cache = model.run_with_cache(torch.tensor([list(q.source)]), [name])
    held = {}

    def put(point, x):
        if point == name:
            held["x"] = x = x.detach().requires_grad_()
        return x

    logits = model(torch.tensor([list(q.base)]), hook=put)[0, -1]
    (logits[q.correct[0]] - logits[q.wrong[0]]).backward()
    effect = ((cache[name] - held["x"]) * held["x"].grad).sum(-1)[0]
    assert np.allclose(guess.found.values[1] - guess.found.base, effect.detach().numpy(), atol=1e-4)


def test_missed_cells_matter_exactly_and_were_guessed_small(store):
    view = view_of(store, (pairs.PAIR, "docstring"), (service.RIGHT, "q"))
    for what in service.asked(view, pairs.question(view)):
        unknown = preview.guess(view, what, "attribution")
        exact = service.whole(view, what)
        guess = preview.guess(view, what, "attribution")
        assert unknown.matter is None and unknown.missed == ()
        scale = abs(exact.clean - exact.corrupted)
        real, guessed = abs(exact.values - exact.base), abs(guess.found.values - guess.found.base)
        matters = real >= preview.THRESHOLD * scale
        assert guess.matter == matters.sum()
        assert set(guess.missed) == set(map(tuple, np.argwhere(matters & (guessed < preview.THRESHOLD * scale / 2)).tolist()))


def test_the_previews_panel_marks_what_was_missed_and_says_how_well_it_agrees(store):
    view = view_of(store, (preview.METHOD, "eap_ig"), lang="ko")
    for what in service.asked(view, pairs.question(view)):
        service.whole(view, what)
    guesses = last(preview.steps(view))
    head, left, right, figure = patching_preview._draw(view, guesses)
    real, guessed = (np.concatenate([(m.values - m.base).ravel() for m in both]) for both in ([g.exact for g in guesses], [g.found for g in guesses]))  # fmt: skip
    assert f"{np.corrcoef(real, guessed)[0, 1]:.2f}" in head["what"]
    assert left["marked"] == [list(cell) for cell in guesses[0].missed] and left["bound"] == right["bound"]
    points = [trace for trace in figure["value"].data if trace.mode == "markers"]
    assert sum(len(trace.x) for trace in points) == real.size
    assert preview.cost(view).rows == 0


# ---- paths --------------------------------------------------------------------------------------------------------------


def test_the_direct_path_to_the_logits_adds_one_heads_change_to_the_end(store):
    view = view_of(store, (paths.APPROXIMATE, "direct"))
    q, model = pairs.question(view), view.model
    found = paths.paths(view, q, (), "direct").found
    names = [f"blocks.{layer}.attn.hook_z" for layer in range(2)] + ["blocks.1.hook_resid_post"]
    caches = [model.run_with_cache(torch.tensor([list(ids)]), names)[1] for ids in (q.base, q.source)]
    for layer in range(2):
        for head in range(2):
            z = [cache[names[layer]][0, -1, head] for cache in caches]
            resid = caches[0][names[2]][0, -1] + (z[1] - z[0]) @ model.h[layer].attn.W_O[head]
            logits = model.unembed(resid[None, None])[0, 0]
            assert found.values[layer, head] == pytest.approx((logits[q.correct[0]] - logits[q.wrong[0]]).item(), abs=1e-4)


def test_paths_end_at_the_chosen_head(store):
    view = view_of(store, (paths.RECEIVER, "k"), (paths.HEAD, "L1H1"))
    assert paths.receivers(view) == (Receiver(1, 1, "k"),)
    done = last(paths.steps(view))
    assert [d.method for d in done] == ["exact", "linear"]
    for found in done:  # the last layer's heads come after the receiver
        assert found.found.values[1] == pytest.approx(found.found.base, abs=1e-4)
    head, exact, beside = patching_paths._draw(view, done)
    exact, beside = exact["value"], beside["value"]
    assert "L1H1" in head["what"] and exact["bound"] == beside["bound"] and exact["caption"] != beside["caption"]
    service.whole(view, service.Asked(pairs.question(view), "z"))
    strongest = service.whole(view, service.Asked(pairs.question(view), "z"))
    far = np.abs(strongest.values - strongest.base)
    chosen = paths.receiver_head(view_of(store, (paths.RECEIVER, "k")))
    assert far[chosen] == far.max()
    with pytest.raises(ValueError, match="no head of glass-2m; write it as L1H2"):
        paths.receivers(view_of(store, (paths.RECEIVER, "q"), (paths.HEAD, "L9H9")))


def test_under_edits_of_the_stream_there_is_the_exact_map_alone(store, capsys):
    view = view_of(store, plan=Plan((Edit.scale("resid_pre", 1, value=1.5),)))
    done = last(paths.steps(view))
    assert [d.method for d in done] == ["exact"] and paths.cost(view).rows == 0
    head, exact, beside = patching_paths._draw(view, done)
    assert exact["visible"] and not beside["visible"] and words("en")("patching.paths_alone") in head["what"]
    panel = scripts.paths_evidence(view)
    assert np.allclose(numbers(run_here(panel.code, capsys), 2).ravel(), [row[3] for row in panel.rows], atol=2e-4)


# ---- noise --------------------------------------------------------------------------------------------------------------


def test_noise_drowns_the_words_that_differ_and_restoring_everything_brings_the_answer_back(store):
    view = view_of(store)
    q = pairs.question(view)
    steps = list(noise.steps(view))
    found = steps[-1]
    assert found.subject == (9, 10) and np.isnan(steps[0].found.values).any() and found.found.done == 1
    assert found.found.values[-1, -1] == pytest.approx(found.found.clean, abs=1e-4)  # the last state is what is read
    drawn = noise.noise(view, q)
    embedded = view.model(torch.tensor([list(q.clean)] * noise.SAMPLES), stop_at_layer=0)
    embedded[:, 9:10] += drawn.samples
    logits = view.model(embedded, start_at_layer=0)[:, -1]
    drowned = (logits[:, q.correct[0]] - logits[:, q.wrong[0]]).mean().item()
    assert found.found.corrupted == pytest.approx(drowned, abs=1e-4)
    assert found.found.values[0, 0] == pytest.approx(drowned, abs=1e-4)  # before the words there is nothing to restore
    head, value = patching_noise._draw(view, found)
    assert view.show([q.clean[9]])[0] in head["what"] and value["columns"][9] == view.show([q.clean[9]])[0]
    windowed = noise.asked(view_of(store, (noise.STATE, "mlp_out"), (noise.WINDOW, 40)))
    assert windowed.window == 2 and noise.asked(view).window == 1


# ---- whole sets ---------------------------------------------------------------------------------------------------------


def test_over_a_set_each_pair_is_patched_and_a_stopped_job_goes_on(store):
    view = view_of(store, (sets.COUNT, 8))
    steps = sets.steps(view)
    assert next(steps).done == 2
    steps.close()
    done = len(sets._done(view, sets.asked(view)))
    assert sets.begun(view).done == done < 8 and sets.cost(view).rows == (8 - done) * 4
    found = last(sets.steps(view))
    assert found.done == 8 and sets.cost(view).rows == 0
    pair = sets.drawn(view, sets.asked(view)).pairs[-1]
    bos = view.model.tokenizer.bos_id
    one = service.patching.sweep(view.model, [bos, *pair.clean.ids], [bos, *pair.corrupted.ids], lambda logits: logits[:, pair.correct[0]] - logits[:, pair.wrong[0]], "z")  # fmt: skip
    assert torch.allclose(found.result.values[-1], one.effect.double(), atol=1e-4)


def test_two_readers_of_one_set_get_what_one_gets_alone(store, monkeypatch):
    alone = last(sets.steps(view_of(ModelStore(Settings(model="glass-2m")), (sets.COUNT, 8), (sets.SET, "greater_than"))))
    view = view_of(store, (sets.COUNT, 8), (sets.SET, "greater_than"))
    first, second = sets.steps(view), sets.steps(view)
    next(first), next(second)  # both are on their way over the same pairs
    found = last(first)
    assert torch.equal(found.result.values, alone.result.values) and len(sets._done(view, sets.asked(view))) == 8
    assert torch.equal(last(second).result.values, alone.result.values)
    monkeypatch.setattr(store_module, "KEPT_RESULTS", 1)  # what was done is forgotten on the way
    forgetful = view_of(ModelStore(Settings(model="glass-2m")), (sets.COUNT, 8), (sets.SET, "greater_than"))
    assert torch.equal(last(sets.steps(forgetful)).result.values, alone.result.values)


def test_the_set_panel_shows_the_cell_its_interval_and_the_worst_prompts(store):
    view = view_of(store, (sets.COUNT, 8), (service.LOOK, "heads"), layer=1, head=1)
    found = last(sets.steps(view))
    head, value, said, figure, table = patching_set._draw(view, found)
    effects = found.result.values[:, 1, 1].numpy() / found.result.difference
    assert f"{effects.mean():.2f}" in said["what"] and value["selected"] == [1, 1]
    assert np.allclose(figure.data[0].x, effects)
    assert [row[1] for row in table["rows"]] == pytest.approx(sorted(effects)[: sets.WORST], abs=1e-6)
    unsure = {(r, c) for r in range(2) for c in range(2) if found.result.interval.low[r, c] <= 0 <= found.result.interval.high[r, c]}  # fmt: skip
    assert set(map(tuple, value["marked"])) == unsure
    clean = view_of(store, (sets.COUNT, 8), (sets.SHOWN, "clean"))
    assert np.allclose(patching_set._draw(clean, found)[3].data[0].x, found.result.clean.numpy())


# ---- scripts, figures, choices ------------------------------------------------------------------------------------------


def test_the_scripts_print_what_the_panels_show(store, capsys):
    view = view_of(store, (paths.RECEIVER, "q"), (sets.COUNT, 8))
    panel = scripts.preview_evidence(view)
    for code in (panel.code, panel.lens_code):
        printed = run_here(code, capsys).split()
        assert np.allclose(list(map(float, printed)), [row[1] for row in panel.rows], atol=2e-4)
    panel = scripts.paths_evidence(view)
    assert np.allclose(numbers(run_here(panel.code, capsys), 4).ravel(), [row[3] for row in panel.rows], atol=2e-4)
    panel = scripts.noise_evidence(view)
    for code in (panel.code, panel.lens_code):
        assert np.allclose(numbers(run_here(code, capsys), 2).ravel(), [row[3] for row in panel.rows], atol=2e-4)
    panel = scripts.set_evidence(view)
    printed = run_here(panel.code, capsys).replace("[", "").replace("]", "").split()
    found = last(sets.steps(view)).result
    means = list(map(float, printed))[::3]
    assert np.allclose(means, found.mean.ravel().numpy(), atol=2e-4) and len(panel.rows) == 8 * 4
    edited = view_of(store, plan=Plan((Edit.zero("z", 0, 1),)))
    for evidence in (scripts.preview_evidence, scripts.noise_evidence):
        assert evidence(edited).lens_code == ""
        json.loads(as_json(evidence(edited)))


def test_the_charts_hold_what_they_are_given():
    labels = words("en").section("patching_scatter")
    cloud = Cloud("a", np.array([0.0, 1.0, 2.0]), np.array([0.1, 0.9, 0.0]), ["x", "y", "z"], [2])
    figure = exact_and_preview([cloud], labels, "nats")
    assert [list(t.x) for t in figure.data[1:]] == [[0, 1], [2]] and "1 that matter" in figure.description
    with pytest.raises(ValueError, match="give pairs"):
        exact_and_preview([Cloud("a", np.zeros(2), np.zeros(3), ["x"] * 2)], labels, "nats")
    chart = distribution([1.0, 2.0, 4.0], 7 / 3, (1.5, 3.0), words("ko").section("patching_set"), "nats")
    bar = chart.data[2].error_x
    assert (bar.array[0], bar.arrayminus[0]) == pytest.approx((3 - 7 / 3, 7 / 3 - 1.5))
    with pytest.raises(ValueError, match="at least one"):
        distribution([], 0.0, (0.0, 0.0), words("en").section("patching_set"), "nats")


def test_only_the_panel_that_is_looked_at_is_computed():
    state = PageState()
    assert [patching_more.shown_when(name)(state) for name in patching_more.PANELS] == [True, False, False, False]
    state = patching_more.METHOD.on(state, "set")
    assert [name for name in patching_more.PANELS if patching_more.shown_when(name)(state)] == ["set"]
