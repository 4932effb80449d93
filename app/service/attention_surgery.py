"""Attention surgery: set weights of a pattern, or cut them, and see what the prediction does and which heads make up for it.

What is chosen becomes edits of the page's plan (operation "set"). Before anything is in force, the same numbers are computed for
the edits that are proposed, so that the effect can be seen before the model is changed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import torch

from app.evidence import Evidence
from app.service.attention import head_pattern, with_cell
from app.service.scripts import lens_script, script
from app.service.view import View, as_numpy
from gpt2_core import distribution
from interp.compensation import DirectEffects, direct_effects
from interp.edits import Edit, Plan
from interp.intervene import compile_plan
from interp.metrics import AnswerMetric, answer_metric
from interp.run import Check

CELL, COLUMN = "cell", "column"  # one weight, or every later token's weight on the same one
ONE, ALL = "head", "layer"  # of the selected head, or of all heads of its layer
LAST, SELECTED = "last", "selected"  # where the prediction is read
MOVERS = 10
AT_ONCE = 4e9  # parameters times tokens up to which a proposal is tried out without being asked


@dataclass(frozen=True)
class Effect:
    """What edits do to the prediction at one position. kl: KL(before || after), bits. ids, p_before, p_after: the tokens whose
    probability changes most, those that gain first. answer, rival: what the logit difference compares, the likeliest token before and
    the other one that gains most; difference_before, difference_after: it; heads_before, heads_after: each head's direct effect on
    it, logits [layer head]. in_force: whether the edits are in the plan, or only proposed."""

    edits: tuple[Edit, ...]
    in_force: bool
    position: int
    kl: float
    ids: list[int]
    p_before: np.ndarray
    p_after: np.ndarray
    answer: int
    rival: int
    difference_before: float
    difference_after: float
    heads_before: np.ndarray
    heads_after: np.ndarray
    check: Check

    @property
    def change(self) -> np.ndarray:
        """By how much each head's direct effect grew, [layer head]."""
        return self.heads_after - self.heads_before

    @property
    def edited(self) -> set[tuple[int, int]]:
        """The heads whose pattern is edited."""
        return {(e.layer, e.head) for e in self.edits}

    def ranked(self, n: int) -> list[tuple[int, int]]:
        """The n heads, of those that are not edited, that changed most; those that grew first."""
        others = [at for at in np.ndindex(self.change.shape) if at not in self.edited]
        most = sorted(others, key=lambda at: -abs(self.change[at]))[:n]
        return sorted(most, key=lambda at: -self.change[at])


def cell(view: View, key: int) -> tuple[int, int]:
    """The chosen weight: the selected position and the key, or, without one that it can look at, what it looks at most."""
    query = view.position
    if 0 <= key <= query:
        return query, key
    return query, int(head_pattern(view, view.run, view.layer, view.head)[query].argmax())


def proposal(view: View, at: tuple[int, int], value: float, rows: str, heads: str, renormalise: bool) -> tuple[Edit, ...]:
    """The edits that a choice stands for. rows: "cell" or "column"; heads: "head" or "layer". Raises ValueError for a bad value."""
    query, key = at
    queries = (query,) if rows == CELL else tuple(range(min(key + 1, len(view.run) - 1), len(view.run)))
    which = range(view.config.n_heads) if heads == ALL else (view.head,)
    if rows == CELL:
        return tuple(Edit.set_cell(view.layer, head, query, key, value, renormalise) for head in which)
    shared = {"value": float(value), "key": key, "renormalise": renormalise}
    return tuple(Edit("set", "pattern", view.layer, head, queries, **shared) for head in which)


def with_surgery(plan: Plan, edits: Iterable[Edit]) -> Plan:
    """The plan with weights set, each in place of an earlier value for the same weight."""
    for edit in edits:
        plan = with_cell(plan, edit)
    return plan


def surgery(plan: Plan) -> tuple[Edit, ...]:
    """The weights that the plan sets."""
    return tuple(e for e in plan if e.op == "set")


def without_surgery(plan: Plan) -> Plan:
    """The plan without any weight that was set."""
    return Plan(tuple(e for e in plan if e.op != "set"))


def undone(plan: Plan) -> Plan:
    """The plan without the weights that were set last, together: the same weight in every head counts as one step."""
    sets = surgery(plan)
    if not sets:
        return plan
    step = set(takewhile(lambda e: _step(e) == _step(sets[-1]), reversed(sets)))
    return Plan(tuple(e for e in plan if e not in step))


def _step(edit: Edit) -> tuple:
    return edit.layer, edit.positions, edit.key, edit.value, edit.renormalise


def quick(view: View) -> bool:
    """Whether trying a proposal out takes no more than a moment."""
    return sum(p.numel() for p in view.model.parameters()) * len(view.run) <= AT_ONCE


def effect(view: View, proposed: tuple[Edit, ...], read_at: str = LAST) -> Effect:
    """What the weights that are set do, against the plan without them; where none is, what the proposed ones would do."""
    s = view.state
    base, sets = without_surgery(s.plan), surgery(s.plan)
    changed = s.plan if sets else with_surgery(base, proposed)
    position = view.position if read_at == SELECTED else len(view.run) - 1
    key = (s.model, "surgery", s.prompt, s.bos, base, changed, position, bool(sets))
    return view.store.result(key, lambda: _effect(view, base, changed, sets or proposed, bool(sets), position))


@torch.no_grad()
def _effect(view: View, base: Plan, changed: Plan, edits: tuple[Edit, ...], in_force: bool, position: int) -> Effect:
    tokens = torch.tensor([view.run.tokens[: position + 1]])
    hooks = [compile_plan(view.model, plan, view.state.bos) for plan in (base, changed)]
    logits = [view.model(tokens, hook=hook, logits_at=-1)[0].double() for hook in hooks]
    before, after = (x.log_softmax(-1)[0] for x in logits)
    p_before, p_after = before.exp(), after.exp()
    moved = p_after - p_before
    most = moved.abs().topk(min(MOVERS, len(moved))).indices
    ids = most[moved[most].argsort(descending=True)]
    answer = int(p_before.argmax())
    gains = moved.clone()
    gains[answer] = -torch.inf
    metric = answer_metric("logit_difference", [[answer]], [[int(gains.argmax())]])
    effects = [direct_effects(view.model, tokens, metric, hook) for hook in hooks]
    return Effect(
        edits,
        in_force,
        position,
        max(0.0, distribution.kl(before, after).item() / np.log(2)),
        ids.tolist(),
        *map(as_numpy, (p_before[ids], p_after[ids])),
        answer,
        int(gains.argmax()),
        *(float(e.total[0]) for e in effects),
        *(as_numpy(e.heads[0]) for e in effects),
        _worse(effects),
    )


def _worse(effects: list[DirectEffects]) -> Check:
    return max((e.check for e in effects), key=lambda check: check.residual)


def metric_of(found: Effect) -> AnswerMetric:
    """The logit difference that the direct effects add up to."""
    return answer_metric("logit_difference", [[found.answer]], [[found.rival]])


_BOTH = """
before, after = Plan.from_json({base!r}), Plan.from_json({changed!r})
tokens = torch.tensor([{tokens}])
hooks = [compile_plan(model, each, bos={bos}) for each in (before, after)]
"""


def _setup(view: View, found: Effect) -> str:
    base = without_surgery(view.state.plan)
    changed = view.state.plan if found.in_force else with_surgery(base, found.edits)
    tokens = list(view.run.tokens[: found.position + 1])
    return _BOTH.format(base=base.to_json(), changed=changed.to_json(), tokens=tokens, bos=view.state.bos)


def _facts(view: View, found: Effect) -> dict:
    plan = Plan(found.edits)
    return {
        "edits": plan.to_json(),
        "in_force": found.in_force,
        "position": found.position,
        "kl_bits": found.kl,
        "provenance": view.run.provenance.to_dict(),
    }


def movers_evidence(view: View, found: Effect) -> Evidence:
    """The tokens whose probability changes, before and after."""
    strings = view.model.tokenizer.strings(found.ids)
    rows = list(zip(strings, found.ids, found.p_before, found.p_after))
    code = f"""{_setup(view, found)}
p, q = (model(tokens, hook=hook, logits_at=-1)[0, 0].double().log_softmax(-1) for hook in hooks)
print(f"KL(before || after) {{(p.exp() * (p - q)).sum().item() / 0.693147180559945:.6f}} bits")
for token in {found.ids}:
    print(f"{{p[token].exp().item():.6f}} {{q[token].exp().item():.6f}} {{model.tokenizer.strings([token])[0]!r}}")
"""
    imports = "import torch\nfrom interp.intervene import compile_plan"
    return Evidence(
        "attention-surgery",
        ("token", "id", "probability_before", "probability_after"),
        rows,
        script(view, imports, code, run=False),
        lens_script(view, "", _lens_movers(found)),
        _facts(view, found),
    )


def _lens_movers(found: Effect) -> str:
    edits = [(e.layer, e.head, list(e.positions), e.key, e.value, e.renormalise) for e in found.edits]
    return f"""
def set_weights(head, queries, key, value, renormalise):
    def change(pattern, hook):
        for query in queries:
            if query < pattern.shape[2]:
                row = pattern[0, head, query]
                rest = row.sum() - row[key]
                if renormalise and rest > 0:
                    row *= (1 - value) / rest
                row[key] = value
        return pattern
    return change


edits = {edits}  # layer, head, queries, key, value, renormalise
hooks = [(f"blocks.{{edit[0]}}.attn.hook_pattern", set_weights(*edit[1:])) for edit in edits]
with torch.no_grad():
    p = model(tokens)[0, {found.position}].double().log_softmax(-1)
    q = model.run_with_hooks(tokens, fwd_hooks=hooks)[0, {found.position}].double().log_softmax(-1)
print(f"KL(before || after) {{(p.exp() * (p - q)).sum().item() / 0.693147180559945:.6f}} bits")
for token in {found.ids}:
    print(f"{{p[token].exp().item():.6f}} {{q[token].exp().item():.6f}} {{token}}")
"""


def compensation_evidence(view: View, found: Effect) -> Evidence:
    """Every head's direct effect on the logit difference, before and after."""
    rows = [
        (layer, head, found.heads_before[layer, head], found.heads_after[layer, head], found.change[layer, head], (layer, head) in found.edited)
        for layer, head in sorted(np.ndindex(found.change.shape), key=lambda at: -found.change[at])
    ]  # fmt: skip
    code = f"""{_setup(view, found)}
metric = answer_metric("logit_difference", [[{found.answer}]], [[{found.rival}]])
old, new = (direct_effects(model, tokens, metric, hook) for hook in hooks)
print(f"logit difference {{old.total.item():.6f}} -> {{new.total.item():.6f}}")
grown = new.heads[0] - old.heads[0]
for place in grown.flatten().argsort(descending=True).tolist():
    layer, head = divmod(place, model.cfg.n_heads)
    print(f"L{{layer}}H{{head}} {{old.heads[0, layer, head].item():.6f}} -> {{new.heads[0, layer, head].item():.6f}}")
"""
    imports = (
        "import torch\nfrom interp.compensation import direct_effects\n"
        "from interp.intervene import compile_plan\nfrom interp.metrics import answer_metric"
    )
    answer, rival = view.model.tokenizer.strings([found.answer, found.rival])
    facts = {"answer": answer, "rival": rival, "logit_difference": [found.difference_before, found.difference_after]}
    facts |= {"check": found.check.residual} | _facts(view, found)
    columns = ("layer", "head", "direct_effect_before_logits", "direct_effect_after_logits", "change_logits", "edited")
    return Evidence("attention-compensation", columns, rows, script(view, imports, code, run=False), "", facts)
