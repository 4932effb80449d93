"""Values of the components that show heads and layers, for their tests."""

import base64
import io

import numpy as np
from PIL import Image

from app.components import head_grid, head_view, lens_table
from app.components.head_grid import head_grid_value
from app.components.head_view import head_view_value
from app.components.lens_table import lens_table_value

MODULES = (head_grid, head_view, lens_table)
TEXT = {key: f"<{key}>" for module in MODULES for key in module.TEXT_KEYS} | {
    "hover": "from {query} to {key}: {value}",
    "hover_pooled": "{value} of {count}, queries {query_from}-{query_to}, keys {key_from}-{key_to}",
    "hover_difference": "{value} ({before} to {after})",
    "tile_label": "layer {layer} head {head}",
    "changed": "changed {value}",
    "hover_before": "was {before}",
    "threshold": "{count} of {total} from {value}",
    "position": "position {position}",
    "cell": "{layer} {position} {top} {p}",
}
MARKUP = "<img src=x onerror=window.hacked=1>"


def patterns(layers, heads, positions, seed=0):
    """Causal softmax of noise, [layer head query key]."""
    scores = np.random.default_rng(seed).normal(size=(layers, heads, positions, positions)).astype(np.float32) * 2
    scores[..., ~np.tril(np.ones((positions, positions), bool))] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def tokens(count):
    return [MARKUP, *(f"·w{i}" for i in range(1, count))]


def grid(weights, **kw):
    return head_grid_value(weights, tokens=tokens(weights[0].shape[-1]), text=TEXT, **kw)


def view(pattern, before=None, **kw):
    return head_view_value(pattern, before, tokens=tokens(len(pattern)), layer=2, head=1, text=TEXT, **kw)


def lens(rows, positions, **kw):
    p = np.random.default_rng(1).random((rows, positions)).astype(np.float32)
    words = [[f"·t{(3 * i + j) % 7}" for j in range(positions)] for i in range(rows)]
    return lens_table_value([f"L{i}" for i in range(rows)], tokens(positions), words, p, text=TEXT, **kw), words, p


def pixels(value):
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(value["png"]))))
    assert image.dtype == np.uint8 and image.ndim == 2
    return image
