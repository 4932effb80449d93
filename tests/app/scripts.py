"""Runs what a panel shows "as code" and reads what it prints."""

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]


def printed(code: str, folder: Path) -> str:
    """What a script prints, run as a person runs it: a file, in a fresh Python, at the root of the project."""
    file = folder / "panel.py"
    file.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_here(code: str, capsys) -> str:
    """The same in this process, which is quicker: what it printed."""
    with torch.enable_grad():  # a script may switch gradients off for good
        exec(compile(code, "panel.py", "exec"), {"__name__": "__main__"})
    return capsys.readouterr().out
