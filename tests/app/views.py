"""A state of the page for a test, over a store."""

from app.service.view import View
from app.state import PageState


def view_of(store, *settings, **changes) -> View:
    """settings: (SETTING, value) pairs of tabs; changes: fields of the state. The store's own model unless said otherwise."""
    state = PageState(model=store.settings.model, prompt="The old clock struck twelve").but(**changes)
    for setting, value in settings:
        state = setting.on(state, value)
    return View(store, state)
