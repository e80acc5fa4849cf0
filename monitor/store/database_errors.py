"""Translate what PostgreSQL says into the monitor's own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, OperationalError

from foreshock.ingest import redaction
from foreshock.monitor.errors import MonitorError, Overtaken, StoreUnavailable

LOCKED = "55P03"
"""The SQLSTATE of a lock timeout."""

_OVERTAKEN = {"40001", "40P01"}  # serialization failure, deadlock
_RACED = {
    *("partitions", "settings_versions", "topic_labels", "desk_actions"),
    *("receivers", "deliveries", "escalations", "digests"),
}
"""Tables into which two processes may insert the same next row at the same time."""
_AWAY = {"57P01", "57P02", "57P03", "53300", LOCKED}
"""SQLSTATEs of an outage: shut down by an administrator, crashed, starting up, too many connections, lock timeout."""


@contextmanager
def translating_errors() -> Iterator[None]:
    """Translate PostgreSQL errors: a conflict (retry the transaction), a passing outage (wait), or an error for the
    operator."""
    try:
        yield
    except DBAPIError as error:
        translated = _meaning(error)
        if translated is None:
            raise
        raise translated from error


def _meaning(error: DBAPIError) -> MonitorError | None:
    if type(error.orig).__module__.startswith("sqlite3"):
        return None
    state = getattr(error.orig, "sqlstate", None)
    words = (said(error.orig).splitlines() or ["no reason given"])[0]
    if state in _OVERTAKEN:
        return Overtaken(f"Another process wrote at the same time ({words}).")
    if state == "23505" and getattr(getattr(error.orig, "diag", None), "table_name", None) in _RACED:
        return Overtaken(f"Another process was first ({words}).")
    # libpq gives no code if there is no session: the server does not answer, or is not ready yet.
    away = isinstance(error, OperationalError) and (state is None or state[:2] == "08" or state in _AWAY)
    if not away and not error.connection_invalidated:
        return None
    return StoreUnavailable(
        f"The store is busy: {words}." if state == LOCKED else f"The store does not answer: {words}."
    )


def said(error: object) -> str:
    """Return what an error says, without secrets."""
    return redaction.without_secrets(str(error).strip())
