"""How often a neuron is how active: its activations over a text."""

import numpy as np
import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, log_ticks, picture, plain, titled


def activation_histogram(
    edges: np.ndarray, counts: np.ndarray, labels: Labels, *, here: float | None = None, open_end: bool = False
) -> Picture:
    """Tokens by activation, counts on a logarithmic axis (most tokens lie near zero, the tail is what one looks for).

    edges: one more than counts; here: the activation at the selected position, a vertical line; open_end: the last bin has no upper end.
    labels: activation, tokens, here, bin ({low}, {high}), open ({low}), description ({count}, {high}).
    Raises ValueError where edges and counts do not belong together.
    """
    edges, counts = np.asarray(edges, float), np.asarray(counts, float)
    if len(edges) != len(counts) + 1 or not len(counts):
        raise ValueError(f"A histogram of {len(counts)} bins needs one edge more, got {len(edges)}.")
    names = [labels["bin"].format(low=f"{a:.1f}", high=f"{b:.1f}") for a, b in zip(edges, edges[1:])]
    if open_end:
        names[-1] = labels["open"].format(low=f"{edges[-2]:.1f}")
    most = max(float(counts.max()), 1.0)
    bars = go.Bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=[count if count else None for count in counts],
        width=np.diff(edges) * 0.94,
        marker={"color": palette.CATEGORIES[0]},
        customdata=[[plain(name)] for name in names],
        hovertemplate="%{customdata[0]}: %{y:,}<extra></extra>",
    )
    marks, notes = [], []
    if here is not None:
        line = {"color": palette.ACCENT, "width": 1.5, "dash": "dash"}
        marks = [{"type": "line", "x0": here, "x1": here, "y0": 0, "y1": 1, "yref": "paper", "line": line}]
        font = {"size": 11, "color": palette.ACCENT}
        notes = [{"x": here, "y": 1, "yref": "paper", "text": plain(labels["here"]), "showarrow": False, "xanchor": "left", "yanchor": "top", "xshift": 4, "font": font}]  # fmt: skip
    ticks = [tick for tick in log_ticks(1, most * 1.5) if f"{tick:.0e}".startswith("1")]
    return picture(
        "neuron-histogram",
        [bars],
        labels["description"].format(count=f"{counts.sum():,.0f}", high=f"{edges[-1]:.1f}"),
        260,
        xaxis=titled(labels["activation"], zeroline=False),
        yaxis=titled(labels["tokens"], type="log", tickvals=ticks, ticktext=[f"{tick:,.0f}" for tick in ticks], range=[-0.3, float(np.log10(most * 1.6))]),
        shapes=marks,
        annotations=notes,
        showlegend=False,
    )  # fmt: skip
