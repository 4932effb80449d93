"""Several trainings beside each other: validation loss while training, and what was reached over the size."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.figures import palette
from app.figures.layout import Labels, Picture, check_lengths, log_ticks, picture, plain, titled

HEIGHT = 360
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Course:
    """One training: the model's name and number of parameters, tokens read (above zero) and loss in nats per token at each."""

    name: str
    parameters: int
    tokens: Sequence[int]
    losses: Sequence[float]


def family_losses(courses: Sequence[Course], labels: Labels, highlight: Collection[str] = ()) -> Picture:
    """Validation loss over the tokens read (logarithmic), a line per model; those in `highlight` are drawn thicker.

    Lines differ in colour and in dashes, so that no one has to tell colours apart.
    labels: tokens, loss (with unit), perplexity, description ({n}, {best}, {loss}).
    Raises ValueError without courses, for a course without points, and for tokens or losses that cannot be.
    """
    _check(courses)
    lines = [_line(course, i, labels, course.name in highlight) for i, course in enumerate(courses)]
    tokens = [t for course in courses for t in course.tokens]
    return picture(
        "training-losses",
        lines,
        _description(courses, labels),
        HEIGHT,
        xaxis=titled(labels["tokens"], type="log", **_decades(min(tokens), max(tokens))),
        yaxis=titled(labels["loss"]),
        showlegend=True,
    )


def loss_by_size(courses: Sequence[Course], labels: Labels, highlight: Collection[str] = ()) -> Picture:
    """The last loss over the number of parameters, both logarithmic; models in `highlight` are ringed.

    labels: params, loss, perplexity, tokens, description ({n}, {best}, {loss}).
    Raises ValueError without courses, for a course without points, and for tokens or losses that cannot be.
    """
    _check(courses)
    sizes, losses = [c.parameters for c in courses], [float(c.losses[-1]) for c in courses]
    points = go.Scatter(
        x=sizes,
        y=losses,
        mode="lines+markers+text",
        line={"color": palette.NEUTRAL, "width": 1.5, "dash": "dot"},
        marker={
            "color": [_colour(i) for i in range(len(courses))],
            "size": [15 if c.name in highlight else 10 for c in courses],
            "line": {"color": palette.NEUTRAL, "width": [3 if c.name in highlight else 0 for c in courses]},
            "opacity": 1,
        },
        text=[plain(c.name) for c in courses],
        textposition="top center",
        cliponaxis=False,
        customdata=[[f"{math.exp(loss):,.1f}", f"{c.tokens[-1]:,}"] for c, loss in zip(courses, losses)],
        hovertemplate="<b>%{text}</b> %{x:,}<br>%{y:.3f} nats<br>"
        f"{plain(labels['perplexity'])} %{{customdata[0]}}<br>{plain(labels['tokens'])} %{{customdata[1]}}<extra></extra>",
    )
    low, high = min(losses) / 1.04, max(losses) * 1.06
    ticks = _loss_ticks(low, high)
    return picture(
        "training-sizes",
        [points],
        _description(courses, labels),
        HEIGHT,
        xaxis=titled(
            labels["params"],
            type="log",
            range=[math.log10(min(sizes) / 1.5), math.log10(max(sizes) * 1.5)],
            tickvals=sizes,
            ticktext=[f"{size / 1e6:,.1f}M" for size in sizes],
            tickangle=0,
        ),
        yaxis=titled(
            labels["loss"],
            type="log",
            range=[math.log10(low), math.log10(high)],
            tickvals=ticks,
            ticktext=[f"{t:g}" for t in ticks],
        ),
        showlegend=False,
    )


def _line(course: Course, i: int, labels: Labels, thick: bool) -> go.Scatter:
    return go.Scatter(
        x=list(course.tokens),
        y=list(course.losses),
        name=plain(course.name),
        mode="lines+markers",
        line={"color": _colour(i), "width": 3.5 if thick else 2, "dash": DASHES[i % len(DASHES)]},
        marker={"color": _colour(i), "size": 6 if thick else 4},
        customdata=[f"{math.exp(loss):,.1f}" for loss in course.losses],
        hovertemplate=f"<b>{plain(course.name)}</b> %{{x:,}}<br>%{{y:.3f}} nats<br>"
        f"{plain(labels['perplexity'])} %{{customdata}}<extra></extra>",
    )


def _colour(i: int) -> str:
    return palette.CATEGORIES[i % len(palette.CATEGORIES)]


def _decades(low: float, high: float) -> dict:
    """Ticks at powers of ten, written short."""
    powers = [p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) if low <= 10.0**p <= high]
    units = (("B", 9), ("M", 6), ("k", 3), ("", 0))
    names = [next(f"{10 ** (p - at):,}{unit}" for unit, at in units if p >= at) for p in powers]
    return {"tickvals": [10.0**p for p in powers], "ticktext": names, "tickangle": 0} if len(powers) > 1 else {}


def _loss_ticks(low: float, high: float) -> list[float]:
    """Round losses; on an axis of less than a factor of two, every half or fifth of a nat."""
    for step in (0.1, 0.2, 0.5, 1.0):
        ticks = [round(step * i, 1) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
        if len(ticks) <= 7:
            return ticks
    return log_ticks(low, high)


def _check(courses: Sequence[Course]) -> None:
    check_lengths(courses=courses)
    for course in courses:
        check_lengths(tokens=course.tokens, losses=course.losses)
        if min(course.tokens) <= 0 or min(course.losses) <= 0 or course.parameters <= 0:
            raise ValueError(
                f"The training of {course.name!r} has tokens, losses or a size of zero or less; expected above zero."
            )


def _description(courses: Sequence[Course], labels: Labels) -> str:
    best = min(courses, key=lambda c: c.losses[-1])
    return labels["description"].format(n=len(courses), best=best.name, loss=f"{best.losses[-1]:.2f}")
