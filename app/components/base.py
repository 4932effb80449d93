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
- `css_template` is nested in a rule for this one element and passes through Handlebars and a JavaScript template first, so
  backslashes, backticks, `${` and two opening braces are refused here.
- A listener `component.my_event(...)` exists only when the script contains the quoted name. Gradio's default `trigger_mode="once"`
  drops an event that comes while the last one is being answered, and "always_last" runs again with the data of the FIRST one
  (measured: positions 2..6 in a row arrive as 2 and 2). A listener for a selection therefore passes `trigger_mode="multiple"` and
  keeps the queue's default of one at a time, which answers in order; scripts send one event for a burst of arrow keys.
"""

import hashlib
import json
import math
from functools import cache
from pathlib import Path

import gradio as gr

ASSETS = Path(__file__).resolve().parents[2] / "assets"
_PRELUDE = "if (!window.Glassbox) throw new Error('assets/js/common.js is missing: launch with head=page_head()');\n"


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def html_component(name: str, elem_id: str, value: dict | None = None, **kw) -> gr.HTML:
    """The picture whose script is `assets/js/<name>.js` and whose style, if any, is `assets/css/<name>.css`.

    Further keywords go to `gr.HTML`. Raises ValueError when the style has characters that Gradio's template would interpret, and
    FileNotFoundError when there is no such script.
    """
    style = ASSETS / "css" / f"{name}.css"
    css = kw.pop("css_template", None) or (_read(style) if style.exists() else "")
    for forbidden in ("\\", "`", "${", "{{"):
        if forbidden in css:
            raise ValueError(
                f"The style of {name!r} contains {forbidden!r}, which Gradio's template interprets; write it without."
            )
    options = {
        "html_template": "<div class='gb-host'></div>",
        "apply_default_css": False,
        "container": False,
        "padding": False,
    } | kw
    return gr.HTML(
        value=value,
        css_template=css,
        js_on_load=_PRELUDE + _read(ASSETS / "js" / f"{name}.js"),
        elem_id=elem_id,
        **options,
    )


def page_head() -> str:
    """What `launch(head=...)` needs: the theme and the helpers that all pictures share.

    The theme goes here and not into `launch(css=...)`, because Gradio rewrites the selectors of that one.
    """
    return f"<style>\n{_read(ASSETS / 'theme.css')}{_read(ASSETS / 'page.css')}</style>\n<script>\n{_read(ASSETS / 'js' / 'common.js')}</script>\n"


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
