"""The page, put together."""

import gradio as gr

from app import api
from app.components.base import page_head
from app.components.i18n import I18N
from app.document import middleware
from app.examples import examples_for
from app.figures.palette import stylesheet
from app.page import Page
from app.state import LANGUAGES, TABS, PageState
from app.store import ModelStore
from app.tabs import (
    anatomy,
    attention,
    attribution,
    circuits,
    header,
    heads,
    lens,
    literature,
    neurons,
    patching,
    playground,
    probabilities,
    scaling,
    steering,
    training,
    zero_shot,
)
from app.wiring import HEADER

VISITS = 300  # the latest whose pages are remembered, 3 MB each; Gradio alone remembers 10,000
BUILDERS = {
    "neurons": neurons.build,
    "steering": steering.build,
    "playground": playground.build,
    "probabilities": probabilities.build,
    "attention": attention.build,
    "heads": heads.build,
    "attribution": attribution.build,
    "patching": patching.build,
    "circuits": circuits.build,
    "anatomy": anatomy.build,
    "zero_shot": zero_shot.build,
    "lens": lens.build,
    "training": training.build,
    "scaling": scaling.build,
    "literature": literature.build,
}


def build(store: ModelStore) -> gr.Blocks:
    """The page over a store of models."""
    with gr.Blocks(title="GPT-2 Glassbox", analytics_enabled=False) as demo:
        api.add_endpoints(store)  # first: a name belongs to the first function that has it
        page = Page(store)
        header.build(page)
        with gr.Tabs(elem_id="gb_tabs") as tabs:
            for name in TABS:
                with gr.Tab(page.label(f"page.tab_{name}"), id=name, elem_id=f"gb_tab_{name}") as tab, page.inside(name):
                    BUILDERS[name](page)
                    page.changes(tab.select, lambda s, name=name: s.but(tab=name), own_control=HEADER)
        page.shows(None, [tabs], lambda view: [gr.update(selected=view.state.tab)], depends=lambda s: s.tab, control=True)
        gr.Markdown(page.label("page.footer"), elem_id="gb_footer")
        page.wire(demo, lambda request: first_state(store, request))
    return demo


def first_state(store: ModelStore, request: gr.Request) -> tuple[PageState, str]:
    """The state that an address asks for, and what was wrong with it.

    An address that says nothing, or something that cannot be, opens on an example. The language is the address's, or else the
    browser's.
    """
    query = dict(request.query_params) if request else {}
    embedded = store.entry(store.settings.model).state == "embedded"
    first = examples_for(embedded)[0]
    lang = query["lang"] if query.get("lang") in LANGUAGES else _language(request)
    default = PageState(model=store.settings.model, prompt=first.prompt, lang=lang)
    try:
        state = PageState.from_query(query, default)
        state.plan.check(store.model(state.model).config)
    except ValueError as error:
        return default, str(error)
    return state, ""


def _language(request: gr.Request) -> str:
    accepted = (request.headers.get("accept-language") or "") if request else ""
    return next(
        (lang for part in accepted.split(",") for lang in LANGUAGES if part.strip().lower().startswith(lang)), LANGUAGES[0]
    )


def launch_options(store: ModelStore) -> dict:
    """What `demo.launch` needs for this page: address, theme, scripts; nothing from any other host."""
    settings = store.settings
    return {
        "server_name": settings.host,
        "server_port": settings.port,
        "share": settings.share,
        "theme": gr.themes.Base(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        "head": page_head() + f"<style>{stylesheet()}</style>",
        "i18n": I18N,
        "app_kwargs": {"middleware": middleware()},
        "ssr_mode": False,
        "run_history": False,
        "state_session_capacity": VISITS,
        "footer_links": ["api"],
    }
