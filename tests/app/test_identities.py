"""The identities that badges state: they hold, and they fail where a number is wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.service import (
    anatomy_head,
    generation,
    heads_search,
    heads_weights,
    identities,
    neurons,
    patching,
    patching_pair,
    scaling,
    steering,
    steering_text,
)
from app.service.staged import finished
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.text import EN
from interp.edits import Edit, Plan

PROMPT = "When the old clock struck twelve, the old"
OFF = Plan((Edit.zero("z", 0, 1),))


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m", device="cpu"))


def view_of(store, **changes) -> View:
    return View(store, PageState(model="glass-2m", prompt=PROMPT).but(**changes))


def checks_of(view: View) -> list:
    """Every identity with the numbers as they are."""
    directions = finished(view, heads_weights.directions(view, "QK"))
    arithmetic = anatomy_head.arithmetic(view, 0, 0)
    *_, fired = neurons.fired(view, "The old man and the old woman went to the old house. " * 5)
    *_, sweep = steering.sweep(view)
    *_, pair = steering_text.write(view)
    scaling.read(view, "glass-2m")
    return [
        identities.probabilities(view),
        identities.rows(view),
        identities.texts(view, generation.preview(view)),
        identities.pair(view, pair),
        identities.search(view, heads_search.at_hand(view)),
        identities.strengths(view, finished(view, heads_weights.directions(view, "OV"))),
        identities.strengths(view, directions),
        identities.direction(view),
        identities.direction(view_of(view.store, settings=(("neurons.direction", "QK"),))),
        identities.trace(view, finished(view, heads_weights.eigenvalues(view))),
        identities.steps(arithmetic.checks.items(), arithmetic.edited),
        identities.neuron(view),
        identities.counted(fired, neurons.chosen(view)[1]),
        identities.swept(view, sweep),
        identities.reading(view, scaling.known(view, "glass-2m")),
        identities.parameters(view, scaling.costs(view.store.entries(), view.store.dtype)),
    ]


@pytest.mark.parametrize("plan", [Plan(), OFF], ids=["plain", "edited"])
def test_they_hold_and_have_a_sentence(store, plan):
    for check in checks_of(view_of(store, plan=plan)):
        assert check is not None and check.holds, check
        assert f"checks.{check.name}" in EN


def test_they_fail_where_a_number_is_wrong(store):
    view = view_of(store)
    made = generation.preview(view)
    text = made.columns[0][0]
    wrong = replace(text, tokens=(*text.tokens[:-1], replace(text.tokens[-1], logprob=text.tokens[-1].logprob + 0.01)))
    assert not identities.texts(view, replace(made, columns=((wrong,),))).holds
    assert identities.texts(view, replace(made, done=False)) is None
    directions = finished(view, heads_weights.directions(view, "OV"))
    assert not identities.strengths(view, replace(directions, singular_values=directions.singular_values * 1.01)).holds
    other = view_of(store, layer=1, head=0)
    found = finished(view, heads_weights.eigenvalues(view))
    moved = replace(found, eigenvalues=found.eigenvalues.flip(0))
    assert not identities.trace(other, moved).holds
    *_, sweep = steering.sweep(view)
    assert not identities.swept(view, replace(sweep, probability=sweep.probability + 0.01)).holds
    read = scaling.read(view, "glass-2m")
    assert not identities.reading(view, replace(read, p=tuple(p + 0.01 for p in read.p))).holds
    *_, fired = neurons.fired(view, "The old man and the old woman went to the old house. " * 5)
    fewer = replace(fired, top=replace(fired.top, tokens=fired.top.tokens[1:]))
    assert not identities.counted(fewer, neurons.chosen(view)[1]).holds


def test_a_cell_of_a_map_is_run_alone(store):
    view = view_of(store)
    question = patching_pair.question(view)
    what = patching.asked(view, question)[1]
    place = patching.Place(what, 0, 1)
    assert identities.cell(view, place) is None  # before the map is there
    values = torch.full((view.config.n_layers, view.config.n_heads), patching.patched_metric(view, place)).numpy()
    for off, holds in ((0.0, True), (0.1, False)):
        found = type("Map", (), {"values": values + off})
        view.store._results[what.key] = (found, 0)
        assert identities.cell(view, place).holds == holds


def test_what_an_edit_replaces_is_not_called_a_fault(store):
    assert identities.rows(view_of(store, plan=Plan((Edit.set_cell(0, 0, 3, 1, 0.5, False),)))) is None
    assert identities.rows(view_of(store, plan=Plan((Edit.set_cell(0, 1, 3, 1, 0.5, False),)))).holds
    view = view_of(store)
    held = view_of(store, plan=Plan((Edit.clamp_neuron(*neurons.chosen(view), 3.0),)), settings=(("neurons.at", "{}.{}".format(*neurons.chosen(view))),))  # fmt: skip
    assert identities.neuron(held) is None
    assert np.isfinite(identities.neuron(view).residual)
