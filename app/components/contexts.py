"""Places of a text, each with the tokens around it shaded by a number, as where a neuron is most active."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from app.components.base import chosen_text, html_component, with_id

TEXT_KEYS = ("empty", "pick", "scale", "label")


@dataclass(frozen=True)
class Place:
    """A place: tokens as printed, the number at each, and the index of the one that the place is about."""

    tokens: Sequence[str]
    values: Sequence[float]
    peak: int


def contexts_value(places: Sequence[Place], *, text: dict[str, str], unit: str) -> dict:
    """The value of `contexts`, in the order given; negative numbers are not shaded. Raises ValueError for a number that is not finite."""
    largest = 0.0
    for place in places:
        if not all(map(math.isfinite, place.values)) or len(place.values) != len(place.tokens):
            raise ValueError("A place needs one finite number per token.")
        largest = max(largest, *place.values)
    rows = [{"tokens": list(p.tokens), "values": [round(float(v), 4) for v in p.values], "peak": int(p.peak)} for p in places]
    return with_id({"places": rows, "bound": largest or 1.0, "unit": unit, "text": chosen_text(text, TEXT_KEYS)})


def contexts(elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The places. Event `contextpick` with `event.index`: a place was chosen."""
    return html_component("contexts", elem_id, value, **kw)
