"""The same text written twice, without and with the edit that is tried: same seed, same settings, one token each in turn."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from app.service import steering
from app.service.view import View
from app.setting import Setting
from gpt2_core.generate import stream
from interp.edits import Plan
from interp.intervene import compile_plan

LENGTH = Setting("steering.length", 30, low=1, high=300)
TEMPERATURE = Setting("steering.temperature", 0.0, low=0, high=2)
TOP_K = 40  # where the temperature is above 0, as in the Playground
SEED = Setting("steering.seed", 0, low=0, high=10**9)
INTERVAL = 0.06  # seconds between pictures
PREVIEW_SECONDS = 2.0


@dataclass(frozen=True)
class Written:
    """What was written after the prompt: token ids with the probability that this model, with its edits, gave each.

    finish: "length", "eos", "cancelled", or None while it goes on. notices: sentences, as when the context slides.
    """

    ids: tuple[int, ...] = ()
    p: tuple[float, ...] = ()
    finish: str | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Both texts so far."""

    before: Written
    after: Written

    @property
    def done(self) -> bool:
        return self.before.finish is not None and self.after.finish is not None

    @property
    def parted(self) -> int | None:
        """The first token at which the two differ, None while they do not."""
        return next((i for i, (a, b) in enumerate(zip(self.before.ids, self.after.ids)) if a != b), None)


def settings(view: View) -> dict:
    """The keywords of `gpt2_core.generate.stream` and `generate`."""
    s = view.state
    warm = TEMPERATURE.of(s) > 0
    return {
        "max_new_tokens": LENGTH.of(s),
        "temperature": TEMPERATURE.of(s),
        "top_k": TOP_K if warm else None,
        "seed": SEED.of(s),
        "bos": s.bos,
    }


def write(view: View, fresh: bool = False) -> Iterator[Pair]:
    """Both texts as they grow, a picture at most every INTERVAL; the last one is finished and kept in the store.

    fresh: they are written before one's eyes even if they are kept.
    """
    kept = at_hand(view)
    if kept is not None and not fresh:
        yield kept
        return
    writers = [_writer(view, plan) for plan in (steering.without_it(view), steering.with_it(view))]
    now, drawn = [Written(), Written()], 0.0
    while not all(w.finish for w in now):
        now = [w if w.finish else next(writer) for w, writer in zip(now, writers)]
        if time.monotonic() - drawn >= INTERVAL and not all(w.finish for w in now):
            yield Pair(*now)
            drawn = time.monotonic()
    finished = Pair(*now)
    yield view.store.result(_key(view), lambda: finished)


def _writer(view: View, plan: Plan) -> Iterator[Written]:
    """One text after each of its tokens."""
    ids, p, notices = [], [], []
    hook = compile_plan(view.model, plan, view.state.bos)
    prompt = list(view.run.tokens[view.state.bos :])
    for step in stream(view.model, prompt, hook=hook, top=0, **settings(view)):
        ids += step.ids
        p += [min(1.0, math.exp(logprob)) for logprob in step.logprobs]
        notices += [n for n in step.all_notices if n not in notices]
        yield Written(tuple(ids), tuple(p), step.finished[0], tuple(notices))


def _key(view: View) -> tuple:
    return steering.key(view, "steered texts", *settings(view).values())


def at_hand(view: View) -> Pair | None:
    """The finished texts, or None while nobody wrote them."""
    return view.store.peek(_key(view))


def seconds(view: View) -> float:
    """About how long both texts take here."""
    flops = 2 * 2.0 * view.config.n_params * (LENGTH.of(view.state) + len(view.run))
    return 2 * flops / view.store.result((view.state.model, "speed"), lambda: _speed(view))


def _speed(view: View) -> float:
    return steering.speed(view.model)
