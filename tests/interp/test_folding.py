"""Folded weights: the same predictions; which quantities stay and which change; equal to transformer-lens's processing."""

import itertools

import pytest
import torch
from helpers import bridge, max_difference, random_model, some_tokens, tiny_config

from gpt2_core import generate
from gpt2_core.streaming import Ids
from gpt2_core.tokenizer import Tokenizer
from interp import lens, metrics, patching, path_patching
from interp.edits import EDITABLE, NO_EDITS, Edit, Plan
from interp.folding import STEPS, FoldedGPT2, fold, is_folded
from interp.run import trace

CONFIG = tiny_config(n_layers=3, d_model=32, d_vocab=101, n_ctx=32)
RAW = random_model(CONFIG)
FOLDED = fold(RAW)
TOKENS = some_tokens(CONFIG, batch=3, pos=14)
PROMPT = TOKENS[0].tolist()
WEIGHTS = "W_E W_pos W_Q W_K W_V W_O b_Q b_K b_V b_O W_in b_in W_out b_out W_U b_U".split()


def logprobs(model, plan=NO_EDITS):
    return trace(model, PROMPT, plan, bos=False).logits.log_softmax(-1)


@torch.no_grad()
@pytest.mark.parametrize("steps", list(itertools.product([False, True], repeat=4)))
def test_every_choice_of_steps_keeps_the_log_probabilities(steps):
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        raw = random_model(CONFIG).to(dtype)
        folded = fold(raw, *steps)
        assert folded.cfg.dtype == dtype and folded.processing == tuple(itertools.compress(STEPS, steps))
        assert (raw(TOKENS).log_softmax(-1) - folded(TOKENS).log_softmax(-1)).abs().max().item() <= tolerance


@torch.no_grad()
def test_an_untied_head_folds_too():
    raw = random_model(tiny_config(d_model=32, d_vocab=101, tied=False))
    assert max_difference(raw(TOKENS).log_softmax(-1), fold(raw)(TOKENS).log_softmax(-1)) <= 1e-4


@torch.no_grad()
def test_each_step_does_what_it_says():
    norms = [ln for block in FOLDED.h for ln in (block.ln_1, block.ln_2)] + [FOLDED.ln_f]
    assert all(torch.equal(ln.weight, torch.ones(32)) and torch.equal(ln.bias, torch.zeros(32)) for ln in norms)
    assert FOLDED.b_V.abs().max() == 0 and RAW.b_V.abs().max() > 0.1
    for name in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out", "W_U"):
        mean = getattr(FOLDED, name).mean(-1)
        assert mean.abs().max() < 1e-6 < getattr(RAW, name).mean(-1).abs().max(), name
    assert FOLDED.b_U.mean().abs() < 1e-6 < FOLDED.b_U.abs().max()


@torch.no_grad()
def test_folding_twice_changes_nothing_and_the_raw_model_is_left_alone():
    before = {name: value.clone() for name, value in RAW.state_dict().items()}
    again = fold(FOLDED)
    assert all(max_difference(value, FOLDED.state_dict()[name]) <= 1e-6 for name, value in again.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in RAW.state_dict().items())
    assert again.source == FOLDED.source and "folded (layer_norm" in again.source and again.processing == STEPS
    assert (
        is_folded(FOLDED)
        and not is_folded(RAW)
        and fold(fold(RAW, *[False] * 3), True, *[False] * 3).processing == ("layer_norm", "value_biases")
    )


@torch.no_grad()
def test_weights_and_activations_equal_transformer_lens():
    theirs = bridge(RAW)
    theirs.enable_compatibility_mode(disable_warnings=True)
    for name in WEIGHTS:
        assert max_difference(getattr(FOLDED, name), getattr(theirs, name)) <= 1e-5, name
    logits, cache = theirs.run_with_cache(TOKENS)
    ours, own = FOLDED.run_with_cache(TOKENS)
    assert max_difference(ours, logits) <= 1e-4
    shared = [name for name in own if name in cache and "hook_in" not in name and own[name].is_floating_point()]
    assert len(shared) > 60
    assert max(max_difference(own[name], cache[name]) for name in shared) <= 1e-4


PATCHES = [Edit.patch(component, 1, text="x", positions=(5, 9)) for component in EDITABLE if component != "pattern"]
MEANS = [Edit.mean(component, 1, text="x") for component in EDITABLE if component != "pattern"]
ZEROS = [Edit.zero(component, 1) for component in ("attn_out", "mlp_out", "mlp_post")]
HEADS = [Edit.patch("z", 1, 2, text="x"), Edit.mean("v", 0, 1, text="x"), Edit.zero("mlp_post", 2, positions=(3,))]
PATTERN = [Edit.set_cell(1, 2, 8, 3, 1.0, renormalise=True)]
NOT_KEPT = [
    Edit.zero("v", 1, head=2),
    Edit.zero("z", 1, head=2),
    Edit.zero("pattern", 1, head=2),
    Edit.scale("z", 1, value=0.5),
]


class Words(Ids):
    """A tokenizer that reads every text as the same eleven tokens: enough for edits that read from a text."""

    bos_id = eos_id = 0

    def encode(self, text):
        return [17, 3, 99, 41, 8, 62, 5, 77, 20, 11, 54]


@pytest.mark.parametrize("edit", PATCHES + MEANS + ZEROS + HEADS + PATTERN, ids=lambda e: f"{e.op}-{e.component}-{e.head}")
def test_effects_that_do_not_depend_on_the_folding(edit):
    raw, folded = random_model(CONFIG, tokenizer=Words()), fold(random_model(CONFIG, tokenizer=Words()))
    plan = Plan((edit,))
    assert max_difference(logprobs(raw, plan), logprobs(folded, plan)) <= 1e-4
    assert max_difference(logprobs(raw, plan), logprobs(raw)) > 1e-2  # the edit does something


@pytest.mark.parametrize("edit", NOT_KEPT, ids=lambda e: f"{e.op}-{e.component}")
def test_effects_that_do_depend_on_it_and_only_by_the_value_biases(edit):
    plan = Plan((edit,))
    assert max_difference(logprobs(RAW, plan), logprobs(FOLDED, plan)) > 1e-2
    assert max_difference(logprobs(RAW, plan), logprobs(fold(RAW, value_biases=False), plan)) <= 1e-4


def test_quantities_of_a_run_that_stay_and_that_change():
    raw, folded = (trace(model, PROMPT, bos=False) for model in (RAW, FOLDED))
    for layer in range(3):
        pattern = f"blocks.{layer}.attn.hook_pattern"
        assert max_difference(raw.activations[pattern], folded.activations[pattern]) <= 1e-5
    norms = [run.activations["resid_post", 2].norm(dim=-1) for run in (raw, folded)]
    assert (norms[0] - norms[1]).min() > 0 and (norms[0] - norms[1]).max() > 1e-2  # the mean is gone
    shift = raw.logits - folded.logits
    assert shift.abs().max() > 1e-2 and shift.std(-1).max() <= 1e-4  # one constant per position
    lens = [
        model.unembed(run.activations["resid_post", 0][None]).log_softmax(-1) for model, run in ((RAW, raw), (FOLDED, folded))
    ]
    assert max_difference(*lens) <= 1e-4


def test_a_folded_model_generates_the_same_and_cannot_be_saved(tmp_path):
    raw = random_model(tiny_config(d_model=32), tokenizer=Tokenizer.load())
    raw.source, raw.weights_sha256 = "somewhere", "0" * 64
    folded = fold(raw)
    assert isinstance(folded, FoldedGPT2) and folded.weights_sha256 == raw.weights_sha256
    assert folded.source.startswith("somewhere, folded")
    assert generate(folded, "The clock", max_new_tokens=8).ids == generate(raw, "The clock", max_new_tokens=8).ids
    with pytest.raises(ValueError, match="save the raw model"):
        folded.save_pretrained(tmp_path)


def test_a_run_says_that_its_weights_are_folded():
    weights = [trace(model, PROMPT, NO_EDITS, bos=False).provenance.weights for model in (RAW, FOLDED)]
    assert weights == ["raw", "folded"]


def test_the_heads_bias_is_read_by_every_analysis():
    """What folding moves into b_U is part of a logit difference wherever one is measured."""
    raw, folded = (
        patching.sweep(model, TOKENS[:1], TOKENS[1:2], metrics.logit_diff(3, 5), "resid_pre") for model in (RAW, FOLDED)
    )
    assert (FOLDED.b_U[3] - FOLDED.b_U[5]).abs() > 1e-2
    assert max_difference(raw.values, folded.values) <= 1e-4 and all(check.holds for check in folded.checks)
    raw, folded = (path_patching.sweep(model, TOKENS[:1], TOKENS[1:2], metrics.logit_diff(3, 5)) for model in (RAW, FOLDED))
    assert max_difference(raw.values, folded.values) <= 1e-4 and folded.check.holds
    for mode in lens.LAYER_NORMS:
        ours, theirs = (lens.logit_lens(m, trace(m, PROMPT, bos=False), layer_norm=mode) for m in (FOLDED, RAW))
        assert ours.check.holds and max_difference(ours.entropy, theirs.entropy) <= 1e-3
