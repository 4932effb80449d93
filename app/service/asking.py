"""What every analysis asks first and says last: bounds on what is asked, the model and its edits, numbers as plain data."""

import math
import sys
from dataclasses import asdict
from typing import Any, NamedTuple

from torch import Tensor

from app.state import MAX_PROMPT
from app.store import ModelStore
from gpt2_core.model import GPT2
from interp.edits import Plan, plain_text
from interp.run import Check, Run

MAX_NUMBERS = 1_000_000  # in one answer
MAX_SEED = 2**63 - 1
MAX_STOPS = 16
LARGEST_FLOAT = sys.float_info.max


class Asked(NamedTuple):
    """What is asked about."""

    prompt: str
    model: GPT2
    plan: Plan


def asked(store: ModelStore, model: str, prompt: str, plan: str, bos: bool, longest: int = MAX_PROMPT) -> Asked:
    """The prompt as it can be written, the model and the plan that are asked for.

    Raises ValueError for anything of the wrong kind, unknown or too long.
    """
    for name, value in (("model", model), ("prompt", prompt), ("plan", plan)):
        check_text(name, value)
    check_bool("bos", bos)
    prompt = plain_text(prompt)
    if len(prompt) > longest:
        raise ValueError(f"The prompt has {len(prompt):,} characters; {longest:,} is the most. Shorten it.")
    edits, gpt2 = Plan.from_json(plan), store.model(model)
    return Asked(prompt, gpt2, edits.check(gpt2.config))


def check_text(name: str, value: Any) -> None:
    """Raises ValueError unless the value is a text."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text, got {_brief(value)!r}.")


def check_bool(name: str, value: Any) -> None:
    """Raises ValueError unless the value is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {_brief(value)!r}.")


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
        raise ValueError(f"{name} must be a whole number from {least} to {most}, got {_brief(value)}.")


def check_size(numbers: int, instead: str) -> None:
    """Raises ValueError for an answer of too many numbers, saying what to ask for instead."""
    if numbers > MAX_NUMBERS:
        raise ValueError(f"The answer would have {numbers:,} numbers and {MAX_NUMBERS:,} is the most; ask for {instead}.")


def check_real(name: str, value: Any) -> None:
    """Raises ValueError unless the value is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_FLOAT:
        raise ValueError(f"{name} must be a finite number, got {_brief(value)}.")


def check_stops(stop: Any) -> tuple[str, ...]:
    """Stop strings as a tuple. Raises ValueError for too many, too long, or something else than texts."""
    stops = () if stop is None else (stop,) if isinstance(stop, str) else stop
    right = isinstance(stops, list | tuple) and all(isinstance(s, str) and len(s) <= 200 for s in stops)
    if not right or len(stops) > MAX_STOPS:
        raise ValueError(f"stop is up to {MAX_STOPS} texts of up to 200 characters each.")
    return tuple(map(plain_text, stops))


def _brief(value: Any) -> str:
    """The beginning of a value as it is printed, on one line. A number of thousands of digits is not printed at all."""
    if isinstance(value, int) and abs(value) > LARGEST_FLOAT:
        return "a larger number than can be used"
    return " ".join(str(value)[:40].split())


def finite(value: float) -> float | None:
    """The number, or None for NaN and infinities, which JSON cannot carry."""
    return value if math.isfinite(value) else None


def plain(tensor: Tensor) -> list:
    """A tensor as nested lists of numbers, None where one is not finite."""
    return _without_infinities(tensor.tolist()) if not tensor.isfinite().all() else tensor.tolist()


def _without_infinities(value: Any) -> Any:
    return [_without_infinities(v) for v in value] if isinstance(value, list) else finite(value)
