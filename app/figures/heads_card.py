"""Charts of one head and of a search: the eigenvalues of what a head copies, and a metric as heads are taken away."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, axis, picture, plain, titled


def eigenvalue_plane(values: np.ndarray, score: float, labels: Labels) -> Picture:
    """Eigenvalues as points of the complex plane; those to the right of zero copy, those to the left suppress.

    values: complex [d_head]; score: between -1 and 1, for the description. labels: real, imaginary, point, description ({score}).
    Raises ValueError unless values is a non-empty list of finite numbers.
    """
    points = np.asarray(values)
    if points.ndim != 1 or not points.size or not np.isfinite(points).all():
        raise ValueError(f"Eigenvalues must be a list of finite numbers, got an array of shape {points.shape}.")
    x, y = points.real.astype(float), points.imag.astype(float)
    colour = np.where(x >= 0, palette.CATEGORIES[0], palette.CATEGORIES[1]).tolist()
    hover = f"{plain(labels['point'])} %{{x:.3g}} %{{y:+.3g}}i<extra></extra>"
    trace = go.Scatter(x=x, y=y, mode="markers", marker={"color": colour, "size": 8, "opacity": 0.8}, hovertemplate=hover)
    return picture(
        "eigenvalues",
        [trace],
        labels["description"].format(score=f"{score:.2f}"),
        300,
        xaxis=titled(labels["real"], range=_around_zero(x), zeroline=True, zerolinecolor=palette.NEUTRAL),
        yaxis=titled(labels["imaginary"], range=_around_zero(y), zeroline=True, zerolinecolor=palette.NEUTRAL),
        showlegend=False,
    )


def _around_zero(values: np.ndarray) -> list[float]:
    """The values with zero and a margin: each axis by itself, because real parts are often a hundred times the imaginary ones."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    margin = 0.08 * (high - low) or 1.0
    return [low - margin, high + margin]


def knock_out_curve(values: Sequence[float], heads: Sequence[str], labels: Labels, unit: str) -> Picture:
    """A metric with all heads, then with one gone, two gone, ... values: one more than heads, which names what goes each time.

    labels: gone, none, description ({first}, {last}, {n}). unit: the metric with its unit. Raises ValueError otherwise.
    """
    if len(values) != len(heads) + 1:
        raise ValueError(f"{len(heads)} heads taken away make {len(heads) + 1} values of the metric, got {len(values)}.")
    steps = [labels["none"], *(f"{i}. − {head}" for i, head in enumerate(heads, 1))]
    trace = go.Scatter(
        x=steps,
        y=[float(v) for v in values],
        mode="lines+markers",
        line={"color": palette.CATEGORIES[0], "width": 2},
        marker={"size": 7},
        hovertemplate="%{x}<br>%{y:.3f}<extra></extra>",
    )
    return picture(
        "knock-out-search",
        [trace],
        labels["description"].format(first=f"{values[0]:.3g}", last=f"{values[-1]:.3g}", n=len(heads)),
        300,
        xaxis=titled(labels["gone"], type="category", categoryorder="array", categoryarray=steps, showgrid=False),
        yaxis=axis(title={"text": plain(unit), "standoff": 6, "font": {"size": 13}}, zeroline=True),
        showlegend=False,
    )
