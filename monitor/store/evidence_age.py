"""Delete the evidence of old alerts: titles, addresses and scores of stories. The alerts themselves stay for ever.

    eraser = Eraser(engine, keep=366 * DAY)
    eraser.step()   # the alerts whose evidence it deleted

Evidence is text of others, and a desk may have to part with it before it parts with what it decided.

Invariant: what is decided does not depend on it. Only alerts that ended long before "decided until" are touched, and
whose news was not left to be sent.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, select, update

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

    def step(self) -> int:
        """Delete the evidence of the next alerts. Return of how many.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        a = schema.alerts
        with reading(self._engine) as connection:
            until = connection.execute(select(schema.feed.c.decided_until)).scalar()
            old = [] if until is None else _old(connection, until - self._keep)
            news = [row for row in _news(connection, old) if (said := _without(row.alert)) and said != row.alert]
        self.is_through = len(old) < ALERTS_A_STEP
        if old:
            o = schema.outbox
            here = (o.c.alert_id == bindparam("id"), o.c.event == bindparam("about"))
            with writing(self._engine) as connection:
                connection.execute(update(a).where(a.c.id == bindparam("key")).values(evidence=NONE), _keys(old))
                if news:
                    rows = [{"id": row.alert_id, "about": row.event, "said": _without(row.alert)} for row in news]
                    connection.execute(update(o).where(*here).values(alert=bindparam("said")), rows)
        return len(old)


def _old(connection: Connection, before: int) -> list[str]:
    a = schema.alerts.c
    query = select(a.id).where(a.resolved_at < before, a.evidence != NONE).order_by(a.resolved_at, a.id)
    return list(connection.execute(query.limit(ALERTS_A_STEP)).scalars())


def _news(connection: Connection, ids: list[str]) -> list[Any]:
    o = schema.outbox.c
    found = lookup.by_text(connection, select(o.alert_id, o.event, o.alert), o.alert_id, ids)
    return [row for row in found if row.alert is not None]


def _without(said: str) -> str:
    """Return an alert as it was sent, without its evidence."""
    body = json.loads(said)
    if body.get("evidence"):
        body["evidence"] = []
    return json.dumps(body, ensure_ascii=False)


def _keys(ids: list[str]) -> list[dict[str, str]]:
    return [{"key": each} for each in ids]
