"""What a notebook's author hands in by habit is taken, or refused in a sentence."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import random_model, tiny_config

from interp.given import each_a, token_ids
from interp.metrics import answer_metric, logit_diff
from interp.patching import token_pair
from interp.run import trace
from interp.targets import logit

MODEL = random_model(tiny_config(n_layers=1, n_heads=2, d_model=8, d_vocab=11, n_ctx=8))
SLIPS = """
import numpy as np
import torch
from helpers import random_model, tiny_config
from interp import Edit, Plan, trace
from interp.ablation import Part, ablate
from interp.attention import patterns
from interp.attribution import by_layer, by_neuron
from interp.compensation import compensation
from interp.knockout import knock_out_search
from interp.lens import logit_lens
from interp.metrics import answer_metric, logit_diff
from interp.path_patching import Receiver, sweep
from interp.predictions import probability_of
from interp.roles import copy_scores
from interp.steering import ProjectOut, before_after
from interp.steering_effect import sweep_values
from interp.targets import direction, logit
from interp.tracing import causal_trace
from interp.weights import token_row

m = random_model(tiny_config(n_layers=1, n_heads=2, d_model=8, d_vocab=11, n_ctx=8))
edit, part, metric, ids = Edit.zero("z", 0, 0), Part.head(0, 0), logit_diff(1, 2), torch.tensor([[1, 2]])
run = trace(m, [1, 2], bos=False)
slips = {
    "a text for an id": lambda: logit_diff(" Tom", " Sam"),
    "texts for ids": lambda: logit(m, " Tom"),
    "texts in a list": lambda: copy_scores(m, [" Tom", " Sam"]),
    "a text to track": lambda: logit_lens(m, run, target=" Tom"),
    "a text in a table": lambda: token_row(m, 0, 0, " Tom"),
    "a text's probability": lambda: probability_of(run, [" Tom"]),
    "an id too large": lambda: probability_of(run, [11]),
    "an edit for a plan": lambda: trace(m, [1], edit),
    "edits for a plan": lambda: trace(m, [1], [edit]),
    "an edit in a plan": lambda: Plan(edit),
    "several prompts": lambda: trace(m, torch.tensor([[1], [2]])),
    "several texts": lambda: trace(m, ["a", "b"]),
    "a text for rows": lambda: ablate(m, "a", [part]),
    "a list for rows": lambda: knock_out_search(m, [[1, 2]], metric),
    "a text to trace": lambda: causal_trace(m, "a b", (0, 1), metric),
    "no subject": lambda: causal_trace(m, [1, 2], (1, 1), metric),
    "a part alone": lambda: ablate(m, ids, part),
    "a part's name": lambda: compensation(m, ids, metric, "L0H0"),
    "another metric": lambda: compensation(m, ids, metric, [part]),
    "the name of an ablation": lambda: ablate(m, ids, [part], "mean"),
    "a receiver alone": lambda: sweep(m, [1, 2], [1, 3], metric, Receiver(0, 0)),
    "receivers as pairs": lambda: sweep(m, [1, 2], [1, 3], metric, [(0, 0)]),
    "an operation alone": lambda: before_after(m, [1], ProjectOut(0, torch.ones(8)), bos=False),
    "a head for senders": lambda: sweep(m, [1, 2], [1, 3], metric, senders=(0, 1)),
    "texts as targets": lambda: sweep_values(m, [1], Edit.scale("z", 0, value=1), [1], [" Tom"], bos=False),
    "texts as answers": lambda: answer_metric("logit_difference", [" Tom"], [" Sam"]),
    "a direction of another model": lambda: by_layer(m, run, direction("x", torch.ones(9))),
    "half a layer": lambda: Edit.zero("z", 0.5),
    "no patterns": lambda: patterns(trace(m, [1], bos=False, names_filter=lambda name: "mlp" in name)),
}
for what, slip in slips.items():
    try:
        slip()
        print("taken:", what)
    except ValueError as error:
        print("said:", error)
    except Exception as error:
        print("wrong:", what, repr(error))
plan = Plan((Edit.zero("z", np.int64(0), torch.tensor(1), positions=3),))  # as `np.unravel_index` and argmax give them
assert plan == Plan.from_json(plan.to_json()) == Plan((Edit.zero("z", 0, 1, positions=(3,)),))
assert logit_lens(m, run, k=99).top_ids.shape[-1] == 11 and by_neuron(m, run, logit(m, 3), k=-1).neurons.shape == (0, 2)
"""


def test_slips_are_told_in_one_sentence():
    """In a process of its own, without the type checker of the tests."""
    path = os.pathsep.join(str(Path(__file__).parents[at]) for at in (1, 2))
    done = subprocess.run([sys.executable, "-c", SLIPS], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 29, done.stdout + done.stderr
    assert all(line.startswith("said: ") and line.endswith(".") and len(line) < 200 for line in lines), done.stdout


@pytest.mark.parametrize("ids", [3, np.int64(3), torch.tensor(3), [3], torch.tensor([3]), np.array([3])])
def test_ids_come_as_they_are_at_hand(ids):
    assert token_ids(ids) == (3,) and type(token_ids(ids)[0]) is int


def test_ids_of_torch_and_numpy_are_taken_where_ids_are():
    logits = torch.zeros(1, 11)
    one, several = (answer_metric("logit_difference", ids, [[5], [6]]) for ids in ([3, 4], [[3], [4]]))
    assert torch.equal(one.correct, several.correct)
    with pytest.raises(ValueError, match="ids from 0"):
        answer_metric("logit_difference", [-1], [5])
    assert logit_diff(logits[0].argmax().item(), 1)(logits) == 0 and logit(MODEL, 3).token == 3
    for tokens in ([1, 2], torch.tensor([1, 2]), torch.tensor([[1, 2]])):
        run = trace(MODEL, tokens, bos=False)
        assert run.tokens == (1, 2) and all(type(id) is int for id in run.tokens)
        assert token_pair(MODEL, tokens, [1, 3]) == ([1, 2], [1, 3])


@pytest.mark.parametrize("given", [3, "3", [3, "3"], None])
def test_things_of_another_kind_are_refused(given):
    assert each_a(int, [3, 4], "numbers") == (3, 4) and each_a(int, (), "numbers") == ()
    with pytest.raises(ValueError, match="Expected a list of numbers, got .*; one alone goes into a list too"):
        each_a(int, given, "numbers")
