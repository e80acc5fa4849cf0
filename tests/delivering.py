"""Incidents in a store and receivers that keep what they get, for the tests of routes, mute times and digests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from foreshock.monitor.delivery.notice import SAMPLE_ALERT, SAMPLE_INCIDENT, Notice, Receipt
from foreshock.monitor.delivery.route_settings import QuietHoursSettings, RouteSettings
from foreshock.monitor.delivery.routes import Routing
from foreshock.monitor.delivery.sender import LIVE, deliver_to, dispatch
from foreshock.monitor.delivery.time_intervals import TimeIntervalSettings
from foreshock.monitor.errors import Undelivered
from foreshock.monitor.store import schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.times import iso
from foreshock.monitor.store.topic_labels import Labels
from foreshock.monitor.units import HOUR, SECOND

NOON = 1_772_449_200 * SECOND
"""12:00 in Berlin (11:00 UTC) on 2 March 2026, a Monday."""

NIGHT = {"name": "night", "times": ["22:00-07:00"], "location": "Europe/Berlin"}
EVENING = {"name": "evening", "times": ["18:00-22:00"], "location": "Europe/Berlin"}


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def forward(self, hours: float) -> None:
        self.now += round(hours * HOUR)


class Inbox:
    """A receiver that keeps what it gets, and refuses while `fails` is set, or one message if `refuses_next` is."""

    def __init__(self, name: str, *, version: int = 2, takes_digests: bool | None = None) -> None:
        self.name = name
        self.version = version
        self.takes_digests = version == 2 if takes_digests is None else takes_digests
        self.fails: Undelivered | None = None
        self.refuses_next = False
        self.notices: list[Notice] = []

    def send(self, notice: Notice) -> Receipt:
        if self.fails is not None:
            raise self.fails
        if self.refuses_next:
            self.refuses_next = False
            raise Undelivered("answered 422", status=422)
        self.notices.append(notice)
        return Receipt(200, 0.001)

    def heard(self) -> list[tuple[str, ...]]:
        """What it got, in order: (event, incident), or ("digest", "event incident", ...)."""
        return [heard_of(notice) for notice in self.notices]


def heard_of(notice: Notice) -> tuple[str, ...]:
    """Return what a notice says of which incidents; an incident is known by its first alert."""
    if notice.event != "digest":
        return notice.event, str(notice.alert["id"])[:2]
    return "digest", *(f"{one['event']} {one['title'][:2]}" for one in notice.alert["digest"].get("incidents", ()))


def routing(
    receivers: Sequence[Any],
    *routes: dict[str, Any],
    quiet: Sequence[dict[str, Any]] = (),
    intervals: Sequence[dict[str, Any]] = (NIGHT, EVENING),
) -> Routing:
    """Return a routing to receivers, as settings would describe it."""
    return Routing.of(
        [RouteSettings.model_validate(route) for route in routes],
        [QuietHoursSettings.model_validate(one) for one in quiet],
        [TimeIntervalSettings.model_validate(one).interval() for one in intervals],
        [receiver.name for receiver in receivers],
        dict[str, Labels](),
    )


def new_store(folder: Path) -> Iterator[Engine]:
    """Create a store in a folder, and close it afterwards: what a fixture yields."""
    engine = connect(f"sqlite:///{folder}/s.db", create=True)
    yield engine
    engine.dispose()


def empty(engine: Engine) -> None:
    """Delete the rows that deliveries and digests are about, so that tests can share a store."""
    with writing(engine) as connection:
        for table in (
            "deliveries",
            "outbox",
            "digests",
            "escalations",
            "desk_actions",
            "receivers",
            "alerts",
            "incidents",
            "topics",
            "buckets",
        ):
            connection.execute(delete(schema.metadata.tables[table]))


def put(
    engine: Engine,
    name: str,
    event: str,
    at: int,
    *,
    topic: str = "Banks",
    kind: str = "drift",
    severity: str = "warning",
    state: str = "queued",
) -> str:
    """Put a message about the incident `name` (two letters) into the outbox, and return the id of its first alert.

    `event`: `firing`, `updated-000001` and so on, or `resolved`.
    """
    alert = f"{name}000000-0000-0000-0000-000000000000"
    incident = f"{name}000000-0000-5000-8000-000000000000"
    over = event == "resolved"
    row: dict[str, Any] = {
        **SAMPLE_ALERT,
        **{"id": alert, "topic": topic, "kind": kind, "severity": severity, "group_id": incident},
        **{"state": "resolved" if over else "firing", "sentence": f"{name} {event}"},
    }
    about = {
        **SAMPLE_INCIDENT,
        **{"id": incident, "title": f"{name} {event}", "severity": severity, "state": "ended" if over else "open"},
        **{"fired_at": iso(NOON), "ended_at": iso(at) if over else None, "topics": [topic], "kinds": [kind]},
        "alerts": [{key: value for key, value in row.items() if key not in ("evidence", "origin")}],
    }
    with writing(engine) as connection:
        known = connection.execute(select(schema.alerts.c.id).where(schema.alerts.c.id == alert)).first()
        if known is None:
            connection.execute(
                insert(schema.alerts).values(
                    id=alert, topic=topic, kind=kind, direction="worse", state="firing", origin="live",
                    group_id=incident, started_at=at, pending_at=at, fired_at=at, observed=0.5, baseline=0.1, score=4.0,
                    window_start=at, window_end=at, evidence="[]", sources=1, events=1, sentence="It fell.", settings=1,
                )
            )  # fmt: skip
            connection.execute(
                insert(schema.incidents).values(
                    id=incident, first_alert=alert, state="open", direction="worse", origin="live", started_at=at,
                    fired_at=at, updated_at=at, notified_at=at, severity=severity, lead=alert, title=name, events=1,
                    sources=1, peak_events=1, messages=0, held="[]", settings=1,
                )
            )  # fmt: skip
        body = json.dumps({**{key: v for key, v in row.items() if key != "origin"}, "incident": about, "changes": []})
        values = {"alert_id": alert, "event": f"incident.{event}", "decided_at": at, "state": state, "alert": body}
        connection.execute(insert(schema.outbox).values(**values))
    return alert


def put_alert(
    engine: Engine, name: str, event: str, at: int, *, topic: str = "Banks", severity: str = "warning"
) -> None:
    """Put a message about an alert alone into the outbox, as receivers of version 1 get it."""
    alert = f"{name}000000-0000-0000-0000-000000000000"
    body = {**SAMPLE_ALERT, "id": alert, "topic": topic, "kind": "drift", "severity": severity, "state": event}
    del body["origin"]
    with writing(engine) as connection:
        values = {"alert_id": alert, "event": event, "decided_at": at, "state": "queued", "alert": json.dumps(body)}
        connection.execute(insert(schema.outbox).values(**values))


def deliver(engine: Engine, receivers: Sequence[Inbox], clock: Clock, routes: Routing | None = None) -> None:
    """Dispatch what is queued and attempt what is due, until nothing more is: passes of a sender."""
    before = -1
    while before != (before := sum(len(receiver.notices) for receiver in receivers)):
        dispatch(engine, receivers, clock, routing=routes)
        for receiver in receivers:
            deliver_to(engine, receiver, clock, None, LIVE, lambda: False)


def states(engine: Engine, receiver: str) -> dict[str, str]:
    """Return the states of a receiver's deliveries, by event and incident."""
    d = schema.deliveries.c
    with reading(engine) as connection:
        rows = connection.execute(select(d.alert_id, d.event, d.state).where(d.receiver == receiver)).all()
    return {f"{row.event.removeprefix('incident.')} {row.alert_id[:2]}": row.state for row in rows}
