"""Which model: what is embedded, what is on this machine, what can be downloaded and how large it is."""

import time

import gradio as gr

from app.components.panel import panel, panel_value
from app.page import Notice, Page
from app.service.view import View
from app.state import PageState
from app.terminal import size as size_text
from app.text import Words, words
from gpt2_core.checkpoints import ModelEntry
from gpt2_core.checkpoints.find import registered


def entry_text(t: Words, entry: ModelEntry) -> str:
    """A line of the picker."""
    said = entry.label.startswith(entry.name) or entry.name.endswith(entry.label)  # a folder's label is the end of its path
    label = "" if said else entry.label
    return " ".join(t(f"page.model_{entry.state}", name=entry.name, label=label, size=size_text(entry.bytes)).split()).replace(
        " ,", ","
    )


def picker(page: Page) -> None:
    """The list of models."""
    names = [entry.name for entry in page.store.entries()]
    page.model = gr.Dropdown(
        names, value=page.store.settings.model, label=page.label("page.model"), elem_id="gb_model", min_width=260
    )

    def choices(view: View) -> list:
        t = words(view.state.lang)
        lines = [(entry_text(t, entry), entry.name) for entry in page.store.entries()]
        return [gr.update(choices=lines, value=view.state.model)]

    page.shows(None, [page.model], choices, depends=lambda s: (s.model, s.lang))


def about_and_download(page: Page) -> None:
    """What the model at hand is; and, for one that is not here, what a download would be, before it happens."""
    about = panel("gb_about")
    page.shows(None, [about], _about, depends=lambda s: (s.model, s.lang))
    with gr.Group(visible=False, elem_id="gb_download") as box:
        what = panel("gb_download_what")
        with gr.Row():
            go = gr.Button(page.label("page.download"), variant="primary", size="sm", elem_id="gb_download_go")
            stop = gr.Button(page.label("page.cancel"), size="sm")
    wanted = gr.State("")

    def offer(state: PageState, name: str) -> list:
        if name == state.model:  # also the echo of the list going back to the model in use, below
            return [gr.skip()] * 4
        if page.store.entry(name).state != "downloadable":
            return [gr.update(visible=False), gr.skip(), "", gr.skip()]
        t, plan = words(state.lang), page.store.describe_download(name)
        sentence = t("page.download_title", repo=plan.repo, size=size_text(plan.bytes), licence=plan.licence)
        return [gr.update(visible=True), panel_value(sentence), name, state.model]  # the list shows the model in use

    page.listen(page.model.input, offer, [page.state, page.model], [box, what, wanted, page.model])
    page.changes(page.model.input, lambda s, name: choose_model(page, s, name), inputs=[page.model])

    def download(state: PageState, name: str, request: gr.Request, progress=gr.Progress()):  # noqa: B008 - Gradio's convention
        t, last = words(state.lang), [0.0]

        def report(done: int, total: int) -> None:
            if time.monotonic() - last[0] > 0.2:
                last[0] = time.monotonic()
                progress((done, total), desc=t("page.downloading", name=name), unit="B")

        try:
            page.store.download(name, report, request.session_hash)
        except ValueError as error:  # a sentence for the person who pressed the button
            raise gr.Error(str(error), print_exception=False) from error
        return gr.update(visible=False), name

    def cancel(name: str, request: gr.Request) -> dict:
        page.store.cancel_download(name, request.session_hash)
        return gr.update(visible=False)

    # Several at once, so that a second person hears at once that a model is on its way.
    at_once = {"concurrency_limit": 8, "api_visibility": "private"}
    fetching = go.click(download, [page.state, wanted], [box, page.model], **at_once)
    page.changes(fetching.success, lambda s, name: _fetched(page, s, name), inputs=[page.model])
    stop.click(cancel, wanted, box, show_progress="hidden", **at_once)


def choose_model(page: Page, state: PageState, name: str) -> PageState:
    """The state with another model, if it is on this machine; edits that it has no place for are taken away, with a notice."""
    entry = page.store.entry(name)
    if entry.state == "downloadable":
        return state
    new = state.but(model=name, plan=state.plan.fitting(entry.config), layer=0, head=0)
    gone = len(state.plan) - len(new.plan)
    if gone:
        raise Notice(new, words(state.lang)("page.edits_dropped", count=gone, model=name))
    return new


def _fetched(page: Page, state: PageState, name: str) -> PageState:
    raise Notice(choose_model(page, state, name), words(state.lang)("page.downloaded", name=name))


def _about(view: View) -> list:
    t, cfg = words(view.state.lang), view.model.cfg
    where = t("page.where", device=cfg.device, dtype=str(cfg.dtype).removeprefix("torch."))
    known = view.store.entry(view.state.model)
    kind = {"embedded": "embedded", "cached": "released"}[known.state] if registered(known.name) else "folder"
    return [panel_value(t(f"page.about_{kind}", name=view.state.model, params=f"{cfg.n_params / 1e6:,.1f}M", where=where))]
