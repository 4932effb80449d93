"""Tab: lens. What the model would predict after each layer, and one token followed through the layers."""

import gradio as gr
import numpy as np

from app.components.lens_table import lens_table, lens_table_value
from app.components.message import message, message_value
from app.components.panel import Exports, panel, panel_value
from app.figures.tracks import rank_or_probability_by_layer
from app.page import Page
from app.service import lens as service
from app.service import lens_evidence
from app.service.staged import Stage, value
from app.service.view import View
from app.state import PageState
from app.tabs import lens_more
from app.tabs.badges import check_badge
from app.tabs.behind import behind
from app.tabs.lens_choices import COLOR, KIND, MID, TARGET, asked, row_labels, seen
from app.text import words
from interp.lens import labels as names


def build(page: Page) -> None:
    """The tab's components and what they show."""
    head = panel("gb_lens_head")
    with gr.Row():
        with gr.Column(min_width=220):
            kind = gr.Radio(
                [(k, k) for k in KIND.one_of], value=KIND.default, label=page.label("lens.kind"), elem_id="gb_lens_kind"
            )
        with gr.Column(min_width=220):
            mid = gr.Checkbox(False, label=page.label("lens.mid"), elem_id="gb_lens_mid")
        with gr.Column(min_width=220):
            target = gr.Textbox(
                "",
                label=page.label("lens.target"),
                placeholder=page.label("lens.target_hint"),
                info=page.label("lens.target_info"),
                max_lines=1,
                elem_id="gb_lens_target",
            )
    problem = message("gb_lens_message")
    chosen = gr.State(None)  # the row and position chosen last, and how many choices so far
    table = lens_table("gb_lens_table")
    page.shows("lens", [kind], _kinds, depends=lambda s: (s.lang, s.model, seen(s, KIND).settings), control=True)
    page.changes(kind.input, KIND.on, inputs=[kind], own_control=True)
    page.control(MID, mid)
    page.control(TARGET, target)
    of_table = lambda s: seen(s, KIND, MID, TARGET, head=0)  # noqa: E731
    done = behind(page, "lens", _stages, lambda s: seen(s, KIND, MID, TARGET, position=None, layer=0, head=0), "gb_lens_long")
    page.shows("lens", [head, problem], _head, inputs=[done], depends=of_table)
    page.shows("lens", [table], _table, inputs=[chosen, done], depends=of_table)
    page.hands_out(
        head, lambda view: lens_evidence.table_evidence(view, read_target(view, TARGET.of(view.state))[0], *asked(view))
    )

    def keep(last: tuple | None, event: gr.EventData) -> tuple:
        return int(event.row), int(event.pos), last[2] + 1 if last else 0

    table.cellselect(keep, chosen, chosen, trigger_mode="multiple", show_progress="hidden", api_visibility="private")
    page.changes(chosen.change, _look_at, inputs=[chosen])
    page.changes(table.colorselect, lambda s, event: COLOR.on(s, str(event.color)), event_data=True)
    said = panel("gb_lens_track_head")
    figure = gr.Plot(show_label=False, elem_id="gb_lens_track")
    page.shows("lens", [said, figure], _track, inputs=[done], depends=lambda s: seen(s, KIND, MID, TARGET, layer=0, head=0))
    page.hands_out(said, lambda view: lens_evidence.track_evidence(view, _followed(view), *asked(view)))
    lens_more.build(page, done)


def _stages(view: View) -> list[Stage]:
    """The table and the statistics: the same, unless another token than the model's own prediction is followed in the table."""
    return list({stage.key: stage for stage in (_stage(view), *lens_more.statistics_stages(view))}.values())


def _stage(view: View) -> Stage:
    (mid, kind), (target, _) = asked(view), read_target(view, TARGET.of(view.state))
    return service.table_stage(view, view.run, mid, target, kind)


def _kinds(view: View) -> list:
    """The lenses at hand: a tuned lens only where one of these weights is."""
    t, kinds = words(view.state.lang), [k for k in KIND.one_of if k != "tuned" or service.tuned(view)]
    value = service.usable(view, KIND.of(view.state), False)[0]
    return [gr.update(choices=[(t(f"lens.kind_{k}"), k) for k in kinds], value=value)]


def _look_at(state: PageState, chosen: tuple | None) -> PageState:
    return state if chosen is None else state.but(position=chosen[1], layer=service.layer_of(chosen[0], MID.of(state)))


def read_target(view: View, text: str) -> tuple[int | None, str]:
    """The token to follow (None: the model's own prediction), and a sentence where the text is no single token."""
    t = words(view.state.lang)
    if not text:
        return None, ""
    try:
        target = service.one_token(view.model.tokenizer, text)
    except service.NotOneToken as error:
        return None, t("lens.not_one", text=text[:60], count=len(error.pieces), pieces=" | ".join(error.pieces[:12]))
    if target >= view.config.d_vocab:
        return None, t("lens.unknown", text=text[:60], id=target, count=view.config.d_vocab)
    return target, ""


def _head(view: View, done: int = 0) -> list:
    t, (mid, kind), (_, problem) = words(view.state.lang), asked(view), read_target(view, TARGET.of(view.state))
    found = value(view, _stage(view))
    badges = [] if found is None else [check_badge(t, found.check, t("lens.check_last"))]
    said = [t("page.computing")] if found is None else []
    said += [t("lens.what"), t(f"lens.what_{kind}") if kind != "logit" else ""]
    if kind == "tuned":
        lens = service.tuned(view)
        said.append(t("lens.tuned_of", steps=lens.steps, tokens=lens.tokens))
        said.append(t("lens.tuned_no_mid") if MID.of(view.state) and not mid else "")
    exports = Exports("gb_lens_table", f"{kind}-lens", t.section("panel"))
    help = t("lens.help") if kind == "logit" else t(f"lens.help_{kind}")
    head = panel_value(" ".join(filter(None, said)), help=help, help_label=t("page.help"), badges=badges, exports=exports)
    return [head, message_value(problem, close=t("page.close"))]


def _table(view: View, chosen: tuple | None, done: int = 0) -> list:
    t, (mid, _), (target, _) = words(view.state.lang), asked(view), read_target(view, TARGET.of(view.state))
    _, *without = lens_more.statistics_stages(view)
    found = [value(view, stage) for stage in (_stage(view), *without)]
    if None in found:
        return [gr.skip()]
    lens, before = (*found, None)[:2]
    shown = _Shown(view, *(table.top_ids for table in found))
    follow = None if target is None else {"text": view.show([target])[0], "p": lens.target_p, "rank": lens.target_rank}
    several = lens.top_ids.shape[-1] > 1
    picture = lens_table_value(
        row_labels(t, lens.labels),
        view.shown,
        shown(lens.top_ids[..., 0]),
        lens.top_p[..., 0],
        text=t.section("lens_table"),
        target=follow,
        before_text=None if before is None else shown(before.top_ids[..., 0]),
        top5=[[list(zip(*cell)) for cell in zip(*row)] for row in zip(shown(lens.top_ids), lens.top_p)] if several else None,
        selected=(_selected_row(view, mid, chosen), view.position),
        colors={"entropy": lens.entropy, "rank": lens.target_rank},
        color=COLOR.of(view.state),
    )
    return [picture]


class _Shown:
    """Ids as printed, in lists of the ids' shape; each distinct token is decoded once."""

    def __init__(self, view: View, *tables: np.ndarray):
        ids = np.unique(np.concatenate([ids.ravel() for ids in tables]))
        self._names = np.array([view.show([i])[0] for i in ids], dtype=object)
        self._ids = ids

    def __call__(self, ids: np.ndarray) -> list:
        return self._names[np.searchsorted(self._ids, ids)].tolist()


def _selected_row(view: View, mid: bool, chosen: tuple | None) -> int:
    """The row chosen last where it still belongs to the selected layer, else the row after that layer."""
    last = service.row_of(view.config.n_layers - 1, mid)
    if chosen is not None and chosen[0] <= last and service.layer_of(chosen[0], mid) == view.layer:
        return chosen[0]
    return service.row_of(view.layer, mid)


def _followed(view: View) -> int:
    """The token that is followed: the one typed, or the model's own prediction."""
    typed, _ = read_target(view, TARGET.of(view.state))
    return service.final_prediction(view) if typed is None else typed


def _track(view: View, done: int = 0) -> list:
    t, (mid, kind), target = words(view.state.lang), asked(view), _followed(view)
    now = service.track(view, view.run, target, mid, kind)
    before = None if view.before is None else service.track(view, view.before, target, mid, kind)
    token, numbers = view.show([target])[0], {"first": now.p[0], "last": now.p[-1], "rank": int(now.rank[-1])}
    said = [t("lens.track_what", token=token, at=view.shown[view.position], position=view.position, **numbers)]
    if before is not None:
        said.append(t("lens.track_before", last=before.p[-1], rank=int(before.rank[-1])))
    labels = row_labels(t, names(view.config.n_layers, mid))
    pair = None if before is None else (before.p[None], before.rank[None])
    figure = rank_or_probability_by_layer(labels, [token], now.p[None], now.rank[None], t.section("lens_track"), before=pair)
    exports = Exports("gb_lens_track", "lens-token", t.section("panel"))
    whole = value(view, _stage(view))
    badges = [] if whole is None else [check_badge(t, whole.check, t("lens.check_last"))]
    head = panel_value(" ".join(said), help=t("lens.track_help"), help_label=t("page.help"), badges=badges, exports=exports)
    return [head, figure]
