"""Long work of the page: it keeps nobody waiting, and what was asked for before is not painted over what is asked for now."""

import gradio as gr
import pytest

from app import ui
from app.page import Page
from app.service import attribution as attribution_service
from app.service import lens as lens_service
from app.service import staged
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import attribution, lens, lens_more
from app.tabs.attribution import METHOD
from app.tabs.behind import behind
from app.text import words

GO = (
    "heads_measure", "heads_search", "neurons_read", "patching_maps_go", "patching_preview_go", "patching_paths_go",
    "patching_noise_go", "patching_set_go", "circuits_go", "steering_write", "steering_sweep_go",
    "heads_card_long_go", "heads_weights_long_go", "lens_long_go", "attribution_long_go", "zero_shot_go", "scaling_go",
    "literature_go",
)  # fmt: skip


@pytest.fixture(scope="module")
def demo():
    return ui.build(ModelStore(Settings(model="glass-2m", device="cpu")))


@pytest.mark.parametrize("name", GO)
def test_long_work_ends_by_its_button_and_by_a_change_of_what_it_was_asked_for(demo, name):
    (running,) = [f for f in demo.fns.values() if f.types_generator and (_block(demo, f), "click") == (f"gb_{name}", "click")]
    enders = [(_block(demo, f), f.targets[0][1]) for f in demo.fns.values() if running._id in f.cancels]
    assert any(event == "click" and "stop" in block for block, event in enders)
    assert (None, "change") in enders  # of a gr.State, which has no name on the page


def _block(demo, event) -> str | None:
    return demo.blocks[event.targets[0][0]].elem_id if event.targets and event.targets[0][0] is not None else None


def test_what_draws_the_state_behind_a_run_waits_for_its_turn(demo):
    """Else it might draw what the state was over what an event meanwhile has drawn of what it is."""
    state = next(f.outputs[0] for f in demo.fns.values() if f.targets and f.targets[0][1] == "load")
    behind = [
        f
        for f in demo.fns.values()
        if (None, "then") in f.targets and not f.types_generator and f.inputs and f.inputs[0] is state
    ]
    assert len(behind) > 10 and all(f.concurrency_id == "state" for f in behind)


@pytest.fixture(scope="module")
def long_prompt():
    state = PageState(model="glass-2m", prompt=" the old clock" * 100, lang="en")
    return View(ModelStore(Settings(model="glass-2m", device="cpu")), METHOD.on(state, "zero"))


def test_a_long_prompt_does_not_keep_the_page_waiting(long_prompt, monkeypatch):
    """What the lens and the gradients take seconds for is computed behind the page; the last picture stays meanwhile."""
    view, waiting = long_prompt, words("en")("page.computing")
    for service in (lens_service, attribution_service):
        monkeypatch.setattr(service, "MOMENT", 1e9)
    stages = [*lens._stages(view), *attribution._saliency_stages(view)]
    assert len(stages) == 2 and not any(stage.at_once for stage in stages) and not staged.value(view, stages[0])
    for head, picture in (
        (lens._head(view)[0], lens._table(view, None)[0]),
        lens_more._statistics(view),
        attribution._saliency(view),
    ):
        assert head["what"].startswith(waiting) and picture == gr.skip()
    for service in (lens_service, attribution_service):
        monkeypatch.setattr(service, "MOMENT", float("inf"))
    for head, picture in (
        (lens._head(view)[0], lens._table(view, None)[0]),
        lens_more._statistics(view),
        attribution._saliency(view),
    ):
        assert waiting not in head["what"] and head["badges"] and picture != gr.skip()


def test_what_takes_longest_waits_for_its_button_which_says_how_long(long_prompt, monkeypatch):
    monkeypatch.setattr(lens_service, "MOMENT", 0)
    with gr.Blocks():
        page = Page(long_prompt.store)
        behind(page, "lens", lens._stages, lambda s: s, "gb_test_long")
    asked, offered = page._sections
    view = View(long_prompt.store, long_prompt.state.but(prompt="The old clock"))
    wanted, subject = asked.render(view)
    assert wanted == subject != "" and not offered.render(view, 0)[0]["visible"]
    monkeypatch.setattr(staged, "UNASKED", 0)
    monkeypatch.setattr(staged, "speed", lambda model: lens._stages(view)[0].flops / 25)
    wanted, same = asked.render(view)
    go, stop = offered.render(view, 0)
    assert wanted == "" and same == subject and go["visible"] and stop["visible"] and go["value"] == "Compute, about 25 s"
    for stage in lens._stages(view):
        staged.finished(view, stage)
    assert not offered.render(view, 1)[0]["visible"]
