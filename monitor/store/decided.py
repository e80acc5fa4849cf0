"""Read the stories of open buckets, and write what closing decides: rulings, buckets and topics."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, and_, bindparam, func, insert, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from foreshock.monitor import novelty
from foreshock.monitor.admission import Admission
from foreshock.monitor.buckets import Bucket, SourceSums, TopicBucket
from foreshock.monitor.counting import CountedStory, Ruling, Scores
from foreshock.monitor.deciding import Decision
from foreshock.monitor.store import bulk, fills, lookup, memory, schema
from foreshock.monitor.units import DAY
from foreshock.monitor.watermark import TimeRules

BUCKETS_AT_A_TIME = 1_000
"""The most buckets that one transaction closes."""

ROWS_AT_A_TIME = 10_000
"""Rows of decided buckets that are in memory at once."""

STORIES_AT_A_TIME = 20_000
"""The most stories that one transaction closes. A single bucket may hold more, and is closed whole."""


def stories_to_decide(
    connection: Connection, since: int | None, until: int, rules: TimeRules
) -> tuple[list[CountedStory], int | None]:
    """Return the stories that count in [since, until), and None.

    If there are too many for one transaction, return fewer, and the time (microseconds) at which this closing stops.
    """
    of_all = _COUNTING_BEFORE if since is None else _COUNTING
    of_most = _MOST_COUNTING_BEFORE if since is None else _MOST_COUNTING
    rows = connection.execute(of_most, {"since": since, "until": until, "most": STORIES_AT_A_TIME}).all()
    cut = None
    if len(rows) == STORIES_AT_A_TIME:
        first, cut = rules.start_of(rows[0].counts_at), rules.start_of(rows[-1].counts_at)
        if cut == first:  # one bucket alone is larger than the limit
            cut = first + rules.bucket
            rows = connection.execute(of_all, {"since": since, "until": cut}).all()
    starts = sorted({rules.start_of(row.counts_at) for row in rows})
    if len(starts) > BUCKETS_AT_A_TIME:
        cut = min(starts[BUCKETS_AT_A_TIME], cut or until)
    if cut is not None:
        rows = [row for row in rows if row.counts_at < cut]
    borne: Iterable[Any] = ()
    named: Iterable[Any] = ()
    if rows:
        given = {"since": rows[0].counts_at, "until": cut or until}
        borne, named = connection.execute(_BORNE, given), connection.execute(_NAMED, given)
    return _members(rows, borne, rules, named), cut


def stories_at(
    connection: Connection,
    positions: Sequence[tuple[str, int]],
    rules: TimeRules,
    topics: Collection[str] | None = None,
) -> list[CountedStory]:
    """Return the stories at these positions, as `stories_to_decide` does; with these topics alone, unless None."""
    found = lookup.by_position(connection, _STORIES, _s.partition, _s.offset, positions)
    rows = sorted(found, key=lambda row: row.counts_at)
    query, given = (_OF_STORIES, {}) if topics is None else (_OF_STORIES_AND_TOPICS, {"topics": list(topics)})
    borne = lookup.by_position(connection, query, _t.partition, _t.offset, positions, given)
    return _members(rows, borne, rules)


_s, _t, _n = schema.stories.c, schema.story_topics.c, schema.story_names.c
_SINCE, _UNTIL = bindparam("since", type_=BigInteger), bindparam("until", type_=BigInteger)
_MOST = bindparam("most", type_=Integer)
_STORIES = select(
    *(_s.partition, _s.offset, _s.counts_at, _s.published_at, _s.id, _s.content, _s.source, _s.feed, _s.stale),
    *(_s.date_only, _s.negative, _s.neutral, _s.positive, _s.signature, _s.model, _s.novelty),
)
_OF_STORIES = select(
    *(_t.partition, _t.offset, _t.topic, _t.negative, _t.neutral, _t.positive, _t.critical, _t.critical_from)
)
_OF_STORIES_AND_TOPICS = _OF_STORIES.where(_t.topic.in_(bindparam("topics", expanding=True)))
_COUNTING_BEFORE = _STORIES.order_by(_s.counts_at).where(_s.counts_at < _UNTIL)
_MOST_COUNTING_BEFORE = _COUNTING_BEFORE.limit(_MOST)
_COUNTING = _COUNTING_BEFORE.where(_s.counts_at >= _SINCE)
_MOST_COUNTING = _COUNTING.limit(_MOST)
"""The stories that count before a time, or in [since, until): all, and the first. Each closing runs these statements,
and building one takes as long as running it."""
_BORNE = _OF_STORIES.join_from(
    schema.stories, schema.story_topics, and_(_t.partition == _s.partition, _t.offset == _s.offset)
).where(_s.counts_at >= _SINCE, _s.counts_at < _UNTIL)
_NAMED = select(schema.story_names).where(_n.counts_at >= _SINCE, _n.counts_at < _UNTIL)


def _members(
    rows: Sequence[Any], borne: Iterable[Any], rules: TimeRules, named: Iterable[Any] = ()
) -> list[CountedStory]:
    """Return stories as counting takes them, from their rows and those of their topics and names."""
    names: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for row in named:
        names.setdefault((row.partition, row.offset), []).append((row.name, row.written))
    topics: dict[tuple[str, int], list[str]] = {}
    moods: dict[tuple[str, int], dict[str, Scores]] = {}
    marks: dict[tuple[str, int], dict[str, tuple[str, int]]] = {}
    for partition, offset, topic, negative, neutral, positive, critical, critical_from in borne:
        position = partition, offset
        if (known := topics.get(position)) is None:
            topics[position] = [topic]
        else:
            known.append(topic)
        if negative is not None:
            moods.setdefault(position, {})[topic] = negative, neutral, positive
        if critical is not None:
            marks.setdefault(position, {})[topic] = critical, critical_from
    keys = iter(novelty.keys([row.signature for row in rows if row.signature is not None]))
    return [
        CountedStory(
            partition=partition,
            offset=offset,
            bucket=rules.start_of(counts_at),
            published_at=published_at,
            id=identity,
            content=content,
            source=source,
            stale=stale,
            date_only=date_only,
            scores=None if negative is None else (negative, neutral, positive),
            signature=signature,
            keys=() if signature is None else next(keys),
            feed=feed,
            topics=tuple(sorted(topics.get((partition, offset), ()))),
            moods=moods.get((partition, offset), {}),
            counts_at=counts_at,
            critical=marks.get((partition, offset), {}),
            names=tuple(sorted(names.get((partition, offset), ()))),
            model=None if model == schema.CARRIED else model,
            novelty=unfamiliar,
        )
        # The columns of `_STORIES`, in their order: to look each up by its name takes longer than all else here.
        for (
            partition,
            offset,
            counts_at,
            published_at,
            identity,
            content,
            source,
            feed,
            stale,
            date_only,
            negative,
            neutral,
            positive,
            signature,
            model,
            unfamiliar,
        ) in rows
    ]


def decided_buckets(
    connection: Connection, since: int | None, until: int | None = None, *, known: int | None = None
) -> Iterator[Bucket]:
    """Yield the decided buckets that start at or after `since` and before `until` (None: all), in order of time.

    `known`: with the rows that were in force after this fill (`fills.as_known`). None: with those that are now.
    """
    now = known is None or known >= fills.last_done(connection)
    table = schema.buckets if now else fills.as_known(_OF_BUCKETS, known or 0)
    query = select(*(table.c[name] for name in _OF_BUCKETS)).order_by(table.c.start, table.c.topic)
    query = query if since is None else query.where(table.c.start >= since)
    query = query if until is None else query.where(table.c.start < until)
    rows = connection.execute(query.execution_options(yield_per=ROWS_AT_A_TIME))
    for start, group in groupby(rows, key=lambda row: row.start):
        yield Bucket(start, tuple(topic_bucket(row) for row in group))


_OF_BUCKETS = tuple(column.name for column in schema.buckets.columns if column.name not in ("settings", "filled"))


def first_bucket(connection: Connection) -> int | None:
    """Return the start of the first decided bucket (microseconds), or None if there is none."""
    return connection.execute(select(func.min(schema.buckets.c.start))).scalar()


def filled_rows(connection: Connection, fill: int, since: int | None, until: int) -> dict[int, list[TopicBucket]]:
    """Return the rows that a fill made, by the start of their bucket in [`since`, `until`), in force or not."""
    found: dict[int, list[TopicBucket]] = {}
    for table in (schema.buckets, schema.filled_buckets):
        query = select(table).where(table.c.filled == fill, table.c.start < until)
        if table is schema.filled_buckets:  # its own while it is under way, or those that a later fill replaced
            query = query.where(or_(table.c.fill == fill, table.c.fill < -fill))
        query = query if since is None else query.where(table.c.start >= since)
        for row in connection.execute(query):
            found.setdefault(row.start, []).append(topic_bucket(row))
    return found


def topic_bucket(row: Any) -> TopicBucket:
    """Return a topic's bucket from its row."""
    sums = row.stories, row.events, row.negative, row.neutral, row.positive
    parts = tuple(SourceSums(*part) for part in json.loads(row.by_source)) if row.by_source else ()
    return TopicBucket(row.topic, *sums, tuple(json.loads(row.sources)), row.day_events, row.day_negative, parts)


def sums_of(start: int, t: TopicBucket) -> dict[str, Any]:
    """Return the columns of `buckets` that say what a topic's bucket holds."""
    return {
        "topic": t.topic,
        "start": start,
        "stories": t.stories,
        "events": t.events,
        "negative": t.negative,
        "neutral": t.neutral,
        "positive": t.positive,
        "day_events": t.day_events,
        "day_negative": t.day_negative,
        "sources": _names(t.sources),
        "by_source": json.dumps(t.by_source, ensure_ascii=False) if t.by_source else None,
    }


@lru_cache(maxsize=4096)  # few sources bring most buckets
def _names(sources: tuple[str, ...]) -> str:
    return json.dumps(sources, ensure_ascii=False)


def write_rulings(connection: Connection, rulings: list[Ruling]) -> None:
    """Write how each record counts."""
    none = (None, None)
    rows = [
        (*r.member.position, r.member.bucket, r.ending, r.weighs, *(r.story or none), *(r.event or none))
        for r in rulings
    ]
    columns = ("partition", "offset", "bucket", "ending", "weighs")
    hangs_on = ("story_partition", "story_offset", "event_partition", "event_offset")
    bulk.insert_tuples(connection, schema.decisions, columns + hangs_on, rows)


def write_buckets(
    connection: Connection, decided: list[tuple[Bucket, Decision]], settings: int, admission: Admission
) -> None:
    """Write decided buckets, their topics, stalls and daily snapshots.

    `settings`: the version that decided them. `admission`: which source brought a topic.
    """
    rows: list[dict[str, Any]] = []
    topics: dict[str, dict[str, Any]] = {}
    for bucket, decision in decided:
        for t in bucket.topics:
            rows.append(
                {
                    **sums_of(bucket.start, t),
                    "baseline": decision.baselines.get(t.topic),
                    "settings": settings,
                }
            )
            seen = topics.setdefault(t.topic, {"topic": t.topic, "first_story_at": bucket.start, "stories": 0})
            seen["last_story_at"] = bucket.start
            seen["stories"] += t.stories
            seen["learning_until"] = decision.learning.get(t.topic)
            seen["source"] = admission.taken.get(t.topic)
        for start, end in decision.stalls:
            connection.execute(insert(schema.feed_stalls).values(started_at=start, ended_at=end))
        if decision.snapshot is not None:
            day = bucket.start - bucket.start % DAY
            connection.execute(insert(schema.daily_state).values(day=day, bucket=bucket.start, body=decision.snapshot))
    if rows:
        bulk.insert(connection, schema.buckets, rows)
        _upsert_topics(connection, sorted(topics.values(), key=lambda row: str(row["topic"])))
    days = [bucket.start for bucket, decision in decided if decision.snapshot is not None]
    if days:
        memory.forget_events(connection, days[-1])


def _upsert_topics(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if connection.dialect.name != "postgresql":
        connection.execute(_UPSERT, rows)
        return
    # One statement for all rows: there may be very many.
    columns = list(rows[0])
    arrays = [lookup.texts if name in ("topic", "source") else lookup.numbers for name in columns]
    values = [array([row[name] for row in rows]) for array, name in zip(arrays, columns, strict=True)]
    new_rows = func.unnest(*values).table_valued(*columns).render_derived()
    connection.execute(_or_update(postgresql.insert(schema.topics).from_select(columns, select(new_rows))))


def _or_update(statement: Any) -> Any:
    """Let an insert of topics update those that are there."""
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["topic"],
        set_={
            "last_story_at": new.last_story_at,
            "stories": schema.topics.c.stories + new.stories,
            "learning_until": new.learning_until,
        },
    )


_UPSERT = _or_update(sqlite.insert(schema.topics))
