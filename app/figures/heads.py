"""Which heads score highest: bars of one head score, the largest first."""

import numpy as np
import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, axis, picture, plain, titled


def head_scores_bars(
    scores: np.ndarray, labels: Labels, top: int = 16, before: np.ndarray | None = None, role: int = 0, unit: float | None = 1.0
) -> Picture:
    """The `top` heads by score, each as a bar named L9H9, with an outline where it stood before the edits in force.

    scores, before: [layer head]; role: which of the six categorical colours; unit: the right end of the axis (scores are
    shares of attention between 0 and 1), None to fit the data. labels: score, before, now, description ({head}, {value}, {n}).
    Raises ValueError when scores is not [layer head], or before has another shape.
    """
    values = np.asarray(scores, dtype=float)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"Head scores must be an array [layer head], got shape {values.shape}.")
    if before is not None and np.shape(before) != values.shape:
        raise ValueError(f"The scores before have shape {np.shape(before)}, the scores now {values.shape}; they must be equal.")
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), axis=None, kind="stable")[:top]
    layers, heads = np.unravel_index(order, values.shape)
    names = [f"L{layer}H{head}" for layer, head in zip(layers, heads)]
    shown = values[layers, heads]
    colour = palette.CATEGORIES[role % len(palette.CATEGORIES)]
    hover = f"<b>%{{y}}</b><br>{plain(labels['now'])} %{{customdata[0]:.3f}}"
    past = None if before is None else np.asarray(before, dtype=float)[layers, heads]
    if past is not None:
        hover += f"<br>{plain(labels['before'])} %{{customdata[1]:.3f}}"
    shared = {
        "y": names,
        "orientation": "h",
        "cliponaxis": False,
        "customdata": np.stack([shown, shown if past is None else past], axis=1),
        "hovertemplate": hover + "<extra></extra>",
    }
    numbers = [f"{value:.2f}" for value in shown]
    traces = [
        go.Bar(**shared, x=shown, name=plain(labels["now"]), marker={"color": colour}, text=numbers, textposition="outside")
    ]
    if past is not None:
        outline = {"color": "rgba(0, 0, 0, 0)", "line": {"color": palette.NEUTRAL, "width": 1.5}}
        traces.append(go.Bar(**shared, x=past, name=plain(labels["before"]), marker=outline))
    return picture(
        "head-scores",
        traces,
        labels["description"].format(head=names[0], value=f"{shown[0]:.2f}", n=values.size),
        24 * len(names) + 84,
        xaxis=titled(labels["score"], **({} if unit is None else {"range": [0, unit * 1.08]})),
        yaxis=axis(type="category", autorange="reversed", showgrid=False, tickmode="linear"),
        barmode="overlay",
        bargap=0.28,
        showlegend=before is not None,
    )
