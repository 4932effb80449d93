"""Runs what a panel shows "as code" and reads what it prints."""

import torch


def run_here(code: str, capsys) -> str:
    """What a script prints, run in this process."""
    with torch.enable_grad():  # a script may switch gradients off for good
        exec(compile(code, "panel.py", "exec"), {"__name__": "__main__"})
    return capsys.readouterr().out
