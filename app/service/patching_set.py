"""One question over many pairs: a template's pairs patched one after the other, with intervals, distributions and worst prompts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from app.service import patching as exact
from app.service import patching_pair as pairs
from app.service.patching import Cost
from app.service.patching_pair import MODE
from app.service.view import View
from app.setting import Setting
from interp import patching, prompt_sets
from interp.over_set import OverSet, SetStep, collected, patched
from interp.over_set import steps as over
from interp.prompt_sets import PromptSet
from interp.statistics import Summary

SET = Setting("patching.set", "induction", one_of=tuple(prompt_sets.SETS))
COUNT = Setting("patching.count", 20, low=4, high=200)
SHOWN = Setting("patching.of_set", "cell", one_of=("cell", "clean"))
WORST = 5


@dataclass(frozen=True)
class SetKey:
    """model: its name. part: of heads, or neurons. edits: in force in every run."""

    model: str
    name: str
    count: int
    part: str
    mode: str
    plan: object
    bos: bool

    @property
    def key(self) -> tuple:
        return (self.model, "patching set", self)


@dataclass(frozen=True)
class Found:
    """result: of the pairs so far, `done` of `total`."""

    result: OverSet
    done: int
    total: int


def asked(view: View) -> SetKey:
    """What is asked of which pairs."""
    s = view.state
    return SetKey(s.model, SET.of(s), COUNT.of(s), exact.RIGHT.of(s), MODE.of(s), s.plan, s.bos)


def drawn(view: View, what: SetKey) -> PromptSet:
    """The pairs."""
    return pairs.drawn(view, what.name, what.count)


def cost(view: View) -> Cost:
    """The sweeps of all pairs that are missing."""
    what = asked(view)
    if view.store.peek(what.key) is not None:
        return exact.NOTHING
    every = drawn(view, what)
    n = max(len(pair.clean.ids) for pair in every.pairs) + what.bos
    one = patching.estimate(view.model, n, what.part, n_groups=exact.GROUPS, n_read=2 if "logit" in every.metric else None)
    left = what.count - len(_done(view, what))
    return Cost(one.flops * left, one.bytes, one.seconds * left, one.rows * left)


def begun(view: View) -> Found | None:
    """The pairs that are done; None before there are two."""
    what = asked(view)
    whole = view.store.peek(what.key)
    return _found(view, what, _done(view, what)) if whole is None else whole


def steps(view: View) -> Iterator[Found | None]:
    """The statistics as pairs are done; the last one is whole and kept."""
    what = asked(view)
    whole = view.store.peek(what.key)
    if whole is None:
        done, every = _done(view, what), drawn(view, what)
        first = len(done)
        rest = replace(every, pairs=every.pairs[first:])
        analysis = patched(what.part, mode=what.mode, **({"n_groups": exact.GROUPS} if what.part == "neurons" else {}))
        for number, step in enumerate(over(view.model, rest, analysis, what.plan, what.bos), first):
            done[number] = step
            if number % 4 == 1 and number + 1 < len(every):
                yield _found(view, what, done)
        whole = view.store.result(what.key, lambda: _found(view, what, done))
    yield whole


def _done(view: View, what: SetKey) -> dict[int, SetStep]:
    """The pairs that are done, by their number: whoever else computes the same set at the same time fills in the same."""
    return view.store.result((what.model, "patching set steps", what), dict)


def _found(view: View, what: SetKey, done: dict[int, SetStep]) -> Found | None:
    steps = [done[number] for number in range(len(done))]
    if len(steps) < 2:
        return None
    return Found(collected(view.model, drawn(view, what), steps, what.plan, what.bos), len(steps), what.count)


def summary(view: View, found: Found) -> Summary:
    """The chosen number's distribution: the effect of the selected cell, or the metric of the clean prompts."""
    if SHOWN.of(view.state) == "clean":
        return found.result.of_the_set(WORST)
    return found.result.summary(*cell(view, found), worst=WORST)


def cell(view: View, found: Found) -> tuple[int, int]:
    """The selected head or group; the strongest while none was chosen."""
    mean = found.result.mean.numpy()
    if not exact.LOOK.of(view.state):
        layer, column = np.unravel_index(np.abs(mean).argmax(), mean.shape)
        return int(layer), int(column)
    return view.layer, min(view.head, mean.shape[1] - 1)
