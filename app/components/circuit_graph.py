"""A circuit as a graph: what is kept of the network, by layer, with a threshold that is dragged in the browser, and its curve.

Value (sealed; all keys always present): id; layers, heads, level; nodes [[kind, layer, head, effect | null, state]], state one of "open"
(not tried yet), "kept", "out"; edges [[sender, receiver, port, effect]] (numbers of nodes; the receiver -1 is the output), only those kept;
tau, cut; done, total (tried so far), finished; curve [[threshold, size, kl, share]]; here: the same at the cut | null;
selected [layer, head]; off [[layer, head]]; question, frame: a picture of a running search (frame) of another question than the one asked last is not
shown; text.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gradio as gr

from app.components.base import chosen_text, html_component
from app.components.sealed import sealed

TEXT_KEYS = (
    "label", "embed", "logits", "mlp", "threshold", "size_nodes", "size_edges", "tried", "kept", "out", "open", "effect", "port_q",
    "port_k", "port_v", "port_", "exact", "moved", "kl", "share", "curve", "curve_size", "curve_share", "curve_kl", "nodes_only", "scale",
    "none", "off", "keys",
)  # fmt: skip
STATES = ("open", "kept", "out")


def circuit_graph_value(
    shape: tuple[int, int],
    level: str,
    nodes: Sequence[tuple[str, int, int | None, float | None, str]],
    edges: Iterable[tuple[int, int, str, float]],
    *,
    tau: float,
    cut: float,
    done: int,
    total: int,
    finished: bool,
    curve: Iterable[Sequence[float]],
    here: Sequence[float] | None,
    selected: tuple[int, int],
    text: Mapping[str, str],
    question: str = "",
    frame: bool = False,
    off: Iterable[tuple[int, int]] = (),
) -> dict[str, Any]:
    """The value. Raises ValueError for an edge between nodes that are not there, or an unknown state."""
    edges = [[int(a), int(b), port, _short(e)] for a, b, port, e in edges]
    for a, b, *_ in edges:
        if not (0 <= a < len(nodes) and -1 <= b < len(nodes)):
            raise ValueError(f"An edge goes from node {a} to {b}; there are {len(nodes)} nodes and the output, -1.")
    if wrong := [n[4] for n in nodes if n[4] not in STATES]:
        raise ValueError(f"A node's state is one of {', '.join(STATES)}; got {wrong[0]!r}.")
    return sealed(
        {
            "layers": shape[0],
            "heads": shape[1],
            "level": level,
            "nodes": [[kind, la, h, None if e is None else _short(e), state] for kind, la, h, e, state in nodes],
            "edges": edges,
            "tau": float(tau),
            "cut": float(cut),
            "done": done,
            "total": total,
            "finished": finished,
            "curve": [_point(p) for p in curve],
            "here": None if here is None else _point(here),
            "selected": list(selected),
            "off": sorted([int(la), int(h)] for la, h in off),
            "question": question,
            "frame": frame,
            "text": chosen_text(dict(text), TEXT_KEYS),
        }
    )


def circuit_graph(elem_id: str, **kwargs: Any) -> gr.HTML:
    """The component. Events `nodeselect` {layer, head} (head null for an MLP) and `cutselect` {threshold} when dragging ends."""
    return html_component("circuit_graph", elem_id, **kwargs)


def _short(x: float) -> float:
    return float(f"{x:.5g}")


def _point(p: Sequence[float]) -> list:
    """NaN, where the metric does not tell model and corrupted run apart, becomes null."""
    threshold, size, kl, share = p
    return [_short(threshold), int(size), _short(kl), None if share != share else _short(share)]
