"""The panel over many pairs: the mean effect of each cell, the distribution of one, and the prompts on which it is smallest."""

from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np

from app.components.heat_map import heat_map, heat_map_value
from app.components.number_table import Column, number_table, number_table_value
from app.components.panel import Exports, panel, panel_value
from app.figures.patching import distribution
from app.page import Page
from app.service import patching as exact
from app.service import patching_scripts_more as scripts
from app.service import patching_set as service
from app.service.patching_set import Found
from app.service.view import View
from app.tabs.patching_job import Offered, Work, menu, offer
from app.tabs.patching_maps import NORMALISED, click, depends
from app.tabs.patching_words import number
from app.text import Words, words


def build(page: Page, shown: Callable[[Any], bool]) -> Offered:
    """The template, a map, a distribution and the worst cases."""
    head = panel("gb_patching_set_head")
    with gr.Row(equal_height=False):
        which = gr.Dropdown(list(service.SET.one_of), label=page.label("patching.set"), filterable=False, min_width=200, elem_id="gb_patching_set_of")  # fmt: skip
        count = gr.Number(service.COUNT.default, precision=0, minimum=4, maximum=200, label=page.label("patching.count"), min_width=100, elem_id="gb_patching_count")  # fmt: skip
        of_set = gr.Radio(list(service.SHOWN.one_of), label=page.label("patching.of_set"), min_width=280, elem_id="gb_patching_of_set")  # fmt: skip
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            mean = heat_map("gb_patching_set")
        with gr.Column(scale=3, min_width=340):
            said = panel("gb_patching_set_cell_head")
            figure = gr.Plot(show_label=False, elem_id="gb_patching_set_distribution")
    worst = number_table("gb_patching_set_worst")
    for setting, component in ((service.SET, which), (service.SHOWN, of_set)):
        menu(page, setting, component)
    page.control(service.COUNT, count)
    work = Work(cost=service.cost, begun=service.begun, steps=service.steps)
    own = depends("set", "count", "of_set", "look")
    job = offer(page, "gb_patching_set", [head, mean, said, figure, worst], work, _draw, shown=shown, depends=own, pair=False)
    click(page, mean, "layers")
    page.hands_out(head, scripts.set_evidence)
    return job


def _draw(view: View, found: Found | None) -> list:
    t, what = words(view.state.lang), service.asked(view)
    if found is None:
        said = panel_value(t("patching.set_progress", done=0, total=what.count))
        return [said, *[gr.skip() for _ in range(4)]]
    return [_head(view, t, what, found), _map(view, t, what, found), *_distribution(view, t, what, found)]


def _head(view: View, t: Words, what: service.SetKey, found: Found) -> dict:
    r, pairs = found.result, service.drawn(view, what)
    ends = {"clean": number(r.clean.mean().item()), "corrupted": number(r.corrupted.mean().item())}
    name, part = t(f"patching.set_{what.name}"), t(f"patching.part_{what.part}")
    measure = t(f"patching.measure_name_{r.metric}")
    said = [t("patching.set_what", name=name, part=part, done=found.done, measure=measure[:1].upper() + measure[1:], **ends)]
    if found.done < found.total:
        said.append(t("patching.set_progress", done=found.done, total=found.total))
    text = t("patching.set_help", corruption=pairs.corruption, source=pairs.source)
    exports = Exports("gb_patching_set", f"patching-set-{what.name}", t.section("panel"))
    return panel_value(" ".join(said), help=text, help_label=t("page.help"), exports=exports)


def shares(view: View, found: Found) -> bool:
    """Whether effects are shown as shares of the mean difference."""
    return NORMALISED.of(view.state) and abs(found.result.difference) >= exact.CLOSE


def unit(view: View, t: Words, found: Found) -> str:
    """The unit of the effects shown."""
    plain = "patching.unit_p" if "probability" in found.result.metric else "patching.unit_nats"
    return t("patching.set_unit" if shares(view, found) else plain)


def _map(view: View, t: Words, what: service.SetKey, found: Found) -> dict:
    r = found.result
    values = (r.normalised if shares(view, found) else r.mean).numpy()
    letter, title = ("", "group") if what.part == "neurons" else ("H", "head")
    unsure = [tuple(map(int, cell)) for cell in np.argwhere(~r.clear.numpy())]
    return heat_map_value(
        values,
        rows=[f"L{layer}" for layer in range(values.shape[0])],
        columns=[f"{letter}{column}" for column in range(values.shape[1])],
        text=t.section("heat_map") | {"label": t("patching.set_label")},
        unit=unit(view, t, found),
        selected=service.cell(view, found),
        marked=unsure,
        marked_label=t("patching.set_unsure"),
        row_title=t("patching.layer"),
        column_title=t(f"patching.{title}"),
    )


def _distribution(view: View, t: Words, what: service.SetKey, found: Found) -> list:
    summary, clean = service.summary(view, found), service.SHOWN.of(view.state) == "clean"
    by = found.result.difference if shares(view, found) and not clean else 1.0
    low, mean, high = sorted((summary.interval.low.item() / by, summary.mean / by, summary.interval.high.item() / by))
    measure = t(f"patching.measure_name_{found.result.metric}")
    plain = t("patching.unit_p" if "probability" in found.result.metric else "patching.unit_nats")
    numbers = {"mean": number(mean), "low": number(low), "high": number(high), "share": summary.share_positive, "n": len(summary)}  # fmt: skip
    if clean:
        said, axis = t("patching.set_clean_what", measure=measure, **numbers), f"{measure} ({plain})"
    else:
        layer, column = service.cell(view, found)
        place = f"{what.part} L{layer}{' ' if what.part == 'neurons' else 'H'}{column}"
        axis = unit(view, t, found)
        said = t("patching.set_cell_what", place=place, unit=axis, **numbers)
        axis = f"{place} ({axis})"
    figure = distribution((summary.values / by).tolist(), mean, (low, high), t.section("patching_set"), axis)
    columns = [Column(t("patching.set_prompt"), "token"), Column(t("patching.set_value"), digits=3)]
    rows = [[case.prompt, case.value / by] for case in summary.worst]
    table = number_table_value(columns, rows, text=t.section("number_table") | {"label": t("patching.set_worst")})
    return [panel_value(said), figure, table]
