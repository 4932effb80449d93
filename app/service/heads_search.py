"""Which few heads the prediction hangs on together: the greedy search of `interp.knockout_greedy` on the page's prompt."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.service.heads_prompt import METRIC, goal_of, is_worse_lower, tokens_to
from app.service.staged import AT_ONCE
from app.service.view import View
from app.setting import Setting
from gpt2_core.accounting import forward_flops
from interp.edits import Edit, Plan
from interp.intervene import compile_plan
from interp.knockout_greedy import GreedyRound, greedy_knock_out
from interp.sweep_cost import speed

MOST = 12
STEPS = Setting("heads.steps", 4, low=1, high=MOST)


@dataclass(frozen=True)
class Found:
    """rounds: those that have ended; now: the latest state; tokens: the likeliest next token after each round that has ended."""

    rounds: tuple[GreedyRound, ...]
    now: GreedyRound
    tokens: tuple[int, ...]
    done: bool

    @property
    def heads(self) -> tuple[tuple[int, int], ...]:
        """The heads taken away so far, in order."""
        return tuple(r.head for r in self.rounds)

    @property
    def curve(self) -> list[float]:
        """The metric with no head gone, with one, with two, ..."""
        return [(self.rounds or (self.now,))[0].baseline, *(r.value for r in self.rounds)]


def steps_of(view: View) -> int:
    """How many heads to take away: what was asked for, or all there are."""
    return min(STEPS.of(view.state), view.config.n_layers * view.config.n_heads - len(_already(view)))


def key(view: View) -> tuple:
    """Where a search is kept, as far as it came."""
    s = view.state
    return (s.model, "heads search", s.prompt, s.bos, s.plan, view.position, METRIC.of(s), steps_of(view))


def kept(view: View) -> Found | None:
    """The finished search of this state."""
    return view.store.peek(key(view))


def at_hand(view: View) -> Found | None:
    """The finished search of this state: kept, or run now where that is a matter of moments."""
    if kept(view) is None and steps_of(view) >= 1 and flops(view) <= AT_ONCE:
        *_, found = search(view)
        return found
    return kept(view)


def search(view: View) -> Iterator[Found]:
    """The search as it goes; its end is kept."""
    known = kept(view)
    if known is not None:
        yield known
        return
    s, steps, metric = view.state, steps_of(view), METRIC.of(view.state)
    if steps < 1:
        raise ValueError("Every head is already switched off; restore some to search.")
    rounds: tuple[GreedyRound, ...] = ()
    tokens: tuple[int, ...] = ()
    goal = goal_of(view, view.run, metric)
    for now in greedy_knock_out(view.model, tokens_to(view), goal, steps, is_worse_lower(metric), s.plan, s.bos):
        if now.head is not None:
            rounds = (*rounds, now)
            tokens = (*tokens, _prediction(view, tuple(r.head for r in rounds)))
        found = Found(rounds, now, tokens, len(rounds) == steps)
        if found.done:
            view.store.result(key(view), lambda found=found: found)
        yield found


def without(plan: Plan, heads: tuple[tuple[int, int], ...]) -> Plan:
    """The plan with these heads turned off too."""
    return plan.add(*(Edit.zero("z", *head) for head in heads))


def flops(view: View) -> float:
    """About what a search costs: each head's run begins at its own layer."""
    cfg = view.config
    runs = steps_of(view) * cfg.n_layers * cfg.n_heads / 2
    return runs * forward_flops(cfg, view.position + 1, logits_positions=1).total


def seconds(view: View) -> float:
    """How long a search will take, at the speed this machine shows now."""
    return flops(view) / speed(view.model)


def _already(view: View) -> set[tuple[int, int]]:
    return {(e.layer, e.head) for e in view.state.plan if e.head is not None and e == Edit.zero("z", e.layer, e.head)}


def _prediction(view: View, heads: tuple[tuple[int, int], ...]) -> int:
    hook = compile_plan(view.model, without(view.state.plan, heads), view.state.bos)
    return int(view.model(tokens_to(view), hook=hook, logits_at=-1)[0, 0].argmax())
