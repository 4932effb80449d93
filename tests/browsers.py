"""Which browser the tests drive, and how a page of theirs is served."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def browser_path() -> str | None:
    """An installed Chrome or Chromium, `GLASSBOX_BROWSER` first; None leaves the choice to Playwright."""
    return os.environ.get("GLASSBOX_BROWSER") or next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def watched(chromium: Any, address: str, height: int) -> Iterator[Any]:
    """A browser's page at an address, 1280 wide; when it is closed, no script of it may have raised or logged an error."""
    page = chromium.new_page(viewport={"width": 1280, "height": height})
    page.set_default_timeout(60_000)  # other tests share the cores
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(address)
    yield page
    page.close()
    assert problems == []


def tip(page: Any, locator: Any, **position: float) -> str:
    """What is printed over a picture where the pointer rests on it."""
    locator.scroll_into_view_if_needed()  # which hides it, in the next frame
    page.evaluate("() => new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then)))")
    locator.hover(position=position or None)
    return page.locator("#gb-tip").inner_text()


@contextmanager
def served(demo: Any) -> Iterator[str]:
    """A small Gradio page of a test with our pictures on it; its address."""
    from app.components.base import page_head  # here, so that the installer of the browser needs no Gradio
    from app.document import middleware

    served_too = {"middleware": middleware()}
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, head=page_head(), app_kwargs=served_too, run_history=False)
    try:
        yield url
    finally:
        demo.close()
