"""Take steps of fills when a process has time: a worker's, and where the process decides, the monitor's."""

from __future__ import annotations

import time

from sqlalchemy import Engine

from foreshock.monitor.closing import Closer
from foreshock.monitor.filling import Filler
from foreshock.monitor.store import fills
from foreshock.monitor.store.database import reading
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
        self._engine = engine
        self.reads = False
        """Whether the step that is due reads stories again, and so may need the encoder."""

    def due(self, *, idle: bool) -> bool:
        """Return whether there is a step to take now. `idle`: there is nothing else to do."""
        now = time.monotonic()
        if now < (self._idle_at if idle else self._busy_at):
            return False
        with reading(self._engine) as connection:
            under_way = fills.unfinished(connection)
        self._idle_at, self._busy_at = now + LOOK_SECONDS, now + BUSY_SECONDS
        self.reads = bool(under_way) and under_way[0].state == fills.READING
        return bool(under_way)

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
