"""Takes the pictures of README.md from the real page: `make screenshots`."""

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
COPY = "Mr. Darnley bowed to Miss Harwick. Mr. Darn"
PLAN = json.dumps([{"op": "zero", "component": "z", "layer": 0, "head": 3}])
SHOTS = {
    "attention": (1280, 1220, {"tab": "attention", "layer": 1, "head": 2, "plan": PLAN, "prompt": COPY, "lang": "en"}),
    "playground": (1280, 1040, {"tab": "playground", "lang": "en"}),
    "lens": (1280, 1300, {"tab": "lens", "lang": "en"}),
    "training": (1280, 1600, {"tab": "training", "layer": 1, "head": 2, "lang": "en"}),
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
            for name, (width, height, query) in SHOTS.items():
                page = browser.new_page(viewport={"width": width, "height": height})
                page.goto(f"{url}/?{urlencode(query)}")
                page.wait_for_selector("#gb_next [data-painted]")
                page.wait_for_timeout(4000)  # charts come last
                target = ROOT / "assets" / "screenshots" / f"{name}.png"
                target.parent.mkdir(exist_ok=True)
                page.screenshot(path=target)
                page.close()
            browser.close()
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
