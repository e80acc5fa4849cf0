"""Take steps of fills when a process has time: a worker's, and where the process decides, the monitor's."""

from __future__ import annotations

import time

from sqlalchemy import Engine

from foreshock.monitor.closing import Closer
from foreshock.monitor.filling import Filler
from foreshock.monitor.store.fills import Fill
from foreshock.monitor.watermark import TimeRules
from foreshock.observability.log import log
from foreshock.processes.batches import Worker
from foreshock.processes.rereading import Rereader

BUSY_SECONDS = 1.0
"""How often a process that has no time takes a step."""
LOOK_SECONDS = 0.5
"""How often a process that has time looks whether there is a fill, after it found none."""


def _say(fill: Fill) -> None:
    log().info("topics are filled from the stored stories", topics=list(fill.topics), stories=fill.found)


class Fills:
    """A process's part of fills.

    Parameters:
        closer: of a process that decides; None in one that only reads.
    """

    def __init__(self, engine: Engine, rules: TimeRules, closer: Closer | None) -> None:
        self._rereader = Rereader(engine)
        self._filler = None if closer is None else Filler(engine, rules, closer, _say)
        self._idle_at = self._busy_at = 0.0

    def due(self, *, idle: bool) -> bool:
        """Return whether to take a step now. `idle`: there is nothing else to do."""
        return time.monotonic() >= (self._idle_at if idle else self._busy_at)

    def step(self, worker: Worker | None = None) -> bool:
        """Take a step, if there is one; return whether there was. `worker`: reads stories again.

        Raises Overtaken if another process took it meanwhile.
        """
        now = time.monotonic()
        self._idle_at, self._busy_at = now, now + BUSY_SECONDS
        if worker is not None and self._rereader.step(worker):
            return True
        if self._filler is not None and self._filler.step():
            return True
        self._idle_at = now + LOOK_SECONDS
        return False
