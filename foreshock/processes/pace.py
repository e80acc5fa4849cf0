"""Wait until a story is due, at N times real time."""

from __future__ import annotations

import time


class Pace:
    """Maps event time to waits: `speed` times real time, from the first story on."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first: int | None = None
        self._started = 0.0

    def wait(self, event_time: int) -> float:
        """Return the seconds until what has this event time (microseconds) is due; 0 or less if it is due now."""
        if self._first is None:
            self._first, self._started = event_time, time.monotonic()
        return (event_time - self._first) / 1e6 / self._speed - (time.monotonic() - self._started)
