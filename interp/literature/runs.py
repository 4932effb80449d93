"""Running the checks: cheap ones first, one outcome after the other, so that a reader can stop at any time.

    for outcome in run(load("gpt2")):
        print(outcome.check.id, outcome.status)

Expectations are of OpenAI's GPT-2 small in float32, those of a few checks of its GPT-2 XL (`Check.of`). On every other model the
same analyses run and are shown without one, except for the identities, which hold in all of them. A check that a model cannot run (its context is too short, its logit difference
is zero) says so in one sentence and the others go on.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from gpt2_core.config import SIZES, GPT2Config
from gpt2_core.model import GPT2
from interp.edits import NO_EDITS
from interp.folding import fold, is_folded
from interp.literature import ablations, attributions, circuit, extra_large, heads, patches, predictions, sentences, vocabulary
from interp.literature.check import Check, Comparison, Expectation, Measured, compare
from interp.run import Provenance, provenance

PARTS = (predictions, attributions, heads, patches, ablations, sentences, circuit, vocabulary, extra_large)
CHECKS: tuple[Check, ...] = tuple(
    sorted(
        (check for part in PARTS for check in part.CHECKS),
        key=lambda check: check.tokens(SIZES["gpt2"].config),
    )
)
BY_ID = {check.id: check for check in CHECKS}
STATUSES = ("pass", "fail", "none", "refused")
HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Outcome:
    """A check, run. status: "pass", "fail", "none" (measured, nothing to compare with) or "refused" (`reason` says why).

    expected: what was compared, empty for "none". seconds: what it took.
    """

    check: Check
    status: str
    measured: Measured | None
    comparison: Comparison | None
    expected: Expectation
    seconds: float
    provenance: Provenance
    reason: str = ""


def chosen(only: Sequence[str] = ()) -> tuple[Check, ...]:
    """The checks with these ids, all if there are none, the cheap ones first. Raises ValueError for an unknown id."""
    if unknown := [id for id in only if id not in BY_ID]:
        raise ValueError(f"No check is called {unknown[0]!r}; expected some of {', '.join(BY_ID)}.")
    return tuple(check for check in CHECKS if not only or check.id in only)


def is_released(model: GPT2, name: str = "gpt2") -> bool:
    """Whether these are OpenAI's weights of this size, by their checksum, or by their name where none is known."""
    if model.weights_sha256 is not None:
        return model.weights_sha256 == SIZES[name].sha256
    return model.config.model_name == name and replace(model.config, tied=True).shape() == SIZES[name].config.shape()


def expected_of(check: Check, model: GPT2) -> Expectation:
    """What a model's measurement is compared with: empty unless the check is of these weights, or holds everywhere."""
    applies = (check.everywhere or is_released(model, check.of)) and model.cfg.dtype not in HALF
    return check.expected if applies else {}


def run(model: GPT2, only: Sequence[str] = ()) -> Iterator[Outcome]:
    """Runs the chosen checks; ask for the next outcome, or stop asking. Raises ValueError for folded weights and unknown ids."""
    if is_folded(model):
        raise ValueError("The checks fold weights themselves where they need to; give the model as it was released.")
    folded: GPT2 | None = None
    for check in chosen(only):
        if check.mode == "folded" and folded is None:
            folded = fold(model)
        yield run_one(check, folded if check.mode == "folded" else model)


def run_one(check: Check, model: GPT2) -> Outcome:
    """One check on the weights that it takes (folded ones for mode "folded")."""
    begun, measured, reason = time.perf_counter(), None, ""
    try:
        measured = check.measure(model)
        if not measured.values.isfinite().all():
            measured, reason = None, f"The measurement is not finite in {model.cfg.dtype}; use float32."
    except ValueError as error:
        reason = str(error)
    expected = expected_of(check, model)
    compared = compare(measured, expected) if measured is not None and expected else None
    status = "refused" if measured is None else "none" if compared is None else "pass" if compared.passed else "fail"
    if measured is None and expected:
        status = "fail"  # an expectation that could not be looked at is not met
    spent = time.perf_counter() - begun
    return Outcome(check, status, measured, compared, expected, spent, provenance(model, NO_EDITS, True), reason)


def seconds(model: GPT2, check: Check) -> float:
    """About how long a check will take, from one timed forward pass; a machine that is busy now may be idle later."""
    return check.tokens(model.config) * _seconds_per_token(model)


@torch.no_grad()
def _seconds_per_token(model: GPT2, n: int = 32) -> float:
    tokens = torch.zeros(1, n, dtype=torch.long, device=model.cfg.device)
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        model(tokens)[0, -1, 0].item()
        times.append(time.perf_counter() - begun)
    return min(times) / n


def tokens_of(config: GPT2Config, checks: Sequence[Check] = CHECKS) -> int:
    """What all of these cost, in tokens of a whole forward pass."""
    return sum(check.tokens(config) for check in checks)
