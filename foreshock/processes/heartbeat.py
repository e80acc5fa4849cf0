"""Post a heartbeat while this process decides and is well."""

from __future__ import annotations

import time
from collections.abc import Callable

from foreshock.monitor.delivery.heartbeat import Heartbeat, HeartbeatSettings
from foreshock.monitor.errors import Undelivered
from foreshock.monitor.store.times import iso, iso_or_none
from foreshock.monitor.units import SECOND
from foreshock.observability import metrics
from foreshock.observability.log import log


class HeartbeatJob:
    """What the scheduler calls. `settings` are asked each time, because they may change while the process runs."""

    def __init__(
        self, process: str, settings: Callable[[], HeartbeatSettings], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._process = process
        self._settings = settings
        self._made: tuple[HeartbeatSettings, Heartbeat] | None = None
        self._next = 0.0

    def look(self) -> None:
        """Post if it is time, this process decides, and nothing is wrong with it. Never raises on a receiver.

        A stand-by posts nothing: the one that decides does. What is not well is in the log and in `/healthz`.
        """
        settings, now = self._settings(), self._clock()
        if settings.url is None or now < self._next:
            return
        self._next = now + settings.every / SECOND
        report = metrics.health.report()
        if report["status"] != "ok" or report["state"] != "running":
            return
        if self._made is None or self._made[0] is not settings:  # equal ones may have other headers, from a file
            self._made = settings, Heartbeat(settings)
        said = {
            "source": "foreshock",
            "process": self._process,
            "status": "ok",
            "timestamp": iso(time.time_ns() // 1_000),
            "decided_until": iso_or_none(metrics.decided_until()),
        }
        try:
            self._made[1].beat(said)
        except Undelivered as error:
            metrics.heartbeat("failed")
            log().warning("the heartbeat was not taken", error=str(error))
        else:
            metrics.heartbeat("delivered")
