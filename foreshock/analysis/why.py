"""Say why an alert fired, or why none did: how a topic stood, what was missing, and without which stories it had not.

    found = standing_at(engine, "Deutsche Bank", at)     # any topic, any time
    kept = without(engine, alert_id)                      # an alert that fired

Both decide again from the store, with the code that decides live, and store nothing. "What was missing" is found by
adding stories to the topic's bucket until an alert fires, and "without which stories" by leaving out the worst ones
until it does not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, select

from foreshock.analysis.altered import Event, with_stories, without_events
from foreshock.monitor.buckets import Bucket
from foreshock.monitor.deciding import DetectionRules, State, decide
from foreshock.monitor.findings import Standing
from foreshock.monitor.kinds import CRITICAL, KINDS, NEW_NAME, SILENCE, SPIKE, VOLUME
from foreshock.monitor.moods import median
from foreshock.monitor.rebuild import state_before
from foreshock.monitor.store import desk_actions, evidence, fills, schema, settings_versions
from foreshock.monitor.store.counts import decided_until
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.decided import decided_buckets
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import DAY, HOUR

BAD, PLAIN = (9_000, 300), (1_500, 1_500)
"""Negative and positive probability of a bad story that is added, and of one without a mood (1/10,000)."""
MOST_ADDED = {SPIKE: 64, VOLUME: 1_024}
"""The most stories that are added, by the kind of alert that they would raise."""
ALSO_SHOWN, ALSO_NEAR = 6, 2.0
"""How many other topics are listed, and how far below its threshold a score is worth listing."""
MOST_LEFT_OUT = 200
"""The most events of an alert's window that are left out."""
LONGEST_WINDOW = 4 * DAY
"""Longest window of an alert that is decided again without its stories; as long as the longest of surges."""


class NothingAt(Exception):
    """The store says nothing about this topic at this time. The text says why."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Missing:
    """What would have made an alert fire: so many more stories in the last bucket, each from a source of its own."""

    kind: str
    stories: int | None
    """None: not even the most that were tried would have done."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a topic stood at a time."""

    topic: str
    at: int
    """The end of the last bucket that is taken into account (microseconds)."""
    open: list[dict[str, Any]]
    """The topic's alerts that were open: kind, direction, state and id."""
    standings: list[Standing]
    missing: list[Missing]
    also: list[tuple[str, Standing]]
    """Other topics that were near their thresholds, the nearest first."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "topic": self.topic,
            "at": iso(self.at),
            "open": self.open,
            "standings": [plain(standing) for standing in self.standings],
            "missing": [
                {"kind": missing.kind, "stories": missing.stories, "sentence": missing.sentence}
                for missing in self.missing
            ],
            "also": [{"topic": topic, **plain(standing)} for topic, standing in self.also],
        }


def plain(standing: Standing) -> dict[str, Any]:
    """Return a standing as JSON has it."""
    found = {name: value for name, value in standing._asdict().items() if name != "topic"}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}


def standing_at(engine: Engine, topic: str, at: int | None = None) -> Explanation:
    """Return how a topic stood at a time (microseconds; None: now, as far as is decided). Raises NothingAt."""
    with reading(engine) as connection:
        time, until = settings_versions.time_rules(connection), decided_until(connection)
        if until is None:
            raise NothingAt("Nothing is decided in this store yet.")
        end = min(time.start_of(until if at is None else at), until)
        start = end - time.bucket
        state = state_before(connection, time, start)
        known = fills.known_at(connection, start)
        here = next(iter(decided_buckets(connection, start, end, known=known)), None) or Bucket(start, ())
        by_rule = _open_by_rule(connection, topic, end)
    before = state.snapshot()
    if here.topics:
        decide(state, here)
    index = state.history.index
    if topic not in index:
        raise NothingAt(
            f"{topic} had no story that is watched before {iso(end)}. To list topics: foreshock topics list"
        )
    everyone = np.arange(len(state.history.names))
    all_standings = _standings(state, everyone, end)
    place = index[topic]
    own = [standing for standing in all_standings if standing.topic == place]
    opened = [alert for alert in state.life.open.values() if alert.topic == topic]
    firing = {alert.kind for alert in opened if alert.fired_at is not None}

    def fires(stories: int, kind: str) -> bool:
        trial = State.restore(before, state.rules)
        changes = decide(trial, with_stories(here, topic, stories, BAD if kind == SPIKE else PLAIN)).changes
        return any(c.event == "firing" and c.alert.topic == topic and c.alert.kind == kind for c in changes)

    return Explanation(
        topic,
        end,
        [{"kind": a.kind, "direction": a.direction, "state": a.state, "id": a.id} for a in opened] + by_rule,
        own,
        [_missing(standing, firing, fires) for standing in own if not _is_better(standing)],
        _also(all_standings, state.history.names, place),
    )


def _open_by_rule(connection: Connection, topic: str, at: int) -> list[dict[str, Any]]:
    """Return the topic's open alerts of rules, which the detectors' state does not hold, as they were at a time."""
    a = schema.alerts.c
    query = select(a.kind, a.direction, a.id).order_by(a.fired_at, a.id)
    query = query.where(a.topic == topic, a.kind.in_([name for name, kind in KINDS.items() if kind.by_rule]))
    query = query.where(a.fired_at <= at, (a.resolved_at > at) | a.resolved_at.is_(None))
    rows = connection.execute(query)
    return [{"kind": row.kind, "direction": row.direction, "state": "firing", "id": row.id} for row in rows]


def _standings(state: State, topics: Any, end: int) -> list[Standing]:
    seen, h = state.seen(), state.history
    part = min(max((end - h.hour * HOUR) / HOUR, 0.0), 1.0)
    return [standing for detector in state.detectors for standing in detector.stand(seen, topics, part)]


def _is_better(standing: Standing) -> bool:
    return standing.direction == "better"


def _missing(standing: Standing, firing: set[str], fires: Callable[[int, str], bool]) -> Missing:
    kind = standing.kind
    if kind in firing:
        return Missing(kind, 0, f"{kind}: an alert was firing.")
    if not standing.judged:
        return Missing(kind, None, f"{kind}: the topic was still learning, or has too little news to be judged.")
    lacking = standing.threshold - standing.score
    if kind == SILENCE:
        times = standing.threshold / max(standing.score, 1e-9)
        said = f"the gap would have to be {times:.1f} times as long" if standing.score > 0 else "there was no gap"
        return Missing(kind, None, f"{kind}: {said}.")
    if kind not in MOST_ADDED:
        return Missing(kind, None, f"{kind}: the score was {lacking:.1f} below its threshold.")
    count = fewest(lambda stories: fires(stories, kind), MOST_ADDED[kind])
    what = "independent source with a negative story" if kind == SPIKE else "story of any mood, from its own source,"
    many = (
        "independent sources with negative stories" if kind == SPIKE else "stories of any mood, from their own sources,"
    )
    if count is None:
        return Missing(kind, None, f"{kind}: not even {MOST_ADDED[kind]} more {many} in that bucket would have done.")
    return Missing(kind, count, f"{kind}: {count} more {what if count == 1 else many} in that bucket would have done.")


def fewest(enough: Callable[[int], bool], most: int) -> int | None:
    """Return the smallest count from 1 to `most` that is enough, by doubling and halving; None if `most` is not.

    Where more is not always more, it is a count that is enough while one less is not.
    """
    high = 1
    while not enough(high):
        if high >= most:
            return None
        high = min(2 * high, most)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _also(standings: Sequence[Standing], names: Sequence[str], without: int) -> list[tuple[str, Standing]]:
    """Return the topics that were nearest to a threshold, or beyond it, each with its most unusual kind."""
    best: dict[int, Standing] = {}
    for one in standings:
        margin = one.score - one.threshold
        if one.topic == without or not one.judged or not np.isfinite(margin) or margin < -ALSO_NEAR:
            continue
        if one.topic not in best or margin > best[one.topic].score - best[one.topic].threshold:
            best[one.topic] = one
    nearest = sorted(best.values(), key=lambda one: (one.threshold - one.score, names[one.topic]))
    return [(names[one.topic], one) for one in nearest[:ALSO_SHOWN]]


@dataclass(frozen=True, slots=True)
class Without:
    """Without which stories an alert would not have fired."""

    stories: list[dict[str, Any]]
    """The fewest of the gravest events without which it had not fired by then: id, source, title, published_at."""
    of: int
    """Events in the alert's window."""
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"stories": self.stories, "of": self.of, "sentence": self.sentence}


def without(engine: Engine, identity: str) -> Without:
    """Return without which stories an alert would not have fired. Raises NoSuchAlert."""
    with reading(engine) as connection:
        identity = desk_actions.alert_id_of(connection, identity)
        alert = connection.execute(select(schema.alerts).where(schema.alerts.c.id == identity)).one()
        if alert.fired_at is None:
            return Without([], 0, "It never fired.")
        if alert.kind not in KINDS or not KINDS[alert.kind].has_stories:
            return Without([], 0, "It is about stories that did not come.")
        if alert.kind == NEW_NAME:
            return Without([], 0, "It is about a name that no topic had; such alerts are not decided again.")
        if alert.kind == CRITICAL:
            stories = json.loads(alert.evidence)
            shown = [{name: story[name] for name in ("id", "source", "title", "published_at")} for story in stories]
            which = "this story" if len(shown) == 1 else f"these {len(shown)} stories"
            return Without(shown, len(shown), f"A rule raised it for {which} alone: the word “{alert.word}”.")
        time = settings_versions.time_rules(connection)
        start = time.start_of(max(alert.window_start, alert.fired_at - LONGEST_WINDOW))
        if alert.window_start < start:
            return Without([], 0, f"Its window is longer than {LONGEST_WINDOW // DAY} days; not decided again.")
        if evidence.are_gone(connection, start, alert.fired_at):
            return Without([], 0, "Its stories are older than [store] keep_stories and were deleted.")
        state = state_before(connection, time, start)
        known = fills.known_at(connection, start)
        buckets = list(decided_buckets(connection, start, alert.fired_at, known=known))
        order = "negative" if alert.direction == "worse" else "positive"
        events = _events(connection, alert.topic, start, alert.fired_at, order, time.start_of)
    rules, before = state.rules, state.snapshot()

    def silent(count: int) -> bool:
        gone = events[:count]
        return not _fires(before, rules, [without_events(bucket, alert.topic, gone) for bucket in buckets], alert)

    if silent(0):
        said = "Decided again, it does not fire: another version of Foreshock decided it, or an alert before it."
        return Without([], len(events), said)
    count = fewest(silent, len(events)) if events else None
    if count is None:
        return Without([], len(events), f"It would have fired without its {len(events)} gravest stories, too.")
    shown = [
        {name: event.first[name] for name in ("id", "source", "title", "published_at")} for event in events[:count]
    ]
    which = "this story" if count == 1 else f"these {count} stories"
    return Without(shown, len(events), f"Without {which}, of {len(events)}, it would not have fired by then.")


def _events(
    connection: Connection, topic: str, start: int, end: int, order: str, start_of: Callable[[int], int]
) -> list[Event]:
    """Return the events of a topic in [start, end), the gravest first, with what each contributes to its bucket."""
    s = schema.stories.c
    also = (s.title, s.counts_at, s.date_only)
    found = evidence.events(connection, topic, start, end, order=order, limit=MOST_LEFT_OUT, also=also)
    events = []
    for rows in found:
        first = rows[0]
        bucket = start_of(first.counts_at)
        voices: dict[str, tuple[int, int, int]] = {}
        for row in rows:
            if start_of(row.counts_at) == bucket and row.negative is not None:
                voices.setdefault(row.source, (row.negative, row.neutral, row.positive))
        if not voices:
            continue
        negative, _, positive = median(list(voices.values()))
        said = {"id": first.id, "source": first.source, "title": first.title, "published_at": iso(first.published_at)}
        events.append(Event(bucket, (negative, positive), tuple(voices), bool(first.date_only), said))
    return events


def _fires(snapshot: bytes, rules: DetectionRules, buckets: Sequence[Bucket], alert: Any) -> bool:
    """Return whether an alert of this topic, kind and direction fires in the buckets."""
    state = State.restore(snapshot, rules)
    key = alert.topic, alert.kind, alert.direction
    for bucket in buckets:
        changes = decide(state, bucket).changes if bucket.topics else ()
        if any(c.event == "firing" and (c.alert.topic, c.alert.kind, c.alert.direction) == key for c in changes):
            return True
    return False
