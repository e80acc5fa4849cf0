"""Numpy arrays with one row for each topic. They grow as topics are added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

STEPS = "_steps"
"""What the names of `TopicArrays.TOTALS` end with in a snapshot."""


class TopicArrays:
    """Arrays over topics that grow together, and are stored and restored together."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]]
    """name: (leading axes, trailing axes, type, fill). The axis of topics is between the leading and trailing axes."""
    TOTALS: ClassVar[tuple[str, ...]] = ()
    """Names of `ARRAYS` that are running totals of integers along their first axis. A snapshot holds their steps: most
    are 0, and it is smaller."""
    PLAIN: ClassVar[tuple[str, ...]] = ()
    """Names of arrays without an axis of topics."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        for name, (lead, trail, kind, fill) in self.ARRAYS.items():
            setattr(self, name, np.full((*lead, capacity, *trail), fill, kind))

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` topics."""
        for name, (lead, trail, kind, fill) in self.ARRAYS.items():
            grown = np.full((*lead, capacity, *trail), fill, kind)
            grown[(slice(None),) * len(lead) + (slice(0, self.capacity),)] = getattr(self, name)
            setattr(self, name, grown)
        self.capacity = capacity

    def dump(self, n: int) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays of the first `n` topics, by name, for a snapshot."""
        arrays: dict[str, npt.NDArray[np.generic]] = {name: getattr(self, name) for name in self.PLAIN}
        for name, (lead, _, _, _) in self.ARRAYS.items():
            kept = getattr(self, name)[(slice(None),) * len(lead) + (slice(0, n),)]
            if name in self.TOTALS:
                arrays[name + STEPS] = np.diff(kept, axis=0, prepend=0)
            else:
                arrays[name] = np.ascontiguousarray(kept)
        return arrays

    def load(self, n: int, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Restore the first `n` topics from what `dump` returned."""
        for name, (lead, _, _, _) in self.ARRAYS.items():
            # Snapshots of version 12 hold the totals.
            kept = arrays[name + STEPS].cumsum(axis=0) if name + STEPS in arrays else arrays[name]
            getattr(self, name)[(slice(None),) * len(lead) + (slice(0, n),)] = kept
        for name in self.PLAIN:
            getattr(self, name)[:] = arrays[name]
