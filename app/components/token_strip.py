"""A row (or a paragraph) of tokens, one of them selected, each optionally shaded by a number."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from app.components.base import chosen_text, html_component, with_id

TEXT_KEYS = ("empty", "generated", "continued", "edited", "before")
KINDS = ("bos", "prompt", "generated", "continued")


@dataclass(frozen=True)
class StripToken:
    """One token of the strip.

    `text` is what is printed (marks for spaces and newlines included), `title` the sentence shown on hover and focus. `shade` is 0..1,
    or -1..1 when `sign` is set (diverging colours); `before` is the same number without the edits, drawn as a line below.
    `kind` is one of KINDS: generated and continued text is always marked as such.
    """

    pos: int
    text: str
    title: str = ""
    shade: float | None = None
    sign: bool = False
    kind: str = "prompt"
    edited: bool = False
    before: float | None = None


@dataclass(frozen=True)
class Legend:
    """The scale of the shades: what is shown, and the words or numbers with units at its two ends."""

    title: str
    low: str
    high: str


def _shade(value: float | None, sign: bool, pos: int) -> float | None:
    if value is None:
        return None
    value, low = float(value), -1.0 if sign else 0.0
    if not math.isfinite(value) or not low - 1e-6 <= value <= 1 + 1e-6:
        raise ValueError(
            f"The shade of position {pos} must be in {low:g}..1, got {value}; divide by the scale's largest value."
        )
    return round(min(1.0, max(low, value)), 5)


def _token(token: StripToken) -> dict:
    if token.kind not in KINDS:
        raise ValueError(f"The kind of position {token.pos} is {token.kind!r}; expected one of {', '.join(KINDS)}.")
    return {
        "pos": int(token.pos),
        "text": token.text,
        "title": token.title,
        "shade": _shade(token.shade, token.sign, token.pos),
        "sign": token.sign,
        "kind": token.kind,
        "edited": token.edited,
        "before": _shade(token.before, token.sign, token.pos),
    }


def token_strip_value(
    tokens: Sequence[StripToken],
    *,
    text: dict[str, str],
    label: str,
    selected: int | None = None,
    legend: Legend | None = None,
    inline: bool = False,
    packed: bool = False,
) -> dict:
    """The value of `token_strip`.

    `selected` is a position or None; `inline` prints running prose, in which a newline token breaks the line, instead of chips;
    `packed` sends the tokens as one string of JSON lines, for a text that grows: the browser need not walk through hundreds of
    objects, and only new lines travel. Raises ValueError when a shade is out of range, a position occurs twice or the selected
    one is absent.
    """
    positions = [token.pos for token in tokens]
    if len(set(positions)) != len(positions):
        raise ValueError("Two tokens of the strip have the same position; give each token its own.")
    if selected is not None and selected not in positions:
        raise ValueError(
            f"Position {selected} is selected but the strip has {len(positions)} other positions; pass one of them or None."
        )
    rows = [_token(token) for token in tokens]
    scale = None if legend is None else {"title": legend.title, "low": legend.low, "high": legend.high}
    return with_id(
        {
            "tokens": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) if packed else rows,
            "selected": selected,
            "label": label,
            "legend": scale,
            "inline": inline,
            "text": chosen_text(text, TEXT_KEYS),
        }
    )


def token_strip(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The strip. Event `tokenselect` with `event.pos`, on click, Enter, arrow keys, Home and End."""
    return html_component("token_strip", elem_id, value, **kw)
