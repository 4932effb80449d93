"""Starts the page: `python app.py`, or `gradio app.py` while developing. `python app.py --help` lists the flags."""

import os
import sys

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported; nothing leaves the machine unasked

from app.settings import read_settings
from app.store import ModelStore
from app.ui import build, launch_options
from gpt2_core.runtime import configure_threads

settings = read_settings(sys.argv[1:] if __name__ == "__main__" else [])
configure_threads(settings.threads or None)
try:
    store = ModelStore(settings)
    demo = build(store)
except ValueError as error:  # a sentence about a model, device or number format that cannot be had
    sys.exit(f"app.py: {error}")

if __name__ == "__main__":
    try:
        demo.launch(**launch_options(store))
    except OSError as error:
        sys.exit(f"app.py: cannot serve on {settings.host}:{settings.port} ({error}); choose another --port or --host.")
