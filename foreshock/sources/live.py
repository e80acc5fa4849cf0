"""The two protocols between the loop and what it reads: a `Source` of records, and a `SourceGroup` that manages some.

A source is one partition. It returns the records that it has by now, and says when it has no more for the moment. Only
then may the loop declare it idle, so that event time goes on without it. A source that lags says nothing, and event
time waits for it.

A group is what one process reads together: the feeds in the settings (`feeds.py`), the partitions of a Kafka topic
(`kafka.py`), or the files of a replay (`finite.py`). The loop knows these protocols and no kind of source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from foreshock.ingest.story import DeadLetter, Story
from foreshock.monitor.store import progress
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.watermark import TimeRules

if TYPE_CHECKING:
    from sqlalchemy import Connection

Record = tuple[Story | DeadLetter, str]
"""A parsed record and the hash of its bytes ("" where the source needs none)."""
Clock = Callable[[], int]
"""Returns the current time in microseconds since 1970, UTC."""


class Readable(Protocol):
    """A partition that records come from."""

    partition: Partition
    """Where reading stands. Whoever takes a record moves it on."""

    @property
    def read_at(self) -> int | None:
        """When the record that `next` returned last came, by the clock (microseconds). A story that is dated further
        ahead of it than `TimeRules.max_ahead` moves no time. None: a replay, which reads no clock."""

    def next(self) -> Record | None:
        """Return the next record; None if there is none by now."""


class Source(Readable, Protocol):
    """What the loop needs of a source, whatever its kind."""

    @property
    def over(self) -> bool:
        """Whether no record will ever come again. The source then leaves."""

    @property
    def unsaved(self) -> bool:
        """Whether the source has something of its own to save, beside its partition."""

    def at_end(self, now: int) -> bool:
        """Return whether all records that exist by now have been returned."""

    def read_what_stood(self) -> bool:
        """Return whether all records that existed at the start have been returned: where `--until-end` stops."""

    def stays(self, stored: Partition) -> bool:
        """Return whether the source stays a member when its process ends. `stored`: where the store has it.

        It stays if it has more than is stored, and that must not come late.
        """

    def save(self, connection: Connection) -> None:
        """Save what `unsaved` announced. Called in a transaction, once all records returned so far are committed."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that were gone before they could be read. The source goes on at `next_offset`."""

    source: Source
    next_offset: int


class SourceGroup(Protocol):
    """Sources that one process reads together."""

    goes_on: bool
    """Whether more records may always come. False: somebody waits for the end, so an outage of the store that lasts
    ends the process, and reading does not run ahead of the encoder."""
    look_seconds: float
    """How long the loop may wait between two looks at this group."""

    @property
    def sources(self) -> Sequence[Source]:
        """The sources that have not left."""

    @property
    def ready(self) -> bool:
        """Whether the group knows its sources: false until Kafka has been reached."""

    def refresh(self) -> bool:
        """Take in what has arrived. Return whether the group's sources have changed and must join again."""

    def restart(self, known: Mapping[str, Partition], connection: Connection) -> None:
        """Go on from what the store holds; records returned since are void. In the caller's transaction."""

    def join(self, connection: Connection, rules: TimeRules, now: int | None) -> list[Partition]:
        """Make the sources members, and return where each of them stands. In the caller's transaction.

        `now`: the clock of a process that reads live.
        """

    def joined(self) -> None:
        """Start reading. Called once the transaction of `join` is committed."""

    def gaps(self) -> Sequence[Gap]:
        """Return the gaps that have been found."""

    def skipped(self, source: Source) -> None:
        """Read on where the source's partition now stands: behind a gap that has been stored."""

    def committed(self, partitions: Sequence[Partition], records: int) -> None:
        """Take note of a committed batch: where its partitions stand now, and how many records it had."""

    def left(self, source: Source) -> None:
        """Drop a source that has left."""

    def finished(self, stored: Callable[[], Mapping[str, Partition]]) -> bool:
        """Return whether all records that existed at the start have been returned. `stored` reads the partitions."""

    def wait(self, seconds: float, idle: Callable[[float], None]) -> None:
        """Wait for records for up to `seconds`. `idle` waits for a time in seconds, and is woken by a stop."""

    def close(self) -> None:
        """Release files and connections."""


def join(
    connection: Connection, sources: Sequence[Readable], rules: TimeRules, now: int | None = None
) -> list[Partition]:
    """Make all sources members that are not, in one transaction, before the first record is read.

    Returns where each source stands then. The caller sets that once the transaction is committed. `now`: the clock of
    a process that reads live.
    """
    joining = [source.partition for source in sources if not source.partition.progress.member]
    joined = {p.name: p for p in progress.join(connection, joining, rules, now)} if joining else {}
    return [joined.get(source.partition.name, source.partition) for source in sources]
