"""The measurements of the Steering tab: where the direction points, which next tokens move, and the effect by value."""

from collections.abc import Iterator

import gradio as gr

from app.components.bar_list import Bar, Bars, bar_list, bar_list_value
from app.components.panel import Badge, Exports, panel, panel_value
from app.components.token_strip import Legend, StripToken, token_strip, token_strip_value
from app.figures.steering import effect_by_value
from app.page import Page
from app.service import identities
from app.service import steering as service
from app.service.steering_evidence import aim_evidence, shift_evidence, sweep_evidence
from app.service.view import View
from app.state import PageState
from app.tabs.badges import check_badge, identity
from app.tabs.playground_pictures import percent
from app.tabs.steering_form import typed
from app.text import Words, words
from app.wiring import stops

ROWS = 6  # tokens of a contrast that are shown
ROWS_AT_ONCE = 2  # values computed between two pictures, where the chart takes long


def build(page: Page) -> None:
    """The three panels."""
    moved = panel("gb_steering_shift_head")
    movers = bar_list("gb_steering_shift")
    page.shows("steering", [moved, movers], _shift, depends=_only)
    page.hands_out(moved, shift_evidence)
    _sweep(page)
    aimed = panel("gb_steering_aim_head")
    tokens = bar_list("gb_steering_aim")
    along = token_strip("gb_steering_along")
    page.shows("steering", [aimed, tokens, along], _aim, depends=lambda s: _only(s).but(position=None))
    page.changes(along.tokenselect, lambda s, event: s.but(position=int(event.pos)), event_data=True)
    page.hands_out(aimed, aim_evidence)


def _only(state: PageState) -> PageState:
    """What the panels depend on."""
    return state.settings_of("steering").but(tab="steering", layer=0, head=0, film="", frame=None)


def _badge(view: View, t: Words) -> Badge:
    return check_badge(t, service.check(view), t("steering.check"))


# -- the next token -----------------------------------------------------------------------------------------------------------------


def _shift(view: View) -> list:
    t, found = words(view.state.lang), service.moved(view)
    what = t("steering.shift", token=view.shown[view.position], position=view.position, kl=found.kl)
    exports = Exports("gb_steering_shift", "steering-next-token", t.section("panel"))
    help = t("steering.shift_help")
    head = panel_value(what, help=help, help_label=t("page.help"), badges=[_badge(view, t)], exports=exports)
    return [head, movers_value(view, t, found)]


def movers_value(view: View, t: Words, found: service.Shift) -> dict:
    """The tokens that moved most, with what they were before."""

    def rows(ids, before, after) -> list[Bar]:
        shown = zip(view.show(ids), before.tolist(), after.tolist())
        return [Bar(text, q, t("steering.was", before=percent(p), after=percent(q)), before=p) for text, p, q in shown]

    lists = [
        Bars(t("steering.rose"), rows(found.up_ids, found.up_before, found.up_after)),
        Bars(t("steering.fell"), rows(found.down_ids, found.down_before, found.down_after)),
    ]
    return bar_list_value(lists, text=t.section("bar_list"), label=t("steering.shift_label"), unit=t("steering.p_of_token"))


# -- the direction ------------------------------------------------------------------------------------------------------------------


def _aim(view: View) -> list:
    t, found = words(view.state.lang), service.direction(view)
    exports = Exports("gb_steering_aim", "steering-direction", t.section("panel"))
    said, help = _measured(view, t, found), t("steering.aim_help")
    head = panel_value(said, help=help, help_label=t("page.help"), badges=[_badge(view, t)], exports=exports)
    return [head, _ends(view, t, found), _along(view, t, found)]


def _measured(view: View, t: Words, found: service.Aim) -> str:
    """Lengths, in a sentence."""
    edit, norm = service.tried(view), found.norms.max().item()
    value, place = edit.value, f"{edit.component} L{edit.layer}"
    share = 0.0 if value is None else abs(value) * norm / max(found.residual, 1e-30)
    sizes = {"norm": norm, "residual": found.residual}
    ends = {} if found.along is None else {"low": found.along.min().item(), "high": found.along.max().item()}
    if edit.neuron is not None:
        said = t("steering.share_neuron", value=value, share=share, **ends)
        return t("steering.aim_neuron", layer=edit.layer, share=said, **sizes)
    if edit.op in ("add", "contrast"):
        said = t("steering.share", value=value, share=share)
        return t("steering.aim_rows" if edit.op == "contrast" else "steering.aim", place=place, share=said, **sizes)
    return t("steering.aim", place=place, share=t("steering.share_held", **ends), **sizes)


def _ends(view: View, t: Words, found: service.Aim) -> dict:
    def rows(ids, values) -> list[Bar]:
        return [Bar(text, value, f"{value:+.2f}") for text, value in zip(view.show(ids), values.tolist())]

    ends = found.ends
    if found.plus:
        at = [row for row, norm in enumerate(found.norms.tolist()) if norm > 0][:ROWS]
        lists = [Bars(_row_title(t, found, row), rows(ends.up_ids[row][:5], ends.up_values[row][:5])) for row in at]
    else:
        lists = [
            Bars(t("steering.raised"), rows(ends.up_ids[0], ends.up_values[0])),
            Bars(t("steering.lowered"), rows(ends.down_ids[0], ends.down_values[0])),
        ]
    return bar_list_value(lists, text=t.section("bar_list"), label=t("steering.aim_label"), unit=t("steering.per_unit"))


def _row_title(t: Words, found: service.Aim, row: int) -> str:
    return t("steering.row", plus=found.plus[row], minus=found.minus[row], norm=found.norms[row].item())


def _along(view: View, t: Words, found: service.Aim):
    """The prompt, shaded by how much of the direction each token has; hidden for a contrast, which has no one direction."""
    if found.along is None:
        return gr.update(visible=False)
    values = found.along.tolist()
    bound = max(map(abs, values)) or 1.0
    tokens = [
        StripToken(pos, text, t("steering.along_title", text=text, pos=pos, value=value), shade=value / bound, sign=True)
        for pos, (text, value) in enumerate(zip(view.shown, values))
    ]
    legend = Legend(t("steering.along"), f"{-bound:.2f}", f"{bound:.2f}")
    value = token_strip_value(tokens, text=t.section("token_strip"), label=t("steering.along"), legend=legend)
    return gr.update(value=value, visible=True)


# -- by value -----------------------------------------------------------------------------------------------------------------------


def _sweep(page: Page) -> None:
    head = panel("gb_steering_sweep_head")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=260, scale=3):
            watched = gr.Textbox(
                "",
                label=page.label("steering.watched"),
                placeholder=page.label("steering.watched_hint"),
                info=page.label("steering.watched_info"),
                max_lines=1,
                elem_id="gb_steering_watched",
            )
        go = gr.Button(page.label("steering.sweep_button"), visible=False, scale=0, min_width=160, elem_id="gb_steering_sweep_go")  # fmt: skip
        stop = gr.Button(page.label("steering.stop"), visible=False, scale=0, min_width=100, elem_id="gb_steering_sweep_stop")
    figure = gr.Plot(show_label=False, elem_id="gb_steering_sweep")
    subject = gr.State(None)  # a change of it ends a computation
    outputs = [head, figure, go, stop]
    typed(page, service.WATCHED, watched)

    def first(view: View) -> list:
        found = service.sweep_at_hand(view)
        if found is None and service.sweep_seconds(view) <= service.QUICK_SECONDS:
            found = list(service.sweep(view))[-1]
        return [*_paint(view, found), repr(_only(view.state))]

    def compute(state: PageState) -> Iterator[list]:
        view = View(page.store, state)
        yield [gr.skip(), gr.skip(), gr.skip(), gr.update(visible=True)]
        for found in service.sweep(view, ROWS_AT_ONCE):
            yield _paint(view, found)

    page.shows("steering", [*outputs, subject], first, depends=_only)
    computing = page.listen(go.click, compute, [page.state], outputs, concurrency_id="generation", concurrency_limit=2)
    stops(stop.click, computing, lambda: gr.update(visible=False), None, stop)
    page.starts_over(subject, computing, lambda view: first(view)[:-1], outputs)
    page.hands_out(head, sweep_evidence)


def _paint(view: View, found: service.Sweep | None) -> list:
    t, edit = words(view.state.lang), service.tried(view)
    count = len(service.values_of(edit))
    if found is None:
        what = t("steering.sweep_wait", count=count, seconds=t.lasting(service.sweep_seconds(view)))
    elif found.done:
        what = t("steering.sweep", count=count)
    else:
        what = t("steering.sweep_part", count=count, done=len(found.values))
    help = t("steering.sweep_help", vocabulary=view.config.d_vocab, guess=service.guess_bits(view))
    exports = Exports("gb_steering_sweep", "steering-by-value", t.section("panel"))
    badges = identity(t, identities.swept(view, found))
    head = panel_value(what, help=help, help_label=t("page.help"), badges=badges, exports=exports)
    buttons = [gr.update(visible=found is None), gr.update(visible=found is not None and not found.done)]
    return [head, None if found is None else _figure(view, t, found), *buttons]


def _figure(view: View, t: Words, found: service.Sweep):
    edit, labels = service.tried(view), t.section("steering_sweep")
    if edit.op == "project":
        labels = {**labels, "value": labels["share"]}
    control = None if found.control_probability is None else (found.control_probability, found.control_surprisal)
    return effect_by_value(
        found.values,
        view.show(found.targets),
        found.probability,
        found.surprisal,
        labels,
        chosen=service.chosen_value(edit),
        base_surprisal=found.base_surprisal,
        control=control,
    )
