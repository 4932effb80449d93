"""The effect of an edit by its value: what becomes of chosen tokens, and from where on the model no longer knows its language."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, axis, check_lengths, picture, plain, titled


def effect_by_value(
    values: Sequence[float],
    tokens: Sequence[str],
    probability: np.ndarray,
    surprisal: np.ndarray,
    labels: Labels,
    *,
    chosen: float,
    base_surprisal: float,
    control: tuple[np.ndarray, np.ndarray] | None = None,
) -> Picture:
    """Two stacked charts over the values: probability of tokens above, loss on the prompt (bits per token) below.

    probability: [value token]; surprisal: [value]; control: the same pair along a random direction, drawn dotted. chosen: the value in force.
    labels: value, probability, surprisal, control, unedited, chosen, description ({tokens}, {low}, {high}).
    Raises ValueError when the shapes do not belong together.
    """
    check_lengths(values=values, surprisal=surprisal, probability=probability)
    if np.shape(probability) != (len(values), len(tokens)):
        raise ValueError(f"The array probability has shape {np.shape(probability)}; expected values by tokens.")
    x, traces = [float(v) for v in values], []
    for i, token in enumerate(tokens):
        colour = palette.CATEGORIES[i % len(palette.CATEGORIES)]
        if control is not None:
            traces.append(_line(x, control[0][:, i], f"{token} ({labels['control']})", colour, "y", ghost=True))
        traces.append(_line(x, probability[:, i], token, colour, "y"))
    if control is not None:
        traces.append(_line(x, control[1], labels["control"], palette.NEUTRAL, "y2", ghost=True, legend=True))
    traces.append(_line(x, surprisal, labels["surprisal"], palette.NEUTRAL, "y2"))
    known = np.concatenate([np.ravel(surprisal), [base_surprisal], *([] if control is None else [np.ravel(control[1])])])
    highest = float(np.nanmax(probability, initial=0.0 if control is None else float(np.nanmax(control[0], initial=0.0))))
    loss = known[np.isfinite(known)]
    return picture(
        "steering-by-value",
        traces,
        labels["description"].format(tokens=", ".join(tokens), low=f"{min(x):g}", high=f"{max(x):g}"),
        430,
        xaxis=axis(anchor="y", showticklabels=False, matches="x2", zeroline=False),
        xaxis2=titled(labels["value"], anchor="y2", zeroline=False, range=[min(x), max(x)]),
        yaxis=titled(labels["probability"], domain=[0.46, 1], tickformat=".2~%", rangemode="tozero", range=[0, 1.08 * max(highest, 0.01)]),
        yaxis2=titled(labels["surprisal"], domain=[0, 0.38], range=[0, 1.08 * max(loss, default=1.0)]),
        shapes=[_vertical(chosen, "y domain"), _vertical(chosen, "y2 domain"), _level(base_surprisal, x)],
        annotations=[_note(chosen, labels["chosen"])],
        showlegend=True,
    )  # fmt: skip


def _line(x: list[float], y: np.ndarray, name: str, colour: str, at: str, ghost: bool = False, legend: bool | None = None):
    shown = (not ghost and at == "y") if legend is None else legend
    return go.Scatter(
        x=x,
        y=[float(v) for v in y],
        yaxis=at,
        xaxis="x" if at == "y" else "x2",
        name=plain(name),
        showlegend=shown,
        mode="lines" if ghost else "lines+markers",
        line={"color": colour, "width": 1.5 if ghost else 2, "dash": "dot" if ghost else "solid"},
        marker={"color": colour, "size": 5},
        hovertemplate=f"<b>{plain(name)}</b><br>%{{x:g}}: " + ("%{y:.3~%}" if at == "y" else "%{y:.2f}") + "<extra></extra>",
    )


def _vertical(x: float, yref: str) -> dict:
    xref = "x" if yref.startswith("y ") else "x2"
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "xref": xref, "yref": yref, "line": {"color": palette.ACCENT, "width": 1, "dash": "dash"}}  # fmt: skip


def _level(y: float, x: list[float]) -> dict:
    visible = bool(np.isfinite(y))
    return {"type": "line", "x0": min(x), "x1": max(x), "y0": y if visible else 0, "y1": y if visible else 0, "xref": "x2", "yref": "y2", "visible": visible, "line": {"color": palette.NEUTRAL, "width": 1, "dash": "dash"}}  # fmt: skip


def _note(x: float, text: str) -> dict:
    return {"x": x, "y": 1, "xref": "x", "yref": "y domain", "text": plain(text), "showarrow": False, "xanchor": "left", "yanchor": "top", "xshift": 4, "font": {"size": 11, "color": palette.ACCENT}}  # fmt: skip
