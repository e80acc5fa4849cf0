"""Take the steps of a switch of the model, when a process has time: a worker's, and where it decides, the monitor's."""

from __future__ import annotations

import time

from sqlalchemy import Engine

from foreshock.model.errors import ModelError
from foreshock.monitor.closing import Closer
from foreshock.monitor.errors import MonitorError, Overtaken, SettingsDiffer, StoreUnavailable
from foreshock.monitor.store import counts, switches
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.switches import ARMED, COUNTING, Switch
from foreshock.monitor.store.times import iso
from foreshock.monitor.switching import Switcher
from foreshock.monitor.watermark import TimeRules
from foreshock.observability.log import log
from foreshock.processes.models import Models, StoryScorer
from foreshock.processes.rescoring import Rescorer

BUSY_SECONDS = 1.0
"""How often a process that has no time takes a step."""
LOAD_SECONDS = 60.0
"""How often a process tries to load the model of an armed switch that it could not load."""
LOOK_SECONDS = 0.5
"""How often a process that has time looks whether there is a switch, after it found none."""


class Switches:
    """A process's part of a switch.

    Parameters:
        closer: of a process that decides; None in one that only reads.
        models: of a process that scores; None in one that does not. A process that does both arms a switch only if it
            can load its model.
        arms: whether it may record the bucket of a switch.
    """

    def __init__(
        self, engine: Engine, rules: TimeRules, closer: Closer | None, models: Models | None, *, arms: bool
    ) -> None:
        self._engine = engine
        self._rescorer = None if models is None else Rescorer(engine, rules)
        self._switcher = None if closer is None else Switcher(engine, rules, closer, _say)
        self.models = models
        self._arms = arms
        self._refused = self._warned = 0
        self._load_at = 0.0
        self._idle_at = self._busy_at = 0.0
        self._holds = False
        """Whether closing waited for the switch at the last look: nothing is more urgent then."""

    def due(self, *, idle: bool) -> bool:
        """Return whether there may be a step to take now. `idle`: there is nothing else to do."""
        now = time.monotonic()
        if now < (self._idle_at if idle or self._holds else self._busy_at):
            return False
        self._idle_at, self._busy_at = now + LOOK_SECONDS, now + BUSY_SECONDS
        with reading(self._engine) as connection:
            under_way = switches.unfinished(connection)
            if not under_way:
                self._holds = False
                return False
            switch, until = under_way[0], counts.decided_until(connection)
        self._holds = switch.state == ARMED and switch.in_force_from == until
        if switch.state == COUNTING:
            return self._arms and self._switcher is not None and switch.counted_until == until
        return True

    def holds(self) -> bool:
        """Return whether closing waits for a switch."""
        with reading(self._engine) as connection:
            at = switches.waits_at(connection)
            return at is not None and counts.decided_until(connection) == at

    def step(self) -> bool:
        """Take a step, if there is one; return whether there was.

        Raises Overtaken if another process took it meanwhile.
        """
        taken = self._step()
        now = time.monotonic()
        self._idle_at, self._busy_at = (now if taken else now + LOOK_SECONDS), now + BUSY_SECONDS
        return taken

    def _step(self) -> bool:
        if self._arms and self._switcher is not None and (switch := self._switcher.may_arm()) is not None:
            if not self._has_model(switch):
                return False
            at = self._switcher.arm(switch)
            log().info("the model changes at this bucket", model=switch.model, before=switch.before, bucket=iso(at))
            return True
        if self._rescorer is not None and self.models is not None:
            due = self._rescorer.due(armed=True)
            scorer = None if due is None else self._scorer_of(due, self.models)
            if due is not None and scorer is not None and self._rescorer.step(due, scorer):
                return True
        return self._switcher is not None and self._switcher.step()

    def _scorer_of(self, switch: Switch, models: Models) -> StoryScorer | None:
        """Return the model of a switch, to count buckets by it. None: this process cannot use it, and goes on.

        Stories before the bucket of the switch do not need it, and another process may count. In a replay there is no
        other one, so what is wrong is raised.
        """
        if time.monotonic() < self._load_at:
            return None
        try:
            return models.of(switch)
        except (ModelError, SettingsDiffer) as error:
            if not self._arms:
                raise
            self._load_at = time.monotonic() + LOAD_SECONDS
            if self._warned != switch.number:
                self._warned = switch.number
                log().warning(
                    "the model changes soon, and this process cannot use the new one: mend that before stories of that "
                    "bucket come, which it cannot score, or take the switch back with: foreshock model switch --cancel",
                    model=switch.model,
                    bucket=iso(switch.in_force_from or 0),
                    because=str(error),
                )
            return None

    def _has_model(self, switch: Switch) -> bool:
        """Return whether this process can score by the switch's model, if it scores at all."""
        if self.models is None:
            return True
        if self._refused == switch.number:
            return False
        try:
            self.models.of(switch)
        except (StoreUnavailable, Overtaken):  # the model is not to blame: the caller tries again
            raise
        except (ModelError, MonitorError) as error:
            self._refused = switch.number
            log().error(
                "the model is not changed: this process cannot use the new one. Mend that and restart it, or take the "
                "switch back with: foreshock model switch --cancel",
                model=switch.model,
                because=str(error),
            )
            return False
        return True


def _say(switch: Switch) -> None:
    at = iso(switch.in_force_from or 0)
    log().info("the model has changed", model=switch.model, before=switch.before, bucket=at, rescored=switch.rescored)
