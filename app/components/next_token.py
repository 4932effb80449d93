"""Bars of the most probable next tokens, with a ghost of what they were before the edits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from app.components.base import chosen_text, html_component, probability, with_id

TEXT_KEYS = ("was", "hover", "pick", "entropy", "scale", "before", "empty", "export", "export_failed")
LAYOUTS = {"compact": 5, "full": 20}
_SCALES = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class NextToken:
    """One candidate: printed text, token id, probability, and the probability without the edits (None when nothing is edited)."""

    text: str
    id: int
    p: float
    before: float | None = None


def scale_for(largest: float) -> float:
    """The end of the bars' axis: the smallest round number that holds the largest probability. Two panels that compare pass one number."""
    return next(limit for limit in _SCALES if largest <= limit)


def candidate(row: NextToken) -> dict:
    """One row as JSON. Raises ValueError when a probability is not one."""
    before = None if row.before is None else probability(row.before, f"The probability before the edits of token {row.id}")
    return {
        "text": row.text,
        "id": int(row.id),
        "p": probability(row.p, f"The probability of token {row.id}"),
        "before": before,
    }


def next_token_value(
    rows: Sequence[NextToken],
    *,
    text: dict[str, str],
    label: str,
    layout: str = "full",
    edited: bool = False,
    entropy: float | None = None,
    scale: float | None = None,
    export: str | None = "next-token",
) -> dict:
    """The value of `next_token`: `rows` most probable first, at most 5 (compact) or 20 (full) are shown.

    `entropy` is that of the whole distribution in bits; `scale` the probability at the end of the axis (default: the smallest
    round number that holds every bar and ghost). Raises ValueError for an unknown layout, an impossible number, or rows out of order.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"The layout is {layout!r}; expected one of {', '.join(LAYOUTS)}.")
    if entropy is not None and not (math.isfinite(entropy) and entropy >= -1e-6):
        raise ValueError(f"The entropy must be a number of bits, zero or more, got {entropy}.")
    shown = [candidate(row) for row in rows[: LAYOUTS[layout]]]
    if any(a["p"] < b["p"] for a, b in zip(shown, shown[1:], strict=False)):
        raise ValueError("The candidates must be sorted, most probable first; sort them by p before building the value.")
    largest = max((max(row["p"], row["before"] or 0.0) for row in shown), default=1.0)
    if scale is not None and not largest <= scale <= 1:
        raise ValueError(f"The scale ends at {scale} but a bar reaches {largest}; pass a probability between the two and 1.")
    return with_id(
        {
            "rows": shown,
            "layout": layout,
            "edited": edited,
            "entropy": None if entropy is None else max(0.0, float(entropy)),
            "scale": scale_for(largest) if scale is None else float(scale),
            "label": label,
            "export": export,
            "text": chosen_text(text, TEXT_KEYS),
        }
    )


def next_token(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The bars. Event `tokenpick` with `event.id` and `event.text`: continue the prompt with this token."""
    return html_component("next_token", elem_id, value, **kw)
