"""Sources that end: the files of a replay, and dead letters that are read again.

Both are read from their place in the store to their end, and then leave. They need no clock: event time follows their
records alone, so a finite source is never idle. A replay at N times real time holds each story back until it is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foreshock.ingest.between import Between
from foreshock.ingest.errors import FileChanged
from foreshock.ingest.feed import Feed
from foreshock.ingest.files import FileFeed, partition_of
from foreshock.ingest.parsing import ParseRules
from foreshock.ingest.story import Story
from foreshock.monitor.errors import LateFile, SourceMismatch
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.times import iso
from foreshock.monitor.watermark import TimeRules
from foreshock.sources import live
from foreshock.sources.live import Gap, Record, Source

if TYPE_CHECKING:
    from sqlalchemy import Connection

Due = Callable[[int], float]
"""Returns the seconds until a story of this event time is due."""


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay has come: records committed by it, the share of its sources' bytes that has been read (0 to 1),
    and the largest watermark."""

    records: int
    share: float
    event_time: int | None


class FiniteSource:
    """A feed that is read once, from its place in the store to its end.

    `due` holds stories back: `next` returns None until the next story is due.
    """

    unsaved = False
    read_at = None

    def __init__(self, partition: Partition, feed: Feed, due: Due | None = None) -> None:
        self.partition = partition
        self.feed = feed
        self.over = False
        self._due = due
        self._records: Iterator[Record] | None = None
        self._held: Record | None = None

    def next(self) -> Record | None:
        found = self._held or self._read()
        self._held = None
        if found is not None and self._due is not None and self._seconds_until(found, self._due) > 0:
            self._held = found
            return None
        return found

    def seconds_until_due(self) -> float:
        """Return the seconds until the next record is due; 0 if that is not known yet."""
        return 0.0 if self._held is None or self._due is None else self._seconds_until(self._held, self._due)

    def at_end(self, now: int) -> bool:
        return False  # a tick would let the clock move event time

    def read_what_stood(self) -> bool:
        return self.over

    def stays(self, stored: Partition) -> bool:
        # The next replay goes on with it. Until then event time waits, or its other stories would come late.
        return not self.over or stored.next_offset < self.partition.next_offset

    def save(self, connection: Connection) -> None:
        """Do nothing: the partition's row holds all that there is to save."""

    def restart(self, stored: Partition) -> None:
        """Go on from `stored`; records returned since are void."""
        self.partition = stored
        self.over = False
        self._records = self._held = None

    def has_left(self, stored: Partition) -> bool:
        """Return whether the store has it as read to its end: a commit of unknown outcome was made."""
        return self.over and not stored.progress.member and stored.next_offset == self.partition.next_offset

    def _read(self) -> Record | None:
        if self._records is None:
            self._records = self.feed.read(self.partition.next_offset, self.partition.last_hash)
        found = next(self._records, None)
        self.over = found is None
        return found

    @staticmethod
    def _seconds_until(record: Record, due: Due) -> float:
        item = record[0]
        return due(item.published_at) if isinstance(item, Story) else 0.0


class FiniteSources:
    """The sources of one replay. `on_progress` is called after each committed batch."""

    goes_on = False
    look_seconds = 0.5
    ready = True

    def __init__(
        self, sources: Sequence[FiniteSource], *, on_progress: Callable[[ReplayProgress], None] | None = None
    ) -> None:
        self.sources = list(sources)
        self._all = list(sources)
        self._on_progress = on_progress
        self._records = 0
        self._event_time = max((w for s in sources if (w := s.partition.progress.watermark) is not None), default=None)

    def refresh(self) -> bool:
        return False

    def restart(self, known: Mapping[str, Partition], connection: Connection) -> None:
        self.sources = [s for s in self.sources if not s.has_left(known.get(s.partition.name, s.partition))]
        for source in self.sources:
            source.restart(known.get(source.partition.name, source.partition))

    def join(self, connection: Connection, rules: TimeRules, now: int | None) -> list[Partition]:
        return live.join(connection, self.sources, rules, now)

    def joined(self) -> None:
        """Do nothing: reading starts with the first `next`."""

    def gaps(self) -> Sequence[Gap]:
        return ()

    def skipped(self, source: Source) -> None:
        """Do nothing: files have no gaps."""

    def committed(self, partitions: Sequence[Partition], records: int) -> None:
        self._records += records
        if self._on_progress is None:
            return
        times = [self._event_time, *(partition.progress.watermark for partition in partitions)]
        self._event_time = max((time for time in times if time is not None), default=None)
        share = sum(source.feed.progress() for source in self._all) / max(1, len(self._all))
        self._on_progress(ReplayProgress(self._records, share, self._event_time))

    def left(self, source: Source) -> None:
        self.sources = [other for other in self.sources if other is not source]

    def finished(self, stored: Callable[[], Mapping[str, Partition]]) -> bool:
        return all(source.over for source in self.sources)

    def wait(self, seconds: float, idle: Callable[[float], None]) -> None:
        due = min((source.seconds_until_due() for source in self.sources if not source.over), default=0.0)
        if due > 0:
            idle(due)

    def close(self) -> None:
        """Do nothing: a feed closes its file at its end."""


def file_sources(
    paths: Sequence[Path],
    known: Mapping[str, Partition],
    decided_until: int | None,
    *,
    rules: ParseRules,
    latest: int,
    sort: bool,
    due: Due | None,
    between: Between | None = None,
) -> list[FiniteSource]:
    """Return a source for each file that has records to read: not for one read to its end that has not grown.

    `known` and `decided_until` are what the store holds. `latest`: the largest event time that a file which joins for
    the first time may have. `between`: the range of event time that is read; None: all.

    Raises:
        SourceMismatch: the store knows the name as something else, or in another order.
        FileChanged: the file is not the one that was read, or a sorted one has grown.
        LateFile: all stories of a new file lie before what is decided.
    """
    found = []
    for path in paths:
        name = partition_of(path, between)
        partition = known.get(name) or Partition(name, "file", latest=latest, sorted=sort)
        if partition.kind != "file" or partition.sorted != sort:
            raise SourceMismatch(
                f"The store has read {name} {_how(partition)}: read it that way again, or give the file another name."
            )
        feed = FileFeed(path, rules=rules, latest=partition.latest, sort=sort, between=between)
        if partition.version and not partition.progress.member:
            if next(feed.read(partition.next_offset, partition.last_hash), None) is None:
                continue
            if sort:
                raise FileChanged(path, "it was read sorted and has grown since; a sorted file cannot be read on.")
        elif not partition.version and decided_until is not None:
            refuse_a_file_of_the_past(feed, path.with_name(name), decided_until)
        found.append(FiniteSource(partition, feed, due))
    return found


def refuse_a_file_of_the_past(feed: Feed, path: Path, decided_until: int) -> None:
    """Raise `LateFile` for a file that the store does not know if all its stories lie before what is decided."""
    stories = (item for item, _ in feed.read() if isinstance(item, Story))
    first = next(stories, None)
    if (
        first is None
        or first.published_at >= decided_until
        or any(story.published_at >= decided_until for story in stories)
    ):
        return
    raise LateFile(
        f"All stories of {path} lie before what the store has decided ({iso(decided_until)}); they would count "
        "for nothing. Load history first, or into a new store."
    )


def _how(partition: Partition) -> str:
    if partition.sorted:
        return "sorted (--sort)"
    return "in its own order" if partition.kind == "file" else "as dead letters"
