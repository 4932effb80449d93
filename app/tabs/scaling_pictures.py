"""How readings, published numbers and costs are shown."""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from app.components.model_columns import Bar, Bars, Fact, ModelColumn, Table, model_columns_value
from app.components.next_token import scale_for
from app.components.panel import Badge, Exports, panel_value
from app.figures.scaling import SizePoint, published_curves, scaling_costs
from app.service.scaling import Cost, Curve, Reading, unit_of
from app.service.view import View
from app.tabs.badges import origin
from app.tabs.model_picker import size_text
from app.text import Words
from gpt2_core.checkpoints import ModelEntry
from gpt2_core.config import SIZES
from gpt2_core.tasks.published import CURVES, METRICS


def memory_text(n_bytes: float) -> str:
    """1.45 GiB, 28.4 MiB, 36 KiB."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes / 2**10:.3g} KiB"


def flops_text(flops: float) -> str:
    """16.5 MFLOP, 3.42 GFLOP."""
    return f"{flops / 1e9:.3g} GFLOP" if flops >= 1e9 else f"{flops / 1e6:.3g} MFLOP"


def model_text(t: Words, entry: ModelEntry) -> str:
    """gpt2: 117M (124M); a model's name with the paper's label and the real one."""
    if entry.state == "embedded":
        return t("scaling.embedded", name=entry.name)
    return entry.name if entry.label == entry.name else t("scaling.released", name=entry.name, label=entry.label)


# ---- the prompt, model by model -------------------------------------------------------------------------------------------


def columns_value(t: Words, view: View, costs: Sequence[Cost], found: Mapping[str, Reading | str]) -> dict:
    """A column per model, smallest first; a sentence instead of a reading says why there is none."""
    readings = [reading for reading in found.values() if isinstance(reading, Reading)]
    scale = scale_for(max((p for r in readings for p in (*r.p, *(r.before or ()))), default=1.0))
    columns = [_column(t, view, cost, found[cost.entry.name], scale) for cost in costs]
    return model_columns_value(columns, label=t("scaling.columns"))


def _column(t: Words, view: View, cost: Cost, found: Reading | str, scale: float) -> ModelColumn:
    title, dtype = model_text(t, cost.entry), str(view.store.dtype).removeprefix("torch.")
    size = t("scaling.weights_title", bytes=view.store.dtype.itemsize, dtype=dtype)
    facts = [
        Fact(t("scaling.params"), f"{cost.n_params:,}", t("scaling.params_title")),
        Fact(t("scaling.weights"), memory_text(cost.weights), size),
    ]
    if isinstance(found, str):
        if cost.entry.state == "downloadable":
            facts.append(Fact(t("scaling.download"), size_text(cost.entry.bytes)))
        return ModelColumn(title, found, "waiting", facts=facts)
    bars = Bars(t("scaling.top"), _bars(t, found, scale), t("scaling.bar_scale", max=f"{100 * scale:g}%"))
    bits = t("scaling.bits_none") if math.isnan(found.bits) else t("scaling.bits_value", value=found.bits)
    time_title = t("scaling.time_title", n=found.n_timed, tokens=found.n_tokens)
    measured = [
        Fact(t("scaling.entropy"), t("scaling.entropy_value", value=found.entropy), t("scaling.entropy_title")),
        Fact(t("scaling.bits"), bits, t("scaling.bits_title")),
        Fact(t("scaling.time"), f"{1000 * found.seconds:.3g} ms", time_title),
    ]
    notes = []
    if found.left_out:
        notes.append(t("scaling.left_out", count=found.left_out, model=found.model))
    if found.before is not None and found.model != view.state.model:
        notes.append(t("scaling.other", page_model=view.state.model, model=found.model))
    return ModelColumn(title, t("scaling.status_done", n=found.n_tokens), "done", [bars], [*measured, *facts], notes)


def _bars(t: Words, reading: Reading, scale: float) -> list[Bar]:
    bars = []
    for text, p, before in zip(reading.shown, reading.p, reading.before or [None] * len(reading.p)):
        logprob = f"{math.log(p):.3f}" if p > 0 else "−∞"
        title = t("scaling.bar_hint", text=text, p=f"{100 * p:.2f}%", logprob=logprob)
        was = "" if before is None else t("scaling.was", p=_percent(before))
        if before is not None:
            title += "\n" + t("scaling.bar_was", p=f"{100 * before:.2f}%")
        share = None if before is None else min(1.0, before / scale)
        bars.append(Bar(text, min(1.0, p / scale), _percent(p), was, title, share))
    return bars


def _percent(p: float) -> str:
    return "<0.1%" if 0 < p < 0.0005 else f"{100 * p:.1f}%"


# ---- the paper's numbers ----------------------------------------------------------------------------------------------------


def metric_choices(t: Words, names: Sequence[str]) -> list[tuple[str, str]]:
    """The metrics as (label, name)."""
    return [
        (
            t(
                f"scaling.metric_{'name' if name in CURVES else 'one'}",
                dataset=METRICS[name].dataset,
                unit=unit_of(METRICS[name]),
            ),
            name,
        )
        for name in names
    ]


def curve_figure(t: Words, curve: Curve, fit: bool, page_model: str) -> go.Figure:
    """The printed numbers over the size, with the best earlier result and, if asked for, the line through four points."""
    metric, line = curve.metric, curve.line if fit else None
    labels = {
        "params": t("scaling.axis_params"),
        "value": f"{metric.dataset}, {unit_of(metric)}",
        "description": t("scaling.curve_description", n="{n}", first="{first}", last="{last}", best="{best}"),
        "fit": "" if line is None else t("scaling.fit_name", r2=line.r2),
        **{k: t(f"scaling.{k}") for k in ("higher_is_better", "lower_is_better", "published", "measured", "sota")},
    }
    points = [SizePoint(name, SIZES[name].label, n, value) for name, n, value in curve.points]
    return published_curves(
        points,
        labels,
        metric.better,
        sota=curve.sota,
        line=None if line is None else line.at,
        highlight=(page_model,),
        log_y=metric.unit == "perplexity",
    )


def curve_head(t: Words, curve: Curve) -> dict:
    """What the curve is, its source, and what else the paper printed beside it."""
    said = [t("scaling.curve_what"), t("scaling.source", source=curve.metric.source)]
    if curve.others:
        rows = ", ".join(t("scaling.row", name=name, value=value) for name, value in curve.others)
        said.append(t("scaling.others", rows=rows))
    exports = Exports("gb_scaling_curve", "scaling-curve", t.section("panel"))
    help, badges = t("scaling.curve_help"), [origin(t, "published")]
    return panel_value(" ".join(said), help=help, help_label=t("page.help"), badges=badges, exports=exports)


# ---- costs ------------------------------------------------------------------------------------------------------------------


def costs_figure(t: Words, costs: Sequence[Cost], times: Mapping[str, float], dtype: str, page_model: str) -> go.Figure:
    """Parameters, memory and time as bars."""
    labels = {
        "params": t("scaling.costs_params"),
        "memory": t("scaling.costs_memory", dtype=dtype),
        "time": t("scaling.costs_time"),
        "not_measured": t("scaling.not_measured"),
        "description": t("scaling.costs_description", n="{n}", smallest="{smallest}", largest="{largest}"),
    }
    names = [_short(cost.entry) for cost in costs]
    return scaling_costs(
        names,
        [cost.n_params for cost in costs],
        [cost.weights / 2**30 for cost in costs],
        [times.get(cost.entry.name) for cost in costs],
        labels,
        highlight=[_short(cost.entry) for cost in costs if cost.entry.name == page_model],
    )


def _short(entry: ModelEntry) -> str:
    return entry.name if entry.state == "embedded" else entry.label


def costs_table(t: Words, costs: Sequence[Cost], times: Mapping[str, float]) -> dict:
    """The same and more as numbers."""
    head = [t(f"scaling.table_{name}") for name in ("model", "params", "weights", "kv", "flops", "time")]
    rows = [
        [
            model_text(t, cost.entry),
            f"{cost.n_params:,}",
            memory_text(cost.weights),
            memory_text(cost.kv_per_token),
            flops_text(cost.flops),
            f"{times[cost.entry.name]:.3g}" if cost.entry.name in times else t("scaling.not_measured"),
        ]
        for cost in costs
    ]
    return model_columns_value([ModelColumn("", blocks=[Table(head, rows)])], label=t("scaling.table_label"))


def head(t: Words, name: str, picture: str = "", badges: Sequence[Badge] = ()) -> dict:
    """The head of a panel: "" for the tab, "costs_" for the costs. picture: what its menu saves as a picture, if anything."""
    exports = Exports(picture, f"scaling-{name}numbers".replace("_", "-"), t.section("panel"))
    said, help = t(f"scaling.{name}what"), t(f"scaling.{name}help")
    return panel_value(said, help=help, help_label=t("page.help"), badges=badges, exports=exports)
