"""A list of measured numbers as bars, with what was published beside each as a diamond."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, check_lengths, picture, plain, titled

ROW = 30  # pixels per number


def measured_and_published(names: Sequence[str], measured: np.ndarray, published: np.ndarray | None, unit: str, labels: Labels) -> Picture:  # fmt: skip
    """Horizontal bars, the first name on top.

    measured: [name]; published: [name], NaN where nothing was, None for no expectation at all. unit: of the numbers. labels:
    measured, expected, description ({count}, {largest}, {value}). Raises ValueError when the lengths differ.
    """
    check_lengths(names=names, measured=measured, published=published)
    values = np.asarray(measured, float)
    places = [str(i) for i in range(len(names))]
    shown = [plain(name) for name in names]
    hover = "%{customdata}<br>%{x:.5g} " + plain(unit) + "<extra>%{fullData.name}</extra>"
    shared = {"y": places, "customdata": shown, "hovertemplate": hover}
    traces = [go.Bar(x=values, orientation="h", name=plain(labels["measured"]), marker={"color": palette.CATEGORIES[0]}, width=0.55, **shared)]  # fmt: skip
    if published is not None:
        mark = {"symbol": "diamond-open", "size": 11, "color": palette.CATEGORIES[1], "line": {"width": 2}}
        traces.append(go.Scatter(x=np.asarray(published, float), mode="markers", name=plain(labels["expected"]), marker=mark, **shared))  # fmt: skip
    top = int(np.abs(values).argmax())
    return picture(
        "literature",
        traces,
        labels["description"].format(count=len(names), largest=names[top], value=f"{values[top]:.3g}"),
        70 + ROW * len(names),
        xaxis=titled(unit, zeroline=True),
        yaxis=titled(
            "", type="category", autorange="reversed", tickvals=places, ticktext=[_short(n) for n in shown], showgrid=False
        ),
        showlegend=published is not None,
        bargap=0.3,
    )


def _short(name: str, longest: int = 34) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
