"""The protocol of all detectors, and what a detector may look at.

A detector says how unusual each topic is, and nothing else. `foreshock.monitor.alerts` turns its findings into alerts
that are pending, fire and resolve. What a detector remembers is in arrays over topics (`TopicArrays`), which the
monitor's snapshot holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from foreshock.monitor.alerts import Alert
from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays
from foreshock.monitor.baseline import EVENTS, History, Pool
from foreshock.monitor.buckets import SourceSums
from foreshock.monitor.findings import Finding
from foreshock.monitor.recent import Recent
from foreshock.monitor.units import HOUR, UNIT

Found = tuple[str, Finding]
"""A finding, with its kind of alert."""
Watched = Mapping[int, Sequence[Alert]]
"""The open alerts of all kinds, by topic."""


@dataclass(frozen=True, slots=True)
class DetectionRules:
    """When something unusual becomes an alert: the budget of false alarms, and how much history is required."""

    bucket: int = 300_000_000
    """Microseconds; divides the hour."""
    stall_after: int = 3 * HOUR
    """Microseconds without any story after which time stands still."""

    learning_hours: int = 14 * 24
    """Running hours from a topic's first story. They hold two weekends: with fewer, a weekend could not be usual."""
    learning_events: int = 20
    """Events in the baseline. With fewer, the topic's own share is known no better than to 10 points."""

    false_alarms: float = 1 / 7
    """Alarms a day that chance may raise: for the whole desk, or for each topic (`per_topic`)."""
    per_topic: bool = False
    bad_news: float = 0.7
    """Share of the budget: surges of bad news, and drift for the worse."""
    surges: float = 0.3
    """The part of `bad_news` that surges have. Drift has the rest: small lasting changes need it more."""
    better: float = 0.1
    """Share of the budget: drift for the better."""
    volume: float = 0.1
    silence: float = 0.1
    weights: tuple[tuple[str, float], ...] = ()
    """Topics that weigh more or less than 1: a topic of weight 4 has four times another's budget."""

    own: frozenset[str] = frozenset()
    """The desk's own topics. They are watched from their first event on."""
    first_events: int = 1
    """Events from which on a feed's own topic is watched. Before, it has no arrays."""
    most_topics: int = 1_000_000
    """Topics of feeds' own that are watched."""
    trust: tuple[tuple[str, float], ...] = ()
    """Sources whose events weigh more or less than 1."""
    muted: frozenset[str] = frozenset()
    """Sources whose stories weigh nothing."""

    silence_near: float = 0.7
    """Part of the required gap from which on a silence is pending."""
    silence_hours: int = 6
    """Running hours that a silence lasts at least, so that a very busy topic does not alert on a slow lunch."""

    def __post_init__(self) -> None:
        if self.bucket <= 0 or HOUR % self.bucket:
            raise ValueError(f"a bucket must divide the hour: {self.bucket} microseconds does not")


class BucketCounts(NamedTuple):
    """What a bucket comes to, in arrays over the topics that have news in it."""

    start: int
    topics: IntArray
    """Indices (`History.topic`), distinct."""
    values: IntArray
    """(topics, 3): events in 1/10,000, sum of negative and of positive probabilities."""
    dated: IntArray
    """(topics, 2): the part of events and negative that is known only to the day."""
    sources: tuple[tuple[str, ...], ...]
    weight: FloatArray | None = None
    """(topics, 3): what weighs of `values`, as a part of each: by how often sources repeat themselves, and by how much
    they are trusted. The monitor sets it."""
    by_source: tuple[tuple[SourceSums, ...], ...] | None = None
    """For each topic, what each of its sources contributes; empty where there is one source, or only the sum is
    known."""


class Seen(NamedTuple):
    """All that a detector may look at beside its own memory. Arrays are over topics."""

    history: History
    recent: Recent
    pool: Pool
    rules: DetectionRules
    share: FloatArray
    """Negative share that is usual in the open hour."""
    polarity: FloatArray
    """Polarity that is usual in the open hour."""
    effect: FloatArray
    """The part of `share` that the hour of the day explains."""
    weights: FloatArray
    """How many times another topic's budget each topic has."""

    def learned(self, topics: IntArray | slice) -> BoolArray:
        """Return which of the topics have enough history to be judged."""
        return self.ripe(topics, self.rules.learning_hours)

    def ripe(self, topics: IntArray | slice, hours: int) -> BoolArray:
        """Return which of the topics are known for so many running hours, and by enough events."""
        h = self.history
        old = h.hours - h.first_hour[topics] >= hours
        known: BoolArray = old & (h.base[topics, EVENTS] >= self.rules.learning_events * UNIT)
        return known

    def corroborated(self, topic: int, since: int) -> bool:
        """Return whether a topic had news of a second source since a time.

        True where the topic never had two: one source's bad mood is news only where no other could confirm it.
        """
        h = self.history
        return not h.several_sources[topic] or int(h.other_source_at[topic]) > since

    def rate(self, watched: BoolArray) -> float:
        """Return the false alarms a day, of all kinds, that a topic of weight 1 may raise.

        A desk's budget is divided over the `watched` topics by their weights.
        """
        if self.rules.per_topic:
            return self.rules.false_alarms
        return self.rules.false_alarms / max(float(self.weights[watched].sum()), 1.0)


class Detector(Protocol):
    """One detector: its memory, and one `look` at the topics that have news.

    `deciding` calls the methods in this order:

    * for each bucket that has stories: `take`, then the history adds the bucket, then `look`;
    * for each running hour that ends: `close_hour`, then the history closes the hour, then `look_back`;
    * with the first bucket of a UTC day: the history closes the day before, then `close_day`, then `calibrate`;
    * when the settings change: `adopt`, then `calibrate`.

    A detector reads no clock, no file and no global, and keeps all that it remembers in its `parts`. So equal buckets
    give equal findings, and a snapshot holds the whole state. To add a detector, write its class, add it to
    `registry.DETECTORS`, and describe its kinds of alert in `foreshock.monitor.kinds`.
    """

    KINDS: ClassVar[tuple[str, ...]]
    """The kinds of alert that it finds (`foreshock.monitor.kinds`)."""

    def __init__(self, capacity: int) -> None: ...

    def parts(self) -> Mapping[str, TopicArrays]:
        """Return its memory, by the names that a snapshot gives it."""
        ...

    def look(self, seen: Seen, counts: BucketCounts, watched: Watched) -> list[Found]:
        """Return findings on topics that have news in a bucket, at the bucket's end."""
        ...

    def take(self, seen: Seen, counts: BucketCounts, watched: Watched) -> None:
        """Note a bucket's news before the history adds them."""
        return None

    def close_hour(self, seen: Seen) -> None:
        """Remember the open hour before the history closes it."""

    def look_back(self, seen: Seen, watched: Watched, *, stalled: bool) -> list[Found]:
        """Return findings on any topic once the history has closed an hour; let the shadows fire.

        `stalled`: time stood still before the hour's end, so the hour is closed only now that stories come again.
        """
        return []

    def close_day(self, seen: Seen) -> None:
        """Estimate anew what all topics together say, once the history has closed a day."""

    def calibrate(self, seen: Seen) -> None:
        """Set the thresholds to where past shadow alarms ring as often as the budget allows."""
        ...

    def adopt(self, seen: Seen, gone: Sequence[int], back: Sequence[int]) -> Sequence[str]:
        """Note which topics the settings no longer have (`gone`), and which they have again (`back`).

        Returns the kinds whose open alerts on `gone` topics are dropped: they could never resolve.
        """
        return ()
