"""The same text written twice, without and with the edit that is tried: same seed, same settings, one token each in turn."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

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
INTERVAL = 0.08  # seconds between pictures,
PER_TOKEN = 0.0004  # and more for each token on them: a long text takes a browser longer to draw
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
        shown = 2 * len(view.run) + sum(len(w.ids) for w in now)
        if time.monotonic() - drawn >= INTERVAL + PER_TOKEN * shown and not all(w.finish for w in now):
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
    """About how long both texts take here: one token at a time reads all weights, so it is timed and not counted."""
    one = view.store.result((view.state.model, "seconds of a token"), lambda: _token_seconds(view))
    return 2 * one * (LENGTH.of(view.state) + 1)


@torch.no_grad()
def _token_seconds(view: View) -> float:
    """The better of two passes over one token, on the device."""
    token, best = torch.tensor([[view.run.tokens[0]]]), math.inf
    for _ in range(2):
        begun = time.perf_counter()
        view.model(token)[0, 0, 0].item()
        best = min(best, time.perf_counter() - begun)
    return best
