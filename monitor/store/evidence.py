"""Find the stories behind an alert, or behind any stretch of a topic's series: one line for each event."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Subquery,
    Table,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    select,
    union_all,
)

from foreshock.model.labels import LABELS
from foreshock.monitor.store import lookup, schema
from foreshock.monitor.store.times import iso
from foreshock.monitor.topics.names import key_of
from foreshock.monitor.units import ALL, is_new, shown

SHOWN = 10
"""How many events are listed with an alert: enough to judge it, few enough for a message."""

TITLE = 300
"""The most characters of a story's title in an alert; the table `stories` keeps all.

If a record has only text, its title is the whole article. Ten of those are more than most receivers accept.
"""

URL = 2_000
"""The most characters of a story's url in an alert."""

CANONICAL = ("bucket", "published_at", "id", "content", "partition", "offset")
"""The columns that decided records are ordered by."""


MOST = 5_000
"""The most stories that a page ranks."""


class ByName(NamedTuple):
    """Stands for a topic: the stories that bear a name which no topic has (`story_names`)."""

    key: str | ColumnElement[str]


Topic = str | ColumnElement[str] | ByName
Time = int | ColumnElement[int]
"""A value, or the parameter of a statement that is built once. `ALL` is never a parameter: it has other tables."""
What = Literal["all", "name", "topic"]
"""What a topic is: statements that are built once differ by it."""


def totals(connection: Connection, topic: str, start: int, end: int) -> tuple[int, int]:
    """Count the independent events and the distinct sources of a topic's decided buckets in [start, end)."""
    return new_events(connection, topic, start, end), len(sources(connection, topic, start, end))


def sources(connection: Connection, topic: str, start: int, end: int) -> list[str]:
    """Return the distinct sources of a topic's decided buckets in [start, end), in bytewise order."""
    if is_new(topic):  # without buckets
        named = within(select(schema.stories.c.source).distinct(), topic, start, end)
        return sorted(connection.execute(named).scalars())
    b = schema.buckets.c
    here = (b.topic == topic, b.start >= start, b.start < end)
    lists = connection.execute(select(b.sources).where(*here).distinct()).scalars()
    return sorted({source for names in lists for source in json.loads(names)})


def events(
    connection: Connection,
    topic: str,
    start: int,
    end: int,
    *,
    order: str,
    limit: int,
    skip: int = 0,
    also: Sequence[ColumnElement[Any]] = (),
) -> list[list[Any]]:
    """Return the records that weigh in a topic in [start, end), as a list for each event.

    The records of an event are in canonical order: its first story, then the copies.

    `order`: events by their first story, the gravest (`negative`) or the most `positive` first, or the `newest`. Equal
    ones are in canonical order. `also`: further columns to read. Only records of the returned events leave the
    database, because [start, end) may hold millions.
    """
    d, values = schema.decisions.c, {"topic": key(topic), "start": start, "end": end}
    ranked, query = _events(what_of(topic), order, tuple(also))
    first = connection.execute(ranked, {**values, "most": limit, "skip": skip})
    records: dict[tuple[str, int], list[Any]] = {(row.event_partition, row.event_offset): [] for row in first}
    for partition, offset in ((d.partition, d.offset), (d.event_partition, d.event_offset)):
        for row in lookup.by_position(connection, query, partition, offset, list(records), values):
            records[row.event_partition, row.event_offset].append(row)
    return [sorted(rows, key=attrgetter(*CANONICAL)) for rows in records.values()]


@lru_cache(maxsize=32)
def _events(
    what: What, order: str, also: tuple[ColumnElement[Any], ...]
) -> tuple[Select[tuple[str, int]], Select[Any]]:
    """Return the statements of `events`: which events are shown, and what is read of their records.

    Building them takes longer than most answers.
    """
    topic, start, end = given(what)
    f = _firsts(topic, start, end).c
    by = {
        # Without a severity, bad news counts as mild.
        "negative": (func.coalesce(f.severity, f.negative / 100).desc(), f.negative.desc()),
        "positive": (f.positive.desc(),),
        "newest": (f.published_at.desc(),),
    }[order]
    ranked = select(f.event_partition, f.event_offset).order_by(*by, *(f[name] for name in CANONICAL))
    ranked = ranked.limit(bindparam("most", type_=Integer)).offset(bindparam("skip", type_=Integer))
    return ranked, within(select(*_columns(topic), schema.stories.c.source, *also), topic, start, end)


def what_of(topic: str) -> What:
    """Return what a topic is: all stories, a name that no topic has, or a topic."""
    return "all" if topic == ALL else "name" if is_new(topic) else "topic"


def given(what: What) -> tuple[Topic, Time, Time]:
    """Return a topic, a start and an end for a statement that is built once: its parameters of these names.

    The value of `topic` is a `key`.
    """
    topic: ColumnElement[str] = bindparam("topic")
    return ALL if what == "all" else ByName(topic) if what == "name" else topic, bindparam("start"), bindparam("end")


def count_events(connection: Connection, topic: str, start: int, end: int) -> int:
    """Count the events that weigh in a topic in [start, end)."""
    return int(connection.execute(select(func.count()).select_from(_firsts(topic, start, end))).scalar_one())


def new_events(connection: Connection, topic: str, start: int, end: int) -> int:
    """Count the events that reached a topic for the first time in its decided buckets in [start, end)."""
    if is_new(topic):
        return count_events(connection, topic, start, end)
    b = schema.buckets.c
    here = (b.topic == topic, b.start >= start, b.start < end)
    return int(connection.execute(select(func.coalesce(func.sum(b.events), 0)).where(*here)).scalar_one())


def are_gone(connection: Connection, start: int, end: int) -> bool:
    """Return whether stories that counted in the buckets that start in [start, end) were deleted since."""
    b, d = schema.buckets.c, schema.decisions.c
    counted = select(func.coalesce(func.sum(b.stories), 0)).where(b.topic == ALL, b.start >= start, b.start < end)
    there = select(func.count()).where(d.weighs, d.bucket >= start, d.bucket < end)
    return bool(connection.execute(there).scalar_one() < connection.execute(counted).scalar_one())


def newest_part(connection: Connection, topic: str, start: int, end: int) -> int:
    """Return the start of the part of [start, end) that holds the topic's newest `MOST` stories.

    A page ranks only these: ranking takes a look at each story, and a busy topic has millions.
    """
    table = schema.stories if topic == ALL else _borne(topic)
    c = table.c
    query = select(c.counts_at).where(c.counts_at >= start, c.counts_at < end).order_by(c.counts_at.desc())
    query = query if topic == ALL else query.where(_bears(table, topic))
    last = connection.execute(query.offset(MOST).limit(1)).scalar()
    return start if last is None else int(last) + 1


def _firsts(topic: Topic, start: Time, end: Time) -> Subquery:
    """Select the first record of each event in [start, end).

    That is nearly always the event's first story. Only if that story lies elsewhere are the copies sorted, because
    sorting millions of stories takes as much memory as reading them.
    """
    d = schema.decisions.c
    columns = _columns(topic)
    canonical, event = columns[:6], columns[6:8]
    is_first = d.event_partition.is_not(None) == false()  # with IS NULL, SQLite would scan all first stories
    table = (schema.stories if _is_all(topic) else _borne(topic)).alias()
    f = table.c
    first_is_there = exists().where(
        *(f.partition == d.event_partition, f.offset == d.event_offset, f.counts_at >= start, f.counts_at < end),
        *(() if _is_all(topic) else (_bears(table, topic),)),
    )
    place = func.row_number().over(partition_by=event, order_by=canonical).label("place")
    copies = within(select(*columns, place), topic, start, end).where(~is_first, ~first_is_there).subquery().c
    firsts: Select[Any] = within(select(*columns), topic, start, end).where(is_first)
    first_copies: Select[Any] = select(*copies.values()[:-1]).where(copies.place == 1)
    return union_all(firsts, first_copies).subquery()


def _columns(topic: Topic) -> tuple[ColumnElement[Any], ...]:
    """Return the columns of a decided record: canonical order, positions of its event and of its story, scores."""
    s, d = schema.stories.c, schema.decisions.c
    return (
        *(d.bucket, s.published_at, s.id, s.content, s.partition, s.offset),
        func.coalesce(d.event_partition, s.partition).label("event_partition"),
        func.coalesce(d.event_offset, s.offset).label("event_offset"),
        *(d.story_partition, d.story_offset, *mood(topic)),
    )


def mood(topic: Topic | None) -> tuple[ColumnElement[Any], ...]:
    """Return the columns negative, neutral, positive and severity of a story joined with its row of the topic.

    Of a company they are towards it, where the story has such scores. Then its bad news is no graver than three times
    the probability that it is bad for the company. `ALL` and None: of the story itself, which is joined with no topic.
    """
    s, t = schema.stories.c, schema.story_topics.c
    if topic is None or _is_all(topic) or _is_named(topic):
        return s.negative, s.neutral, s.positive, s.severity
    own = 3 * t.negative // 100
    severity = case((own < s.severity, own), else_=s.severity)  # without an own mood the comparison is null
    return *(func.coalesce(t[name], s[name]).label(name) for name in LABELS), severity.label("severity")


def within(query: Select[Any], topic: Topic, start: Time, end: Time) -> Select[Any]:
    """Restrict a query to the records that weigh in a topic in [start, end), or repeat one that weighs."""
    s, d = schema.stories.c, schema.decisions.c
    query = query.join_from(
        schema.stories, schema.decisions, and_(s.partition == d.partition, s.offset == d.offset)
    ).where(s.counts_at >= start, s.counts_at < end, d.weighs | d.event_partition.is_not(None))
    if _is_all(topic):
        return query
    table = _borne(topic)
    t = table.c
    return query.join(table, and_(t.partition == s.partition, t.offset == s.offset)).where(
        _bears(table, topic), t.counts_at >= start, t.counts_at < end
    )


def _borne(topic: Topic) -> Table:
    """Return the table that says which stories bear a topic, or a name that no topic has."""
    return schema.story_names if _is_named(topic) else schema.story_topics


def _bears(table: FromClause, topic: Topic) -> ColumnElement[bool]:
    """Return the condition on a row of `_borne`, or of its alias, that it is of the topic."""
    if isinstance(topic, ByName):
        return table.c.name == topic.key
    return table.c.name == key(topic) if isinstance(topic, str) and is_new(topic) else table.c.topic == topic


def key(topic: str) -> str:
    """Return what the rows of a topic have: of a name that no topic has, what it is known by."""
    return key_of(shown(topic)) if is_new(topic) else topic


def _is_named(topic: Topic) -> bool:
    return isinstance(topic, ByName) or (isinstance(topic, str) and is_new(topic))


def _is_all(topic: Topic) -> bool:
    return isinstance(topic, str) and topic == ALL


def stories(
    connection: Connection, topic: str, start: int, end: int, *, known: int, worse: bool, limit: int = SHOWN
) -> list[dict[str, Any]]:
    """Return up to `limit` events of a topic that counted in [start, end), each as its first story.

    `worse`: whether the gravest come first, else the most positive. Scores are the first story's, and of a company
    those towards it (`mood`).

    `known`: the end of a decided bucket. Text is the newest, by event time, that was known by then. Later text is not
    shown, however many buckets one transaction closes. If that text is withdrawn, the event is left out.
    """
    shown: list[dict[str, Any]] = []
    order, skip = "negative" if worse else "positive", 0
    while True:
        take = 2 * limit + skip  # more than `limit`: withdrawn events are left out
        some = events(connection, topic, start, end, order=order, limit=take, skip=skip)
        texts = newest_texts(connection, [story_of(rows[0]) for rows in some], known)
        shown += [line(rows, text) for rows in some if (text := texts[story_of(rows[0])]).status != "withdrawn"]
        if len(shown) >= limit or len(some) < take:
            return shown[:limit]
        skip += take


def line(rows: Sequence[Any], text: Any) -> dict[str, Any]:
    """Return an event as alerts show it. `rows`: its records, the first story first. `text`: its title and URL."""
    first = rows[0]
    return {
        "id": first.id,
        "title": title(text.title),
        "url": url(text.url),
        "source": first.source,
        "published_at": iso(first.published_at),
        "scores": scores_json(first),
        "copies": len(rows) - 1,
    }


def title(whole: str) -> str:
    """Return a title as alerts show it."""
    return whole if len(whole) <= TITLE else whole[: TITLE - 1] + "…"


def url(whole: str) -> str:
    """Return a URL as alerts show it; none if it is too long, because a shortened one would lead elsewhere."""
    return whole if len(whole) <= URL else ""


def scores_json(row: Any) -> dict[str, float] | None:
    """Return a story's scores as JSON has them, with its severity where it is known; None of a story without scores."""
    if row.negative is None:
        return None
    scores = {name: getattr(row, name) / 10_000 for name in LABELS}
    return scores if row.severity is None else scores | {"severity": row.severity / 100}


def story_of(row: Any) -> tuple[str, int]:
    """Return the position (partition, offset) of the first record of a decided record's story."""
    return (row.story_partition, row.story_offset) if row.story_partition is not None else (row.partition, row.offset)


def newest_texts(connection: Connection, firsts: list[tuple[str, int]], known: int) -> dict[tuple[str, int], Any]:
    """Return the newest text of each story, keyed by the position of the story's first record.

    Newest is by event time, among the first record and those decided by `known`. If two texts have one time, the one in
    the later bucket wins, then the one that withdraws the story. A record that repeats another with the same time and
    text counts as that other one: sending old records again adds nothing new.
    """
    s, d = schema.stories.c, schema.decisions.c
    itself, later, columns = _texts()
    records = [
        *lookup.by_position(connection, itself, d.partition, d.offset, firsts),
        *lookup.by_position(connection, later, d.story_partition, d.story_offset, firsts, {"known": known}),
    ]
    newest, seen = {}, set()

    def place(row: Any) -> tuple[Any, ...]:
        withdrawn = row.status == "withdrawn"
        return row.published_at, row.bucket, withdrawn, row.content, row.partition, row.offset

    for row in sorted(records, key=place):
        text = (story_of(row), row.published_at, row.content)
        if text not in seen:
            seen.add(text)
            newest[story_of(row)] = (row.partition, row.offset)
    texts = {
        (row.partition, row.offset): row
        for row in lookup.by_position(connection, columns, s.partition, s.offset, list(newest.values()))
    }
    return {story: texts[position] for story, position in newest.items()}


@cache
def _texts() -> tuple[Select[Any], Select[Any], Select[Any]]:
    """Return the statements of `newest_texts`: first records, later ones, and texts."""
    s, d = schema.stories.c, schema.decisions.c
    query: Select[Any] = select(
        *(s.partition, s.offset, s.published_at, s.content, s.status),
        *(d.bucket, d.story_partition, d.story_offset),
    ).join_from(schema.decisions, schema.stories, and_(s.partition == d.partition, s.offset == d.offset))
    texts: Select[Any] = select(s.partition, s.offset, s.title, s.url, s.status)
    return query, query.where(d.bucket < bindparam("known")), texts
