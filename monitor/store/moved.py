"""Find what else moved when an alert fired: other topics whose mood was far from its usual, and other alerts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, select

from foreshock.monitor.store import schema
from foreshock.monitor.store.topic_sums import TopicSums
from foreshock.monitor.store.topic_views import Mood, mood
from foreshock.monitor.units import ALL, DAY

NOTABLE = 2.0
"""From so many standard deviations on, a topic moved, and its mood is called worse or better."""
NEAR = DAY
"""How far from the time of an alert another alert fired with it."""


@dataclass(frozen=True, slots=True)
class MovedTopic:
    """A topic that moved: its mood, and how many events that was."""

    topic: str
    events: int
    mood: Mood


@dataclass(frozen=True, slots=True)
class Moved:
    """What else moved at a time."""

    topics: tuple[MovedTopic, ...]
    """The 24 hours before it, the farthest from their usual first."""
    alerts: tuple[tuple[str, str, str, int], ...]
    """Other alerts that fired near it: id, topic, sentence and time, the nearest first."""


def moved(
    connection: Connection, sums: TopicSums, *, without: Collection[str], alerts: Collection[str], limit: int
) -> Moved:
    """Return what moved in a stretch, besides the topics `without` and these alerts, at most `limit` each.

    `sums`: those of the day before the alerts.
    """
    at, besides = sums.until, {ALL, *without}
    rows = [MovedTopic(name, one.events, mood(one)) for name, one in sums.of.items() if name not in besides]
    far = [row for row in rows if abs(row.mood.score) >= NOTABLE]
    far.sort(key=lambda row: (-abs(row.mood.score), row.topic))
    a = schema.alerts.c
    near = select(a.id, a.topic, a.sentence, a.fired_at).where(a.fired_at > at - NEAR, a.fired_at <= at + NEAR)
    others = [row for row in connection.execute(near) if row.id not in alerts and row.topic not in without]
    others.sort(key=lambda row: (abs(row.fired_at - at), row.id))
    return Moved(tuple(far[:limit]), tuple((row.id, row.topic, row.sentence, row.fired_at) for row in others[:limit]))
