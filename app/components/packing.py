"""Numbers on their way to the browser: grey pictures and packed arrays.

A component's value is a JSON dict that travels uncompressed, so large arrays are packed here: 8-bit tensors as a grey PNG,
everything else as deflated bytes in base64 (the browser unpacks them with `DecompressionStream`). Their twin in the browser is assets/js/pixels.js.
"""

import base64
import io
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image


def grey_png(values: np.ndarray) -> str:
    """A uint8 matrix [row column] as a grey PNG in base64; the browser reads the same bytes back from the picture."""
    if values.ndim != 2 or values.dtype != np.uint8:
        raise ValueError(f"got {values.dtype} {values.shape}; a grey picture needs a uint8 matrix [row column].")
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=6)
    return base64.b64encode(buffer.getvalue()).decode()


def pack(values: np.ndarray) -> dict[str, Any]:
    """An array as {"dtype", "shape", "data"}: little-endian bytes, deflated, base64."""
    name = values.dtype.name
    if name not in ("float32", "uint16", "uint32"):
        raise ValueError(f"got an array of {name}; pack float32, uint16 or uint32, which the browser can read.")
    data = zlib.compress(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes(), 6)
    return {"dtype": name, "shape": list(values.shape), "data": base64.b64encode(data).decode()}


def unpack(packed: Mapping[str, Any]) -> np.ndarray:
    """The array that `pack` was given."""
    raw = zlib.decompress(base64.b64decode(packed["data"]))
    return np.frombuffer(raw, np.dtype(packed["dtype"]).newbyteorder("<")).reshape(packed["shape"])
