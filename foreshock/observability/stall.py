"""Detect that the whole feed stands still: no story for `[time] stall_after`, though all sources are read.

Event time then stops (docs/time.md), so no detector can notice. A source that lags, or whose reader has died, is not
idle: that is a different problem, with other signs.
"""

from __future__ import annotations

from collections.abc import Iterable

from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.times import iso
from foreshock.monitor.watermark import TimeRules
from foreshock.observability import metrics
from foreshock.observability.log import log


class StallWatch:
    """Logs once that the feed stands still, and once that it goes on."""

    def __init__(self, rules: TimeRules) -> None:
        self._rules = rules
        self._since: int | None = None

    def look(self, members: Iterable[Partition], now: int) -> None:
        """Look whether the feed stands still. `members`: the sources as the store has them; `now`: the clock."""
        since = stalled_since(members, now, self._rules)
        metrics.stalled(since is not None)
        if since is not None and self._since is None:
            log().warning("feed_stalled", since=iso(since), because="no source has given a story for stall_after")
        elif since is None and self._since is not None:
            log().info("the feed goes on")
        self._since = since


def stalled_since(members: Iterable[Partition], now: int, rules: TimeRules) -> int | None:
    """Return the last story's event time if all members are idle and it lies over `stall_after` back, else None."""
    members = list(members)
    last = max((time for p in members for time, _ in p.progress.largest), default=None)
    idle = all(p.progress.idle for p in members)
    return last if last is not None and idle and now - last > rules.stall_after else None
