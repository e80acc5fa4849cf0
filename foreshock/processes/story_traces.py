"""Trace stories: a span for each step of each story, where the settings ask for it ([traces] url).

Spans are made after a step is committed, so what was rolled back leaves none. Without the setting there is no
`StoryTraces`, and OpenTelemetry is not imported.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from foreshock.monitor.closing import Closed
from foreshock.monitor.errors import StoreUnavailable, Undelivered
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.deliveries import Due
from foreshock.monitor.store.progress import Batch
from foreshock.monitor.store.story import first_records
from foreshock.monitor.store.times import iso
from foreshock.observability.trace_settings import TraceSettings
from foreshock.processes.rows import Taken
from foreshock.processes.story_log import counts_as
from foreshock.settings.load import SettingsError

if TYPE_CHECKING:
    from foreshock.observability.tracing import Spans


class StoryTraces:
    """Makes the spans of stories. Titles and texts are not sent.

    Each `seconds` is how long a step took that has just ended.
    """

    def __init__(self, spans: Spans, engine: Engine) -> None:
        self._spans = spans
        self._engine = engine

    def stored(self, taken: Taken, batch: Batch, seconds: float) -> None:
        """Trace a batch that is committed: `read`, `score` and `store` of each story."""
        begun, ended = _last(seconds)
        stamps = taken.stamps
        topics: dict[tuple[str, int], list[str]] = {}
        for row in batch.story_topics:
            topics.setdefault((row["partition"], row["offset"]), []).append(row["topic"])
        for row in batch.stories:
            if not self._spans.wants(row["id"]):
                continue
            story, place = row["id"], (row["partition"], row["offset"])
            about = {"source": row["source"], "published_at": iso(row["published_at"]), "batch": len(taken)}
            self._spans.root("read", story, place, (stamps.read_from, stamps.read_until), about)
            found = {"model": row["model"], "topics": topics.get(place, [])}
            self._spans.child("score", story, place, (stamps.scored_from, stamps.scored_until), found)
            when = {"counts_at": iso(row["counts_at"]), "late": row["late"], "stale": row["stale"]}
            self._spans.child("store", story, place, (begun, ended), when)

    def decided(self, closed: Closed, seconds: float) -> None:
        """Trace the stories of buckets that are decided."""
        took = _last(seconds)
        for ruling in closed.rulings:
            member = ruling.member
            if self._spans.wants(member.id):
                said = {"bucket": iso(member.bucket), "counts_as": counts_as(ruling), "weighs": ruling.weighs}
                self._spans.child("decide", member.id, (member.partition, member.offset), took, said)

    def delivered(self, item: Due, seconds: float, error: Undelivered | None) -> None:
        """Trace an attempt to deliver, in the trace of each story that the message shows.

        A digest shows incidents and no stories, so it leaves no span.
        """
        took = _last(seconds)
        shown = [story for story in _shown(item.alert) if self._spans.wants(story[0])]
        if not shown:
            return
        places: dict[tuple[str, str], tuple[str, int]] = {}
        with suppress(StoreUnavailable), reading(self._engine) as connection:
            places = first_records(connection, shown)
        said = {"receiver": item.receiver, "alert": item.alert_id, "event": item.event, "attempt": item.attempts + 1}
        for (story, _), place in places.items():
            self._spans.child("deliver", story, place, took, said, None if error is None else str(error))


@contextmanager
def tracing(settings: TraceSettings, process: str, engine: Engine) -> Iterator[StoryTraces | None]:
    """Trace while the context lasts; yields None without `[traces] url`.

    `process`: `run`, `worker` or `monitor`. Raises SettingsError if the extra `otel` is not installed.
    """
    if settings.url is None:
        yield None
        return
    try:
        from foreshock.observability.tracing import Spans, to_collector
    except ModuleNotFoundError as error:
        raise SettingsError(f"[traces] url needs {error.name}: pip install 'foreshock[otel]'") from None
    spans = Spans(to_collector(settings), process=process, share=settings.share)
    try:
        yield StoryTraces(spans, engine)
    finally:
        spans.close()


def _last(seconds: float) -> tuple[int, int]:
    """Return the begin and the end of the last `seconds`, in nanoseconds since 1970."""
    now = time.time_ns()
    return now - round(seconds * 1e9), now


def _shown(alert: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the ids and sources of the stories that a message shows, each once."""
    shown = [*alert.get("evidence", ()), *alert.get("incident", {}).get("stories", ())]
    return list(dict.fromkeys((story["id"], story["source"]) for story in shown))
