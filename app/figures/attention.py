"""Charts of the attention tab: what surgery does, which heads make up for it, and what a score or a path is made of."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, axis, check_lengths, picture, plain, positions, titled, token_axis

GAINED, LOST = palette.POSITIVE[2], palette.NEGATIVE[1]
SHORT = 28  # characters of a bar's name


def movers_bars(tokens: Sequence[str], before: np.ndarray, after: np.ndarray, labels: Labels) -> Picture:
    """Probabilities of tokens after a change, with what they were before as an outline; blue gained, orange lost.

    before, after: [token]. labels: probability, before, after, description ({token}, {before}, {after}).
    Raises ValueError for arrays of other lengths.
    """
    check_lengths(tokens=tokens, before=before, after=after)
    before, after = np.asarray(before, float), np.asarray(after, float)
    names = _distinct(tokens)
    shared = {
        "y": names,
        "orientation": "h",
        "customdata": np.stack([before, after], 1),
        "hovertemplate": f"<b>%{{y}}</b><br>{plain(labels['before'])} %{{customdata[0]:.3%}}<br>"
        f"{plain(labels['after'])} %{{customdata[1]:.3%}}<extra></extra>",
    }
    outline = {"color": "rgba(0, 0, 0, 0)", "line": {"color": palette.NEUTRAL, "width": 1.5}}
    filled = {"color": [GAINED if b >= a else LOST for a, b in zip(before, after)]}
    numbers = [f"{_percent(a)} → {_percent(b)}" for a, b in zip(before, after)]
    top = float(max(before.max(), after.max(), 1e-6))
    traces = [
        go.Bar(**shared, x=after, name=plain(labels["after"]), marker=filled, showlegend=True),
        go.Bar(**shared, x=before, name=plain(labels["before"]), marker=outline, text=numbers, textposition="none"),
        go.Scatter(
            x=np.maximum(before, after), y=names, mode="text", text=[f" {n}" for n in numbers], textposition="middle right",
            hoverinfo="skip", showlegend=False, cliponaxis=False,
        ),
    ]  # fmt: skip
    return picture(
        "attention-surgery",
        traces,
        labels["description"].format(token=tokens[0], before=f"{before[0]:.1%}", after=f"{after[0]:.1%}"),
        26 * len(names) + 84,
        xaxis=titled(labels["probability"], range=[0, top * 1.45], tickformat=".2~%", nticks=5),
        yaxis=_names(),
        barmode="overlay",
        bargap=0.28,
        showlegend=True,
    )


def signed_bars(name: str, names: Sequence[str], values: Sequence[float], labels: Labels) -> Picture:
    """A bar per name to either side of zero, in the order given.

    values: [name]. labels: axis, description ({name}, {value}, {n}). Raises ValueError for other lengths.
    """
    check_lengths(names=names, values=values)
    values = np.asarray(values, float)
    top = float(np.abs(values).max()) or 1.0
    traces = [
        go.Bar(
            x=values,
            y=_distinct(names),
            orientation="h",
            marker={"color": [GAINED if v >= 0 else LOST for v in values]},
            text=[f"{v:+.3f}".replace("-", "−") for v in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="<b>%{y}</b><br>%{x:+.4f}<extra></extra>",
        )
    ]
    most = int(np.abs(values).argmax())
    return picture(
        name,
        traces,
        labels["description"].format(name=names[most], value=f"{values[most]:+.3f}", n=len(values)),
        24 * len(values) + 84,
        xaxis=titled(labels["axis"], range=[-1.35 * top, 1.35 * top], zeroline=True, nticks=5),
        yaxis=_names(),
        bargap=0.28,
        showlegend=False,
    )


def dimension_bars(values: np.ndarray, labels: Labels) -> Picture:
    """A score by the head's dimensions: one upright bar each. labels: dimension, axis, description ({name}, {value}, {n})."""
    check_lengths(values=values)
    values = np.asarray(values, float)
    most = int(np.abs(values).argmax())
    bars = go.Bar(
        x=np.arange(len(values)),
        y=values,
        marker={"color": [GAINED if v >= 0 else LOST for v in values]},
        hovertemplate=f"{plain(labels['dimension'])} %{{x}}<br>%{{y:+.4f}}<extra></extra>",
    )
    return picture(
        "score-dimensions",
        [bars],
        labels["description"].format(name=most, value=f"{values[most]:+.3f}", n=len(values)),
        300,
        xaxis=titled(labels["dimension"], showgrid=False, range=[-0.7, len(values) - 0.3]),
        yaxis=titled(labels["axis"], zeroline=True),
        bargap=0.15,
        showlegend=False,
    )


def paths_bars(
    tokens: Sequence[str], shares: np.ndarray, even: np.ndarray, labels: Labels, before: np.ndarray | None = None
) -> Picture:
    """Shares of a position's paths by token, beside those of evenly spread attention (a line) and without the edits (outline).

    shares, even, before: [token]. labels: token, share, now, even, before, description ({token}, {value}).
    Raises ValueError for arrays of other lengths.
    """
    check_lengths(tokens=tokens, shares=shares, even=even, before=before)
    x, hover = positions(tokens), [f"{i} {plain(token)}" for i, token in enumerate(tokens)]
    template = "<b>%{customdata}</b><br>%{y:.3f}<extra>%{fullData.name}</extra>"
    shared = {"x": x, "customdata": hover, "hovertemplate": template}
    traces = [go.Bar(**shared, y=shares, name=plain(labels["now"]), marker={"color": palette.CATEGORIES[0]})]
    if before is not None:
        outline = {"color": "rgba(0, 0, 0, 0)", "line": {"color": palette.NEUTRAL, "width": 1.5}}
        traces.append(go.Bar(**shared, y=before, name=plain(labels["before"]), marker=outline))
    line = {"color": palette.CATEGORIES[1], "width": 1.5, "shape": "hvh"}
    traces.append(go.Scatter(**shared, y=even, name=plain(labels["even"]), mode="lines+markers", line=line, marker={"size": 5}))
    most = int(np.argmax(shares))
    return picture(
        "attention-paths",
        traces,
        labels["description"].format(token=tokens[most], value=f"{shares[most]:.2f}"),
        340,
        xaxis=token_axis(tokens, labels["token"]),
        yaxis=titled(labels["share"], rangemode="tozero"),
        barmode="overlay",
        bargap=0.2,
        showlegend=True,
    )


def _percent(p: float) -> str:
    return f"{p:.1%}" if p >= 0.01 else f"{p:.2%}"


def _names() -> dict:
    return axis(type="category", autorange="reversed", showgrid=False, tickmode="linear")


def _distinct(names: Sequence[str]) -> list[str]:
    """Names that fit an axis; equal ones are kept apart with marks that are not seen."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        short = plain(name if len(name) <= SHORT else name[: SHORT - 1] + "…")
        seen[short] = seen.get(short, 0) + 1
        out.append(short + "\u200b" * (seen[short] - 1))
    return out
