"""Bucket after bucket: what follows from what was seen.

    decision = decide(state, bucket)

A pure function of the state and the bucket: no clock, no file, no global. Each bucket that has stories moves the
state by itself; between buckets only whole UTC hours do anything (`pass_time`), so an empty stretch is stepped over in
one go, and however its passage is split, the same follows. What is dear - pooled estimates, drift, the snapshot - is
done at a day's first bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from foreshock.monitor import snapshots
from foreshock.monitor.alerts import AlertChange, LifeCycle, in_order
from foreshock.monitor.arrays import FloatArray, TopicArrays
from foreshock.monitor.baseline import EVENTS, History, Pool, estimate
from foreshock.monitor.buckets import Bucket
from foreshock.monitor.detectors import BucketCounts, DetectionRules, Found, Seen
from foreshock.monitor.detectors.registry import DETECTORS
from foreshock.monitor.few_events import FewEvents
from foreshock.monitor.recent import Recent, Row
from foreshock.monitor.repeats import Repeats, source_number, source_parts
from foreshock.monitor.units import ALL, DAY, HOUR, OTHER, UNIT

Stall = tuple[int, int]

__all__ = ["BucketCounts", "Decision", "DetectionRules", "State", "decide", "decide_counts", "pass_time"]

SNAPSHOT_VERSION = 13
READABLE = (SNAPSHOT_VERSION, 12)
"""Versions of snapshots that are read: those that decide alike."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a bucket, or from time passing."""

    baselines: dict[str, int]
    """Expected polarity (1/10,000) of each topic of the bucket; topics that are learning are absent."""
    changes: tuple[AlertChange, ...]
    """In the order of time, then topic (bytewise), kind, direction."""
    snapshot: bytes | None
    """With a UTC day's first bucket: the state before it. Restored, it decides this and all later buckets alike."""
    learning: dict[str, int | None]
    """Until when each topic of the bucket is learning (microseconds, an estimate); None: it has learned."""
    stalls: tuple[tuple[int, int], ...]
    """Stretches (start, end) without any story, longer than `stall_after`, that end with this bucket."""


class State:
    """All that deciding remembers. Mutable, owned by the caller; everything is in arrays over topics."""

    def __init__(self, rules: DetectionRules, capacity: int = 16) -> None:
        self.rules = rules
        self.history = History(capacity)
        self.recent = Recent()
        self.repeats = Repeats(capacity)
        self.pool = Pool()
        self.detectors = tuple(make(capacity) for make in DETECTORS)
        self.life = LifeCycle()
        self.few = FewEvents()
        self.last_end: int | None = None  # end of the last bucket that had stories
        self._usual: tuple[FloatArray, FloatArray, FloatArray] | None = None  # derived; of this hour and these topics
        self._weights: FloatArray | None = None  # derived; of these topics

    @classmethod
    def fresh(cls, rules: DetectionRules) -> State:
        """Return the state before the first bucket."""
        return cls(rules)

    def adopt(self, rules: DetectionRules, *, gone: Iterable[str] = (), back: Iterable[str] = ()) -> None:
        """Decide by other rules from the next bucket on.

        `gone`: topics that the settings no longer have. `back`: topics that they have again. What did not come in the
        meantime is not missed.
        """
        index, seen = self.history.index, self.seen()
        leaving, returning = ([index[name] for name in names if name in index] for names in (gone, back))
        for detector in self.detectors:
            for kind in detector.adopt(seen, leaving, returning):
                self.life.drop(kind, leaving)
        if rules != self.rules:
            self.rules, self._weights = rules, None
            calibrate(self)

    def trust(self) -> dict[int, float]:
        """Return what the events of sources weigh that are trusted less, by what `Repeats` knows a source by."""
        return {source_number(name): weight for name, weight in self.rules.trust}

    def seen(self) -> Seen:
        """Return what detectors may look at, with what is usual in the open hour."""
        h = self.history
        if self._usual is None or len(self._usual[0]) != len(h.names):
            self._usual = h.usual(self.pool)
        if self._weights is None or len(self._weights) != len(h.names):
            weights = dict(self.rules.weights)
            self._weights = np.array([weights.get(name, 1.0) for name in h.names])
        return Seen(h, self.recent, self.pool, self.rules, *self._usual, self._weights)

    def seen_anew(self) -> Seen:
        """Return `seen`, worked out again: somebody changed what is remembered of topics."""
        self._usual = self._weights = None
        return self.seen()

    def parts(self) -> dict[str, TopicArrays]:
        """Return all arrays over topics, by the names that a snapshot gives them."""
        parts: dict[str, TopicArrays] = {"history": self.history, "repeats": self.repeats}
        for detector in self.detectors:
            parts.update(detector.parts())
        return parts

    def place(self, topic: str, events: int) -> int | None:
        """Return the index of a topic that has `events` more, or None while it is not watched."""
        h, rules = self.history, self.rules
        if (known := h.index.get(topic)) is not None:
            return known
        if topic == OTHER:
            return None
        if rules.first_events > 1 and topic != ALL and topic not in rules.own:
            seen = self.few.add(topic, events, rules.most_topics)
            # The desk's topics and `_all` take no places of others.
            if seen < rules.first_events or len(h.names) > rules.most_topics + len(rules.own):
                return None
        self.few.forget(topic)
        return h.topic(topic)

    def grow(self) -> None:
        """Make room in all arrays for the topics that the history knows."""
        if self.repeats.capacity >= self.history.capacity:  # all grow together
            return
        for part in self.parts().values():
            if part.capacity < self.history.capacity:
                part.grow(self.history.capacity)

    def snapshot(self) -> bytes:
        """Return the state as bytes; equal states give equal bytes. No bytes: the state is too large for a snapshot."""
        h = self.history
        n = len(h.names)
        rows, row_meta = self.recent.dump()
        arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = dict(rows)
        for room, part in self.parts().items():
            arrays.update({f"{room}.{name}": array for name, array in part.dump(n).items()})
        meta = {
            "version": SNAPSHOT_VERSION,
            "names": h.names,
            "few": self.few.dump(),
            "last_source": h.last_source,
            "clock": [h.hour, h.hours, h.day, h.days, self.last_end],
            "pool": asdict(self.pool),
            "open": self.life.dump(),
            **row_meta,
        }
        return snapshots.write(arrays, meta)

    @classmethod
    def restore(cls, snapshot: bytes, rules: DetectionRules) -> State:
        """The state that `snapshot` was made of. Raises ValueError on bytes of no `READABLE` version."""
        arrays, meta = snapshots.read(snapshot, *READABLE)
        try:
            return cls._restored(arrays, meta, rules)
        except (KeyError, TypeError, IndexError, ValueError, MemoryError) as error:
            raise ValueError(f"the monitor's snapshot is damaged: {error!r}") from error

    @classmethod
    def _restored(cls, arrays: Mapping[str, Any], meta: Mapping[str, Any], rules: DetectionRules) -> State:
        names = meta["names"]
        capacity = 16
        while capacity < len(names):
            capacity *= 2
        state = cls(rules, capacity)
        h = state.history
        h.names, h.index, h.last_source = names, {t: i for i, t in enumerate(names)}, meta["last_source"]
        h.hour, h.hours, h.day, h.days, state.last_end = meta["clock"]
        for name, room in state.parts().items():
            begin = name + "."
            room.load(len(names), {k.removeprefix(begin): a for k, a in arrays.items() if k.startswith(begin)})
        state.recent = Recent.load(dict(arrays), meta["sources"], meta["row_sources"])
        state.few.load(meta["few"])
        state.pool = Pool(**meta["pool"])
        state.life.load(meta["open"])
        return state


def pass_time(state: State, until: int) -> Decision:
    """No story came before `until` (microseconds, a bucket's end): what falls due at the whole hours up to it.

    Hours that ended more than `stall_after` after the last story do not exist; nothing is decided in them.
    """
    return Decision({}, tuple(_pass(state, until)), None, {}, ())


def decide(state: State, bucket: Bucket) -> Decision:
    """The next bucket that has stories, in order of time. Raises ValueError where it is not later than the last."""
    changes, snapshot, stalls = _move(state, bucket.start, snapshot=True)
    end = bucket.start + state.rules.bucket
    places = [state.place(t.topic, t.events) for t in bucket.topics]
    watched = [t for t, place in zip(bucket.topics, places, strict=True) if place is not None]
    topics = np.array([place for place in places if place is not None], np.int64)
    values = np.array([(t.events * UNIT, t.negative, t.positive) for t in watched], np.int64).reshape(-1, 3)
    dated = np.zeros((len(watched), 2), np.int64)
    if any(t.day_events for t in watched):
        dated[:] = [(t.day_events * UNIT, t.day_negative) for t in watched]
    sources = tuple(t.sources for t in watched)
    by_source = tuple(t.by_source for t in watched)
    changes += _take(state, BucketCounts(bucket.start, topics, values, dated, sources, by_source=by_source))
    seen = state.seen()
    usual, learned = np.rint(seen.polarity[topics] * UNIT).astype(np.int64).tolist(), seen.learned(topics).tolist()
    baselines: dict[str, int] = {}
    learning: dict[str, int | None] = {}
    for t, unwatched in zip(bucket.topics, places, strict=True):
        if unwatched is None:
            learning[t.topic] = _learned_at(state, state.history.hours, 0, end)
    for place, t in enumerate(watched):
        if learned[place]:
            baselines[t.topic], learning[t.topic] = usual[place], None
        else:
            learning[t.topic] = _learning_until(state, int(topics[place]), end)
    return Decision(baselines, tuple(changes), snapshot, learning, stalls)


def decide_counts(state: State, counts: BucketCounts, *, snapshot: bool = False) -> Decision:
    """As `decide`, of a bucket that is in arrays already; says nothing of baselines and learning."""
    changes, made, stalls = _move(state, counts.start, snapshot=snapshot)
    changes += _take(state, counts)
    return Decision({}, tuple(changes), made, {}, stalls)


def calibrate(state: State) -> None:
    """Set all thresholds to where past shadow alarms ring as often as the budget allows."""
    seen = state.seen()
    for detector in state.detectors:
        detector.calibrate(seen)


def _move(state: State, start: int, *, snapshot: bool) -> tuple[list[AlertChange], bytes | None, tuple[Stall, ...]]:
    """Time moves on to a bucket that starts at `start`: hours and days before it are closed."""
    h, rules = state.history, state.rules
    if state.last_end is not None and start < state.last_end:
        raise ValueError(f"a bucket at {start} after one that ended at {state.last_end}")
    state.grow()
    changes = _pass(state, start)
    stalls: tuple[Stall, ...] = ()
    if state.last_end is not None and start - state.last_end > rules.stall_after:
        stalls = ((state.last_end, start),)
    hour, day = start // HOUR, start // DAY
    if hour != h.hour:
        # Time stood still over the end of the open hour: it is closed if stories were in it, else it never was.
        if h.hour >= 0 and state.last_end is not None and state.last_end > h.hour * HOUR:
            changes += _close_hour(state, stalled=True)
        h.hour, state._usual = hour, None
    made = None
    if day != h.day:
        _new_day(state, day)
        made = state.snapshot() if snapshot else None
    return changes, made, stalls


def _pass(state: State, until: int) -> list[AlertChange]:
    h, changes = state.history, list[AlertChange]()
    if state.last_end is None:
        return changes
    until = min(until, state.last_end + state.rules.stall_after)
    while (h.hour + 1) * HOUR <= until:
        changes += _close_hour(state, stalled=False)
        h.hour += 1
        state._usual = None
        state.recent.forget(h.hour * HOUR)
    return changes


def _close_hour(state: State, *, stalled: bool) -> list[AlertChange]:
    """Close the open hour. `stalled`: time stood still before its end, and goes on only now."""
    h, seen = state.history, state.seen()
    at = (h.hour + 1) * HOUR
    for detector in state.detectors:
        detector.close_hour(seen)
    h.close_hour()
    state._usual = None
    changes: list[AlertChange] = []
    watched = state.life.watched()
    for detector in state.detectors:
        new = _apply(state, detector.look_back(seen, watched, stalled=stalled), at)
        if new:
            changes += new
            watched = state.life.watched()
    return in_order(changes)


def _new_day(state: State, day: int) -> None:
    """Close the day before, with a day's first bucket: estimate what all topics say, and calibrate anew."""
    h = state.history
    if h.day >= 0:
        h.close_day()
        state.repeats.close_day()
    h.day = day
    state.pool, state._usual = estimate(h), None
    seen = state.seen()
    for detector in state.detectors:
        detector.close_day(seen)
    calibrate(state)


def _take(state: State, counts: BucketCounts) -> list[AlertChange]:
    """Add the bucket to what was seen, and let the detectors look at its topics."""
    h, recent = state.history, state.recent
    topics, values, dated = counts.topics, counts.values, counts.dated
    end = counts.start + state.rules.bucket
    state.grow()
    places = topics.tolist()
    everything = h.index.get(ALL, -1)
    place = places.index(everything) if everything in places else -1
    minute, age = h.hours * 60 + (end - h.hour * HOUR) * 60 // HOUR, 60 * (h.hours - h.first_hour[topics])
    parts = source_parts(values / UNIT, counts.sources, counts.by_source)
    _note_sources(h, places, counts.sources, end)
    weight, usual = state.repeats.weigh(topics, parts, counts.sources, place, minute, age, state.trust())
    counts = counts._replace(weight=weight)
    if np.count_nonzero(usual < 1):
        # Otherwise a swarm would raise what is usual, and hide what comes after.
        values, dated = (np.rint(sums * usual[:, : sums.shape[1]]).astype(np.int64) for sums in (values, dated))
    seen = state.seen()
    share = seen.share.take(topics)
    recent.forget(end)
    row = np.empty((len(topics), 6), np.int64)
    row[:, :2] = values[:, :2]
    row[:, 2] = np.rint(values[:, 0] * share)
    row[:, 3:] = row[:, :3]
    if np.count_nonzero(dated):
        row[:, 3:5] -= dated
        row[:, 5] = np.rint(row[:, 3] * share)
    recent.add(Row(counts.start, topics, row, counts.sources))
    state.last_end = end

    watched = state.life.watched()
    for detector in state.detectors:
        detector.take(seen, counts, watched)
    h.add(topics, values, dated, end)
    changes: list[AlertChange] = []
    for detector in state.detectors:
        new = _apply(state, detector.look(seen, counts, watched), end)
        if new:
            changes += new
            watched = state.life.watched()
    return in_order(changes)


def _apply(state: State, found: list[Found], at: int) -> list[AlertChange]:
    return [change for kind, f in found for change in state.life.take(kind, [f], state.history.names, at)]


def _note_sources(h: History, topics: list[int], sources: Sequence[tuple[str, ...]], end: int) -> None:
    """Remember the last source of each topic with news, and when there last was another."""
    for topic, names in zip(topics, sources, strict=True):
        if not names:
            continue
        last = h.last_source[topic]
        if len(names) > 1:
            h.several_sources[topic], h.other_source_at[topic] = True, end
        elif last is not None and names[0] != last:
            h.several_sources[topic], h.other_source_at[topic] = True, h.last_source_at[topic]
        h.last_source[topic], h.last_source_at[topic] = names[-1], end


def _learning_until(state: State, topic: int, now: int) -> int:
    """When a topic will have both the hours and, at its pace so far, the events it needs; at most a year from now."""
    h = state.history
    return _learned_at(state, int(h.first_hour[topic]), int(h.base[topic, EVENTS]), now)


def _learned_at(state: State, first_hour: int, have: int, now: int) -> int:
    rules = state.rules
    passed = state.history.hours - first_hour
    hours = rules.learning_hours - passed
    lacking = rules.learning_events * UNIT - have
    if lacking > 0:
        # The last 24 h are not baseline yet, so the first day always waits for at least one.
        hours = max(hours, -(-lacking * max(passed - 24, 24) // max(have, UNIT)))
    return now - now % HOUR + min(max(hours, 1), 365 * 24) * HOUR
