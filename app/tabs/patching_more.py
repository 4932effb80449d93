"""The further panels of the patching tab, one at a time: previews, paths, noise, and whole sets."""

from collections.abc import Callable

import gradio as gr

from app.page import Page
from app.setting import Setting
from app.state import PageState
from app.tabs import patching_noise, patching_paths, patching_preview, patching_set
from app.tabs.patching_job import TAB, Offered, drawn_after, menu

METHOD = Setting("patching.method", "preview", one_of=("preview", "paths", "noise", "set"))
PANELS = {"preview": patching_preview, "paths": patching_paths, "noise": patching_noise, "set": patching_set}


def build(page: Page, maps: Offered) -> None:
    """The choice, and the panels of which one is visible. maps: the job that previews are compared with."""
    method = gr.Radio(list(METHOD.one_of), label=page.label("patching.method"), elem_id="gb_patching_method")
    menu(page, METHOD, method)
    columns = []
    for name, panel in PANELS.items():
        with gr.Column(visible=name == METHOD.default) as column:
            job = panel.build(page, shown_when(name))
        if name == "preview":
            drawn_after(page, maps, job.render, job.outputs)
        columns.append(column)
    page.shows(
        TAB, columns, lambda view: [gr.update(visible=name == METHOD.of(view.state)) for name in PANELS], depends=METHOD.of
    )


def shown_when(name: str) -> Callable[[PageState], bool]:
    """Whether a panel is the one that is looked at: the others are not computed."""
    return lambda state: METHOD.of(state) == name
