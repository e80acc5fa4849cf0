"""Event time of one partition: its watermark, and when each of its stories counts.

A partition's `Progress` is all that is remembered of it. `step` is what a record does to it, `judge` says when a
record counts. The rules are DESIGN.md's "Time" 1 to 3; all times are microseconds since 1970, UTC, and `None` means
"none yet".

Invariants, property-tested: a watermark never falls; a record counts at a time >= its partition's watermark at its
turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

Largest = tuple[tuple[int, str], ...]
"""Up to three (event time, id) with distinct ids, largest first."""


@dataclass(frozen=True, slots=True)
class TimeRules:
    """Lengths in microseconds."""

    bucket: int = 300_000_000
    lateness: int = 120_000_000
    max_staleness: int = 6 * 3600 * 1_000_000
    stall_after: int = 3 * 3600 * 1_000_000
    remember: int = 90 * 86400 * 1_000_000
    """For how long an id is remembered after the bucket of the last record that bore it."""

    def start_of(self, time: int) -> int:
        """Start of the bucket that holds `time`."""
        return time - time % self.bucket


@dataclass(frozen=True, slots=True)
class Progress:
    """What a partition's row holds, besides its next offset, to go on as if never interrupted."""

    watermark: int | None = None
    largest: Largest = ()
    member: bool = False
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """When a story counts, and whether it came late (after its partition's watermark) or stale (so late that it
    weighs nothing)."""

    counts_at: int
    late: bool
    stale: bool


def later(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)


def judge(watermark: int | None, published_at: int, rules: TimeRules, counted_at: int | None = None) -> Judgement:
    """When a record of this event time counts, given its partition's watermark before it.

    `counted_at`: when it counted live, in a file written by `stories --export`; it counts then again, unless time has
    passed that already (a file that is not in that order).
    """
    at = max(time for time in (watermark, counted_at, published_at) if time is not None)
    return Judgement(at, published_at < at, at - published_at > rules.max_staleness)


def step(progress: Progress, published_at: int, story_id: str, rules: TimeRules) -> Progress:
    """What a parsed record does to its partition: it raises the watermark to the third-largest event time, less the
    lateness."""
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
    """A partition becomes a member: its watermark rises to the feed time, rounded down to a bucket's end."""
    floor = None if feed_time is None else rules.start_of(feed_time)
    return Progress(later(progress.watermark, floor), progress.largest, True, False)


def tick(progress: Progress, value: int | None) -> Progress:
    """The partition is idle until its next record; `value` (see `tick_value`) may raise its watermark."""
    return Progress(later(progress.watermark, value), progress.largest, True, True)


def leave(progress: Progress) -> Progress:
    return replace(progress, member=False, idle=False)


def feed_time(
    partitions: Iterable[Progress], last_counts_at: int | None, rules: TimeRules, *, now: int | None = None
) -> int | None:
    """Up to where time has come: every bucket that ends by then can be decided.

    The smallest watermark of the members (none if one has none). Without members, the later of the end of the last
    story's bucket and the largest watermark; `last_counts_at` is the largest `counts_at` of all stories.

    `now`, of those who read live: the clock less the lateness, which time without members does not pass. Else each
    stop of a process would end the bucket in hand before its time, and what comes next would count ever later.
    """
    partitions = list(partitions)
    members = [p.watermark for p in partitions if p.member]
    if members:
        return None if None in members else min(w for w in members if w is not None)
    time = None if last_counts_at is None else rules.start_of(last_counts_at) + rules.bucket
    for p in partitions:
        time = later(time, p.watermark)
    return time if time is None or now is None else min(time, now - rules.lateness)


def tick_value(own: str, partitions: dict[str, Progress], clock: int, rules: TimeRules) -> int | None:
    """What a tick of partition `own` writes, from the progress rows of one snapshot and the clock (microseconds).

    The smallest watermark of the other members that are not idle (none if one has none); if all others are idle, the
    clock less the lateness, provided that any member's stored time is within `stall_after` of the clock; else none.
    """
    members = {name: p for name, p in partitions.items() if p.member}
    awake = [p.watermark for name, p in members.items() if name != own and not p.idle]
    if awake:
        return None if None in awake else min(w for w in awake if w is not None)
    near = any(abs(clock - time) <= rules.stall_after for p in members.values() for time, _ in p.largest)
    return clock - rules.lateness if near else None
