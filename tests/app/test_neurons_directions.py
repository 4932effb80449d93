"""Directions read through the vocabulary and sparse autoencoders, and what all panels of the neurons tab hand out."""

import math
import re

import numpy as np
import pytest
import stores
import torch
from scripts import run_here

from app.service import neurons, neurons_directions, neurons_evidence, neurons_sae
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import neurons_sae as sae_panel
from interp.edits import Edit, Plan

PROMPT, OFF = "When the old clock struck twelve, the old", Plan((Edit.zero("z", 0, 1),))
OWN = "The king went to the sea. The queen went to the old house, and the old man said nothing at all."


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m"))


@pytest.fixture(scope="module")
def view(store):
    return View(store, PageState(model="glass-2m", prompt=PROMPT, plan=OFF))


def at(view, layer, neuron, **changes):
    return View(view.store, neurons.choose(view.state, layer, neuron).but(**changes))


def test_the_difference_of_two_tokens(view):
    found = neurons_directions.directions(view)
    plus, minus = neurons_directions.tokens(view)
    wte = view.model.W_E.detach()
    table = wte - wte.mean(1, keepdim=True)
    d = table[plus] - table[minus]
    assert found.size == pytest.approx(d.norm().item(), rel=1e-5)
    like = torch.nn.functional.cosine_similarity(table, d[None], dim=-1)
    name, ends = found.lists[0]
    assert (
        name == "like"
        and ends.up_ids[0] == like.argmax()
        and ends.down_values[0].item() == pytest.approx(like.min().item(), abs=1e-5)
    )
    same = neurons_directions.MINUS.on(view.state, neurons_directions.PLUS.default)
    with pytest.raises(ValueError, match="the same"):
        neurons_directions.directions(View(view.store, same))


@pytest.mark.parametrize("kind", ["OV", "QK"])
def test_a_direction_of_a_head(view, kind):
    state = neurons_directions.RANK.on(neurons_directions.KIND.on(view.state, kind), 1)
    found = neurons_directions.directions(View(view.store, state))
    block, gain = view.model.h[0].attn, view.model.h[0].ln_1.weight.detach()[:, None]
    left, right = (block.W_V[0], block.W_O[0].T) if kind == "OV" else (block.W_Q[0], block.W_K[0])
    left = gain * left.detach()
    left = left - left.mean(0)
    right = right.detach() if kind == "OV" else gain * right.detach()
    right = right - right.mean(0)
    values = torch.linalg.svdvals((left @ right.T).double())
    assert found.size == pytest.approx(values[1].item(), rel=1e-4)
    assert found.share == pytest.approx((values[1] ** 2 / (values**2).sum()).item(), rel=1e-4)


# -- autoencoders --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_sae(tmp_path_factory):
    """A store whose folder has one autoencoder of random directions, two folders down."""
    store, tensors = stores.with_autoencoder(tmp_path_factory.mktemp("saes"))
    return View(store, PageState(model="glass-2m", prompt=PROMPT)), tensors


def test_features_are_read_and_edited(with_sae):
    view, w = with_sae
    assert neurons_sae.names(view) == ["release/layer"]
    found = neurons_sae.features(view)
    with torch.no_grad():
        _, cache = view.model.run_with_cache(view.model.to_tokens(PROMPT))
    x = cache["blocks.1.hook_resid_pre"][0]
    active = torch.relu(x @ w["W_enc"] - 1)
    assert [f for f, _ in found.top] == [i for i in active[-1].argsort(descending=True).tolist() if active[-1, i] > 0][:16]
    assert found.feature == active[-1].argmax() and np.allclose(found.over, active[:, found.feature].numpy(), atol=1e-4)
    change = neurons_sae.edited(view, found)
    taken = x - active[:, found.feature, None] * w["W_dec"][found.feature]
    with torch.no_grad():
        hooks = [("blocks.1.hook_resid_pre", lambda _, hook: taken[None])]
        q = view.model.run_with_hooks(view.model.to_tokens(PROMPT), fwd_hooks=hooks)[0, -1].softmax(-1)
    p = view.run.logits[-1].softmax(-1)
    assert change.kl == pytest.approx((p * (p / q).log()).sum().item() / math.log(2), abs=1e-4) and change.kl > 0
    assert len(sae_panel._features(view)) == 8


def test_no_path_of_the_network_is_opened(with_sae, view, tmp_path):
    here, _ = with_sae
    for name in ("../release/layer", "/etc", str(tmp_path), "release"):
        with pytest.raises(ValueError, match="There is no autoencoder"):
            neurons_sae.features(View(here.store, neurons_sae.CHOSEN.on(here.state, name)))
    with pytest.raises(ValueError, match="Feature 99 does not exist"):
        neurons_sae.features(View(here.store, neurons_sae.FEATURE.on(here.state, 99)))
    empty = View(ModelStore(Settings(model="glass-2m", sae=str(tmp_path))), view.state)
    assert neurons_sae.features(empty) is None and "--sae" in sae_panel._features(empty)[0]["what"]
    with pytest.raises(ValueError, match="--sae FOLDER"):
        neurons_sae.evidence(empty)


# -- what is handed out -----------------------------------------------------------------------------------------------------------------


def test_scripts_print_what_the_panels_show(view, with_sae, capsys):
    plain = View(view.store, neurons.choose(view.state, 1, 5).but(plan=Plan()))
    by_activation = View(view.store, neurons.RANK.on(plain.state, "activation"))
    panel = neurons_evidence.ranked_evidence(by_activation)
    for code in (panel.code, panel.lens_code):
        rows = re.findall(r"(L\d+N\d+) (-?[\d.]+)", run_here(code, capsys))
        assert [name for name, _ in rows] == [row[0] for row in panel.rows]
        assert np.allclose([float(v) for _, v in rows], [row[1] for row in panel.rows], atol=2e-4)
    panel, values = neurons_evidence.prompt_evidence(plain), neurons.here(plain)
    for code in (panel.code, panel.lens_code):
        assert np.allclose([float(v) for v in re.findall(r"(-?\d+\.\d{5})$", run_here(code, capsys), re.M)], values, atol=2e-5)
    said = re.findall(r"^(?:raises|lowers) .* (-?\d+\.\d{4})$", run_here(panel.code, capsys), re.M)
    assert np.allclose([float(v) for v in said], [row[3] for row in panel.rows if row[0] != "prompt"], atol=2e-4) and said
    panel = neurons_evidence.held_evidence(plain)
    for code in (panel.code, panel.lens_code):
        printed = run_here(code, capsys)
        assert float(re.search(r"KL ([\d.]+) bits", printed)[1]) == pytest.approx(panel.facts["kl_bits"], abs=2e-5)
        moved = [tuple(map(float, m)) for m in re.findall(r"([\d.]+) -> ([\d.]+)$", printed, re.M)]
        assert not moved or np.allclose(moved, [row[3:] for row in panel.rows], atol=2e-6)
    assert moved == [] and len(panel.rows) == 16


def test_holding_what_nothing_reads_moves_nothing(view, capsys):
    plan = Plan((Edit.zero("mlp_out", 1),))  # neither the page nor the script may take rounding for an effect
    found = neurons_evidence.held_evidence(at(view, 1, 5, plan=plan))
    assert found.rows == [] and found.facts["kl_bits"] == 0
    assert run_here(found.code, capsys) == "KL 0.00000 bits\n"


def test_the_other_scripts(view, with_sae, capsys):
    other = at(view, 1, 5)
    assert neurons_evidence.prompt_evidence(other).lens_code == ""
    assert neurons_evidence.ranked_evidence(view).rows[0][0] in run_here(neurons_evidence.ranked_evidence(view).code, capsys)
    with pytest.raises(ValueError, match="not read yet"):
        neurons_evidence.fired_evidence(other, OWN + "x")
    list(neurons.fired(other, OWN))
    panel = neurons_evidence.fired_evidence(other, OWN)
    printed = run_here(panel.code, capsys)
    values = [float(v) for v in re.findall(r"^(-?[\d.]+) '", printed, re.M)]
    assert np.allclose(values, [row[2] for row in panel.rows if row[0] == "place"], atol=2e-5) and len(values) == 8
    says = "logits at a final LayerNorm scale of 1"
    for kind in ("tokens", "OV"):
        turned = View(view.store, neurons_directions.KIND.on(view.state, kind))
        panel = neurons_directions.evidence(turned)
        printed = run_here(panel.code, capsys)
        assert float(re.search(r"length ([\d.]+)", printed)[1]) == pytest.approx(panel.facts["size"], abs=2e-5)
        told = [(*row[:2], f"{row[4]:.5f}", view.model.tokenizer.strings([row[2]])[0]) for row in panel.rows]
        assert "\n".join(f"{side} {end} {value} {token!r}" for side, end, value, token in told) in printed.replace(
            "-0.00000", "0.00000"
        )
        assert {row[5] for row in panel.rows} == (
            {"cosine", says} if kind == "tokens" else {"product with the embedding", says}
        )
    panel = neurons_sae.evidence(with_sae[0])
    assert f"{panel.rows[0][1]} {panel.rows[0][2]:.5f}" in run_here(panel.code, capsys)
