"""What the parts of the page declare, and values on their way between functions and components. `app.page` explains both."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio.events import EventListenerMethod, set_cancel_events

from app.state import TABS, PageState

# Events that read the page's state, one after the other: two at once would lose what the first one changed.
IN_TURN: dict[str, Any] = {"concurrency_id": "state", "concurrency_limit": 1}
HEADER = "header"  # as `own_control`: the event of a tab comes from a control of the header
Render = Callable[..., Sequence[Any]]
Update = Callable[..., PageState]


@dataclass(frozen=True)
class Section:
    """Components that are filled together. tab None is the header, shown on every tab.

    render(view, *input values) -> one value per output. depends(state) names what the picture depends on besides the inputs;
    None: on everything but which tab is open and what was set in others.
    control: the outputs are things a person sets (a text box); an event that came from one of them does not write back to those of its
    tab.
    """

    tab: str | None
    outputs: tuple[Any, ...]
    render: Render
    inputs: tuple[Any, ...] = ()
    depends: Callable[[PageState], Hashable] | None = None
    control: bool = False

    @property
    def is_chart(self) -> bool:
        """Whether the browser has a chart of Plotly's to draw."""
        return any(isinstance(output, gr.Plot) for output in self.outputs)

    def key(self, state: PageState) -> Hashable:
        """What the picture is drawn from, besides the inputs."""
        return self.depends(state) if self.depends else state.settings_of(self.tab).but(tab=TABS[0])


@dataclass(frozen=True)
class Change:
    listener: Callable[..., Any]
    update: Update
    inputs: tuple[Any, ...]
    own_control: bool | str
    event_data: bool
    tab: str | None
    options: dict[str, Any]


def by_component(result: Any, outputs: list[Any]) -> dict:
    """What a function returned, one value or one per output or already by component, by component."""
    if isinstance(result, dict) and all(isinstance(key, gr.blocks.Block) for key in result):
        return result
    return dict(zip(outputs, [result] if len(outputs) == 1 else result, strict=True))


def values_in_order(given: dict, outputs: Sequence[Any]) -> list:
    """The values of outputs in their order; what is not said stays as it is."""
    return [given.get(output, gr.skip()) for output in outputs]


def event_data_of(value: Any) -> Any:
    """An event without its component: its data as attributes. Any other value as it is."""
    return SimpleNamespace(**value._data) if isinstance(value, gr.EventData) else value


def ended(listener: Callable[..., Any], running: Any) -> Any:
    """Ends an event that runs: when Stop is pressed, or when what it was asked for changes, so that it cannot paint over the newer.

    Nothing of it is painted from then on (`assets/js/cancelled.js`), but what came before may have been painted over newer pictures:
    `ended(...).then(...)` is behind all of it.
    """
    return listener(None, cancels=[running], trigger_mode="multiple", show_progress="hidden", api_visibility="private")


def stops(listener: Callable[..., Any], running: Any, fn: Callable[..., Any], inputs: Any, outputs: Any) -> Any:
    """Ends an event, as a Stop button does, and then paints what fn gives."""
    return ended(listener, running).then(fn, inputs, outputs, show_progress="hidden", api_visibility="private", **IN_TURN)


def restarted(wanted: gr.State, running: Any) -> None:
    """Ends an event that a change of `wanted` starts (`wanted.change(None).then(...)`), right before that change starts it anew.

    Gradio gives each of `cancels` an event of its own behind one that does nothing, where it might hit the new run; this one is in
    time. For what runs, the mode "always_last" lets the new run wait until the old one has ended.
    """
    set_cancel_events([EventListenerMethod(wanted, "change")], [running])
