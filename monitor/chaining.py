"""Bring the sums of one model to the scale of another: what it would have said, by what both said of the same stories.

Two models differ in how often they call news bad. For some weeks both have scored the same stories, so a topic's sums
of older weeks are scaled as statistical offices chain an index whose basket changed: by the ratio over the overlap.
A ratio below 1 scales the sum itself, and one above 1 what is left to the whole, so a share stays between 0 and 1.
Topics with few stories in the overlap are drawn to the ratio of all.

Invariants: a scaled sum lies between 0 and its events, and negative and positive together do, too. The sums of the
overlap itself become those of the other model, but for rounding and the pull. Equal models change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from foreshock.monitor.buckets import SourceSums, TopicBucket
from foreshock.monitor.units import ALL, UNIT

PULL = 20
"""Events of the pool's ratio that are added to a topic's own."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """What two models said of the same events, in 1/10,000 event."""

    events: int
    before: tuple[int, int]
    """The sums of negative and positive, by the model before."""
    after: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Factor:
    """A ratio of two whole numbers, of the sum itself or of what is left to the whole."""

    numerator: int = 1
    denominator: int = 1
    of_rest: bool = False

    def scaled(self, mass: int, events: int) -> int:
        """Return a sum on the other scale. `events`: of the row; both in 1/10,000 event."""
        if self.of_rest:
            return events - (events - mass) * self.numerator // self.denominator
        return mass * self.numerator // self.denominator


@dataclass(frozen=True, slots=True)
class Chain:
    """The factors of a switch: for negative and positive, by topic. `pooled`: of topics without any of their own."""

    topics: Mapping[str, tuple[Factor, Factor]] = field(default_factory=dict)
    pooled: tuple[Factor, Factor] = (Factor(), Factor())

    def scaled(self, row: TopicBucket) -> TopicBucket:
        """Return a row as the model after the switch would have made it, roughly."""
        bad, good = self.topics.get(row.topic, self.pooled)
        negative, positive = _both(bad, good, row.negative, row.positive, row.events * UNIT)
        return replace(
            row,
            negative=negative,
            neutral=row.events * UNIT - negative - positive,
            positive=positive,
            day_negative=min(bad.scaled(row.day_negative, row.day_events * UNIT), negative),
            by_source=tuple(_source(part, bad, good) for part in row.by_source),
        )


def chain(overlaps: Mapping[str, Overlap]) -> Chain:
    """Return the factors that follow from the overlap, by topic."""
    total = _total(overlaps)
    if not total.events:
        return Chain()
    pull = Overlap(
        PULL * UNIT,
        (_part(total.before[0], total.events), _part(total.before[1], total.events)),
        (_part(total.after[0], total.events), _part(total.after[1], total.events)),
    )
    return Chain({name: _factors((own, pull)) for name, own in sorted(overlaps.items())}, _factors((pull,)))


def _total(overlaps: Mapping[str, Overlap]) -> Overlap:
    """Return the overlap of all stories, each once."""
    if ALL in overlaps:
        return overlaps[ALL]
    every = list(overlaps.values())
    before, after = (
        (sum(sums[0] for sums in both), sum(sums[1] for sums in both))
        for both in ([own.before for own in every], [own.after for own in every])
    )
    return Overlap(sum(own.events for own in every), before, after)


def _part(mass: int, events: int) -> int:
    """Return the mass of `PULL` events."""
    return mass * PULL * UNIT // events


def _factors(parts: Iterable[Overlap]) -> tuple[Factor, Factor]:
    some = list(parts)
    events = sum(part.events for part in some)
    bad, good = (
        _factor(sum(part.before[which] for part in some), sum(part.after[which] for part in some), events)
        for which in (0, 1)
    )
    return bad, good


def _factor(before: int, after: int, events: int) -> Factor:
    if after <= before:
        return Factor(after, before) if before else Factor()
    return Factor(events - after, events - before, of_rest=True)


def _both(bad: Factor, good: Factor, negative: int, positive: int, events: int) -> tuple[int, int]:
    """Return negative and positive on the other scale. What is too much for their events is taken from both alike."""
    negative, positive = bad.scaled(negative, events), good.scaled(positive, events)
    if (whole := negative + positive) > events:
        negative = negative * events // whole
        positive = events - negative
    return negative, positive


def _source(part: SourceSums, bad: Factor, good: Factor) -> SourceSums:
    events = part.events * UNIT
    negative, positive = _both(bad, good, part.negative, part.positive, events)
    dated = min(bad.scaled(part.day_negative, part.day_events * UNIT), negative)
    return part._replace(negative=negative, positive=positive, day_negative=dated)
