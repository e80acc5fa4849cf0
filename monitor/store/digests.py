"""Keep digests: what a receiver gets when its mute time ends, and what is sent at a stated time.

A digest is kept as it is sent. So an attempt that is repeated sends the same, and two senders make one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from sqlalchemy import Connection, delete, func, insert, select

from foreshock.monitor.kinds import count
from foreshock.monitor.severity import LEVELS, WARNING
from foreshock.monitor.store import hearing, schema
from foreshock.monitor.store.outbox_events import DIGEST, is_end, is_firing
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import MINUTE

NAMESPACE = UUID("f7a5a0a2-51f3-5f0c-9c1e-2b8f4f7d3e60")
"""The UUID namespace of digests' ids. It must never change."""

MUTED, SCHEDULED = "muted", "scheduled"
"""Why a digest is sent."""
BEGUN = "begun"
"""The reason of the row that says from when on a scheduled digest is sent. It is none itself."""
AHEAD = 15 * MINUTE
"""How far the clocks of two senders may be apart (microseconds)."""

_LEFT_OUT = {"alerts", "stories", "evidence", "alert_count", "incident", "changes", "origin"}
_g = schema.digests.c


def catch_up(connection: Connection, receiver: str, rows: Sequence[Any], now: int) -> str:
    """Write the digest of what was muted for a receiver, with its delivery, and return its id.

    `rows`: the muted deliveries, one for each incident, with `shown_as` and `decided_at`.
    """
    entries = [_entry(hearing.text(connection, row), row) for row in rows]
    begins = min(row.decided_at for row in rows)
    identity = str(uuid5(NAMESPACE, "\n".join((MUTED, receiver, str(now), rows[0].alert_id, rows[0].event))))
    body = {
        "id": identity,
        "reason": MUTED,
        "name": receiver,
        "start": iso(begins),
        "end": iso(now),
        "sentence": f"While messages were kept back: {counted(entries)}.",
        "incidents": sorted(entries, key=_order),
        "incident_count": len(entries),
    }
    write(connection, identity, MUTED, receiver, (begins, now), now, body)
    _send(connection, identity, [receiver], now)
    return identity


def write(
    connection: Connection,
    identity: str,
    reason: str,
    name: str,
    covers: tuple[int, int],
    due_at: int,
    body: dict[str, Any] | None,
) -> None:
    """Write a digest. `covers`: from when to when. `due_at`: when it is to be sent (microseconds by the clock)."""
    kept = None if body is None else json.dumps(body, ensure_ascii=False)
    connection.execute(
        insert(schema.digests).values(
            id=identity, reason=reason, name=name, begins_at=covers[0], ends_at=covers[1], due_at=due_at, body=kept
        )
    )


class Last(NamedTuple):
    """The newest stated time of a digest, and how far its digests reach (event time), in microseconds."""

    due_at: int
    ends_at: int


def last(connection: Connection, name: str, now: int) -> Last | None:
    """Return what is known of a scheduled digest, or None if it is new.

    A time more than `AHEAD` after `now` (by the clock) does not count: the clock was ahead when it was written. But
    what was in that digest counts, so that it is in no second one. Nothing was, if it begins after `now`, too.
    """
    known = (_g.name == name, _g.due_at <= now + AHEAD)
    due = select(func.max(_g.due_at)).where(*known, _g.reason.in_((SCHEDULED, BEGUN)))
    begun = select(func.max(_g.ends_at)).where(*known, _g.reason == BEGUN)
    sent = select(func.max(_g.ends_at)).where(_g.name == name, _g.reason == SCHEDULED, _g.begins_at <= now + AHEAD)
    found = connection.execute(select(*(query.scalar_subquery() for query in (due, begun, sent)))).one()
    return None if found[0] is None else Last(found[0], max(found[1] or 0, found[2] or 0))


def schedule(
    connection: Connection,
    name: str,
    due_at: int,
    covers: tuple[int, int],
    body: dict[str, Any],
    to: Sequence[str],
    now: int,
) -> None:
    """Write the digest of a stated time, with its deliveries. A second one for this time violates the primary key.

    `now`: by the clock. From then on a receiver has time to take it, however long after `due_at` it was made.
    """
    identity = scheduled_id(name, due_at)
    write(connection, identity, SCHEDULED, name, covers, due_at, {"id": identity, **body})
    _send(connection, identity, to, now)


def _send(connection: Connection, identity: str, to: Sequence[str], now: int) -> None:
    fresh = {"state": "waiting", "attempts": 0, "next_attempt_at": now}
    rows = [{"alert_id": identity, "event": DIGEST, "receiver": receiver, **fresh} for receiver in to]
    connection.execute(insert(schema.deliveries), rows)


def begin(connection: Connection, name: str, due_at: int) -> None:
    """Note that a digest is new: it is first sent at the next stated time after `due_at`.

    If that was noted before, it was by a clock that was ahead (`last`), and the digest of that time would not be sent.
    """
    connection.execute(delete(schema.digests).where(_g.name == name, _g.reason == BEGUN))
    write(connection, scheduled_id(name, due_at), BEGUN, name, (due_at, due_at), due_at, None)


def scheduled_id(name: str, due_at: int) -> str:
    """Return the id of the digest of a stated time: one for each, whoever writes it."""
    return str(uuid5(NAMESPACE, "\n".join((SCHEDULED, name, str(due_at)))))


def entry(about: dict[str, Any], event: str) -> dict[str, Any]:
    """Return what a digest says of an incident or alert. `event`: `firing`, `updated` or `resolved`."""
    return {"event": event, **{key: value for key, value in about.items() if key not in _LEFT_OUT}}


def counted(entries: Sequence[dict[str, Any]]) -> str:
    """Return how many incidents fired, changed and ended, in words."""
    of = {event: sum(one["event"] == event for one in entries) for event in ("firing", "updated", "resolved")}
    words = (("firing", "fired"), ("updated", "changed"), ("resolved", "ended"))
    said = [(of[event], word) for event, word in words if of[event]]
    return ", ".join(f"{count(n, 'incident') if place == 0 else n} {word}" for place, (n, word) in enumerate(said))


def _entry(alert: dict[str, Any], row: Any) -> dict[str, Any]:
    if is_end(row.event):
        event = "resolved"
    else:
        event = "firing" if is_firing(row.event) or row.shown_as is not None else "updated"
    if "incident" in alert:
        return entry(alert["incident"], event)
    # An alert from before incidents.
    named = {"title": alert["sentence"], "topics": [alert["topic"]], "kinds": [alert["kind"]]}
    over = {"state": "ended" if is_end(row.event) else "open", "ended_at": alert["resolved_at"]}
    return entry(alert | named | over | {"severity": alert["severity"] or "warning"}, event)


def _order(one: dict[str, Any]) -> tuple[Any, ...]:
    """Order incidents: open ones first, the gravest first, the oldest first."""
    level = LEVELS.index(one.get("severity") or WARNING)
    return one["event"] == "resolved", -level, one["fired_at"], one["id"]
