"""What a process knows of its own health, for `/healthz` and the `health` lines of the log.

A look at health asks nobody, so it costs nothing and cannot hang. The loop reports each turn, and whoever talks to the
database or the broker reports how that went.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TURN_SECONDS = 60.0
"""A loop that has not turned for this long is not well: `/healthz` says so. It may be slow, and need no restart."""
STUCK_SECONDS = 1800.0
"""A loop that has not turned for this long is stuck: `/livez` fails, and an orchestrator restarts the process.

A restart ends a step that is slow, and the next process begins the step anew. So this must be longer than any step that
ends by itself: a batch of a slow model on few processors, or a monitor that decides its history again. A shorter limit
would restart such a process for ever.
"""


@dataclass(frozen=True, slots=True)
class Reached:
    """Whether something outside answered when last asked, since when, and what went wrong if it did not."""

    up: bool
    since: float
    why: str = ""


class Health:
    """Health of one process. Any thread may report to it, and any may look.

    >>> health = Health(clock=lambda: 0.0)
    >>> health.turned(); health.lost("store", "connection refused")
    >>> health.reasons()
    ['store: connection refused (for 0 s)']
    """

    def __init__(self, *, turn_seconds: float = TURN_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._turn_seconds = turn_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self.restart()

    def restart(self) -> None:
        """Forget everything, as at the start of a process."""
        with self._lock:
            self._turned: float | None = None
            self._state = "starting"
            self._outside: dict[str, Reached] = {}
            self._troubles: dict[str, str] = {}
            self._set_aside: list[str] = []
            self._scorer: dict[str, str] = {}

    def turned(self) -> None:
        """Note that the loop has turned."""
        self._turned = self._clock()
        if self._state == "starting":
            self._state = "running"

    def state(self, state: str) -> None:
        """Set what the process does: `running`, `standby` (another process decides) or `stopping`."""
        self._state = state

    def reached(self, what: str) -> None:
        """Note that `store` or `kafka` answered."""
        self._set(what, True, "")

    def lost(self, what: str, why: str) -> None:
        """Note that `store` or `kafka` did not answer. It is tried again."""
        self._set(what, False, why)

    def trouble(self, what: str, why: str) -> None:
        """Note why the process cannot do `what`, such as `deciding`; "": it can."""
        with self._lock:
            self._troubles = {**{k: v for k, v in self._troubles.items() if k != what}, **({what: why} if why else {})}

    def set_aside(self, sources: list[str]) -> None:
        """Note without which silent sources deciding goes on."""
        self._set_aside = sources

    def scorer(self, changed: dict[str, str]) -> None:
        """Note for which sources the scorer is worth less, and what was found. The process itself is well."""
        self._scorer = changed

    def is_up(self, what: str) -> bool:
        """Return whether it answered when last asked; true if it was never asked."""
        before = self._outside.get(what)
        return before is None or before.up

    def _set(self, what: str, up: bool, why: str) -> None:
        before = self._outside.get(what)
        if before is not None and before.up == up and before.why == why:
            return
        with self._lock:
            since = before.since if before is not None and before.up == up else self._clock()
            self._outside[what] = Reached(up, since, why)

    def reasons(self) -> list[str]:
        """Return why the process is not well; empty if it is."""
        now = self._clock()
        found = []
        if self._state == "stopping":
            found.append("the process is stopping")
        elif self._turned is None:
            found.append("the process is starting")
        elif late := self._not_turned_within(self._turn_seconds):
            found.append(late)
        with self._lock:
            outside = sorted(self._outside.items())
            found += self._troubles.values()
        return found + [f"{what}: {r.why} (for {now - r.since:.0f} s)" for what, r in outside if not r.up]

    def stuck(self) -> str:
        """Return since when the loop has not turned, if only a restart mends it; "" if it turns, or has not begun."""
        return self._not_turned_within(STUCK_SECONDS)

    def _not_turned_within(self, seconds: float) -> str:
        lasts = 0.0 if self._turned is None else self._clock() - self._turned
        return f"the loop has not turned for {lasts:.0f} s" if lasts > seconds else ""

    def unready(self) -> list[str]:
        """Return why the process cannot take work yet, or no longer: it starts, it stops, or its store does not answer.

        A process that is ready may still be failing, as a loop that is stuck is: a restart helps there, and here not.
        """
        if self._state in ("starting", "stopping"):
            return [f"the process is {self._state}"]
        return [f"{what}: {why}" for what, why in self.unreached().items() if what == "store"]

    def unreached(self) -> dict[str, str]:
        """Return what does not answer (`store`, `kafka`), and why."""
        with self._lock:
            return {what: r.why for what, r in sorted(self._outside.items()) if not r.up}

    def report(self) -> dict[str, Any]:
        """Return everything, as JSON-able values."""
        now = self._clock()
        with self._lock:
            outside = sorted(self._outside.items())
        reasons = self.reasons()
        return {
            "status": "failing" if reasons else "ok",
            "reasons": reasons,
            "state": self._state,
            "turned_seconds_ago": None if self._turned is None else round(now - self._turned, 3),
            **({"set_aside": self._set_aside} if self._set_aside else {}),
            **({"scorer": self._scorer} if self._scorer else {}),
            **{what: {"reached": r.up, "for_seconds": round(now - r.since, 3)} for what, r in outside},
        }
