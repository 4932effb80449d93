"""Gradients over tokens against finite differences, and integrated gradients against a plain sum over a fine path."""

import pytest
import torch
from helpers import max_difference, random_model, tiny_config

from interp.edits import Edit, Plan
from interp.run import trace
from interp.saliency import gradient_x_input, integrated_gradients
from interp.targets import direction, logit

CONFIG = tiny_config(d_model=16, d_vocab=101, n_ctx=32)
MODEL = random_model(CONFIG).double()
PROMPT = [100, 7, 3, 55, 7, 80, 12]
PLAN = Plan((Edit.zero("z", 0, 1), Edit.scale("mlp_out", 1, value=2.0, positions=(4,))))
RUNS = {"plain": trace(MODEL, PROMPT, bos=False), "plan": trace(MODEL, PROMPT, PLAN, bos=False)}
TARGET = logit(MODEL, 9, minus=4)


def value(run, embeddings, position, output="logit", target=TARGET):
    """The target as a function of token embeddings, by replacing hook_embed: another road than the one under test."""
    from interp.intervene import compile_plan

    plan = compile_plan(MODEL, run.plan, bos=False)

    class Replaced:
        def __init__(self, inner):
            self.inner = inner

        def wants(self, name):
            return name == "hook_embed" or (self.inner is not None and self.inner.wants(name))

        def positioned(self, queries, keys):
            return Replaced(self.inner and self.inner.positioned(queries, keys))

        def __call__(self, name, x):
            return embeddings[None] if name == "hook_embed" else self.inner(name, x)

    logits = MODEL(torch.tensor([PROMPT]), hook=Replaced(plan))[0, position]
    return target.of_logits(logits) if output == "logit" else logits.log_softmax(-1)[target.token]


@torch.no_grad()
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(("position", "output"), [(-1, "logit"), (4, "logit"), (-1, "log-probability")])
def test_gradient_by_finite_differences(name, position, output):
    run, target = RUNS[name], TARGET if output == "logit" else logit(MODEL, 9)
    result = gradient_x_input(MODEL, run, target, position, output)
    embeddings, step = MODEL.W_E[torch.tensor(PROMPT)], 1e-5
    gradient = torch.zeros_like(embeddings)
    for i in range(len(PROMPT)):
        for j in range(16):
            ends = []
            for sign in (1, -1):
                moved = embeddings.clone()
                moved[i, j] += sign * step
                ends.append(value(run, moved, position, output, target))
            gradient[i, j] = (ends[0] - ends[1]) / (2 * step)
    assert max_difference(result.values, (gradient * embeddings).sum(-1)) <= 1e-6
    assert max_difference(result.gradient_norm, gradient.norm(dim=-1)) <= 1e-6
    assert result.value == pytest.approx(value(run, embeddings, position, output, target).item(), abs=1e-9)
    assert result.strings == run.strings and not result.values[range(7)[position] + 1 :].any()


@pytest.mark.parametrize("baseline", ["zero", "mean", "endoftext"])
def test_integrated_gradients_equal_a_fine_sum_and_are_complete(baseline):
    run = RUNS["plan"]
    embeddings = MODEL.W_E.detach()[torch.tensor(PROMPT)]
    row = {"zero": torch.zeros(16).double(), "mean": MODEL.W_E.detach().mean(0), "endoftext": MODEL.W_E.detach()[100]}[baseline]
    start, steps = row.expand_as(embeddings), 150
    total = torch.zeros_like(embeddings)
    for i in range(steps):
        leaf = (start + (i + 0.5) / steps * (embeddings - start)).requires_grad_()
        total += torch.autograd.grad(value(run, leaf, 5), leaf)[0] / steps
    expected = (total * (embeddings - start)).sum(-1)
    result = integrated_gradients(MODEL, run, TARGET, 5, baseline, steps=40)
    assert max_difference(result.values, expected) <= 1e-3 * expected.abs().max()
    with torch.no_grad():
        ends = [value(run, x, 5).item() for x in (embeddings, start)]
    assert [result.value, result.baseline_value] == pytest.approx(ends, abs=1e-9)
    assert result.check.residual == pytest.approx(abs(result.values.sum().item() - (ends[0] - ends[1])), abs=1e-9)
    assert result.check.holds and result.check.residual < 0.01 * abs(ends[0] - ends[1])
    assert result.baseline == baseline and result.steps == 40
    assert bool(result.values[0] == 0) == (baseline == "endoftext")  # the prompt begins with <|endoftext|>


def test_a_path_of_one_step_is_not_complete_and_more_steps_are_better():
    errors = [integrated_gradients(MODEL, RUNS["plain"], TARGET, steps=n).check for n in (1, 8, 64)]
    assert not errors[0].holds and errors[2].holds and errors[0].residual > errors[1].residual > errors[2].residual


def test_gradients_leave_nothing_behind_and_need_a_logit():
    gradient_x_input(MODEL, RUNS["plain"], TARGET)
    assert all(p.grad is None for p in MODEL.parameters())
    with torch.no_grad():  # the caller's setting does not matter
        assert gradient_x_input(MODEL, RUNS["plain"], TARGET).values.abs().max() > 0
    with pytest.raises(ValueError, match="zero, mean, endoftext"):
        integrated_gradients(MODEL, RUNS["plain"], TARGET, steps=0)
    with pytest.raises(ValueError, match="make the target with"):
        gradient_x_input(MODEL, RUNS["plain"], direction("d", torch.zeros(16)))
    with pytest.raises(ValueError, match="make the target with"):
        gradient_x_input(MODEL, RUNS["plain"], TARGET, output="log-probability")
    with pytest.raises(ValueError, match="Position 7"):
        gradient_x_input(MODEL, RUNS["plain"], TARGET, 7)
