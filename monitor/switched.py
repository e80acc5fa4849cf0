"""The state that a store would have, had the model of a switch scored its stories all along."""

from __future__ import annotations

import math
from time import monotonic

from sqlalchemy import Connection

from foreshock.monitor.deciding import State
from foreshock.monitor.deciding_again import Deciding
from foreshock.monitor.filled import HORIZON
from foreshock.monitor.grafting import forget
from foreshock.monitor.store import settings_versions, switches
from foreshock.monitor.store.by_model import CHUNK, ByModel
from foreshock.monitor.store.decided import first_bucket
from foreshock.monitor.store.switches import Switch
from foreshock.monitor.watermark import TimeRules


class Switched:
    """The state at a switch, had its model scored all along: of the last `HORIZON` at least.

    It begins with a state that remembers no topic. The buckets of the last weeks are those that were counted with the
    new model's scores; older ones are scaled (`store.by_model`). Everything follows from the bucket at which the
    switch comes into force, and not from when it was planned.
    """

    def __init__(self, connection: Connection, time: TimeRules, switch: Switch) -> None:
        earlier = [known for known in switches.done(connection) if known.number < switch.number]
        self._rows = ByModel(connection, [*earlier, switch], switch.fills)
        self.settings = settings_versions.in_force(connection)
        """The last settings' version that it knows."""
        self._deciding = Deciding(connection, time, switch.day - HORIZON, or_oldest=True)
        forget(self.state, list(self.state.history.names))
        self.state.life.open, self.state.life.unsaid = {}, set()
        self.until = self._deciding.begin
        """Up to where all is decided (microseconds). None: nothing is."""

    @property
    def state(self) -> State:
        """The state at `until`."""
        return self._deciding.state

    def advance(self, connection: Connection, end: int, seconds: float = math.inf) -> bool:
        """Decide the buckets before `end`, for about so many seconds. Return whether all are decided."""
        stop = monotonic() + seconds
        while self.until is None or self.until < end:
            first = self.until if self.until is not None else first_bucket(connection)
            last = end if first is None else min(end, first - first % CHUNK + CHUNK)
            for bucket in self._rows.buckets(connection, first, last):
                self._deciding.decide(bucket)
            self.until = last
            if monotonic() >= stop:
                break
        if self.until is not None and self.until >= end:
            self._deciding.pass_time(end)
            return True
        return False
