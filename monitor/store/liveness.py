"""What stands still in a store that is read live: the processes, and the feeds. Pages and `doctor` say the same.

A process notes each source that answers, at least every 30 seconds while the source is at its end, and each poll of a
feed. So a source of which nothing is heard, and a store of which nothing is heard at all, show by the clock alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, cast, func, select

from foreshock.monitor import silent_sources
from foreshock.monitor.silent_sources import LIVE_KINDS
from foreshock.monitor.store import progress, rss_feeds, schema
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.rss_feeds import RssFeed
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import SECOND
from foreshock.monitor.watermark import TimeRules

STOPPED_AFTER = 50 * SECOND
"""A store of which nothing was heard for this long is no longer read. A page says so within a minute of the stop."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known of the sources of a store, and of who reads and decides it."""

    partitions: tuple[Partition, ...]
    feeds: Mapping[str, RssFeed]
    """RSS feeds, by partition."""
    decided: bool | None
    """Whether a process holds the lease; None where the store does not show it (SQLite)."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that stands still or fails, in words, and what to do."""

    said: str
    remedy: str


def answers(connection: Connection) -> Answers:
    """Read what is known of the sources."""
    decided = None
    if connection.dialect.name == "postgresql":
        expires = schema.lease.c.expires_at
        clock = cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)
        decided = connection.execute(select(expires).where(expires >= clock)).first() is not None
    return Answers(tuple(progress.load(connection).values()), rss_feeds.load(connection), decided)


def last_answer(found: Answers, partition: Partition) -> int | None:
    """Return when a source was last polled or answered, by the clock (microseconds). None: it was never read live."""
    feed = found.feeds.get(partition.name)
    times = [time for time in (partition.heard_at, feed.polled_at if feed else None) if time]
    return max(times, default=None)


def is_live(found: Answers) -> bool:
    """Return whether a process reads the store live, or did: ages then count from the clock.

    A replay never waits at the end of a file, and notes no answers.
    """
    return any(p.kind in LIVE_KINDS or p.progress.idle or p.heard_at is not None for p in found.partitions)


def stopped_since(found: Answers, now: int) -> int | None:
    """Return when anything was last heard of the processes that read this store, if that is long ago; else None.

    Feeds that fail do not count: their polls become rare.
    """
    members = [p for p in found.partitions if p.progress.member]
    heard = [time for p in members if (time := last_answer(found, p)) is not None]
    failing = [p for p in members if p.name in found.feeds and found.feeds[p.name].failures]
    if not heard or len(failing) == len(members) or now - max(heard) <= STOPPED_AFTER:
        return None
    return max(heard)


def processes(found: Answers, now: int) -> list[Trouble]:
    """Return whether a process is missing that reads the store, or one that decides it."""
    stopped = stopped_since(found, now)
    if stopped is not None:
        said = f"No process reads this store: nothing was heard of one since {iso(stopped - stopped % SECOND)}"
        return [Trouble(said, "Start the same command again, such as foreshock run: it continues where it stopped")]
    if found.decided is False and any(p.heard_at is not None for p in found.partitions if p.progress.member):
        return [Trouble("No process decides this store", "Start foreshock monitor, or foreshock run")]
    return []


def troubles(found: Answers, decided_until: int | None, now: int, rules: TimeRules) -> Sequence[Trouble]:
    """Return what stands still or fails, the gravest first. `now`: by the clock (microseconds)."""
    listed = processes(found, now)
    if stopped_since(found, now) is not None:
        return listed
    for partition in (p for p in found.partitions if p.progress.member):
        feed = found.feeds.get(partition.name)
        if feed is not None and feed.failures:
            times = "once" if feed.failures == 1 else f"{feed.failures} times in a row"
            name = partition.name.removeprefix("rss:")
            said = f"The feed {name} failed {times}: {feed.last_error}".rstrip(". ")
            listed.append(Trouble(said, f"Try it: foreshock feeds try {shlex.quote(name)}"))
        elif partition.aside_since is not None:
            listed.append(
                Trouble(
                    f"{partition.name} stands still: it has not answered since before {iso(partition.aside_since)}, "
                    "and event time goes on without it",
                    "Check that its process runs and that it answers: foreshock doctor --connect",
                )
            )
    still = silent_sources.standstill(found.partitions, decided_until, now, rules)
    if still is not None:
        said = str(still)
        listed.append(Trouble(f"{said[0].upper()}{said[1:]}", "Check its process: foreshock doctor --connect"))
    return listed
