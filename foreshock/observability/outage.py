"""What to do while something outside (the store, Kafka, a feed) does not answer: how long to wait, and what to log.

`BackOff` computes the waits. `Outage` adds the log lines, the metrics and the time of the next try.
"""

from __future__ import annotations

import random
import time

from foreshock.observability import metrics
from foreshock.observability.log import log

_CALLED = {"store": "the store", "kafka": "Kafka"}


class BackOff:
    """Waits that double with each failure in a row.

    Parameters:
        shortest, longest: the first wait and the longest one, in any unit.
        spread: each wait is shortened at random by up to this share, so that processes do not try in step.

    >>> back_off = BackOff(1.0, 5.0, spread=0.0)
    >>> [back_off.failed() for _ in range(4)]
    [1.0, 2.0, 4.0, 5.0]
    >>> back_off.worked(); back_off.failed()
    1.0
    """

    def __init__(self, shortest: float, longest: float, *, spread: float = 0.5) -> None:
        self.failures = 0
        self._shortest = shortest
        self._longest = longest
        self._spread = spread

    def failed(self, at_least: float = 0.0) -> float:
        """Count a failure and return the wait before the next try. `at_least`: what the other side asked for."""
        doubled: float = self._shortest * 2.0 ** min(self.failures, 30)
        wait = min(self._longest, max(doubled, at_least))
        self.failures += 1
        return wait * random.uniform(1.0 - self._spread, 1.0)

    def worked(self) -> None:
        """Start over."""
        self.failures = 0


class Outage:
    """The store or Kafka does not answer. Logs that once, spaces the tries out, and logs once when it answers again.

    `what`: `store` or `kafka`, as the metrics name it. `shortest`, `longest`: seconds between two tries.
    """

    def __init__(self, what: str, *, shortest: float = 0.5, longest: float = 30.0) -> None:
        self._what = what
        self._back_off = BackOff(shortest, longest)
        self._since: float | None = None
        self._not_before = 0.0

    @property
    def lasts(self) -> bool:
        """Whether the last try failed."""
        return self._since is not None

    @property
    def seconds(self) -> float:
        """How long it has lasted by now; 0 if the last try did not fail."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    @property
    def may_try(self) -> bool:
        """Whether the wait since the last failed try is over."""
        return time.monotonic() >= self._not_before

    def failed(self, error: Exception) -> float:
        """Note a failed try and return the seconds to wait before the next one."""
        because = str(error).strip()
        metrics.lost(self._what, because)
        if self._since is None:
            self._since = time.monotonic()
            log().warning(f"{_CALLED[self._what]} does not answer: trying again until it does", because=because)
        seconds = self._back_off.failed()
        self._not_before = time.monotonic() + seconds
        return seconds

    def over(self) -> None:
        """Note that it answered."""
        metrics.reached(self._what)
        if self._since is not None:
            seconds = round(time.monotonic() - self._since, 1)
            log().info(f"{_CALLED[self._what]} answers again", after_seconds=seconds)
        self._since, self._not_before = None, 0.0
        self._back_off.worked()
