"""Limit how often each caller may ask (generic cell rate algorithm: a bucket of tokens, kept as one time a caller).

Invariants, for a rate of `n` a minute and a burst of `b` requests: in any stretch of `t` seconds, a caller is admitted
at most `b + t * n / 60` times; and one who waits as long as the answer says is admitted. Times are whole nanoseconds,
so neither depends on rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable

BURST_A_MINUTE = 6
"""An idle caller may ask for this part of a minute's requests at once: those of ten seconds."""
_SECOND = 1_000_000_000


class Rates:
    """The limit of each caller. Callers are the names of keys, so there are few.

    >>> rates = Rates(per_minute=60, clock=lambda: 0)
    >>> [rates.wait("desk") for _ in range(11)]
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._each = -(-60 * _SECOND // per_minute)
        self._ahead = self._each * (max(1, per_minute // BURST_A_MINUTE) - 1)
        self._clock = clock
        self._used_until: dict[str, int] = {}
        """Until when the rate has been used up by the requests that were admitted."""

    def wait(self, caller: str) -> int:
        """Admit a request and return 0; or return in how many seconds the next one is admitted (at least 1)."""
        now = self._clock()
        used = max(now, self._used_until.get(caller, now))
        if used - now > self._ahead:
            return -(-(used - now - self._ahead) // _SECOND)
        self._used_until[caller] = used + self._each
        return 0
