"""Live sources: partitions that records keep coming from, in a process that reads on until it is stopped.

The one idea: a live source gives what it has by now, and says when that is all there was. Only then may its own loop
declare it idle, so that time goes on without it; a source that lags or whose reader died says nothing, and time waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from foreshock.ingest.story import DeadLetter, Story
from foreshock.monitor.store import progress
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.watermark import TimeRules

if TYPE_CHECKING:
    from sqlalchemy import Connection


Record = tuple[Story | DeadLetter, str]
Clock = Callable[[], int]


class Readable(Protocol):
    """A partition that records come from: where it stands, and its next record."""

    partition: Partition

    def next(self) -> tuple[Story | DeadLetter, str] | None:
        """The next record and its hash; None if there is none, or none by now."""


class LiveSource(Readable, Protocol):
    """What the loop of a run needs of a source, whatever its kind."""

    @property
    def over(self) -> bool:
        """Nothing will ever come again: it leaves."""

    @property
    def unsaved(self) -> bool:
        """It has something of its own to save, beside its partition."""

    def at_end(self, now: int) -> bool:
        """All that there was by now has been given."""

    def read_what_stood(self) -> bool:
        """All that there was at the start has been given: where `--until-end` stops."""

    def stays(self, stored: Partition) -> bool:
        """It has more than what is stored, and that must not come late: it stays a member when its process ends."""

    def save(self, connection: Connection) -> None:
        """Called in a transaction, once all that it gave is committed."""

    def restart(self, partition: Partition, connection: Connection) -> None:
        """Go on from `partition`: another process wrote meanwhile, and what was given since is void."""


def join(connection: Any, sources: Sequence[Readable], rules: TimeRules, now: int | None = None) -> list[Partition]:
    """All sources that are not members yet join in one transaction, before the first record is read. Returns where each
    stands then: it is the caller's to set, once that is committed. `now`: the clock of who reads live."""
    joining = [source.partition for source in sources if not source.partition.progress.member]
    joined = {p.name: p for p in progress.join(connection, joining, rules, now)} if joining else {}
    return [joined.get(source.partition.name, source.partition) for source in sources]
