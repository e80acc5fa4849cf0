"""Show that no row of a series looked ahead: decide the stored stories again, and hold back what comes later.

    certificate = certify(engine, ["oil"], weights="default")

The stories go into an empty store in parts. At each cut, everything before it is decided while nothing after it is
there. So a row that equals the stored one cannot depend on anything later than its cut. The cuts are at random buckets,
and where settings changed. The code is that of a live monitor, on a store of its own, which is deleted afterwards.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Integer, and_, func, insert, select, update

from foreshock.model import trained_on
from foreshock.monitor.closing import Closer
from foreshock.monitor.errors import MonitorError
from foreshock.monitor.store import bulk, fills, schema, settings_versions, switches
from foreshock.monitor.store.counts import decided_until
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.times import iso

CUTS = 12
STORIES_AT_A_TIME = 10_000
SUMS = ("stories", "events", "negative", "neutral", "positive", "day_events", "day_negative", "sources")
SHOWN = 20


class CannotCertify(MonitorError):
    """The store does not have what deciding again needs."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Certificate:
    """What deciding again showed, and what to know of the stories."""

    topics: list[str]
    cuts: list[str]
    rows: int
    """Rows that were decided again."""
    differ: list[str]
    """The first of those that are not the stored ones, in sentences."""
    differing: int
    baselines_until: str | None
    """Up to where expected polarities were compared, too; None: everywhere. A filled topic changes those of others, and
    another model those of all."""
    filled: int
    """Rows of these topics that were filled later, and so were known to nobody at their time."""
    stories: int
    date_only: int
    """Stories whose date had no time: they count at their day's end."""
    late: int
    stale: int
    assumed_zones: list[str]
    """Time zones that were assumed for dates without one."""
    trained_on: list[str] | None = field(default=None)
    """Years of the stories in which the model's training texts lie, too. None: the weights do not say."""

    @property
    def holds(self) -> bool:
        """Whether every row is the stored one."""
        return not self.differing

    def to_json(self) -> dict[str, Any]:
        return {"holds": self.holds, **asdict(self)}


def certify(engine: Engine, topics: Sequence[str], *, weights: str, cuts: int = CUTS, seed: int = 1) -> Certificate:
    """Decide the series of `topics` again from cut-off feeds. `weights`: of the settings; `seed`: of the cuts.

    Raises:
        CannotCertify: nothing is decided, or some of the stories are no longer stored.
    """
    with tempfile.TemporaryDirectory(prefix="foreshock-certify-") as folder:
        own = connect(f"sqlite:///{folder}/again.db", create=True)
        try:
            with reading(engine) as connection:
                return _certify(connection, own, list(topics), weights, cuts, seed)
        finally:
            own.dispose()


def _certify(connection: Connection, own: Engine, topics: list[str], weights: str, cuts: int, seed: int) -> Certificate:
    rules, until = settings_versions.time_rules(connection), decided_until(connection)
    first = connection.execute(select(func.min(schema.buckets.c.start))).scalar()
    whole = fills.whole_since(connection, rules)
    if until is None or first is None or whole is None:
        raise CannotCertify("Nothing is decided in this store yet.")
    if whole > first:
        raise CannotCertify(
            f"Not all stories before {iso(whole)} are stored any more, so their rows cannot be decided again."
        )
    rng, buckets = random.Random(seed), (until - first) // rules.bucket
    at = {first + rng.randrange(1, max(buckets, 2)) * rules.bucket for _ in range(cuts)}
    versions = connection.execute(select(schema.settings_versions).order_by(schema.settings_versions.c.number)).all()
    at |= {row.in_force_from for row in versions if row.in_force_from is not None}
    bounds = sorted(cut for cut in at if first < cut < until)
    filled = [fill.in_force_from for fill in fills.done(connection) if fill.in_force_from is not None]
    switched = [change.at for change in switches.changes(connection)]
    changed = min([*filled, *switched], default=None)
    closer: Closer | None = None
    rows, differ, since = 0, list[str](), first
    for cut in [*bounds, until]:
        with writing(own) as writer:
            begun = [row for row in versions if row.in_force_from is None or row.in_force_from <= since]
            number = _adopt(writer, begun)
            for table, some in _stories(connection, since, cut):
                bulk.insert(writer, table, some)
            _let_time_pass(writer, cut)
        closer = closer or Closer(own, rules, settings=number, origin="replay", deliver=False)
        for _ in closer.close():
            pass
        with reading(own) as again:
            count, wrong = _compare(connection, again, topics, since, cut, changed)
        rows, differ, since = rows + count, differ + wrong, cut
    return Certificate(
        topics=topics,
        cuts=[iso(cut) for cut in bounds],
        rows=rows,
        differ=differ[:SHOWN],
        differing=len(differ),
        baselines_until=None if changed is None else iso(changed),
        **_of_stories(connection, topics, weights, versions),
    )


def _adopt(writer: Connection, begun: Sequence[Any]) -> int:
    table = schema.settings_versions
    there = set(writer.execute(select(table.c.number)).scalars())
    for row in begun:
        if row.number not in there:
            writer.execute(insert(table).values(**row._mapping))
    return int(begun[-1].number)


def _stories(connection: Connection, since: int, until: int) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Yield the rows that workers had written of stories that count in [since, until), before any fill."""
    s, t, r = schema.stories, schema.story_topics, schema.removed_topics
    between = and_(s.c.counts_at >= since, s.c.counts_at < until)
    names = [column.name for column in t.columns]
    now = select(t).where(t.c.counts_at >= since, t.c.counts_at < until, t.c.filled.is_(None))
    then = select(*(r.c[name] for name in names)).where(
        r.c.counts_at >= since, r.c.counts_at < until, r.c.filled.is_(None)
    )
    for table, query in ((s, select(s).where(between)), (t, now), (t, then)):
        found = connection.execute(query.execution_options(yield_per=STORIES_AT_A_TIME))
        for some in found.mappings().partitions(STORIES_AT_A_TIME):
            yield table, [dict(row) for row in some]


def _let_time_pass(writer: Connection, until: int) -> None:
    """Let event time be `until`: all before it was read, from one source that has left."""
    p = schema.partitions
    if writer.execute(update(p).values(watermark=until)).rowcount:
        return
    flags = {"member": False, "idle": False, "sorted": False}
    row = {"partition": "stories", "kind": "file", "next_offset": 0, "version": 1, "largest": "[]"}
    writer.execute(insert(p).values(**row, **flags, watermark=until))


def _compare(
    stored: Connection, again: Connection, topics: list[str], since: int, until: int, changed: int | None
) -> tuple[int, list[str]]:
    """Return how many rows of the topics there are in [since, until), and which differ."""
    names = [*SUMS, "baseline"]

    def read(connection: Connection, table: Any) -> dict[tuple[str, int], tuple[Any, ...]]:
        columns = (table.c[name] for name in ("topic", "start", *names))
        query = select(*columns).where(table.c.start >= since, table.c.start < until, table.c.topic.in_(topics))
        return {(row[0], row[1]): tuple(row[2:]) for row in connection.execute(query)}

    known = schema.buckets if changed is None else fills.as_known(["topic", "start", *names], 0)
    was, now = read(stored, known), read(again, schema.buckets)
    wrong = []
    for key in sorted(was.keys() | now.keys()):
        before, after = was.get(key), now.get(key)
        compared = len(SUMS) if changed is not None and key[1] >= changed else len(names)
        if before is None or after is None:
            wrong.append(f"{key[0]} at {iso(key[1])}: {'not stored' if before is None else 'not decided again'}")
        elif before[:compared] != after[:compared]:
            which = [n for n, x, y in zip(names[:compared], before, after, strict=False) if x != y]
            wrong.append(f"{key[0]} at {iso(key[1])}: {', '.join(which)} differ")
    return len(was), wrong


def _of_stories(connection: Connection, topics: list[str], weights: str, versions: Sequence[Any]) -> dict[str, Any]:
    s, b = schema.stories.c, schema.buckets.c
    totals = [func.count(), *(func.sum(s[name].cast(Integer)) for name in ("date_only", "late", "stale"))]
    count, *flags = connection.execute(select(*totals).select_from(schema.stories)).one()
    first, last = connection.execute(select(func.min(s.published_at), func.max(s.published_at))).one()
    filled = select(func.count()).where(b.topic.in_(topics), b.filled.is_not(None))
    zones = [json.loads(row.body).get("time", {}).get("assume_zone") for row in versions]
    shared = trained_on.overlaps(weights, _year(first), _year(last))
    return {
        "stories": count,
        **dict(zip(("date_only", "late", "stale"), (int(flag or 0) for flag in flags), strict=True)),
        "filled": connection.execute(filled).scalar_one(),
        "assumed_zones": sorted({json.dumps(zone) if isinstance(zone, dict) else str(zone) for zone in zones if zone}),
        "trained_on": None if shared is None else [f"{a}" if a == b else f"{a} to {b}" for a, b in shared],
    }


def _year(time: int) -> int:
    return datetime.fromtimestamp(time / 1e6, UTC).year
