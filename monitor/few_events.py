"""Topics with so few events that nothing is remembered of them but their number.

A watched topic has about 30 kB of arrays. Most names that a feed ever uses come once or twice, and a hostile feed can
invent millions. So a feed's own topic is watched from its third event on; until then it costs one entry here.
"""

from __future__ import annotations

from typing import NamedTuple


class Few(NamedTuple):
    """The events of a topic so far, and the running hour of its first story."""

    events: int
    first_hour: int


class FewEvents:
    """The topics that are not watched yet, in the order in which they came."""

    def __init__(self) -> None:
        self._topics: dict[str, Few] = {}

    def __len__(self) -> int:
        return len(self._topics)

    def add(self, topic: str, events: int, hour: int, most: int) -> Few:
        """Add events of a topic at a running hour. While `most` topics are remembered, no further one is."""
        before = self._topics.get(topic)
        found = Few(events, hour) if before is None else Few(before.events + events, before.first_hour)
        if before is not None or len(self._topics) < most:
            self._topics[topic] = found
        return found

    def since(self, topic: str, default: int) -> int:
        """Return the running hour of a topic's first story; `default` if nothing is known of it."""
        found = self._topics.get(topic)
        return default if found is None else found.first_hour

    def forget(self, topic: str) -> None:
        """Drop a topic, because it is watched from now on."""
        self._topics.pop(topic, None)

    def dump(self) -> list[list[object]]:
        """Return the topics as JSON, in order."""
        return [[topic, *few] for topic, few in self._topics.items()]

    def load(self, rows: list[tuple[str, int, int]]) -> None:
        """Restore what `dump` returned."""
        self._topics = {topic: Few(events, hour) for topic, events, hour in rows}
