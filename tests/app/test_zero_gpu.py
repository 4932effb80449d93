"""Everything that the page runs on a borrowed GPU goes into another process and back: it must be picklable."""

import inspect
import pickle

import pytest

import app.page as page_module
from app.state import TABS, PageState
from app.ui import build
from interp.edits import Edit, Plan


@pytest.fixture(scope="module")
def page(store):
    """The page, and what came out of each function that would run on a GPU, with what goes in and comes out sent through pickle."""
    seen = []

    def through_pickle(function):
        def call(*values):
            values = pickle.loads(pickle.dumps(values))
            out = pickle.loads(pickle.dumps(function(*values)))
            seen.append(out)
            return out

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "on_gpu", lambda f: f if inspect.isgeneratorfunction(f) else through_pickle(f))
        return build(store), seen


@pytest.mark.parametrize("tab", TABS)
def test_the_page_answers_through_pickle(page, tab):
    demo, seen = page
    seen.clear()
    function = next(f for f in demo.fns.values() if f.name == "plain")
    state = PageState(prompt="The old clock", plan=Plan((Edit.zero("z", 2, 1),)), tab=tab)
    values = [getattr(component, "value", None) for component in function.inputs[2:]]
    out = function.fn(state, {}, *values)
    assert seen and len(out) == len(function.outputs)
    new = out[[o._id for o in function.outputs].index(function.inputs[0]._id)]
    assert isinstance(new, PageState)
