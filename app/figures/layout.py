"""What all charts share: transparent ground, system fonts, no title (the page has one), units in the axis titles.

Two things a Plotly figure does not usually carry travel with it here. `Picture.config` (export as SVG, no logo) goes into
its JSON, because that is all the page receives. `description` (for screen readers) lies in `layout.meta`.
Token axes are category axes over the positions whose ticks are renamed (`labelalias`): the browser then thins the labels
out to what the width allows, and a token that occurs twice keeps two places.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from app.figures import palette

Labels = Mapping[str, str]
SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans KR", "Noto Sans CJK KR", sans-serif'
MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono CJK KR", monospace'
TICKS = 24  # names on a long axis: as many as fit a phone's width
LONGEST_TICK = 12  # characters; more would push the chart out of a phone's width


class Picture(go.Figure):
    """A Plotly figure that takes its browser settings along."""

    @property
    def config(self) -> dict[str, Any]:
        """Plotly's `config`: a button that saves the chart as SVG, sharp at any size."""
        return export_config(self.layout.meta["name"])

    @property
    def description(self) -> str:
        """The chart in a sentence or two, for those who cannot see it."""
        return self.layout.meta["description"]

    def to_json(self, *args: Any, **kwargs: Any) -> str:
        return json.dumps({**json.loads(super().to_json(*args, **kwargs)), "config": self.config})


def export_config(name: str, format: str = "svg") -> dict[str, Any]:
    """Plotly's `config` with an export button for "svg" or "png" (at twice the size shown).

    Raises ValueError for another format.
    """
    if format not in ("svg", "png"):
        raise ValueError(f"A chart can be saved as 'svg' or 'png', not as {format!r}.")
    return {
        "displaylogo": False,
        "responsive": True,
        "scrollZoom": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
        "toImageButtonOptions": {"format": format, "filename": f"glassbox-{name}", "scale": 2 if format == "png" else 1},
    }


def axis(**settings: Any) -> dict[str, Any]:
    """The look of an axis, with `settings` on top."""
    look = {
        "gridcolor": palette.GRID,
        "zerolinecolor": palette.GRID,
        "linecolor": palette.GRID,
        "automargin": True,
        "title": {"standoff": 6, "font": {"size": 13}},
        "fixedrange": True,  # a finger that scrolls the page must not zoom the chart
    }
    return {**look, **settings}


def titled(text: str, **settings: Any) -> dict[str, Any]:
    """An axis with a title; the title names the unit."""
    return axis(title={"text": plain(text), "standoff": 6, "font": {"size": 13}}, **settings)


def picture(name: str, traces: Sequence[Any], description: str, height: int, **layout: Any) -> Picture:
    """A figure in the common look. name: of the exported file; description: for screen readers; height in CSS pixels."""
    common = {
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {"family": SANS, "size": 12, "color": palette.NEUTRAL},
        "hoverlabel": {
            "bgcolor": palette.INK,
            "bordercolor": palette.NEUTRAL,
            "font": {"family": MONO, "color": palette.PANEL, "size": 12},
            "align": "left",
        },
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "font": {"size": 12}},
        "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
        "height": height,
        "autosize": True,
        "dragmode": False,
        "modebar": {"bgcolor": "rgba(0, 0, 0, 0)", "color": palette.NEUTRAL, "activecolor": palette.ACCENT},
        "template": "none",
        "colorway": list(palette.CATEGORIES),
        "meta": {"name": name, "description": description},
    }
    return Picture(data=list(traces), layout={**common, **layout})


def plain(text: str) -> str:
    """Text that Plotly prints as it is: its labels understand a little HTML, and tokens may look like it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def token_axis(strings: Sequence[str], title: str, **settings: Any) -> dict[str, Any]:
    """A horizontal axis with one place per token. Give the traces `positions(strings)` as x."""
    names = {str(i): plain(_short(string)) for i, string in enumerate(strings)}
    return titled(
        title,
        type="category",
        categoryorder="array",
        categoryarray=positions(strings),
        labelalias=names,
        tickangle=-90,
        tickfont={"family": MONO, "size": 11},
        showgrid=False,
        range=[-0.5, max(len(strings), 1) - 0.5],
        **few_ticks(positions(strings)),
        **settings,
    )


def few_ticks(places: Sequence[str]) -> dict[str, Any]:
    """Ticks for a long axis of categories: evenly spread, the first and the last among them. Short ones are left to the browser."""
    last = len(places) - 1
    if last < 2 * TICKS:
        return {}
    return {"tickmode": "array", "tickvals": [places[round(i * last / (TICKS - 1))] for i in range(TICKS)]}


def positions(strings: Sequence[str]) -> list[str]:
    """The x values of a token axis."""
    return [str(i) for i in range(len(strings))]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) between two positive bounds, for a logarithmic axis."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def check_lengths(**values: Sequence[Any] | None) -> None:
    """Raises ValueError unless all given sequences are equally long and not empty."""
    lengths = {name: len(value) for name, value in values.items() if value is not None}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"A chart needs equally many values of each kind, at least one; got {told}.")


def _short(string: str) -> str:
    return string if len(string) <= LONGEST_TICK else string[: LONGEST_TICK - 1] + "…"
