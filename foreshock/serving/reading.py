"""Read the store: topics, series, alerts, incidents and stories, with the fields of the commands' `--json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from foreshock.ingest.meant import did_you_mean
from foreshock.monitor.settings import parse_duration
from foreshock.monitor.store.api import Store
from foreshock.monitor.store.times import EPOCH, microseconds
from foreshock.monitor.units import ALL, DAY
from foreshock.serving import cursors
from foreshock.serving.answers import REFUSALS, Page, Problem, json
from foreshock.serving.errors import Refused
from foreshock.serving.store import ServedStore

MOST = 1000
"""The most rows of a page."""
TOPICS = 50
"""The most topics of one request for series."""
LONGEST_STEP = 366 * DAY

# PostgreSQL stores no NUL character, so it has no row with one.
_Text = Annotated[str, Query(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
Limit = Annotated[int, Query(ge=1, le=MOST, description="The most rows of the page.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="The next of the page before.")]
Start = Annotated[datetime | None, Query(description="Start at this time (ISO 8601; UTC if it names no zone).")]
End = Annotated[datetime | None, Query(description="End before this time.")]
Topic = Annotated[_Text | None, Query(description="Only of this topic.")]

ANSWERS: dict[int | str, dict[str, Any]] = {200: {"model": Page}, **REFUSALS}


def router(served: ServedStore) -> APIRouter:
    """Return the routes. They run in threads, because queries block."""
    routes = APIRouter(default_response_class=Response)

    @routes.get("/topics", responses=ANSWERS)
    def topics(limit: Limit = 100, cursor: Cursor = None) -> Response:
        """List your own topics and those with stories by name, with the fields of `foreshock topics list --json`."""
        after = cursors.read(cursor, "topics", str)
        with served.asked() as store:
            rows = sorted(store.topics(), key=lambda row: str(row["topic"]))
        left = [row for row in rows if after is None or row["topic"] > after[0]]
        return _page(left, limit, lambda row: cursors.write("topics", row["topic"]))

    @routes.get("/series", responses={**ANSWERS, 404: {"model": Problem, "description": "There is no such topic."}})
    def series(
        topic: Annotated[list[_Text], Query(min_length=1, max_length=TOPICS, description="Topics; _all: all stories.")],
        every: Annotated[str | None, Query(max_length=20, description="Length of a row: 1h, 1d.")] = None,
        start: Start = None,
        end: End = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Return one row for each bucket of each topic, as `foreshock series --json` does. Rows are final."""
        step = _step(every)
        after = cursors.read(cursor, "series", int, int)
        place, since = (0, _microseconds(start)) if after is None else after
        if not 0 <= place < len(topic):
            raise Refused(422, "cursor: of a request for other topics.")
        with served.asked() as store:
            _check_topics(store, topic)
            begin, until = _microseconds(start), _microseconds(end)
            found = _series(store, topic, step, place, since, begin, until)
            try:
                rows = list(islice(found, limit + 1))
            except ValueError as error:
                raise Refused(422, f"every: {error}.") from None
        return _page(
            [row for _, row in rows], limit, lambda row: cursors.write("series", rows[limit - 1][0], _time(row["end"]))
        )

    @routes.get("/alerts", responses=ANSWERS)
    def alerts(topic: Topic = None, limit: Limit = 100, cursor: Cursor = None) -> Response:
        """List the alerts that fired, in that order, as `foreshock alerts list --json` does."""
        after = cursors.read(cursor, "alerts", int, str)
        with served.asked() as store:
            rows = list(store.alerts(topic=topic, after=after, limit=limit + 1))
        return _page(rows, limit, lambda row: cursors.write("alerts", _time(row["fired_at"]), row["id"]))

    @routes.get("/incidents", responses=ANSWERS)
    def incidents(
        state: Annotated[Literal["open", "ended"] | None, Query(description="Only those in this state.")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """List incidents in the order in which they fired, as `foreshock incidents list --json` does."""
        after = cursors.read(cursor, "incidents", int, str)
        with served.asked() as store:
            rows = list(store.incidents(state=state, after=after, limit=limit + 1))
        return _page(rows, limit, lambda row: cursors.write("incidents", _time(row["fired_at"]), row["id"]))

    @routes.get("/stories", responses=ANSWERS)
    def stories(
        topic: Topic = None,
        source: Annotated[_Text | None, Query(description="Only of this source.")] = None,
        start: Start = None,
        end: End = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """List the stored stories, newest first, as `foreshock stories --json` does."""
        after = cursors.read(cursor, "stories", int, str, int)
        with served.asked() as store:
            rows = list(
                store.stories(
                    topic=topic, source=source, start=_utc(start), end=_utc(end), after=after, limit=limit + 1
                )
            )
        return _page(
            rows,
            limit,
            lambda row: cursors.write("stories", _time(row["counts_at"]), row["partition"], row["offset"]),
        )

    return routes


def _page(rows: Sequence[dict[str, Any]], limit: int, cursor: Callable[[dict[str, Any]], str]) -> Response:
    """Return a page of at most `limit` of the rows, with the cursor of its last one if there are more."""
    more = len(rows) > limit
    return json({"items": rows[:limit], "next": cursor(rows[limit - 1]) if more else None})


def _series(
    store: Store,
    topics: Sequence[str],
    step: int | None,
    place: int,
    since: int | None,
    start: int | None,
    end: int | None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of topics from the one at `place` on, each with its topic's place.

    The first of them begins at `since`, the others at `start` (microseconds).
    """
    for i in range(place, len(topics)):
        begin = since if i == place else start
        for row in store.series_rows(topics[i], every=step, start=_moment(begin), end=_moment(end)):
            yield i, row


def _check_topics(store: Store, topics: Iterable[str]) -> None:
    """Raise `Refused` (404) for a topic that is neither in the store nor configured."""
    unseen = store.unseen_topics()
    known = {*store.topic_names(), ALL, *unseen.own, *unseen.built_in}
    for topic in topics:
        if topic not in known:
            meant = did_you_mean(topic, known) or " /topics lists them."
            raise Refused(404, f"There is no topic {topic!r}.{meant}")


def _step(every: str | None) -> int | None:
    if every is None:
        return None
    try:
        step = parse_duration(every)
    except ValueError as error:
        raise Refused(422, f"every: {error}.") from None
    if not 0 < step <= LONGEST_STEP:
        raise Refused(422, "every: more than nothing, and at most 366d.")
    return step


def _utc(moment: datetime | None) -> datetime | None:
    """Return a time as an aware one; one without a zone is in UTC."""
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _microseconds(moment: datetime | None) -> int | None:
    aware = _utc(moment)
    return None if aware is None else microseconds(aware)


def _moment(time: int | None) -> datetime | None:
    if time is None:
        return None
    try:
        return EPOCH + timedelta(microseconds=time)
    except OverflowError:  # a cursor that somebody changed
        raise Refused(422, "cursor: not a cursor of /series; give next of the page before, unchanged.") from None


def _time(iso: str) -> int:
    return microseconds(datetime.fromisoformat(iso))
