"""Delete the evidence of old alerts: titles, addresses and scores of stories. The alerts themselves stay for ever.

    eraser = Eraser(engine, keep=366 * DAY)
    eraser.step()   # the alerts whose evidence it deleted

Evidence is text of others, and a desk may have to part with it before it parts with what it decided. The messages of an
incident show stories of all its alerts, so the evidence of an incident goes together, once the incident is over.

Older versions deleted the evidence of alerts alone, and alerts of volume have none. So an eraser looks at each old
alert once, whether it has evidence or not.

Invariant: what is decided and sent does not depend on it. Only alerts are touched that ended long before "decided
until", whose incident ended as long ago, and of which no message waits to be sent.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, func, select, tuple_, union, update

from foreshock.monitor.settings import LEAST_KEPT
from foreshock.monitor.store import lookup, schema
from foreshock.monitor.store.database import reading, writing

ALERTS_A_STEP = 100
"""The most alerts that one step touches."""
NONE = "[]"


class Eraser:
    """Deletes the evidence of old alerts from one store. `keep`: how long it stays after their end (microseconds)."""

    def __init__(self, engine: Engine, *, keep: int) -> None:
        self._engine = engine
        self._keep = max(keep, LEAST_KEPT)
        self.is_through = True
        """Whether the last step came to the end of what is old."""
        self._after = (0, "")
        """Up to where it has looked at old alerts: when the last one was over (microseconds), and its id."""

    def step(self) -> int:
        """Delete the evidence of the next alerts, and from the messages of their incidents. Return of how many alerts.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        a = schema.alerts
        with reading(self._engine) as connection:
            until = connection.execute(select(schema.feed.c.decided_until)).scalar()
            old = [] if until is None else _old(connection, until - self._keep, self._after)
            news = [(row, said) for row in _news(connection, old) if (said := _without(row.alert)) != row.alert]
        self.is_through = len(old) < ALERTS_A_STEP
        keys = [{"key": row.id} for row in old if row.evidence != NONE]
        if keys or news:
            o = schema.outbox
            here = (o.c.alert_id == bindparam("id"), o.c.event == bindparam("about"))
            with writing(self._engine) as connection:
                if keys:
                    connection.execute(update(a).where(a.c.id == bindparam("key")).values(evidence=NONE), keys)
                if news:
                    rows = [{"id": row.alert_id, "about": row.event, "said": said} for row, said in news]
                    connection.execute(update(o).where(*here).values(alert=bindparam("said")), rows)
        if old:
            self._after = max(self._after, (old[-1].over, old[-1].id))
        return len({row["key"] for row in keys} | {row.alert_id for row, _ in news})


def _old(connection: Connection, before: int, after: tuple[int, str]) -> list[Any]:
    """Return the next alerts that are over since `before`: `id`, `group_id`, `evidence`, and since when (`over`).

    Those with evidence, and those that come after `after`.
    """
    a, i = schema.alerts.c, schema.incidents.c
    over = func.coalesce(i.ended_at, a.resolved_at)
    query = (
        select(a.id, a.group_id, a.evidence, over.label("over"))
        .join_from(schema.alerts, schema.incidents, i.id == a.group_id, isouter=True)
        .where(a.resolved_at < before, i.id.is_(None) | (i.ended_at < before))
        .where((a.evidence != NONE) | (tuple_(over, a.id) > after))
        .where(func.coalesce(a.group_id, a.id).not_in(_unsent()))
        .order_by(over, a.id)
    )
    return list(connection.execute(query.limit(ALERTS_A_STEP)))


def _unsent() -> Any:
    """Select the incidents, and the alerts from before incidents, of which a message waits to be sent."""
    a, o, d = schema.alerts.alias("of_message").c, schema.outbox.c, schema.deliveries.c
    waiting = union(
        select(o.alert_id).where(o.state == "queued"),
        select(d.alert_id).where(d.state.in_(("waiting", "muted"))),
    )
    return select(func.coalesce(a.group_id, a.id)).where(a.id.in_(waiting))


def _news(connection: Connection, old: list[Any]) -> list[Any]:
    """Return the messages of alerts and of their incidents. Any alert of an incident may be the one that began it."""
    a, o = schema.alerts.c, schema.outbox.c
    groups = sorted({row.group_id for row in old if row.group_id is not None})
    ids = {row.id for row in old} | {row.id for row in lookup.by_text(connection, select(a.id), a.group_id, groups)}
    found = lookup.by_text(connection, select(o.alert_id, o.event, o.alert), o.alert_id, sorted(ids))
    return [row for row in found if row.alert is not None]


def _without(said: str) -> str:
    """Return a message without the stories that it shows."""
    body = json.loads(said)
    body["evidence"] = []
    if "incident" in body:
        body["incident"]["stories"] = []
    return json.dumps(body, ensure_ascii=False)
