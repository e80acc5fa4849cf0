"""Put old rows of series together: those of an hour into one, and those of a day into one, a few topics at a time.

    roller = Roller(engine, HOUR, keep=732 * DAY)
    roller.step()   # the rows that it put together

An hour's row takes the place of the rows that it is the sum of, in the same table and the same transaction. So whoever
sums rows finds the same sums, and needs to know nothing of it. The table `series_grain` says before which time rows are
so long; readers that show rows ask `grain`.

Invariants, for any hour (or day) of a topic:

* Each sum over its rows stays the same, and so does the set of sources with the sums of each.
* What is decided does not depend on it: nothing looks back so far (`LEAST_FINE`), no row is put together that lies
  after the stored state from which a fill or a switch begins, that state stays, and no row is put together while a
  topic is filled or the model changes.
* Rows of fills (`filled`) are only put together with rows of the same fill, so what was known at a time stays known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, and_, bindparam, delete, func, insert, select, update

from foreshock.monitor.buckets import SourceSums, TopicBucket
from foreshock.monitor.errors import Overtaken
from foreshock.monitor.settings import LEAST_KEPT
from foreshock.monitor.store import bulk, counts, fills, schema, switches
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.decided import sums_of, topic_bucket
from foreshock.monitor.store.retention import open_since
from foreshock.monitor.units import DAY, HOUR

ROWS_A_STEP = 2_000
"""About the most rows that one step takes away. A topic's hour or day is never cut."""
STATES_A_STEP = 10
"""The most stored states of the detectors that one step deletes: one of a large desk takes a fifth of a megabyte."""
LEAST_FINE = LEAST_KEPT + 4 * DAY
"""The shortest time for which rows stay fine. A fill or a switch of the model decides the last 120 days again
(`filled.HORIZON`), counted back from a whole day that may be two days before "decided until". It begins with the newest
stored state before that, one a day; and one day more for what is decided meanwhile."""
GRAINS = {HOUR: "hour", DAY: "day"}
"""How the store names a length."""


class Grain(NamedTuple):
    """Before which times the rows of series are of hours, and of days (microseconds); 0: none are."""

    hours_until: int
    days_until: int

    def of(self, start: int, least: int) -> int:
        """Return how long the row that starts at `start` may be. `least`: the length of a bucket."""
        coarse = DAY if start < self.days_until else HOUR if start < self.hours_until else 0
        return max(coarse, least)


def grain(connection: Connection) -> Grain:
    """Return how long the store's rows are."""
    g = schema.series_grain.c
    until = {row.grain: int(row.until) for row in connection.execute(select(g.grain, g.until))}
    return Grain(until.get("hour", 0), until.get("day", 0))


class Roller:
    """Puts the rows of one length together in one store. It remembers where it is, and begins anew at the end.

    `span`: HOUR or DAY. `keep`: rows that end later than this before "decided until" stay (microseconds); at least
    `LEAST_FINE`.
    """

    def __init__(self, engine: Engine, span: int, *, keep: int) -> None:
        self._engine = engine
        self._span = span
        self._keep = max(keep, LEAST_FINE)
        self._after: tuple[int, str] | None = None
        self.is_through = True
        """Whether the last step came to the end of what is old; the next one begins anew."""

    def step(self) -> int:
        """Take the next rows. Return how many were put together with others.

        Raises:
            Overtaken: a fill has replaced rows meanwhile. Nothing of this step was written.
            StoreUnavailable: the database does not answer.
        """
        with reading(self._engine) as connection:
            before = self._before(connection)
            begin = None if before is None else self._next(connection, before)
            rows, whole = ([], False) if begin is None else self._rows(connection, begin)
            old = [] if begin is not None else _old_states(connection)
        self.is_through = begin is None and not old
        if old:
            with writing(self._engine) as connection:
                connection.execute(delete(schema.daily_state).where(schema.daily_state.c.day.in_(old)))
        if begin is None:
            return 0
        several = [of for of in _groups(rows) if len(of) > 1 or of[0].start != begin]
        with writing(self._engine) as connection:
            _replace(connection, begin, several)
            if whole:
                self._mark(connection, begin + self._span)
        self._after = None if whole else (begin, rows[-1].topic)
        return sum(map(len, several))

    def _before(self, connection: Connection) -> int | None:
        """Return the time before which rows are old, a whole hour or day; None without any."""
        until = counts.decided_until(connection)
        state = None if until is None else _state_before(connection, until - LEAST_FINE)
        if until is None or state is None or fills.unfinished(connection) or switches.unfinished(connection):
            return None
        before = min(until - self._keep, open_since(connection, until), state)
        return int(before) - int(before) % self._span

    def _next(self, connection: Connection, before: int) -> int | None:
        """Return the begin of the hour or day that is next, or None if there is none."""
        b = schema.buckets.c
        if self._after is not None:
            return self._after[0]
        done = grain(connection)[list(GRAINS).index(self._span)]
        first = connection.execute(select(func.min(b.start)).where(b.start >= done, b.start < before)).scalar()
        return None if first is None else int(first) - int(first) % self._span

    def _rows(self, connection: Connection, begin: int) -> tuple[Sequence[Any], bool]:
        """Return the next rows of the hour or day that begins there, of whole topics; and whether that is all."""
        b = schema.buckets.c
        query = select(schema.buckets).where(b.start >= begin, b.start < begin + self._span)
        if self._after is not None:
            query = query.where(b.topic > self._after[1])
        # The index on `start` finds them; the primary key would go through each topic.
        rows = connection.execute(query.order_by(b.topic, b.start).limit(ROWS_A_STEP)).all()
        if len(rows) < ROWS_A_STEP:
            return rows, True
        last = rows[-1].topic
        rest = select(schema.buckets).where(b.topic == last, b.start >= begin, b.start < begin + self._span)
        return [row for row in rows if row.topic != last] + list(connection.execute(rest.order_by(b.start))), False

    def _mark(self, connection: Connection, until: int) -> None:
        """Note that all rows before `until` are so long."""
        g = schema.series_grain
        if connection.execute(update(g).where(g.c.grain == GRAINS[self._span]).values(until=until)).rowcount == 0:
            connection.execute(insert(g).values(grain=GRAINS[self._span], until=until))


def _groups(rows: Iterable[Any]) -> list[list[Any]]:
    """Return the rows that may be put together: of one topic, and of one fill, one after the other.

    The first of a topic takes the begin of the hour. If a fill came into force within it, the later rows stay.
    """
    found = []
    for _, of_topic in groupby(rows, key=lambda row: row.topic):
        found.append(next(list(of) for _, of in groupby(of_topic, key=lambda row: row.filled)))
    return found


def _replace(connection: Connection, begin: int, groups: Sequence[Sequence[Any]]) -> None:
    """Put one row in the place of each group. Raises Overtaken if one of the rows is no longer there."""
    if not groups:
        return
    b = schema.buckets
    here = and_(b.c.topic == bindparam("t"), b.c.start >= bindparam("first"), b.c.start <= bindparam("last"))
    same = and_(here, b.c.filled.is_not_distinct_from(bindparam("f")))
    for of in groups:
        given = {"t": of[0].topic, "first": of[0].start, "last": of[-1].start, "f": of[0].filled}
        if connection.execute(delete(b).where(same), given).rowcount != len(of):
            raise Overtaken("A fill has replaced rows of series meanwhile.")
    bulk.insert(connection, b, [_together(begin, of) for of in groups])


def _together(begin: int, rows: Sequence[Any]) -> dict[str, Any]:
    """Return the row that stands for these. Its baseline is that of the last."""
    parts: dict[str, NDArray[np.int64]] = {}
    several = [topic_bucket(row) for row in rows]
    for one in several:
        alone = (one.events, one.negative, one.positive, one.day_events, one.day_negative)
        brought = [SourceSums(name, *alone) for name in one.sources] if len(one.sources) == 1 else one.by_source
        for source, *sums in brought:
            parts[str(source)] = parts.get(str(source), 0) + np.array(sums, np.int64)
    names = ("stories", "events", "negative", "neutral", "positive", "day_events", "day_negative")
    sources = sorted({name for one in several for name in one.sources})
    # Rows of stores from before the column do not say what each of several sources brought.
    known = all(one.by_source or len(one.sources) < 2 for one in several) and len(sources) > 1
    total = TopicBucket(
        topic=rows[0].topic,
        **{name: sum(getattr(row, name) for row in rows) for name in names},
        sources=tuple(sources),
        by_source=tuple(SourceSums(name, *parts[name].tolist()) for name in sources) if known else (),
    )
    last = rows[-1]
    return {**sums_of(begin, total), "baseline": last.baseline, "settings": last.settings, "filled": last.filled}


def _old_states(connection: Connection) -> list[int]:
    """Return some days of stored states from which no bucket can be decided again as it was: its row is of an hour."""
    s, hours = schema.daily_state.c, grain(connection).hours_until
    until = counts.decided_until(connection)
    # A fill or a switch begins with the newest state before `LEAST_FINE`, also where rows after it are of hours.
    needed = None if until is None else _state_before(connection, min(hours, until - LEAST_FINE))
    if needed is None:
        return []
    return list(connection.execute(select(s.day).where(s.bucket < needed).limit(STATES_A_STEP)).scalars())


def _state_before(connection: Connection, time: int) -> int | None:
    """Return the bucket of the newest stored state that is of `time` or older."""
    bucket = schema.daily_state.c.bucket
    found = connection.execute(select(func.max(bucket)).where(bucket <= time)).scalar()
    return None if found is None else int(found)
