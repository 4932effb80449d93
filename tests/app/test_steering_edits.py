"""Steering as edits of the page's plan: the form makes them, the chips say them, the address carries them."""

import re

import pytest

from app.state import PageState
from app.tabs.edit_form import _add, chip
from app.text import words
from interp.edits import Edit, Plan

TEXTS = {"text": "the queen\nthe woman", "minus": "the king\nthe man"}
EDITS = {
    "(“the queen | the woman” − “the king | the man”)": Edit.add("resid_pre", 2, **TEXTS, value=1.5, lines=True),
    "from the front": Edit.contrast("resid_pre", 0, text="Love", minus="Hate", value=5),
    "resid_pre L1 without “the queen”": Edit.project("resid_pre", 1, text="the queen"),
    "along “the queen” = −6": Edit.clamp("resid_pre", 1, text="the queen", value=-6),
    "L0N92 = 8": Edit.clamp_neuron(0, 92, 8.0),
    "L3N7 off": Edit("zero", "mlp_post", 3, neuron=7),
}


@pytest.mark.parametrize("said", EDITS)
def test_chips_and_addresses(said):
    edit = EDITS[said]
    assert said in chip(words("en"), edit).label
    assert re.search(r"[가-힣=]|L\d", chip(words("ko"), edit).label)
    state = PageState(plan=Plan((edit,)))
    query = dict(pair.split("=", 1) for pair in state.to_query().split("&"))
    assert "plan" in query and Plan.from_json(state.plan.to_json()) == state.plan


@pytest.mark.parametrize("said", EDITS)
def test_the_form_makes_the_same_edit(said):
    edit = EDITS[said]
    neuron = "" if edit.neuron is None else str(edit.neuron)
    boxes = [edit.value, 0, edit.text or "", edit.minus or "", edit.lines, True]
    made = _add(PageState(), edit.op, edit.component, edit.layer, "", neuron, "", *boxes)
    assert made.plan == Plan((edit,))


def test_the_form_refuses_in_a_sentence():
    with pytest.raises(ValueError, match="or a neuron of mlp_post"):
        _add(PageState(), "clamp", "resid_pre", 0, "", "", "", 1.0, 0, "", "", False, True)
    with pytest.raises(ValueError, match="A head or a neuron is a whole number"):
        _add(PageState(), "zero", "mlp_post", 0, "", "x", "", 1.0, 0, "", "", False, True)
