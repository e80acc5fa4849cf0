"""Times at the edges: microseconds since 1970 in the store, ISO 8601 with `Z` in what people and programs read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(time: int) -> str:
    """`2026-03-02T14:10:00Z`; with microseconds only where there are some."""
    return (EPOCH + timedelta(microseconds=time)).isoformat().replace("+00:00", "Z")


def iso_or_none(time: int | None) -> str | None:
    return None if time is None else iso(time)


def microseconds(moment: datetime) -> int:
    """Of an aware datetime, exact."""
    return (moment - EPOCH) // timedelta(microseconds=1)
