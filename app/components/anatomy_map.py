"""The network drawn at its true size: every layer with all its heads, and the residual stream as a river as wide as its norm.

One layer is open and shows each of its points with its shape; the others are two rows each, heads above and MLP below, whose
heights are as their numbers of parameters (4 d^2 to 8 d^2). Bars beside the river have its scale: what each part adds.

Value (sealed; all keys always present): id; size {layers, heads, d_model, d_head, d_mlp, d_vocab, n_ctx}; parameters (by part) and total;
resid [2 layers + 1]; before (the same without edits) | null; embed [tokens, positions]; attn, mlp [layer][norm, cosine];
heads [layer][head]; bins [layer][bin]; ends [norm after the last LayerNorm]; top [[token, probability]]; token, position, count;
off [[layer, head]]; edited [hook names]; selected {point, layer, head}; text.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gradio as gr
import numpy as np

from app.components.base import chosen_text, html_component
from app.components.sealed import sealed

TEXT_KEYS = (
    "map_label", "parameters", "of_all", "layer", "attention", "mlp", "embed", "pos_embed", "resid_pre", "ln1", "q", "k", "v",
    "attn_scores", "pattern", "z", "result", "attn_out", "resid_mid", "ln2", "pre", "post", "mlp_out", "resid_post", "ln_final",
    "logits", "norm", "along", "river", "before", "cosine", "heads_scale", "open_layer", "off", "stream", "neurons", "token", "unembed",
)  # fmt: skip


def anatomy_map_value(
    size: Mapping[str, int],
    parameters: Mapping[str, int],
    *,
    resid: np.ndarray,
    embed: Sequence[float],
    attn: np.ndarray,
    mlp: np.ndarray,
    heads: np.ndarray,
    bins: np.ndarray,
    final: float,
    top: Iterable[tuple[str, float]],
    token: str,
    position: int,
    count: int,
    selected: tuple[str, int, int],
    text: Mapping[str, str],
    before: np.ndarray | None = None,
    off: Iterable[tuple[int, int]] = (),
    edited: Iterable[str] = (),
) -> dict[str, Any]:
    """The value of the map. See the module for the axes. Raises ValueError where shapes do not fit the size."""
    layers, n_heads = size["layers"], size["heads"]
    wanted = {"resid": (2 * layers + 1,), "attn": (layers, 2), "mlp": (layers, 2), "heads": (layers, n_heads)}
    came = {"resid": np.shape(resid), "attn": np.shape(attn), "mlp": np.shape(mlp), "heads": np.shape(heads)}
    for name, shape in wanted.items():
        if came[name] != shape:
            raise ValueError(f"{name} came as {came[name]}; {layers} layers of {n_heads} heads need {shape}.")
    return sealed(
        {
            "size": {k: int(v) for k, v in size.items()},
            "parameters": {k: int(v) for k, v in parameters.items()},
            "resid": _short(resid),
            "before": None if before is None else _short(before),
            "embed": _short(embed),
            "attn": _short(attn),
            "mlp": _short(mlp),
            "heads": _short(heads),
            "bins": _short(bins),
            "final": float(f"{final:.4g}"),
            "top": [[str(name), float(f"{p:.4g}")] for name, p in top],
            "token": token,
            "position": int(position),
            "count": int(count),
            "off": sorted([int(la), int(h)] for la, h in off),
            "edited": sorted(edited),
            "selected": {"point": selected[0], "layer": int(selected[1]), "head": int(selected[2])},
            "text": chosen_text(dict(text), TEXT_KEYS),
        }
    )


def anatomy_map(elem_id: str, **kwargs: Any) -> gr.HTML:
    """The component. Event `pointselect` {point, layer, head} by click, Enter and arrow keys; head is null outside heads."""
    return html_component("anatomy_map", elem_id, **kwargs)


def _short(values: Any) -> list:
    """Four significant digits: what is drawn, and a third of the bytes."""
    array = np.asarray(values, float)
    return [_short(row) if np.ndim(row) else float(f"{row:.4g}") for row in array]
