"""Put away what is old beside a loop that decides, by the process with the lease: a small step every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from sqlalchemy import Engine

from foreshock.monitor.errors import Overtaken, StoreUnavailable
from foreshock.monitor.settings import Keeps, format_kept
from foreshock.monitor.store.evidence_age import Eraser
from foreshock.monitor.store.retention import Cleaner
from foreshock.monitor.store.rolling import Roller
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import DAY, HOUR
from foreshock.monitor.watermark import TimeRules
from foreshock.observability.log import log

STEP_SECONDS = 5
"""How long it waits between two steps. So it deletes up to 8 million stories a day."""
PAUSE_SECONDS = 3_600.0
"""How long a task waits when all that is old is put away."""


class Steps(Protocol):
    """Something that puts away what is old, a little in each step."""

    @property
    def is_through(self) -> bool: ...

    def step(self) -> int: ...


class _Task:
    """One kind of what grows old."""

    def __init__(self, name: str, done: str, make: Callable[[int], Steps]) -> None:
        self.name = name
        self._done = done
        self._make = make
        self._steps: tuple[int, Steps] | None = None
        self._count = 0
        self._rests_until = 0.0

    def step(self, keep: int) -> bool:
        """Take a step, if it is time to. Return whether there was one. `keep`: how long is kept (microseconds)."""
        if time.monotonic() < self._rests_until:
            return False
        if self._steps is None or self._steps[0] != keep:
            self._steps = keep, self._make(keep)
        steps = self._steps[1]
        self._count += steps.step()
        if steps.is_through:
            self._rests_until = time.monotonic() + PAUSE_SECONDS
            if self._count:
                log().info(self._done, **{self.name: self._count})
            self._count = 0
        return True


class Tidying:
    """Puts away what is older than `keeps` says. `may`: whether this process has the lease."""

    def __init__(self, engine: Engine, rules: TimeRules, keeps: Callable[[], Keeps], may: Callable[[], bool]) -> None:
        self._keeps = keeps
        self._may = may
        self._said: int | None = None
        self._held: int | None = None
        self._tasks = (
            _Task(
                "stories",
                "old stories deleted",
                lambda k: Cleaner(engine, rules, keep=k, on_held=self._held_since),
            ),
            _Task("buckets", "old rows of series put together by the hour", lambda k: Roller(engine, HOUR, keep=k)),
            _Task("hours", "old rows of series put together by the day", lambda k: Roller(engine, DAY, keep=k)),
            _Task("evidence", "evidence of old alerts deleted", lambda keep: Eraser(engine, keep=keep)),
        )

    def say(self) -> None:
        """Say once what is going to be deleted, and how to keep it, unless all stories are kept."""
        keep = self._keeps().stories
        if keep is not None and keep != self._said:
            log().info(
                "stories older than this are deleted, for good; their series, alerts and incidents stay",
                keep_stories=format_kept(keep),
                to_keep_all='[store] keep_stories = "forever"',
                to_copy_first="foreshock store backup FILE",
            )
        self._said = keep

    def _held_since(self, since: int | None) -> None:
        """Warn that an open alert or incident keeps old stories; once, until it is another or none."""
        if since is not None and since != self._held:
            log().warning(
                "old stories stay, because an alert or incident is open since this time",
                open_since=iso(since),
                to_see="foreshock alerts list",
            )
        self._held = since

    def step(self) -> None:
        """Take a step of the first kind that has something to do. So one step at a time holds the database."""
        keeps = self._keeps()
        if not self._may():
            return
        self.say()
        for task in self._tasks:
            keep = getattr(keeps, task.name)
            if keep is None:
                continue
            try:
                if task.step(keep):
                    return
            except (Overtaken, StoreUnavailable):  # the loop reports an outage; the next step does the same again
                return
