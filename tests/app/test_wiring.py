"""Long work of the page: what was asked for before must not be painted over what is asked for now."""

import pytest

from app import ui
from app.settings import Settings
from app.store import ModelStore

GO = (
    "heads_measure", "heads_search", "neurons_read", "patching_maps_go", "patching_preview_go", "patching_paths_go",
    "patching_noise_go", "patching_set_go", "circuits_go", "steering_write", "steering_sweep_go",
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
    return demo.blocks[event.targets[0][0]].elem_id if event.targets else None
