"""Numpy arrays with one row a topic, which grow as topics are added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


FloatArray = npt.NDArray[np.float64]


BoolArray = npt.NDArray[np.bool_]


class TopicArrays:
    """Arrays over topics that grow, and are written down and read again together."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]]
    """name: (leading axes, trailing axes, type, fill); the topics' axis is between the axes."""
    PLAIN: ClassVar[tuple[str, ...]] = ()
    """Arrays that have no axis of topics."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        for name, (lead, trail, kind, fill) in self.ARRAYS.items():
            setattr(self, name, np.full((*lead, capacity, *trail), fill, kind))

    def grow(self, capacity: int) -> None:
        """Makes room for topics up to `capacity`."""
        for name, (lead, trail, kind, fill) in self.ARRAYS.items():
            grown = np.full((*lead, capacity, *trail), fill, kind)
            grown[(slice(None),) * len(lead) + (slice(0, self.capacity),)] = getattr(self, name)
            setattr(self, name, grown)
        self.capacity = capacity

    def dump(self, n: int) -> dict[str, npt.NDArray[np.generic]]:
        """Copies of what the first `n` topics hold."""
        arrays: dict[str, npt.NDArray[np.generic]] = {name: getattr(self, name) for name in self.PLAIN}
        for name, (lead, _, _, _) in self.ARRAYS.items():
            arrays[name] = np.ascontiguousarray(getattr(self, name)[(slice(None),) * len(lead) + (slice(0, n),)])
        return arrays

    def load(self, n: int, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """The inverse of `dump`."""
        for name, (lead, _, _, _) in self.ARRAYS.items():
            getattr(self, name)[(slice(None),) * len(lead) + (slice(0, n),)] = arrays[name]
        for name in self.PLAIN:
            getattr(self, name)[:] = arrays[name]
