"""What the patching tab says: answers, metrics and their values, and why a pair cannot be patched."""

from collections.abc import Sequence

from app.service import patching_pair as pairs
from app.service.lens import NotOneToken
from app.service.patching_pair import Question
from app.service.view import View
from app.text import Words, words
from interp.prompt_sets import Alignment


def answer_text(t: Words, view: View, ids: Sequence[int]) -> str:
    """Answers as printed: “·Brown”, or the first and how many more."""
    shown = [f"“{token}”" for token in view.show(ids[:1])]
    return shown[0] if len(ids) == 1 else t("patching.and_more", tokens=shown[0], count=len(ids) - 1)


def metric_text(t: Words, view: View, q: Question) -> str:
    """Such as "Logit difference “·Brown” − “·Smith”"."""
    return t(f"patching.measure_{q.measure}", right=answer_text(t, view, q.correct), wrong=answer_text(t, view, q.wrong))


def unit_text(t: Words, q: Question) -> str:
    """The unit of the metric's values."""
    return t("patching.unit_p" if q.measure.startswith("probability") else "patching.unit_nats")


def number(x: float) -> str:
    """A value of a metric."""
    digits = 2 if abs(x) >= 0.1 or x == 0 else 4
    return f"{x:.{digits}f}".replace("-", "−")


def advice(t: Words, found: Alignment) -> str:
    """How the prompts align and what to change, in the page's language (the sentence of `Alignment.advice`)."""
    if not found.changes:
        return t("patching.same", n=found.n_clean)
    if found.matches and not found.shifted:
        return t("patching.matches", n=found.n_clean, count=sum(change.n_clean for change in found.changes))
    uneven = max(found.changes, key=lambda change: abs(change.n_clean - change.n_corrupted))
    parts = {"clean": (uneven.clean, uneven.n_clean), "corrupted": (uneven.corrupted, uneven.n_corrupted)}
    named = {
        name: t("patching.stretch", text=text, count=count) if count else t("patching.nothing")
        for name, (text, count) in parts.items()
    }
    if found.matches:
        return t("patching.shifted", n=found.n_clean, count=found.shifted, **named)
    return t("patching.lengths", n=found.n_clean, m=found.n_corrupted, **named)


def problem_text(view: View) -> str:
    """Why nothing can be patched, in the page's language; "" where it can."""
    t = words(view.state.lang)
    try:
        pairs.question(view)
    except NotOneToken as error:
        return t("patching.not_one", count=len(error.pieces), pieces=" | ".join(error.pieces[:12]))
    except ValueError as error:
        found = pairs.alignment(view)
        return advice(t, found) if not found.matches or not found.changes else str(error)
    return ""
