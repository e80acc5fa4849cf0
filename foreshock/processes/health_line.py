"""The `health` line, which a live process logs once a minute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from foreshock.monitor.errors import MonitorError
from foreshock.monitor.scorer_changes import sentence
from foreshock.monitor.store import counts, progress, scorer_watch
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.times import iso_or_none
from foreshock.monitor.units import SECOND
from foreshock.observability import metrics
from foreshock.observability.log import log
from foreshock.observability.stall import StallWatch
from foreshock.sources.live import Clock


class HealthLine:
    """Logs how far event time has come and what it waits for, and updates the metrics that follow from that.

    `details`: what only this process knows. `stalls`: of a process that decides.
    """

    def __init__(
        self, engine: Engine, clock: Clock, details: Callable[[], Mapping[str, Any]], *, stalls: StallWatch | None
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._details = details
        self._stalls = stalls

    def write(self) -> None:
        """Log the line. Never raises on a store that does not answer."""
        try:
            with reading(self._engine) as connection:
                decided_until = counts.decided_until(connection)
                members = [p for p in progress.load(connection).values() if p.progress.member]
                changed = scorer_watch.calling(connection) if self._stalls is not None else None
        except (DBAPIError, MonitorError) as error:
            log().warning("the store cannot be read", error=str(error))
            return
        now = self._clock()
        metrics.decided(decided_until)
        if self._stalls is not None:
            self._stalls.look(members, now)
        if changed is not None:
            metrics.scorer({(change.source, change.kind): sentence(change) for change in changed})
        unreached = metrics.health.unreached()
        log().info(
            "health",
            **self._details(),
            decided_until=iso_or_none(decided_until),
            lag_seconds=None if decided_until is None else round((now - decided_until) / SECOND, 1),
            not_idle=[p.name for p in members if not p.progress.idle],
            **({"troubles": unreached} if unreached else {}),
            **({"scorer": [f"{c.source}: {sentence(c)}" for c in changed]} if changed else {}),
        )
