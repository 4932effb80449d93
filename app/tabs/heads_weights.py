"""Part of the heads tab: what the selected head reads and writes in words, from its weights."""

from collections.abc import Iterator

import gradio as gr

from app.components.number_table import Column, number_table
from app.components.panel import Badge, panel, panel_value
from app.figures.heads_card import eigenvalue_plane
from app.page import Page
from app.service import heads, heads_card_evidence, identities, staged
from app.service import heads_weights as service
from app.service.view import View
from app.state import PageState
from app.tabs.badges import identity
from app.tabs.behind import behind
from app.tabs.heads_card import described, listed, place
from app.text import Words, words
from interp.edits import NO_EDITS
from interp.weights_pairs import TopPairs


def build(page: Page) -> None:
    """The two circuits side by side, and the eigenvalues."""
    head, t = panel("gb_heads_weights_head"), page.label
    with gr.Row(elem_id="gb_heads_weights_choices"):
        for setting, name in ((service.FOLDED, "folded_choice"), (service.FIRST_MLP, "first_mlp"), (service.LOWEST, "lowest")):
            with gr.Column(min_width=200):
                box = gr.Checkbox(setting.default, label=t(f"heads.{name}"), elem_id=f"gb_heads_{name}")
                page.control(setting, box)
    page.shows("heads", [head], _said)
    # The rest is read when it has been computed; the pairs are shown as they are found.
    done, searched = behind(page, "heads", service.weight_stages, _of_weights, "gb_heads_weights_long"), gr.State("")
    page.shows("heads", [searched], lambda view: [_missing(view)], depends=_of_weights)
    outputs = []
    with gr.Row():
        for circuit in service.CIRCUITS:
            with gr.Column(min_width=320):
                outputs += _circuit(page, circuit, done)
    _eigenvalues(page, done)

    def search(state: PageState) -> Iterator[dict]:
        view = View(page.store, state)
        for circuit, (head, table) in zip(service.CIRCUITS, (outputs[:2], outputs[2:])):
            for found in staged.now_and_then(service.find_pairs(view, circuit)):
                yield dict(zip((head, table), _pairs_values(view, circuit, found)))

    page.runs(searched, search, [page.state], outputs, concurrency_id="heads pairs")


def _of_weights(state: PageState) -> PageState:
    """What a reading of weights depends on: not on the text, except for one token, and not on edits."""
    return state.settings_of("heads").but(tab="heads", plan=NO_EDITS)


def _missing(view: View) -> str:
    """The pairs that have to be searched for."""
    return "\n".join(repr(service.pairs_key(view, c)) for c in service.CIRCUITS if service.pairs(view, c) is None)


def _said(view: View) -> list:
    t = words(view.state.lang)
    folded = service.FOLDED.of(view.state)
    badge = Badge(t("heads.folded" if folded else "heads.raw"), t("heads.folded_title" if folded else "heads.raw_title"))
    help = t("heads.weights_help")
    return [panel_value(t("heads.weights_what", place=place(view)), help=help, help_label=t("page.help"), badges=[badge])]


def _circuit(page: Page, circuit: str, done: gr.State) -> list:
    """The pairs and the directions of one circuit; gives the pairs' two components, which a search fills."""
    name = circuit.lower()
    head, table = panel(f"gb_heads_pairs_{name}_head"), number_table(f"gb_heads_pairs_{name}")
    page.shows(
        "heads",
        [head, table],
        lambda view, done: _pairs_values(view, circuit, service.pairs(view, circuit)),
        inputs=[done],
        depends=_of_weights,
    )
    page.hands_out(head, lambda view: heads_card_evidence.pairs_evidence(view, circuit))
    said, listing = panel(f"gb_heads_directions_{name}_head"), number_table(f"gb_heads_directions_{name}")
    page.shows("heads", [said, listing], lambda view, done: _directions(view, circuit), inputs=[done], depends=_of_weights)
    page.hands_out(said, lambda view: heads_card_evidence.directions_evidence(view, circuit))
    return [head, table]


def _pairs_values(view: View, circuit: str, found: TopPairs | None) -> list:
    """The panel's head and the table, as far as the search has come."""
    t, low = words(view.state.lang), "low" if service.LOWEST.of(view.state) else "top"
    said, badges = [t(f"heads.pairs_{circuit}_{low}", place=place(view))], []
    row = staged.value(view, service.row(view, circuit))
    if row is not None:
        up, down = (_joined(view, ids) for ids in (row.up_ids, row.down_ids))
        said.append(t(f"heads.row_{circuit}", token=view.shown[view.position], up=up, down=down))
    if found is None or not found.final:
        share = 0.0 if found is None else found.looked_at
        said.append(t("heads.searching", share=share))
    else:
        badges = [Badge(t("heads.exact"), t("heads.exact_title", share=found.looked_at))]
    name = circuit.lower()
    columns = [
        Column(t(f"heads.column_left_{circuit}"), "token"),
        Column(t(f"heads.column_right_{circuit}"), "token"),
        Column(t("heads.column_value"), digits=3, bound=0.0 if found is None else float(found.values.abs().max())),
    ]
    rows = [] if found is None else list(zip(view.show(found.left), view.show(found.right), found.values.tolist()))
    same = [] if found is None else [i for i, same in enumerate(found.same.tolist()) if same]
    label = t(f"heads.pairs_{circuit}_label", place=place(view))
    return [
        described(t, "pairs", " ".join(said), f"gb_heads_pairs_{name}", badges),
        listed(t, label, columns, rows, marked=same),
    ]


def _joined(view: View, ids) -> str:
    return "  ".join(f"“{token}”" for token in view.show(ids))


def _directions(view: View, circuit: str) -> list:
    t, name = words(view.state.lang), circuit.lower()
    found = staged.value(view, service.directions(view, circuit))
    columns = [
        Column(t("heads.column_share"), title=t("heads.column_share_title"), digits=3),
        Column(t(f"heads.column_reads_{circuit}"), "token"),
        Column(t(f"heads.column_writes_{circuit}"), "token"),
    ]
    rows = (
        []
        if found is None
        else [
            [share, "  ".join(view.show(read)), "  ".join(view.show(written))]
            for share, read, written in zip(service.energy(found), found.read.up_ids, found.written.up_ids)
        ]
    )
    said = t(f"heads.directions_{circuit}", place=place(view)) if found else t("heads.computing")
    label = t(f"heads.directions_{circuit}_label", place=place(view))
    badges = identity(t, found and identities.strengths(view, found))
    return [described(t, "directions", said, f"gb_heads_directions_{name}", badges), listed(t, label, columns, rows)]


def _eigenvalues(page: Page, done: gr.State) -> None:
    head = panel("gb_heads_eigen_head")
    plane = gr.Plot(show_label=False, elem_id="gb_heads_eigen")
    page.shows("heads", [head, plane], _eigen, inputs=[done], depends=_of_weights)
    page.hands_out(head, heads_card_evidence.eigenvalues_evidence)


def _eigen(view: View, done: int) -> list:
    t = words(view.state.lang)
    all_heads = staged.value(view, service.eigenvalues(view))
    if all_heads is None:
        return [described(t, "eigen", t("heads.computing"), "gb_heads_eigen"), gr.skip()]
    found = service.of_head(view, all_heads)
    said = [t("heads.eigen_what", place=place(view), score=found.score)]
    said += _copied(view, t)
    labels, badges = t.section("eigenvalues"), identity(t, identities.trace(view, all_heads))
    return [
        described(t, "eigen", " ".join(said), "gb_heads_eigen", badges),
        eigenvalue_plane(found.values, found.score, labels),
    ]


def _copied(view: View, t: Words) -> list[str]:
    """The share of names that come back, where it has been measured."""
    copied = heads.score(view, "copy", NO_EDITS)
    return [] if copied is None else [t("heads.eigen_names", share=float(copied[view.layer, view.head]))]
