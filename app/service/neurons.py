"""What the Neurons tab shows of one neuron: who is active here, where it fires in a text, what it says, and what holding it does."""

import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.service import attribution
from app.service.view import View, as_numpy
from app.setting import Setting
from app.state import PageState
from interp.edits import Edit, Plan
from interp.intervene import compile_plan
from interp.neurons import EDGES, Context, TopActivations, activations_at, contexts, top_activations_stream
from interp.run import Check
from interp.steering_effect import Aim, Shift, aim, applied, shift
from interp.sweep_cost import speed

SAMPLE = Path(__file__).resolve().parents[2] / "assets" / "sample.txt"
MAX_TEXT = 200_000  # characters of a text to look for activations in
CHARACTERS = 4.2  # of a token, about
LISTED, PLACES = 16, 8  # neurons in the list, contexts of one
RANK = Setting("neurons.rank", "effect", one_of=("effect", "activation"))
AT = Setting("neurons.at", "")  # "2.58" is L2N58; empty: the first of the list
HELD = Setting("neurons.held", 10.0, low=-10_000, high=10_000)
QUICK_SECONDS = 1.5
INTERVAL = 0.4  # seconds between pictures while a text is read


@dataclass(frozen=True)
class Ranked:
    """Neurons of all layers, the strongest first. places: (layer, neuron); values: logits for the token, or activations."""

    places: tuple[tuple[int, int], ...]
    values: tuple[float, ...]
    token: int | None
    check: Check | None


def ranked(view: View) -> Ranked:
    """The neurons that do most at the selected position, by RANK: for the likeliest next token, or by their activation."""
    if RANK.of(view.state) == "effect":
        what = attribution.wanted(view, "", "")
        found = attribution.neurons(view, what, view.state.plan)
        places = tuple(tuple(map(int, re.fullmatch(r"L(\d+)N(\d+)", label).groups())) for label in found.labels)
        return Ranked(places[:LISTED], tuple(found.values[:LISTED].tolist()), what.token, found.check)
    table = _activations(view)
    order = np.argsort(-table, axis=None, kind="stable")[:LISTED]
    places = tuple((int(i) // table.shape[1], int(i) % table.shape[1]) for i in order)
    return Ranked(places, tuple(float(table[place]) for place in places), None, None)


def _activations(view: View) -> np.ndarray:
    """Every neuron's activation at the selected position, [layer neuron]."""
    s = view.state

    def compute() -> np.ndarray:
        hook = compile_plan(view.model, s.plan, s.bos)
        return as_numpy(activations_at(view.model, view.run.tokens, view.position, hook=hook))

    return view.store.result((s.model, "neurons here", s.prompt, s.bos, s.plan, view.position), compute)


def chosen(view: View) -> tuple[int, int]:
    """The neuron that is looked at. Raises ValueError for one that the model does not have."""
    text = AT.of(view.state)
    if not text:
        return ranked(view).places[0]
    found = re.fullmatch(r"(\d{1,3})\.(\d{1,6})", text)
    if found is None:
        raise ValueError(f"neurons.at is {text[:20]!r}; expected a layer and a neuron, as in 2.58.")
    layer, neuron = map(int, found.groups())
    Edit.clamp_neuron(layer, neuron, 0).check(view.config)
    return layer, neuron


def choose(state: PageState, layer: int, neuron: int) -> PageState:
    """The state with this neuron looked at; its layer is selected everywhere."""
    return AT.on(state.but(layer=layer), f"{layer}.{neuron}")


def here(view: View) -> np.ndarray:
    """The neuron's activation at every position of the prompt, under the plan."""
    return as_numpy(_read(view).along)


def _read(view: View) -> Aim:
    """The neuron on the prompt, and the tokens that its output weights raise and lower."""
    s, (layer, neuron) = view.state, chosen(view)
    edit = Edit.clamp_neuron(layer, neuron, 0.0)
    compute = lambda: aim(view.model, s.prompt, edit, plan=s.plan, bos=s.bos)  # noqa: E731
    return view.store.result((s.model, "neuron", s.prompt, s.bos, s.plan, layer, neuron), compute)


def said(view: View) -> Aim:
    """The same, for its tokens."""
    return _read(view)


# -- holding it ---------------------------------------------------------------------------------------------------------------------


def edit_of(view: View) -> Edit:
    """The edit that holds the neuron at the chosen value."""
    return Edit.clamp_neuron(*chosen(view), HELD.of(view.state))


def _key(view: View, name: str, *more) -> tuple:
    s = view.state
    return (s.model, name, s.prompt, s.bos, s.plan, *more)


def without_it(view: View) -> Plan:
    """The plan in force, less this edit, if it is already among them."""
    edit = edit_of(view)
    return Plan(tuple(other for other in view.state.plan if other != edit))


def held(view: View) -> Shift:
    """The next token without and with the neuron held, on top of the plan."""
    base = without_it(view)
    before, after = (View(view.store, view.state.but(plan=plan)).run for plan in (base, base.add(edit_of(view))))
    return shift(before, after, view.position)


def check(view: View) -> Check:
    """Whether the run has the neuron where it is held."""
    s, edit = view.state, edit_of(view)
    compute = lambda: applied(view.model, s.prompt, edit, plan=without_it(view), bos=s.bos)  # noqa: E731
    return view.store.result(_key(view, "neuron held check", edit), compute)


# -- a text -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fired:
    """Where a layer's neurons fire in a text. contexts: of the neuron looked at, empty while the text is being read."""

    top: TopActivations
    contexts: tuple[Context, ...]

    @property
    def done(self) -> bool:
        return self.top.done == self.top.windows


def text_of(own: str | None) -> str:
    """The text to read: a person's own, or the sample. Raises ValueError for one that is too long."""
    if own and len(own) > MAX_TEXT:
        raise ValueError(f"The text has {len(own):,} characters; {MAX_TEXT:,} is the most. Take a part of it.")
    return own if own and own.strip() else SAMPLE.read_text(encoding="utf-8")


def _text_key(view: View, text: str, *more) -> tuple:
    s = view.state
    return (s.model, "fired", hashlib.blake2s(text.encode("utf-8", "replace")).hexdigest(), s.bos, s.plan, *more)


def fired_at_hand(view: View, own: str | None) -> Fired | None:
    """Where the neuron fires, if its layer was read over this text; None while it was not."""
    text, (layer, neuron) = text_of(own), chosen(view)
    top = view.store.peek(_text_key(view, text, layer))
    if top is None:
        return None
    places = view.store.result(_text_key(view, text, layer, neuron), lambda: contexts(view.model, top, neuron))
    return Fired(top, places)


def seconds(view: View, own: str | None) -> float:
    """About how long reading the text takes here."""
    tokens, (layer, _) = len(text_of(own)) / CHARACTERS, chosen(view)
    flops = tokens * 24.0 * view.config.d_model**2 * (layer + 1)
    return flops / view.store.result((view.state.model, "speed"), lambda: speed(view.model))


def fired(view: View, own: str | None) -> Iterator[Fired]:
    """The layer read over the text: a picture now and then, and at the end the neuron's contexts."""
    text, (layer, _), drawn = text_of(own), chosen(view), time.monotonic()
    if fired_at_hand(view, own) is None:
        batch = 8 if view.config.d_model <= 256 else 2
        for top in top_activations_stream(
            view.model, text, layer, PLACES, bos=view.state.bos, plan=view.state.plan, batch=batch
        ):
            if top.done < top.windows and time.monotonic() - drawn >= INTERVAL:
                yield Fired(top, ())
                drawn = time.monotonic()
        view.store.result(_text_key(view, text, layer), lambda: top)
    yield fired_at_hand(view, own)


@dataclass(frozen=True)
class Histogram:
    """edges: the lower end of each bin, and the upper end of the last; counts of tokens. open_end: the last bin has no upper end."""

    edges: np.ndarray
    counts: np.ndarray
    open_end: bool


def histogram(view: View, top: TopActivations) -> Histogram:
    """The neuron's activations over the text, without the empty bins above its largest."""
    counts = as_numpy(top.histogram[chosen(view)[1]])
    last = int(np.flatnonzero(counts).max(initial=0)) + 1
    edges = np.array([*EDGES, EDGES[-1] + 0.1])
    return Histogram(edges[: last + 1], counts[:last], last == len(counts))
