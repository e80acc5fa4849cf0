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
from foreshock.monitor.baseline import (
    DAY,
    EVENTS,
    HOUR,
    UNIT,
    FloatArray,
    History,
    IntArray,
    Pool,
    TopicArrays,
    estimate,
)
from foreshock.monitor.buckets import Bucket
from foreshock.monitor.detectors import DetectionRules, Finding, Level, Seen, change
from foreshock.monitor.detectors.alarms import Alarms
from foreshock.monitor.detectors.change import DIRECTIONS, DRIFT, NEARER, SPIKE
from foreshock.monitor.detectors.shares import Shares
from foreshock.monitor.detectors.silence import Silence
from foreshock.monitor.recent import Recent, Row

__all__ = ["Decision", "DetectionRules", "State", "decide", "pass_time"]

SNAPSHOT_VERSION = 3
SILENCE = Silence()

SHADOW_HOURS = 7 * 24
"""Running hours from a topic's first story after which its shadow alarms count."""


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
        self.shares = Shares(self.history.capacity)
        self.alarms = Alarms(self.history.capacity)
        self.life = LifeCycle({})
        self.last_end: int | None = None  # end of the last bucket that had stories
        self._usual: tuple[FloatArray, FloatArray, FloatArray] | None = None  # derived; of this hour and these topics

    @classmethod
    def fresh(cls, rules: DetectionRules) -> State:
        """The state before the first bucket."""
        return cls(rules)

    def seen(self) -> Seen:
        """What detectors may look at, with what is usual in the open hour."""
        if self._usual is None or len(self._usual[0]) != len(self.history.names):
            self._usual = self.history.usual(self.pool)
        return Seen(self.history, self.recent, self.pool, self.rules, *self._usual, self.shares, self.alarms)

    def _parts(self) -> dict[str, TopicArrays]:
        return {"history": self.history, "shares": self.shares, "alarms": self.alarms}

    def snapshot(self) -> bytes:
        """The state as bytes: safetensors of the arrays in use, JSON beside them; equal states give equal bytes."""
        from safetensors.numpy import save

        h = self.history
        n = len(h.names)
        rows, row_meta = self.recent.dump()
        arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = dict(rows)
        for room, part in self._parts().items():
            arrays.update({f"{room}.{name}": array for name, array in part.dump(n).items()})
        meta = {
            "version": SNAPSHOT_VERSION,
            "names": h.names,
            "last_source": h.last_source,
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
        h.names, h.index, h.last_source = names, {t: i for i, t in enumerate(names)}, meta["last_source"]
        h.hour, h.hours, h.day, h.days, state.last_end = meta["clock"]
        state.shares, state.alarms = Shares(capacity), Alarms(capacity)
        for room, part in state._parts().items():
            begin = room + "."
            part.load(len(names), {k.removeprefix(begin): a for k, a in arrays.items() if k.startswith(begin)})
        state.recent = Recent.load(capacity, arrays, meta["sources"], meta["row_sources"], meta["short"])
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
            changes += _close_hour(state)
        h.hour, state._usual = hour, None
    snapshot = None
    if day != h.day:
        _new_day(state, day)
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
        ended = _close_hour(state)
        h.hour += 1
        state._usual = None
        changes += in_order(ended + _on_the_hour(state, h.hour * HOUR))
    return changes


def _close_hour(state: State) -> list[AlertChange]:
    """Closes the open hour: who is no longer alarmed, and what the shadows make of it."""
    h, n = state.history, len(state.history.names)
    at = (h.hour + 1) * HOUR
    state.shares.close_hour(h.hours, h.hour, h.hour_now[:n], state.seen().effect)
    h.close_hour()
    state._usual = None
    seen, everyone = state.seen(), np.arange(n)
    sums = state.shares.sums(everyone, h.hours)
    if h.hours % 24 == 7 * (h.hours // 24) % 24:  # another hour each day
        state.shares.look_back(sums, h.hours, state.pool.share, state.pool.weight)
    _, mixed = change.weigh(seen, everyone, sums)
    over = set(state.alarms.close_hour(h.hours - 1, mixed, seen.ripe(everyone, SHADOW_HOURS)))
    standing = state.alarms.standing(everyone, mixed, h.hours - 1)
    changes: list[AlertChange] = []
    for kind in (SPIKE, DRIFT):
        calm = list[Finding]()
        for topic, alerts in sorted(state.life.watched(kind).items()):
            for alert in alerts:
                d = DIRECTIONS.index(alert.direction)
                near = state.alarms.threshold[d] + state.alarms.offset[d, topic] - 2 * NEARER
                if (d, topic) in over if alert.fired_at is not None else standing[d, topic] < near:
                    calm.append(change.standing(topic, alert, Level.CALM))
        changes += state.life.take(kind, calm, h.names, at, hour=True)
    return in_order(changes)


def _on_the_hour(state: State, at: int) -> list[AlertChange]:
    """Looks at all topics: who is silent."""
    h = state.history
    state.recent.forget(at)
    found = SILENCE.look(state.seen(), np.arange(len(h.names)), at, state.life.watched(SILENCE.kind))
    return state.life.take(SILENCE.kind, found, h.names, at, hour=True)


def _new_day(state: State, day: int) -> None:
    """The day's first bucket: close the day before, pool and calibrate anew."""
    h, rules = state.history, state.rules
    if h.day >= 0:
        h.close_day()
        state.alarms.close_day(h.days - 1)
    h.day = day
    state.pool, state._usual = estimate(h), None
    n = len(h.names)
    state.shares.estimate(n, h.hours)
    watching = 1 if rules.per_topic else max(int(state.seen().learned(slice(0, n)).sum()), 1)
    rate = rules.false_alarms / watching
    state.alarms.calibrate(h.days, (rate * rules.bad_news, rate * rules.better))


def _take(state: State, bucket: Bucket, end: int) -> tuple[IntArray, list[AlertChange]]:
    """Adds the bucket to what was seen, and looks at its topics. Their indices, and what changed."""
    h, recent, life = state.history, state.recent, state.life
    topics = np.array([h.topic(t.topic) for t in bucket.topics], np.int64)
    if recent.sums.shape[1] < h.capacity:
        recent.grow(h.capacity)
        state.shares.grow(h.capacity)
        state.alarms.grow(h.capacity)
    values = np.array([(t.events * UNIT, t.negative, t.positive) for t in bucket.topics], np.int64).reshape(-1, 3)
    dated = np.array([(t.day_events * UNIT, t.day_negative) for t in bucket.topics], np.int64).reshape(-1, 2)
    for index, t in zip(topics.tolist(), bucket.topics, strict=True):
        _note_sources(h, index, t.sources, end)
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
    state.shares.open_dated[topics] += dated

    watched = state.life.watched(SPIKE)
    for topic, alerts in state.life.watched(DRIFT).items():
        watched.setdefault(topic, []).extend(alerts)
    found = change.look(seen, topics, end, watched)
    for kind in (SPIKE, DRIFT):
        changes += state.life.take(kind, [f for of, f in found if of == kind], h.names, end, hour=False)
    return topics, in_order(changes)


def _note_sources(h: History, topic: int, sources: tuple[str, ...], end: int) -> None:
    """The topic's last source, and when there last was another."""
    last = h.last_source[topic]
    if not sources:
        return
    if last is not None and sources != (last,):
        h.several_sources[topic] = True
        h.other_source_at[topic] = end if len(sources) > 1 else h.last_source_at[topic]
    elif len(sources) > 1:
        h.several_sources[topic], h.other_source_at[topic] = True, end
    h.last_source[topic], h.last_source_at[topic] = sources[-1], end


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
