"""Declare sources idle that have no more records for now, so that event time goes on without them.

A tick raises the watermark of an idle source. Every now and then it is also noted that such a source answers: the
monitor sets silent ones aside (`asides`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Engine

from foreshock.monitor.store import progress
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.units import SECOND
from foreshock.monitor.watermark import TimeRules
from foreshock.processes.committed import Committed
from foreshock.sources.live import Clock, Source

IDLE_AFTER = 2 * SECOND
"""A source is idle once it is at its end and no record has raised its watermark for this long."""
HEARD_EVERY = 30 * SECOND
"""How often a source that is at its end is noted as one that answers."""


class Ticks:
    """Looks after the idle sources of a process that reads live.

    `idle_after`: microseconds without a record after which a source may be idle. `every_seconds`: the shortest time
    between two looks.
    """

    def __init__(
        self, engine: Engine, rules: TimeRules, clock: Clock, *, idle_after: int, every_seconds: float
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._clock = clock
        self._idle_after = idle_after
        self._every_seconds = every_seconds
        self._looked_at = -every_seconds

    def look(self, sources: Iterable[Source], committed: Committed, holds: Callable[[Source], bool]) -> bool:
        """Tick the sources that are idle, if it is time to look. Return whether a tick was written.

        `committed` takes over what was written. `holds`: whether records of a source are in hand.

        Raises:
            Overtaken: another process has changed a partition meanwhile.
        """
        if time.monotonic() - self._looked_at < self._every_seconds:
            return False
        self._looked_at = time.monotonic()
        now = self._clock()
        idle = [
            source
            for source in sources
            if now - committed.stands_since(source.partition.name) >= self._idle_after
            and not holds(source)
            and source.at_end(now)
        ]
        if not idle:
            return False
        noted = self._note_that_they_answer([source.partition for source in idle], now)
        committed.take_over(noted, idle, whole=True, by_tick=True)
        partitions = [source.partition for source in idle]
        with reading(self._engine) as connection:  # mostly no tick is due, and other writers need not wait
            if not progress.due_ticks(connection, partitions, now, self._rules):
                return False
        with writing(self._engine) as connection:
            ticked = progress.tick(connection, partitions, now, self._rules)
        committed.take_over(ticked, idle, whole=True, by_tick=True)
        return bool(ticked)

    def _note_that_they_answer(self, idle: Sequence[Partition], now: int) -> Sequence[Partition]:
        due = [
            p for p in idle if p.heard_at is None or p.aside_since is not None or abs(now - p.heard_at) >= HEARD_EVERY
        ]
        if not due:
            return []
        with writing(self._engine) as connection:
            return progress.heard(connection, due, now)
