"""Bucket after bucket: what follows from what was seen.

    decision = decide(state, bucket)

A pure function of the state and the bucket: no clock, no file, no global. Each bucket that has stories moves the
state by itself; between buckets only whole UTC hours do anything (`pass_time`), so an empty stretch is stepped over in
one go, and however its passage is split, the same follows. What is dear - pooled estimates, drift, the snapshot - is
done at a day's first bucket.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass

import numpy as np

from foreshock.monitor.alerts import AlertChange, LifeCycle, in_order
from foreshock.monitor.baseline import DAY, EVENTS, HOUR, UNIT, FloatArray, History, IntArray, Pool, estimate
from foreshock.monitor.buckets import Bucket
from foreshock.monitor.detectors import DetectionRules, Level, Seen
from foreshock.monitor.detectors.drift import NEW_NORMAL_DAYS, Drift, negative_share
from foreshock.monitor.detectors.negativity_spike import NegativitySpike, remember, scale, score
from foreshock.monitor.detectors.silence import Silence
from foreshock.monitor.recent import Recent, Row

__all__ = ["Decision", "DetectionRules", "State", "decide", "pass_time"]

SNAPSHOT_VERSION = 2
SPIKE, DRIFT, SILENCE = NegativitySpike(), Drift(), Silence()

REPORTED_DAYS = 28
"""Running days for which the share that a drift alert reported stands in for the baseline: until it holds it itself."""


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
    """Of each topic of the bucket: until when it is learning (microseconds, an estimate), or None."""
    stalls: tuple[tuple[int, int], ...]
    """Stretches (start, end) without any story, longer than `stall_after`, that end with this bucket."""


class State:
    """All that deciding remembers. Mutable, owned by the caller; everything is in arrays over topics."""

    def __init__(self, rules: DetectionRules) -> None:
        self.rules = rules
        self.history = History()
        self.recent = Recent(self.history.capacity)
        self.pool = Pool()
        self.life = LifeCycle({SPIKE.kind: rules.spike_calm_hours})
        self.last_end: int | None = None  # end of the last bucket that had stories
        self._usual: tuple[FloatArray, FloatArray] | None = None  # derived; of this hour and these topics

    @classmethod
    def fresh(cls, rules: DetectionRules) -> State:
        """The state before the first bucket."""
        return cls(rules)

    def seen(self) -> Seen:
        """What detectors may look at, with what is usual in the open hour."""
        if self._usual is None or len(self._usual[0]) != len(self.history.names):
            self._usual = self.history.usual(self.pool)
        return Seen(self.history, self.recent, self.pool, self.rules, *self._usual)

    def snapshot(self) -> bytes:
        """The state as bytes: safetensors of the arrays in use, JSON beside them; equal states give equal bytes."""
        from safetensors.numpy import save

        h = self.history
        n = len(h.names)
        rows, row_meta = self.recent.dump()
        arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = dict(rows)
        for name, (lead, _, _, _) in h.ARRAYS.items():
            arrays[name] = np.ascontiguousarray(getattr(h, name)[(slice(None),) * len(lead) + (slice(0, n),)])
        for name in PLAIN:
            arrays[name] = getattr(h, name)
        meta = {
            "version": SNAPSHOT_VERSION,
            "names": h.names,
            "first_source": h.first_source,
            "clock": [h.hour, h.hours, h.day, h.days, self.last_end],
            "pool": asdict(self.pool),
            "open": self.life.dump(),
            **row_meta,
        }
        text = json.dumps(meta, sort_keys=True, separators=(",", ":"))
        return zlib.compress(save(arrays, {"foreshock": text}), 1)

    @classmethod
    def restore(cls, snapshot: bytes, rules: DetectionRules) -> State:
        """The state that `snapshot` was made of. Raises ValueError on bytes that are no snapshot of this version."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            raw = zlib.decompress(snapshot)
            arrays = load(raw)
            header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
            meta = json.loads(header["__metadata__"]["foreshock"])
        except (zlib.error, SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise ValueError(f"not a snapshot of the monitor's state: {error}") from error
        if meta["version"] != SNAPSHOT_VERSION:
            raise ValueError(
                f"the monitor's snapshot is of version {meta['version']}, this program reads {SNAPSHOT_VERSION}"
            )
        state = cls(rules)
        names = meta["names"]
        capacity = state.history.capacity
        while capacity < len(names):
            capacity *= 2
        h = state.history = History(capacity)
        h.names, h.index, h.first_source = names, {t: i for i, t in enumerate(names)}, meta["first_source"]
        h.hour, h.hours, h.day, h.days, state.last_end = meta["clock"]
        for name, (lead, _, _, _) in h.ARRAYS.items():
            getattr(h, name)[(slice(None),) * len(lead) + (slice(0, len(names)),)] = arrays[name]
        for name in PLAIN:
            getattr(h, name)[:] = arrays[name]
        state.recent = Recent.load(capacity, arrays, meta["sources"], meta["row_sources"], meta["short"])
        state.pool = Pool(**{**meta["pool"], "scale": tuple(meta["pool"]["scale"])})
        state.life.load(meta["open"])
        return state


PLAIN = ("ring_hour", "class_hours", "day_number", "feed", "looks", "looks_now")
"""Arrays of the history that have no axis of topics."""


def pass_time(state: State, until: int) -> Decision:
    """No story came before `until` (microseconds, a bucket's end): what falls due at the whole hours up to it.

    Hours that ended more than `stall_after` after the last story do not exist; nothing is decided in them.
    """
    return Decision({}, tuple(_pass(state, until)), None, {}, ())


def decide(state: State, bucket: Bucket) -> Decision:
    """The next bucket that has stories, in order of time. Raises ValueError where it is not later than the last."""
    h, rules = state.history, state.rules
    end = bucket.start + rules.bucket
    if state.last_end is not None and bucket.start < state.last_end:
        raise ValueError(f"a bucket at {bucket.start} after one that ended at {state.last_end}")
    changes = _pass(state, bucket.start)
    stalls: tuple[tuple[int, int], ...] = ()
    if state.last_end is not None and bucket.start - state.last_end > rules.stall_after:
        stalls = ((state.last_end, bucket.start),)
    hour, day = bucket.start // HOUR, bucket.start // DAY
    if hour != h.hour:
        # Time stood still over the end of the open hour: it is closed if stories were in it, else it never was.
        if h.hour >= 0 and state.last_end is not None and state.last_end > h.hour * HOUR:
            h.close_hour()
        h.hour, state._usual = hour, None
    snapshot = None
    if day != h.day:
        changes += _new_day(state, day, end)
        snapshot = state.snapshot()
    topics, changed = _take(state, bucket, end)
    usual = np.rint(state.seen().polarity[topics] * UNIT).astype(np.int64)
    learned = state.seen().learned(topics)
    baselines: dict[str, int] = {}
    learning: dict[str, int | None] = {}
    for place, t in enumerate(bucket.topics):
        if learned[place]:
            baselines[t.topic], learning[t.topic] = int(usual[place]), None
        else:
            learning[t.topic] = _learning_until(state, int(topics[place]), end)
    return Decision(baselines, tuple(changes + changed), snapshot, learning, stalls)


def _pass(state: State, until: int) -> list[AlertChange]:
    h, changes = state.history, list[AlertChange]()
    if state.last_end is None:
        return changes
    until = min(until, state.last_end + state.rules.stall_after)
    while (h.hour + 1) * HOUR <= until:
        h.close_hour()
        h.hour += 1
        state._usual = None
        changes += _on_the_hour(state, h.hour * HOUR)
    return changes


def _on_the_hour(state: State, at: int) -> list[AlertChange]:
    """Looks at all topics: who is silent, and which open spikes are over."""
    h, changes = state.history, list[AlertChange]()
    state.recent.forget(at)
    watched = state.life.watched(SPIKE.kind)
    if watched:
        topics = np.array(sorted(watched), np.int64)
        found = SPIKE.look(state.seen(), topics, at, watched)
        # Nothing new was seen: an hour may end an alert, but not begin or fire one.
        held = [f._replace(level=min(f.level, Level.HOLD)) for f in found]
        changes += state.life.take(SPIKE.kind, held, h.names, at, hour=True)
    found = SILENCE.look(state.seen(), np.arange(len(h.names)), at, state.life.watched(SILENCE.kind))
    changes += state.life.take(SILENCE.kind, found, h.names, at, hour=True)
    return in_order(changes)


def _new_day(state: State, day: int, at: int) -> list[AlertChange]:
    """The day's first bucket: close the day before, pool anew, look for drift."""
    h = state.history
    if h.day >= 0:
        h.close_day()
    h.day = day
    state.pool, state._usual = estimate(h, scale(h)), None
    for topic, alerts in state.life.watched(SPIKE.kind).items():
        h.aside_now[topic] = any(a.fired_at is not None for a in alerts)
    seen = state.seen()
    found = DRIFT.look(seen, np.arange(len(h.names)), at, state.life.watched(DRIFT.kind))
    changes = state.life.take(DRIFT.kind, found, h.names, at, hour=False)
    for change in changes:
        topic, worse = h.index[change.alert.topic], change.alert.direction == "worse"
        if change.event == "firing":
            h.drift_from[topic] = h.days
            if worse:
                h.drift_share[topic] = negative_share(seen, topic, change.alert.started_at)
                h.drift_until[topic] = h.days + REPORTED_DAYS
        elif change.event == "resolved":
            h.drift_from[topic] = h.days
            if worse and h.days < h.drift_until[topic] - REPORTED_DAYS + NEW_NORMAL_DAYS:
                h.drift_until[topic] = 0  # back to what it was; otherwise the new level is usual now
    state._usual = None
    return in_order(changes)


def _take(state: State, bucket: Bucket, end: int) -> tuple[IntArray, list[AlertChange]]:
    """Adds the bucket to what was seen, and looks at its topics. Their indices, and what changed."""
    h, recent, life = state.history, state.recent, state.life
    topics = np.array([h.topic(t.topic) for t in bucket.topics], np.int64)
    if recent.sums.shape[1] < h.capacity:
        recent.grow(h.capacity)
    values = np.array([(t.events * UNIT, t.negative, t.positive) for t in bucket.topics], np.int64).reshape(-1, 3)
    dated = np.array([(t.day_events * UNIT, t.day_negative) for t in bucket.topics], np.int64).reshape(-1, 2)
    for index, t in zip(topics.tolist(), bucket.topics, strict=True):
        _note_sources(h, index, t.sources)
    seen = state.seen()
    timed = values[:, :2] - dated
    expected, expected_timed = (np.rint(v[:, 0] * seen.share[topics]).astype(np.int64) for v in (values, timed))
    row = np.column_stack([values[:, :2], expected, timed, expected_timed])
    recent.forget(end)
    recent.add(Row(bucket.start, topics, row, tuple(t.sources for t in bucket.topics)))
    state.last_end = end

    changes: list[AlertChange] = []
    silent = life.watched(SILENCE.kind)
    if silent:
        came = [SILENCE.came(t, silent[t][0]) for t in topics.tolist() if t in silent]
        for f in came:
            if silent[f.topic][0].fired_at is not None:
                # A silence that was reported is no habit: it counts as a gap only up to where it fired.
                h.gap[f.topic] = min(int(h.gap[f.topic]), round(f.baseline * UNIT))
        changes += life.take(SILENCE.kind, came, h.names, end, hour=False)
    h.add(topics, values, end)

    scores = score(seen, topics)
    remember(h, topics, scores, state.rules.spike_events)
    found = SPIKE.look(seen, topics, end, life.watched(SPIKE.kind), scores)
    for change in life.take(SPIKE.kind, found, h.names, end, hour=False):
        changes.append(change)
        if change.event == "firing":
            topic = h.index[change.alert.topic]
            h.aside_now[topic] = True
            rows = h.last_days(2)
            h.day_aside[rows[(h.day_number[rows] + 1) * DAY > change.alert.started_at], topic] = True
    return topics, in_order(changes)


def _note_sources(h: History, topic: int, sources: tuple[str, ...]) -> None:
    if h.several_sources[topic] or not sources:
        return
    if h.first_source[topic] is None:
        h.first_source[topic] = sources[0]
    h.several_sources[topic] = len(sources) > 1 or sources[0] != h.first_source[topic]


def _learning_until(state: State, topic: int, now: int) -> int:
    """When a topic will have both the hours and, at its pace so far, the events it needs; at most a year from now."""
    h, rules = state.history, state.rules
    passed = h.hours - int(h.first_hour[topic])
    have = int(h.base[topic, EVENTS])
    hours = rules.learning_hours - passed
    lacking = rules.learning_events * UNIT - have
    if lacking > 0:
        # The last 24 h are not baseline yet, so the first day always waits for at least one.
        hours = max(hours, -(-lacking * max(passed - 24, 24) // max(have, UNIT)))
    return now - now % HOUR + min(max(hours, 1), 365 * 24) * HOUR
