"""Each steering operation against the same change written by hand; texts against greedy decoding without a cache."""

import math

import pytest
import torch
from helpers import max_difference, random_model, tiny_config

from gpt2_core import generate
from gpt2_core.tokenizer import Tokenizer
from interp.edits import Edit, Plan
from interp.run import trace
from interp.steering import (
    AddContrast,
    AddDirection,
    ClampDirection,
    ClampNeuron,
    ProjectOut,
    before_after,
    contrast,
    mean_difference,
    steering_hook,
)

CONFIG = tiny_config(n_layers=2, d_model=32)
MODEL = random_model(CONFIG, tokenizer=Tokenizer.load())
SMALL = random_model(tiny_config(n_layers=2, d_model=32, d_vocab=200))
TOKENS = torch.tensor([[199, 5, 17, 99, 3, 60]])
D = torch.randn(32, generator=torch.Generator().manual_seed(3))
UNIT = D / D.norm()
CONTRAST = contrast(SMALL, [7, 8, 9], [7, 2, 1], 1)
BARE = contrast(SMALL, [7, 8], [2, 1], 1, bos=False)  # differs from its first token on


def add_contrast(x):
    x[:, :4] += 5 * CONTRAST.vectors
    return x


def add_bare(x):
    x[:, :2] += 5 * BARE.vectors
    return x


def clamp(x, value, positions=slice(None)):
    for row in x[0, positions]:
        row += (value - row @ UNIT) * UNIT
    return x


def clamp_neuron(x):
    x[..., 17] = 3.0
    return x


def add_at(x):
    x[:, [1, 4]] += 2 * D
    return x


CASES = {
    "contrast": (AddContrast(CONTRAST, 5), "blocks.1.hook_resid_pre", add_contrast),
    "contrast without a first token in common": (AddContrast(BARE, 5), "blocks.1.hook_resid_pre", add_bare),
    "add": (AddDirection(0, D, -3.0, "resid_post"), "blocks.0.hook_resid_post", lambda x: x - 3 * D),
    "add at positions": (AddDirection(1, D, 2, positions=(1, 4)), "blocks.1.hook_resid_pre", add_at),
    "project out": (ProjectOut(1, D), "blocks.1.hook_resid_pre", lambda x: clamp(x, 0.0)),
    "clamp": (ClampDirection(1, D, 4.0, "mlp_out"), "blocks.1.hook_mlp_out", lambda x: clamp(x, 4.0)),
    "clamp at positions": (
        ClampDirection(1, D, 4, positions=(2, 3)),
        "blocks.1.hook_resid_pre",
        lambda x: clamp(x, 4, slice(2, 4)),
    ),
    "neuron": (ClampNeuron(0, 17, 3.0), "blocks.0.mlp.hook_post", clamp_neuron),
}


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_operation_equals_the_change_by_hand_and_acts_while_generating(case):
    operation, name, f = CASES[case]

    def logits(ids):
        return SMALL.run_with_hooks(torch.tensor([ids]), fwd_hooks=[(name, lambda x, hook: f(x.clone()))])

    ids, hook = TOKENS[0].tolist(), steering_hook(SMALL, [operation])
    assert max_difference(SMALL(TOKENS, hook=hook), logits(ids)) <= 1e-4
    assert max_difference(SMALL(TOKENS, hook=hook), SMALL(TOKENS)) > 1e-3
    for _ in range(4):
        ids.append(logits(ids)[0, -1].argmax().item())
    assert list(generate(SMALL, TOKENS[0].tolist(), max_new_tokens=4, hook=hook, stop_ids=()).ids) == ids[6:]


@torch.no_grad()
def test_before_and_after():
    ids = TOKENS[0, 1:].tolist()
    operations = [ProjectOut(0, D), ClampDirection(1, D, 2.0), ClampNeuron(1, 0, -1.0)]
    plan = Plan((Edit.zero("z", 0, 1),))
    found = before_after(SMALL, ids, operations, plan=plan, max_new_tokens=6, seed=4, n=2)
    again = before_after(SMALL, ids, [], plan=plan, max_new_tokens=6, seed=4, n=2)
    assert found.before == again.before == again.after and again.kl == pytest.approx(0, abs=1e-6)
    assert len(found.after.samples) == 2 and found.after.texts != found.before.texts
    p, q = (SMALL(TOKENS, hook=steering_hook(SMALL, ops, plan))[0, -1].double().softmax(-1) for ops in ([], operations))
    assert found.kl == pytest.approx(sum(a * math.log2(a / b) for a, b in zip(p.tolist(), q.tolist())), abs=1e-4)
    assert [check.holds for check in found.checks] == [True] * 3
    assert found.provenance.plan == plan.to_json()


def test_a_check_fails_where_a_later_operation_undoes_an_earlier_one():
    found = before_after(SMALL, [5, 6], [ProjectOut(1, D), AddDirection(1, D, 3.0)], max_new_tokens=1)
    assert [check.holds for check in found.checks] == [False]
    for first, last in ((3.0, 1.0), (1.0, 3.0)):
        found = before_after(SMALL, [5, 6], [ClampNeuron(0, 17, first), ClampNeuron(0, 17, last)], max_new_tokens=1)
        assert [check.holds for check in found.checks] == [False, True] and found.checks[0].residual == 2


@torch.no_grad()
def test_contrast_is_aligned_from_the_front_and_padded_with_spaces():
    found = contrast(MODEL, "Love and peace", "Hate", 1, "resid_post")
    plus = trace(MODEL, "Love and peace").activations["resid_post", 1]
    assert found.minus[0] == found.plus[0] == "<|endoftext|>" and len(found.plus) == len(found.minus) == len(found.vectors)
    space, ids = MODEL.tokenizer.encode(" "), MODEL.tokenizer.encode("Hate")
    ids += space * (len(plus) - 1 - len(ids))
    minus = trace(MODEL, ids).activations["resid_post", 1]
    assert max_difference(found.vectors, plus - minus) <= 1e-5
    assert found.vectors[0].abs().max() == 0 and found.norms[1] > 0
    assert found.norms.tolist() == pytest.approx([vector.norm().item() for vector in found.vectors])
    both = torch.cat([plus[1:], minus[1:]]).norm(dim=-1).mean().item()
    assert found.typical_norm == pytest.approx(both, rel=1e-4)


def test_mean_difference_by_hand_and_as_an_edit():
    found = mean_difference(MODEL, [" angry", " mad"], [" calm"], 1)
    last = {t: trace(MODEL, t).activations["resid_pre", 1][-1] for t in (" angry", " mad", " calm")}
    assert max_difference(found, (last[" angry"] + last[" mad"]) / 2 - last[" calm"]) <= 1e-5
    one = mean_difference(MODEL, [" angry"], [" calm"], 1)
    edit = Plan((Edit.add("resid_pre", 1, text=" angry", minus=" calm", value=4.0),))
    by_plan, by_hook = (
        before_after(MODEL, "I feel", ops, plan=p, max_new_tokens=5)
        for ops, p in (([], edit), ([AddDirection(1, one, 4.0)], Plan()))
    )
    assert by_plan.after.ids == by_hook.after.ids
    for plus, minus in (("angry", ["calm"]), (["angry"], "calm"), ([], ["calm"]), (["angry"], [])):
        with pytest.raises(ValueError, match="lists of texts"):
            mean_difference(MODEL, plus, minus, 1)


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([AddDirection(2, D)], "Layer 2"),
        ([ProjectOut(0, D[:5])], "32 numbers"),
        ([ClampDirection(0, 0 * D, 1.0)], "not all 0"),
        ([ClampNeuron(0, 128, 1.0)], "L0N128"),
        ([ClampNeuron(0, -1, 1.0)], "L0N-1"),
        ([ClampNeuron(2, 0, 1.0)], "L2N0"),
        ([AddDirection(0, D, component="z")], "residual stream"),
        ([AddContrast(CONTRAST, 1)], "contrast has 4 tokens"),
    ],
)
def test_what_does_not_fit_is_refused(operations, message):
    with pytest.raises(ValueError, match=message):
        before_after(SMALL, [5, 6], operations)


def test_a_text_that_would_slide_and_unequal_ids_are_refused():
    with pytest.raises(ValueError, match="context of 64"):
        before_after(SMALL, [5] * 40, [], max_new_tokens=30)
    with pytest.raises(ValueError, match="equal lengths"):
        contrast(SMALL, [1, 2], [1], 0)
