"""What the attention tab shows: every head as a thumbnail with its numbers, one head exactly, and what heads do.

Patterns come from the page's run where it kept them. A long prompt on a large model does not keep them (all together they
would be gigabytes): a layer's pattern is then computed again from the residual stream before it, one layer at a time.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.evidence import Evidence
from app.service.scripts import lens_script, script
from app.service.view import View, as_numpy
from gpt2_core.hooks import Watch
from interp.attention import pattern_names, rows_check
from interp.edits import EDITABLE, NO_EDITS, Edit, Plan
from interp.heads import HeadScores, scores
from interp.intervene import compile_plan
from interp.run import Check, Run

ROLES = ("previous_token", "duplicate_token", "induction")
MEASURES = (*ROLES, "sink", "distance", "entropy")
ROLE_THRESHOLD = 0.4  # mean attention from which on a head is given a role's badge
MOVED = 0.01  # largest change of one weight from which on a head is marked as changed by the edits
THUMBNAIL = 48  # pixels
SCORED_LENGTH = 50  # random tokens per copy


@dataclass(frozen=True)
class HeadPictures:
    """All heads of a run, small. pooled, pooled_rest: [layer head row column], the largest weight of each `block` x `block` cells,
    with and without the first token's column. sink: mean attention to the first token over the later ones; distance: mean tokens
    looked back; entropy: mean spread of a row, bits; changed: largest change of one weight by the edits, None where nothing is edited; all [layer head].
    means: the mean over heads [layer query key] where the run did not keep the patterns, else None.
    beyond: whether edits pushed a weight out of 0..1 (pictures clip it)."""

    pooled: np.ndarray
    pooled_rest: np.ndarray
    block: int
    sink: np.ndarray
    distance: np.ndarray
    entropy: np.ndarray
    changed: np.ndarray | None
    means: np.ndarray | None
    beyond: bool
    check: Check


def pictures(view: View) -> HeadPictures:
    """The thumbnails of every head and what can be read off the prompt's own patterns."""
    s = view.state
    return view.store.result((s.model, "heads", s.prompt, s.bos, s.plan), lambda: _pictures(view))


def head_pattern(view: View, run: Run, layer: int, head: int) -> np.ndarray:
    """One head's exact weights in a run of the page, [query key]."""
    kept = pattern_names(view.config.n_layers)[layer] in run.activations
    if kept:
        return as_numpy(run.activations[pattern_names(view.config.n_layers)[layer]][head])
    s = view.state

    def compute() -> np.ndarray:
        return as_numpy(_layer_pattern(view, run, layer)[head])

    return view.store.result((s.model, "pattern", s.prompt, s.bos, run.plan, layer, head), compute)


def layer_patterns(view: View, run: Run) -> Iterator[Tensor]:
    """The patterns of a run, a layer at a time: Float [head query key]."""
    for layer, name in enumerate(pattern_names(view.config.n_layers)):
        yield run.activations[name] if name in run.activations else _layer_pattern(view, run, layer)


def head_scores(view: View, plan: Plan) -> HeadScores:
    """Previous-token, duplicate-token and induction scores of every head under a plan; see `interp.heads`."""
    length = min(SCORED_LENGTH, view.config.n_ctx // 2)
    return view.store.result((view.state.model, "scores", plan), lambda: scores(view.model, length=length, plan=plan))


def best_head(view: View, role: str) -> tuple[int, int]:
    """Layer and head with the highest score of a role, without edits."""
    table = as_numpy(getattr(head_scores(view, NO_EDITS), role))
    layer, head = np.unravel_index(table.argmax(), table.shape)
    return int(layer), int(head)


def score_key(view: View) -> str:
    """What the head scores depend on, as a text."""
    return f"{view.state.model} {view.state.plan.to_json()}"


def measure_scores(view: View) -> str:
    """Computes the head scores, with and without the edits in force, into the store; returns their key."""
    head_scores(view, NO_EDITS)
    head_scores(view, view.state.plan)
    return score_key(view)


def measure(view: View, name: str) -> tuple[np.ndarray, float]:
    """One number per head [layer head], and what a head that spreads its attention evenly would have.

    name: one of MEASURES. Raises ValueError for another.
    """
    if name in ROLES:
        found = head_scores(view, view.state.plan)
        return as_numpy(getattr(found, name)), found.chance[name]
    if name not in MEASURES:
        raise ValueError(f"Heads cannot be ordered by {name!r}; choose one of {', '.join(MEASURES)}.")
    queries = np.arange(1, max(2, len(view.run)))  # a lone first token has nothing to choose between
    even = {"sink": 1 / (queries + 1), "distance": queries / 2, "entropy": np.log2(queries + 1)}
    return getattr(pictures(view), name), float(np.mean(even[name]))


def roles_evidence(view: View) -> Evidence:
    """Every head's scores on repeated random tokens, and what prints them."""
    found, length = head_scores(view, view.state.plan), min(SCORED_LENGTH, view.config.n_ctx // 2)
    tables = [as_numpy(getattr(found, role)) for role in ROLES]
    rows = [(layer, head, *(t[layer, head] for t in tables)) for layer, head in np.ndindex(tables[0].shape)]
    body = """
        numbers = [table[layer, head].item() for table in ({tables})]
        print(f"L{{layer}}H{{head}}", *(f"{{number:.6f}}" for number in numbers))
"""
    loop = "for layer in range(model.cfg.n_layers):\n    for head in range(model.cfg.n_heads):"
    code = f"found = scores(model, length={length}, plan=plan)\n{loop}"
    code += body.format(tables=", ".join(f"found.{role}" for role in ROLES))
    lens_code = f"""
tokens, rows = repeated_random_tokens(model.cfg.d_vocab, 4, {length}, 0), []
_, cache = model.run_with_cache(tokens, names_filter=lambda name: name.endswith("hook_pattern"))
for layer in range(model.cfg.n_layers):
    pattern = cache["pattern", layer]
    before = pattern.diagonal(-1, dim1=-2, dim2=-1).mean((0, 2))
    same, following = (pattern.diagonal(-back, dim1=-2, dim2=-1)[..., {length} - back :].mean((0, 2)) for back in ({length}, {length - 1}))
    for head in range(model.cfg.n_heads):
        print(f"L{{layer}}H{{head}}", *(f"{{table[head].item():.6f}}" for table in (before, same, following)))
"""
    facts = {"chance": dict(found.chance), "gain_nats": found.gain, "provenance": view.run.provenance.to_dict()}
    lens = lens_script(view, "from interp.heads import repeated_random_tokens", lens_code)
    return Evidence(
        "head-scores",
        ("layer", "head", *ROLES),
        rows,
        script(view, "from interp.heads import scores", code, run=False),
        lens,
        facts,
    )


def roles(view: View) -> dict[tuple[int, int], str]:
    """The heads whose best score reaches ROLE_THRESHOLD, and that score's name."""
    found = head_scores(view, view.state.plan)
    table = np.stack([as_numpy(getattr(found, role)) for role in ROLES])
    best = table.argmax(0)
    return {
        (layer, head): ROLES[best[layer, head]]
        for layer, head in np.ndindex(best.shape)
        if table[best[layer, head], layer, head] >= ROLE_THRESHOLD
    }


def edited_heads(view: View) -> set[tuple[int, int]]:
    """The heads whose output or inputs an edit replaces. A single weight set by hand leaves a head's picture worth seeing."""
    heads = range(view.config.n_heads)
    touched = {(e.layer, h) for e in view.state.plan if EDITABLE[e.component][1] and e.head is None for h in heads}
    return touched | {(e.layer, e.head) for e in view.state.plan if e.head is not None and e.op != "set"}


def factor_in_force(plan: Plan, layer: int, head: int) -> float | None:
    """What a head's whole output is multiplied by: 0 where it is off, None where it is as trained.

    Edits of the head and of all heads of its layer act one after another, so their factors multiply.
    """
    return _product(e for e in plan if _is_factor(e, layer, (None, head)))


def own_factor(plan: Plan, layer: int, head: int) -> float | None:
    """What the edits of this head alone multiply its output by, which `with_factor` replaces; None where there are none."""
    return _product(e for e in plan if _is_factor(e, layer, (head,)))


def _product(edits: Iterable[Edit]) -> float | None:
    factors = [0.0 if edit.op == "zero" else edit.value for edit in edits]
    return math.prod(factors) if factors else None


def with_factor(plan: Plan, layer: int, head: int, factor: float) -> Plan:
    """The plan with a head's own edit multiplying its output by `factor` (0: off); asked for what that does already, without it.

    Edits of all heads of the layer stay, and act on this one too.
    """
    rest = Plan(tuple(e for e in plan if not _is_factor(e, layer, (head,))))
    if own_factor(plan, layer, head) == factor:
        return rest
    edit = Edit.zero("z", layer, head) if factor == 0 else Edit.scale("z", layer, head, value=factor)
    return rest.add(edit)


def with_cell(plan: Plan, edit: Edit) -> Plan:
    """The plan with one attention weight set, in place of an earlier value for the same weight."""
    place = (edit.layer, edit.head, edit.positions, edit.key)
    others = tuple(e for e in plan if e.op != "set" or (e.layer, e.head, e.positions, e.key) != place)
    return Plan(others).add(edit)


def cells_set(plan: Plan, layer: int, head: int, n: int) -> list[tuple[int, int]]:
    """The (query, key) cells of a head that were set by hand and exist in a prompt of n tokens."""
    sets = [e for e in plan if e.op == "set" and (e.layer, e.head) == (layer, head)]
    return [(q, e.key) for e in sets for q in e.positions if q < n]


def _is_factor(edit: Edit, layer: int, heads: tuple[int | None, ...]) -> bool:
    whole = edit.component == "z" and edit.positions is None and edit.layer == layer and edit.head in heads
    return whole and edit.op in ("zero", "scale")


@torch.no_grad()
def _pictures(view: View) -> HeadPictures:
    n = len(view.run)
    block = -(-n // THUMBNAIL)
    rows: list[tuple[Tensor, ...]] = []
    means: list[np.ndarray] | None = None if _kept(view, view.run) else []
    residual, beyond = 0.0, False
    earlier = iter(layer_patterns(view, view.before)) if view.before is not None else None
    for pattern in layer_patterns(view, view.run):
        weights = pattern.float()
        change = torch.zeros(len(weights)) if earlier is None else (weights - next(earlier).float()).abs().amax((1, 2)).cpu()
        residual = max(residual, (weights.sum(-1) - 1).abs().max().item())
        low, high = weights.aminmax()
        beyond |= bool((low < 0) | (high > 1 + 1e-4))
        numbers = _numbers(weights[:, min(1, n - 1) :], min(1, n - 1), bool(low >= 0))
        weights = weights if low >= 0 and high <= 1 else weights.clamp(0, 1)
        rows.append((*_pooled(weights, block), *numbers, change))
        if means is not None:
            means.append(as_numpy(weights.mean(0)))
    pooled, pooled_rest, sink, distance, entropy, changed = (as_numpy(torch.stack(column)) for column in zip(*rows))
    check = rows_check(residual, view.model.cfg.dtype)
    changed = None if earlier is None else changed
    means = None if means is None else np.stack(means)
    return HeadPictures(pooled, pooled_rest, block, sink, distance, entropy, changed, means, beyond, check)


def _numbers(later: Tensor, first: int, positive: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Sink, distance and entropy per head from the rows of queries `first`, ...; few passes, since patterns may be long."""
    keys = torch.arange(later.shape[-1], device=later.device, dtype=later.dtype)
    distance = (later.sum(-1) * keys[first:] - later @ keys).mean(-1)
    entropy = torch.special.entr(later if positive else later.clamp(min=0)).sum(-1).mean(-1) / math.log(2)
    return later[..., 0].mean(-1).cpu(), distance.cpu(), entropy.cpu()


def _pooled(weights: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """The largest weight of each block x block cells, [head query key] -> [head row column]; and without the first token's column."""
    side = -(-weights.shape[-1] // block) * block
    padded = torch.nn.functional.pad(weights, (0, side - weights.shape[-1], 0, side - weights.shape[-2]))
    rows = padded.unflatten(-2, (-1, block)).amax(-2)  # rows first: memory order, several times faster
    pooled = rows.unflatten(-1, (-1, block)).amax(-1)
    rest = pooled.clone()
    rest[..., 0] = rows[..., 1:block].amax(-1) if block > 1 else 0.0
    return pooled.cpu(), rest.cpu()


def _kept(view: View, run: Run) -> bool:
    return all(name in run.activations for name in pattern_names(view.config.n_layers))


@torch.no_grad()
def _layer_pattern(view: View, run: Run, layer: int) -> Tensor:
    """A layer's pattern [head query key] from the residual stream that enters it; edits inside the layer act again."""
    seen: list[Tensor] = []
    name = pattern_names(view.config.n_layers)[layer]
    watch = Watch(
        lambda n: n == name, lambda _, pattern: seen.append(pattern[0]), compile_plan(view.model, run.plan, run.provenance.bos)
    )
    if layer == 0:  # from the tokens: the run's resid_pre of layer 0 is already edited
        view.model(torch.tensor([run.tokens]), hook=watch, stop_at_layer=1)
    else:
        before = run.activations[f"blocks.{layer - 1}.hook_resid_post"][None]
        view.model(before, hook=watch, start_at_layer=layer, stop_at_layer=layer + 1)
    return seen[0]
