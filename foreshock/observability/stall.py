"""Whether the whole feed stands still: no source has given a story for `[time] stall_after`, though all are read.

Time then stops (docs/time.md), so nothing that the detectors know can say it. A source that is behind, or whose reader
is gone, is not idle: that is another trouble, and has other signs.
"""

from __future__ import annotations

from collections.abc import Iterable

from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.times import iso
from foreshock.monitor.watermark import TimeRules
from foreshock.observability import metrics
from foreshock.observability.log import log


class StallWatch:
    """Says once that the feed stands still, and once that it goes on."""

    def __init__(self, rules: TimeRules) -> None:
        self._rules = rules
        self._since: int | None = None

    def look(self, members: Iterable[Partition], now: int) -> None:
        """`members`: the sources that are read, as the store has them; `now`: the clock."""
        since = stalled_since(members, now, self._rules)
        metrics.stalled(since is not None)
        if since is not None and self._since is None:
            log().warning("feed_stalled", since=iso(since), because="no source has given a story for stall_after")
        elif since is None and self._since is not None:
            log().info("the feed goes on")
        self._since = since


def stalled_since(members: Iterable[Partition], now: int, rules: TimeRules) -> int | None:
    """The event time of the last story, if all members are idle and that is more than `stall_after` ago."""
    members = list(members)
    last = max((time for p in members for time, _ in p.progress.largest), default=None)
    idle = all(p.progress.idle for p in members)
    return last if last is not None and idle and now - last > rules.stall_after else None
