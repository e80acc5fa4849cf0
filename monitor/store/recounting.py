"""Read what counting some topics again needs, and write the rows that it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, delete, or_, select, update

from foreshock.monitor.buckets import TopicBucket
from foreshock.monitor.counting import Position
from foreshock.monitor.recounting import Before, Ruled
from foreshock.monitor.store import bulk, decided, lookup, schema
from foreshock.monitor.store.fills import Fill
from foreshock.monitor.watermark import TimeRules

TAGS_AT_A_TIME = 1_000
"""Stories of the topics whose buckets one step counts."""


@dataclass(frozen=True, slots=True)
class Part:
    """The stories of the next buckets of a fill."""

    ruled: dict[int, list[Ruled]]
    before: Before
    until: int
    """Up to where all is counted after this part (microseconds)."""


def whole_buckets(times: Sequence[int], end: int, rules: TimeRules, *, most: int) -> tuple[list[int], int]:
    """Return the starts of the buckets in which all stories up to `end` are among `times`, and where they end.

    `times`: the first `most` times at which stories count, in order; fewer if there are no more before `end`. The last
    bucket of `most` times may have more stories, so it is left for the next part, unless it is the only one.
    """
    until = end
    if len(times) == most:
        last = rules.start_of(times[-1])
        until = last if last > rules.start_of(times[0]) else last + rules.bucket
    return sorted({start for time in times if (start := rules.start_of(time)) < until}), until


def next_part(connection: Connection, fill: Fill, end: int, rules: TimeRules) -> Part:
    """Return the next buckets before `end` that have stories of the fill's topics, with all stories that count."""
    t = schema.story_topics.c
    mine, since = t.topic.in_(fill.topics), fill.counted_until
    query = select(t.counts_at).where(mine, t.counts_at < end).order_by(t.counts_at)
    query = query if since is None else query.where(t.counts_at >= since)
    times = connection.execute(query.limit(TAGS_AT_A_TIME)).scalars().all()
    starts, until = whole_buckets(times, end, rules, most=TAGS_AT_A_TIME)
    if not starts:
        return Part({}, Before({}, {}), until)
    own = frozenset(fill.topics)
    ruled = ruled_in(connection, starts, rules, own)
    return Part(ruled, before(connection, ruled, starts[0], own), until)


def ruled_in(
    connection: Connection, starts: Sequence[int], rules: TimeRules, own: frozenset[str] | None
) -> dict[int, list[Ruled]]:
    """Return the stories that count in these buckets, by bucket, with those topics that are `own` (None: all)."""
    d = schema.decisions.c
    query = select(
        d.partition, d.offset, d.ending, d.story_partition, d.story_offset, d.event_partition, d.event_offset
    )
    query = query.where(or_(d.weighs, and_(d.ending == "duplicate", d.event_partition.is_not(None))))
    rows = {(row.partition, row.offset): row for row in lookup.by_number(connection, query, d.bucket, starts)}
    found: dict[int, list[Ruled]] = {}
    for member in decided.stories_at(connection, sorted(rows), rules, own):
        row = rows[member.position]
        duplicate = row.ending == "duplicate"
        first = (row.story_partition, row.story_offset) if duplicate else member.position
        its_event = member.position if row.event_partition is None else (row.event_partition, row.event_offset)
        found.setdefault(member.bucket, []).append(Ruled(member, duplicate, first, its_event))
    return found


def before(
    connection: Connection, ruled: Mapping[int, Sequence[Ruled]], start: int, own: frozenset[str] | None
) -> Before:
    """Return which topics these stories, and their events, had counted in buckets before `start`."""
    stories = {one.story for some in ruled.values() for one in some if one.member.topics}
    events = {one.event for some in ruled.values() for one in some if one.member.topics}
    d, t = schema.decisions.c, schema.story_topics.c
    here = and_(t.partition == d.partition, t.offset == d.offset)
    borne = select(t.topic).where(d.bucket < start)
    borne = borne if own is None else borne.where(t.topic.in_(own))
    first = borne.add_columns(d.partition, d.offset).join_from(schema.decisions, schema.story_topics, here)
    of_story = borne.add_columns(d.story_partition, d.story_offset).join_from(
        schema.decisions, schema.story_topics, here
    )
    of_story = of_story.where(d.ending == "duplicate", d.event_partition.is_not(None))
    of_event = borne.add_columns(d.event_partition, d.event_offset).join_from(
        schema.decisions, schema.story_topics, here
    )
    wanted = sorted(stories | events)
    found: tuple[dict[Position, set[str]], dict[Position, set[str]]] = ({}, {})
    for which, query, columns in (
        (found[1], first, (d.partition, d.offset)),
        (found[1], of_story, (d.story_partition, d.story_offset)),
        (found[0], first, (d.partition, d.offset)),
        (found[0], of_event, (d.event_partition, d.event_offset)),
    ):
        for topic, partition, offset in lookup.by_position(connection, query, *columns, wanted):
            which.setdefault((partition, offset), set()).add(topic)
    return Before(*found)


def write(connection: Connection, fill: Fill, rows: Sequence[tuple[int, Sequence[TopicBucket]]]) -> None:
    """Write rows of a fill, which are not in force yet."""
    values = [
        {
            "fill": fill.number,
            **decided.sums_of(start, row),
            "baseline": None,
            "settings": fill.settings,
            "filled": fill.number,
        }
        for start, topics in rows
        for row in topics
    ]
    bulk.insert(connection, schema.filled_buckets, values)


def write_baselines(connection: Connection, fill: Fill, rows: Sequence[tuple[str, int, int]]) -> None:
    """Write what was usual: (topic, start of the bucket, expected polarity in 1/10,000)."""
    r = schema.filled_buckets
    mine = and_(r.c.fill == fill.number, r.c.topic == bindparam("its_topic"), r.c.start == bindparam("its_start"))
    statement = update(r).where(mine).values(baseline=bindparam("usual"))
    if rows:
        connection.execute(
            statement, [{"its_topic": topic, "its_start": start, "usual": usual} for topic, start, usual in rows]
        )


def forget(connection: Connection, fill: Fill) -> None:
    """Delete the rows of a fill that are not in force yet: its stories changed meanwhile."""
    connection.execute(delete(schema.filled_buckets).where(schema.filled_buckets.c.fill == fill.number))
