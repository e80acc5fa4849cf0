"""Keep back what is muted, and hand it out when the mute time ends: catch-up.

The one idea: of an incident, at most one message to a receiver is muted, the newest. Each message holds the whole
incident, so it replaces the one before. When the mute time ends, everything that is kept for a receiver becomes one
digest; one message alone is sent as it is. A receiver that takes no digests gets each by itself.

Everything happens in the transaction of the caller: a crash leaves what is muted, or what was handed out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, func, or_, select, update

from foreshock.monitor.store import digests, escalations, lookup, schema
from foreshock.monitor.store.hearing import HEARD, Routing, groups, read_groups
from foreshock.monitor.store.outbox_events import DIGEST, OF_INCIDENT, comes_before

MOST = 100
"""The most incidents in one digest."""

_d = schema.deliveries.c
_BECOMES = (
    update(schema.deliveries)
    .where(_d.alert_id == bindparam("of_alert"), _d.event == bindparam("of_event"))
    .where(_d.receiver == bindparam("of_receiver"), _d.state == "muted")
)
"""Gives a muted delivery a new state."""


def over(connection: Connection, routing: Routing, now: int) -> list[str]:
    """Return what mutes any delivery and no longer does, as the store keeps it."""
    kept = select(_d.muted_by).where(_d.state == "muted", _d.muted_by.is_not(None)).distinct()
    return [text for text in connection.execute(kept).scalars() if not routing.muted(read_groups(text), now)]


def release(
    connection: Connection,
    routing: Routing,
    receivers: Sequence[str],
    takes_digests: Collection[str],
    now: int,
) -> int:
    """Hand out what is muted no longer, and return how many messages were kept.

    `takes_digests`: the receivers for which several become one digest.
    """
    o = schema.outbox.c
    query = (
        select(_d.alert_id, _d.event, _d.receiver, _d.shown_as, _d.muted_by, o.decided_at)
        .join_from(schema.deliveries, schema.outbox, and_(o.alert_id == _d.alert_id, o.event == _d.event))
        .where(_d.state == "muted", _d.muted_by.in_(over(connection, routing, now)), _d.receiver.in_(receivers))
        .order_by(_d.receiver, o.decided_at, _d.alert_id, _d.event)
    )
    of: dict[str, list[Any]] = {}
    for row in connection.execute(query).all():
        of.setdefault(row.receiver, []).append(row)
    for receiver, rows in of.items():
        together = _together(connection, receiver, rows) if receiver in takes_digests else []
        for first in range(0, len(together), MOST):
            _digest(connection, receiver, together[first : first + MOST], now)
        carried = {row.alert_id for row in together}
        if alone := [row for row in rows if row.alert_id not in carried]:
            _become(connection, alone, state="waiting", next_attempt_at=now)
        for alert in dict.fromkeys(row.alert_id for row in rows):
            escalations.begin(connection, alert, [receiver], now)
    return sum(map(len, of.values()))


def _together(connection: Connection, receiver: str, rows: Sequence[Any]) -> list[Any]:
    """Return what becomes a digest: all, but for incidents of which an earlier message is still on its way.

    A digest would overtake that one, or wait for it with everything else.
    """
    whole = schema.deliveries.alias().c
    carried = exists().where(
        whole.alert_id == _d.carried_by,
        whole.receiver == _d.receiver,
        func.coalesce(whole.state, "") == "waiting",
    )
    on_its_way = or_(func.coalesce(_d.state, "") == "waiting", carried)
    query = select(_d.alert_id).where(_d.receiver == receiver, on_its_way)
    before = {row.alert_id for row in lookup.by_text(connection, query, _d.alert_id, [row.alert_id for row in rows])}
    found = [row for row in rows if row.alert_id not in before]
    return found if len(found) > 1 else []


def _digest(connection: Connection, receiver: str, rows: Sequence[Any], now: int) -> None:
    identity = digests.catch_up(connection, receiver, rows, now)
    _become(connection, rows, state="digested", next_attempt_at=None, carried_by=identity)


def _become(connection: Connection, rows: Sequence[Any], **values: Any) -> None:
    keys = [{"of_alert": row.alert_id, "of_event": row.event, "of_receiver": row.receiver} for row in rows]
    connection.execute(_BECOMES.values(**values), keys)


def take_back(connection: Connection, identities: Sequence[str], receivers: Collection[str], now: int) -> int:
    """Keep back again what digests held that were parked, so that it is handed out anew, as it stands now.

    What a later message has said since is not kept. Returns how many digests there were.
    """
    count = 0
    later, o, then = schema.deliveries.alias().c, schema.outbox.c, schema.outbox.alias().c
    for identity in identities:
        mine = and_(_d.carried_by == identity, _d.state == "digested", _d.receiver.in_(receivers))
        said = exists().where(
            later.alert_id == _d.alert_id,
            later.receiver == _d.receiver,
            later.event != _d.event,
            func.substr(later.event, 1, len(OF_INCIDENT)) == func.substr(_d.event, 1, len(OF_INCIDENT)),
            later.state.in_((*HEARD, "muted")),
            then.alert_id == later.alert_id,
            then.event == later.event,
            o.alert_id == _d.alert_id,
            o.event == _d.event,
            or_(
                then.decided_at > o.decided_at,
                and_(then.decided_at == o.decided_at, comes_before(_d.event, later.event)),
            ),
        )
        connection.execute(update(schema.deliveries).where(mine, said).values(state="superseded"))
        again = {"state": "muted", "carried_by": None, "muted_by": groups(()), "next_attempt_at": now}
        connection.execute(update(schema.deliveries).where(mine).values(**again))
        gone = and_(_d.alert_id == identity, _d.event == DIGEST, _d.receiver.in_(receivers), _d.state == "parked")
        count += connection.execute(update(schema.deliveries).where(gone).values(state="superseded")).rowcount
    return count
