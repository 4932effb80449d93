"""All heads at once: a grid of small attention patterns, fed by one grey picture that carries the values.

Every attention head has a pattern: a square in which the row is the word that looks and the column the word looked at.
Side by side they show at a glance which heads look at the previous word, which at the first, which copy. Long prompts are
reduced by taking the LARGEST weight of each block of cells (an average would wash out the one-cell stripes that make a head
recognisable).

Value (all keys always present):
    id          content hash            picture   hash of the pixels alone (selection and marks excluded)
    png         base64 grey PNG, tiles of `pixels` x `pixels`, `columns` per row, in the order of `tiles`
    scale       the weight of grey level 255 (`largest`, or the largest remaining weight when the first token is hidden)
    matrix      True: tiles are layer x head in order; False: a flow of tiles as listed
    tiles       [{layer, head, score: [label, number] | None, role: [label, category 1..6] | None, off: bool,
                  changed: number | None}]
    clipped     True: some weights are above `scale`, and grey level 255 means "at least"
    block       cells per thumbnail pixel and axis (1 = every weight is there)
    tokens, selected [layer, head] | None, hide_first, text
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import gradio as gr
import numpy as np

from app.components.base import chosen_text, content_id, html_component, with_id
from app.components.packing import grey_png

Head = tuple[int, int]
TEXT_KEYS = (
    "grid_label", "tile_label", "hover", "hover_pooled", "unit", "note_pooled", "note_hide_first", "note_precision",
    "off", "changed",
)  # fmt: skip


def pool_patterns(patterns: np.ndarray, block: int, *, hide_first: bool = False) -> np.ndarray:
    """Largest weight of each `block` x `block` piece: [... query key] -> [... ceil(query/block) ceil(key/block)]."""
    starts = np.arange(0, patterns.shape[-2], block), np.arange(0, patterns.shape[-1], block)
    rows = np.maximum.reduceat(patterns, starts[0], axis=-2)  # rows first: memory order, several times faster
    if hide_first:
        rows[..., 0] = 0
    return np.maximum.reduceat(rows, starts[1], axis=-1)


def head_grid_value(
    patterns: Iterable[np.ndarray],
    *,
    tokens: Sequence[str],
    text: dict[str, str],
    tiles: Sequence[Head] | None = None,
    scores: Mapping[Head, tuple[str, float]] | None = None,
    roles: Mapping[Head, tuple[str, int]] | None = None,
    off: Set[Head] = frozenset(),
    changed: Mapping[Head, float] | None = None,
    selected: Head | None = None,
    hide_first: bool = False,
    max_pixels: int = 48,
    largest: float = 1.0,
    pooled_by: int | None = None,
    ends_at: float | None = None,
) -> dict[str, Any]:
    """The value of the head grid.

    patterns: attention weights in 0..1, [layer head query key], or an iterable of layers [head query key] (so that 48
        layers at 1,024 tokens never have to be in memory at once). tokens: the shown tokens, one per query.
    tiles: which heads, in which order; None shows the whole layer x head matrix.
    scores, roles: (label, number) and (label, category 1..6) of a head. off: heads that an edit switched off.
    changed: the largest change of one weight by the edits, for the heads to mark.
    hide_first: leaves the first token's column out and lets the colours end at the largest weight that remains.
    pooled_by: the patterns are already reduced, by blocks of so many cells (`pool_patterns`), and hide_first was heeded.
    ends_at: an earlier end of the colours, for faint stripes; what is more is painted like it, and read as "at least".
    largest: where the colours end; more than 1 for pictures of something else than weights (lengths of vectors).
    Raises ValueError when shapes, weights or heads do not fit together.
    """
    if max_pixels < 1:
        raise ValueError(f"got max_pixels={max_pixels}; a thumbnail needs at least 1 pixel.")
    block = -(-len(tokens) // max_pixels) if pooled_by is None else pooled_by
    if pooled_by is None:
        pooled = _pooled(patterns, len(tokens), block, hide_first, largest)
    else:
        pooled = _pooled(patterns, -(-len(tokens) // block), 1, False, largest)
    shown = list(tiles) if tiles is not None else list(np.ndindex(pooled.shape[:2]))
    _check_heads([*shown, *([selected] if selected is not None else [])], pooled.shape[:2])
    scale = (float(pooled.max(initial=0)) or 1.0) if hide_first else float(largest)
    scale = scale if ends_at is None else min(scale, float(ends_at))
    columns = pooled.shape[1] if tiles is None else max(1, int(np.ceil(np.sqrt(len(shown)))))
    png = grey_png(_sheet(pooled, shown, columns, scale))
    scores, roles, changed = scores or {}, roles or {}, changed or {}
    value = {
        "picture": content_id({"png": png, "scale": scale}),
        "png": png,
        "pixels": pooled.shape[-1],
        "columns": columns,
        "scale": scale,
        "clipped": bool(pooled.max(initial=0) > scale * (1 + 1e-4)),
        "block": block,
        "matrix": tiles is None,
        "hide_first": hide_first,
        "tokens": list(tokens),
        "tiles": [_tile(key, scores.get(key), roles.get(key), key in off, changed.get(key)) for key in shown],
        "selected": list(map(int, selected)) if selected is not None else None,
        "text": chosen_text(text, TEXT_KEYS),
    }
    return with_id(value)


def head_grid(elem_id: str, **kwargs: Any) -> gr.HTML:
    """The component. Event `headselect` with {layer, head} on click, Enter and arrow keys. Its picture is its panel's to save."""
    return html_component("head_grid", elem_id, **kwargs)


def _pooled(patterns: Iterable[np.ndarray], positions: int, block: int, hide_first: bool, largest: float) -> np.ndarray:
    layers = []
    for layer in patterns:
        weights = np.asarray(layer, np.float32)
        if weights.ndim != 3 or weights.shape[1:] != (positions, positions):
            raise ValueError(
                f"layer {len(layers)} came as {weights.shape} for {positions} rows; "
                "give [head query key] per layer, one row per token (or per block of tokens)."
            )
        if not (weights.min(initial=0) >= 0 and weights.max(initial=0) <= largest * (1 + 1e-4)):
            raise ValueError(
                f"layer {len(layers)} has weights outside 0..{largest:g}; give attention weights after the softmax, or say "
                "what the largest number is."
            )
        layers.append(pool_patterns(weights, block, hide_first=hide_first))
    if not layers or not positions:
        raise ValueError("got no attention patterns; give at least one layer and one token.")
    return np.stack(layers)


def _check_heads(heads: Sequence[Head], shape: tuple[int, ...]) -> None:
    for layer, head in heads:
        if not (0 <= layer < shape[0] and 0 <= head < shape[1]):
            last = f"L{shape[0] - 1}H{shape[1] - 1}"
            raise ValueError(f"got head L{layer}H{head}; the patterns have heads L0H0 to {last}, choose among these.")


def _sheet(pooled: np.ndarray, shown: Sequence[Head], columns: int, scale: float) -> np.ndarray:
    """The tiles side by side as one uint8 picture, `columns` tiles per row."""
    pixels = pooled.shape[-1]
    rows = max(1, -(-len(shown) // columns))
    sheet = np.zeros((rows * pixels, columns * pixels), np.uint8)
    for index, (layer, head) in enumerate(shown):
        y, x = (index // columns) * pixels, (index % columns) * pixels
        sheet[y : y + pixels, x : x + pixels] = np.clip(np.round(pooled[layer, head] / scale * 255), 0, 255)
    return sheet


def _tile(
    key: Head, score: tuple[str, float] | None, role: tuple[str, int] | None, off: bool, changed: float | None
) -> dict[str, Any]:
    return {
        "layer": int(key[0]),
        "head": int(key[1]),
        "score": [score[0], float(score[1])] if score else None,
        "role": [role[0], int(role[1])] if role else None,
        "off": off,
        "changed": None if changed is None else float(changed),
    }
