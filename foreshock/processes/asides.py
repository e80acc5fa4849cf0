"""Keep one source from stopping time: what a deciding process does every few seconds about sources that do not answer.

It lets the monitor set them aside (`foreshock.monitor.silent_sources`), and reports while deciding stands still.
"""

from __future__ import annotations

from collections.abc import Container

from sqlalchemy import Engine

from foreshock.monitor.silent_sources import SLACK, SilentSources, sources_aside, standstill
from foreshock.monitor.store import counts, progress
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.units import SECOND
from foreshock.monitor.watermark import TimeRules
from foreshock.observability import metrics
from foreshock.observability.log import log
from foreshock.sources.live import Clock

LOOK_AFTER = 5 * SECOND


class Asides:
    """Looks after the sources of a store, for the process that decides."""

    def __init__(self, engine: Engine, rules: TimeRules, clock: Clock) -> None:
        self._engine = engine
        self._rules = rules
        self._clock = clock
        self._silent = SilentSources(rules)
        self._looked_at: int | None = None
        self._begun_at: int | None = None
        self._aside: set[str] = set()
        self._standing = ""

    def look(self, *, except_for: Container[str] = ()) -> list[Partition]:
        """Look, if it is time to. Return the partitions that were written.

        `except_for`: sources of which this process holds records: they have answered.

        Raises:
            Overtaken: a worker has written meanwhile. The next look sees what.
        """
        now = self._clock()
        if self._looked_at is not None and abs(now - self._looked_at) < LOOK_AFTER:
            return []
        self._looked_at = now
        if self._begun_at is None:
            self._begun_at = now
        with reading(self._engine) as connection:
            known = progress.load(connection)
            until = counts.decided_until(connection)
            members = [p for p in known.values() if p.progress.member]
            silent = {name for name in self._silent.look(members, now) if name not in except_for}
            due = bool(silent) and bool(progress.due_asides(connection, silent, now, self._rules))
        self._report(members, until, now)
        if not due:
            return []
        with writing(self._engine) as connection:
            written = progress.set_aside(connection, silent, now, self._rules)
        self._report(list((known | {p.name: p for p in written}).values()), until, now)
        return written

    def _report(self, partitions: list[Partition], until: int | None, now: int) -> None:
        aside = {p.name for p in sources_aside(partitions)}
        for name in sorted(aside - self._aside):
            log().warning(
                "source set aside: it does not answer, so event time goes on without it. What it brings later counts "
                "when it becomes known",
                source=name,
            )
        for name in sorted(self._aside - aside):
            log().info("source answers again, or has left", source=name)
        self._aside = aside
        metrics.set_aside(aside)
        # What was not heard while nobody read, nobody knows. So a process that just started says nothing of it.
        new = self._begun_at is None or now - self._begun_at <= SLACK
        found = None if new else standstill(partitions, until, now, self._rules)
        why = "" if found is None else str(found)
        if until is not None and until - now > 0:
            why = f"deciding is {(until - now) / SECOND:,.0f} s ahead of the clock: stories count late until then"
        metrics.standing_still(why, "" if found is None else found.source)
        if why and not self._standing:
            log().warning("standing_still", because=why)
        elif self._standing and not why:
            log().info("deciding goes on")
        self._standing = why
