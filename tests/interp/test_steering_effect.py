"""Directions, shifts and sweeps over coefficients, each against whole runs of one edit at a time."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import max_difference, random_model, tiny_config

from gpt2_core.tokenizer import Tokenizer
from interp.edits import Edit, Plan
from interp.run import trace
from interp.steering_effect import aim, applied, shift, sweep_values

MODEL = random_model(tiny_config(n_layers=2, d_model=32), tokenizer=Tokenizer.load())
PROMPT, PLAN = "When the old clock struck", Plan((Edit.zero("z", 0, 1),))
ADD = Edit.add("resid_pre", 1, text=" angry", minus=" calm", value=3.0)
EDITS = {
    "add": ADD,
    "contrast": Edit.contrast("resid_post", 0, text="The angry man", minus=" calm", value=1.0),
    "clamp": Edit.clamp("resid_mid", 1, text=" angry", value=2.0),
    "neuron": Edit.clamp_neuron(1, 17, 2.0),
}
VALUES, TARGETS = (-2.0, 0.0, 1.5), [11, 640]


def bits_of(run):
    logp = run.logits.log_softmax(-1)
    return -sum(logp[i, token].item() for i, token in enumerate(run.tokens[1:])) / (len(run) - 1) / math.log(2)


@pytest.mark.parametrize("case", EDITS)
def test_a_sweep_equals_one_run_per_value(case, monkeypatch):
    monkeypatch.setattr("interp.steering_effect.LOGITS", 2 * 4 * 6 * 50257)  # two rows at a time
    edit, base = EDITS[case], trace(MODEL, PROMPT, PLAN)
    found = sweep_values(MODEL, PROMPT, edit, VALUES, TARGETS, position=3, plan=PLAN)
    for row, value in enumerate(VALUES):
        run = trace(MODEL, PROMPT, PLAN.add(replace(edit, value=value)))
        p, q = (r.logits[3].log_softmax(-1) for r in (base, run))
        assert max_difference(found.curve.probability[row], q.exp()[TARGETS]) <= 1e-6
        assert found.curve.surprisal[row].item() == pytest.approx(bits_of(run), abs=1e-4)
        assert found.curve.kl[row].item() == pytest.approx((p.exp() * (p - q)).sum().item() / math.log(2), abs=1e-5)
    assert found.base.surprisal.item() == pytest.approx(bits_of(base), abs=1e-4)
    assert max_difference(found.base.probability[0], base.logits[3].softmax(-1)[TARGETS]) <= 1e-6
    assert (found.control is None) == (case == "neuron")


def test_the_control_pushes_as_far_along_a_random_direction():
    found = sweep_values(MODEL, PROMPT, ADD, VALUES, TARGETS, seed=5)
    d = aim(MODEL, PROMPT, ADD).vectors[0]
    noise = torch.randn(32, generator=torch.Generator().manual_seed(5))
    d = noise / noise.norm() * d.norm()
    ids = MODEL.to_tokens(PROMPT)
    for row, value in enumerate(VALUES):
        with torch.no_grad():
            logits = MODEL.run_with_hooks(ids, fwd_hooks=[("blocks.1.hook_resid_pre", lambda x, hook, v=value: x + v * d)])
        assert max_difference(found.control.probability[row], logits[0, -1].softmax(-1)[TARGETS]) <= 1e-6
    assert found.control.kl[1] == 0 and found.control.kl[0] > 0


def test_projecting_out_is_swept_by_its_share():
    edit = Edit.project("resid_pre", 1, text=" angry", minus=" calm")
    found = sweep_values(MODEL, PROMPT, edit, (0, 1), TARGETS)
    assert found.curve.kl[0] == 0
    whole = trace(MODEL, PROMPT, Plan((edit,))).logits[-1].softmax(-1)[TARGETS]
    assert max_difference(found.curve.probability[1], whole) <= 1e-6


@torch.no_grad()
def test_a_direction_is_measured_where_it_is_added():
    found = aim(MODEL, PROMPT, ADD, plan=PLAN)
    angry, calm = (MODEL.run_with_cache(text)[1]["resid_pre", 1][0, -1] for text in (" angry", " calm"))
    assert max_difference(found.vectors[0], angry - calm) <= 1e-6
    x = trace(MODEL, PROMPT, PLAN).activations["resid_pre", 1]
    assert found.residual == pytest.approx(sum(row.norm().item() for row in x[1:]) / (len(x) - 1), rel=1e-5)
    for short, first in (("", 0), (" calm", 1)):  # the first token's residual is far longer: left out where there is another
        x0 = trace(MODEL, short).activations["resid_pre", 1][first]
        assert aim(MODEL, short, ADD).residual == pytest.approx(x0.norm().item(), rel=1e-5)
    unit = (angry - calm) / (angry - calm).norm()
    assert max_difference(found.along, torch.stack([row @ unit for row in x])) <= 1e-5
    gain = MODEL.ln_f.weight
    raised = ((angry - calm) * gain) @ (MODEL.W_U - MODEL.W_U.mean(1, keepdim=True))
    raised = raised - ((angry - calm).mean() * (gain @ (MODEL.W_U - MODEL.W_U.mean(1, keepdim=True))))
    assert found.ends.up_ids[0, 0] == raised.argmax() and found.ends.down_ids[0, 0] == raised.argmin()
    assert found.ends.up_values[0, 0].item() == pytest.approx(raised.max().item(), abs=1e-4)


def test_a_contrast_has_a_row_per_token_and_a_neuron_its_weights():
    found = aim(MODEL, PROMPT, EDITS["contrast"])
    assert found.plus == ("<|endoftext|>", "The", " angry", " man") and found.minus == ("<|endoftext|>", " calm", " ", " ")
    assert found.vectors.shape == (4, 32) and found.norms[0] == 0 and found.along is None
    neuron = aim(MODEL, PROMPT, EDITS["neuron"])
    assert torch.equal(neuron.vectors[0], MODEL.h[1].mlp.c_proj.weight[17])
    assert max_difference(neuron.along, trace(MODEL, PROMPT).activations["blocks.1.mlp.hook_post"][:, 17]) <= 1e-5


def test_the_tokens_that_move_most():
    before, after = trace(MODEL, PROMPT), trace(MODEL, PROMPT, Plan((ADD,)))
    found = shift(before, after, k=3)
    p, q = (run.logits[-1].softmax(-1) for run in (before, after))
    order = sorted(range(len(p)), key=lambda i: (q - p)[i].item())
    assert found.up_ids.tolist() == order[::-1][:3] and found.down_ids.tolist() == order[:3]
    assert (
        max_difference(found.down_before, p[order[:3]]) <= 1e-7 and max_difference(found.up_after, q[order[::-1][:3]]) <= 1e-7
    )
    assert found.kl == pytest.approx((p * (p / q).log()).sum().item() / math.log(2), abs=1e-5)
    same = shift(before, before)
    assert same.kl == 0 and len(same.up_ids) == len(same.down_ids) == 0


def test_what_has_no_direction_or_value_is_refused():
    with pytest.raises(ValueError, match="has no direction"):
        aim(MODEL, PROMPT, Edit.mean("resid_pre", 1, text="a"))
    with pytest.raises(ValueError, match="cannot be swept"):
        sweep_values(MODEL, PROMPT, Edit.zero("z", 0), (1,), TARGETS)
    for edit in (Edit.zero("z", 0), Edit.add("resid_pre", 1, text="a", positions=(1,)), Edit.clamp_neuron(0, 3, 1.0, (1,))):
        with pytest.raises(ValueError, match="cannot be checked"):
            applied(MODEL, PROMPT, edit)
    with pytest.raises(ValueError, match="not the same"):
        shift(trace(MODEL, PROMPT), trace(MODEL, "other"))


@pytest.mark.parametrize("case", EDITS)
def test_an_edit_does_what_it_says_and_another_does_not(case, monkeypatch):
    check = applied(MODEL, PROMPT, EDITS[case], plan=PLAN)
    assert check.holds and check.residual <= 1e-5
    half = EDITS[case].value / 2
    real = Plan.add
    monkeypatch.setattr(Plan, "add", lambda plan, edit: real(plan, replace(edit, value=half)))
    assert not applied(MODEL, PROMPT, EDITS[case], plan=PLAN).holds
