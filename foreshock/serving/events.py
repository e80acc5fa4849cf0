"""`GET /events`: server-sent events of incidents.

One task looks at the store for all readers (`Watch.run`). A reader keeps no queue here: it remembers its place, and
reads on from there when something is new. So a slow reader costs no memory, and one that was away resumes with
`Last-Event-ID`. What was sent ahead of its bucket has no place yet, so it carries no id; a reader that reconnects
before its bucket is decided gets it again, with the same `id` in its data.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import anyio
import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from foreshock.monitor.store import incident_events
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.incident_events import IncidentEvent, Place
from foreshock.observability import metrics
from foreshock.serving import cursors
from foreshock.serving.answers import REFUSALS
from foreshock.serving.errors import Refused
from foreshock.serving.store import ServedStore

LOOK_SECONDS = 1.0
"""How often the store is looked at for all readers."""
HEARTBEAT_SECONDS = 15.0
"""After how long without news a reader gets a comment, so that proxies keep the connection, and its end is noticed."""
AT_ONCE = 100
"""Events that are read from the store at once."""
EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["start", "firing", "updated", "resolved"]},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
"""The fields of an event, for /openapi.json."""


class Watch:
    """Look at the store again and again, and wake the readers when something is new."""

    def __init__(self, served: ServedStore, *, most: int) -> None:
        self.readers = 0
        self.most = most
        self._served = served
        self._seen: object = None
        self._news = asyncio.Event()
        self._closing = False

    async def run(self) -> None:
        """Look until cancelled. Without readers it only finds out whether the store answers."""
        while True:
            try:
                seen = await anyio.to_thread.run_sync(self._look)
            except Refused:
                pass  # `ServedStore` has logged it
            else:
                if seen != self._seen:
                    self._seen = seen
                    self._wake()
            await asyncio.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """End all streams after what they are sending."""
        self._closing = True
        self._wake()

    def place(self) -> Place:
        """Return the place after everything that is decided."""
        with self._served.asked() as store, reading(store.engine) as connection:
            return incident_events.now(connection)

    async def stream(self, place: Place) -> AsyncIterator[bytes]:
        """Yield what happens after a place, as bytes of server-sent events."""
        sent_ahead: set[str] = set()
        yield b"retry: 3000\n" + _written("start", {"place": _cursor(place)}, place)
        heard = time.monotonic()
        while not self._closing:
            news = self._news
            try:
                decided, ahead = await anyio.to_thread.run_sync(self._since, place)
            except Refused:  # the store is away: the reader waits for it with us
                decided, ahead = [], []
            for event in decided:
                place = event.place
                if event.body["id"] not in sent_ahead:
                    yield _written(event.kind, event.body, place)
                    heard = time.monotonic()
                sent_ahead.discard(event.body["id"])
            for event in ahead:
                if event.body["id"] not in sent_ahead:
                    sent_ahead.add(event.body["id"])
                    yield _written(event.kind, event.body, None)
                    heard = time.monotonic()
            if decided:
                continue
            if time.monotonic() - heard >= HEARTBEAT_SECONDS:
                yield b": heartbeat\n\n"
                heard = time.monotonic()
            left = HEARTBEAT_SECONDS - (time.monotonic() - heard)
            try:
                await asyncio.wait_for(news.wait(), max(0.01, left))
            except TimeoutError:
                continue

    def _look(self) -> object:
        with self._served.asked() as store, reading(store.engine) as connection:
            until = incident_events.now(connection)
            if not self.readers:
                return until
            return until, [event.place for event in incident_events.ahead(connection)]

    def _since(self, place: Place) -> tuple[list[IncidentEvent], list[IncidentEvent]]:
        with self._served.asked() as store, reading(store.engine) as connection:
            decided = list(incident_events.since(connection, place, AT_ONCE))
            # In order: what was sent ahead comes after all that is decided.
            ahead = [] if len(decided) == AT_ONCE else list(incident_events.ahead(connection))
            return decided, ahead

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def router(watch: Watch) -> APIRouter:
    """Return the route."""
    routes = APIRouter(default_response_class=Response)

    @routes.get(
        "/events",
        responses={200: {"content": {"text/event-stream": {"schema": EVENT}}}, **REFUSALS},
    )
    async def events(
        last_event_id: Annotated[
            str | None, Header(max_length=2000, description="The id of the last event that was read.")
        ] = None,
        after: Annotated[
            str | None, Query(max_length=2000, description="The same, where headers cannot be set.")
        ] = None,
    ) -> Response:
        """Follow incidents (`firing`, `updated`, `resolved`) from now on, or after the last event that was read."""
        found = cursors.read(last_event_id or after, "events", int, str, int, str)
        place = Place(*found) if found is not None else await anyio.to_thread.run_sync(watch.place)
        if watch.readers >= watch.most:  # the last thing before it counts, so that no other comes between
            raise Refused(503, f"{watch.most:,} readers follow the events already.", retry_after=30)
        return _Stream(watch, place)

    return routes


class _Stream(StreamingResponse):
    """The answer to one reader, who counts while it lasts: also one who leaves before its first byte."""

    def __init__(self, watch: Watch, place: Place) -> None:
        super().__init__(watch.stream(place), media_type="text/event-stream")
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._watch.readers += 1
        metrics.event_readers(self._watch.readers)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._watch.readers -= 1
            metrics.event_readers(self._watch.readers)


def _cursor(place: Place) -> str:
    return cursors.write("events", *place)


def _written(kind: str, body: object, place: Place | None) -> bytes:
    """Write an event. JSON on one line holds no line break, so it is one `data` line."""
    identity = b"" if place is None else f"id: {_cursor(place)}\n".encode()
    return b"event: " + kind.encode() + b"\n" + identity + b"data: " + orjson.dumps(body) + b"\n\n"
