"""How a signal, or another thread, stops a process."""

from __future__ import annotations

import threading


class Stop:
    """How a signal, or another thread, ends a run: it finishes the batch in hand."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self.wanted = False

    def set(self) -> None:
        self.wanted = True
        self._wake.set()

    def wake(self) -> None:
        """Let the loop look at once."""
        self._wake.set()

    def wait(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()
