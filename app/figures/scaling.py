"""What size buys and what it costs: published scores over parameters, and parameters, memory and time as bars."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, axis, check_lengths, log_ticks, picture, plain, titled


@dataclass(frozen=True)
class SizePoint:
    """One model on a curve: its key, its label on the page, its real number of parameters, and the value."""

    name: str
    label: str
    n_params: int
    value: float


def published_curves(
    points: Sequence[SizePoint],
    labels: Labels,
    better: Literal["higher", "lower"],
    sota: float | None = None,
    line: Callable[[float], float] | None = None,
    measured: Sequence[SizePoint] = (),
    highlight: Collection[str] = (),
    log_y: bool = False,
) -> Picture:
    """A published score over the real number of parameters (logarithmic), with everything else beside it.

    sota: the best earlier result, a dashed level; line: a fit, drawn over the published sizes only; measured: points of
    our own, in another shape; highlight: names to ring; log_y: for perplexities.
    labels: params (say: millions), value (with unit), higher_is_better, lower_is_better, published, measured, sota, fit,
    description ({n}, {first}, {last}, {best}).
    Raises ValueError without points, and for values that a logarithmic axis cannot show.
    """
    check_lengths(points=points)
    everything = [*points, *measured]
    values = [point.value for point in everything] + ([] if sota is None else [sota])
    if any(point.n_params <= 0 for point in everything) or (log_y and min(values) <= 0):
        raise ValueError("A logarithmic axis shows only numbers above zero; check the sizes and values given.")
    spread = _x_range([point.n_params for point in everything])
    traces = [_points(points, labels["published"], palette.CATEGORIES[0], "circle", highlight)]
    if line is not None:
        traces.insert(0, _fit(points, line, labels["fit"]))
    if measured:
        traces.append(_points(measured, labels["measured"], palette.CATEGORIES[1], "diamond", highlight))
    if sota is not None:
        traces.insert(0, _level(sota, spread, labels["sota"]))
    direction = labels[f"{better}_is_better"]
    return picture(
        "published",
        traces,
        _curve_description(points, labels, better),
        420,
        xaxis=_params_axis(everything, spread, labels["params"]),
        yaxis=_value_axis(values, f"{plain(labels['value'])}<br>({plain(direction)})", log_y),
        showlegend=True,
    )


def scaling_costs(
    names: Sequence[str],
    n_params: Sequence[float],
    memory_gib: Sequence[float],
    ms_per_token: Sequence[float | None],
    labels: Labels,
    highlight: Collection[str] = (),
) -> Picture:
    """Parameters, weights in memory and time per token as three rows of bars that begin at zero; None: not measured.

    labels: params (with unit: millions), memory (GiB), time (ms per token), not_measured,
    description ({n}, {smallest}, {largest}).
    Raises ValueError when the lengths differ.
    """
    check_lengths(names=names, n_params=n_params, memory_gib=memory_gib, ms_per_token=ms_per_token)
    rows: list[tuple[str, Sequence[float | None], str]] = [
        (labels["params"], [n / 1e6 for n in n_params], ",.0f"),
        (labels["memory"], memory_gib, ".3~g"),
        (labels["time"], ms_per_token, ".3~g"),
    ]
    traces, layout = [], {}
    gap, height = 0.15, (1 - 2 * 0.15) / 3
    for row, (title, values, form) in enumerate(rows):
        number = "" if row == 0 else str(row + 1)
        top = 1 - row * (height + gap)
        traces.append(_bars(names, values, title, form, f"x{number}", f"y{number}", highlight, labels["not_measured"]))
        known = [value for value in values if value is not None]
        end = max(known, default=1.0) * 1.28  # room for the number at the end of the longest bar
        layout[f"xaxis{number}"] = titled(title, anchor=f"y{number}", range=[0, end or 1.0], nticks=5)
        layout[f"yaxis{number}"] = axis(
            anchor=f"x{number}", domain=[max(0.0, top - height), top], autorange="reversed", type="category", showgrid=False
        )
    order = sorted(range(len(names)), key=lambda i: n_params[i])
    description = labels["description"].format(n=len(names), smallest=names[order[0]], largest=names[order[-1]])
    pixels = 3 * (24 * len(names) + 56) + 20
    return picture("costs", traces, description, pixels, showlegend=False, bargap=0.3, **layout)


def _points(points: Sequence[SizePoint], name: str, colour: str, symbol: str, highlight: Collection[str]) -> go.Scatter:
    ringed = [point.name in highlight for point in points]
    return go.Scatter(
        x=[point.n_params for point in points],
        y=[point.value for point in points],
        name=plain(name),
        mode="markers+text",
        text=[f"{point.value:g}" for point in points],
        textposition="top center",
        cliponaxis=False,
        marker={
            "color": colour,
            "opacity": 1,
            "symbol": symbol,
            "size": [15 if ring else 10 for ring in ringed],
            "line": {"color": palette.NEUTRAL, "width": [3 if ring else 0 for ring in ringed]},
        },
        customdata=[plain(point.label) for point in points],
        hovertemplate=f"<b>%{{customdata}}</b><br>{plain(name)} %{{text}}<extra></extra>",
    )


def _fit(points: Sequence[SizePoint], line: Callable[[float], float], name: str) -> go.Scatter:
    sizes = [point.n_params for point in points]
    xs = np.geomspace(min(sizes), max(sizes), 40)
    return go.Scatter(
        x=xs,
        y=[line(float(x)) for x in xs],
        name=plain(name),
        mode="lines",
        line={"color": palette.CATEGORIES[0], "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
    )


def _level(value: float, spread: tuple[float, float], name: str) -> go.Scatter:
    return go.Scatter(
        x=list(spread),
        y=[value, value],
        name=f"{plain(name)} {value:g}",
        mode="lines",
        line={"color": palette.NEUTRAL, "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )


def _x_range(sizes: Sequence[int]) -> tuple[float, float]:
    return min(sizes) / 1.35, max(sizes) * 1.35


def _params_axis(points: Sequence[SizePoint], spread: tuple[float, float], title: str) -> dict[str, Any]:
    sizes = sorted({point.n_params for point in points})
    return titled(
        title,
        type="log",
        range=[float(np.log10(spread[0])), float(np.log10(spread[1]))],
        tickvals=sizes,
        ticktext=[f"{size / 1e6:,.0f}" for size in sizes],
        tickangle=0,
        tickfont={"size": 11},
    )


def _value_axis(values: Sequence[float], title: str, log_y: bool) -> dict[str, Any]:
    heading = {"text": title, "standoff": 6, "font": {"size": 13}}
    if not log_y:
        return axis(title=heading)
    low, high = min(values) / 1.2, max(values) * 1.3
    return axis(
        title=heading,
        type="log",
        range=[float(np.log10(low)), float(np.log10(high))],
        tickvals=log_ticks(low, high),
        ticktext=[f"{tick:g}" for tick in log_ticks(low, high)],
    )


def _curve_description(points: Sequence[SizePoint], labels: Labels, better: str) -> str:
    ordered = sorted(points, key=lambda point: point.n_params)
    best = (max if better == "higher" else min)(points, key=lambda point: point.value)
    return labels["description"].format(
        n=len(points), first=f"{ordered[0].value:g}", last=f"{ordered[-1].value:g}", best=best.label
    )


def _bars(
    names: Sequence[str],
    values: Sequence[float | None],
    title: str,
    form: str,
    x_axis: str,
    y_axis: str,
    highlight: Collection[str],
    not_measured: str,
) -> go.Bar:
    return go.Bar(
        x=[0 if value is None else value for value in values],
        y=list(names),
        xaxis=x_axis,
        yaxis=y_axis,
        orientation="h",
        marker={"color": [palette.CATEGORIES[1 if name in highlight else 0] for name in names]},
        text=[plain(not_measured) if value is None else _number(value) for value in values],
        textposition="outside",
        cliponaxis=False,
        hovertemplate=f"<b>%{{y}}</b><br>{plain(title)}: %{{text}}<extra></extra>",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
