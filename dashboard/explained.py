"""What pages say of why an alert fired, and of what else moved then. `foreshock alerts why` says the same."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from foreshock.dashboard import formats, frame, topic_filter
from foreshock.dashboard.measured import odds
from foreshock.dashboard.reader import Look
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.store import moved, why
from foreshock.monitor.store.times import microseconds
from foreshock.monitor.store.topic_sums import topic_sums
from foreshock.monitor.store.views import AlertRow
from foreshock.monitor.units import DAY

ALSO = 6
"""How many other topics, and other alerts, are listed."""


def draw_why(look: Look, alert: AlertRow) -> None:
    """Draw the threshold and the numbers behind an alert, in sentences."""
    said = frame.reader().decided(
        look,
        ("why", formats.zone(), alert.id, alert.state),
        lambda: why.said(why.why(look.connection, alert.id), _stretch),
    )
    frame.header("Why")
    decided_by_topic = not (KINDS[alert.kind].by_rule or KINDS[alert.kind].of_names)
    command = f"foreshock alerts why {alert.id[:8]}" if decided_by_topic and alert.fired_at else ""
    frame.show("why.html", said=said, odds=odds(look, alert), inhibited=alert.inhibited_because, command=command)


def draw_moved(look: Look, at: int, *, topics: Collection[str], alerts: Collection[str]) -> None:
    """Draw what else moved in the day before `at`, and what else fired near it."""
    key = ("moved", at, *sorted(topics), *sorted(alerts))
    sums = frame.reader().moved_on(
        look, ("sums at", at), lambda before: topic_sums(look.connection, at - DAY, at, before)
    )
    found = frame.reader().decided(
        look, key, lambda: moved.moved(look.connection, sums, without=topics, alerts=alerts, limit=ALSO)
    )
    frame.header("Also moved then", f"In the 24 hours up to {formats.zoned(at, year=True)}.")
    if not found.topics and not found.alerts:
        frame.note("No other topic moved by two standard deviations, and no other alert fired within a day.")
        return
    ends = {name: f"{formats.moment(time):%Y-%m-%dT%H:%M}" for name, time in (("from", at - 7 * DAY), ("to", at + DAY))}
    moods = {row.topic: topic_filter.WORSE if row.mood.score < 0 else topic_filter.BETTER for row in found.topics}
    frame.show("moved.html", moved=found, moods=moods, ends=ends)


def _stretch(start: str, end: str) -> str:
    return formats.between(*(microseconds(datetime.fromisoformat(time)) for time in (start, end)), year=True)
