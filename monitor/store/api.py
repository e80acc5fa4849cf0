"""Read a store: `Store` answers the command line, Python users and pandas."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, and_, func, select, tuple_

from foreshock.monitor import silent_sources
from foreshock.monitor.budget import critical_sentence, sentence
from foreshock.monitor.days import Days
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.settings import parse_duration
from foreshock.monitor.store import (
    configured,
    copies,
    deliveries,
    false_alarms,
    feedback,
    fills,
    incident_views,
    liveness,
    progress,
    receivers,
    rss_feeds,
    schema,
    scorer_watch,
    series,
    settings_versions,
    switches,
)
from foreshock.monitor.store.alerts import alert_json
from foreshock.monitor.store.counts import decided_until, gaps, members
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.store.evidence import scores_json
from foreshock.monitor.store.story_topics import moods_of, topics_of
from foreshock.monitor.store.times import iso, iso_or_none, microseconds
from foreshock.monitor.units import DAY, NEW

if TYPE_CHECKING:
    import pandas as pd


POLARITY_WINDOW = DAY
"""`topics list` shows the mean polarity over this time, up to the last decided bucket."""


class Store:
    """A store that is open for reading. Rows are dicts with ISO times, series are pandas frames.

    `open_store` returns one.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def close(self) -> None:
        self.engine.dispose()

    def series(
        self,
        topics: str | Sequence[str],
        *,
        every: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        as_of: datetime | None = None,
        days: Days | None = None,
    ) -> pd.DataFrame:
        """Return the series of one or more topics, indexed by `known_at` (aware UTC).

        Each bucket with stories has one row. The columns and parameters are those of `series_rows`.
        """
        import pandas as pd

        rows = list(self.series_rows(topics, every=every, start=start, end=end, as_of=as_of, days=days))
        frame = pd.DataFrame(rows, columns=[*series.COLUMNS, *(() if days is None else ("day",))])
        for column in ("start", "end", "known_at"):
            frame[column] = pd.to_datetime(frame[column], utc=True, format="ISO8601")
        for column in ("polarity", "baseline"):
            frame[column] = frame[column].astype("float64")
        return frame.set_index("known_at")

    def series_rows(
        self,
        topics: str | Sequence[str],
        *,
        every: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        as_of: datetime | None = None,
        days: Days | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield one row for each bucket, as it was known then. Topics come in the given order, rows by time.

        * `known_at`: the earliest moment at which anyone could have known the row.
        * `negative`, `neutral`, `positive`: sums of probabilities over `events`.
        * `polarity`: the mean of positive - negative. None if the bucket holds only copies.
        * `baseline`: the polarity expected then. None while learning. With `every`, that of the step's last bucket.
        * `alerting`: an alert of the topic was firing at `end`.
        * `filled`: the topic was added or changed later, and this row was made from stored stories (`store.fills`).
          Nobody knew it at `known_at`.
        * `model`: the model that scored its last bucket's stories, where the feed did not. It differs from that of the
          row before where the store's model was switched (`store.switches`).
        * `day`: with `days`, the day or session for which it counts.

        All rows are complete and final. A step is left out until its end is decided. A step that `start` or `end` would
        cut is included whole.

        `every`: a coarser step in microseconds, a multiple of the bucket; or `days`. `start`, `end`, `as_of`: aware
        datetimes. `as_of`: only what was known then; rows that were filled later are as they were, or absent.

        Raises:
            ValueError: the step is not a multiple of the bucket, or a day would cut one.
        """
        wanted = [topics] if isinstance(topics, str) else list(topics)
        with reading(self.engine) as connection:
            yield from series.rows(connection, wanted, _wanted(every, start, end, as_of, days))

    def panel(
        self,
        topics: str | Sequence[str],
        *,
        every: str | int = "1d",
        fields: Sequence[str] = ("polarity", "events"),
        start: datetime | None = None,
        end: datetime | None = None,
        as_of: datetime | None = None,
        tz: str | None = None,
        day_ends: str | None = None,
        exchange: str | None = None,
    ) -> pd.DataFrame:
        """Return one wide frame: a row for each step, a column (field, topic) for each series.

        It has a row for each step from the first stored bucket on, also without stories (`panel.panel`). The index is
        `known_at`; of days of a zone or an exchange, (`day`, `known_at`).

        `every`: `1d`, `1h`, or microseconds. `tz`, `day_ends`, `exchange`: how days end (`days.Days`), with `1d` alone.

            open_store(url).panel(["oil", "banks"], exchange="XNYS", fields=["polarity"])

        Raises:
            ValueError: a field, step, zone, time or exchange that does not exist, or days with another `every`.
        """
        from foreshock.monitor.store.panel import panel

        wanted = [topics] if isinstance(topics, str) else list(topics)
        step = parse_duration(every) if isinstance(every, str) else every
        with reading(self.engine) as connection:
            days = days_of(connection, step, tz, day_ends, exchange)
            return panel(connection, wanted, fields, _wanted(None if days else step, start, end, as_of, days))

    def alerts(
        self,
        *,
        pending: bool = False,
        as_of: datetime | None = None,
        topic: str | None = None,
        after: tuple[int, str] | None = None,
        limit: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the alerts that fired, ordered by (`fired_at`, `id`).

        With `pending`, also yield those that are pending or ended before they fired. `as_of`: only those that had fired
        then, as they were published: one that ended later is still firing. `after`: only those after this (`fired_at`
        in microseconds, `id`).
        """
        a, o = schema.alerts.c, schema.outbox.c
        at = func.coalesce(a.fired_at, a.pending_at) if pending else a.fired_at
        query = select(schema.alerts).order_by(at, a.id).limit(limit)
        if not pending:
            query = query.where(a.fired_at.is_not(None))
        if topic is not None:
            query = query.where(a.topic.in_((topic, NEW + topic)))
        if after is not None:
            query = query.where(tuple_(at, a.id) > after)
        with reading(self.engine) as connection:
            known = None
            if as_of is not None:
                known = microseconds(as_of) - settings_versions.time_settings(connection).lateness
                query = query.where(a.fired_at <= known)
            for row in connection.execute(query):
                if known is None or (row.resolved_at is not None and row.resolved_at <= known):
                    yield alert_json(row._asdict())
                    continue
                firing = select(o.alert).where(o.alert_id == row.id, o.event == "firing")
                said = connection.execute(firing).scalar()
                sent: dict[str, Any] = {} if said is None else json.loads(said)
                still = {"state": "firing", "resolved_at": None}
                yield {**alert_json(row._asdict()), **sent, **still}

    def incidents(
        self, *, state: str | None = None, after: tuple[int, str] | None = None, limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the incidents, ordered by (`fired_at`, `id`): all, or those that are `open` or `ended`.

        `after`: only those after this (`fired_at` in microseconds, `id`).
        """
        with reading(self.engine) as connection:
            yield from incident_views.incidents(connection, state=state, after=after, limit=limit)

    def topic_names(self) -> list[str]:
        """Return the topics that have a series, in bytewise order."""
        with reading(self.engine) as connection:
            return sorted(connection.execute(select(schema.topics.c.topic)).scalars())

    def topics(self) -> Iterator[dict[str, Any]]:
        """Yield each topic that has a series, in bytewise order, with its state after the last decided bucket.

        Then yield the desk's own topics that have none yet (`configured`). Built-in ones are left out until they do.
        `filling` says how far the past of a topic is that was added or changed (`fills.progress`), or is None.
        """
        a, b = schema.alerts.c, schema.buckets.c
        with reading(self.engine) as connection:
            now, filling = decided_until(connection), fills.progress(connection)
            opened: dict[str, set[str]] = {}
            for row in connection.execute(select(a.topic, a.kind, a.state).where(a.resolved_at.is_(None))):
                opened.setdefault(row.topic, set()).add(KINDS[row.kind].state if row.state == "firing" else row.state)
            events, sums = func.sum(b.events), func.sum(b.positive - b.negative)
            recent = select(b.topic, events, sums).where(b.start >= (now or 0) - POLARITY_WINDOW).group_by(b.topic)
            polarity = {
                topic: int(total) / int(count) / 10_000 for topic, count, total in connection.execute(recent) if count
            }
            for row in connection.execute(select(schema.topics).order_by(schema.topics.c.topic)):
                states = opened.get(row.topic, set())
                learning = row.learning_until is not None
                state = next(
                    (s for s in ("firing", "silent", "pending") if s in states), "learning" if learning else "ok"
                )
                # The estimate dates from the topic's last bucket. If it has passed, too few events came since.
                known = state == "learning" and now is not None and row.learning_until > now
                yield {
                    "topic": row.topic,
                    "state": state,
                    "until": iso(row.learning_until) if known else None,
                    "stories": row.stories,
                    "last_story_at": iso(row.last_story_at),
                    "polarity": polarity.get(row.topic),
                    "filling": filling.get(row.topic),
                }
            nothing = {"until": None, "stories": 0, "last_story_at": None, "polarity": None}
            for topic, state in configured.unseen(connection).own.items():
                yield {"topic": topic, "state": state, **nothing, "filling": filling.get(topic)}

    def unseen_topics(self) -> configured.Unseen:
        """Return the configured topics that have no series yet."""
        with reading(self.engine) as connection:
            return configured.unseen(connection)

    def stories(
        self,
        *,
        topic: str | None = None,
        source: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        after: tuple[int, str, int] | None = None,
        limit: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield stories with their text and scores, newest first by when they count.

        `after`: only those that come after this (`counts_at` in microseconds, `partition`, `offset`). `topic_scores`
        has the scores towards companies, where they differ from those of the text in `scores`. `ending` says how each
        was counted. It is None until its bucket is decided.
        """
        with reading(self.engine) as connection:
            rows = self._story_rows(
                connection, topic=topic, source=source, start=start, end=end, after=after, limit=limit
            )
            yield from _stories(connection, rows)

    def stories_once(
        self,
        *,
        topic: str | None = None,
        source: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int,
    ) -> list[tuple[dict[str, Any], int]]:
        """Return the newest stories as `stories` does, each once, with the number of its copies in the store.

        Copies are near-copies and duplicates. The newest record that matches stands for all of them.
        """
        newest: dict[copies.Position, Any] = {}
        after, page = None, max(limit, 1_000)  # one story repeated very often must not take very many queries
        with reading(self.engine) as connection:
            while len(newest) < limit:
                rows = self._story_rows(
                    connection, topic=topic, source=source, start=start, end=end, after=after, limit=page
                )
                for row in rows:
                    newest.setdefault((row.first_partition, row.first_offset), row)
                if len(rows) < page:
                    break
                after = rows[-1].counts_at, rows[-1].partition, rows[-1].offset
            firsts = list(newest)[:limit]
            counted = copies.counted(connection, firsts)
            stories = _stories(connection, [newest[first] for first in firsts])
            return [(story, counted[first]) for first, story in zip(firsts, stories, strict=True)]

    @staticmethod
    def _story_rows(
        connection: Connection,
        *,
        topic: str | None,
        source: str | None,
        start: datetime | None,
        end: datetime | None,
        after: tuple[int, str, int] | None,
        limit: int | None,
    ) -> Sequence[Any]:
        s, d, t = schema.stories.c, schema.decisions.c, schema.story_topics.c
        query = copies.with_firsts(schema.stories, d.ending, d.event_partition)
        if topic is not None:
            query = query.join(schema.story_topics, and_(t.partition == s.partition, t.offset == s.offset)).where(
                t.topic == topic
            )
        if source is not None:
            query = query.where(s.source == source)
        if start is not None:
            query = query.where(s.counts_at >= microseconds(start))
        if end is not None:
            query = query.where(s.counts_at < microseconds(end))
        if after is not None:
            query = query.where(tuple_(s.counts_at, s.partition, s.offset) < after)
        query = query.order_by(s.counts_at.desc(), s.partition.desc(), s.offset.desc()).limit(limit)
        return connection.execute(query).all()

    def dead_letters(self, *, reason: str | None = None, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield dead letters by position. `replayed_as` names the source that replayed one."""
        x = schema.dead_letters.c
        query = select(schema.dead_letters).order_by(x.partition, x.offset).limit(limit)
        if reason is not None:
            query = query.where(x.reason == reason)
        with reading(self.engine) as connection:
            for row in connection.execute(query):
                yield {
                    "partition": row.partition,
                    "offset": row.offset,
                    "reason": row.reason,
                    "detail": row.detail,
                    "size": row.size,
                    "replayable": len(row.raw) == row.size,
                    "replayed_as": row.replayed_as,
                    "raw": bytes(row.raw[:1000]).decode("utf-8", "replace"),
                }

    def texts(self) -> Iterator[dict[str, Any]]:
        """Yield what topic rules read from each stored story, newest first, with its source, url and date.

        `first`: the position of the story that it repeats, or its own (`copies`).
        """
        s = schema.stories.c
        own = (s.id, s.title, s.body, s.tickers, s.language, s.url, s.source, s.published_at)
        query = copies.with_firsts(*own).order_by(s.counts_at.desc())
        with reading(self.engine) as connection:
            for row in connection.execute(query.execution_options(yield_per=1000)):
                said = {column.name: value for column, value in zip(own, row, strict=False)}
                dated = {"tickers": json.loads(row.tickers), "published_at": iso(row.published_at)}
                yield {**said, **dated, "first": (row.first_partition, row.first_offset)}

    def copies_of(self, firsts: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return how many stored stories repeat each of these, which are positions of first stories."""
        with reading(self.engine) as connection:
            return copies.counted(connection, firsts)

    def sources(self) -> Iterator[dict[str, Any]]:
        """Yield the sources that were read, by name.

        `state` is `open`, `idle` or `closed`. `time` is the source's event time. `error` says why its last poll
        failed.
        """
        with reading(self.engine) as connection:
            failing = rss_feeds.failing(connection)
            for p in progress.load(connection).values():
                state = "closed" if not p.progress.member else "idle" if p.progress.idle else "open"
                yield {
                    "source": p.name,
                    "kind": p.kind,
                    "state": state,
                    "next_offset": p.next_offset,
                    "time": iso_or_none(p.progress.watermark),
                    "error": failing.get(p.name),
                }

    def overview(self, receiver_names: Sequence[str] = ()) -> dict[str, Any]:
        """Return what `doctor` reports about a store. `receiver_names`: those of the settings."""
        with reading(self.engine) as connection:
            return {
                "decided_until": iso_or_none(decided_until(connection)),
                "model": connection.execute(select(schema.feed.c.model)).scalar(),
                "stories": connection.execute(select(func.count()).select_from(schema.stories)).scalar_one(),
                "dead_letters": connection.execute(select(func.count()).select_from(schema.dead_letters)).scalar_one(),
                "topics": connection.execute(select(func.count()).select_from(schema.topics)).scalar_one(),
                "unfinished_sources": members(connection),
                "failing_feeds": rss_feeds.failing(connection),
                "failed_polls": rss_feeds.failed(connection),
                **_silent_sources(connection, time.time_ns() // 1_000),
                "gaps": gaps(connection),
                "scorer": [noted.to_json() for noted in scorer_watch.changes(connection)],
                "fills": fills.under_way(connection),
                "model_switches": switches.under_way(connection),
                "delivery": {
                    **deliveries.summary(connection),
                    "receivers": receivers.summary(connection, time.time_ns() // 1_000, receiver_names),
                },
                "false_alarms": _false_alarms(connection),
                "feedback": feedback.precision(connection).to_json(),
            }


def _silent_sources(connection: Connection, now: int) -> dict[str, Any]:
    """Return which processes are missing, because of what deciding stands still (None: nothing), and sources aside."""
    answers = liveness.answers(connection)
    partitions = answers.partitions
    found = silent_sources.standstill(
        partitions, decided_until(connection), now, settings_versions.time_rules(connection)
    )
    return {
        "processes": [f"{trouble.said}. {trouble.remedy}." for trouble in liveness.processes(answers, now)],
        "standstill": None if found is None else str(found),
        "set_aside": {p.name: iso_or_none(p.aside_since) for p in silent_sources.sources_aside(partitions)},
    }


def _false_alarms(connection: Connection) -> dict[str, Any]:
    standing = false_alarms.standing(connection)
    until = iso_or_none(standing.learning_until)
    said = {"sentence": sentence(standing, until), "critical_sentence": critical_sentence(standing)}
    return {**standing._asdict(), "learning_until": until, **said}


def open_store(url: str, *, create: bool = False) -> Store:
    """Open a store by its URL: `sqlite:///foreshock.db` or `postgresql://...`.

    Raises:
        StoreError: the store is missing (without `create`), cannot be reached, or has another version's schema.
    """
    return Store(connect(url, create=create))


def days_of(
    connection: Connection, every: int | None, tz: str | None, day_ends: str | None, exchange: str | None
) -> Days | None:
    """Return how days end, where any of the three is given. Raises ValueError for a step that is not a day."""
    if tz is None and day_ends is None and exchange is None:
        return None
    if every not in (None, DAY):
        raise ValueError("time zones, day ends and exchanges are for days: leave the step out, or make it 1d")
    return Days(tz, day_ends, exchange, lead=settings_versions.time_settings(connection).lateness)


def _wanted(
    every: int | None, start: datetime | None, end: datetime | None, as_of: datetime | None, days: Days | None
) -> series.Wanted:
    first, last, moment = (None if at is None else microseconds(at) for at in (start, end, as_of))
    return series.Wanted(every, first, last, days, moment)


def _stories(connection: Connection, rows: Sequence[Any]) -> Iterator[dict[str, Any]]:
    positions = [(row.partition, row.offset) for row in rows]
    borne, towards = topics_of(connection, positions), moods_of(connection, positions)
    for row, position in zip(rows, positions, strict=True):
        yield _story(row, borne.get(position, []), towards.get(position, {}))


def _story(row: Any, topics: list[str], towards: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "published_at": iso(row.published_at),
        "counts_at": iso(row.counts_at),
        "source": row.source,
        "title": row.title,
        "body": row.body,
        "url": row.url,
        "topics": topics,
        "tickers": json.loads(row.tickers),
        "language": row.language,
        "status": row.status,
        "scores": scores_json(row),
        "topic_scores": towards,
        "late": row.late,
        "stale": row.stale,
        "date_only": row.date_only,
        "ending": row.ending,
        "copy": row.event_partition is not None and row.ending == "scored",
        "partition": row.partition,
        "offset": row.offset,
    }
