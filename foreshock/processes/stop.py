"""Let a signal, or another thread, stop a process."""

from __future__ import annotations

import threading


class Stop:
    """A wish to stop. The process finishes the batch in hand first."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self.wanted = False

    def set(self) -> None:
        self.wanted = True
        self._wake.set()

    def wake(self) -> None:
        """Let the loop look for work at once."""
        self._wake.set()

    def wait(self, seconds: float) -> None:
        """Wait for up to `seconds`, until `wake` or `set` is called."""
        self._wake.wait(seconds)
        self._wake.clear()
