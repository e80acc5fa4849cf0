"""Delete the stories that nothing needs any more, a few at a time.

    cleaner = Cleaner(engine, rules, keep=366 * DAY)
    cleaner.step()   # the stories that it deleted

A story goes together with everything that refers to it: its copies, duplicates and revisions. The group goes once

* each of its stories is older than `keep`, counted back from "decided until";
* none of their ids is remembered, so that none can come again as a duplicate or a revision;
* all of them lie before the open alerts and incidents;
* no RSS feed can still show one of them. What the store lacks is taken as new, and an item without a date is news then;
* nobody has corrected the label of one of them.

Invariant: what is decided does not depend on it. The monitor looks a story up by an id that is remembered, by the keys
of the last 48 hours, or because it counted in the last 28 days or in the window of an open alert. `LEAST_KEPT` is
longer than both spans, and the conditions above keep the rest. Buckets, alerts and incidents are never deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, and_, bindparam, delete, func, or_, select, text

from foreshock.ingest.rss import MOST_ITEMS
from foreshock.monitor.counting import Position, key_of
from foreshock.monitor.settings import LEAST_KEPT
from foreshock.monitor.store import labels, lookup, schema
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.watermark import TimeRules

STORIES_A_STEP = 500
"""The most stories that one step looks at. So a step takes some hundredths of a second, also on SQLite, where nobody
else writes meanwhile."""


class Cleaner:
    """Deletes old stories from one store. It remembers how far it has looked, and begins anew when it is at the end.

    `keep`: how long stories are kept (microseconds), at least `LEAST_KEPT`. `on_held` is called in each step with the
    time since which an alert or incident is open, if it is open for longer than `keep`, else with None: later stories
    stay.
    """

    def __init__(
        self,
        engine: Engine,
        rules: TimeRules,
        *,
        keep: int,
        on_held: Callable[[int | None], None] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._keep = max(keep, LEAST_KEPT)
        self._on_held = on_held
        self._looked: tuple[int, str, int] | None = None

    @property
    def is_through(self) -> bool:
        """Whether the last step came to the end of what is old; the next one begins anew."""
        return self._looked is None

    def step(self) -> int:
        """Look at the next stories. Return how many were deleted.

        Raises:
            Overtaken: another process deleted the same ones. Nothing of this step was deleted.
            StoreUnavailable: the database does not answer.
        """
        with reading(self._engine) as connection:
            until = connection.execute(select(schema.feed.c.decided_until)).scalar()
            if until is None:
                return 0
            old, needed = until - self._keep, open_since(connection, until)
            before = min(old, needed)
            rows = self._next(connection, before)
            groups = _groups(connection, [(row.partition, row.offset) for row in rows if row.is_first])
            forgotten = until - self._rules.remember
            gone, keys = _unneeded(connection, groups, before, forgotten)
        self._on_held(needed if needed < old else None)
        if gone:
            with writing(self._engine) as connection:
                _delete(connection, gone, keys, forgotten)
        self._looked = (rows[-1].counts_at, rows[-1].partition, rows[-1].offset) if rows else None
        return len(gone)

    def _next(self, connection: Connection, before: int) -> Sequence[Any]:
        """Return the next stories before a time, and whether each is the first of its group."""
        s, d = schema.stories.c, schema.decisions.c
        is_first = and_(d.story_partition.is_(None), d.event_partition.is_(None)).label("is_first")
        here = and_(d.partition == s.partition, d.offset == s.offset)
        query = select(s.partition, s.offset, s.counts_at, is_first).join_from(schema.stories, schema.decisions, here)
        query = query.where(s.counts_at < before)
        if self._looked is not None:
            at, partition, offset = self._looked
            later = and_(s.partition == partition, s.offset > offset)
            query = query.where(s.counts_at >= at, or_(s.counts_at > at, s.partition > partition, later))
        return connection.execute(query.order_by(s.counts_at, s.partition, s.offset).limit(STORIES_A_STEP)).all()


def open_since(connection: Connection, until: int) -> int:
    """Return the time before which no open alert or incident looks; `until` without any."""
    a, i = schema.alerts.c, schema.incidents.c
    alerts = select(func.min(a.started_at), func.min(a.window_start)).where(a.state != "resolved")
    incidents = select(func.min(i.started_at)).where(i.state == "open")
    times = (*connection.execute(alerts).one(), connection.execute(incidents).scalar())
    return min((int(time) for time in times if time is not None), default=until)


def _groups(connection: Connection, firsts: Sequence[Position]) -> dict[Position, set[Position]]:
    """Return, for each first story, all records that refer to it or to one of those. It is one of them."""
    d = schema.decisions.c
    groups = {first: {first} for first in firsts}
    event_of = {first: first for first in firsts}

    def hanging(partition: Any, offset: Any, positions: Iterable[Position]) -> list[Position]:
        query = select(d.partition, d.offset, partition.label("p"), offset.label("o"))
        found = []
        for row in lookup.by_position(connection, query, partition, offset, sorted(positions)):
            position = row.partition, row.offset
            if position not in event_of:
                event_of[position] = event_of[row.p, row.o]
                groups[event_of[position]].add(position)
                found.append(position)
        return found

    copies = hanging(d.event_partition, d.event_offset, firsts)
    hanging(d.story_partition, d.story_offset, [*firsts, *copies])
    return groups


def _unneeded(
    connection: Connection, groups: dict[Position, set[Position]], before: int, forgotten: int
) -> tuple[list[Position], list[str]]:
    """Return the records of the groups that can go, and the keys of their ids.

    `before`: all records of a group count before this time. `forgotten`: ids whose last record counts earlier are
    remembered no more.
    """
    s, i = schema.stories.c, schema.story_ids.c
    query = select(s.partition, s.offset, s.counts_at, s.feed, s.source, s.id)
    members = sorted({position for group in groups.values() for position in group})
    found = {
        (row.partition, row.offset): row
        for row in lookup.by_position(connection, query, s.partition, s.offset, members)
    }
    keys = {position: key_of(row.feed, row.source, row.id) for position, row in found.items()}
    remembered = {
        row.id
        for row in lookup.by_text(connection, select(i.id, i.last_bucket), i.id, sorted(set(keys.values())))
        if row.last_bucket >= forgotten
    }
    d, p = schema.desk_actions.c, schema.partitions.c
    corrected = select(d.story_partition, d.story_offset).where(d.action == labels.LABEL)
    kept = {
        (row[0], row[1])
        for row in lookup.by_position(connection, corrected, d.story_partition, d.story_offset, members)
    }
    feeds = connection.execute(select(p.partition, p.next_offset).where(p.kind == "rss"))
    shown_from = {row.partition: row.next_offset - MOST_ITEMS for row in feeds}

    def goes(position: Position) -> bool:
        partition, offset = position
        shown = partition in shown_from and offset >= shown_from[partition]
        old = found[position].counts_at < before and keys[position] not in remembered
        return old and not shown and position not in kept

    gone = [position for group in groups.values() if all(map(goes, group)) for position in group]
    return sorted(gone), sorted({keys[position] for position in gone})


def _delete(connection: Connection, gone: Sequence[Position], keys: Sequence[str], forgotten: int) -> None:
    """Delete the records at these positions, and these ids unless they have come again meanwhile.

    Their rows in `critical_stories` stay: alerts of the day follow from them. They hold a word of a rule, and no text.

    `forgotten`: ids whose last record counts earlier are remembered no more.
    """
    places = [{"p": partition, "o": offset} for partition, offset in gone]
    if connection.dialect.name == "sqlite":
        # The full text has no copy of the text: what is deleted has to be said again.
        connection.execute(text(_WORDS), places)
        connection.execute(text(_NUMBERS), places)
    for table in (schema.story_topics, schema.story_names, schema.story_signs, schema.decisions, schema.stories):
        here = and_(table.c.partition == bindparam("p"), table.c.offset == bindparam("o"))
        connection.execute(delete(table).where(here), places)
    r = schema.removed_topics.c
    here = and_(r.partition == bindparam("p"), r.offset == bindparam("o"))
    every = r.fill.in_(select(schema.fills.c.number))  # the key begins with it
    connection.execute(delete(schema.removed_topics).where(every, here), places)
    i = schema.story_ids.c
    old = delete(schema.story_ids).where(i.id == bindparam("k"), i.last_bucket < forgotten)
    connection.execute(old, [{"k": k} for k in keys])


_WORDS = (
    "INSERT INTO story_words (story_words, rowid, title, body) SELECT 'delete', n.number, s.title, "
    'substr(s.body, 1, 100000) FROM story_numbers n JOIN stories s ON s."partition" = n."partition" '
    'AND s."offset" = n."offset" WHERE n."partition" = :p AND n."offset" = :o'
)
_NUMBERS = 'DELETE FROM story_numbers WHERE "partition" = :p AND "offset" = :o'
