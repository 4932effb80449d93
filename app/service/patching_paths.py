"""Path patching to a chosen receiver: what each head tells one head's queries, keys or values, or the logits directly."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.service import patching as exact
from app.service.patching import Asked, Cost, Map
from app.service.patching_pair import Question, metric_of, question
from app.service.view import View, as_numpy
from app.setting import Setting
from interp import path_patching
from interp.path_patching import PathPatching, Receiver
from interp.sweep_cost import row_bytes, speed

RECEIVER = Setting("patching.receiver", "logits", one_of=("logits", "q", "k", "v"))
HEAD = Setting("patching.receiver_head", "")
APPROXIMATE = Setting("patching.approximate", "linear", one_of=("direct", "linear"))


@dataclass(frozen=True)
class Paths:
    """found: the metric with the path from each head patched [layer head], None while it is computed; result: what the library says."""

    method: str
    found: Map | None
    result: PathPatching | None


def receivers(view: View) -> tuple[Receiver, ...]:
    """The end of the paths; () is the logits. Raises ValueError for a head that is none of this model's."""
    kind = RECEIVER.of(view.state)
    return () if kind == "logits" else (Receiver(*receiver_head(view), kind),)


def receiver_head(view: View) -> tuple[int, int]:
    """The chosen head, or the strongest one of the map of head outputs where that is there, or the last layer's first."""
    name = HEAD.of(view.state)
    if name:
        parts = name.removeprefix("L").split("H")
        if len(parts) == 2 and all(part.isdecimal() for part in parts):
            layer, head = map(int, parts)
            if layer < view.config.n_layers and head < view.config.n_heads:
                return layer, head
        raise ValueError(f"{name[:20]!r} is no head of {view.state.model}; write it as L1H2.")
    found = exact.known(view, Asked(question(view), "z"))
    if found is None:
        return view.config.n_layers - 1, 0
    layer, head = np.unravel_index(np.abs(found.values - found.base).argmax(), found.values.shape)
    return int(layer), int(head)


def methods(view: View) -> tuple[str, ...]:
    """The two that are shown beside each other. Under edits of the residual stream there is no direct path, and only the exact one."""
    of_stream = any(edit.component.startswith("resid") for edit in view.state.plan)
    return ("exact",) if of_stream else ("exact", APPROXIMATE.of(view.state))


def cost(view: View) -> Cost:
    """About half a forward pass per head and pass of the algorithm, all heads of a layer in one batch."""
    q, config = question(view), view.config
    missing = sum(view.store.peek(_key(q, receivers(view), method)) is None for method in methods(view))
    if not missing:
        return exact.NOTHING
    passes = 1 if RECEIVER.of(view.state) == "logits" else 2
    rows = config.n_layers * config.n_heads * missing
    flops = rows * passes * exact.run_flops(view, len(q.clean)) / 2
    held = config.n_heads * row_bytes(view.model.cfg, len(q.clean), q.first, config.d_vocab, explicit=False)
    return Cost(flops, held, flops / speed(view.model), rows)


def steps(view: View) -> Iterator[tuple[Paths, ...]]:
    """The exact map, then the approximate one."""
    done: list[Paths] = []
    for method in methods(view):
        done.append(paths(view, question(view), receivers(view), method))
        yield tuple(done)


def begun(view: View) -> tuple[Paths, ...]:
    """Those that are there."""
    q, ends = question(view), receivers(view)
    return tuple(paths(view, q, ends, m) for m in methods(view) if view.store.peek(_key(q, ends, m)) is not None)


def _key(q: Question, ends: tuple[Receiver, ...], method: str) -> tuple:
    return (q.model, "patching paths", q, ends, method)


def paths(view: View, q: Question, ends: tuple[Receiver, ...], method: str) -> Paths:
    """One map: the base run is run, every head in turn sends what it gives in the source run."""

    def compute() -> PathPatching:
        return path_patching.sweep(
            view.model, list(q.base), list(q.source), metric_of(view, q), ends, method=method, plan=q.plan
        )

    found = view.store.result(_key(q, ends, method), compute)
    clean, corrupted = (found.new, found.base) if q.mode == "denoise" else (found.base, found.new)
    return Paths(method, Map(as_numpy(found.values), clean, corrupted, q.mode), found)
