"""Tab: lens. What the model would predict after each layer, and one token followed through the layers."""

import gradio as gr
import numpy as np

from app.components.lens_table import lens_table, lens_table_value
from app.components.message import message, message_value
from app.components.panel import Badge, Exports, panel, panel_value
from app.figures.tracks import rank_or_probability_by_layer
from app.page import Page
from app.service import lens as service
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.text import Words, words

MID, TARGET = Setting("lens.mid", False), Setting("lens.target", "")


def build(page: Page) -> None:
    """The tab's components and what they show."""
    head = panel("gb_lens_head")
    with gr.Row():
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
    page.control(MID, mid)
    page.control(TARGET, target)
    page.shows("lens", [head, problem], _head)
    page.shows("lens", [table], _table, inputs=[chosen], depends=lambda s: s.settings_of("lens").but(tab="lens", head=0))

    def keep(last: tuple | None, event: gr.EventData) -> tuple:
        return int(event.row), int(event.pos), last[2] + 1 if last else 0

    table.cellselect(keep, chosen, chosen, trigger_mode="multiple", show_progress="hidden", api_visibility="private")
    page.changes(chosen.change, _look_at, inputs=[chosen])
    said = panel("gb_lens_track_head")
    figure = gr.Plot(show_label=False, elem_id="gb_lens_track")
    only = lambda s: s.settings_of("lens").but(tab="lens", layer=0, head=0)  # noqa: E731
    page.shows("lens", [said, figure], _track, depends=only)
    page.hands_out(said, lambda view: service.track_evidence(view, _followed(view), MID.of(view.state)))


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


def _head(view: View) -> list:
    t, mid, (target, problem) = words(view.state.lang), MID.of(view.state), read_target(view, TARGET.of(view.state))
    check = service.table(view, mid, target).check
    title = t("page.check_title", name=t("lens.check_last"), residual=check.residual, tolerance=check.tolerance)
    badge = Badge(t("page.checked" if check.holds else "page.check_failed"), title, ok=check.holds)
    head = panel_value(t("lens.what"), help=t("lens.help"), help_label=t("page.help"), badges=[badge])
    return [head, message_value(problem, close=t("page.close"))]


def _row_labels(t: Words, labels: tuple[str, ...]) -> list[str]:
    named = [t("lens.mid_row", label=label.split()[0]) if label.endswith(" mid") else label for label in labels]
    return [t("lens.embed"), *named[1:-1], t("lens.last_row", label=named[-1])]


def _table(view: View, chosen: tuple | None) -> list:
    t, mid, (target, _) = words(view.state.lang), MID.of(view.state), read_target(view, TARGET.of(view.state))
    lens = service.table(view, mid, target)
    shown = _Shown(view, lens)
    follow = None if target is None else {"text": view.show([target])[0], "p": lens.target_p, "rank": lens.target_rank}
    several = lens.top_ids.shape[-1] > 1
    value = lens_table_value(
        _row_labels(t, lens.labels),
        view.shown,
        shown(lens.top_ids[..., 0]),
        lens.top_p[..., 0],
        text=t.section("lens_table"),
        target=follow,
        before_text=None if lens.before_ids is None else shown(lens.before_ids),
        top5=[[list(zip(*cell)) for cell in zip(*row)] for row in zip(shown(lens.top_ids), lens.top_p)] if several else None,
        selected=(_selected_row(view, mid, chosen), view.position),
        colors={"entropy": lens.entropy, "rank": lens.target_rank},
    )
    return [value]


class _Shown:
    """Ids as printed, in lists of the ids' shape; each distinct token is decoded once."""

    def __init__(self, view: View, lens: service.LensTable):
        before = [] if lens.before_ids is None else [lens.before_ids.ravel()]
        ids = np.unique(np.concatenate([lens.top_ids.ravel(), *before]))
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


def _track(view: View) -> list:
    t, mid, target = words(view.state.lang), MID.of(view.state), _followed(view)
    now = service.track(view, view.run, target, mid)
    before = None if view.before is None else service.track(view, view.before, target, mid)
    token, numbers = view.show([target])[0], {"first": now.p[0], "last": now.p[-1], "rank": int(now.rank[-1])}
    said = [t("lens.track_what", token=token, at=view.shown[view.position], position=view.position, **numbers)]
    if before is not None:
        said.append(t("lens.track_before", last=before.p[-1], rank=int(before.rank[-1])))
    labels = _row_labels(t, service.table(view, mid, None).labels)
    pair = None if before is None else (before.p[None], before.rank[None])
    figure = rank_or_probability_by_layer(labels, [token], now.p[None], now.rank[None], t.section("lens_track"), before=pair)
    exports = Exports("gb_lens_track", "lens-token", t.section("panel"))
    return [panel_value(" ".join(said), help=t("lens.track_help"), help_label=t("page.help"), exports=exports), figure]
