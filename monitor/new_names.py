"""Surges of names that no topic has: the crisis that nobody had on the list.

    changes = watch.take(bucket, state)

Workers find the names in headlines (`topics/names.py`). A name of a negative story takes a place in a sketch of at most
`PLACES`; from then on all its events count there, and it is judged as a topic that was born with that story: by the
statistic of surges, and by what is usual of all names (`detectors/surges.py`). The threshold is the names' own: shadows
of their alarms are counted apart, and they have a part of the budget of their own. See docs/detection.md#7-new-names.

What is remembered stands in arrays over places, as that of topics does, and is stored with each closing. It follows the
state of the topics: its running hours and days, its usual share, and the feed as a whole.

Invariant: what follows depends on the buckets in order of time, and never on how they are split into closings. What is
taken over of the topics' state is therefore that of the last bucket, also for hours that close later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from foreshock.monitor import snapshots
from foreshock.monitor.alerts import AlertChange, LifeCycle
from foreshock.monitor.arrays import IntArray, TopicArrays
from foreshock.monitor.baseline import EVENTS, NEGATIVE, RING, History
from foreshock.monitor.buckets import Bucket, NameCounts
from foreshock.monitor.counting import plainest
from foreshock.monitor.deciding import State
from foreshock.monitor.detectors import surge
from foreshock.monitor.detectors.alarms import calm
from foreshock.monitor.detectors.surge import LEAST_NEGATIVE, WEIGHTS, WINDOWS
from foreshock.monitor.detectors.surges import Look, Surges
from foreshock.monitor.detectors.surging import BAD, FIRST_DAY, LEAST_NEW, Surging, hour_shape
from foreshock.monitor.findings import Finding, Level
from foreshock.monitor.kinds import NEW_NAME, WORSE
from foreshock.monitor.name_alarms import NameAlarms
from foreshock.monitor.repeats import Repeats, source_parts
from foreshock.monitor.sketch import Sketch
from foreshock.monitor.units import DAY, HOUR, NEW, UNIT

PLACES = 2_000
"""Names that are watched at once. Each has 4 kB of arrays."""
AT_ONCE = 200
"""New names that one bucket may bring, the most negative ones. So a flood of names costs bounded time, and cannot drive
out all others at once."""
KEPT_BUCKETS = 300
"""The last buckets of each name whose events are remembered, for the alert's sentence."""
FORMS = 8
"""The forms of each name that are counted: the first ones."""
VERSION = 3
READABLE = (VERSION, 2)
"""Versions of snapshots that are read: those that find the same names."""


class NewNames:
    """The names that no topic has, and their alerts.

    `share`: the part of the whole budget that they may spend.
    """

    def __init__(self, share: float, capacity: int = PLACES) -> None:
        self.share, self._capacity = share, capacity
        self._begin()

    def _begin(self) -> None:
        """Remember nothing."""
        capacity = self._capacity
        self.sketch = Sketch(capacity)
        self.surges, self.alarms, self.repeats = Surges(capacity), NameAlarms(capacity), Repeats(capacity)
        self.life = LifeCycle()
        self.first_hour: IntArray = np.zeros(capacity, np.int64)
        self.lately: list[list[tuple[int, int]]] = []
        """For each name, the starts of its last buckets, each with its negative mass in 1/10,000."""
        self.forms: list[dict[str, int]] = []
        """For each name, how it is written, and in how many buckets it is written so."""
        self.hours = self.days = -1
        """Running hours and days that are closed; -1: nothing was taken yet."""
        self._rate = 0.0
        self.changed = False
        """Whether anything differs from what is stored."""

    def take(self, bucket: Bucket, state: State) -> list[AlertChange]:
        """Return what becomes of alerts with a bucket that `state` has just decided, in order of time."""
        h, end = state.history, bucket.start + state.rules.bucket
        changes = self.pass_time(h)
        self._close_days(state)
        found = self._count(bucket, state, end)
        names = [NEW + written for written in self.sketch.written]
        for finding in sorted(found, key=lambda f: names[f.topic].encode()):
            changes += self.life.take(NEW_NAME, [finding], names, end)
        self.changed = True
        return changes

    def pass_time(self, h: History) -> list[AlertChange]:
        """Close the running hours that the topics' state has closed; return the alerts that are over."""
        changes: list[AlertChange] = []
        if h.hours < self.hours:  # old states were deleted, and the topics' state counts its hours anew
            changes += self.end(h.hour * HOUR)
            self._begin()
        if self.hours < 0:
            self.hours, self.days = h.hours, h.days
        for k in range(self.hours, h.hours):
            over = self._close_hour(k)
            at = (int(h.ring_hour[k % RING]) + 1) * HOUR
            ended = [alert for topic in over for alert in self.life.watched().get(topic, ())]
            for alert in sorted(ended, key=lambda a: a.topic.encode()):
                topic = next(key[1] for key, known in self.life.open.items() if known is alert)
                changes += self.life.take(*_one(calm(topic, alert)), [], at)
            self.changed = True
        self.hours = h.hours
        return changes

    def end(self, at: int) -> list[AlertChange]:
        """Return that all open alerts are over."""
        watched = self.life.watched()
        return [c for t in sorted(watched) for a in watched[t] for c in self.life.take(*_one(calm(t, a)), [], at)]

    def _close_hour(self, k: int) -> list[int]:
        n, s = len(self.sketch.names), self.surges
        past, kept = s.past, len(s.past)
        s.close_hour(n, k, 1.0)
        day = (past[(k + 1) % kept, :n, 1] - past[max(k + 1 - 24, 0) % kept, :n, 1]) / UNIT
        return self.alarms.close_hour(k, day, s.usual_mass(self.first_hour[:n], k + 1))

    def _close_days(self, state: State) -> None:
        n, rules, days = len(self.sketch.names), state.rules, state.history.days
        for day in range(self.days, days):
            self.surges.close_day(n, day)
            self.alarms.close_day(day)
            self.sketch.close_day()
        if days != self.days:
            self._estimate(state, n)
        desk = rules.false_alarms * (max(float(state.seen().weights.sum()), 1.0) if rules.per_topic else 1.0)
        rate = desk * self.share / (1 - self.share)  # the topics' rules have the rest of the budget
        if days != self.days or rate != self._rate:
            self.alarms.calibrate(days, rate)
        self.days, self._rate = days, rate

    def _estimate(self, state: State, n: int) -> None:
        """Estimate what is usual of a name. Names differ from topics: most are rare. Their share is that of topics,
        because a name has its place by a bad story."""
        self.surges.estimate(self.first_hour[:n], np.ones(n, bool), state.history.hours)
        self.surges.pool[2] = _surging(state).surges.pool[2]

    def _count(self, bucket: Bucket, state: State, end: int) -> list[Finding]:
        """Count the names of a bucket, and return which of them surge."""
        h, k, s = state.history, state.history.hours, self.surges
        known = _surging(state).surges
        for name in Surges.PLAIN:
            if name not in ("dated_at", "pool"):
                setattr(s, name, getattr(known, name).copy())
        places, names = self._places(bucket.names, k)
        if not names:
            return []
        topics = np.array(places, np.int64)
        values = np.array([(n.events * UNIT, n.negative, n.positive) for n in names], np.int64)
        dated = np.array([(n.day_events * UNIT, n.day_negative) for n in names], np.int64)
        sources, by_source = tuple(n.sources for n in names), tuple(n.by_source for n in names)
        minute = k * 60 + (end - h.hour * HOUR) * 60 // HOUR
        self.repeats.heard = state.repeats.heard.copy()
        parts, age = source_parts(values / UNIT, sources, by_source), 60 * (k - self.first_hour[topics])
        weight, _ = self.repeats.weigh(topics, parts, sources, -1, minute, age, state.trust())
        new = s.add(topics, values[:, :2], dated, weight, k, np.zeros(len(topics), bool))
        for place, row in zip(places, values.tolist(), strict=True):
            self.lately[place] = [*self.lately[place][1 - KEPT_BUCKETS :], (bucket.start, row[NEGATIVE])]
        if k < FIRST_DAY:
            return []
        self.alarms.looks[0] += values[:, EVENTS].sum() / UNIT
        bad = (weight[:, NEGATIVE] * values[:, NEGATIVE] >= LEAST_NEW).nonzero()[0]
        bad = bad[s.recent(topics[bad], k) >= LEAST_NEGATIVE]
        return self._look(state, topics[bad], new[bad], bucket.start, end) if len(bad) else []

    def _places(self, names: Sequence[NameCounts], k: int) -> tuple[list[int], list[Any]]:
        """Return the places of a bucket's names, and their sums; a name of bad news may take one."""
        known, sketch = self.sketch.index, self.sketch
        bad = sorted((n for n in names if n.key not in known and n.sums.negative >= BAD), key=_gravest)[:AT_ONCE]
        enter = {n.key for n in bad}
        # Those that are there come first, so that their places are not given away beneath them.
        taken = [n for n in names if n.key in known] + [n for n in names if n.key in enter]
        kept = self.alarms.firing.copy()
        places = []
        for n in taken:
            is_new = n.key not in known
            if not is_new or not kept.all():
                place = sketch.enter(n.key, k, n.sums.events, kept, self._forget)
                if is_new:
                    self.first_hour[place] = k
                    if place == len(self.lately):
                        self.lately.append([])
                        self.forms.append({})
                forms = self.forms[place]
                if n.written in forms or len(forms) < FORMS:
                    forms[n.written] = forms.get(n.written, 0) + 1
                    sketch.written[place] = plainest(forms)
                kept[place] = True
                places.append(place)
        return places, [n.sums for n in taken[: len(places)]]

    def _forget(self, place: int) -> None:
        """Remember nothing of the name that had a place."""
        for part in self._parts().values():
            for name, (lead, _, _, fill) in part.ARRAYS.items():
                getattr(part, name)[(*(slice(None),) * len(lead), place)] = fill
        self.lately[place], self.forms[place] = [], {}

    def _look(self, state: State, topics: IntArray, new: IntArray, start: int, end: int) -> list[Finding]:
        h, alarms, k = state.history, self.alarms, state.history.hours
        part, length, shape = (end - h.hour * HOUR) / HOUR, state.rules.bucket / HOUR, hour_shape(h)
        pooled = np.ones(self.sketch.capacity, bool)
        view = self.surges.look(topics, self.first_hour[topics], k, part, length, shape, new, pooled)
        mixed = surge.mixtures(view.ratios)
        alarms.see(topics, mixed)
        longest = alarms.allowed(topics, k)
        score = mixed[longest, np.arange(len(topics))]
        threshold = alarms.thresholds(topics, np.ones(len(topics)))
        found = []
        for place in ((score >= threshold) & ~alarms.firing[topics]).nonzero()[0].tolist():
            topic, windows = int(topics[place]), slice(0, int(longest[place]) + 1)
            window = int((view.ratios[windows, place] + np.log(WEIGHTS[windows])).argmax())
            alarms.fire(topic, k)
            sure = float(score[place]), float(threshold[place])
            found.append(self._finding(h, view, place, topic, window, sure, start, end))
        return found

    def _finding(
        self, h: History, v: Look, place: int, topic: int, window: int, sure: tuple[float, float], start: int, end: int
    ) -> Finding:
        """Return what is said: the bad news of the window that speaks most surely, and what is usual."""
        opens = max(h.hours - WINDOWS[window], 0)
        hour = h.hour if opens >= h.hours else int(h.ring_hour[opens % RING])
        since = hour * HOUR if window else start
        bad = [(at, negative) for at, negative in self.lately[topic] if at >= since]
        started = min((at for at, negative in bad if negative >= BAD), default=start)
        mass = sum(negative for at, negative in bad if at >= started) / UNIT
        usual = float(v.daily[window, place]) * (end - started) / DAY
        return Finding(topic, WORSE, Level.MET, sure[0], mass, usual, started, started, *sure)

    # What is stored.

    def _parts(self) -> dict[str, TopicArrays]:
        return {"surges": self.surges, "alarms": self.alarms, "repeats": self.repeats}

    def dump(self) -> bytes:
        """Return all that is remembered as bytes. Equal watches give equal bytes."""
        n = len(self.sketch.names)
        arrays: dict[str, Any] = {
            f"{room}.{name}": array for room, part in self._parts().items() for name, array in part.dump(n).items()
        }
        s = self.surges
        # The sums up to each hour repeat what came before. Their steps are mostly nothing, and take no room.
        arrays["surges.past"] = np.diff(s.past[_in_order(self.hours), :n], axis=0, prepend=0)
        arrays |= {"count": self.sketch.count[:n], "heard": self.sketch.heard[:n], "first": self.first_hour[:n]}
        meta = {
            "version": VERSION,
            "names": self.sketch.names,
            "written": self.sketch.written,
            "lately": self.lately,
            "forms": self.forms,
            "clock": [self.hours, self.days],
            "rate": self._rate,
            "open": self.life.dump(),
        }
        return snapshots.write(arrays, meta)

    @classmethod
    def restore(cls, body: bytes, share: float, capacity: int = PLACES) -> NewNames:
        """Return the watch that `dump` returned. Raises ValueError on other bytes, and on those of another version."""
        arrays, meta = snapshots.read(body, *READABLE)
        try:
            watch = cls(share, capacity)
            n, sketch = len(meta["names"]), watch.sketch
            if n > capacity:
                raise ValueError(f"{n} names are more than {capacity}")
            sketch.names, sketch.written = meta["names"], meta["written"]
            sketch.index = {name: place for place, name in enumerate(sketch.names)}
            watch.lately = [[(at, negative) for at, negative in rows] for rows in meta["lately"]]
            watch.forms = meta["forms"]
            (watch.hours, watch.days), watch._rate = meta["clock"], meta["rate"]
            steps, order = arrays["surges.past"].cumsum(axis=0), _in_order(watch.hours)
            arrays["surges.past"] = np.zeros_like(steps)
            arrays["surges.past"][order] = steps
            for room, part in watch._parts().items():
                begin = room + "."
                part.load(n, {k.removeprefix(begin): a for k, a in arrays.items() if k.startswith(begin)})
            sketch.count[:n], sketch.heard[:n], watch.first_hour[:n] = (
                arrays[name] for name in ("count", "heard", "first")
            )
            watch.life.load(meta["open"])
            return watch
        except (KeyError, TypeError, IndexError, ValueError, MemoryError) as error:
            raise ValueError(f"what is stored of new names is damaged: {error!r}") from error


def _in_order(hours: int) -> IntArray:
    """Return the rows of `Surges.past` from the oldest hour to the newest, `hours`."""
    kept = len(Surges(1).past)
    return np.arange(hours + 1, hours + 1 + kept) % kept


def _surging(state: State) -> Surging:
    return next(detector for detector in state.detectors if isinstance(detector, Surging))


def _gravest(name: NameCounts) -> tuple[int, str]:
    return -name.sums.negative, name.key


def _one(found: tuple[str, Finding]) -> tuple[str, list[Finding]]:
    return found[0], [found[1]]
