"""What else the model might have written at one place of a generated text."""

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from app.components.base import chosen_text, html_component, probability, with_id
from app.components.next_token import NextToken, candidate, scale_for

TEXT_KEYS = ("heading", "chosen", "hover", "pick", "scale", "empty", "export", "export_failed")


@dataclass(frozen=True)
class Chosen:
    """The token that was written: its printed text and the probability the model gave it."""

    text: str
    p: float


def alternatives_value(
    pos: int, chosen: Chosen, rows: Sequence[NextToken], *, text: dict[str, str], export: str | None = "alternatives"
) -> dict:
    """The value of `alternatives`: the token chosen at position `pos`, and the candidates there, most probable first.

    Raises ValueError when a probability is not in 0..1 or the rows are out of order.
    """
    shown = [{key: row[key] for key in ("id", "text", "p")} for row in map(candidate, rows)]
    if any(a["p"] < b["p"] for a, b in zip(shown, shown[1:], strict=False)):
        raise ValueError("The candidates must be sorted, most probable first; sort them by p before building the value.")
    p = probability(chosen.p, f"The probability of the token chosen at position {pos}")
    return with_id(
        {
            "pos": int(pos),
            "chosen": {"text": chosen.text, "p": p},
            "rows": shown,
            "scale": scale_for(max([p, *(row["p"] for row in shown)])),
            "export": export,
            "text": chosen_text(text, TEXT_KEYS),
        }
    )


def alternatives(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The panel. Event `continuefrom` with `event.pos` and `event.id`: write this token there and go on."""
    return html_component("alternatives", elem_id, value, **kw)
