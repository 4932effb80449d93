"""The two maps of the patching tab: every cell against a run patched by hand, how they fill, and scripts that print them."""

import gradio as gr
import numpy as np
import pytest
import torch
from scripts import run_here
from views import view_of

from app.components.packing import unpack
from app.page import Page
from app.service import patching as service
from app.service import patching_pair as pairs
from app.service import patching_scripts as scripts
from app.service.patching import Place
from app.settings import Settings
from app.store import ModelStore
from app.tabs import patching_job, patching_maps
from app.text import words
from interp.edits import Edit, Plan
from interp.intervene import compile_plan

EDITED = Plan((Edit.scale("mlp_out", 0, value=0.5),))


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m"))


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
    begun = {c.elem_id: v for c, v in pictures[0].items()}
    assert begun["gb_patching_maps_stop"]["visible"] and not begun["gb_patching_maps_go"]["visible"]
    *_, left, right, go, stop = job.render(view)  # what is drawn when it has ended
    assert not stop["visible"] and not go["visible"] and not left["caption"]


def test_what_is_stopped_stays_as_it_is_however_little_is_left(store, monkeypatch):
    with gr.Blocks() as demo:
        job = patching_maps.build(Page(store))
    monkeypatch.setattr(service, "AT_ONCE", 0)
    monkeypatch.setattr(patching_job, "FRAME", 0)
    view = view_of(store, (pairs.CLEAN, "The hen and his"), (pairs.CORRUPTED, "The fox and his"))
    running = job.run(view.state)
    for _ in range(3):
        next(running)
    running.close()
    monkeypatch.setattr(service, "AT_ONCE", float("inf"))
    (behind,) = [f for f in demo.fns.values() if f.trigger_after == job.running["id"]]
    *_, left, right, go, stop, _message = behind.fn(view.state)
    assert 0 < np.isnan(unpack(left["values"])).mean() < 1 and go["visible"] and not stop["visible"]


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
    assert panel.columns[2:] == ("metric_probability" if "probab" in what.question.measure else "metric_nats", "share")
    printed = run_here(panel.code, capsys).split("difference:\n")[1].splitlines()[: len(found.values)]
    assert np.allclose([list(map(float, line.split())) for line in printed], found.normalised, atol=2e-4)
    for code in (panel.code, panel.lens_code):
        lines = run_here(code, capsys).splitlines()[-len(found.values) :]
        assert np.allclose([list(map(float, line.split())) for line in lines], found.values, atol=2e-4)
