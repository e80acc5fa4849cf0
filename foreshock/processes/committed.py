"""What is committed of each source, while the sources themselves read ahead of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from foreshock.monitor.store.progress import Partition
from foreshock.sources.live import Clock, Source


class Committed:
    """The version of each partition's row as this process last saw it, and since when its watermark stands.

    `clock`: of a process that reads live; None in a replay.
    """

    def __init__(self, clock: Clock | None) -> None:
        self._clock = clock
        self._versions: dict[str, int] = {}
        self._watermarks: dict[str, tuple[int | None, int]] = {}  # and since when each stands, but for ticks

    def take_over(
        self,
        partitions: Iterable[Partition],
        sources: Iterable[Source],
        *,
        whole: bool = False,
        by_tick: bool = False,
    ) -> None:
        """Take over rows that were written, and give them to their sources.

        Records that raise a watermark keep a source from being idle; ticks (`by_tick`) do not. `whole`: give sources
        the rows themselves, not only their versions: they have nothing in hand.
        """
        by_name = {partition.name: partition for partition in partitions}
        now = 0 if self._clock is None else self._clock()
        for name, partition in by_name.items():
            self._versions[name] = partition.version
            before, since = self._watermarks.get(name, (None, now))
            watermark = partition.progress.watermark
            self._watermarks[name] = watermark, since if by_tick or watermark == before else now
        for source in sources:
            if (found := by_name.get(source.partition.name)) is not None:
                source.partition = (
                    found
                    if whole
                    else replace(
                        source.partition, version=found.version, heard_at=found.heard_at, aside_since=found.aside_since
                    )
                )

    def as_versioned(self, partitions: Iterable[Partition]) -> list[Partition]:
        """Return the partitions with the versions that are committed: a write of them misses if the row went on."""
        return [replace(p, version=self._versions[p.name]) for p in partitions]

    def is_newest(self, partition: Partition) -> bool:
        """Return whether this row is the one that this process wrote or read last."""
        return partition.version == self._versions.get(partition.name)

    def stands_since(self, name: str) -> int:
        """Return since when a source's watermark stands (microseconds), but for ticks."""
        return self._watermarks[name][1]
