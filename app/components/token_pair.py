"""Two prompts one above the other, token by token, with the columns marked in which they differ.

Value: id, columns [{clean, corrupted, pos, same}] (a text is None where that prompt has no token there; pos is None where the
prompts do not match), names {clean, corrupted}, advice, ok, selected (a position) | None, text (TEXT_KEYS).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.components.base import chosen_text, html_component, with_id

TEXT_KEYS = ("label", "clean", "corrupted", "column", "missing", "differs")


@dataclass(frozen=True)
class PairColumn:
    """A column: the printed token of each prompt, None where it has none. pos: the position in the run, None where they do not match."""

    clean: str | None
    corrupted: str | None
    pos: int | None


def token_pair_value(
    columns: Sequence[PairColumn], *, text: Mapping[str, str], advice: str = "", ok: bool = True, selected: int | None = None
) -> dict[str, Any]:
    """The value of `token_pair`. advice: one sentence below; ok=False makes it a warning.

    Raises ValueError where a column has no token at all.
    """
    for column in columns:
        if column.clean is None and column.corrupted is None:
            raise ValueError("got a column without a token; give the token of one prompt at least.")
    shown = [{"clean": c.clean, "corrupted": c.corrupted, "pos": c.pos, "same": c.clean == c.corrupted} for c in columns]
    return with_id(
        {
            "columns": shown,
            "advice": advice,
            "ok": ok,
            "selected": selected,
            "text": chosen_text(dict(text), TEXT_KEYS),
        }
    )


def token_pair(elem_id: str, value: dict | None = None, **kw: Any) -> gr.HTML:
    """The two rows. Event `tokenselect` with `event.pos` on click, Enter and arrow keys."""
    return html_component("token_pair", elem_id, value, **kw)
