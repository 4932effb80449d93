"""How the page's own pictures are made: a `gr.HTML` with constant markup, its script, and a dict for a value.

What Gradio 6.31 does, and therefore what a component's script must do:

- `html_template` is evaluated at every change of a prop and the DOM is patched only when its text changed. So the markup is
  constant (it never mentions the value) and the script owns everything below `element`. `element` is a `<div>` inside the block
  that carries `elem_id`: wait for `#my_id [data-painted]`, not for an attribute of `#my_id`.
- `watch('value', draw)` does not fire for the value the component starts with, so a script ends with `draw()`. Gradio compares
  `JSON.stringify` of old and new: an equal value draws nothing, which is why `content_id` is a hash and not a counter. Values that
  arrive within one frame are merged and the last one wins; a draw that awaits something must check that its value is still the newest.
- `props.value` is a Svelte proxy: read it once through `Glassbox.snapshot(props)`. Writing to it sends the value back to the
  server, so a script keeps its own state in variables.
- The content of a tab is created when the tab is first shown. Values that arrived earlier are in `props` by then. Later the
  tab is only hidden (`display: none`): sizes read 0, so a picture that measures itself needs a ResizeObserver.
- Dark mode is a class on `<body>`, without any event: use `Glassbox.onTheme(redraw, element)`.
- `css_template` is filled in and put into the document anew at every change of a prop, and every instance carries its own copy of it and
  of `js_on_load`. So neither is used: scripts and styles come once, with the document (`app.components.bundle`, `app.document`).
- A listener `component.my_event(...)` exists only when `js_on_load` contains the quoted name. Gradio's default `trigger_mode="once"`
  drops an event that comes while the last one is being answered, and "always_last" runs again with the data of the FIRST one
  (measured: positions 2..6 in a row arrive as 2 and 2). A listener for a selection therefore passes `trigger_mode="multiple"` and
  keeps the queue's default of one at a time, which answers in order; scripts send one event for a burst of arrow keys.
"""

import hashlib
import json
import math
from collections.abc import Sequence

import gradio as gr

from app.components import bundle


def html_component(name: str, elem_id: str, value: dict | None = None, *, events: Sequence[str] = (), **kw) -> gr.HTML:
    """The picture whose script is `assets/js/<name>.js` and whose style, if any, is `assets/css/<name>.css`.

    events: those it has besides the ones that its script names. Further keywords go to `gr.HTML`. Raises ValueError when there is
    no such script.
    """
    if name not in bundle.kinds():
        raise ValueError(f"got a component {name!r}, which has no script assets/js/{name}.js; write one.")
    named = " ".join(f"'{event}'" for event in (*bundle.events(name), *events))
    options = {
        "html_template": "<div class='gb-host'></div>",
        "apply_default_css": False,
        "container": False,
        "padding": False,
    } | kw
    return gr.HTML(
        value=value,
        js_on_load=f"Glassbox.mount.{name}(element, trigger, props, watch); // {named}",
        elem_id=elem_id,
        elem_classes=f"gb-of-{name}",
        **options,
    )


def page_head() -> str:
    """What `launch(head=...)` needs: the theme. It goes there and not into `launch(css=...)`, whose selectors Gradio rewrites."""
    theme = "".join((bundle.ASSETS / f"{name}.css").read_text(encoding="utf-8") for name in ("theme", "page"))
    return f"<style>\n{theme}</style>\n"


def content_id(content: dict) -> str:
    """A short hash of a value's content: equal pictures have equal ids, so an unchanged picture is not drawn again."""
    return hashlib.blake2s(json.dumps(content, sort_keys=True, allow_nan=False).encode(), digest_size=8).hexdigest()


def with_id(content: dict) -> dict:
    """The content with its `id`. Raises ValueError when it contains NaN or an infinity, which JSON cannot carry."""
    return {"id": content_id(content), **content}


def chosen_text(text: dict[str, str], keys: tuple[str, ...]) -> dict[str, str]:
    """The sentences a component prints, taken from a larger dict. Raises KeyError naming those that are missing."""
    missing = [key for key in keys if key not in text]
    if missing:
        raise KeyError(f"The component's text lacks {', '.join(missing)}; it needs {', '.join(keys)}.")
    return {key: text[key] for key in keys}


def probability(p: float, what: str) -> float:
    """`p` as a plain float. Raises ValueError unless it is in 0..1 (a rounding error of 1e-6 is clipped)."""
    p = float(p)
    if not math.isfinite(p) or not -1e-6 <= p <= 1 + 1e-6:
        raise ValueError(
            f"{what} must be a probability between 0 and 1, got {p}; pass probabilities, not logits or percentages."
        )
    return min(1.0, max(0.0, p))
