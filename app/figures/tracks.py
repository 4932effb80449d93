"""A token followed through the layers: how likely, and how far up the list, the model would already put it."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, axis, check_lengths, few_ticks, log_ticks, picture, plain, titled


def rank_or_probability_by_layer(
    layers: Sequence[str],
    tokens: Sequence[str],
    probability: np.ndarray,
    rank: np.ndarray,
    labels: Labels,
    before: tuple[np.ndarray, np.ndarray] | None = None,
) -> Picture:
    """Two stacked charts over the layers: probability (0 to 1) above, rank (1 is the top of the list, logarithmic) below.

    probability, rank: [token layer] of the tracked tokens under the lens, rank counted from 1; before: the same pair
    without the edits in force. labels: layer, probability, rank, before, description ({token}, {first}, {last}).
    Raises ValueError when the shapes do not belong together, or for a rank below 1.
    """
    check_lengths(layers=layers)
    check_lengths(tokens=tokens)
    pairs = [(np.asarray(probability, float), np.asarray(rank, float))]
    if before is not None:
        pairs.append((np.asarray(before[0], float), np.asarray(before[1], float)))
    for pair in pairs:
        _check_shapes(pair, (len(tokens), len(layers)))
    traces = []
    for i, token in enumerate(tokens):
        colour = palette.CATEGORIES[i % len(palette.CATEGORIES)]
        for j, (chances, ranks) in reversed(list(enumerate(pairs))):
            name = token if j == 0 else f"{token} ({labels['before']})"
            traces += _track(layers, chances[i], ranks[i], name, colour, ghost=j > 0)
    top_rank = max(2.0, *(float(np.nanmax(ranks)) for _, ranks in pairs)) * 1.4
    likely = f"{pairs[0][0][0, 0]:.3g}", f"{pairs[0][0][0, -1]:.3g}"
    return picture(
        "token-by-layer",
        traces,
        labels["description"].format(token=tokens[0], first=likely[0], last=likely[1]),
        420,
        xaxis=axis(type="category", anchor="y", showticklabels=False, matches="x2", showgrid=False),
        xaxis2=titled(labels["layer"], type="category", anchor="y2", showgrid=False, **few_ticks(layers)),
        yaxis=titled(labels["probability"], domain=[0.56, 1], range=[-0.03, 1.03], tickformat=".0%"),
        yaxis2=titled(
            labels["rank"],
            domain=[0, 0.46],
            type="log",
            range=[float(np.log10(top_rank)), -0.12],
            tickvals=_rank_ticks(top_rank),
            ticktext=[f"{tick:,.0f}" for tick in _rank_ticks(top_rank)],
        ),
        showlegend=True,
    )


def _rank_ticks(top: float) -> list[float]:
    ticks = log_ticks(1, top)
    return ticks if len(ticks) <= 5 else [tick for tick in ticks if f"{tick:.0e}".startswith("1")]


def _check_shapes(pair: tuple[np.ndarray, np.ndarray], expected: tuple[int, int]) -> None:
    for name, values in zip(("probability", "rank"), pair):
        if values.shape != expected:
            raise ValueError(f"The array {name} has shape {values.shape}; expected tokens by layers, {expected}.")
    if np.nanmin(pair[1]) < 1:
        raise ValueError(f"A rank is {np.nanmin(pair[1]):g}; ranks are counted from 1, the likeliest token.")


def _track(
    layers: Sequence[str], chances: np.ndarray, ranks: np.ndarray, name: str, colour: str, ghost: bool
) -> list[go.Scatter]:
    shared = {
        "x": list(layers),
        "name": plain(name),
        "legendgroup": plain(name),
        "mode": "lines" if ghost else "lines+markers",
        "line": {"color": colour, "width": 1.5 if ghost else 2, "dash": "dot" if ghost else "solid"},
        "marker": {"color": colour, "size": 6},
    }
    hover = f"<b>{plain(name)}</b> %{{x}}<br>"
    return [
        go.Scatter(**shared, y=chances, yaxis="y", xaxis="x", hovertemplate=hover + "%{y:.3~%}<extra></extra>"),
        go.Scatter(
            **shared, y=ranks, yaxis="y2", xaxis="x2", showlegend=False, hovertemplate=hover + "#%{y:,.0f}<extra></extra>"
        ),
    ]
