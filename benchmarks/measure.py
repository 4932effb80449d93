"""Timing of several ways to do the same work, fairly, on a machine that may be busy with other things."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def alternate(ways: dict[str, Callable[[], Any]], repeats: int, warmup: int = 1) -> dict[str, Any]:
    """Runs each way in turn, `repeats` times, in one process; the first way named is ours.

    "cpu": seconds of processor time, which a busy machine disturbs least; "wall": seconds on the clock, which also tells of
    work done in parallel. Of each the median and the least. A busy machine slows neighbours in time alike, so "cpu_ratio" and
    "wall_ratio" are medians over rounds of a peer's time to ours (above 1: ours is faster), steadier than the times.
    """
    for _ in range(warmup):
        for way in ways.values():
            way()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(repeats):
        # The order turns, so that no way always follows the same other one.
        for name in sorted(ways, key=lambda name: (list(ways).index(name) + turn) % len(ways)):
            times[name].append(_time(ways[name]))
    ours = times[next(iter(ways))]
    return {name: _summary(theirs, ours) for name, theirs in times.items()}


def _time(way: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of processor time and on the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    way()
    return time.process_time() - cpu, time.perf_counter() - wall


def _summary(theirs: list[tuple[float, float]], ours: list[tuple[float, float]]) -> dict[str, float]:
    out = {}
    for i, clock in enumerate(("cpu", "wall")):
        seconds, mine = [t[i] for t in theirs], [t[i] for t in ours]
        out[f"{clock}_median"], out[f"{clock}_least"] = statistics.median(seconds), min(seconds)
        out[f"{clock}_ratio"] = statistics.median(a / b for a, b in zip(seconds, mine, strict=True))
        out[f"{clock}_ratio_of_least"] = min(seconds) / min(mine)
    return out


def row(work: str, name: str, result: dict[str, float]) -> str:
    """One line for the terminal."""
    times = f"{result['cpu_median'] * 1e3:10.2f} ms cpu {result['wall_median'] * 1e3:10.2f} ms wall"
    ratios = f"{result['cpu_ratio']:.2f} ({result['cpu_ratio_of_least']:.2f} least) cpu, {result['wall_ratio']:.2f} wall"
    return f"{work:18} {name:24} {times}   {ratios} x ours"
