"""Convert times at the edges: microseconds since 1970 in the store, ISO 8601 with `Z` for people and programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(time: int) -> str:
    """Format microseconds since 1970 as `2026-03-02T14:10:00Z`, with a fraction only if there is one."""
    return (EPOCH + timedelta(microseconds=time)).isoformat().replace("+00:00", "Z")


def iso_or_none(time: int | None) -> str | None:
    return None if time is None else iso(time)


def microseconds(moment: datetime) -> int:
    """Convert an aware datetime to microseconds since 1970, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)
