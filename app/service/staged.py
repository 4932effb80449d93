"""Results that may take a while: each knows its key in the store, how to compute it, and what it costs.

What costs little is computed when it is shown; the rest is computed behind the page, and shown when it is there.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from app.service.view import View
from interp.sweep_cost import speed

AT_ONCE = 6e9  # FLOPs: a fraction of a second
MOMENT = 6e10  # FLOPs: about a second, for a tab that shows little else
SHOWN_EVERY = 0.4  # seconds between two partial pictures: the page is busy with each
UNASKED = 3e11  # FLOPs that are spent behind the page without being asked for: some seconds


@dataclass(frozen=True)
class Stage:
    """key: in the store, the model first. flops: about how many computing it takes. moment: up to how many it is computed as it is
    shown, None for AT_ONCE."""

    key: tuple
    compute: Callable[[], Any]
    flops: float
    moment: float | None = None

    @property
    def at_once(self) -> bool:
        return self.flops <= (AT_ONCE if self.moment is None else self.moment)


def value(view: View, stage: Stage) -> Any | None:
    """A stage's result: computed where that is quick, else what is at hand, or None."""
    return view.store.result(stage.key, stage.compute) if stage.at_once else view.store.peek(stage.key)


def finished(view: View, stage: Stage) -> Any:
    """A stage's result, however long it takes."""
    return view.store.result(stage.key, stage.compute)


def waiting(view: View, stages: Iterable[Stage]) -> list[Stage]:
    """The stages that are not at hand and are not computed at once."""
    return [stage for stage in stages if not stage.at_once and view.store.peek(stage.key) is None]


def unasked(view: View, stages: Iterable[Stage]) -> list[Stage]:
    """Those of them that are computed behind the page without being asked for."""
    return [stage for stage in waiting(view, stages) if stage.flops <= UNASKED]


def offered(view: View, stages: Iterable[Stage]) -> list[Stage]:
    """Those of them that wait for a button."""
    return [stage for stage in waiting(view, stages) if stage.flops > UNASKED]


def seconds(view: View, stages: Iterable[Stage]) -> float:
    """How long stages will take, at the speed this machine shows now."""
    return sum(stage.flops for stage in stages) / speed(view.model)


def names(stages: Iterable[Stage]) -> str:
    """What tells one set of stages from another."""
    return "\n".join(repr(stage.key) for stage in stages)


T = TypeVar("T")


def now_and_then(steps: Iterable[T], must: Callable[[T], bool] = lambda step: False) -> Iterator[T]:
    """The steps of a computation that are worth a picture: one in a while, those that `must` be shown, and the last."""
    shown, last = 0.0, None
    for step in steps:
        last = step
        if must(step) or time.monotonic() - shown >= SHOWN_EVERY:
            yield step
            shown, last = time.monotonic(), None
    if last is not None:
        yield last
