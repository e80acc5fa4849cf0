"""Switch the model, beside the closing of buckets, in small steps.

    while switcher.step(): ...

Once the decided buckets are counted with the new model's scores (`processes.rescoring`), the switch is armed: a bucket
B to come is recorded. Closing stops there. The state at B is worked out in memory (`switched.py`), so a process that
is stopped begins that part again. Then it takes the place of the live state, and closing goes on.

Invariants, for a switch that comes into force at bucket B:

* Rows before B stay as they were known. Stories that count from B on are scored by the new model alone.
* The state at B is one that knows the new model's habits: no alert, incident or message is raised by the change.
  An alert that the new model's rows do not support ends at B.
* All of it follows from the rows and from B: a replay of the same feed with the same B gives the same rows.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Engine

from foreshock.monitor.closing import Closer
from foreshock.monitor.grafting import take_over
from foreshock.monitor.store import counts, fills, settings_versions, switches
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.switches import Switch
from foreshock.monitor.switched import Switched
from foreshock.monitor.watermark import TimeRules

STEP_SECONDS = 0.1
"""How long a step decides buckets again."""


class Switcher:
    """Takes the monitor's steps of a switch.

    `closer`: of the same process; it holds the state at "decided until". `on_done`: called with each switch that comes
    into force.
    """

    def __init__(
        self, engine: Engine, rules: TimeRules, closer: Closer, on_done: Callable[[Switch], None] = lambda _: None
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._closer = closer
        self._on_done = on_done
        self._switched: tuple[int, Switched] | None = None

    def may_arm(self) -> Switch | None:
        """Return the switch whose rows are all counted, so that its bucket can be recorded."""
        with reading(self._engine) as connection:
            under_way = switches.unfinished(connection)
            until, _ = counts.decided_and_members(connection)
            if not under_way or under_way[0].state != switches.COUNTING or fills.unfinished(connection):
                return None
            return under_way[0] if until is not None and under_way[0].counted_until == until else None

    def arm(self, switch: Switch) -> int:
        """Record the bucket of a switch. Return its start.

        Raises:
            Overtaken: buckets were decided, or another process took a step, meanwhile.
        """
        with writing(self._engine) as connection:
            until, members = counts.decided_and_members(connection)
            assert until is not None
            return switches.arm(connection, switch, until, members, self._rules)

    def step(self) -> bool:
        """Take the next step of an armed switch; return whether there was one. What is to be scored is a worker's.

        Raises:
            Overtaken: another process took a step, or decided buckets, meanwhile; nothing was written.
        """
        with reading(self._engine) as connection:
            under_way = switches.unfinished(connection)
            if not under_way or under_way[0].state != switches.ARMED:
                self._switched = None
                return False
            switch = under_way[0]
            until, members = counts.decided_and_members(connection)
            counted = switch.counted_until
            # Factors are taken up to the last whole day, and the state is at most where counting is.
            if until is None or counted is None or counted < min(switch.day, switch.in_force_from or 0):
                return False
            switched = self._of(connection, switch)
            before = switched.until
            whole = switched.advance(connection, counted, STEP_SECONDS)
            if not whole or until != switch.in_force_from or counted != until:
                return switched.until != before
            state = take_over(self._closer.take_state(connection, until), switched.state)
        with writing(self._engine) as writer:
            switches.put_in_force(writer, switch, until, members, state.snapshot())
        self._switched = None
        self._on_done(switch)
        return True

    def _of(self, connection: Connection, switch: Switch) -> Switched:
        """Return the state of the new model, begun anew if it is another switch, or the settings have changed."""
        known = self._switched
        if known is None or known[0] != switch.number or known[1].settings != settings_versions.in_force(connection):
            known = self._switched = switch.number, Switched(connection, self._rules, switch)
        return known[1]
