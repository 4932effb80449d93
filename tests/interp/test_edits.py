"""Each edit against the same change written by hand as a transformer-lens hook; plans as data."""

import json

import pytest
import torch
from helpers import bridge, max_difference, random_model, some_tokens, tiny_config
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_core.cache import KVCache
from gpt2_core.tokenizer import Tokenizer
from interp.edits import EDITABLE, MAX_EDITS, Edit, Plan
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


EDITS = st.one_of(
    st.builds(
        Edit.zero,
        st.sampled_from(["z", "q", "v"]),
        st.integers(0, 9),
        st.integers(0, 9),
        st.lists(st.integers(0, 99), min_size=1).map(tuple),
    ),
    st.builds(Edit.scale, st.sampled_from(list(EDITABLE)), st.integers(0, 9), value=st.floats(-100, 100)),
    st.builds(
        Edit.add,
        st.just("resid_pre"),
        st.integers(0, 9),
        text=st.text(min_size=1),
        value=st.floats(-9, 9),
        minus=st.none() | st.text(),
    ),
    st.builds(Edit.clamp_neuron, st.integers(0, 9), st.integers(0, 99), value=st.floats(-9, 9)),
    st.builds(Edit.project, st.just("resid_mid"), st.integers(0, 9), text=st.just("a\nb"), lines=st.booleans()),
    st.builds(
        lambda l, h, q, v, r: Edit.set_cell(l, h, q, q // 2, v, r), *[st.integers(0, 9)] * 3, st.floats(0, 1), st.booleans()
    ),
)


@settings(max_examples=60)
@given(st.lists(EDITS, max_size=6).map(tuple).map(Plan))
def test_json_round_trip(plan):
    assert Plan.from_json(plan.to_json()) == plan


@settings(max_examples=100)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_other_json_is_refused_in_one_sentence(value):
    if value == []:
        return
    with pytest.raises(ValueError) as error:
        Plan.from_json(json.dumps(value))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ('[{"op":"zero","component":"z"}]', "lacks 'layer'"),
        ('[{"op":"zap","component":"z","layer":0}]', "No edit is called 'zap'"),
        ('[{"op":"zero","component":"wte","layer":0}]', "'wte' cannot be edited"),
        ('[{"op":"zero","component":"mlp_out","layer":0,"head":1}]', "has no heads"),
        ('[{"op":"zero","component":"z","layer":"0"}]', "layer cannot be '0'"),
        ('[{"op":"zero","component":"z","layer":true}]', "layer cannot be True"),
        ('[{"op":"scale","component":"z","layer":0}]', "needs a finite number"),
        ('[{"op":"scale","component":"z","layer":0,"value":NaN}]', "needs a finite number"),
        ('[{"op":"patch","component":"z","layer":0}]', "needs a text"),
        (
            '[{"op":"set","component":"pattern","layer":0,"head":0,"positions":[2],"key":3,"value":0.5}]',
            "key not after its query",
        ),
        ('[{"op":"zero","component":"z","layer":0,"positions":[-1]}]', "whole numbers from 0"),
        ('[{"op":"zero","component":"z","layer":0,"colour":1}]', "no field 'colour'"),
        (json.dumps([{"op": "zero", "component": "z", "layer": i} for i in range(MAX_EDITS + 1)]), "A plan holds 64 edits"),
        (json.dumps([{"op": "patch", "component": "z", "layer": 0, "text": "x" * 5000}]), "may have 4000 characters"),
    ],
)
def test_bad_plans(text, message):
    with pytest.raises(ValueError, match=message):
        Plan.from_json(text)


def test_a_plan_for_another_model_is_refused():
    wrong = [(Edit.zero("z", 7), "layer 7"), (Edit.zero("z", 0, 9), "head 9"), (Edit.clamp_neuron(0, 256, 1), "neuron 256")]
    for edit, message in wrong:
        message += " does not exist"
        with pytest.raises(ValueError, match=message):
            run(edit)


def test_add_and_remove():
    plan = Plan().add(Edit.zero("z", 0, 1)).add(Edit.zero("z", 0, 1), Edit.zero("mlp_out", 1))
    assert [e.describe() for e in plan] == ["L0H1 zeroed", "mlp_out L1 zeroed"]
    assert plan.remove(0) == Plan((Edit.zero("mlp_out", 1),))
    with pytest.raises(ValueError, match="no edit 5"):
        plan.remove(5)


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"op":"zero","component":"z","layer":null}]', "layer cannot be None"),
        ('[{"op":"zero","component":"z","layer":0,"renormalise":null}]', "renormalise cannot be None"),
        ('[{"op":"zero","component":"z","layer":-1}]', "layer is a whole number from 0"),
        ('[{"op":"zero","component":"z","layer":0,"head":-1}]', "head is a whole number from 0"),
        ('[{"op":"zero","component":"z","layer":0,"positions":[100000000000000000000]}]', "whole numbers from 0"),
        ('[{"op":"zero","component":"z","layer":0,"positions":[true]}]', "whole numbers from 0"),
        ('[{"op":"zero","component":"z","layer":0,"text":"unused"}]', "zero has no use for text"),
        ('[{"op":"scale","component":"z","layer":0,"value":2,"key":1}]', "scale has no use for key"),
        ('[{"op":"zero","component":"z","layer":0,"neuron":1}]', "A neuron is edited at mlp_post"),
        ('[{"op":"project","component":"mlp_post","layer":0,"neuron":1,"text":"a"}]', "not at mlp_post by project"),
        ('[{"op":"clamp","component":"mlp_post","layer":0,"neuron":1,"value":1,"text":"a"}]', "not both"),
        ('[{"op":"clamp","component":"resid_pre","layer":0,"value":1}]', "needs a text .* or a neuron of mlp_post"),
        ('[{"op":"clamp","component":"pattern","layer":0,"value":1,"text":"a"}]', "not defined for attention patterns"),
        ('[{"op":"contrast","component":"resid_pre","layer":0,"value":1,"text":"a"}]', "needs a second text"),
        ('[{"op":"add","component":"resid_pre","layer":0,"value":1,"text":"a","lines":1}]', "lines cannot be 1"),
        ('[{"op":"add","component":"resid_pre","layer":0,"value":1,"text":"\\n","lines":true}]', "A list has 1 to 64 texts"),
        ('[{"op":"patch","component":"resid_pre","layer":0,"text":"a","lines":true}]', "patch has no use for lines"),
    ],
)
def test_more_bad_plans(text, message):
    with pytest.raises(ValueError, match=message):
        Plan.from_json(text)


def test_two_texts_that_do_not_differ_have_no_direction():
    with pytest.raises(ValueError, match="do not differ there"):
        run(Edit.project("resid_pre", 1, text="same", minus="same"))
    assert torch.equal(run(Edit.add("resid_pre", 1, text="same", minus="same")), run())


def test_edits_of_directions_and_neurons_in_words():
    project, neuron = Edit.project("resid_pre", 1, text="a", minus="b"), Edit.clamp_neuron(1, 17, 3.0)
    assert [e.describe() for e in (project, neuron)] == ["resid_pre L1 without 'a' - 'b'", "L1N17 = 3"]
    assert Edit.contrast("resid_pre", 1, text="a", minus="b", value=5).describe() == "resid_pre L1 + 5 'a' - 'b'"
    plan = Plan((neuron, Edit.clamp_neuron(1, 300, 3.0)))
    assert plan.fitting(CONFIG) == Plan((neuron,))


def test_half_surrogates_in_texts_can_be_written():
    plan = Plan((Edit.patch("z", 0, text="a\ud83d"),))
    assert plan.edits[0].text == "a\ufffd"
    plan.to_json().encode()


def test_shifting_and_fitting():
    cell, everywhere = Edit.set_cell(0, 1, 5, 2, 0.5), Edit.zero("z", 1)
    plan = Plan((cell, everywhere, Edit.zero("z", 0, positions=(0, 3))))
    assert plan.shifted(1).shifted(-1) == plan
    back = plan.shifted(-1)
    assert [e.positions for e in back] == [(4,), None, (2,)] and back.edits[0].key == 1
    assert plan.shifted(-3) == Plan((everywhere, Edit.zero("z", 0, positions=(0,))))
    assert plan.fitting(tiny_config(n_layers=1)) == Plan((cell, plan.edits[2]))


def test_trace_of_a_model_without_a_tokenizer():
    run = trace(random_model(CONFIG), [1, 2], bos=False)
    assert run.tokens == (1, 2) and len(run.strings) == 2


def test_edits_that_overflow_are_named():
    plan = Plan(tuple(Edit.scale("resid_pre", 0, value=9e5 + n) for n in range(8)))
    with pytest.raises(ValueError, match="not finite in torch.float32; make the edits smaller"):
        trace(MODEL, TEXT, plan)
