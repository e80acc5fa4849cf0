"""Alerts as the store holds them and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from foreshock.monitor.store.times import iso, iso_or_none

if TYPE_CHECKING:
    pass


def alert_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """An alert's columns as outsiders read them: in `alerts list --json` and in a webhook."""
    return {
        "id": row["id"],
        "topic": row["topic"],
        "kind": row["kind"],
        "direction": row["direction"],
        "state": row["state"],
        "origin": row["origin"],
        "group_id": row["group_id"],
        "started_at": iso(row["started_at"]),
        "fired_at": iso_or_none(row["fired_at"]),
        "resolved_at": iso_or_none(row["resolved_at"]),
        "observed": row["observed"],
        "baseline": row["baseline"],
        "evidence": json.loads(row["evidence"]),
        "sources": row["sources"],
        "events": row["events"],
        "severity": row["severity"],
        "sentence": row["sentence"],
    }
