"""A value as a sum: one bar per part, above zero for it and below against it."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, check_lengths, picture, plain, positions, titled, token_axis


def contribution_bars(
    names: Sequence[str], values: np.ndarray, labels: Labels, *, before: np.ndarray | None = None, tokens: bool = False
) -> Picture:
    """Bars of signed contributions in the order given, with an outline where each stood before the edits in force.

    names: one per bar; tokens: they are a prompt's, in its order. labels: part, token, unit, now, before, description ({name}, {value},
    {n}). Raises ValueError when the lengths differ.
    """
    check_lengths(names=names, values=values, before=before)
    values = np.asarray(values, float)
    x = positions(names)
    hover = "<b>%{customdata[0]}</b><br>" + plain(labels["now"]) + " %{y:+.3f}<extra></extra>"
    colours = [palette.POSITIVE[2] if value >= 0 else palette.NEGATIVE[1] for value in values]
    shared = {"x": x, "customdata": [[plain(name)] for name in names]}
    traces = [go.Bar(**shared, y=values, name=plain(labels["now"]), marker={"color": colours}, hovertemplate=hover)]
    if before is not None:
        outline = {"color": "rgba(0, 0, 0, 0)", "line": {"color": palette.NEUTRAL, "width": 1.5}}
        hover = hover.replace(plain(labels["now"]), plain(labels["before"]))
        traces.append(
            go.Bar(**shared, y=np.asarray(before, float), name=plain(labels["before"]), marker=outline, hovertemplate=hover)
        )
    top = int(np.abs(values).argmax())
    return picture(
        f"contributions-{'tokens' if tokens else 'parts'}",
        traces,
        labels["description"].format(name=names[top], value=f"{values[top]:+.2f}", n=len(names)),
        330,
        xaxis=token_axis(names, labels["token" if tokens else "part"]),
        yaxis=titled(labels["unit"], zeroline=True, zerolinecolor=palette.NEUTRAL),
        barmode="overlay",
        bargap=0.25,
        showlegend=before is not None,
    )
