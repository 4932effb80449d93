"""Which browser the tests drive."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def browser_path() -> str | None:
    """An installed Chrome or Chromium, `GLASSBOX_BROWSER` first; None leaves the choice to Playwright."""
    return os.environ.get("GLASSBOX_BROWSER") or next((path for name in NAMES if (path := shutil.which(name))), None)
