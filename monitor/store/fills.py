"""Fill the past of topics that were added or changed: what is to be done, how far it is, and what it replaced.

A change of the settings plans a fill (`plan`). A worker reads the stored stories again, some at a time, and writes
which have the topics (`story_topics`). The monitor counts the decided buckets again into `filled_buckets`, and puts
these rows in force at one bucket (docs/topics.md#a-topic-added-later). The rows that were in force before change
places with them. So a reader finds both what a series is, and what was known at a time.

Each step is one transaction that compares and sets the fill's row. A process that is killed loses the step in hand,
and the next one takes it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, literal, or_, select, update

from foreshock.monitor.errors import Overtaken
from foreshock.monitor.store import schema
from foreshock.monitor.topics.rules import TopicRule
from foreshock.monitor.units import ALL
from foreshock.monitor.watermark import TimeRules

READING, COUNTING, DONE, REPLACED = "reading", "counting", "done", "replaced"
"""`replaced`: the settings changed again before it was done, and a later fill has its topics."""


@dataclass(frozen=True, slots=True)
class Fill:
    """A fill as its row stands."""

    number: int
    settings: int
    """The version whose rules it applies."""
    topics: tuple[str, ...]
    state: str
    read_until: Mapping[str, int]
    """By partition, the offset of the first story that was not read again."""
    read: int
    """Stories that were read again."""
    found: int
    """Those that have a topic of the fill which they did not have before, or no longer have one."""
    counted_until: int | None
    in_force_from: int | None
    """The bucket from which on the detectors know the rows. None until the fill is done."""


def plan(connection: Connection, number: int, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Plan to fill the topics whose rules differ, where the store has stories.

    `number`: the version that was just written, with the settings `after`. Topics of a fill that is not done are filled
    by this one.
    """
    if connection.execute(select(schema.stories.c.id).limit(1)).first() is None:
        return
    rules, old = _by_name(after), _by_name(before)
    wanted = {name for name, rule in rules.items() if rule != old.get(name)}
    f = schema.fills.c
    for fill in unfinished(connection):
        wanted.update(set(fill.topics) & rules.keys())
        connection.execute(update(schema.fills).where(f.number == fill.number).values(state=REPLACED))
        connection.execute(delete(schema.filled_buckets).where(schema.filled_buckets.c.fill == fill.number))
    if not wanted:
        return
    newest = connection.execute(select(func.max(f.number))).scalar() or 0
    row = {"number": newest + 1, "settings": number, "topics": json.dumps(sorted(wanted), ensure_ascii=False)}
    connection.execute(insert(schema.fills).values(**row, state=READING, read_until="{}", read=0, found=0))


def _by_name(body: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the part of each topic's rule that decides which stories it has.

    Rules are read as this version of Foreshock reads them, so a field that it has more makes no difference.
    """
    rules = [TopicRule.model_validate(rule) for rule in body.get("topics", ())]
    return {rule.name: rule.model_dump(exclude={"weight", "company", "tags"}) for rule in rules}


def unfinished(connection: Connection) -> list[Fill]:
    """Return the fills under way: one at most."""
    state = schema.fills.c.state
    return _load(connection, state.in_((READING, COUNTING)))


def done(connection: Connection) -> list[Fill]:
    """Return the fills that are done, in order."""
    return _load(connection, schema.fills.c.state == DONE)


def last_done(connection: Connection) -> int:
    """Return the number of the last fill that is done, or 0."""
    return connection.execute(_LAST_DONE).scalar() or 0


_LAST_DONE = select(func.max(schema.fills.c.number)).where(schema.fills.c.state == DONE)
"""Each closing runs this statement. It is built once, because building it takes longer than running it."""


def known_at(connection: Connection, time: int) -> int:
    """Return the number of the last fill whose rows were in force for the bucket that starts at `time`, or 0."""
    f = schema.fills.c
    query = select(func.max(f.number)).where(f.state == DONE, f.in_force_from <= time)
    return connection.execute(query).scalar() or 0


def _load(connection: Connection, where: ColumnElement[bool]) -> list[Fill]:
    f = schema.fills.c
    names = ("number", "settings", "topics", "state", "read_until", "read", "found", "counted_until", "in_force_from")
    rows = connection.execute(select(*(f[name] for name in names)).where(where).order_by(f.number))
    return [
        Fill(**{**row._mapping, "topics": tuple(json.loads(row.topics)), "read_until": json.loads(row.read_until)})
        for row in rows
    ]


def unread(connection: Connection, fill: Fill) -> tuple[str, int] | None:
    """Return the partition of the next story to read again, and the offset from which on; None if all are read."""
    s = schema.stories.c
    for (partition,) in connection.execute(select(schema.partitions.c.partition).order_by("partition")).all():
        since = fill.read_until.get(partition, 0)
        query = select(s.offset).where(s.partition == partition, s.offset >= since, s.settings < fill.settings)
        offset = connection.execute(query.order_by(s.offset).limit(1)).scalar()
        if offset is not None:
            return partition, offset
    return None


def move(connection: Connection, fill: Fill, **values: Any) -> None:
    """Compare and set a fill's row.

    Raises:
        Overtaken: another process took a step of the fill meanwhile, or the settings changed again.
    """
    f = schema.fills.c
    same = and_(
        *(f.number == fill.number, f.state == fill.state, f.read == fill.read),
        f.read_until == json.dumps(fill.read_until, sort_keys=True, ensure_ascii=False),
        f.counted_until.is_not_distinct_from(fill.counted_until),
    )
    if connection.execute(update(schema.fills).where(same).values(**values)).rowcount != 1:
        raise Overtaken("Another process went on with filling topics.")


def moved_on(fill: Fill, partition: str, offset: int) -> str:
    """Return `read_until` with a partition that was read up to `offset`."""
    return json.dumps({**fill.read_until, partition: offset}, sort_keys=True, ensure_ascii=False)


def whole_since(connection: Connection, rules: TimeRules) -> int | None:
    """Return the first bucket of which all stories are stored, or None without any.

    Older ones may have been deleted by their age, and their buckets cannot be counted again.
    """
    oldest = connection.execute(select(func.min(schema.stories.c.counts_at))).scalar()
    first = connection.execute(select(func.min(schema.buckets.c.start))).scalar()
    if oldest is None:
        return None
    start = rules.start_of(oldest)
    start = start if first is None or first >= start else start + rules.bucket
    # A story that others hang on outlives those of its time (store.retention): its bucket is no longer whole.
    b, d = schema.buckets.c, schema.decisions.c
    there = select(func.count()).where(d.bucket == b.start, d.weighs).scalar_subquery()
    # Rows that were put together (store.rolling) are not counted again: they would be cut.
    coarse = connection.execute(select(func.max(schema.series_grain.c.until))).scalar()
    start = start if coarse is None else max(start, coarse)
    lacking = connection.execute(select(func.max(b.start)).where(b.topic == ALL, b.stories > there)).scalar()
    return start if lacking is None else max(start, lacking + rules.bucket)


def put_in_force(
    connection: Connection, fill: Fill, first: int, since: int, body: bytes, learning: Mapping[str, int | None]
) -> None:
    """Let the fill's rows change places with those that were in force, from the bucket at `since` on.

    `first`: rows of older buckets stay (`whole_since`).

    `body`: the detectors' state there. `learning`: until when each of its topics is learning.
    """
    b, r = schema.buckets, schema.filled_buckets
    sums = [column.name for column in b.columns]
    its = r.c.fill == fill.number
    mine = and_(b.c.topic.in_(fill.topics), b.c.start >= first, b.c.start < since)
    old = select(literal(-fill.number), *b.columns).where(mine)
    connection.execute(insert(r).from_select(["fill", *sums], old))
    connection.execute(delete(b).where(mine))
    new = select(*(r.c[name] for name in sums)).where(its, r.c.start >= first, r.c.start < since)
    connection.execute(insert(b).from_select(sums, new))
    connection.execute(delete(r).where(its))
    _put_topics(connection, fill.topics, learning)
    move(connection, fill, state=DONE, in_force_from=since, body=body)


def _put_topics(connection: Connection, topics: Iterable[str], learning: Mapping[str, int | None]) -> None:
    """Write the rows of `topics` anew, from their buckets."""
    b, t = schema.buckets.c, schema.topics
    names = list(topics)
    sums = select(b.topic, func.min(b.start), func.max(b.start), func.sum(b.stories)).where(b.topic.in_(names))
    rows = connection.execute(sums.group_by(b.topic).order_by(b.topic)).all()
    connection.execute(delete(t).where(t.c.topic.in_(names)))
    for topic, first, last, stories in rows:
        values = {"first_story_at": first, "last_story_at": last, "stories": int(stories)}
        connection.execute(insert(t).values(topic=topic, learning_until=learning.get(topic), source=None, **values))


def as_known(names: Iterable[str], known: int) -> Any:
    """Return the query of the rows of `buckets` that were in force after the fill `known` (0: before any).

    `names`: the columns of `buckets` that are wanted.
    """
    b, r = schema.buckets.c, schema.filled_buckets.c
    now = select(*(b[name] for name in names)).where(or_(b.filled.is_(None), b.filled <= known))
    then = select(*(r[name] for name in names)).where(r.fill < -known, or_(r.filled.is_(None), r.filled <= known))
    return now.union_all(then).subquery()


def progress(connection: Connection) -> dict[str, dict[str, Any]]:
    """Return each topic that is being filled: the fill, its step, and which part of the step is done (0 to 1)."""
    return {
        topic: {name: said[name] for name in ("fill", "step", "done")}
        for said in under_way(connection)
        for topic in said["topics"]
    }


def under_way(connection: Connection) -> list[dict[str, Any]]:
    """Return the fills that are not done: `fill`, `topics`, `step` (reading, counting, deciding) and `done`."""
    found: list[dict[str, Any]] = []
    for fill in unfinished(connection):
        total = connection.execute(select(func.count()).select_from(schema.stories)).scalar_one()
        first = connection.execute(select(func.min(schema.decisions.c.bucket))).scalar()
        last = connection.execute(select(schema.feed.c.decided_until)).scalar()
        if fill.state == READING:
            part = fill.read / max(total, 1)
        elif fill.counted_until is None or first is None or last is None:
            part = 0.0
        else:
            part = (fill.counted_until - first) / max(last - first, 1)
        deciding = fill.state == COUNTING and last is not None and fill.counted_until == last
        step = "deciding" if deciding else fill.state
        done = round(min(max(part, 0.0), 1.0), 3)
        found.append({"fill": fill.number, "topics": list(fill.topics), "step": step, "done": done})
    return found


def sentence(said: Mapping[str, Any]) -> str:
    """Return how far a fill of `under_way` is, in plain words."""
    names = ", ".join(said["topics"][:3]) + (f" and {more} more" if (more := len(said["topics"]) - 3) > 0 else "")
    return f"{names}: {WORDS[said['step']].format(round(100 * said['done']))}"


WORDS = {
    "reading": "{} % of the stored stories read again",
    "counting": "{} % of the buckets counted again",
    "deciding": "counted; the detectors are learning what is usual",
}
"""How far a fill is, in words, by its step."""
