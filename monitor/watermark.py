"""Event time of one partition: its watermark, and when each of its stories counts.

A partition's `Progress` is everything that is stored about it. `step` applies a record to it. `judge` decides when a
record counts. docs/design.md#time states the rules (1 to 3 and 5). All times are microseconds since 1970, UTC. `None`
means "none yet".

Invariants, property-tested: a watermark never falls; a record counts at or after the watermark that its partition has
before the record.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace

from foreshock.monitor.units import DAY, HOUR, SECOND

MAX_AHEAD = 120 * SECOND
"""How far ahead of the clock a live record may be dated and still move time, if the settings do not say otherwise."""

Largest = tuple[tuple[int, str], ...]
"""Up to three pairs (event time, id) with distinct ids, largest first."""


@dataclass(frozen=True, slots=True)
class TimeRules:
    """The lengths of the `[time]` settings, in microseconds."""

    bucket: int = 300 * SECOND
    lateness: int = 120 * SECOND
    max_staleness: int = 6 * HOUR
    stall_after: int = 3 * HOUR
    remember: int = 90 * DAY
    """How long an id is remembered after the bucket of its last record."""
    max_ahead: int = MAX_AHEAD
    """A record dated further ahead of the clock than this does not move time (only where a feed is read live)."""
    silent_after: int = 600 * SECOND
    """How long a live source may stay without an answer before the monitor sets it aside."""

    def start_of(self, time: int) -> int:
        """Return the start of the bucket that contains `time`."""
        return time - time % self.bucket


@dataclass(frozen=True, slots=True)
class Progress:
    """A partition's event time: what its progress row stores besides the next offset. A restart continues from it."""

    watermark: int | None = None
    largest: Largest = ()
    member: bool = False
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """When a story counts, and whether it is late (its partition's watermark had passed it) or stale (so late that it
    has no weight)."""

    counts_at: int
    late: bool
    stale: bool


def later(a: int | None, b: int | None) -> int | None:
    """Return the later of two times; None if both are None."""
    return b if a is None else a if b is None else max(a, b)


def judge(watermark: int | None, published_at: int, rules: TimeRules, counted_at: int | None = None) -> Judgement:
    """Decide when a record counts, from its event time and its partition's watermark before it.

    `counted_at`: when the record counted live, if the file was written by `stories --export`. It counts at that time
    again, unless the watermark has already passed it (the file is then not in that order).
    """
    at = published_at if watermark is None or watermark < published_at else watermark
    if counted_at is not None and counted_at > at:
        at = counted_at
    return Judgement(at, published_at < at, at - published_at > rules.max_staleness)


def step(progress: Progress, published_at: int, story_id: str, rules: TimeRules) -> Progress:
    """Apply a parsed record to its partition: raise the watermark to the third-largest event time minus the lateness.

    The partition is no longer idle.
    """
    largest = progress.largest
    if len(largest) == 3 and (published_at, story_id) < largest[2] and not progress.idle:
        return progress
    times = {identity: time for time, identity in largest}
    times[story_id] = max(published_at, times.get(story_id, published_at))
    largest = tuple(sorted(((time, identity) for identity, time in times.items()), reverse=True)[:3])
    watermark = progress.watermark
    if len(largest) == 3:
        watermark = later(watermark, largest[2][0] - rules.lateness)
    return Progress(watermark, largest, progress.member, False)


def join(progress: Progress, feed_time: int | None, rules: TimeRules) -> Progress:
    """Make a partition a member: raise its watermark to the feed time, rounded down to the end of a bucket."""
    floor = None if feed_time is None else rules.start_of(feed_time)
    return Progress(later(progress.watermark, floor), progress.largest, True, False)


def tick(progress: Progress, value: int | None) -> Progress:
    """Make a partition idle until its next record. `value` (see `tick_value`) may raise its watermark."""
    return Progress(later(progress.watermark, value), progress.largest, True, True)


def leave(progress: Progress) -> Progress:
    """Make a partition leave the members. It keeps its watermark."""
    return replace(progress, member=False, idle=False)


def feed_time(
    partitions: Iterable[Progress], last_counts_at: int | None, rules: TimeRules, *, now: int | None = None
) -> int | None:
    """Return the feed time: every bucket that ends at or before it can be decided.

    It is the smallest watermark of the members, and None if a member has none. Without members, it is the later of two
    times: the end of the last story's bucket, and the largest watermark. `last_counts_at` is the largest `counts_at`
    of all stories.

    `now`: the clock, given only by processes that read live. Without members, feed time then does not pass the clock
    minus the lateness. Otherwise each stop of a process would end the open bucket early, and each restart would make
    later stories count later still.
    """
    partitions = list(partitions)
    members = [p.watermark for p in partitions if p.member]
    if members:
        return None if None in members else min(w for w in members if w is not None)
    time = None if last_counts_at is None else rules.start_of(last_counts_at) + rules.bucket
    for p in partitions:
        time = later(time, p.watermark)
    return time if time is None or now is None else min(time, now - rules.lateness)


def tick_value(own: str, partitions: Mapping[str, Progress], clock: int, rules: TimeRules) -> int | None:
    """Return the watermark that a tick of partition `own` writes, or None.

    `partitions`: the progress rows of one snapshot. `clock`: microseconds.

    The value is the smallest watermark of the other members that are not idle, and None if one of them has none. If
    all others are idle, it is the clock minus the lateness, but only if a stored time of a member is within
    `stall_after` of the clock; otherwise None.
    """
    members = {name: p for name, p in partitions.items() if p.member}
    awake = [p.watermark for name, p in members.items() if name != own and not p.idle]
    if awake:
        return None if None in awake else min(w for w in awake if w is not None)
    near = any(abs(clock - time) <= rules.stall_after for p in members.values() for time, _ in p.largest)
    return clock - rules.lateness if near else None


def aside_value(
    own: str, partitions: Mapping[str, Progress], silent: Container[str], clock: int, rules: TimeRules
) -> int | None:
    """Return the watermark to which the monitor sets the silent partition `own` aside, or None: it says nothing.

    `silent`: the partitions that have not answered for `silent_after`. The monitor speaks only of such a member, only
    while another member answers, and only if this lets another bucket close. The value is that of a tick, except that
    it waits for no other silent partition.
    """
    members = [name for name, p in partitions.items() if p.member]
    if own not in silent or own not in members or all(name in silent for name in members):
        return None
    seen = {name: replace(p, idle=p.idle or name in silent) for name, p in partitions.items()}
    value, before = tick_value(own, seen, clock, rules), partitions[own].watermark
    return None if end_of_closed(later(before, value), rules) == end_of_closed(before, rules) else value


def end_of_closed(time: int | None, rules: TimeRules) -> int | None:
    """Return the end of the last bucket that a watermark has passed."""
    return None if time is None else rules.start_of(time)
