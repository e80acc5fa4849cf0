"""Plant changes of known size into a topic's past counts, and see which of them raise alerts.

    at = moments(past, rules, "oil", learned, within=7 * DAY, count=10)
    noticed = measure(past, rules, "oil", at, 7 * DAY, CHANGES)

The past is decided once unchanged, and the state is kept at each moment. From there its buckets are decided again with
a change in the topic's counts; those of other topics stay the same. Alerts that fire without the change do not count.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from foreshock.analysis.history import Past, Steps
from foreshock.monitor.alerts import Alert, AlertChange
from foreshock.monitor.arrays import FloatArray, IntArray
from foreshock.monitor.baseline import EVENTS, NEGATIVE, POSITIVE
from foreshock.monitor.buckets import SourceSums
from foreshock.monitor.deciding import BucketCounts, DetectionRules, State, pass_time
from foreshock.monitor.kinds import SPIKE, share_of
from foreshock.monitor.units import DAY, HOUR, UNIT

APART = DAY
"""The least average running time between two moments. Closer moments would repeat the same trial."""
DAY_EVENTS, DAY_NEGATIVE = 3, 4
"""Columns of a topic's rows after events, negative and positive: events and negative sum known only to the day.

All columns are in 1/10,000 of an event.
"""


class Change(NamedTuple):
    """A change to plant: the negative share rises by `points` (of 1), every event comes `times` times, or bad `stories`
    are added."""

    name: str
    kind: str
    """`share`, `volume`, `silence` or `surge`."""
    points: float = 0.0
    times: int = 1
    stories: int = 0

    def raises(self, alert: Alert) -> bool:
        """Whether the alert is of the kind that this change raises."""
        if self.kind == "surge":
            return alert.kind == SPIKE
        return share_of(alert.kind, alert.direction) == ("bad_news" if self.kind == "share" else self.kind)


CHANGES = (
    Change("+10 points", "share", points=0.1),
    Change("+20 points", "share", points=0.2),
    Change("+40 points", "share", points=0.4),
    Change("twice the events", "volume", times=2),
    Change("4 times the events", "volume", times=4),
    Change("no events", "silence", times=0),
    Change("3 bad stories within 3 h", "surge", stories=3),
    Change("5 bad stories within 3 h", "surge", stories=5),
    Change("12 bad stories within 3 h", "surge", stories=12),
)
SURGE_HOURS = 3
BAD, GOOD = 9_000, 300
"""Negative and positive probability of an added story, in 1/10,000: about what the encoder gives a bad one."""


class Plant(NamedTuple):
    """A change at one moment. Times in microseconds."""

    at: int
    noticed_at: int | None
    firing: bool
    """An alert of this kind was already firing when the change began. A second one needs a larger change."""
    events: int
    negative: int
    rose: int
    """`events` and `negative`: the topic's events and their negative sum while the change lasted, without the change.
    `rose`: what the change added to the negative sum. All in 1/10,000 of an event."""
    stories: int | None = None
    """For a surge that was noticed: the bad stories that had come by then."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """The results of one change at all moments."""

    change: Change
    plants: tuple[Plant, ...]

    @property
    def delays(self) -> list[int]:
        """Microseconds from the moment to the alert, for each plant that was noticed."""
        return [p.noticed_at - p.at for p in self.plants if p.noticed_at is not None]


def moments(past: Past, rules: DetectionRules, topic: str, learned: int | None, within: int, count: int) -> list[int]:
    """Return places in `past.counts` at which changes begin: one drawn from each of `count` equal stretches, in order.

    They lie between the time when the topic had learned (`learned`) and `within` before the end. For a topic that is
    too rare to learn (None) they begin after the learning time since its first story. There are fewer moments, or none,
    where they would be less than a running day apart.
    """
    starts, index = _starts(past), past.names.index(topic)
    running = np.minimum(np.diff(starts, prepend=starts[0]), rules.bucket + rules.stall_after).cumsum()
    if learned is None:
        born = next(place for place, counts in enumerate(past.counts) if index in counts.topics)
        first = int(running.searchsorted(running[born] + rules.learning_hours * HOUR))
    else:
        first = bisect_left(starts, learned)
    last = bisect_right(starts, past.until - within) - 1
    room = int(running[last] - running[first]) if first < last else 0
    count = min(count, room // APART)
    if not count:
        return []
    drawn = (np.arange(count) + seeded(topic, within, count).random(count)) * room / count
    return [int(place) for place in running.searchsorted(running[first] + drawn)]


def measure(
    past: Past,
    rules: DetectionRules,
    topic: str,
    at: Sequence[int],
    within: int,
    changes: Sequence[Change],
    on_progress: Callable[[float], None] | None = None,
) -> list[Noticed]:
    """Begin each change at each of the places `at`, and return whether and when an alert on the topic fires for it.

    `on_progress` is called with the share that is done (0 to 1).
    """
    starts, index = _starts(past), past.names.index(topic)
    stretches = [range(place, bisect_left(starts, starts[place] + within)) for place in at]
    there = [rows_of(past, index, stretch) for stretch in stretches]
    # Nothing changes before the topic's first story after a moment, so that part is decided once for all changes.
    # A surge brings its own story at once.
    firsts = {places[0] for places, _ in there if places}
    if any(change.kind == "surge" for change in changes):
        firsts.update(at)
    steps = Steps(on_progress, stretches[-1].stop + len(changes) * sum(map(len, stretches)))
    state, was, kept = State.fresh(rules), list[Alert](), dict[int, tuple[bytes, list[Alert]]]()
    for place in range(stretches[-1].stop):
        if place in firsts:
            firing = [a for a in state.life.open.values() if a.topic == topic and a.fired_at is not None]
            kept[place] = state.snapshot(), firing
        was += _fired(past.decide(state, place).changes, topic)
        steps.take()
    was += _fired(pass_time(state, starts[at[-1]] + within).changes, topic)

    def plant(change: Change, stretch: range, places: list[int], rows: IntArray) -> Plant:
        begins, until = starts[stretch.start], starts[stretch.start] + within
        if change.kind == "surge":
            return surge(change, stretch, begins, until)
        if not places:
            return Plant(begins, None, False, 0, 0, 0)
        since, (snapshot, firing) = starts[places[0]], kept[places[0]]
        changed = planted(rows, change, seeded(topic, begins, change.name))
        instead = {place: _with_row(past.counts[place], index, row) for place, row in zip(places, changed, strict=True)}
        alerts = _alerts(past, State.restore(snapshot, rules), topic, range(places[0], stretch.stop), until, instead)
        anyway = list(_times(change, since, until, was))
        noticed_at = first_more(_times(change, since, until, alerts), anyway)  # stops deciding there
        events, negative = (int(total) for total in rows[:, [EVENTS, NEGATIVE]].sum(axis=0))
        rose = int(changed[:, NEGATIVE].sum()) - negative
        return Plant(begins, noticed_at, any(map(change.raises, firing)), events, negative, rose)

    def surge(change: Change, stretch: range, begins: int, until: int) -> Plant:
        snapshot, firing = kept[stretch.start]
        bad = _places_of_stories(starts, stretch, change.stories)
        instead = dict[int, BucketCounts]()
        for number, place in enumerate(bad):
            instead[place] = _with_bad_story(instead.get(place, past.counts[place]), index, f"planted source {number}")
        alerts = _alerts(past, State.restore(snapshot, rules), topic, stretch, until, instead)
        noticed_at = first_more(_times(change, begins, until, alerts), list(_times(change, begins, until, was)))
        come = None if noticed_at is None else sum(starts[place] < noticed_at for place in bad)
        return Plant(begins, noticed_at, any(map(change.raises, firing)), 0, 0, BAD * len(bad), come)

    found = list[Noticed]()
    for change in changes:
        plants = list[Plant]()
        for stretch, (places, rows) in zip(stretches, there, strict=True):
            plants.append(plant(change, stretch, places, rows))
            steps.take(len(stretch))
        found.append(Noticed(change, tuple(plants)))
    return found


def _places_of_stories(starts: Sequence[int], stretch: range, count: int) -> list[int]:
    """Return the places of the buckets that get `count` bad stories, spread over the first hours of a stretch."""
    times = [starts[stretch.start] + round(n * SURGE_HOURS * HOUR / count) for n in range(count)]
    return [min(bisect_left(starts, time), stretch.stop - 1) for time in times]


def _with_bad_story(counts: BucketCounts, topic: int, source: str) -> BucketCounts:
    """Return the bucket with one more event of a topic, a bad one from a source of its own."""
    there = np.flatnonzero(counts.topics == topic)
    if not len(there):
        values = np.concatenate([counts.values, [[UNIT, BAD, GOOD]]])
        dated = np.concatenate([counts.dated, np.zeros((1, 2), np.int64)])
        topics = np.append(counts.topics, topic)
        parts = None if counts.by_source is None else (*counts.by_source, ())
        return BucketCounts(counts.start, topics, values, dated, (*counts.sources, (source,)), by_source=parts)
    values, place = counts.values.copy(), int(there[0])
    values[place] += (UNIT, BAD, GOOD)
    sources = (*counts.sources[:place], (*counts.sources[place], source), *counts.sources[place + 1 :])
    found = counts._replace(values=values, sources=sources)
    if counts.by_source is None or not counts.sources[place]:
        return found
    before = counts.by_source[place] or (_alone(counts, place),)
    bad = SourceSums(source, 1, BAD, GOOD, 0, 0)
    return found._replace(by_source=_with_parts(counts.by_source, place, (*before, bad)))


def _alone(counts: BucketCounts, place: int) -> SourceSums:
    """Return what a topic's only source contributes."""
    (name,), (events, negative, positive) = counts.sources[place], counts.values[place].tolist()
    day_events, day_negative = counts.dated[place].tolist()
    return SourceSums(name, events // UNIT, negative, positive, day_events // UNIT, day_negative)


def _with_parts(
    by_source: tuple[tuple[SourceSums, ...], ...], place: int, parts: tuple[SourceSums, ...]
) -> tuple[tuple[SourceSums, ...], ...]:
    return (*by_source[:place], parts, *by_source[place + 1 :])


def seeded(*of: object) -> np.random.Generator:
    """Return a random generator that depends only on `of`, on every platform."""
    return np.random.default_rng(int.from_bytes(sha256("\n".join(map(str, of)).encode()).digest()[:16]))


def rows_of(past: Past, topic: int, stretch: Iterable[int]) -> tuple[list[int], IntArray]:
    """Return the places of a stretch in which the topic has stories, and its rows there, shape (places, 5)."""
    places, rows = list[int](), list[IntArray]()
    for place in stretch:
        counts = past.counts[place]
        for row in np.flatnonzero(counts.topics == topic).tolist():
            places.append(place)
            rows.append(np.concatenate([counts.values[row], counts.dated[row]]))
    return places, np.array(rows, np.int64).reshape(-1, 5)


def planted(rows: IntArray, change: Change, rng: np.random.Generator) -> IntArray:
    """Return the rows with the change in them."""
    return _turned(rows, change.points, rng) if change.kind == "share" else rows * change.times


def _turned(rows: IntArray, points: float, rng: np.random.Generator) -> IntArray:
    """Turn each event wholly negative with probability q; leave the others unchanged.

    An event with negative probability s gains q (1 - s) on average, so the share p of all rows rises by q (1 - p).
    With q = points / (1 - p) it rises by `points`, or to 1 where there is not enough room. Only the sums of a bucket's
    events are known, so each event that turns is taken to be like the bucket's mean.
    """
    out, total, negative = rows.copy(), int(rows[:, EVENTS].sum()), int(rows[:, NEGATIVE].sum())
    q = min(points * total / (total - negative), 1.0) if total > negative else 0.0
    dated = rows[:, [DAY_EVENTS, DAY_NEGATIVE]]
    turned: FloatArray = np.zeros(len(rows))
    for part, columns in ((rows[:, [EVENTS, NEGATIVE]] - dated, [NEGATIVE]), (dated, [NEGATIVE, DAY_NEGATIVE])):
        events = part[:, 0] // UNIT
        hits = rng.binomial(events, q)
        gain = np.rint(hits * (part[:, 0] - part[:, 1]) / np.maximum(events, 1)).astype(np.int64)
        out[:, columns] += gain[:, None]
        turned += hits
    left = 1 - turned / np.maximum(rows[:, EVENTS] // UNIT, 1)
    out[:, POSITIVE] = np.minimum(np.rint(rows[:, POSITIVE] * left), out[:, EVENTS] - out[:, NEGATIVE])
    return out


def first_more(fired: Iterable[int], anyway: Sequence[int]) -> int | None:
    """Return the first time at which more alerts had fired than without the change. Both are in order of time."""
    for before, at in enumerate(fired):
        if before >= len(anyway) or at < anyway[before]:
            return at
    return None


def _alerts(
    past: Past, state: State, topic: str, stretch: range, until: int, instead: Mapping[int, BucketCounts]
) -> Iterator[Alert]:
    """Yield the alerts on the topic that fire in a stretch with `instead` in it, and up to `until`."""
    for place in stretch:
        yield from _fired(past.decide(state, place, instead.get(place)).changes, topic)
    yield from _fired(pass_time(state, until).changes, topic)


def _times(change: Change, since: int, until: int, alerts: Iterable[Alert]) -> Iterator[int]:
    """Yield when alerts fire that the change raises, after `since` and not after `until`."""
    for alert in alerts:
        if change.raises(alert) and alert.fired_at is not None and since < alert.fired_at <= until:
            yield alert.fired_at


def _fired(changes: Iterable[AlertChange], topic: str) -> list[Alert]:
    return [change.alert for change in changes if change.event == "firing" and change.alert.topic == topic]


def _starts(past: Past) -> list[int]:
    return [counts.start for counts in past.counts]


def _with_row(counts: BucketCounts, topic: int, row: IntArray) -> BucketCounts:
    """Return the bucket with another row for a topic in it; without the topic, if the row has no events."""
    there = counts.topics == topic
    if not row[EVENTS]:
        sources = tuple(names for names, here in zip(counts.sources, there.tolist(), strict=True) if not here)
        parts = counts.by_source and tuple(
            p for p, here in zip(counts.by_source, there.tolist(), strict=True) if not here
        )
        kept = counts.topics[~there], counts.values[~there], counts.dated[~there]
        return BucketCounts(counts.start, *kept, sources, by_source=parts)
    values, dated = counts.values.copy(), counts.dated.copy()
    values[there], dated[there] = row[:DAY_EVENTS], row[DAY_EVENTS:]
    # The sums are others now: the sources share them equally.
    parts = counts.by_source and tuple(
        () if here else p for p, here in zip(counts.by_source, there.tolist(), strict=True)
    )
    return counts._replace(values=values, dated=dated, by_source=parts)
