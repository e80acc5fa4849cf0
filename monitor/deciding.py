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
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from foreshock.monitor.alerts import Alert, AlertChange, LifeCycle, in_order
from foreshock.monitor.arrays import FloatArray, IntArray, TopicArrays
from foreshock.monitor.baseline import EVENTS, History, Pool, estimate
from foreshock.monitor.buckets import Bucket
from foreshock.monitor.detectors import DetectionRules, Seen, change, surging, windows
from foreshock.monitor.detectors.alarms import Alarms
from foreshock.monitor.detectors.shares import FIRST_WEEK, Shares
from foreshock.monitor.detectors.silence import SILENCE, Silence
from foreshock.monitor.detectors.surge_alarms import SurgeAlarms
from foreshock.monitor.detectors.surges import Surges
from foreshock.monitor.detectors.surging import SURGE
from foreshock.monitor.detectors.volume import Volume
from foreshock.monitor.recent import Recent, Row
from foreshock.monitor.units import DAY, HOUR, UNIT

Stall = tuple[int, int]

__all__ = ["Counts", "Decision", "DetectionRules", "State", "decide", "decide_counts", "pass_time"]

SNAPSHOT_VERSION = 7

SHADOW_HOURS = FIRST_WEEK + 3 * 24
"""Running hours from a topic's first story after which its shadow alarms count."""


class Counts(NamedTuple):
    """What a bucket comes to, in arrays over the topics that have news in it."""

    start: int
    topics: IntArray
    """Indices (`State.history.topic`), distinct."""
    values: IntArray
    """(topics, 3): events in 1/10,000, sum of negative and of positive probabilities."""
    dated: IntArray
    """(topics, 2): of events and negative, what is known only to the day."""
    sources: tuple[tuple[str, ...], ...]


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

    def __init__(self, rules: DetectionRules, capacity: int = 16) -> None:
        self.rules = rules
        self.history = History(capacity)
        self.recent = Recent(capacity)
        self.pool = Pool()
        self.shares = Shares(capacity)
        self.volume = Volume(capacity)
        self.alarms = Alarms(capacity)
        self.silence = Silence(capacity)
        self.surges = Surges(capacity)
        self.surge_alarms = SurgeAlarms(capacity)
        self.life = LifeCycle()
        self.last_end: int | None = None  # end of the last bucket that had stories
        self._usual: tuple[FloatArray, ...] | None = None  # derived; of this hour and these topics
        self._shape: tuple[tuple[int, int], float] | None = None  # derived; the open hour's
        self._weights: FloatArray | None = None  # derived; of these topics

    @classmethod
    def fresh(cls, rules: DetectionRules) -> State:
        """The state before the first bucket."""
        return cls(rules)

    def adopt(self, rules: DetectionRules, *, gone: Iterable[str] = (), back: Iterable[str] = ()) -> None:
        """Goes on by other rules, from the next bucket; `gone`: topics that the settings no longer have, and `back`,
        that they have again. What did not come meanwhile is not missed."""
        index = self.history.index
        for topic in (index[name] for name in gone if name in index):
            self.silence.retired[topic] = True
            self.life.open.pop((SILENCE, topic, "worse"), None)
        for topic in (index[name] for name in back if name in index):
            if self.silence.retired[topic]:
                self.silence.retired[topic], self.history.gap[topic] = False, 0
        if rules != self.rules:
            self.rules, self._weights = rules, None
            calibrate(self)

    def seen(self) -> Seen:
        """What detectors may look at, with what is usual in the open hour."""
        h = self.history
        if self._usual is None or len(self._usual[0]) != len(h.names):
            self._usual = *h.usual(self.pool), self.volume.usual(h)
        if self._weights is None or len(self._weights) != len(h.names):
            weights = dict(self.rules.weights)
            self._weights = np.array([weights.get(name, 1.0) for name in h.names])
        share, polarity, effect, events = self._usual
        if self._shape is None or self._shape[0] != (h.hour, h.hours):
            self._shape = (h.hour, h.hours), surging.hour_shape(h)
        derived = share, polarity, effect, events, self._weights
        rooms = self.shares, self.volume, self.alarms, self._shape[1], self.surges, self.surge_alarms
        return Seen(h, self.recent, self.pool, self.rules, *derived, *rooms)

    def _parts(self) -> dict[str, TopicArrays]:
        rooms = self.history, self.shares, self.volume, self.alarms, self.silence, self.surges, self.surge_alarms
        return {type(room).__name__.lower(): room for room in rooms}

    def grow(self) -> None:
        """Makes room in all arrays for the topics that the history knows."""
        if self.recent.sums.shape[1] < self.history.capacity:
            self.recent.grow(self.history.capacity)
            for room in self._parts().values():
                if room.capacity < self.history.capacity:
                    room.grow(self.history.capacity)

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
        names = meta["names"]
        capacity = 16
        while capacity < len(names):
            capacity *= 2
        state = cls(rules, capacity)
        h = state.history
        h.names, h.index, h.last_source = names, {t: i for i, t in enumerate(names)}, meta["last_source"]
        h.hour, h.hours, h.day, h.days, state.last_end = meta["clock"]
        for name, room in state._parts().items():
            begin = name + "."
            room.load(len(names), {k.removeprefix(begin): a for k, a in arrays.items() if k.startswith(begin)})
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
    changes, snapshot, stalls = _move(state, bucket.start, snapshot=True)
    h, end = state.history, bucket.start + state.rules.bucket
    topics = np.array([h.topic(t.topic) for t in bucket.topics], np.int64)
    values = np.array([(t.events * UNIT, t.negative, t.positive) for t in bucket.topics], np.int64).reshape(-1, 3)
    dated = np.array([(t.day_events * UNIT, t.day_negative) for t in bucket.topics], np.int64).reshape(-1, 2)
    sources = tuple(t.sources for t in bucket.topics)
    changes += _take(state, Counts(bucket.start, topics, values, dated, sources))
    usual = np.rint(state.seen().polarity[topics] * UNIT).astype(np.int64)
    learned = state.seen().learned(topics)
    baselines: dict[str, int] = {}
    learning: dict[str, int | None] = {}
    for place, t in enumerate(bucket.topics):
        if learned[place]:
            baselines[t.topic], learning[t.topic] = int(usual[place]), None
        else:
            learning[t.topic] = _learning_until(state, int(topics[place]), end)
    return Decision(baselines, tuple(changes), snapshot, learning, stalls)


def decide_counts(state: State, counts: Counts, *, snapshot: bool = False) -> Decision:
    """As `decide`, of a bucket that is in arrays already; says nothing of baselines and learning."""
    changes, made, stalls = _move(state, counts.start, snapshot=snapshot)
    changes += _take(state, counts)
    return Decision({}, tuple(changes), made, {}, stalls)


def calibrate(state: State) -> None:
    """Sets all thresholds to where past shadow alarms ring as often as the budget allows."""
    h, rules, seen = state.history, state.rules, state.seen()
    everyone = np.arange(len(h.names))
    learned = seen.learned(everyone)
    rate = unit_rate(rules, seen.weights[learned])
    shares = np.array([rules.bad_news * (1 - rules.surges), rules.better, rules.volume])
    state.alarms.calibrate(h.days, shares * rate)
    calibrate_surges(state)
    steady = learned & h.steady[: len(h.names)]
    state.silence.calibrate(h, rules.silence * unit_rate(rules, seen.weights[steady]))


def calibrate_surges(state: State) -> None:
    """Sets the threshold of surges, which all topics share: quiet ones leave to busy ones what they cannot spend."""
    rules, weights = state.rules, state.seen().weights
    desk = rules.false_alarms * (max(float(weights.sum()), 1.0) if rules.per_topic else 1.0)
    state.surge_alarms.calibrate(state.history.days, rules.bad_news * rules.surges * desk)


def unit_rate(rules: DetectionRules, weights: FloatArray) -> float:
    """False alarms a day of all kinds that a topic of weight 1 may raise, where topics of `weights` are watched."""
    return rules.false_alarms if rules.per_topic else rules.false_alarms / max(float(weights.sum()), 1.0)


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
            changes += _close_hour(state)
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
        ended = _close_hour(state)
        h.hour += 1
        state._usual = None
        changes += in_order(ended + _on_the_hour(state, h.hour * HOUR))
    return changes


def _close_hour(state: State) -> list[AlertChange]:
    """Closes the open hour: who is no longer alarmed, and what the shadows make of it."""
    h, n, seen = state.history, len(state.history.names), state.seen()
    at, k, everyone = (h.hour + 1) * HOUR, h.hours, np.arange(n)
    counted = k - h.first_hour[:n] >= FIRST_WEEK
    state.volume.close_hour(k, h.hour_now[:n, EVENTS] - state.volume.open_dated[:n], seen.events)
    surges = state.surges
    state.shares.close_hour(k, h.hour, surges.now[:n], seen.effect, counted, surges.now_dated[:n])
    over = surging.close_hour(seen, seen.shape)
    h.close_hour()
    state._usual = None
    if h.hours < 72:  # until a few days are known, each hour tells more of what is usual
        state.surges.estimate(h.first_hour[:n], h.pooled(), h.hours, float(state.shares.correlation[0]))
        calibrate_surges(state)
    view = windows.view_of_hour(seen)
    state.shares.compare_hour(view.sums, h.hours, h.pooled())
    if h.hours % 24 == 7 * (h.hours // 24) % 24:  # another hour each day
        state.shares.look_back(view.sums, h.hours, state.pool.share, state.pool.weight)
        state.volume.look_back(view.events, view.expected, h.hours, seen.ripe(everyone, SHADOW_HOURS))
    _, mixed = windows.weigh(view)
    state.alarms.close_hour(k, mixed, seen.ripe(everyone, SHADOW_HOURS))
    found = change.ended(seen, view, mixed, _watched(state))
    changes: list[AlertChange] = []
    for kind in change.KINDS:
        changes += state.life.take(kind, [f for of, f in found if of == kind], h.names, at)
    calm = surging.ended(seen, over, state.life.watched(SURGE))
    changes += state.life.take(SURGE, calm, h.names, at)
    return in_order(changes)


def _on_the_hour(state: State, at: int) -> list[AlertChange]:
    """Looks at all topics: who is silent."""
    h, seen = state.history, state.seen()
    state.recent.forget(at)
    found = state.silence.look(seen, seen.ripe(np.arange(len(h.names)), SHADOW_HOURS))
    return state.life.take(SILENCE, found, h.names, at)


def _new_day(state: State, day: int) -> None:
    """The day's first bucket: close the day before, pool and calibrate anew."""
    h, rules, n = state.history, state.rules, len(state.history.names)
    if h.day >= 0:
        h.close_day()
        for counts in (*state.alarms.counts, state.silence.counts):
            counts.close_day(h.days - 1)
        state.surges.close_day(n, h.days - 1)
        state.surge_alarms.close_day(h.days - 1)
    h.day = day
    state.pool, state._usual = estimate(h), None
    state.shares.estimate(n, h.hours)
    state.volume.estimate(n, h.hours)
    state.silence.estimate(h)
    state.surges.estimate(h.first_hour[:n], h.pooled(), h.hours, float(state.shares.correlation[0]))
    seen = state.seen()
    rate = unit_rate(rules, seen.weights[seen.learned(slice(0, n))])
    state.alarms.decay(rate * np.array([rules.bad_news * (1 - rules.surges), rules.better, rules.volume]), seen.weights)
    calibrate(state)


def _take(state: State, counts: Counts) -> list[AlertChange]:
    """Adds the bucket to what was seen, and looks at its topics: what changed."""
    h, recent, life = state.history, state.recent, state.life
    topics, values, dated = counts.topics, counts.values, counts.dated
    end = counts.start + state.rules.bucket
    state.grow()
    _note_sources(h, topics.tolist(), counts.sources, end)
    seen = state.seen()
    timed = values[:, :2] - dated
    expected, expected_timed = (np.rint(v[:, 0] * seen.share[topics]).astype(np.int64) for v in (values, timed))
    recent.forget(end)
    row = np.column_stack([values[:, :2], expected, timed, expected_timed])
    recent.add(Row(counts.start, topics, row, counts.sources))
    state.last_end = end

    changes: list[AlertChange] = []
    silent = life.watched(SILENCE)
    if silent:
        came = [state.silence.came(t, silent[t][0]) for t in topics.tolist() if t in silent]
        for f in came:
            if silent[f.topic][0].fired_at is not None:
                # A silence that was reported is no habit: it counts as a gap only up to where it fired.
                h.gap[f.topic] = min(int(h.gap[f.topic]), round(f.baseline * UNIT))
        changes += life.take(SILENCE, came, h.names, end)
    h.gap[topics[state.silence.retired[topics]]] = 0  # while the settings had no such topic: no habit of it
    state.silence.retired[topics] = False
    h.add(topics, values, end)
    state.silence.passed[topics] = 0
    state.volume.open_dated[topics] += dated[:, EVENTS]

    # Before the share: where bad news surge, that its share has risen is the same news.
    surged, weighed = surging.look(seen, topics, values, dated, counts.sources, end, life.watched(SURGE))
    changes += life.take(SURGE, surged, h.names, end)
    found = change.look(seen, topics, weighed, _watched(state))
    for kind in change.KINDS:
        changes += life.take(kind, [f for of, f in found if of == kind], h.names, end)
    return in_order(changes)


def _watched(state: State) -> dict[int, list[Alert]]:
    """Open alerts of the kinds that windows find, by topic."""
    watched: dict[int, list[Alert]] = {}
    for kind in change.KINDS:
        for topic, alerts in state.life.watched(kind).items():
            watched.setdefault(topic, []).extend(alerts)
    return watched


def _note_sources(h: History, topics: list[int], sources: Sequence[tuple[str, ...]], end: int) -> None:
    """Of topics with news: the last source of each, and when there last was another."""
    several, another, told = [], [], []
    for topic, names in zip(topics, sources, strict=True):
        if not names:
            continue
        last = h.last_source[topic]
        if len(names) > 1:
            several.append(topic)
        elif last is not None and names[0] != last:
            another.append(topic)
        h.last_source[topic] = names[-1]
        told.append(topic)
    h.several_sources[several + another] = True
    h.other_source_at[several] = end
    h.other_source_at[another] = h.last_source_at[another]
    h.last_source_at[told] = end


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
