"""The Neurons tab: every number against a run with hooks by hand; texts, directions, autoencoders; a reader's journey."""

import math
import re

import numpy as np
import pytest
import stores
import torch

from app.components.contexts import Place, contexts_value
from app.figures.neurons import activation_histogram
from app.page import Notice
from app.service import neurons, neurons_directions, steering
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import neurons as tab
from app.tabs import neurons_directions as directions_panel
from app.tabs import neurons_held, neurons_text
from app.text import words
from interp.edits import Edit, Plan

PROMPT, OFF = "When the old clock struck twelve, the old", Plan((Edit.zero("z", 0, 1),))
OWN = "The king went to the sea. The queen went to the old house, and the old man said nothing at all."


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m"))


@pytest.fixture(scope="module")
def view(store):
    return View(store, PageState(model="glass-2m", prompt=PROMPT, plan=OFF))


@pytest.fixture(scope="module")
def by_hand(view):
    """Activations of all neurons under OFF, [layer pos neuron]; final stream; by plain hooks."""
    kept = {}

    def off(z, hook):
        z = z.clone()
        z[:, :, 1] = 0
        return z

    names = [f"blocks.{layer}.mlp.hook_post" for layer in range(2)]
    hooks = [("blocks.0.attn.hook_z", off), *((name, lambda x, hook: kept.__setitem__(hook.name, x[0])) for name in names)]
    with torch.no_grad():
        kept["logits"] = view.model.run_with_hooks(view.model.to_tokens(PROMPT), fwd_hooks=hooks)[0]
    return kept


def at(view, layer, neuron, **changes):
    return View(view.store, neurons.choose(view.state, layer, neuron).but(**changes))


def test_the_most_active_neurons(view, by_hand):
    found = neurons.ranked(View(view.store, neurons.RANK.on(view.state.but(position=3), "activation")))
    table = torch.stack([by_hand[f"blocks.{layer}.mlp.hook_post"][3] for layer in range(2)])
    top = table.flatten().topk(neurons.LISTED)
    assert found.places == tuple((i // table.shape[1], i % table.shape[1]) for i in top.indices.tolist())
    assert np.allclose(found.values, top.values.numpy(), atol=1e-5)


def test_the_neurons_that_say_most_and_which_one_is_looked_at(view):
    found = neurons.ranked(view)
    assert found.check.holds and list(map(abs, found.values)) == sorted(map(abs, found.values), reverse=True)
    assert neurons.chosen(view) == found.places[0]
    other = at(view, 1, 5)
    assert neurons.chosen(other) == (1, 5) and other.layer == 1
    for text, said in (("1.9999", "neuron 9999 does not exist"), ("7.1", "layer 7 does not exist"), ("x", "expected a layer")):
        with pytest.raises(ValueError, match=said):
            neurons.chosen(View(view.store, neurons.AT.on(view.state, text)))


def test_one_neuron_on_the_prompt_and_held(view, by_hand):
    other = at(view, 1, 5)
    assert np.allclose(neurons.here(other), by_hand["blocks.1.mlp.hook_post"][:, 5].numpy(), atol=1e-5)
    with torch.no_grad():
        logits = view.model.run_with_hooks(
            view.model.to_tokens(PROMPT),
            fwd_hooks=[
                ("blocks.0.attn.hook_z", lambda z, hook: z * (torch.arange(z.shape[2]) != 1)[:, None]),
                ("blocks.1.mlp.hook_post", lambda x, hook: torch.where(torch.arange(x.shape[-1]) == 5, 10.0, x)),
            ],
        )[0, -1]
    p, q = by_hand["logits"][-1].softmax(-1), logits.softmax(-1)
    found = neurons.held(other)
    assert found.kl == pytest.approx((p * (p / q).log()).sum().item() / math.log(2), abs=1e-4) and found.kl > 0
    assert found.up_ids[0] == (q - p).argmax() and neurons.check(other).holds
    added = View(view.store, other.state.but(plan=OFF.add(neurons.edit_of(other))))
    assert neurons.held(added).kl == pytest.approx(found.kl, abs=1e-6)


def test_a_text_is_searched_and_its_places_are_the_highest(view):
    other = at(view, 1, 5)
    assert neurons.fired_at_hand(other, OWN) is None
    found = list(neurons.fired(other, OWN))[-1]
    assert neurons.fired_at_hand(other, OWN).top is found.top and found.done
    own = View(view.store, other.state.but(prompt=OWN))
    values = neurons.here(own)[1:]  # <|endoftext|> is not of the text
    assert [c.position for c in found.contexts] == np.argsort(-values, kind="stable")[: neurons.PLACES].tolist()
    bars = neurons.histogram(other, found.top)
    counts, _ = np.histogram(values, np.append(bars.edges[:-1], np.inf if bars.open_end else bars.edges[-1]))
    assert bars.counts.tolist() == counts.tolist() and bars.counts.sum() == len(values)
    with pytest.raises(ValueError, match="200,001 characters"):
        neurons.text_of("x" * 200_001)
    assert neurons.text_of("  ") == neurons.text_of(None) and len(neurons.text_of(None)) > 20_000


def test_a_long_text_comes_in_parts(view, monkeypatch):
    monkeypatch.setattr(neurons, "INTERVAL", 0)
    other = at(view, 0, 3)
    parts = list(neurons.fired(other, OWN * 200))
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True] and len(parts) > 1
    said = neurons_text._said(other, words("en"), OWN * 200, parts[0])
    assert re.match(r"Reading: 8 of \d+ windows", said)
    assert neurons.seconds(other, OWN * 200) > neurons.seconds(other, OWN) > 0


# -- autoencoders --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_sae(tmp_path_factory):
    """A store whose folder has one autoencoder of random directions, two folders down."""
    store, tensors = stores.with_autoencoder(tmp_path_factory.mktemp("saes"))
    return View(store, PageState(model="glass-2m", prompt=PROMPT)), tensors


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_every_panel_is_painted(view, with_sae, lang):
    other = at(view, 1, 5, lang=lang)
    assert [len(f(other)) for f in (tab._ranked, tab._on_prompt, tab._chosen, neurons_held._held)] == [2, 3, 2, 2]
    found = list(neurons.fired(other, OWN))[-1]
    assert len(neurons_text._paint(other, OWN, found)) == len(neurons_text._paint(other, OWN, None)) == 4
    for kind in neurons_directions.KIND.one_of:
        turned = View(view.store, neurons_directions.KIND.on(other.state, kind))
        value = directions_panel._directions(turned)[1]
        says = {"tokens": ("cosine", "logits"), "OV": ("product", "logits"), "QK": ("product",)}[kind]
        assert len(value["lists"]) == 4 and (
            lang == "ko" or [w for w in ("cosine", "product", "logits") if w in value["unit"]] == list(says)
        )
    assert "L1N5" in tab._on_prompt(other)[0]["what"]


def test_a_place_becomes_the_prompt_and_steering_takes_the_neuron(view):
    class Page:
        store = view.store

    other = at(view, 1, 5, plan=Plan())
    found = list(neurons.fired(other, OWN))[-1]
    with pytest.raises(Notice) as told:
        neurons_text._pick(Page, neurons_text.OWN.on(other.state, OWN), type("E", (), {"index": 2}))
    place = found.contexts[2]
    assert told.value.state.prompt == "".join(place.strings[: place.peak + 1]) and neurons.AT.of(told.value.state) == "1.5"
    steered = neurons_held._to_steering(Page, other.state)
    assert steered.tab == "steering" and steering.edit_of(steered, view.config) == neurons.edit_of(other)
    with pytest.raises(Notice) as told:
        neurons_held._to_plan(Page, other.state)
    assert told.value.state.plan == Plan((neurons.edit_of(other),))


def test_pictures():
    labels = words("en").section("neurons_histogram")
    figure = activation_histogram([-0.2, -0.1, 0, 0.1], [3, 0, 2], labels, here=0.05, open_end=True)
    assert list(figure.data[0].y) == [3, None, 2] and figure.data[0].customdata[2][0] == "0.0 and more"
    assert figure.layout.shapes[0].x0 == 0.05
    with pytest.raises(ValueError, match="one edge more"):
        activation_histogram([0, 1], [1, 2], labels)
    text = words("en").section("contexts")
    assert contexts_value([Place(["a", "b"], [0.5, -0.1], 0)], text=text, unit="u")["bound"] == 0.5
    with pytest.raises(ValueError, match="one finite number per token"):
        contexts_value([Place(["a"], [1.0, 2.0], 0)], text=text, unit="u")


@pytest.mark.browser
def test_a_reader_looks_at_a_neuron(page_url, browser_page):
    page = browser_page
    page.goto(f"{page_url}/?tab=neurons&lang=en")
    rows = page.locator("#gb_neurons_list button")
    rows.nth(1).wait_for(timeout=120_000)
    name = rows.nth(1).locator(".gb-bars-text").inner_text()
    rows.nth(1).click()
    page.locator("#gb_neurons_prompt_head", has_text=name).wait_for()
    page.locator("#gb_neurons_contexts .gb-context").first.wait_for()
    page.locator("#gb_neurons_own textarea").fill("The old king sat in the old house by the sea.")
    page.locator("#gb_neurons_read").click()
    page.locator("#gb_neurons_text_head", has_text="your text").wait_for()
    page.locator("#gb_neurons_to_plan").click()
    page.locator("#gb_edits", has_text=f"{name} = 10").wait_for()
