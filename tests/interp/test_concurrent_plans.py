"""Two users with different plans on one model at once get what each would get alone, to the last bit.

Hooks are arguments and results are new objects, so nothing of one run can reach another. These tests run several plans in
threads that wait for each other before every call, many calls on end, and compare with the same calls alone.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers import random_model, some_tokens, tiny_config

from gpt2_core import generate
from gpt2_core.streaming import Ids
from interp import ablation, circuits, heads, knockout, metrics, patching, tracing
from interp.attribution import by_head
from interp.edits import NO_EDITS, Edit, Plan
from interp.intervene import compile_plan
from interp.lens import logit_lens
from interp.run import trace
from interp.targets import logit


class Letters(Ids):
    """A tokenizer of a small vocabulary: a token a character."""

    bos_id = eos_id = 100

    def encode(self, text: str) -> list[int]:
        return [ord(c) % 100 for c in text]


MODEL = random_model(tiny_config(n_layers=2, n_heads=2, d_model=16, n_ctx=48, d_vocab=101), tokenizer=Letters())
PLANS = [
    NO_EDITS,
    Plan((Edit.zero("z", 0, 1),)),
    Plan((Edit.scale("resid_post", 0, value=3.0, positions=(2, 4)), Edit.patch("mlp_out", 1, text="rain fell on the town"))),
    Plan((Edit.set_cell(1, 0, 4, 1, 1.0, renormalise=True), Edit.add("resid_pre", 1, text=" angry", minus=" calm", value=4.0))),
]
PROMPT = "The old clock struck twelve"
CLEAN, CORRUPTED = some_tokens(MODEL.config, 1, 6, seed=1), some_tokens(MODEL.config, 1, 6, seed=2)
METRIC = metrics.logit_diff(62, 57)
ROUNDS = 4


def traced(plan: Plan) -> list[torch.Tensor]:
    run = trace(MODEL, PROMPT, plan)
    lens = logit_lens(MODEL, run)
    return [run.logits, *run.activations.values(), lens.entropy, lens.kl_to_final, by_head(MODEL, run, logit(MODEL, 62)).values]


def written(plan: Plan) -> list[torch.Tensor]:
    out = generate(MODEL, PROMPT, max_new_tokens=6, temperature=0.8, seed=3, hook=compile_plan(MODEL, plan))
    return [torch.tensor(out.ids), torch.tensor(out.logprobs)]


def swept(plan: Plan) -> list[torch.Tensor]:
    whole = [
        patching.sweep(MODEL, CLEAN, CORRUPTED, METRIC, component, plan=plan).values for component in ("resid_pre", "z", "k")
    ]
    return [*whole, knockout.knock_out_search(MODEL, CLEAN, METRIC, plan=plan).values]


def scored(plan: Plan) -> list[torch.Tensor]:
    scores = heads.scores(MODEL, seed=1, batch=2, length=8, plan=plan)
    return [scores.induction, scores.previous_token, scores.duplicate_token, torch.tensor(scores.second_copy_loss)]


def changed(plan: Plan) -> list[torch.Tensor]:
    tokens = torch.cat([CLEAN, CORRUPTED])
    ablated = ablation.ablate(MODEL, tokens, [ablation.Part.mlp(1)], ablation.Ablation.mean(tokens.flip(0)), plan=plan)
    noise = tracing.causal_trace(MODEL, CLEAN[0], (1, 3), METRIC, noise=tracing.draw_noise(MODEL, 2, samples=2), plan=plan)
    *_, step = circuits.discover(MODEL, CLEAN, CORRUPTED, METRIC, tau=0.01, plan=plan)
    return [ablated, noise.values, step.circuit.circuit, torch.tensor(step.circuit.kl)]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b))


@pytest.mark.parametrize("analysis", [traced, written, swept, scored, changed])
def test_each_gets_what_it_would_get_alone(analysis):
    alone = [analysis(plan) for plan in PLANS]
    for i, one in enumerate(alone):  # so that a mix-up would show
        assert not any(same(one, other) for other in alone[:i])
    together = threading.Barrier(len(PLANS))

    def user(plan: Plan) -> list[list[torch.Tensor]]:
        found = []
        for _ in range(ROUNDS):
            together.wait(60)
            found.append(analysis(plan))
        return found

    with ThreadPoolExecutor(len(PLANS)) as pool:
        results = list(pool.map(user, PLANS))
    for expected, rounds in zip(alone, results):
        assert all(same(expected, found) for found in rounds)


def test_streams_that_take_turns_do_not_meet():
    """Sweeps, searches and generations are generators: between two of their rows another user's may run in the same thread."""
    alone = [list(patching.sweep_rows(MODEL, CLEAN, CORRUPTED, METRIC, "z", plan=plan)) for plan in PLANS]
    streams = [patching.sweep_rows(MODEL, CLEAN, CORRUPTED, METRIC, "z", plan=plan) for plan in PLANS]
    for expected, *found in zip(zip(*alone), *streams):
        assert all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in zip(expected, found))
    steps = [knockout.knock_outs(MODEL, CLEAN, METRIC, plan=plan) for plan in PLANS]
    alone = [knockout.knock_out_search(MODEL, CLEAN, METRIC, plan=plan).values for plan in PLANS]
    for found in zip(*steps):
        assert torch.is_grad_enabled()  # a generator that waits leaves the caller's settings as they were
        for expected, step in zip(alone, found):
            assert torch.equal(step.values, expected[:, step.layer, list(step.units)])
