"""Takes the pictures of README.md and docs/ from the real page: `make screenshots`."""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

from browsers import browser_path
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PORT = 7899
# Taken from the strip of tabs on.
OF_TABS = ("heads", "attribution", "patching", "circuits", "steering", "neurons", "anatomy", "literature")
COPY = "Mr. Darnley bowed to Miss Harwick. Mr. Darn"
PLAN = json.dumps([{"op": "zero", "component": "z", "layer": 0, "head": 3}])
SHOTS = {
    "attention": (1280, 1220, {"tab": "attention", "layer": 1, "head": 2, "plan": PLAN, "prompt": COPY, "lang": "en"}),
    "playground": (1280, 1040, {"tab": "playground", "lang": "en"}),
    "lens": (1280, 1300, {"tab": "lens", "lang": "en"}),
    "training": (1280, 1600, {"tab": "training", "layer": 1, "head": 2, "lang": "en"}),
    "heads": (1280, 1500, {"tab": "heads", "layer": 1, "head": 2, "prompt": COPY, "lang": "en"}),
    "attribution": (1280, 1150, {"tab": "attribution", "prompt": COPY, "lang": "en"}),
    "patching": (1280, 1150, {"tab": "patching", "lang": "en"}),
    "circuits": (1280, 720, {"tab": "circuits", "lang": "en"}),
    "steering": (1280, 1500, {"tab": "steering", "lang": "en"}),
    "neurons": (1280, 1500, {"tab": "neurons", "lang": "en"}),
    "anatomy": (1280, 1150, {"tab": "anatomy", "layer": 1, "head": 2, "prompt": COPY, "lang": "en"}),
    "literature": (1280, 900, {"tab": "literature", "lang": "en"}),
    "phone": (390, 1500, {"tab": "attention", "layer": 1, "head": 2, "prompt": COPY, "lang": "ko"}),
}


def main() -> None:
    """Serves the page on the embedded model and writes assets/screenshots/*.png."""
    server = subprocess.Popen([sys.executable, "app.py", "--port", str(PORT), "--device", "cpu"], cwd=ROOT)
    url = f"http://127.0.0.1:{PORT}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(url, timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox", "--disable-gpu"])
            for name in sys.argv[1:] or SHOTS:
                width, height, query = SHOTS[name]
                page = browser.new_page(viewport={"width": width, "height": height})
                page.goto(f"{url}/?{urlencode(query)}")
                page.wait_for_selector("#gb_next [data-painted]")
                page.wait_for_timeout(9000)  # charts come last
                target = ROOT / "assets" / "screenshots" / f"{name}.png"
                target.parent.mkdir(exist_ok=True)
                top = page.locator("#gb_tabs").bounding_box()["y"] if name in OF_TABS else 0
                page.screenshot(path=target, full_page=True, clip={"x": 0, "y": top, "width": width, "height": height})
                page.close()
            browser.close()
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
