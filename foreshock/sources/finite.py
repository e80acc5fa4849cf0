"""Sources that end: files that are read once, from their place in the store to their end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foreshock.ingest.feed import Feed
from foreshock.ingest.story import Story
from foreshock.monitor.errors import LateFile
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.times import iso

if TYPE_CHECKING:
    pass

from foreshock.ingest.story import DeadLetter


def refuse_a_file_of_the_past(feed: Feed, path: Path, decided_until: int) -> None:
    """Raises `LateFile` for a file that the store does not know, all of whose stories lie before what is decided."""
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


@dataclass(slots=True, eq=False)
class Source:
    """A partition being read: where it stands in the store, and where reading has come."""

    partition: Partition
    feed: Feed
    ended: bool = False
    _records: Iterator[tuple[Story | DeadLetter, str]] | None = None

    def next(self) -> tuple[Story | DeadLetter, str] | None:
        if self._records is None:
            self._records = self.feed.read(self.partition.next_offset, self.partition.last_hash)
        return next(self._records, None)
