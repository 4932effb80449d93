"""The card of one point of the network: what it is, its tensor, its vector at the selected position, and where to look further.

Value (sealed; all keys always present): id, title, hook, formula; facts [[name, value]]; strip {values, at (which entries), of, name} | null;
links [{tab, label}]; text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
import numpy as np

from app.components.base import chosen_text, html_component
from app.components.sealed import sealed

TEXT_KEYS = ("card_label", "strip", "strip_some", "entry", "opens", "hook", "minus_infinity")
MOST = 256  # entries of a strip


def sampled(count: int, most: int) -> list[int]:
    """At most `most` indices of `count`, evenly spread, always with the first and the last."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def anatomy_card_value(
    title: str,
    hook: str,
    formula: str,
    facts: Sequence[tuple[str, str]],
    vector: np.ndarray | None,
    links: Sequence[tuple[str, str]],
    *,
    text: Mapping[str, str],
) -> dict[str, Any]:
    """The value of the card. vector: what stands there at the position, subsampled here; minus infinity is allowed."""
    return sealed(
        {
            "title": title,
            "hook": hook,
            "formula": formula,
            "facts": [[str(name), str(value)] for name, value in facts],
            "strip": None if vector is None else _strip(np.asarray(vector, float)),
            "links": [{"tab": tab, "label": label} for tab, label in links],
            "text": chosen_text(dict(text), TEXT_KEYS),
        }
    )


def _strip(vector: np.ndarray) -> dict[str, Any]:
    at = sampled(len(vector), MOST)
    shown = [float(f"{x:.4g}") if np.isfinite(x) and x > -1e30 else None for x in vector[at]]  # None: minus infinity
    return {"values": shown, "at": at, "of": len(vector)}


def anatomy_card(elem_id: str, **kwargs: Any) -> gr.HTML:
    """The component. Event `opentab` with {tab}."""
    return html_component("anatomy_card", elem_id, **kwargs)
