"""What the Steering tab shows: the edit that is tried, where it points, what it moves, and where it breaks.

Steering is an edit of the plan like any other; here it is tried on top of the plan in force, which is what "before" means. Once it is
in the plan itself, "before" is the plan without it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from app.service.lens import one_token
from app.service.view import View, as_numpy
from app.setting import Setting
from app.state import PageState
from gpt2_core.config import GPT2Config
from interp.edits import Edit, Plan
from interp.run import Check, Run
from interp.steering_effect import Aim, Curve, Shift, ValueSweep, aim, applied, shift, sweep_values
from interp.sweep_cost import speed

OPERATIONS = ("add", "contrast", "project", "clamp", "neuron")
PLACES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
SHE = "the queen said that she\nthe woman put on her\nthe girl said to her mother that she"
HE = "the king said that he\nthe man put on his\nthe boy said to his father that he"

OP = Setting("steering.op", "add", one_of=OPERATIONS)
TEXT, MINUS = Setting("steering.text", SHE), Setting("steering.minus", HE)
PLACE = Setting("steering.place", "resid_pre", one_of=PLACES)
LAYER = Setting("steering.layer", -1, low=-1)  # -1: the middle
VALUE = Setting("steering.value", 1.0, low=-10_000, high=10_000)
NEURON = Setting("steering.neuron", 92, low=0)
WATCHED = Setting("steering.watched", "")  # tokens separated by |, empty: those that move most
MAX_WATCHED = 4
STEPS = np.linspace(-4, 4, 17)  # times the value: what the chart of values covers
SHARES = np.linspace(0, 2, 9)  # of what project takes away
QUICK_SECONDS = 2.0


def edit_of(state: PageState, config: GPT2Config) -> Edit:
    """The edit that the tab's settings describe. Raises ValueError, in one sentence, where they describe none."""
    op, value = OP.of(state), VALUE.of(state)
    layer = layer_of(state, config)
    if op == "neuron":
        edit = Edit.clamp_neuron(layer, min(NEURON.of(state), config.d_mlp - 1), value)
    else:
        texts = {"text": _whole_lines(TEXT.of(state)), "minus": _whole_lines(MINUS.of(state)) or None}
        if op == "contrast":
            edit = Edit("contrast", PLACE.of(state), layer, value=value, **texts)
        else:
            texts["lines"] = any("\n" in (text or "") for text in texts.values())
            held = {} if op == "project" else {"value": value}
            edit = Edit(op, PLACE.of(state), layer, **texts, **held)
    edit.check(config)
    return edit


def layer_of(state: PageState, config: GPT2Config) -> int:
    """The layer chosen, or the model's middle one; in a smaller model, its last."""
    chosen = LAYER.of(state)
    return config.n_layers // 2 if chosen < 0 else min(chosen, config.n_layers - 1)


def _whole_lines(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if line.strip())


def tried(view: View) -> Edit:
    """The edit under trial."""
    return edit_of(view.state, view.config)


def without_it(view: View) -> Plan:
    """The plan in force, less the edit under trial."""
    edit = tried(view)
    return Plan(tuple(other for other in view.state.plan if other != edit))


def with_it(view: View) -> Plan:
    """The same with the edit behind it."""
    return without_it(view).add(tried(view))


def plain(view: View) -> Run:
    """The run without the edit: the page's own, unless the edit is already in its plan."""
    return View(view.store, view.state.but(plan=without_it(view))).run


def key(view: View, name: str, *more) -> tuple:
    """What a result of this tab depends on."""
    s = view.state
    return (s.model, name, s.prompt, s.bos, with_it(view), tried(view), *more)


def direction(view: View) -> Aim:
    """Where the edit points, and how long that is."""
    s = view.state
    compute = lambda: aim(view.model, s.prompt, tried(view), plan=without_it(view), bos=s.bos)  # noqa: E731
    return view.store.result(key(view, "steering aim"), compute)


def check(view: View) -> Check:
    """Whether the run with the edit has at its place what the edit says."""
    s = view.state
    compute = lambda: applied(view.model, s.prompt, tried(view), plan=without_it(view), bos=s.bos)  # noqa: E731
    return view.store.result(key(view, "steering check"), compute)


def steered(view: View) -> Run:
    """The run with the edit: the page's, were the edit in its plan. Both are run alike, so that no rounding passes for an effect."""
    return View(view.store, view.state.but(plan=with_it(view))).run


def moved(view: View) -> Shift:
    """The next token after the selected position, without and with the edit."""
    return shift(plain(view), steered(view), view.position)


# -- effect by value --------------------------------------------------------------------------------------------------------------


def values_of(edit: Edit) -> tuple[float, ...]:
    """The values that the chart covers: up to four times the one chosen, either way; for project, shares of what is taken away."""
    if edit.op == "project":
        return tuple(SHARES.tolist())
    return tuple(((abs(edit.value) or 1.0) * STEPS).tolist())


def chosen_value(edit: Edit) -> float:
    """Where on the chart the edit itself stands."""
    return 1.0 if edit.op == "project" else edit.value


def watched(view: View) -> tuple[int, ...]:
    """The tokens whose probability the chart follows: those typed, or the two that rise and the two that fall most.

    Raises ValueError where something typed is not one token.
    """
    typed = [part for part in WATCHED.of(view.state).split("|") if part.strip()]
    if len(typed) > MAX_WATCHED:
        raise ValueError(f"The chart follows at most {MAX_WATCHED} tokens, got {len(typed)}; leave some out.")
    if typed:
        ids = [one_token(view.model.tokenizer, part) for part in typed]
    else:
        change = moved(view)
        ids = [*change.up_ids[:2].tolist(), *change.down_ids[:2].tolist()] or [int(plain(view).logits[view.position].argmax())]
    return tuple(dict.fromkeys(ids))


@dataclass(frozen=True)
class Sweep:
    """The effect by value, as far as it is computed. probability: [value token], control alike or None; surprisal, kl: [value]."""

    values: np.ndarray
    targets: tuple[int, ...]
    probability: np.ndarray
    surprisal: np.ndarray
    kl: np.ndarray
    control_probability: np.ndarray | None
    control_surprisal: np.ndarray | None
    base_probability: np.ndarray
    base_surprisal: float
    done: bool


def _sweep_key(view: View) -> tuple:
    return key(view, "steering sweep", view.position, watched(view))


def sweep_at_hand(view: View) -> Sweep | None:
    """The finished chart, or None while nobody computed it."""
    return view.store.peek(_sweep_key(view))


def guess_bits(view: View) -> float:
    """What one token costs a model that knows nothing."""
    return math.log2(view.config.d_vocab)


def sweep_seconds(view: View) -> float:
    """About how long the chart takes here: the products of one pass per value, and of the random direction's."""
    passes = len(values_of(tried(view))) * (1 if OP.of(view.state) == "neuron" else 2) + 1
    flops = 2.0 * view.config.n_params * len(view.run) * passes
    return flops / view.store.result((view.state.model, "speed"), lambda: speed(view.model))


def sweep(view: View, rows: int | None = None) -> Iterator[Sweep]:
    """The chart's numbers, `rows` values at a time; the last one is kept in the store."""
    kept = sweep_at_hand(view)
    if kept is not None:
        yield kept
        return
    s, edit, targets, parts = view.state, tried(view), list(watched(view)), []
    values = values_of(edit)
    rows = rows or len(values)
    for first in range(0, len(values), rows):
        more = {"position": view.position, "plan": without_it(view), "bos": s.bos}
        parts.append(sweep_values(view.model, s.prompt, edit, values[first : first + rows], targets, **more))
        done = first + rows >= len(values)
        found = _joined(parts, done)
        if done:
            view.store.result(_sweep_key(view), lambda found=found: found)
        yield found


def _joined(parts: list[ValueSweep], done: bool) -> Sweep:
    def column(curves: list[Curve], name: str) -> np.ndarray:
        return as_numpy(torch.cat([getattr(curve, name) for curve in curves]))

    own, first = [part.curve for part in parts], parts[0]
    random = None if first.control is None else [part.control for part in parts]
    return Sweep(
        np.array([value for part in parts for value in part.values]),
        first.targets,
        *(column(own, name) for name in ("probability", "surprisal", "kl")),
        *(None if random is None else column(random, name) for name in ("probability", "surprisal")),
        as_numpy(first.base.probability[0]),
        float(first.base.surprisal[0]),
        done,
    )


# -- examples -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """A steering that does something one can see on the embedded models; `tests/app/test_steering.py` holds glass-7m to it."""

    name: str
    prompt: str
    op: str
    text: str = ""
    minus: str = ""
    layer: int = -1
    value: float = 1.0
    neuron: int = 0

    def state(self, state: PageState) -> PageState:
        """The page's state with this example on it; the plan is emptied, so that one sees this and nothing else."""
        new = state.but(prompt=self.prompt, position=None, plan=Plan())
        chosen = {OP: self.op, LAYER: self.layer, VALUE: self.value, PLACE: "resid_pre", WATCHED: ""}
        chosen |= {NEURON: self.neuron} if self.op == "neuron" else {TEXT: self.text, MINUS: self.minus}
        for setting, value in chosen.items():
            new = setting.on(new, value)
        return new


SEA = "the ship sailed on the sea\nthe boat and the waves\nthe captain of the ship"
ROOM = "he sat in the room\nthe house was old\nin the drawing room"
EXAMPLES = (
    Example("she", "The old man was so tired that", "add", SHE, HE),
    Example("sea", "The next morning she went to", "add", SEA, ROOM, layer=1),
    Example("kings", "I went to the door and the", "contrast", "The king of the sea", "The man in the room", layer=0),
    Example("queen", "The king and the queen, and the king and the", "project", "the queen", "the king", layer=1),
    Example("doctor", "The doctor said that", "clamp", SHE, HE, value=6.0),
    Example("girl", "When the old clock struck twelve, the old", "neuron", layer=0, neuron=92, value=8.0),
)
