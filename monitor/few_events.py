"""Topics with so few events that nothing is remembered of them but their number.

A watched topic has about 30 kB of arrays. Most names that a feed ever uses come once or twice, and a hostile feed can
invent millions. So a feed's own topic is watched from its third event on. Until then it costs one entry here.
"""

from __future__ import annotations


class FewEvents:
    """The topics that are not watched yet with their events so far, in the order in which they came."""

    def __init__(self) -> None:
        self._events: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._events)

    def add(self, topic: str, events: int, most: int) -> int:
        """Add events of a topic, and return all so far. While `most` topics are remembered, no further one is."""
        found = self._events.get(topic, 0) + events
        if topic in self._events or len(self._events) < most:
            self._events[topic] = found
        return found

    def forget(self, topic: str) -> None:
        """Drop a topic, because it is watched from now on."""
        self._events.pop(topic, None)

    def dump(self) -> list[list[object]]:
        """Return the topics as JSON, in order."""
        return [[topic, events] for topic, events in self._events.items()]

    def load(self, rows: list[tuple[str, int]]) -> None:
        """Restore what `dump` returned."""
        self._events = dict(rows)
