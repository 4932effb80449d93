"""Tab: literature. What was published about GPT-2, measured again: a list of checks, and one of them opened."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr
import numpy as np

from app.components.heat_map import heat_map, heat_map_value
from app.components.number_table import Column, number_table, number_table_value
from app.components.panel import Badge, Exports, panel, panel_value
from app.figures.literature import measured_and_published
from app.page import Page
from app.service import literature_page as service
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.text import Words, words
from app.wiring import stops

TAB = "literature"
CHECK = Setting("literature.check", "induction", one_of=service.CHECKS)
DYNAMIC = re.compile(r"(prompt|without|logit of|probability of|direct effect of) (.+)")
Progress = tuple[str, str, int]  # the model that is being measured and the check, "" where none is; how many are done
IDLE: Progress = ("", "", 0)
LONGEST_NAME = 20  # of a number, in the list


def build(page: Page) -> None:
    """The tab's components and what they show."""
    head = panel("gb_literature_head")
    with gr.Row():
        go = gr.Button("", variant="primary", size="sm", elem_id="gb_literature_go")
        stop = gr.Button(page.label("literature.stop"), size="sm", visible=False, elem_id="gb_literature_stop")
    said = panel("gb_literature_said")
    checks = number_table("gb_literature_checks")
    opened = panel("gb_literature_check")
    with gr.Column(visible=False) as maps, gr.Row():
        with gr.Column(min_width=320, visible=False) as published_column:
            published = heat_map("gb_literature_published")
        with gr.Column(min_width=320):
            measured = heat_map("gb_literature_measured")
    with gr.Column(visible=False) as bars:
        figure = gr.Plot(show_label=False, elem_id="gb_literature_bars")
    numbers = number_table("gb_literature_numbers")
    progress, drawn, subject = gr.State(IDLE), gr.State(""), gr.State("")  # a change of the subject ends a measuring

    seen = lambda s: (s.model, s.lang, bool(s.plan), s.settings_of(TAB).settings)  # noqa: E731
    page.shows(TAB, [head, go, stop, said, checks], _overview, inputs=[progress], depends=seen)
    pictures = [opened, maps, published_column, published, measured, bars, figure, numbers, drawn]
    page.shows(TAB, pictures, _opened, inputs=[progress, drawn], depends=seen)
    page.shows(TAB, [subject], lambda view: [view.state.model], depends=lambda s: s.model)
    page.refreshes(progress.change)
    page.changes(checks.rowselect, lambda s, event: CHECK.on(s, service.CHECKS[int(event.row)]), event_data=True)
    page.hands_out(head, service.everything)
    page.hands_out(opened, lambda view: service.evidence(view, CHECK.of(view.state)))

    def measure(state: PageState) -> Iterator[dict]:
        view = View(page.store, state)
        for id in service.steps(view):
            yield {progress: (state.model, id, len(service.kept(view)))}
        yield {progress: ("", "", len(service.kept(view)))}

    running = page.listen(go.click, measure, [page.state], [progress], concurrency_id=TAB, concurrency_limit=2)
    for listener in (stop.click, subject.change):
        stops(listener, running, lambda last: ("", "", last[2]), progress, progress)


def _overview(view: View, progress: Progress) -> list:
    """What is known so far: the head with its counts, the buttons, and the list."""
    t = words(view.state.lang)
    model, now, _ = progress
    active = model == view.state.model
    if not active:
        service.first_ones(view)
        service.outcome(view, CHECK.of(view.state))
    left, total = service.missing(view), len(service.CHECKS)
    lines = service.lines(view)
    offer = t("literature.run", count=len(left), total=total, seconds=t.lasting(service.seconds(view, left)))
    label = offer if left else t("literature.all_done", total=total)
    go = gr.update(value=label, interactive=bool(left), visible=not active)
    kind = t(f"literature.{service.kind(view)}", model=view.state.model)
    sentences = [t("literature.running", title=t(f"literature.{now}_title"))] if active else [kind]
    sentences += [t("literature.edits")] if view.state.plan else []
    return [_head(view, t, lines), go, gr.update(visible=active), panel_value(" ".join(sentences)), _list(view, t, lines)]


def _head(view: View, t: Words, lines: Sequence[service.Line]) -> dict:
    met, failed, none = (sum(line.status == status for line in lines) for status in ("pass", "fail", "none"))
    title = t("literature.counts_title", met=met, failed=failed, none=none)
    badges = [Badge(t("literature.counts", met=met), title)] * (met > 0)
    badges += [Badge(t("literature.counts_failed", failed=failed), title, ok=False)] * (failed > 0)
    exports = Exports("gb_literature_checks", "literature", t.section("panel"))
    what, help = t("literature.what"), t("literature.help")
    return panel_value(what, help=help, help_label=t("page.help"), badges=badges, exports=exports)


def _list(view: View, t: Words, lines: Sequence[service.Line]) -> dict:
    names = ["check", "verdict", "measured", *(["expected", "tolerance"] if service.kind(view) != "other" else [])]
    columns = [Column(t(f"literature.column_{name}"), "text") for name in names]
    rows = [[_cell(t, line, name) for name in names] for line in lines]
    marked = [i for i, line in enumerate(lines) if line.status == "fail"]
    selected = service.CHECKS.index(CHECK.of(view.state))
    return number_table_value(
        columns, rows, text=t.section("literature_table"), selected=selected, marked=marked, chooses=True, finds=True
    )


def _cell(t: Words, line: service.Line, column: str) -> str:
    """What the list says of a check: one number stands for it, by its name where that is short."""
    name = row_label(t, line.first)
    named = f"{name}: " if line.more and len(name) <= LONGEST_NAME else ""
    if column == "check":
        return t(f"literature.{line.id}_title")
    if column == "verdict":
        return t(f"literature.verdict_{line.status}")
    if column == "measured" and line.measured is not None:
        found = named + _number(line.measured)
        return t("literature.more", first=found, count=line.more) if line.more else found
    if column == "expected" and line.expected:
        return named + line.expected
    if column == "tolerance" and line.compared:
        met = t("literature.met", met=line.compared - line.missed, total=line.compared)
        return f"{line.tolerance}: {met}" if line.tolerance else met
    return "–"


def _opened(view: View, progress: Progress, drawn: str) -> list:
    """The chosen check: what it means, published beside measured, and its numbers. Drawn again only when it has changed."""
    s, id = view.state, CHECK.of(view.state)
    found = service.outcome(view, id) if not progress[0] else service.kept(view).get(id)
    key = f"{s.model} {s.lang} {id} {found is not None}"
    if key == drawn:
        return [gr.skip() for _ in range(9)]
    t = words(s.lang)
    if found is None or found.measured is None:
        return [_about(view, t, id, found), *_nothing(), _numbers(t, found), key]
    return [_about(view, t, id, found), *_picture(t, s.model, service.table(found)), _numbers(t, found), key]


def _about(view: View, t: Words, id: str, found: Any) -> dict:
    check = service.check(id)
    badges = [Badge(t(f"literature.{check.mode}"), t(f"literature.{check.mode}_title"))]
    source = t("literature.badge_source", source=check.source)
    title = t(f"literature.{id}_title")
    what = f"{title}{' ' if title.endswith(('?', '.')) else '. '}{t(f'literature.{id}_means')}"
    facts = dict(found.measured.facts) if found is not None and found.measured is not None else {}
    facts |= {"loose": t(f"literature.{id}_loose")} if check.approximate else {}
    details = "; ".join(f"{t(f'literature_facts.{name}')}: {value}" for name, value in facts.items())
    help = " ".join(filter(None, (source, details)))
    if found is None:
        what += " " + t("literature.not_yet", seconds=t.lasting(service.seconds(view, [id])))
        return panel_value(what, help=help, help_label=t("page.help"), badges=badges)
    if found.measured is None:
        return panel_value(f"{what} {found.reason}", help=help, help_label=t("page.help"), badges=badges)
    picture = "gb_literature_bars" if found.measured.is_list else "gb_literature_measured"
    exports = Exports(picture, f"literature-{id}", t.section("panel"))
    return panel_value(
        what, help=help, help_label=t("page.help"), badges=[_verdict(t, found, source), *badges], exports=exports
    )


def _verdict(t: Words, found: Any, source: str) -> Badge:
    compared = found.comparison
    if compared is None:
        return Badge(t("literature.badge_none"), source)
    where = {"largest": compared.largest, "where": "".join(compared.where) or "–", "source": found.check.source}
    title = t("literature.badge_title", **where) if compared.largest else source
    if compared.passed:
        return Badge(t("literature.badge_pass", met=compared.cells, total=compared.cells), title)
    return Badge(t("literature.badge_fail", missed=len(compared.misses), total=compared.cells), title, ok=False)


def _nothing() -> list:
    """No picture: maps, the published one, its map, the measured map, bars, the figure."""
    return [gr.update(visible=False), gr.update(visible=False), gr.skip(), gr.skip(), gr.update(visible=False), gr.skip()]


def _picture(t: Words, model: str, table: service.Table) -> list:
    unit = t(f"literature.unit_{table.unit}")
    if table.columns == ("",):
        names = [row_label(t, name) for name in table.rows]
        published = None if table.expected is None else table.expected[:, 0]
        figure = measured_and_published(names, table.measured[:, 0], published, unit, t.section("literature_bars"))
        return [gr.update(visible=False), gr.update(visible=False), gr.skip(), gr.skip(), gr.update(visible=True), figure]
    both = [table.measured] if table.expected is None else [table.measured, table.expected]
    bound = max(float(np.nanmax(np.abs(values))) for values in both) or 1.0
    signed = any(float(np.nanmin(values)) < 0 for values in both)

    def drawn(values: np.ndarray, name: str, missed: Sequence[tuple[int, int]] = ()) -> dict:
        return heat_map_value(
            values,
            rows=table.rows,
            columns=table.columns,
            text=t.section("heat_map") | {"label": name},
            unit=unit,
            diverging=signed,
            bound=bound,
            caption=name,
            marked=missed,
            marked_label=t("literature.verdict_fail"),
            row_title=t(f"literature.axis_{table.axes[0]}"),
            column_title=t(f"literature.axis_{table.axes[1]}"),
        )

    here = drawn(table.measured, t("literature.table_measured", model=model), table.missed)
    there = gr.skip() if table.expected is None else drawn(table.expected, t("literature.table_expected"))
    beside = gr.update(visible=table.expected is not None)
    return [gr.update(visible=True), beside, there, here, gr.update(visible=False), gr.skip()]


def _numbers(t: Words, found: Any) -> dict:
    """The numbers that say most, one a row."""
    judged = found is not None and bool(found.expected)
    names = ("measured", *(("expected", "difference", "verdict") if judged else ()))
    columns = [Column(t("literature.column_number"), "text", t("literature.rows_first"))]
    columns += [Column(t(f"literature.column_{name}"), "text") for name in names]
    rows = []
    for row in service.rows(found) if found is not None and found.measured is not None else ():
        known = row["expected"] is not None and row["measured"] is not None
        verdict = "" if row["met"] is None else t(f"literature.verdict_{'pass' if row['met'] else 'fail'}")
        gap = f"{row['measured'] - row['expected']:+.2g}" if known else "–"
        cells = [row_label(t, row["name"]), _number(row["measured"]), row["bound"] or "–", gap, verdict]
        rows.append(cells[: len(columns)])
    text = t.section("literature_table") | t.section("literature_cells")
    return number_table_value(columns, rows, text=text)


def row_label(t: Words, name: str) -> str:
    """The name of a measured number in the page's language; names of heads, layers and neurons are the same in all."""
    named, place = t.section("literature_rows"), DYNAMIC.fullmatch(name)
    if (slug := _slug(name)) in named and "{" not in named[slug]:
        return named[slug]
    return named[_slug(place[1])].format(what=place[2]) if place else name


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}" if abs(value) >= 1e-3 or not value else f"{value:.1e}"
