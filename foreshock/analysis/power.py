"""Measure which changes on a topic would be missed: plant changes of known size into its own past.

    result = power(settings, "sqlite:///news.db", "Deutsche Bank")

What a budget misses depends on the topic: how often it has stories, and how much its share varies by itself. So the
code that decides live is tried on the topic's own counts (`foreshock.analysis.injection`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Engine, func, select

from foreshock.analysis.history import opened
from foreshock.analysis.injection import APART, CHANGES, Noticed, measure, moments
from foreshock.ingest.meant import alike
from foreshock.monitor.baseline import PROFILE_HOURS
from foreshock.monitor.store import schema
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.times import iso, iso_or_none
from foreshock.monitor.units import ALL, DAY, HOUR, UNIT
from foreshock.processes import wiring
from foreshock.settings.models import Settings
from foreshock.settings.redact import redacted

WITHIN, PLANTS = 7 * DAY, 10


class TopicUnknown(Exception):
    """The past has no such topic. The text names similar ones."""

    exit_code = 2


class PastTooShort(Exception):
    """The topic is still learning, or its past is too short for a change. The text says until when."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Power:
    """Which changes on a topic would be noticed, and which missed."""

    source: str
    topic: str
    budget: str
    """The budget as the settings write it."""
    within: int
    """How long each change lasts, and how soon it must be noticed (microseconds)."""
    changes: list[Noticed]
    notes: list[str]

    @property
    def moments(self) -> list[int]:
        return [plant.at for plant in self.changes[0].plants]

    @property
    def events_a_day(self) -> float:
        """The topic's events a day while changes lasted, without the changes."""
        plants = self.changes[0].plants
        return sum(plant.events for plant in plants) / UNIT / (len(plants) * self.within / DAY)

    @property
    def share(self) -> float | None:
        """Its negative share in the same time; None without events."""
        plants = self.changes[0].plants
        events = sum(plant.events for plant in plants)
        return sum(plant.negative for plant in plants) / events if events else None

    def sentence(self, noticed: Noticed) -> str:
        """Such as: "+20 points on Deutsche Bank: noticed in 8 of 10 within 7 days, half of these within 9 h"."""
        about, delays = f"{noticed.change.name} on {self.topic}", noticed.delays
        if not delays:
            return f"{about}: never noticed within {span(self.within)}"
        found = f"{about}: noticed in {len(delays)} of {len(noticed.plants)} within {span(self.within)}"
        stories = [plant.stories for plant in noticed.plants if plant.stories is not None]
        if stories:
            return f"{found}, {'' if len(stories) == 1 else 'half of these '}by story {math.ceil(median(stories))}"
        return (
            f"{found}, after {span(delays[0])}"
            if len(delays) == 1
            else f"{found}, half of these within {span(median(delays))}"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "topic": self.topic,
            "budget": self.budget,
            "within_hours": round(self.within / HOUR, 2),
            "events_a_day": round(self.events_a_day, 2),
            "negative_share": None if self.share is None else round(self.share, 4),
            "changes": [self._change(noticed) for noticed in self.changes],
        }

    def _change(self, noticed: Noticed) -> dict[str, Any]:
        delays, events = noticed.delays, sum(plant.events for plant in noticed.plants)
        rose = sum(plant.rose for plant in noticed.plants)
        return {
            "change": noticed.change.name,
            "kind": noticed.change.kind,
            "rose_by_points": round(100 * rose / events, 1) if events and noticed.change.kind == "share" else None,
            "noticed": len(delays),
            "of": len(noticed.plants),
            "median_delay_hours": round(median(delays) / HOUR, 2) if delays else None,
            "sentence": self.sentence(noticed),
            "plants": [
                {"at": iso(p.at), "noticed_at": iso_or_none(p.noticed_at), "already_firing": p.firing}
                for p in noticed.plants
            ],
        }


def power(
    settings: Settings,
    source: str,
    topic: str,
    *,
    within: int = WITHIN,
    plants: int = PLANTS,
    mapping: Mapping[str, str] | None = None,
    sort: bool = False,
    on_progress: Callable[[float], None] | None = None,
    scorer: wiring.MakeScorer | None = None,
) -> Power:
    """Begin each of `CHANGES` at `plants` moments of a topic's past, and return which are noticed in time.

    `source` is the URL of a store, a SQLite file, or a feed file (`mapping` and `sort` are for feed files). `within`:
    how long a change lasts, in microseconds. The same past and settings give the same result. `on_progress` is called
    with the share that is done (0 to 1).

    Raises:
        TopicUnknown: the source has no such topic.
        PastTooShort: the topic is still learning, or less than a day and `within` have passed since it learned.
        NothingDecided, IngestError, MonitorError, ModelError: as `history.opened` does.
    """
    with opened(settings, source, mapping=mapping, sort=sort, on_progress=on_progress, scorer=scorer) as there:
        past, rules, notes = there.past, there.rules, list(there.notes)
        if topic not in past.names:
            raise TopicUnknown(f"{redacted(source)} has no topic {topic!r}.{_meant(topic, past.names)}")
        learned, until = _learning(there.engine, topic)
        at = moments(past, rules, topic, learned, within, plants)
        if not at:
            raise PastTooShort(_too_short(topic, learned, until, past.until, within))
        changes = [change for change in CHANGES if (change.kind, topic) != ("silence", ALL)]
        noticed = measure(past, rules, topic, at, within, changes, there.on_progress)
    if learned is None:
        days, events = PROFILE_HOURS // 24, rules.learning_events
        notes.append(
            f"{topic} never had the {events} events in {days} days that learning needs, so only critical stories "
            "fire on it."
        )
    if len(at) < plants:
        notes.append(
            f"The past of {topic} after learning has room for {len(at)} moments a day apart, not for {plants}."
        )
    if firing := sum(plant.firing for plant in noticed[0].plants):
        notes.append(f"At {firing} of the {len(at)} moments an alert of bad news on {topic} was already firing.")
    return Power(redacted(source), topic, settings.alerts.false_alarms, within, noticed, notes)


def _learning(engine: Engine, topic: str) -> tuple[int | None, int | None]:
    """Return when a topic's buckets first have a baseline, and until when it learns (microseconds; None: never)."""
    b, t = schema.buckets.c, schema.topics.c
    with reading(engine) as connection:
        judged = select(func.min(b.start)).where(b.topic == topic, b.baseline.is_not(None))
        learning = select(t.learning_until).where(t.topic == topic)
        return connection.execute(judged).scalar(), connection.execute(learning).scalar()


def _too_short(topic: str, learned: int | None, learning_until: int | None, until: int, within: int) -> str:
    if learned is None:
        when = " (too few events so far)"
        if learning_until is not None and learning_until > until:
            when = f" until {iso(learning_until)} at its present pace"
        return f"{topic} is still learning{when}. Until then only critical stories fire on it."
    return (
        f"{topic} had learned by {iso(learned)}, and the past ends at {iso(until)}. That is too short for changes of "
        f"{span(within)} and {span(APART)} to choose moments from. Try a shorter --within."
    )


def _meant(topic: str, names: Sequence[str]) -> str:
    found = alike(topic, names)
    found += [name for name in sorted(names) if topic.lower() in name.lower() and name not in found]
    return f" Did you mean {' or '.join(found[:3])}?" if found else " To list its topics: foreshock topics list"


def span(microseconds: float) -> str:
    """Return a length of time in words: 25 min, 9 h, 3.2 days."""
    hours = microseconds / HOUR
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.1f}".removesuffix(".0") + " days"
