"""Wait until a story is due, at N times real time."""

from __future__ import annotations

import time


class Pace:
    """`speed` times real time, from the first story on."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first: int | None = None
        self._started = 0.0

    def wait(self, published_at: int) -> float:
        """Seconds until a story of this event time is due."""
        if self._first is None:
            self._first, self._started = published_at, time.monotonic()
        return (published_at - self._first) / 1e6 / self._speed - (time.monotonic() - self._started)
