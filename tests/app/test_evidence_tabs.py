"""What the older tabs' panels hand out: tables that hold what is shown, and scripts that print it."""

import numpy as np
import pytest
from scripts import numbers, run_here

from app.service import (
    generation,
    playground,
    probabilities,
    scaling,
    scaling_evidence,
    training,
    training_evidence,
    zero_shot,
    zero_shot_evidence,
)
from app.service.view import View
from app.service.writing import Knobs, Order
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from gpt2_core.tasks import TASKS
from interp import bridge
from interp.edits import Edit, Plan

PROMPT = "When the old clock struck twelve, the old"
OFF = Plan((Edit.zero("z", 0, 1),))


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m", device="cpu"))


@pytest.fixture
def view(store, monkeypatch):
    view = View(store, PageState(model="glass-2m", prompt=PROMPT))
    made = bridge.to_transformer_lens(view.model)
    monkeypatch.setattr(bridge, "to_transformer_lens", lambda model: made)  # 2 s each; test_evidence.py runs a script as it is
    return view


def test_probabilities(view, capsys):
    following, text = probabilities.next_evidence(view), probabilities.text_evidence(view)
    for code in (following.code, following.lens_code):
        lines = run_here(code, capsys).splitlines()
        assert np.allclose([numbers(line)[0][0] for line in lines], [row[3] for row in following.rows], atol=1e-6)
        assert [int(line.split()[1]) for line in lines] == [row[2] for row in following.rows]
    for code in (text.code, text.lens_code):
        lines = [line for line in run_here(code, capsys).splitlines() if not line.startswith("mean")]
        assert np.allclose([numbers(line)[0][:2] for line in lines], [row[2:4] for row in text.rows[1:]], atol=1e-4)
        assert [int(line.split()[3]) for line in lines] == [row[4] for row in text.rows[1:]]


def test_probabilities_beside_those_without_the_edits(view, capsys):
    edited = View(view.store, view.state.but(plan=OFF))
    following, text = probabilities.next_evidence(edited), probabilities.text_evidence(edited)
    assert following.lens_code == text.lens_code == ""
    lines = run_here(following.code, capsys).splitlines()
    printed = [(numbers(line)[0][0], numbers(line)[0][-1]) for line in lines]
    assert np.allclose(printed, [row[3:5] for row in following.rows], atol=1e-6)
    before = run_here(text.code, capsys).split("without the edits")[1].strip().splitlines()
    bits = [row[5] for row in text.rows[1:]]
    assert np.allclose([numbers(line)[0][0] for line in before], bits, atol=1e-4) and bits != [row[2] for row in text.rows[1:]]


def test_playground(view, capsys):
    made = generation.preview(view)
    panel, text = playground.evidence(view, made), made.columns[0][0]
    assert run_here(panel.code, capsys).rstrip("\n") == text.text.removeprefix(PROMPT).rstrip("\n")
    ids = [row[4] for row in panel.rows if row[5] == "generated"]
    assert run_here(panel.lens_code, capsys).strip() == str(ids) and len(ids) > 10
    order = Order(view.state.but(plan=OFF), Knobs(6, 0.8, top_k=20, seed=3, n=2))
    *_, drawn = generation.write(view.store, order)
    panel = playground.evidence(View(view.store, order.state), drawn)
    printed = run_here(panel.code, capsys)
    assert panel.lens_code == "" and {row[0] for row in panel.rows} == {"edited", "plain"}
    for row in drawn.columns[0]:
        assert row.text.removeprefix(PROMPT) in printed
    with pytest.raises(ValueError, match="no text yet"):
        playground.evidence(view, None)


def test_training(view, capsys):
    film, panel = training.film_of(view.store, "glass-2m"), training_evidence.film_evidence(view)
    lines = run_here(panel.code, capsys).splitlines()
    assert len(lines) == len(panel.rows) == film.frames
    assert np.allclose([numbers(line)[0][-1] for line in lines], [row[-1] for row in panel.rows], atol=1e-4)
    assert panel.rows[-1][:2] == (film.steps[-1], film.tokens[-1])
    family = training_evidence.family_evidence(view)
    assert len(run_here(family.code, capsys).splitlines()) == len(family.rows) > 10


def test_scaling(view, capsys):
    for name in ("glass-2m", "glass-3m"):
        scaling.read(view, name)
    panel = scaling_evidence.readings_evidence(view)
    lines = [line for line in run_here(panel.code, capsys).splitlines() if "entropy" not in line]
    assert np.allclose([numbers(line)[0][0] for line in lines], [row[4] for row in panel.rows], atol=1e-6)
    curve = scaling_evidence.curve_evidence(view, "lambada_acc")
    printed = run_here(curve.code, capsys)
    assert len(curve.rows) >= 5 and all(f"{name} {value}" in printed for name, n, value in curve.rows if n)
    costs = scaling_evidence.costs_evidence(view, "bfloat16")
    printed = set(run_here(costs.code, capsys).splitlines())
    assert {" ".join([name, *(str(int(x)) for x in rest)]) for name, *rest in costs.rows} <= printed


def test_zero_shot(view, capsys):
    for name in ("finish", "resolve"):
        task = TASKS[name]
        values = {f.name: f.default for f in task.fields} | dict(task.examples[0].values)
        settings = (("zero_shot.task", name), ("zero_shot.example", task.examples[0].name))
        asking = View(view.store, view.state.but(settings=settings))
        (run,) = zero_shot.task_runs(asking, ["glass-2m"])
        assert zero_shot_evidence.evidence(asking).rows == []
        outcome = list(zero_shot.outcomes(asking, run, task, values))[-1]
        panel = zero_shot_evidence.evidence(asking)
        printed = run_here(panel.code, capsys)
        if name == "finish":
            assert panel.rows[0][3] == outcome.answer == printed.strip()
        else:
            asked = outcome.ways[0].candidates
            assert np.allclose([numbers(line)[0][0] for line in printed.splitlines()], [c.logprob for c in asked], atol=1e-4)
            assert {row[3] for row in panel.rows} == {c.name for c in asked}
