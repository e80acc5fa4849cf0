"""Pack an alert: one file with all that it was decided from, for whoever wants to decide it again.

    digest = pack(engine, identity, Path("alert.zip"))

An alert of a detector follows from the state before its day, which the store keeps as a snapshot, and the decided
buckets since. A critical one follows from the day's critical stories. The pack holds these with the settings in force,
and the stories of the alert's window with all that they repeat, revise or copy. So their counting can be done again,
too. It holds the alert as it was sent when it fired. An end changes nothing, so the same alert gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, and_, func, or_, select

from foreshock.analysis import pack_file
from foreshock.analysis.pack_file import PackRefused
from foreshock.monitor import snapshots
from foreshock.monitor.critical import day_of
from foreshock.monitor.deciding import SNAPSHOT_VERSION
from foreshock.monitor.kinds import CRITICAL, KINDS, NEW_NAME
from foreshock.monitor.store import desk_actions, evidence, fills, lookup, schema, settings_versions, switches
from foreshock.monitor.store.counts import decided_until
from foreshock.monitor.store.database import HEAD, reading
from foreshock.monitor.store.times import iso

MOST_STORIES = 20_000
"""The most stories of a pack. With more, it holds none: buckets and state alone decide the alert."""
MOST_TEXT = 64 << 20
"""The most characters of their titles and bodies."""
MOST_BUCKETS = 1_000_000
"""The most rows of buckets."""
NOT_AS_DECIDED = ("belated", "folded", "folded_count")
"""What the sender adds to a message that it sends late."""

Position = tuple[str, int]
Found = dict[str, list[dict[str, Any]]]
"""Rows by the name of their table."""


def pack(engine: Engine, identity: str, out: Path) -> str:
    """Write the pack of an alert. Return the SHA-256 of its manifest, which names the contents.

    `identity`: the alert's id, or its beginning.

    Raises:
        NoSuchAlert: there is none.
        PackRefused: it never fired, it is not decided yet, its stories or evidence were deleted, or it is too large.
    """
    with reading(engine) as connection:
        about, members = _gathered(connection, identity)
    return pack_file.write(out, about, members)


def _gathered(connection: Connection, identity: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    identity = desk_actions.alert_id_of(connection, identity)
    alert = connection.execute(select(schema.alerts).where(schema.alerts.c.id == identity)).one()
    if alert.fired_at is None:
        raise PackRefused(f"The alert {identity} never fired, so nothing was decided that could be verified.")
    if alert.kind == NEW_NAME:
        raise PackRefused(
            f"The alert {identity} is about a name that no topic had. A pack does not hold what decides those."
        )
    until = decided_until(connection)
    if until is None or alert.fired_at > until:
        raise PackRefused(f"The alert {identity} was sent before its bucket closed. Pack it in a few minutes.")
    time = settings_versions.time_rules(connection)
    end = time.start_of(alert.fired_at - 1) + time.bucket
    known = fills.known_at(connection, alert.fired_at - 1)
    found: Found = {table.name: [] for table in pack_file.TABLES}
    if alert.kind != CRITICAL:
        _add_state(connection, found, alert, known)
    whole, count = _add_stories(connection, found, alert, end, known)
    _add_settings(connection, found, alert.fired_at)
    members = {pack_file.name_of(table): pack_file.lines(table, found[table.name]) for table in pack_file.TABLES}
    members[pack_file.ALERT] = f"{json.dumps(published(connection, identity), ensure_ascii=False)}\n".encode()
    now = connection.execute(select(schema.feed.c.model)).scalar()
    about = {
        "foreshock": metadata.version("foreshock"),
        "schema": HEAD,
        "snapshot": SNAPSHOT_VERSION,
        "model": switches.model_at(switches.changes(connection), now, alert.fired_at - 1),
        "alert": {"id": identity, "topic": alert.topic, "kind": alert.kind, "fired_at": iso(alert.fired_at)},
        "stories": "whole" if whole else f"left out: {count:,} are more than a pack holds",
    }
    return about, members


def published(connection: Connection, identity: str) -> dict[str, Any]:
    """Return an alert as it was sent when it fired. Raises PackRefused."""
    o = schema.outbox.c
    text = connection.execute(select(o.alert).where(o.alert_id == identity, o.event == "firing")).scalar()
    if text is None:
        raise PackRefused(f"The store does not have the alert {identity} as it fired: an older version decided it.")
    said: dict[str, Any] = json.loads(text)
    kind = KINDS.get(said["kind"])  # None: a newer version sent it
    if kind is not None and kind.has_stories and said["events"] and not said["evidence"]:
        raise PackRefused(
            f"The evidence of the alert {identity} is older than [store] keep_evidence and was deleted. "
            "A pack would not hold what was sent."
        )
    return {key: value for key, value in said.items() if key not in NOT_AS_DECIDED}


def _add_state(connection: Connection, found: Found, alert: Any, known: int) -> None:
    """Add the newest snapshot before the alert fired, and the decided buckets since; and those of its window.

    `known`: the last fill of topics whose rows were in force (`fills.as_known`).
    """
    s, f, m = schema.daily_state.c, schema.fills.c, schema.model_switches.c
    b = fills.as_known([column.name for column in schema.buckets.columns], known).c
    made = (select(c.in_force_from, c.in_force_from, c.body) for c in (f, m))
    states = select(s.day, s.bucket, s.body).union_all(*made).subquery()
    size = func.length(states.c.body)
    newest = select(states).where(states.c.bucket < alert.fired_at, size > 0, size <= snapshots.LARGEST)
    state = connection.execute(newest.order_by(states.c.bucket.desc(), states.c.day).limit(1)).first()
    since = 0 if state is None else state.bucket
    mine = and_(b.topic == alert.topic, b.start >= alert.window_start)
    wanted = and_(b.start < alert.fired_at, or_(b.start >= since, mine))
    count = connection.execute(select(func.count()).select_from(b.topic.table).where(wanted)).scalar_one()
    if count > MOST_BUCKETS:
        raise PackRefused(f"{count:,} rows of buckets belong to the alert, more than a pack holds ({MOST_BUCKETS:,}).")
    if state is not None:
        pack_file.refuse_large_state(state.body)
    found["daily_state"] = [] if state is None else [dict(state._mapping)]
    rows = connection.execute(select(b.topic.table).where(wanted).order_by(b.topic, b.start))
    found["buckets"] = [dict(row._mapping) for row in rows]


def _add_stories(connection: Connection, found: Found, alert: Any, end: int, known: int) -> tuple[bool, int]:
    """Add the stories of the alert with all that they belong to. Return whether they are whole, and how many."""
    positions = _stories_of(connection, alert, known)
    if _are_gone(connection, alert, positions):
        raise PackRefused(
            f"Stories of the alert {alert.id} are older than [store] keep_stories and were deleted. "
            "A pack would not hold what was decided."
        )
    related = None if len(positions) > MOST_STORIES else _related(connection, positions, end)
    if related is None:
        return False, max(len(positions), MOST_STORIES + 1)
    s = schema.stories.c
    sizes = select(func.length(s.title) + func.length(s.body))
    if sum(row[0] for row in lookup.by_position(connection, sizes, s.partition, s.offset, related)) > MOST_TEXT:
        return False, len(related)
    for table in (schema.stories, schema.decisions):
        found[table.name] = _rows_at(connection, table, related)
    found["story_topics"] = _topics_at(connection, related, known)
    if alert.kind == CRITICAL:
        here = _rows_at(connection, schema.critical_stories, related)
        found["critical_stories"] = [row for row in here if row["topic"] == alert.topic]
    return True, len(related)


def _topics_at(connection: Connection, positions: list[Position], known: int) -> list[dict[str, Any]]:
    """Return the topics that stories had when the fill `known` was the last one."""
    rows = _rows_at(connection, schema.story_topics, positions)
    then = _rows_at(connection, schema.removed_topics, positions)
    rows += [{name: row[name] for name in row if name != "fill"} for row in then if row["fill"] > known]
    rows = [row for row in rows if row["filled"] is None or row["filled"] <= known]
    return sorted(rows, key=lambda row: (row["partition"], row["offset"], row["topic"]))


def _stories_of(connection: Connection, alert: Any, known: int) -> set[Position]:
    if alert.kind == CRITICAL:
        c = schema.critical_stories.c
        query = select(c.partition, c.offset).where(
            c.topic == alert.topic, c.counts_at >= day_of(alert.window_start), c.counts_at < alert.window_end
        )
    else:
        s = schema.stories.c
        query = evidence.within(select(s.partition, s.offset), alert.topic, alert.window_start, alert.window_end)
    found = {(row[0], row[1]) for row in connection.execute(query.limit(MOST_STORIES + 1))}
    r = schema.removed_topics.c
    gone = select(r.partition, r.offset).where(r.topic == alert.topic, r.fill > known, r.counts_at < alert.window_end)
    gone = gone.where(r.counts_at >= alert.window_start)
    return found | {(row[0], row[1]) for row in connection.execute(gone.limit(MOST_STORIES + 1))}


def _are_gone(connection: Connection, alert: Any, positions: set[Position]) -> bool:
    """Return whether stories of the alert were deleted."""
    if alert.kind != CRITICAL:
        return evidence.are_gone(connection, alert.window_start, alert.window_end)
    s = schema.stories.c
    there = lookup.by_position(connection, select(s.partition, s.offset), s.partition, s.offset, sorted(positions))
    return sum(1 for _ in there) < len(positions)


def _related(connection: Connection, positions: set[Position], end: int) -> list[Position] | None:
    """Return the positions of these records and of all that they repeat, revise or copy, and of what does so to them.

    Only what was decided before `end` (microseconds). None if there are more than `MOST_STORIES`.
    """
    d = schema.decisions.c
    query = select(d.partition, d.offset, d.story_partition, d.story_offset, d.event_partition, d.event_offset)
    query = query.where(d.bucket < end)
    ways = ((d.partition, d.offset), (d.story_partition, d.story_offset), (d.event_partition, d.event_offset))
    known, new = set[Position](), positions
    while new:
        known |= new
        if len(known) > MOST_STORIES:
            return None
        met: set[Position] = set()
        for partition, offset in ways:
            for row in lookup.by_position(connection, query, partition, offset, sorted(new)):
                pairs = ((row[0], row[1]), (row[2], row[3]), (row[4], row[5]))
                met.update(pair for pair in pairs if pair[0] is not None)
        new = met - known
    return sorted(known)


def _add_settings(connection: Connection, found: Found, fired_at: int) -> None:
    """Add the settings versions by which the stories were read and the buckets decided."""
    rows = _rows(connection, schema.settings_versions, schema.settings_versions.c.number >= 0)
    used = {row["settings"] for name in ("stories", "buckets") for row in found[name]}
    since = found["daily_state"][0]["bucket"] if found["daily_state"] else fired_at

    def begins(row: Mapping[str, Any]) -> int:
        return -1 if row["in_force_from"] is None else int(row["in_force_from"])

    before = max((begins(row) for row in rows if begins(row) <= since), default=-1)
    found["settings_versions"] = [row for row in rows if row["number"] in used or before <= begins(row) <= fired_at]


def _rows(connection: Connection, table: Table, where: Any) -> list[dict[str, Any]]:
    query = select(*pack_file.columns(table)).where(where).order_by(*table.primary_key.columns)
    return [dict(row._mapping) for row in connection.execute(query)]


def _rows_at(connection: Connection, table: Table, positions: Iterable[Position]) -> list[dict[str, Any]]:
    c = table.c
    query = select(*pack_file.columns(table))
    rows = [dict(row._mapping) for row in lookup.by_position(connection, query, c.partition, c.offset, list(positions))]
    keys = [column.name for column in table.primary_key.columns]
    return sorted(rows, key=lambda row: [row[key] for key in keys])
