"""Previews of the two maps from one backward pass, and which cells they miss once the exact sweep is there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from app.service import patching as exact
from app.service.patching import Asked, Cost, Map
from app.service.patching_pair import metric_of, question
from app.service.view import View, as_numpy
from app.setting import Setting
from interp.attribution_patching import Preview, false_negatives, preview
from interp.sweep_cost import speed

METHOD = Setting("patching.preview", "attribution", one_of=("attribution", "eap_ig"))
STEPS = 5  # runs between the two prompts, of EAP-IG
THRESHOLD = 0.1  # of the difference between the runs: a cell matters from here on


@dataclass(frozen=True)
class Guess:
    """A preview beside the exact map. found: the guessed metric of each patched run, as a map. exact: None where it is not computed.
    missed: cells [row column] that matter and were not foreseen; matter: how many matter, None where that cannot be said."""

    what: Asked
    found: Map
    gap: float
    exact: Map | None
    missed: tuple[tuple[int, int], ...]
    matter: int | None


def cost(view: View) -> Cost:
    """Forward and backward passes for both maps; a backward pass costs two forward ones."""
    q, method = question(view), METHOD.of(view.state)
    missing = [what for what in exact.asked(view, q) if view.store.peek(_key(what, method)) is None]
    runs = (2 + 3 * (1 if method == "attribution" else STEPS)) * len(missing)
    if not runs:
        return exact.NOTHING
    config, n = view.config, len(q.clean)
    flops = runs * exact.run_flops(view, n)
    kept = 4 * n * config.n_layers * (12 * config.d_model + 2 * config.d_mlp + config.n_heads * n)
    return Cost(flops, kept * (STEPS if method == "eap_ig" else 2), flops / speed(view.model), runs)


def steps(view: View) -> Iterator[tuple[Guess, ...]]:
    """The previews of both maps, one after the other."""
    done: list[Guess] = []
    for what in exact.asked(view, question(view)):
        done.append(guess(view, what, METHOD.of(view.state)))
        yield tuple(done)


def begun(view: View) -> tuple[Guess, ...]:
    """Those that are there."""
    method = METHOD.of(view.state)
    asked = exact.asked(view, question(view))
    return tuple(guess(view, what, method) for what in asked if view.store.peek(_key(what, method)) is not None)


def _key(what: Asked, method: str) -> tuple:
    return (what.question.model, "patching preview", what, method)


def guess(view: View, what: Asked, method: str) -> Guess:
    """A map foreseen, beside the exact one where it is there."""
    found = view.store.result(_key(what, method), lambda: _preview(view, what, method))
    values = as_numpy(found.values)
    now = Map(values if what.layer is None else values[0], found.clean, found.corrupted, found.mode)
    sweep = exact.known(view, what)
    if sweep is None or sweep.sweep is None or sweep.sweep.note is not None:
        return Guess(what, now, found.gap, sweep, (), None)
    mask = false_negatives(found, sweep.sweep, THRESHOLD).mask.numpy()
    mask = mask if what.layer is None else mask[0]
    matter = int((np.abs(sweep.values - sweep.base) >= THRESHOLD * abs(sweep.clean - sweep.corrupted)).sum())
    return Guess(what, now, found.gap, sweep, tuple(tuple(map(int, cell)) for cell in np.argwhere(mask)), matter)


def _preview(view: View, what: Asked, method: str) -> Preview:
    q = what.question
    found = preview(
        view.model,
        list(q.clean),
        list(q.corrupted),
        metric_of(view, q),
        what.component,
        method=method,
        steps=STEPS,
        mode=q.mode,
        by_position=what.layer is not None,
        n_groups=exact.GROUPS,
        plan=q.plan,
    )
    return found if what.layer is None else replace(found, effect=found.effect[what.layer : what.layer + 1])
