"""What the heads tab knows of every head: the roles it has earned, numbers on the page's prompt, and what is lost without it.

Three things take more than a moment and are computed behind the page (`stages`): the roles on random tokens, the copying
scores over names, and the knock-out of each head (`app.service.staged`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.service.attention import layer_patterns
from app.service.heads_prompt import (
    METHOD,
    METRIC,
    REFERENCE,
    WINDOWS,
    ablation_of,
    by_head_at,
    goal_of,
    is_worse_lower,
    rivals,
    tokens_to,
)
from app.service.staged import Stage, value
from app.service.view import View, as_numpy
from app.setting import Setting
from gpt2_core.accounting import forward_flops
from interp.attention import AttentionPatterns, rows_check, statistics
from interp.edits import NO_EDITS, Plan
from interp.knockout import knock_outs
from interp.prompt_sets.names import FIRST_NAMES
from interp.prompt_sets.pairs import single_tokens
from interp.roles import Role, attention_roles, copy_role
from interp.run import Check, Run
from interp.weights import copying

ROLES = ("previous_token", "duplicate_token", "induction", "copy", "negative_copy")
ON_PROMPT = ("direct", "sink", "entropy", "distance")
SCORES = ("knock_out", *ON_PROMPT, *ROLES, "ov_copying")
SIGNED = ("knock_out", "direct", "ov_copying")

SCORE = Setting("heads.score", SCORES[0], one_of=SCORES)

SEEDS, ROWS, LENGTH = (0, 1, 2, 3, 4), 4, 50  # of the random tokens
TOLERANCE = 1e-3  # nats
EVERY = 3  # of the names, one in so many is read for the copying scores


@dataclass(frozen=True)
class KnockOutMap:
    """effects: [layer head], the metric without the head less the metric with it. check: with every head it is the page's run."""

    effects: np.ndarray
    check: Check


def stages(view: View) -> list[Stage]:
    """What the tab wants of this state, the unedited model's where edits are in force, in the order of computing."""
    plans = [view.state.plan] + [NO_EDITS] * bool(view.state.plan)
    return [make(view, plan) for make in (knock_out_stage, roles_stage, copy_stage) for plan in plans]


def roles_stage(view: View, plan: Plan) -> Stage:
    """Previous-token, duplicate-token and induction roles: a tuple of `interp.roles.Role`."""
    length = min(LENGTH, view.config.n_ctx // 2)
    rows = len(SEEDS) * ROWS
    cost = forward_flops(view.config, 2 * length, batch=rows).total
    cost += forward_flops(view.config, 2 * length, batch=rows, logits_positions=1).total
    key = (view.state.model, "heads roles", plan)
    return Stage(key, lambda: attention_roles(view.model, SEEDS, ROWS, length, plan), cost)


def copy_stage(view: View, plan: Plan) -> Stage:
    """Copying and negative copying over names: two roles, and the eigenvalues' copying scores."""
    n = -(-len(FIRST_NAMES) // EVERY)
    cost = 2 * n * view.config.n_layers * view.config.n_heads * 2 * view.config.d_model * view.config.d_vocab
    cost += 2 * view.config.d_vocab * view.config.d_model**2

    def compute() -> tuple:
        names = copy_names(view)
        return *(copy_role(view.model, names, SEEDS, negative, plan) for negative in (False, True)), copying(view.model)

    return Stage((view.state.model, "heads copying", plan), compute, cost)


def copy_names(view: View) -> list[int]:
    """The ids of the names that the copying scores are of."""
    return list(single_tokens(view.model.tokenizer, FIRST_NAMES).values())[::EVERY]


def knock_out_stage(view: View, plan: Plan) -> Stage:
    """The metric's change when each head alone is knocked out: a `KnockOutMap`."""
    s, cfg = view.state, view.config
    given = METHOD.of(s), METRIC.of(s), REFERENCE.of(s)
    key = (s.model, "heads knock-outs", s.prompt, s.bos, plan, view.position, rivals(view), *given)
    n = WINDOWS if given[0] == "resample" else 1
    cost = n * cfg.n_heads * cfg.n_layers / 2 * forward_flops(cfg, view.position + 1, logits_positions=1).total

    def compute() -> KnockOutMap:
        *_, last = knock_out_map(view, plan)
        return last

    return Stage(key, compute, cost)


def knock_out_map(view: View, plan: Plan) -> Iterator[KnockOutMap]:
    """The map of `knock_out_stage` as it grows: NaN where a head's turn has not come."""
    s = view.state
    run = view.run if plan == s.plan else view.before
    ablation, copies = ablation_of(view, METHOD.of(s))
    metric = goal_of(view, run, METRIC.of(s))
    tokens = tokens_to(view).expand(copies, -1)
    expected = metric(run.logits[view.position][None])
    table = np.full((view.config.n_layers, view.config.n_heads), np.nan, np.float32)
    for step in knock_outs(view.model, tokens, metric, ablation, plan=plan, bos=s.bos):
        table[step.layer, list(step.units)] = as_numpy((step.values - step.baseline[:, None]).mean(0))
        residual = (step.baseline - expected).abs().max().item()
        yield KnockOutMap(table.copy(), Check("with every head in place, the page's own run", residual, TOLERANCE))


def all_roles(view: View, plan: Plan) -> tuple[Role, ...]:
    """The roles that have been measured under a plan: none, three, or five."""
    attention, copied = value(view, roles_stage(view, plan)), value(view, copy_stage(view, plan))
    return (*(attention or ()), *(copied[:2] if copied else ()))


def given_roles(view: View) -> dict[tuple[int, int], list[str]]:
    """The roles that heads have earned, as far as they are measured."""
    found: dict[tuple[int, int], list[str]] = {}
    for role in all_roles(view, view.state.plan):
        for head in role.heads:
            found.setdefault(head, []).append(role.name)
    return found


def score(view: View, name: str, plan: Plan | None = None) -> np.ndarray | None:
    """One number per head [layer head] under a plan (None: the one in force); None where it has not been computed.

    A text of one token has no sink, entropy or distance: they are None too.
    """
    plan = view.state.plan if plan is None else plan
    if name == "knock_out":
        found = value(view, knock_out_stage(view, plan))
        return None if found is None else found.effects
    if name == "ov_copying":
        found = value(view, copy_stage(view, plan))
        return None if found is None else as_numpy(found[2].scores)
    if name in ROLES:
        return next((as_numpy(role.score.mean) for role in all_roles(view, plan) if role.name == name), None)
    run = view.run if plan == view.state.plan else view.before
    if name == "direct":
        return as_numpy(by_head_at(view, run).heads)
    table = prompt_statistics(view, run)
    return None if table is None else table[name]


def prompt_statistics(view: View, run: Run) -> dict[str, np.ndarray] | None:
    """Sink, entropy (bits) and distance (tokens) of every head on the page's prompt; None where it has one token."""
    if len(run) < 2:
        return None
    s = view.state

    def compute() -> dict[str, np.ndarray]:
        rows = [_of_layer(pattern, run.strings) for pattern in layer_patterns(view, run)]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return view.store.result((s.model, "heads statistics", s.prompt, s.bos, run.plan), compute)


@torch.no_grad()
def _of_layer(pattern: Tensor, strings: tuple[str, ...]) -> dict[str, np.ndarray]:
    residual = (pattern.float().sum(-1) - 1).abs().max().item()
    found = statistics(AttentionPatterns(pattern[None], strings, rows_check(residual, pattern.dtype)))
    return {name: as_numpy(getattr(found, name)) for name in ("sink", "entropy", "distance")}


def worst_first(view: View, name: str) -> bool:
    """Whether a score's most interesting heads are the lowest: those without which a prediction falls."""
    return name == "knock_out" and is_worse_lower(METRIC.of(view.state))
