"""Runs what a panel shows "as code" and reads what it prints."""

import re

import torch


def run_here(code: str, capsys) -> str:
    """What a script prints, run in this process."""
    with torch.enable_grad():  # a script may switch gradients off for good
        exec(compile(code, "panel.py", "exec"), {"__name__": "__main__"})
    return capsys.readouterr().out


def numbers(text: str) -> list[list[float]]:
    """The numbers with a decimal point, line by line."""
    return [[float(x) for x in re.findall(r"-?\d+\.\d+", line)] for line in text.splitlines()]
