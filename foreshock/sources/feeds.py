"""The RSS feeds and growing files that the settings name, as one group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from foreshock.monitor.store import progress
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.watermark import TimeRules
from foreshock.observability.log import log
from foreshock.sources import live
from foreshock.sources.live import Gap, Source

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Feed(Source, Protocol):
    """A source that stays with its process: nobody gives it to another."""

    def restart(self, partition: Partition, connection: Connection) -> None:
        """Go on from `partition`; records returned since are void."""

    def close(self) -> None:
        """Release the file or the connections."""


class Feeds:
    """The feeds of one `foreshock run`.

    `kafka`: whether the process also reads a Kafka topic. If it does not, Kafka partitions in a SQLite store have no
    reader, and leave.
    """

    goes_on = True
    look_seconds = 0.5
    ready = True

    def __init__(self, feeds: Sequence[Feed], *, kafka: bool = False) -> None:
        self.sources = list(feeds)
        self._all = list(feeds)
        self._kafka = kafka
        self._begun = False

    def refresh(self) -> bool:
        return False

    def restart(self, known: Mapping[str, Partition], connection: Connection) -> None:
        for feed in self.sources:
            feed.restart(known.get(feed.partition.name, feed.partition), connection)

    def join(self, connection: Connection, rules: TimeRules, now: int | None) -> list[Partition]:
        if not self._begun:
            self._leave_what_the_settings_dropped(connection)
        return live.join(connection, self.sources, rules, now)

    def joined(self) -> None:
        self._begun = True

    def gaps(self) -> Sequence[Gap]:
        return ()

    def skipped(self, source: Source) -> None:
        """Do nothing: feeds have no gaps."""

    def committed(self, partitions: Sequence[Partition], records: int) -> None:
        """Do nothing: nobody else follows a feed's progress."""

    def left(self, source: Source) -> None:
        self.sources = [feed for feed in self.sources if feed is not source]

    def finished(self, stored: Callable[[], Mapping[str, Partition]]) -> bool:
        return all(feed.over or (feed.read_what_stood() and not feed.unsaved) for feed in self.sources)

    def wait(self, seconds: float, idle: Callable[[float], None]) -> None:
        idle(seconds)  # the answer to a poll wakes it

    def close(self) -> None:
        for feed in self._all:
            feed.close()

    def _leave_what_the_settings_dropped(self, connection: Connection) -> None:
        """Remove members that a killed run left behind and that no process will read: event time would wait forever."""
        only_reader = connection.dialect.name == "sqlite"
        own = {feed.partition.name for feed in self.sources}
        others = [p for p in progress.load(connection).values() if p.progress.member and p.name not in own]
        gone = [p for p in others if p.kind == "rss" or (only_reader and p.kind == "kafka" and not self._kafka)]
        progress.leave(connection, gone)
        for partition in gone:
            log().info("feed left: the settings no longer name it", feed=partition.name)
        for partition in others:
            if partition not in gone and partition.kind != "kafka":
                log().warning(
                    "event time is waiting for an unfinished source: replay it, add it to [[feeds]], or run "
                    "`foreshock sources leave`",
                    source=partition.name,
                )
