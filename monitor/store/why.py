"""Explain an alert: its window, the weeks before it, the steps of both, and its deliveries.

Everything about the detection is read from decided rows, so the explanation stays the same after the alert fired.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from foreshock.monitor.kinds import CRITICAL, NEW_NAME
from foreshock.monitor.store import deliveries, desk_actions, evidence, schema, settings_versions
from foreshock.monitor.store.alerts import alert_json
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import DAY, HOUR

LOOK_BACK = 28 * DAY
"""How long before the window is compared. The detectors' profile of a topic covers the same time."""
SOURCES_SAID = 8
STEPS = 12
"""The number of steps, within the window and before it."""

_OUTBOX = (
    select(schema.outbox.c.event, schema.outbox.c.state)
    .where(schema.outbox.c.alert_id == bindparam("alert"))
    .order_by(schema.outbox.c.event)
)


def why(connection: Connection, identity: str) -> dict[str, Any]:
    """Return the alert as in `alerts list --json`, with the numbers behind it. Raises NoSuchAlert."""
    identity = desk_actions.alert_id_of(connection, identity)
    row = connection.execute(select(schema.alerts).where(schema.alerts.c.id == identity)).one()
    start, end = row.window_start, row.window_end
    if row.kind == CRITICAL:  # its window is a second; the series know its bucket
        time = settings_versions.time_rules(connection)
        start = time.start_of(start)
        end = start + time.bucket
    budget = connection.execute(
        select(schema.settings_versions.c.body).where(schema.settings_versions.c.number == row.settings)
    ).scalar()
    step = _step(end - start)
    first = end - STEPS * step
    return {
        "alert": alert_json(dict(row._mapping)),
        "score": row.score,
        "window": {
            **_stretch(connection, row.topic, start, end),
            "sources": evidence.sources(connection, row.topic, start, end),
        },
        "before": _stretch(connection, row.topic, start - LOOK_BACK, start),
        "steps": [_stretch(connection, row.topic, at, at + step) for at in range(first, end, step)],
        "false_alarms": None if budget is None else json.loads(budget).get("alerts", {}).get("false_alarms"),
        "outbox": [
            {"event": row.event, "state": row.state} for row in connection.execute(_OUTBOX, {"alert": identity})
        ],
        "deliveries": list(deliveries.listed(connection, alert=identity)),
        "actions": desk_actions.actions(connection, alert_id=identity),
    }


def said(found: dict[str, Any], stretch: Callable[[str, str], str]) -> list[str]:
    """Return the numbers of `why` in sentences: the threshold, the window, and the weeks before it.

    `stretch`: writes two ISO times.
    """
    alert, window, before = found["alert"], found["window"], found["before"]
    if alert["kind"] == NEW_NAME:  # a name has no series
        return [_threshold(alert, found["score"], found["false_alarms"])]
    named = window["sources"][:SOURCES_SAID]
    more = len(window["sources"]) - len(named)
    sources = f", from {', '.join(named)}" if named else ""
    sources += f" and {more} more" if more > 0 else ""
    return [
        _threshold(alert, found["score"], found["false_alarms"]),
        f"{stretch(window['start'], window['end'])}: {_sums(window)}{sources}.",
        f"The 28 days before: {_sums(before)}.",
    ]


def _threshold(alert: dict[str, Any], score: float, budget: str | None) -> str:
    if alert["kind"] == CRITICAL:
        needed = f"{alert['observed']:.2f}, and {alert['baseline']:.2f} is needed"
        return f"A rule raised it: the word “{alert['word']}”; the probability of negative is {needed}."
    if alert["statistic"] is None or alert["threshold"] is None:
        return f"Its score was {score:.1f}."
    was = "When it fired, its score was" if alert["fired_at"] else "Its score was"
    holds = f", which holds the budget of {budget}" if budget else ""
    return f"{was} {alert['statistic']:.2f}; alerts of its kind fire from {alert['threshold']:.2f} on{holds}."


def _sums(stretch: dict[str, Any]) -> str:
    counts = f"{stretch['events']:,} events in {stretch['stories']:,} stories"
    if not stretch["events"]:
        return counts
    share, polarity = f"{stretch['negative_share'] * 100:.0f} %", f"{stretch['polarity']:+.2f}"
    return f"{counts}, negative share {share}, polarity {polarity}"


def _step(window: int) -> int:
    """Return the length of a step in whole hours, or in whole days from 24 hours on.

    At least half of the steps lie before the window.
    """
    hours = -(-window // (STEPS // 2 * HOUR))
    return max(hours if hours < 24 else -(-hours // 24) * 24, 1) * HOUR


def _stretch(connection: Connection, topic: str, start: int, end: int) -> dict[str, Any]:
    """Sum the decided buckets in [start, end). The means of their events are None if there was none."""
    b = schema.buckets.c
    sums = (func.sum(b.stories), func.sum(b.events), func.sum(b.negative), func.sum(b.positive))
    found = connection.execute(select(*sums).where(b.topic == topic, b.start >= start, b.start < end)).one()
    stories, events, negative, positive = (int(value or 0) for value in found)
    return {
        "start": iso(start),
        "end": iso(end),
        "stories": stories,
        "events": events,
        "negative_share": negative / events / 10_000 if events else None,
        "polarity": (positive - negative) / events / 10_000 if events else None,
    }
