"""All scripts and all styles of the page's own pictures, as one text each.

Gradio sends a component's script and style with every instance of it: 172 copies, 1.4 MB, each compiled again, and each style run
through a template and put into the document anew at every change of a value. So an instance has one line, which calls
`Glassbox.mount.<kind>`, and the browser fetches what that needs once (`app.document`).
"""

import re
from functools import cache
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[2] / "assets"
# Before the kinds, in this order; every other script is a kind of component.
SHARED = (
    "cancelled",
    "common",
    "pixels",
    "anatomy_draw",
    "film_chart",
    "film_heads",
    "film_words",
    "head_view_draw",
    "head_view_picture",
)


def _read(folder: str, name: str) -> str:
    return (ASSETS / folder / f"{name}.{folder}").read_text(encoding="utf-8")


@cache
def kinds() -> tuple[str, ...]:
    """The kinds of components that have a script."""
    return tuple(sorted(path.stem for path in (ASSETS / "js").glob("*.js") if path.stem not in SHARED))


@cache
def events(kind: str) -> tuple[str, ...]:
    """The events that a kind's script names where it raises them."""
    return tuple(sorted(set(re.findall(r"""\btrigger\(\s*["'](\w+)["']""", _read("js", kind)))))


@cache
def script() -> str:
    """What the kinds share, and `Glassbox.mount.<kind>(element, trigger, props, watch)` for each."""
    mounts = [f"Glassbox.mount.{kind} = (element, trigger, props, watch) => {{\n{_read('js', kind)}}};\n" for kind in kinds()]
    return "".join([*(_read("js", name) for name in SHARED), "Glassbox.mount = {};\n", *mounts])


@cache
def style() -> str:
    """The styles of the kinds, each for the blocks of class `gb-of-<kind>` only, and stronger than Gradio's own, as an id is."""
    styled = [path.stem for path in sorted((ASSETS / "css").glob("*.css"))]
    return "".join(f"#gb-none, .gb-of-{kind} {{\n{_read('css', kind)}}}\n" for kind in styled)
