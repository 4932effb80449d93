"""Plans as data: JSON and back, what is refused and in which words, fitting another model, shifting."""

import json

import pytest
from helpers import tiny_config
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.edits import EDITABLE, MAX_EDITS, Edit, Plan

CONFIG = tiny_config()
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
    st.builds(
        Edit.of_feature,
        st.text(min_size=1),
        st.sampled_from(["resid_pre", "z"]),
        st.integers(0, 9),
        st.integers(0, 99),
        st.floats(-9, 9),
    ),
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


def test_add_and_remove():
    plan = Plan().add(Edit.zero("z", 0, 1)).add(Edit.zero("z", 0, 1), Edit.zero("mlp_out", 1))
    assert [e.describe() for e in plan] == ["L0H1 zeroed", "mlp_out L1 zeroed"]
    assert plan.remove(0) == Plan((Edit.zero("mlp_out", 1),))
    with pytest.raises(ValueError, match="no edit 5"):
        plan.remove(5)


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
        ('[{"op":"feature","component":"resid_pre","layer":0,"value":1,"feature":3}]', "needs the autoencoder's name"),
        ('[{"op":"feature","component":"resid_pre","layer":0,"value":1,"autoencoder":"a"}]', "a feature from 0"),
        (
            '[{"op":"feature","component":"resid_pre","layer":0,"value":1,"feature":-1,"autoencoder":"a"}]',
            "feature is a whole number",
        ),
        (
            '[{"op":"feature","component":"resid_pre","layer":0,"value":1,"feature":1,"autoencoder":7}]',
            "autoencoder cannot be 7",
        ),
        (
            '[{"op":"feature","component":"pattern","layer":0,"value":1,"feature":1,"autoencoder":"a"}]',
            "a component without heads",
        ),
        (
            '[{"op":"feature","component":"z","layer":0,"head":1,"value":1,"feature":1,"autoencoder":"a"}]',
            "a component without heads",
        ),
        ('[{"op":"feature","component":"z","layer":0,"feature":1,"autoencoder":"a"}]', "needs a finite number"),
        ('[{"op":"zero","component":"z","layer":0,"feature":1}]', "zero has no use for feature"),
        (
            '[{"op":"feature","component":"z","layer":0,"value":1,"feature":1,"autoencoder":"%s"}]' % ("a" * 201),
            "200 characters",
        ),
    ],
)
def test_more_bad_plans(text, message):
    with pytest.raises(ValueError, match=message):
        Plan.from_json(text)


def test_edits_of_directions_and_neurons_in_words():
    project, neuron = Edit.project("resid_pre", 1, text="a", minus="b"), Edit.clamp_neuron(1, 17, 3.0)
    assert [e.describe() for e in (project, neuron)] == ["resid_pre L1 without 'a' - 'b'", "L1N17 = 3"]
    assert Edit.contrast("resid_pre", 1, text="a", minus="b", value=5).describe() == "resid_pre L1 + 5 'a' - 'b'"
    plan = Plan((neuron, Edit.clamp_neuron(1, 300, 3.0)))
    assert plan.fitting(CONFIG) == Plan((neuron,))
    first = Plan((Edit.zero("z", 0, 0), Edit.clamp_neuron(0, 0, 3.0)))
    assert first.check(CONFIG) == first == first.fitting(CONFIG)


@pytest.mark.parametrize("lines", [{}, {"lines": True}])
@pytest.mark.parametrize(
    ("op", "make", "value"),
    [("add", Edit.add, {"value": 2.0}), ("project", Edit.project, {}), ("clamp", Edit.clamp, {"value": 2.0})],
)
def test_an_edit_holds_all_that_it_is_made_of(op, make, value, lines):
    given = {"positions": (1, 2), "text": "a", "minus": "b", **value, **lines}
    assert make("z", 1, 3, **given) == Edit(op, "z", 1, 3, **given)


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
