"""What a head's card shows: what is lost without it, who takes over, what it adds to the prediction, whom it works with."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from app.service.heads_prompt import METHOD, REFERENCE, WINDOWS, ablation_of, by_head_at, rivals, tokens_to
from app.service.staged import Stage
from app.service.view import View, as_numpy
from gpt2_core import distribution
from gpt2_core.accounting import forward_flops
from interp.ablation import METHODS, Part, ablate
from interp.compensation import Compensation, compensation
from interp.metrics import answer_metric
from interp.run import Check, Run
from interp.weights_composition import DRAWS, Neighbours, neighbours

ABOVE_CHANCE = 3.0  # deviations of random heads' scores from which on a pair of heads is shown
MOST_NEIGHBOURS = 8
MODES = ("Q", "K", "V")


@dataclass(frozen=True)
class KnockedOut:
    """A head knocked out in one way. logit: of the predicted token, p: its probability, kl: KL(before || after) in nats; each the
    mean over the pieces that were drawn from. low, high: of the logit, None where there is one run. token: then likeliest."""

    method: str
    logit: float
    p: float
    kl: float
    token: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Damage:
    """All ways, and the prediction with the head: its logit and probability."""

    first: int
    logit: float
    p: float
    ways: tuple[KnockedOut, ...]


@dataclass(frozen=True)
class Direct:
    """What the head adds to the predicted token's logit above the mean logit. value: logits; always: the part it adds whatever it
    reads; total: that logit; rank: 1 for the head with the largest share in size; check: the sum over all parts."""

    value: float
    always: float
    total: float
    rank: int
    check: Check


@dataclass(frozen=True)
class Neighbour:
    """A head that this one composes with. mode: Q, K or V; above: deviations above what random heads score."""

    layer: int
    head: int
    mode: str
    score: float
    above: float


@dataclass(frozen=True)
class Circle:
    """earlier: whose output this head may read; later: which may read its output; the strongest, above chance, first."""

    earlier: tuple[Neighbour, ...]
    later: tuple[Neighbour, ...]
    baseline: float
    baseline_std: float


def card_stages(view: View) -> list[Stage]:
    """What the selected head's card wants, the unedited model's damage where edits are in force."""
    before = [damage(view, view.before)] if view.before is not None else []
    return [damage(view, view.run), *before, taken_over(view), circle(view)]


def _run_cost(view: View, rows: int) -> float:
    return rows * forward_flops(view.config, view.position + 1, logits_positions=1).total


def damage(view: View, run: Run) -> Stage:
    """The prediction at the selected position without the selected head, under the run's plan: a `Damage`."""
    s = view.state
    first = rivals(view).first
    key = (s.model, "head damage", s.prompt, s.bos, run.plan, view.position, view.layer, view.head, REFERENCE.of(s), first)

    def compute() -> Damage:
        before = run.logits[view.position].float()
        p = before.softmax(-1)[first].item()
        return Damage(
            first, before[first].item(), p, tuple(_knocked_out(view, run, method, before, first) for method in METHODS)
        )

    return Stage(key, compute, _run_cost(view, len(METHODS) + 3 * WINDOWS))


def _knocked_out(view: View, run: Run, method: str, before: Tensor, first: int) -> KnockedOut:
    ablation, copies = ablation_of(view, method)
    tokens = tokens_to(view).expand(copies, -1)
    part = Part.head(view.layer, view.head)
    logits = ablate(view.model, tokens, [part], ablation, plan=run.plan, bos=view.state.bos).float()
    chances, values = logits.log_softmax(-1), logits[:, first]
    kl = distribution.kl(before.log_softmax(-1)[None], chances)
    several = {"low": values.min().item(), "high": values.max().item()} if copies > 1 else {}
    token = int(chances.exp().mean(0).argmax())
    return KnockedOut(method, values.mean().item(), chances.exp()[:, first].mean().item(), kl.mean().item(), token, **several)


def direct(view: View, run: Run) -> Direct:
    """The selected head's direct share of the predicted token's logit."""
    found, at = by_head_at(view, run), (view.layer, view.head)
    value = found.heads[at].item()
    rank = 1 + int((found.heads.abs() > abs(value)).sum())
    return Direct(value, found.value_bias[at].item(), found.value, rank, found.check)


def taken_over(view: View) -> Stage:
    """Direct effects on the logit difference of the two likeliest tokens, with and without the selected head, as edited: an
    `interp.compensation.Compensation`."""
    s, two = view.state, rivals(view)
    key = (
        s.model,
        "head compensation",
        s.prompt,
        s.bos,
        s.plan,
        view.position,
        view.layer,
        view.head,
        METHOD.of(s),
        REFERENCE.of(s),
    )

    def compute() -> Compensation:
        ablation, copies = ablation_of(view, METHOD.of(s))
        metric = answer_metric("logit_difference", [[two.first]] * copies, [[two.second]] * copies)
        tokens = tokens_to(view).expand(copies, -1)
        return compensation(view.model, tokens, metric, [Part.head(view.layer, view.head)], ablation, None, s.plan, s.bos)

    return Stage(key, compute, _run_cost(view, 2 if METHOD.of(s) == "zero" else 3 * WINDOWS))


def circle(view: View) -> Stage:
    """The heads that the selected one is built to work with, from the weights (folded): a `Circle`."""
    cfg = view.config
    each = 2 * cfg.d_model * cfg.d_head * (cfg.d_model * cfg.n_layers * 4 + DRAWS**2 * cfg.d_head)
    return Stage((view.state.model, "head neighbours", view.layer, view.head), lambda: _circle(view), len(MODES) * each)


def _circle(view: View) -> Circle:
    found = [neighbours(view.model, view.layer, view.head, mode) for mode in MODES]
    earlier, later = (
        tuple(sorted((n for one in found for n in _above_chance(one, side)), key=lambda n: -n.above)[:MOST_NEIGHBOURS])
        for side in ("earlier", "later")
    )
    return Circle(earlier, later, found[0].baseline, found[0].baseline_std)


def _above_chance(found: Neighbours, side: str) -> list[Neighbour]:
    scores = as_numpy(getattr(found, side))
    above = (scores - found.baseline) / found.baseline_std
    places = np.argwhere(above >= ABOVE_CHANCE).tolist()
    return [Neighbour(la, h, found.mode, float(scores[la, h]), float(above[la, h])) for la, h in places]
