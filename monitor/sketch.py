"""The most frequent of unboundedly many names, in bounded memory.

A space-saving sketch (A. Metwally, D. Agrawal, A. El Abbadi, 2005): a new name takes the place of the one with the
smallest count, and begins with that count plus one. So a count is at most too high, by the smallest count of all, and
each name with more than 1 / `capacity` of all events has a place. Counts fade, so that a name of last year makes room.

Invariant: the places follow from the names in the order in which they came, and from nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray

FADING = 30.0
"""Days in which counts fade to 1/e."""


class Sketch:
    """Names with their places, counts and when they were last heard.

    >>> sketch = Sketch(2)
    >>> [sketch.enter(name, hour, 1.0) for hour, name in enumerate(("a", "b", "a", "c"))]
    [0, 1, 0, 1]
    >>> sketch.index, sketch.count.tolist()
    ({'a': 0, 'c': 1}, [2.0, 2.0])
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.names: list[str] = []
        self.written: list[str] = []
        """How each name is written."""
        self.index: dict[str, int] = {}
        self.count: FloatArray = np.zeros(capacity)
        self.heard: IntArray = np.zeros(capacity, np.int64)
        """The running hour in which each name was last heard."""

    def enter(
        self,
        name: str,
        hour: int,
        events: float,
        kept: BoolArray | None = None,
        left: Callable[[int], None] | None = None,
    ) -> int:
        """Count events of a name, and return its place: its own, a free one, or that of the least frequent name.

        `kept`: places that are not given away; not all may be. `left`: called with a place that is given away. Of
        equally frequent names, the one that was not heard for longest goes.
        """
        place = self.index.get(name)
        if place is None:
            if len(self.names) < self.capacity:
                place = len(self.names)
                self.names.append(name)
                self.written.append(name)
            else:
                place = self._least(kept)
                if left is not None:
                    left(place)
                del self.index[self.names[place]]
                self.names[place] = self.written[place] = name
            self.index[name] = place
        self.count[place] += events
        self.heard[place] = hour
        return place

    def _least(self, kept: BoolArray | None) -> int:
        count = self.count if kept is None else np.where(kept, np.inf, self.count)
        least = np.flatnonzero(count == count.min())
        return int(least[self.heard[least].argmin()])

    def close_day(self) -> None:
        """Let counts fade."""
        self.count *= math.exp(-1 / FADING)
