"""Each edit against the same change written by hand as a transformer-lens hook, and runs under a plan."""

import pytest
import torch
from helpers import bridge, max_difference, random_model, some_tokens, tiny_config

from gpt2_core.cache import KVCache
from gpt2_core.tokenizer import Tokenizer
from interp.edits import EDITABLE, Edit, Plan
from interp.intervene import compile_plan
from interp.run import trace

CONFIG = tiny_config()
MODEL = random_model(CONFIG, tokenizer=Tokenizer.load())
TOKENS = some_tokens(CONFIG, 1, 9)
TEXT = "When the old clock struck twelve"


def run(*edits, tokens=TOKENS):
    with torch.no_grad():
        return MODEL(tokens, hook=compile_plan(MODEL, Plan(edits)))


def by_hand(name, f):
    with torch.no_grad():
        return bridge(MODEL).run_with_hooks(TOKENS, fwd_hooks=[(name, lambda x, hook: f(x.clone()))])


def activation(text, name):
    return MODEL.run_with_cache(text, name)[1][name][0].detach()


def zero_head(z):
    z[:, :, 1] = 0
    return z


def scale_at(x):
    x[:, [2, 5]] *= 3
    return x


def cell(pattern, renormalise):
    row = pattern[:, 1, 6]
    if renormalise:
        rest = row.clone()
        rest[:, 2] = 0
        row = rest * (0.25 / rest.sum(-1, keepdim=True))
    row[:, 2] = 0.75
    pattern[:, 1, 6] = row
    return pattern


def patched(x):
    source = activation(TEXT, "blocks.1.hook_resid_pre")
    n = min(len(source), x.shape[1])
    x[:, :n] = source[:n]
    return x


POST, MORE = "blocks.0.hook_resid_post", ("The queen was angry", " calm", "a quiet day")


def direction(name, *texts):
    return torch.stack([activation(text, name)[-1] for text in texts]).mean(0)


def held(x, name, value):
    """Row by row: the component along the unit direction of " angry" less the mean of MORE becomes value."""
    unit = direction(name, " angry") - direction(name, *MORE)
    unit = unit / unit.norm(dim=-1, keepdim=True)
    for row in x[0]:
        row += (value - (row * unit).sum(-1, keepdim=True)) * unit
    return x


def contrasted(x):
    """ActAdd: the shorter text is padded with spaces, and both are aligned with the prompt from the front."""
    long, short = MODEL.to_tokens("The angry old man"), MODEL.to_tokens(" calm")
    space = MODEL.tokenizer.encode(" ")
    short = torch.cat([short, torch.tensor([space * (long.shape[1] - short.shape[1])])], 1)
    x[:, : long.shape[1]] += 5 * (activation(long, POST) - activation(short, POST))
    return x


def neuron_held(x):
    x[..., 17] = 3.0
    return x


LISTS = {"text": " angry", "minus": "\n".join(MORE), "lines": True}
CASES = {
    "contrast": (Edit.contrast("resid_post", 0, text="The angry old man", minus=" calm", value=5), POST, contrasted),
    "project": (Edit.project("resid_post", 0, **LISTS), POST, lambda x: held(x, POST, 0.0)),
    "clamp": (Edit.clamp("resid_post", 0, **LISTS, value=-4), POST, lambda x: held(x, POST, -4.0)),
    "clamp in every head": (
        Edit.clamp("z", 1, **LISTS, value=2),
        "blocks.1.attn.hook_z",
        lambda z: held(z, "blocks.1.attn.hook_z", 2.0),
    ),
    "add the difference of two lists": (
        Edit.add("resid_post", 0, **LISTS, value=3),
        POST,
        lambda x: x + 3 * (direction(POST, " angry") - direction(POST, *MORE)),
    ),
    "clamp a neuron": (Edit.clamp_neuron(1, 17, 3.0), "blocks.1.mlp.hook_post", neuron_held),
    "zero head": (Edit.zero("z", 0, 1), "blocks.0.attn.hook_z", zero_head),
    "scale at positions": (Edit.scale("mlp_out", 1, value=3, positions=(2, 5)), "blocks.1.hook_mlp_out", scale_at),
    "cell": (Edit.set_cell(0, 1, 6, 2, 0.75), "blocks.0.attn.hook_pattern", lambda p: cell(p, False)),
    "cell renormalised": (Edit.set_cell(0, 1, 6, 2, 0.75, True), "blocks.0.attn.hook_pattern", lambda p: cell(p, True)),
    "patch": (Edit.patch("resid_pre", 1, text=TEXT), "blocks.1.hook_resid_pre", patched),
    "mean": (
        Edit.mean("attn_out", 0, text=TEXT),
        "blocks.0.hook_attn_out",
        lambda x: activation(TEXT, "blocks.0.hook_attn_out").mean(0).expand_as(x),
    ),
    "add": (
        Edit.add("resid_post", 0, text=" angry", minus=" calm", value=4),
        "blocks.0.hook_resid_post",
        lambda x: (
            x + 4 * (activation(" angry", "blocks.0.hook_resid_post")[-1] - activation(" calm", "blocks.0.hook_resid_post")[-1])
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_edit_equals_the_change_by_hand(case):
    edit, name, f = CASES[case]
    assert max_difference(run(edit), by_hand(name, f)) <= 1e-4
    assert max_difference(run(edit), run()) > 1e-4


def test_empty_plan_is_no_hook_and_scale_one_is_identity():
    assert compile_plan(MODEL, Plan()) is None
    assert torch.equal(run(Edit.scale("mlp_out", 0, value=1.0)), run())


def test_edits_act_in_order():
    twice = run(Edit.scale("z", 0, 1, value=2.0), Edit.zero("z", 0, 1))
    assert torch.equal(twice, run(Edit.zero("z", 0, 1)))


@pytest.mark.parametrize("component", EDITABLE)
def test_every_component_can_be_edited(component):
    head = 1 if EDITABLE[component][1] is not None else None
    assert max_difference(run(Edit.zero(component, 1, head)), run()) > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_edits_keep_their_positions_with_a_cache_and_with_padding(case):
    hook = compile_plan(MODEL, Plan((CASES[case][0],)))
    whole = MODEL(TOKENS, hook=hook)
    cache = KVCache.empty(MODEL.cfg)
    steps = torch.cat([MODEL(part, hook=hook, cache=cache) for part in TOKENS.split((4, 1, 4), 1)], 1)
    assert max_difference(steps, whole) <= 1e-4
    padded, mask = torch.cat([torch.zeros(1, 3, dtype=torch.long), TOKENS], 1), torch.arange(12)[None] >= 3
    assert max_difference(MODEL(padded, hook=hook, mask=mask)[:, 3:], whole) <= 1e-4


def test_a_plan_for_another_model_is_refused():
    wrong = [(Edit.zero("z", 7), "layer 7"), (Edit.zero("z", 0, 9), "head 9"), (Edit.clamp_neuron(0, 256, 1), "neuron 256")]
    for edit, message in wrong:
        message += " does not exist"
        with pytest.raises(ValueError, match=message):
            run(edit)


def test_trace_under_a_plan_and_back_is_exact():
    plan = Plan((Edit.zero("z", 0, 1),))
    before, edited, after = trace(MODEL, TEXT), trace(MODEL, TEXT, plan), trace(MODEL, TEXT)
    assert torch.equal(before.logits, after.logits) and max_difference(before.logits, edited.logits) > 1e-4
    assert edited.activations["z", 0][:, 1].abs().max() == 0
    assert Plan.from_json(edited.provenance.plan) == plan and edited.provenance.bos
    assert edited.strings[:2] == ("<|endoftext|>", "When")


def test_trace_refuses_what_it_cannot_run():
    with pytest.raises(ValueError, match="empty"):
        trace(MODEL, "", bos=False)
    with pytest.raises(ValueError, match="has 65 tokens, custom reads 64"):
        trace(MODEL, [5] * 64)


def test_each_text_is_run_once_and_their_length_is_bounded(monkeypatch):
    runs = []
    real = MODEL.run_with_cache
    monkeypatch.setattr(
        type(MODEL), "run_with_cache", lambda self, tokens, *a, **k: (runs.append(tokens), real(tokens, *a, **k))[1]
    )
    plan = Plan(tuple(Edit.patch("resid_pre", layer, text=TEXT, positions=(p,)) for layer in (0, 1) for p in range(8)))
    compile_plan(MODEL, plan)
    assert len(runs) == 1
    long = Plan(tuple(Edit.patch("z", 0, text="word " * 50 + str(n)) for n in range(64)))
    monkeypatch.setattr("interp.intervene.MAX_TEXT_TOKENS", 1000)
    with pytest.raises(ValueError, match="1000 is the most"):
        compile_plan(MODEL, long)


def test_two_texts_that_do_not_differ_have_no_direction():
    with pytest.raises(ValueError, match="do not differ there"):
        run(Edit.project("resid_pre", 1, text="same", minus="same"))
    assert torch.equal(run(Edit.add("resid_pre", 1, text="same", minus="same")), run())


def test_trace_of_a_model_without_a_tokenizer():
    run = trace(random_model(CONFIG), [1, 2], bos=False)
    assert run.tokens == (1, 2) and len(run.strings) == 2


def test_edits_that_overflow_are_named():
    plan = Plan(tuple(Edit.scale("resid_pre", 0, value=9e5 + n) for n in range(8)))
    with pytest.raises(
        ValueError, match=r"not finite in torch.float32, first at blocks\.0\.hook_resid_pre; make the edits smaller"
    ):
        trace(MODEL, TEXT, plan)
