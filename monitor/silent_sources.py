"""Find live sources that do not answer, and let the monitor set them aside, so that none of them stops event time.

    sources = SilentSources(rules)
    silent = sources.look(members, clock)       # each time, say every second
    progress.set_aside(connection, silent, clock, rules)

A source answers when its worker writes: a batch, a tick, or that it is at its end (`Partition.heard_at`). The monitor
compares what it sees with what it saw before, by its own clock, so clocks of other machines do not matter.

What the monitor says is written as a tick is (`watermark.aside_value`): it raises the watermark of the source's row. A
story that comes later counts when it became known. So decided buckets never change, and what was decided follows from
the rows alone. docs/decisions/0038-the-monitor-sets-silent-sources-aside.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import SECOND
from foreshock.monitor.watermark import TimeRules, end_of_closed

LIVE_KINDS = frozenset({"rss", "kafka"})
"""The kinds of sources that may be set aside. An unfinished file is not: if it were read on later, all of it would come
late. A person decides about it."""
LONGEST_STEP = 30 * SECOND
"""The most that one look adds to a silence. If this process slept or was busy, it could not hear the sources either."""
SLACK = 120 * SECOND
"""How far deciding may be behind the clock, beside a bucket and the lateness, before it counts as standing still."""


class SilentSources:
    """Which live sources have not answered for `silent_after`, as one process sees it."""

    def __init__(self, rules: TimeRules) -> None:
        self._rules = rules
        self._seen: dict[str, tuple[int | None, int]] = {}
        self._looked_at: int | None = None

    def look(self, members: Iterable[Partition], clock: int) -> set[str]:
        """Return the names of the silent sources. `clock`: microseconds; only its steps matter."""
        step = 0 if self._looked_at is None else min(max(0, clock - self._looked_at), LONGEST_STEP)
        self._looked_at = clock
        seen, silent = {}, set()
        for p in members:
            heard, lasted = self._seen.get(p.name, (p.heard_at, 0))
            seen[p.name] = p.heard_at, 0 if heard != p.heard_at else lasted + step
            known = p.aside_since is not None  # by this process or one before it; its worker has not written since
            if p.kind in LIVE_KINDS and (known or seen[p.name][1] >= self._rules.silent_after):
                silent.add(p.name)
        self._seen = seen
        return silent


@dataclass(frozen=True, slots=True)
class Standstill:
    """Deciding stands still, because of one source."""

    source: str
    kind: str
    since: int | None
    """When the source last answered (microseconds); None if that is not known."""

    def __str__(self) -> str:
        if self.kind in LIVE_KINDS:
            when = "" if self.since is None else f" since {iso(self.since - self.since % SECOND)}"
            return f"deciding stands still, because of {self.source}: it has not answered{when}"
        remedy = "foreshock deadletters replay" if self.kind == "deadletters" else "foreshock replay, or sources leave"
        return f"deciding stands still, because of {self.source}: it was not read to its end ({remedy})"


def standstill(
    partitions: Iterable[Partition], decided_until: int | None, now: int, rules: TimeRules
) -> Standstill | None:
    """Return the source because of which nothing can be decided, or None.

    It is a member that has not answered for `SLACK` and whose watermark lets no further bucket close, while "decided
    until" is more than a bucket, the lateness and `SLACK` behind the clock. A source that is being read, however far
    behind, is no reason, nor is a feed that is silent as a whole: `stall.stalled_since` reports that. A store that is
    not read live has none.
    """
    members = [p for p in partitions if p.progress.member]
    latest_age = rules.bucket + rules.lateness + SLACK
    if all(p.heard_at is None for p in members) or (decided_until is not None and now - decided_until <= latest_age):
        return None

    def blocks(p: Partition) -> bool:
        passed = end_of_closed(p.progress.watermark, rules)
        return passed is None or (decided_until is not None and passed <= decided_until)

    unheard = [p for p in members if blocks(p) and (p.heard_at is None or now - p.heard_at > SLACK)]
    if not unheard:
        return None
    last = min(unheard, key=lambda p: (p.progress.watermark or 0, p.name))
    return Standstill(last.name, last.kind, last.heard_at)


def sources_aside(partitions: Iterable[Partition]) -> list[Partition]:
    """Return the sources without which deciding goes on, because they do not answer."""
    return [p for p in partitions if p.progress.member and p.aside_since is not None]
