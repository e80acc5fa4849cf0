"""Delete old stories beside a loop that decides: a small step every few seconds, by the process that has the lease."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Engine

from foreshock.monitor.errors import Overtaken, StoreUnavailable
from foreshock.monitor.settings import format_kept
from foreshock.monitor.store.retention import Cleaner
from foreshock.monitor.watermark import TimeRules
from foreshock.observability.log import log

STEP_SECONDS = 5
"""How long it waits between two steps. So it deletes up to 8 million stories a day."""
PAUSE_SECONDS = 3_600.0
"""How long it waits when all that is old is deleted."""


class Tidying:
    """Deletes what is older than `keep` (microseconds; None: nothing). `may`: whether this process has the lease."""

    def __init__(
        self, engine: Engine, rules: TimeRules, keep: Callable[[], int | None], may: Callable[[], bool]
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._keep = keep
        self._may = may
        self._cleaner: tuple[int, Cleaner] | None = None
        self._deleted = 0
        self._rests_until = 0.0
        self._said: int | None = None

    def say(self) -> None:
        """Say once what is going to be deleted, and how to keep it, unless everything is kept."""
        keep = self._keep()
        if keep is not None and keep != self._said:
            log().info(
                "stories older than this are deleted, for good; their series, alerts and incidents stay",
                keep_stories=format_kept(keep),
                to_keep_all='[store] keep_stories = "forever"',
                to_copy_first="foreshock store backup FILE",
            )
        self._said = keep

    def step(self) -> None:
        """Delete the next stories, if it is time to."""
        keep = self._keep()
        if keep is None or not self._may():
            return
        self.say()
        if time.monotonic() < self._rests_until:
            return
        if self._cleaner is None or self._cleaner[0] != keep:
            self._cleaner = keep, Cleaner(self._engine, self._rules, keep=keep)
        cleaner = self._cleaner[1]
        try:
            self._deleted += cleaner.step()
        except (Overtaken, StoreUnavailable):  # the loop reports an outage; the next step does the same again
            return
        if cleaner.is_through:
            self._rests_until = time.monotonic() + PAUSE_SECONDS
            if self._deleted:
                log().info("old stories deleted", stories=self._deleted)
            self._deleted = 0
