"""Charts of the patching tab: previews against exact effects, and one number over a set of prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, axis, picture, plain, titled


@dataclass(frozen=True)
class Cloud:
    """Cells of one map: exact and guessed effects, and their names; missed: indices of those that the preview did not foresee."""

    name: str
    exact: np.ndarray
    guess: np.ndarray
    cells: Sequence[str]
    missed: Sequence[int] = ()


def exact_and_preview(clouds: Sequence[Cloud], labels: Labels, unit: str) -> Picture:
    """One point per cell: to the right what patching really does, upwards what the preview says; on the line they agree.

    labels: exact, preview, missed, agree, description ({n}, {missed}). Raises ValueError for lists of different lengths.
    """
    traces = []
    for i, cloud in enumerate(clouds):
        if not len(cloud.exact) == len(cloud.guess) == len(cloud.cells):
            raise ValueError(f"{cloud.name}: got {len(cloud.exact)} exact and {len(cloud.guess)} guessed effects; give pairs.")
        missed = set(cloud.missed)
        shown = [j for j in range(len(cloud.exact)) if j not in missed]
        traces.append(_points(cloud, shown, cloud.name, palette.CATEGORIES[2 * i], "circle"))
        if missed:
            name = f"{cloud.name}: {labels['missed']}"
            traces.append(_points(cloud, sorted(missed), name, palette.CATEGORIES[1], "x"))
    every = np.concatenate([np.concatenate([c.exact, c.guess]) for c in clouds])
    low, high = min(0.0, float(every.min())), max(0.0, float(every.max()))
    room = 0.06 * (high - low) or 1.0
    ends = [low - room, high + room]
    line = go.Scatter(x=ends, y=ends, mode="lines", line={"color": palette.NEUTRAL, "width": 1, "dash": "dot"}, name=plain(labels["agree"]), hoverinfo="skip")  # fmt: skip
    return picture(
        "exact-and-preview",
        [line, *traces],
        labels["description"].format(n=sum(len(c.exact) for c in clouds), missed=sum(len(c.missed) for c in clouds)),
        380,
        xaxis=titled(f"{labels['exact']} ({unit})", range=ends, zeroline=True, zerolinecolor=palette.NEUTRAL),
        yaxis=titled(f"{labels['preview']} ({unit})", range=ends, zeroline=True, zerolinecolor=palette.NEUTRAL),
        showlegend=True,
    )


def _points(cloud: Cloud, chosen: Sequence[int], name: str, colour: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=[float(cloud.exact[i]) for i in chosen],
        y=[float(cloud.guess[i]) for i in chosen],
        text=[plain(cloud.cells[i]) for i in chosen],
        mode="markers",
        name=plain(name),
        marker={"color": colour, "size": 8, "symbol": symbol, "opacity": 0.8},
        hovertemplate="%{text}<br>%{x:.3f} → %{y:.3f}<extra></extra>",
    )


def distribution(values: Sequence[float], mean: float, interval: tuple[float, float], labels: Labels, unit: str) -> Picture:
    """One number a prompt: each prompt a point, above them how many fall where, and the mean with its interval.

    labels: prompts, count, mean, interval, description ({n}, {mean}, {low}, {high}). Raises ValueError for no values.
    """
    points = np.asarray(values, float)
    if not points.size or not np.isfinite(points).all():
        raise ValueError(f"A distribution needs finite numbers, at least one; got {points.size}.")
    low, high = interval
    bars = go.Histogram(x=points, nbinsx=min(24, max(6, points.size // 2)), name=plain(labels["count"]), marker={"color": palette.CATEGORIES[0]}, opacity=0.55)  # fmt: skip
    dots = go.Scatter(x=points, y=[0.5] * points.size, yaxis="y2", mode="markers", name=plain(labels["prompts"]), marker={"color": palette.CATEGORIES[0], "size": 9, "symbol": "line-ns-open"}, hovertemplate="%{x:.3f}<extra></extra>")  # fmt: skip
    middle = go.Scatter(
        x=[mean],
        y=[0.5],
        yaxis="y2",
        mode="markers",
        name=f"{plain(labels['mean'])}, {plain(labels['interval'])}",
        marker={"color": palette.CATEGORIES[1], "size": 11, "symbol": "diamond"},
        error_x={"type": "data", "symmetric": False, "array": [high - mean], "arrayminus": [mean - low], "color": palette.CATEGORIES[1], "thickness": 2, "width": 8},
        hovertemplate="%{x:.3f}<extra></extra>",
    )  # fmt: skip
    return picture(
        "over-a-set",
        [bars, dots, middle],
        labels["description"].format(n=points.size, mean=f"{mean:.3g}", low=f"{low:.3g}", high=f"{high:.3g}"),
        320,
        xaxis=titled(unit, zeroline=True, zerolinecolor=palette.NEUTRAL),
        yaxis=titled(labels["count"], domain=[0.3, 1], rangemode="tozero"),
        yaxis2=axis(domain=[0, 0.2], range=[0, 1], showticklabels=False, showgrid=False, zeroline=False),
        bargap=0.05,
        showlegend=True,
    )
