"""How often the detectors ring by chance, against the budget, and what they find, on feeds made for it.

    python -m benchmarks.detection [--seeds N] [--topics N] [--days N]

Feeds are counts of events and negative sums, an hour a bucket, through the same `decide` that decides live. *Null*
feeds have noise of ten kinds and no change: alarms over the budget is what is asked of them. *Planted* changes are put
into such feeds, each into a topic of its own: how many are found within their time, and after how many hours.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.recording import record
from foreshock.monitor.baseline import DAY, HOUR
from foreshock.monitor.buckets import Bucket, TopicBucket
from foreshock.monitor.deciding import DetectionRules, State, decide

Array = npt.NDArray[np.float64]

START = 20_003 * DAY  # a Monday
KINDS = (
    "independent",
    "wandering",
    "strongly_wandering",
    "clusters",
    "weekly",
    "random_walk",
    "starts_in_crisis",
    "noise_doubles",
    "unequal",
    "common_shocks",
)
LEARNING, SETTLED = 14, 28
"""Days: alarms of the time between are reported apart, as those of a desk that has just begun."""


class Planted(NamedTuple):
    """A change of a topic's share by `points`, from `start` (days) over `ramp` days until `end`."""

    name: str
    points: float
    ramp: float
    length: float


CHANGES = (
    Planted("sudden_10", 0.10, 0, 14),
    Planted("sudden_20", 0.20, 0, 14),
    Planted("sudden_40", 0.40, 0, 7),
    Planted("slow_20", 0.20, 14, 28),
    Planted("three_hours_40", 0.40, 0, 0.125),
)


def autoregression(rng: np.random.Generator, hours: int, topics: int, sd: Array | float, phi: float) -> Array:
    """(hour, topic): stationary AR(1) of that sd."""
    out = np.empty((hours, topics))
    x = rng.normal(size=topics)
    step = math.sqrt(1 - phi * phi)
    for hour in range(hours):
        x = phi * x + step * rng.normal(size=topics)
        out[hour] = x
    return out * sd


def feed(kind: str, seed: int, topics: int, days: int, planted: dict[int, tuple[Planted, float]]) -> list[Bucket]:
    """A feed of one kind of noise; `planted`: by topic, a change and the day on which it begins."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    hours = days * 24
    hour = np.arange(hours)
    rate = np.exp(rng.normal(math.log(12), 0.8, topics)).clip(2, 80) / 24
    day_shape = 0.25 + np.exp(-0.5 * ((hour % 24 - 14) / 4.5) ** 2)
    busy = day_shape / day_shape.mean() * np.where(hour // 24 % 7 >= 5, 0.4, 1.24)
    share = rng.beta(10, 26, topics)
    logit = np.log(share / (1 - share)) + np.zeros((hours, topics))
    if kind in ("wandering", "starts_in_crisis"):
        logit += autoregression(rng, hours, topics, 0.25, 0.97)
    if kind == "strongly_wandering":
        logit += autoregression(rng, hours, topics, 0.5, 0.97)
    if kind == "weekly":
        logit += np.where(hour // 24 % 7 >= 5, 0.5, 0.0)[:, None] + 0.3 * np.sin(2 * np.pi * hour / 24)[:, None]
    if kind == "random_walk":
        logit += np.cumsum(rng.normal(0, 0.5 / math.sqrt(60 * 24), (hours, topics)), axis=0)
    if kind == "starts_in_crisis":
        logit[: 5 * 24] += 1.5
    if kind == "noise_doubles":
        logit += autoregression(rng, hours, topics, 0.2, 0.97) * np.where(hour < hours * 0.6, 1, 2)[:, None]
    if kind == "unequal":
        logit += autoregression(rng, hours, topics, rng.uniform(0, 0.6, topics), 0.97)
    if kind == "common_shocks":
        logit += autoregression(rng, hours, 1, 0.3, 0.95)
    p = 1 / (1 + np.exp(-logit))
    for topic, (change, begins) in planted.items():
        since = (hour - begins * 24) / 24
        there = (since >= 0) & (since < change.length)
        p[:, topic] += there * change.points * (np.minimum(since / change.ramp, 1) if change.ramp else 1)
    p = p.clip(0.01, 0.97)
    if kind == "clusters":
        # Stories come in runs of one mood: their number is a Poisson's, their size heavy-tailed.
        runs = rng.poisson(rate * busy[:, None] / 2)
        size = np.minimum(1 + rng.pareto(1.5, (hours, topics)), 12)
        events = np.rint(runs * size).astype(np.int64)
        bad = rng.binomial(events, rng.beta(2 * p, 2 * (1 - p)))
    else:
        events = rng.poisson(rate * busy[:, None])
        bad = rng.binomial(events, p)
    # Soft scores: a negative story's probability is 0.9 or so, another's 0.06.
    negative = np.rint((bad * 0.9 + (events - bad) * 0.06) * 10_000).astype(np.int64)
    names = [f"t{topic:04d}" for topic in range(topics)]
    buckets = []
    for h in range(hours):
        rows = []
        for topic in np.flatnonzero(events[h]).tolist():
            n, bad_sum = int(events[h, topic]), int(negative[h, topic])
            good = (n * 10_000 - bad_sum) // 3
            rows.append(TopicBucket(names[topic], n, n, bad_sum, n * 10_000 - bad_sum - good, good, ("a", "b")))
        if rows:
            buckets.append(Bucket(START + h * HOUR, tuple(rows)))
    return buckets


def alarms(buckets: list[Bucket], rules: DetectionRules) -> list[tuple[str, str, float]]:
    """Topic, direction and day of each negativity spike and drift that fired."""
    state = State.fresh(rules)
    found = []
    for bucket in buckets:
        for change in decide(state, bucket).changes:
            if change.event == "firing" and change.alert.kind in ("negativity_spike", "drift"):
                assert change.alert.fired_at is not None
                at = (change.alert.fired_at - START) / DAY
                found.append((change.alert.topic, change.alert.direction, at))
    return found


def null(kind: str, seeds: int, topics: int, days: int) -> dict[str, Any]:
    """Alarms for the worse and the better in weeks of a feed without changes, over what the budget gives."""
    early, worse, better = [], [], []
    for seed in range(seeds):
        found = alarms(feed(kind, 100 + seed, topics, days, {}), DetectionRules())
        early.append(sum(LEARNING <= at < SETTLED for _, _, at in found))
        worse.append(sum(at >= SETTLED and direction == "worse" for _, direction, at in found))
        better.append(sum(at >= SETTLED and direction == "better" for _, direction, at in found))
    weeks = (days - SETTLED) / 7

    def over(counts: list[int], budget: float) -> list[float]:
        """Ratio, and a 95 % interval from the spread over seeds."""
        ratio = np.array(counts) / budget
        error = 1.96 * ratio.std(ddof=1) / math.sqrt(len(counts)) if len(counts) > 1 else math.inf
        return [round(float(x), 2) for x in (ratio.mean(), ratio.mean() - error, ratio.mean() + error)]

    return {
        "worse": over(worse, 0.7 * weeks),
        "better": over(better, 0.1 * weeks),
        "first_two_weeks": over(early, 0.8 * (SETTLED - LEARNING) / 7),
    }


def planted(kind: str, seeds: int, topics: int, days: int) -> dict[str, Any]:
    """Share of the planted changes that are found while they last, and the median delay in hours of those found."""
    delays: dict[str, list[float]] = {change.name: [] for change in CHANGES}
    for seed in range(seeds):
        begins = {
            topic: (CHANGES[topic % len(CHANGES)], 40.3 + 1.7 * topic % (days - 40 - 29))
            for topic in range(0, topics, 3)
        }
        found = alarms(feed(kind, 500 + seed, topics, days, begins), DetectionRules())
        for topic, (change, begin) in begins.items():
            until = begin + max(change.length, 1)
            hits = [at for name, way, at in found if int(name[1:]) == topic and way == "worse" and begin < at <= until]
            delays[change.name].append(min(hits) - begin if hits else math.inf)
    return {
        name: {
            "planted": len(after),
            "found": round(float(np.isfinite(after).mean()), 2),
            "median_hours": round(float(np.median([d for d in after if d < math.inf] or [math.nan])) * 24, 1),
        }
        for name, after in delays.items()
    }


def measure(seeds: int, topics: int, days: int, kinds: tuple[str, ...] = KINDS) -> dict[str, Any]:
    return {
        "seeds": seeds,
        "topics": topics,
        "days": days,
        "alarms_over_budget": {kind: null(kind, seeds, topics, days) for kind in kinds},
        "planted": {kind: planted(kind, seeds, topics, days) for kind in kinds[:2]},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--topics", type=int, default=30)
    parser.add_argument("--days", type=int, default=98)
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    args = parser.parse_args()
    figures = measure(args.seeds, args.topics, args.days, tuple(args.kinds))
    print(json.dumps(record("detection", "python -m benchmarks.detection", figures), indent=2))
