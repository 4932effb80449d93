"""How surprising each token was, along the text."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, check_lengths, picture, plain, positions, titled, token_axis

HEIGHT = 360


def surprisal_line(
    strings: Sequence[str],
    surprisal_bits: Sequence[float],
    labels: Labels,
    before: Sequence[float] | None = None,
    entropy: Sequence[float] | None = None,
    selected: int | None = None,
) -> Picture:
    """Surprisal -log2 p(token | text before it) in bits, one point per token, NaN where it has none (the first token).

    strings: tokens as shown; before: surprisal without the edits in force; entropy: of the model's prediction at that
    place, in bits (high entropy: many continuations were open); selected: a position to mark.
    labels: token, axis, surprisal, before, entropy, probability, description ({n}, {mean}, {token}, {highest}).
    Raises ValueError when the lengths differ.
    """
    check_lengths(strings=strings, surprisal_bits=surprisal_bits, before=before, entropy=entropy)
    bits = np.asarray(surprisal_bits, dtype=float)
    traces = [_line(strings, bits, labels["surprisal"], labels, palette.CATEGORIES[0], markers=True)]
    if before is not None:
        traces.insert(0, _line(strings, np.asarray(before, dtype=float), labels["before"], labels, palette.NEUTRAL, dash="dot"))
    if entropy is not None:
        values = np.asarray(entropy, dtype=float)
        traces.append(_line(strings, values, labels["entropy"], labels, palette.CATEGORIES[2], dash="dash", odds=False))
    shapes = [] if selected is None else [_mark(selected)]
    return picture(
        "surprisal",
        traces,
        _description(strings, bits, labels),
        HEIGHT,
        xaxis=token_axis(strings, labels["token"]),
        yaxis=titled(labels["axis"], rangemode="tozero"),
        shapes=shapes,
        showlegend=len(traces) > 1,
    )


def _line(
    strings: Sequence[str],
    values: np.ndarray,
    name: str,
    labels: Labels,
    colour: str,
    dash: str = "solid",
    markers: bool = False,
    odds: bool = True,
) -> go.Scatter:
    chance = f"<br>{plain(labels['probability'])} %{{customdata[1]:.3~%}}" if odds else ""
    return go.Scatter(
        x=positions(strings),
        y=values,
        name=plain(name),
        mode="lines+markers" if markers else "lines",
        line={"color": colour, "width": 2, "dash": dash},
        marker={"color": colour, "size": 6},
        customdata=[[plain(string), 2.0**-value, i] for i, (string, value) in enumerate(zip(strings, values))],
        hovertemplate=f"<b>%{{customdata[0]}}</b> (%{{customdata[2]}})<br>{plain(name)} %{{y:.2f}} bits{chance}<extra></extra>",
    )


def _mark(position: int) -> dict:
    # On a category axis a number is a place, not a name: 3 is the fourth token.
    band = {"type": "rect", "xref": "x", "yref": "paper", "x0": position - 0.5, "x1": position + 0.5, "y0": 0, "y1": 1}
    return {**band, "fillcolor": palette.ACCENT, "opacity": 0.14, "line": {"width": 0}, "layer": "below"}


def _description(strings: Sequence[str], bits: np.ndarray, labels: Labels) -> str:
    if np.all(np.isnan(bits)):
        return labels["description"].format(n=len(strings), mean="-", token="-", highest="-")
    highest = int(np.nanargmax(bits))
    return labels["description"].format(
        n=len(strings), mean=f"{np.nanmean(bits):.2f}", token=strings[highest], highest=f"{bits[highest]:.2f}"
    )
