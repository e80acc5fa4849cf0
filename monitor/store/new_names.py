"""Load and save what is remembered of names that no topic has (`monitor/new_names.py`)."""

from __future__ import annotations

import logging
from dataclasses import fields, replace

from sqlalchemy import Connection, delete, insert, select, update

from foreshock.monitor.alerts import Alert, AlertChange
from foreshock.monitor.kinds import NEW_NAME
from foreshock.monitor.new_names import NewNames
from foreshock.monitor.snapshots import OtherVersion
from foreshock.monitor.store import schema

log = logging.getLogger(__name__)


def load(connection: Connection, share: float, at: int | None) -> tuple[NewNames, list[AlertChange]]:
    """Return the watch as of "decided until" (`at`), and that alerts are over which it does not know.

    `share`: the part of the budget that names may spend. With 0 nobody watches for them.
    """
    table = schema.new_names
    row = connection.execute(select(table.c.until, table.c.body)).one_or_none()
    watch = NewNames(share)
    watch.changed = row is not None and share == 0  # what is stored goes
    if share > 0 and row is not None and row.until == at:
        try:
            watch = NewNames.restore(row.body, share)
        except ValueError as error:
            if not isinstance(error, OtherVersion):
                log.warning("What was remembered of new names is forgotten: %s.", error)
    known = {alert.id for alert in watch.life.open.values()}
    a = schema.alerts.c
    mine = select(*(a[field.name] for field in fields(Alert))).where(a.kind == NEW_NAME, a.state == "firing")
    open_ = (Alert(**found._mapping) for found in connection.execute(mine.order_by(a.fired_at, a.id)))
    over = [AlertChange("resolved", replace(x, state="resolved", resolved_at=at)) for x in open_ if x.id not in known]
    return watch, over


def save(connection: Connection, watch: NewNames, until: int) -> None:
    """Write the watch as of "decided until"."""
    if not watch.changed:
        if watch.share > 0:
            connection.execute(update(schema.new_names).values(until=until))
        return
    connection.execute(delete(schema.new_names))
    if watch.share > 0:
        connection.execute(insert(schema.new_names).values(id=1, until=until, body=watch.dump()))
    watch.changed = False
