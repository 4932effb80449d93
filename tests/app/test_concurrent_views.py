"""Two readers with different plans on one server: each view shows what it would show alone, to the last number.

They share the store, which holds the model and recent results; here it is made so small that it forgets all the time.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from app import store as store_module
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from interp.edits import Edit, Plan

MODEL, OTHER = "glass-2m", "glass-3m"
PROMPT = "When the old clock struck twelve, the old"
STATES = [
    PageState(model=MODEL, prompt=PROMPT),
    PageState(model=MODEL, prompt=PROMPT, plan=Plan((Edit.zero("z", 0, 1),))),
    PageState(model=MODEL, prompt=PROMPT, plan=Plan((Edit.scale("mlp_out", 1, value=3.0),)), position=4),
    PageState(model=MODEL, prompt=PROMPT, plan=Plan((Edit.zero("z", 0, 1),)), bos=False),
    PageState(model=OTHER, prompt=PROMPT, plan=Plan((Edit.patch("resid_pre", 1, text="A ship came in to port"),))),
]
ROUNDS = 3


def shown(view: View) -> list:
    """What tabs read from a view."""
    runs = [view.run] if view.before is None else [view.run, view.before]
    numbers = [[run.logits, *run.activations.values()] for run in runs]
    origins = [(run.provenance.model, run.provenance.plan, run.provenance.bos) for run in runs]
    return [numbers, origins, view.next_tokens, view.shown, sorted(view.off)]


def equal(a: list, b: list) -> bool:
    tensors = [[x for run in side[0] for x in run] for side in (a, b)]
    return a[1:] == b[1:] and len(tensors[0]) == len(tensors[1]) and all(map(torch.equal, *tensors))


@pytest.mark.parametrize("kept", [1, 48])
def test_each_view_is_what_it_would_be_alone(monkeypatch, kept):
    monkeypatch.setattr(store_module, "KEPT_RESULTS", kept)
    alone = []
    for state in STATES:  # a store of its own for each
        alone.append(shown(View(ModelStore(Settings(device="cpu")), state)))
        assert not any(equal(alone[-1], other) for other in alone[:-1])
    loads = []
    monkeypatch.setattr(
        store_module, "load", lambda name, load=store_module.load, **how: loads.append(name) or load(name, **how)
    )
    shared, together = ModelStore(Settings(device="cpu")), threading.Barrier(len(STATES))

    def reader(state: PageState) -> list:
        found = []
        for _ in range(ROUNDS):
            together.wait(120)
            found.append(shown(View(shared, state)))
        return found

    with ThreadPoolExecutor(len(STATES)) as pool:
        results = list(pool.map(reader, STATES))
    for state, expected, rounds in zip(STATES, alone, results):
        assert all(equal(expected, found) for found in rounds), state.plan.to_json()
    assert sorted(loads) == [MODEL, OTHER]  # once each, whoever came first
