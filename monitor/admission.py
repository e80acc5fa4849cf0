"""Which names a feed may make topics of: the first that come, up to a limit for each source and for the store.

    admission.admits("Acme", source="wire")

Anyone who writes a feed can invent names, and each topic costs memory and rows for good. So a name takes one of a
limited number of places when the first story that bears it is counted. The desk's own topics (settings, watchlist,
built-in) need no place, and never lose one. A story whose name finds no place counts in the series `_other`.

Invariant: the places depend only on the order in which stories are decided. So batches, restarts and replays change
nothing. The table `topics` holds them: a name has a row if, and only if, it was admitted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from foreshock.monitor.units import ALL, OTHER

TOPICS = 5_000
"""Places in a store."""
TOPICS_PER_SOURCE = 1_000
"""Places that one source may fill."""
TOPICS_PER_STORY = 50
"""A feed's own topics that one story may bear."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many places there are, and the topics that need none."""

    topics: int = TOPICS
    per_source: int = TOPICS_PER_SOURCE
    per_story: int = TOPICS_PER_STORY
    own: frozenset[str] = frozenset()
    """The desk's own topics."""


class Admission:
    """The names that have a place, each with the source that brought it."""

    def __init__(self, limits: Limits, taken: Iterable[tuple[str, str]] = ()) -> None:
        """Make the places of a store. `taken`: names and their sources, in the order in which they came."""
        self.limits = limits
        self.taken: dict[str, str] = {}
        self._of_source: Counter[str] = Counter()
        for name, source in taken:
            if len(self.taken) == limits.topics:
                break
            self._take(name, source)

    def admits(self, name: str, source: str) -> bool:
        """Return whether a name is a topic. A new name takes a place, if there is one for its source."""
        if name in self.taken or name in self.limits.own or name == ALL:
            return True
        limits = self.limits
        if name == OTHER or len(self.taken) >= limits.topics or self._of_source[source] >= limits.per_source:
            return False
        self._take(name, source)
        return True

    def _take(self, name: str, source: str) -> None:
        if name not in self.limits.own and name not in self.taken and name not in (ALL, OTHER):
            self.taken[name] = source
            self._of_source[source] += 1
