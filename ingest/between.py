"""The part of a feed that is read: the stories that are dated within a range (`foreshock replay --from --to`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from foreshock.ingest.dates import EPOCH
from foreshock.ingest.story import DeadLetter, Story

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Between:
    """A range of event time, `start` included and `end` not (microseconds; None: open).

    What counts is the event time alone, the story's `published_at`: not the order of the file, and not when a story
    counts. A date without a time lies at its day's end. A dead letter has no event time. It goes with the story before
    it in the file. Those before the first story are read if the range has no start.

    Invariant, property-tested: reading a part of a feed gives the items that a feed of only these records would give,
    from whatever record reading goes on.
    """

    start: int | None = None
    end: int | None = None

    def __contains__(self, at: int) -> bool:
        return (self.start is None or at >= self.start) and (self.end is None or at < self.end)

    def __str__(self) -> str:
        ends = ("from", self.start), ("to", self.end)
        return " ".join(f"{word} {_iso(at)}" for word, at in ends if at is not None)

    def within(self, items: Iterable[Item], of: Callable[[Item], Story | DeadLetter], *, first: bool) -> Iterator[Item]:
        """Yield the items within the range. `of`: returns an item's story or dead letter.

        `first`: whether the items begin with the feed's first record. Otherwise the record before them was read.
        """
        inside = self.start is None or not first
        for item in items:
            found = of(item)
            if isinstance(found, Story):
                inside = found.published_at in self
            if inside:
                yield item


def _iso(at: int) -> str:
    return (EPOCH + timedelta(microseconds=at)).replace(tzinfo=None).isoformat() + "Z"
