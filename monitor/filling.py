"""Fill topics from the stored stories, beside the closing of buckets, in small steps.

    while filler.step(): ...

A step reads one snapshot of the store and writes one transaction, by compare and set (`store.fills`). Counting goes on
from where the store is. The detectors' state of the filled topics is worked out in memory: a process that is stopped
begins that part again. The last step puts rows and state in force, at one bucket, together.

Invariants, for a fill that comes into force at bucket B:

* The topics' rows before B are those that counting with these topics from the start would have made.
* The state at B knows these topics as a state that decided these rows does (`filled.py`), and all else as before.
* No alert, incident or message is made by it. Rows and alerts of other topics stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy import Connection, Engine, and_, update

from foreshock.monitor.closing import Closer
from foreshock.monitor.errors import Overtaken
from foreshock.monitor.filled import Filled
from foreshock.monitor.grafting import graft, same_hours
from foreshock.monitor.recounting import recount
from foreshock.monitor.store import counts, fills, recounting, schema, switches
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.fills import Fill
from foreshock.monitor.watermark import TimeRules

log = logging.getLogger(__name__)

STEP_SECONDS = 0.1
"""How long a step decides buckets again."""


class Filler:
    """Takes the monitor's steps of fills.

    `closer`: of the same process; it holds the state at "decided until". `on_done`: called with each fill that is done.
    """

    def __init__(
        self, engine: Engine, rules: TimeRules, closer: Closer, on_done: Callable[[Fill], None] = lambda _: None
    ) -> None:
        self._on_done = on_done
        self._engine = engine
        self._rules = rules
        self._closer = closer
        self._filled: tuple[int, Filled] | None = None

    def step(self) -> bool:
        """Take the next step; return whether there was one. Stories that are not read again yet are a worker's.

        Raises:
            Overtaken: another process took a step, or decided buckets, meanwhile; nothing was written.
        """
        with reading(self._engine) as connection:
            under_way = fills.unfinished(connection)
            if not under_way or under_way[0].state != fills.COUNTING:
                self._filled = None
                return False
            fill = under_way[0]
            until, members = counts.decided_and_members(connection)
            changed = [change.at for change in switches.changes(connection)]
            if switches.holds_fills(connection) or (until is not None and until in changed):
                return False  # what changes the state at one bucket must have an order
            if until is not None and fill.counted_until == until:
                return self._decide(connection, fill, until, members)
            part = None if until is None else recounting.next_part(connection, fill, until, self._rules)
        # What was decided again stays: counting goes on behind it, with the buckets that were decided meanwhile.
        with writing(self._engine) as connection:
            if part is None:  # nothing is decided, so nothing has passed
                fills.move(connection, fill, state=fills.DONE)
            else:
                fills.move(connection, fill, counted_until=part.until)
                rows = recount(part.ruled, frozenset(fill.topics), part.before, self._rules)
                recounting.write(connection, fill, rows)
        return True

    def _decide(self, connection: Connection, fill: Fill, until: int, members: int) -> bool:
        """Decide some more buckets with the fill's rows; once all are, put rows and state in force."""
        if self._filled is None or self._filled[0] != fill.number:
            self._filled = fill.number, Filled(connection, self._rules, fill, until)
        filled = self._filled[1]
        whole = filled.advance(connection, until, STEP_SECONDS)
        state = self._closer.take_state(connection, until) if whole else None
        with writing(self._engine) as writer:
            fills.move(writer, fill, state=fills.COUNTING)
            recounting.write_baselines(writer, fill, filled.baselines)
            if state is None:
                return True
            if fills.unread(writer, fill) is not None:  # of a worker that had not heard of the settings yet
                fills.move(writer, fill, state=fills.READING, counted_until=None)
                recounting.forget(writer, fill)
                self._filled = None
                return True
            if same_hours(state, filled.state):
                graft(state, filled.state, fill.topics)
            else:  # old buckets and states were deleted: the series is there, and the topics learn like new ones
                log.warning("The detectors learn %s anew: the states before are no longer stored.", fill.topics)
            f = schema.feed.c
            mine = and_(f.decided_until == until, f.members_version == members)
            # A monitor that is deciding without these topics must not write.
            later = update(schema.feed).where(mine).values(members_version=f.members_version + 1)
            if writer.execute(later).rowcount != 1:
                raise Overtaken("Another process decided buckets, or a partition joined meanwhile.")
            first = fills.whole_since(writer, self._rules)
            fills.put_in_force(writer, fill, first or until, until, state.snapshot(), filled.learning)
        self._filled = None
        self._on_done(fill)
        return True
