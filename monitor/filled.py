"""The state that a store would have, had the topics of a fill been there."""

from __future__ import annotations

import math
from time import monotonic

from sqlalchemy import Connection

from foreshock.monitor.buckets import Bucket, TopicBucket
from foreshock.monitor.deciding import State
from foreshock.monitor.deciding_again import Deciding, versions_of
from foreshock.monitor.grafting import forget
from foreshock.monitor.store.decided import decided_buckets, filled_rows, first_bucket
from foreshock.monitor.store.fills import Fill
from foreshock.monitor.units import DAY, HOUR
from foreshock.monitor.watermark import TimeRules

HORIZON = 120 * DAY
"""How long a filled topic is decided again before it is known: longer than the longest window with its baseline."""
CHUNK = 6 * HOUR
"""How much is decided again before the clock is looked at."""


class Filled:
    """The state that a store would have, had the topics of a fill been there: at least for the last `HORIZON`.

    Its buckets are those that the monitor decided, with the fill's rows in them. A bucket that has rows of these topics
    alone is passed over, because the monitor decided none there, and the hours of both states must be the same.
    """

    def __init__(self, connection: Connection, time: TimeRules, fill: Fill, until: int) -> None:
        """Begin early enough for a state at `until` (microseconds)."""
        self._fill, own = fill, frozenset(fill.topics)
        rules = versions_of(connection, time)[fill.settings].rules
        self._deciding = Deciding(connection, time, until - HORIZON, own=own, own_rules=rules, or_oldest=True)
        forget(self.state, own)
        self.state.life.open = {key: a for key, a in self.state.life.open.items() if a.topic not in own}
        self.until = self._deciding.begin
        """Up to where all is decided (microseconds). None: nothing is."""
        self.baselines: list[tuple[str, int, int]] = []
        """What was usual in the fill's rows that were decided last: topic, bucket's start, polarity in 1/10,000."""
        self.learning: dict[str, int | None] = {}
        """Until when each topic of the fill is learning."""

    @property
    def state(self) -> State:
        """The state at `until`."""
        return self._deciding.state

    def advance(self, connection: Connection, end: int, seconds: float = math.inf) -> bool:
        """Decide the buckets before `end`, for about so many seconds. Return whether all are decided."""
        stop, self.baselines, own = monotonic() + seconds, [], set(self._fill.topics)
        while self.until is None or self.until < end:
            first = self.until if self.until is not None else first_bucket(connection)
            last = end if first is None else min(end, first + CHUNK)
            rows = filled_rows(connection, self._fill.number, first, last)
            for bucket in decided_buckets(connection, first, last, known=self._fill.number - 1):
                topics = [*(t for t in bucket.topics if t.topic not in own), *rows.get(bucket.start, ())]
                decision = self._deciding.decide(Bucket(bucket.start, tuple(sorted(topics, key=_name))))
                for name in own & decision.learning.keys():
                    self.learning[name] = decision.learning[name]
                self.baselines += [(n, bucket.start, v) for n, v in decision.baselines.items() if n in own]
            self.until = last
            if monotonic() >= stop:
                break
        if self.until is not None and self.until >= end:
            self._deciding.pass_time(end)
            return True
        return False


def _name(t: TopicBucket) -> bytes:
    return t.topic.encode()
