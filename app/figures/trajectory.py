"""How a prediction forms: how undecided each layer is, how far from the end, and where the final choice stands."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, axis, check_lengths, few_ticks, log_ticks, picture, plain, titled

ROWS = ("entropy", "kl", "rank")
DOMAINS = ((0.7, 1.0), (0.36, 0.64), (0.0, 0.29))


def trajectory_lines(
    layers: Sequence[str],
    here: Sequence[np.ndarray],
    overall: Sequence[np.ndarray],
    labels: Labels,
    before: Sequence[np.ndarray] | None = None,
) -> Picture:
    """Three charts over the layers, one above the other: entropy (bits), KL to the end (bits), rank (1 is the top, logarithmic).

    here: the three at the selected position, [layer] each; overall: their mean (of ranks the median) over the prompt; before: at
    the position without the edits. labels: layer, entropy, kl, rank, here, overall, before, description ({first}, {last}).
    Raises ValueError for arrays of other lengths.
    """
    kinds = [("overall", overall, palette.NEUTRAL, "dash"), ("here", here, palette.CATEGORIES[0], "solid")]
    if before is not None:
        kinds.insert(0, ("before", before, palette.CATEGORIES[1], "dot"))
    traces = []
    for kind, tables, colour, dash in kinds:
        for i, (name, table) in enumerate(zip(ROWS, tables, strict=True)):
            check_lengths(layers=layers, values=table)
            traces.append(_line(layers, np.asarray(table, float), i, labels[kind], labels[name], colour, dash))
    top = max(2.0, *(float(np.max(tables[2])) for _, tables, _, _ in kinds)) * 1.4
    ticks = [t for t in log_ticks(1, top) if f"{t:.0e}".startswith("1")]
    upper = {name: max(float(np.max(tables[i])) for _, tables, _, _ in kinds) * 1.08 + 1e-9 for i, name in enumerate(ROWS)}
    return picture(
        "lens-trajectory",
        traces,
        labels["description"].format(first=f"{here[0][0]:.1f}", last=f"{here[0][-1]:.1f}"),
        560,
        xaxis=axis(type="category", anchor="y", showticklabels=False, matches="x3", showgrid=False),
        xaxis2=axis(type="category", anchor="y2", showticklabels=False, matches="x3", showgrid=False),
        xaxis3=titled(labels["layer"], type="category", anchor="y3", showgrid=False, **few_ticks(layers)),
        yaxis=titled(labels["entropy"], domain=DOMAINS[0], range=[0, upper["entropy"]]),
        yaxis2=titled(labels["kl"], domain=DOMAINS[1], range=[-0.02 * upper["kl"], upper["kl"]]),
        yaxis3=titled(
            labels["rank"], domain=DOMAINS[2], type="log", range=[float(np.log10(top)), -0.15],
            tickvals=ticks, ticktext=[f"{tick:,.0f}" for tick in ticks],
        ),
        showlegend=True,
    )  # fmt: skip


def _line(layers: Sequence[str], values: np.ndarray, row: int, name: str, what: str, colour: str, dash: str) -> go.Scatter:
    suffix = "" if row == 0 else str(row + 1)
    return go.Scatter(
        x=list(layers),
        y=values,
        xaxis=f"x{suffix}",
        yaxis=f"y{suffix}",
        name=plain(name),
        legendgroup=plain(name),
        showlegend=row == 0,
        mode="lines+markers",
        line={"color": colour, "width": 2 if dash == "solid" else 1.5, "dash": dash},
        marker={"size": 5},
        hovertemplate=f"<b>{plain(name)}</b> %{{x}}<br>{plain(what)} %{{y:.4~g}}<extra></extra>",
    )
