"""One attention head, large: a matrix (who looks at whom) or lines between two columns of words, with and without edits.

Value (all keys always present):
    id, picture         content hashes (of everything; of the numbers)
    after, before       packed weights or None; see `_weights`: float32 up to 256 tokens, else 16-bit steps of largest/65535
    causal              True: only the lower triangle was sent, row by row
    ends_at             an earlier end of the colours, or None
    largest             where the colours end: 1 for attention weights, more for lengths of vectors
    tokens, layer, head, position, mode, show, hide_first, edited [[query, key]], label, text
The difference (after - before) is made in the browser. Switching between matrix and lines, after, before and difference
needs no server.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import gradio as gr
import numpy as np

from app.components.base import chosen_text, content_id, html_component, with_id
from app.components.packing import pack, unpack

EXACT_UP_TO = 256
MODES, SHOWN = ("matrix", "lines"), ("after", "before", "difference")
TEXT_KEYS = (
    "view_label", "compare_label", "zoom_label", "matrix", "lines", "after", "before", "difference", "looks_from", "looks_at",
    "unit", "unit_difference", "hover", "hover_difference", "hover_largest", "hidden_first", "threshold", "quantised",
    "edited", "raster", "zoom_in", "zoom_out", "fit", "keys",
)  # fmt: skip


def head_view_value(
    pattern: np.ndarray,
    before: np.ndarray | None,
    *,
    tokens: Sequence[str],
    layer: int,
    head: int,
    text: dict[str, str],
    position: int | None = None,
    mode: str = MODES[0],
    show: str = SHOWN[0],
    hide_first: bool = False,
    edited_cells: Iterable[tuple[int, int]] = (),
    label: str = "",
    largest: float = 1.0,
    ends_at: float | None = None,
) -> dict[str, Any]:
    """The value of the enlarged head.

    pattern: weights in 0..1 [query key] in force; before: the same without edits, or None when there are none.
    tokens: shown tokens; position: the selected query, whose row or lines stay marked; edited_cells: (query, key) cells
    set by hand; label: a title in place of L{layer}H{head}; largest: the end of the colours, where the numbers are no weights.
    ends_at: an earlier end of the colours, for faint stripes; larger numbers are painted like it and read as they are.
    Raises ValueError when shapes, choices or cells do not fit together.
    """
    count = len(tokens)
    arrays = [np.asarray(p, np.float32) if p is not None else None for p in (pattern, before)]
    for name, array in zip(("pattern", "before"), arrays, strict=True):
        if array is not None and (array.shape != (count, count) or not count):
            raise ValueError(f"{name} came as {array.shape} for {count} tokens; give one row and one column per token.")
        if array is not None and not (array.min() >= 0 and array.max() <= largest * (1 + 1e-4)):
            raise ValueError(f"{name} has weights outside 0..{largest:g}; give attention weights after the softmax.")
    if show not in SHOWN or mode not in MODES:
        raise ValueError(f"got mode={mode!r}, show={show!r}; choose mode matrix or lines and show after, before or difference.")
    if arrays[1] is None and show != "after":
        raise ValueError(f"got show={show!r} without weights from before the edits; pass `before` or show 'after'.")
    edited = sorted((int(q), int(k)) for q, k in edited_cells)
    positions = [*(p for cell in edited for p in cell), *([] if position is None else [position])]
    if outside := [p for p in positions if not 0 <= p < count]:
        raise ValueError(f"got position {outside[0]} for {count} tokens; give positions 0..{count - 1}.")
    causal = all(array is None or not np.triu(array, 1).any() for array in arrays)
    after, earlier = (None if array is None else _weights(array, causal, largest) for array in arrays)
    value = {
        "picture": content_id({"after": after, "before": earlier}),
        "after": after,
        "before": earlier,
        "causal": causal,
        "largest": float(largest),
        "ends_at": None if ends_at is None else float(ends_at),
        "tokens": list(tokens),
        "layer": int(layer),
        "head": int(head),
        "position": None if position is None else int(position),
        "mode": mode,
        "show": show,
        "hide_first": bool(hide_first),
        "edited": [list(cell) for cell in edited],
        "label": label,
        "text": chosen_text(text, TEXT_KEYS),
    }
    return with_id(value)


def head_view(elem_id: str, **kwargs: Any) -> gr.HTML:
    """The component. Events `cellselect` with {query, key} on click and Enter, where `key` is None when only a query was chosen, and
    `lookselect` with {mode, show}.

    Its picture is its panel's to save."""
    return html_component("head_view", elem_id, **kwargs)


def _weights(weights: np.ndarray, causal: bool, largest: float) -> dict[str, Any]:
    """Packed weights; of a causal pattern only the lower triangle (the rest is zero), which halves the bytes."""
    flat = weights[np.tril_indices(len(weights))] if causal else weights.reshape(-1)
    if len(weights) > EXACT_UP_TO:
        flat = np.clip(np.round(flat / largest * 65535), 0, 65535).astype(np.uint16)
    return pack(flat)


def read_weights(value: Mapping[str, Any], which: Literal["after", "before"] = "after") -> np.ndarray:
    """The weights [query key] back out of a value, as the browser sees them."""
    flat, count = unpack(value[which]), len(value["tokens"])
    flat = flat * np.float32(value["largest"] / 65535) if flat.dtype == np.uint16 else flat
    weights = np.zeros((count, count), np.float32)
    weights[np.tril_indices(count) if value["causal"] else tuple(np.indices((count, count)).reshape(2, -1))] = flat
    return weights
