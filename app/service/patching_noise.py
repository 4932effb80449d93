"""Causal tracing on the page: the words that differ drowned in noise, one state restored at a time, layer by layer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from app.service.patching import NOTHING, Cost, Map, run_flops
from app.service.patching_pair import Question, metric_of, question
from app.service.view import View, as_numpy
from app.setting import Setting
from interp.sweep_cost import row_bytes, speed
from interp.tracing import ROWS, Noise, draw_noise, trace_steps

STATES = ("resid_post", "mlp_out", "attn_out")
STATE = Setting("patching.restored", "resid_post", one_of=STATES)
WINDOW = Setting("patching.window", 3, low=1, high=48)
SAMPLES, FACTOR, SEED = 8, 3, 0


@dataclass(frozen=True)
class Trace:
    """found: the metric with each state restored [layer pos], a mean over noise samples; its `corrupted` is the drowned run's mean.
    subject: first and end position of the noise. spread: the standard deviation of the drowned run's metric over samples."""

    found: Map
    subject: tuple[int, int]
    component: str
    window: int
    sigma: float
    spread: float


@dataclass(frozen=True)
class TraceKey:
    question: Question
    component: str
    window: int

    @property
    def key(self) -> tuple:
        return (self.question.model, "patching noise", self)


def asked(view: View) -> TraceKey:
    """What is traced. A state is restored alone; what attention or an MLP adds, in a window of layers."""
    component = STATE.of(view.state)
    window = 1 if component == "resid_post" else min(WINDOW.of(view.state), view.config.n_layers)
    return TraceKey(replace(question(view), mode="denoise"), component, window)


def noise(view: View, q: Question) -> Noise:
    """For the tokens in which the prompts differ, from the first to the last."""
    return draw_noise(view.model, q.last + 1 - q.first, SAMPLES, FACTOR, SEED)


def cost(view: View) -> Cost:
    """About half a forward pass per state and noise sample."""
    what = asked(view)
    if view.store.peek(what.key) is not None:
        return NOTHING
    n, config = len(what.question.clean), view.config
    rows = config.n_layers * n * SAMPLES
    flops = rows * run_flops(view, n) / 2
    held = ROWS * row_bytes(view.model.cfg, n, 0, config.d_vocab, explicit=False)
    return Cost(flops, held, flops / speed(view.model), rows)


def begun(view: View) -> Trace | None:
    return view.store.peek(asked(view).key)


def steps(view: View) -> Iterator[Trace]:
    """The map as it fills; the last one is whole and kept."""
    what = asked(view)
    found = view.store.peek(what.key)
    if found is not None:
        yield found
        return
    q, drawn = what.question, noise(view, what.question)
    subject, ids = (q.first, q.last + 1), torch.tensor(list(q.clean), device=view.model.wte.weight.device)
    values = np.full((view.config.n_layers, len(ids)), np.nan)
    now = None
    for step in trace_steps(view.model, ids, subject, metric_of(view, q), what.component, what.window, drawn, q.plan, q.bos):
        values = values.copy()
        values[step.layer, list(step.positions)] = as_numpy(step.values.mean(-1))
        drowned = step.corrupted.double()
        ends = Map(values, step.clean, drowned.mean().item(), "denoise")
        now = Trace(ends, subject, what.component, what.window, drawn.sigma, drowned.std().item())
        yield now
    view.store.result(what.key, lambda: now)
