"""Why a run ends before its last step: a signal, its time, or a number that is not finite."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class TrainingStopped(RuntimeError):
    """The run cannot go on; the message says why and what to do. Its last checkpoint is whole."""


class Stop:
    """`reason` is None until the run should save and end."""

    def __init__(self, minutes: float | None = None):
        self._until = None if minutes is None else time.monotonic() + 60 * minutes
        self._minutes, self._signal = minutes, ""

    @property
    def reason(self) -> str | None:
        if self._signal:
            return f"{self._signal} came"
        if self._until is not None and time.monotonic() >= self._until:
            return f"its {self._minutes:g} minutes are over"
        return None

    @contextmanager
    def on_signals(self) -> Iterator["Stop"]:
        """Within, SIGINT and SIGTERM ask for a stop after the step at hand; a second one ends the process as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield self  # Python gives signals to the main thread only
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def note(number: int, frame: object) -> None:
            self._signal = signal.Signals(number).name
            for which, handler in before.items():
                signal.signal(which, handler)

        for number in before:
            signal.signal(number, note)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
