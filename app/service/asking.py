"""What every analysis asks first and says last: bounds on what is asked, the model and its edits, numbers as plain data."""

import math
from dataclasses import asdict
from typing import Any

from torch import Tensor

from app.state import MAX_PROMPT
from app.store import ModelStore
from gpt2_core.model import GPT2
from interp.edits import Plan
from interp.run import Check, Run

MAX_NUMBERS = 1_000_000  # in one answer
MAX_SEED = 2**63 - 1
MAX_STOPS = 16


def subject(store: ModelStore, model: str, prompt: str, plan: str, bos: bool, longest: int = MAX_PROMPT) -> tuple[GPT2, Plan]:
    """The model and the plan that are asked for. Raises ValueError for anything of the wrong kind, unknown or too long."""
    for name, value, kind in (("model", model, str), ("prompt", prompt, str), ("plan", plan, str), ("bos", bos, bool)):
        if not isinstance(value, kind):
            raise ValueError(f"{name} must be {'a text' if kind is str else 'true or false'}, got {str(value)[:40]!r}.")
    if len(prompt) > longest:
        raise ValueError(f"The prompt has {len(prompt):,} characters; {longest:,} is the most. Shorten it.")
    edits, gpt2 = Plan.from_json(plan), store.model(model)
    return gpt2, edits.check(gpt2.config)


def about_run(run: Run) -> dict[str, Any]:
    """What every answer about a run begins with: provenance, prompt, tokens."""
    tokens = [{"id": id, "text": text} for id, text in zip(run.tokens, run.strings, strict=True)]
    return {"provenance": run.provenance.to_dict(), "prompt": run.text, "tokens": tokens}


def tokens_of(model: GPT2, ids: list[int]) -> list[dict[str, Any]]:
    """Each token's id and text."""
    return [{"id": id, "text": text} for id, text in zip(ids, model.tokenizer.strings(ids), strict=True)]


def check_of(check: Check) -> dict[str, Any]:
    """An identity that must hold, and whether it does."""
    return {**asdict(check), "residual": finite(check.residual), "holds": check.holds}


def check_number(name: str, value: Any, least: int, most: int) -> None:
    """Raises ValueError unless the value is a whole number within its bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}, got {str(value)[:40]}.")


def check_size(numbers: int, instead: str) -> None:
    """Raises ValueError for an answer of too many numbers, saying what to ask for instead."""
    if numbers > MAX_NUMBERS:
        raise ValueError(f"The answer would have {numbers:,} numbers and {MAX_NUMBERS:,} is the most; ask for {instead}.")


def check_stops(stop: Any) -> tuple[str, ...]:
    """Stop strings as a tuple. Raises ValueError for too many, too long, or something else."""
    stop = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stop) > MAX_STOPS or not all(isinstance(s, str) and len(s) <= 200 for s in stop):
        raise ValueError(f"stop is up to {MAX_STOPS} texts of up to 200 characters each.")
    return stop


def finite(value: float) -> float | None:
    """The number, or None for NaN and infinities, which JSON cannot carry."""
    return value if math.isfinite(value) else None


def plain(tensor: Tensor) -> list:
    """A tensor as nested lists of numbers, None where one is not finite."""
    return _without_infinities(tensor.tolist()) if not tensor.isfinite().all() else tensor.tolist()


def _without_infinities(value: Any) -> Any:
    return [_without_infinities(v) for v in value] if isinstance(value, list) else finite(value)
