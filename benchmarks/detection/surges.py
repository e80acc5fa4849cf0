"""Surges: how soon crises are detected, which decoys fire, and how often alerts fire where nothing happens.

    python -m benchmarks.detection surges --seeds 4

Crises and decoys are planted into made company feeds (`crises.py`). The same code as live decides these feeds, in
buckets of five minutes.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.detection import crises, desk, surge_rivals
from foreshock.monitor.deciding import BucketCounts, DetectionRules, State, decide_counts
from foreshock.monitor.units import ALL, DAY, UNIT

MINUTE = 60_000_000
BUCKET = 5


class Fired(NamedTuple):
    topic: int
    """Index of the topic in the feed; -1 for the series of all stories."""
    kind: str
    direction: str
    minute: int
    ended: int | None


def watch(feed: crises.Feed, rules: DetectionRules) -> list[Fired]:
    """Return all alerts that fire."""
    stories, state = feed.stories, State.fresh(rules)
    whose = {ALL: -1}
    names = [f"t{topic:05d}" for topic in range(feed.topics)]
    whose |= {name: topic for topic, name in enumerate(names)}
    fired: dict[str, Fired] = {}
    bucket = stories.minute // BUCKET
    begins = np.flatnonzero(np.diff(bucket, prepend=-1))
    for first, last in zip(begins.tolist(), [*begins[1:].tolist(), len(bucket)], strict=True):
        topic, source, negative = stories.topic[first:last], stories.source[first:last], stories.negative[first:last]
        there, place = np.unique(topic, return_inverse=True)
        sources = [{f"s{s}" for s in source[place == at].tolist()} for at in range(len(there))]
        sources.append(set().union(*sources))
        events = np.append(np.bincount(place), last - first)
        bad = np.append(np.bincount(place, weights=negative), negative.sum())
        state.grow()
        index = np.array([state.history.topic(names[t]) for t in there.tolist()] + [state.history.topic(ALL)])
        values = np.rint(np.column_stack([events, bad, (events - bad) * 0.4]) * UNIT).astype(np.int64)
        start = crises.START_DAY * DAY + int(bucket[first]) * BUCKET * MINUTE
        counts = BucketCounts(
            start, index, values, np.zeros((len(index), 2), np.int64), tuple(tuple(sorted(names)) for names in sources)
        )
        for change in decide_counts(state, counts).changes:
            alert = change.alert
            if change.event == "firing" and alert.fired_at is not None:
                at = (alert.fired_at - crises.START_DAY * DAY) // MINUTE
                fired[alert.id] = Fired(whose[alert.topic], alert.kind, alert.direction, at, None)
            elif change.event == "resolved" and alert.resolved_at is not None and alert.id in fired:
                ended = (alert.resolved_at - crises.START_DAY * DAY) // MINUTE
                fired[alert.id] = fired[alert.id]._replace(ended=ended)
    return list(fired.values())


class Cell(NamedTuple):
    kind: str
    seed: int
    planted: bool


BAD_NEWS = ("negativity_spike", "drift")
TOPICS = {"rare": 90}
USUAL_TOPICS, EACH, LENGTH = 60, 3, 80
"""Topics of a feed, crises and decoys of each kind in it, and its days."""
FIRST_SEED = 6
"""Feeds of earlier seeds were used to choose how surges are calibrated."""
RATES = (0, 1, 3, 10, 30)
"""Usual stories a day of a topic, between which smouldering crises are counted apart."""
WITHIN = (60, 180)
"""Minutes after the first bad story within which an alert is counted, besides at all."""
BUDGET = DetectionRules()
"""The default: one false alarm a week for the whole desk."""


def made(cell: Cell) -> crises.Feed:
    size = TOPICS.get(cell.kind, USUAL_TOPICS)
    planted = crises.plan(cell.seed, cell.kind, size, LENGTH, EACH) if cell.planted else []
    return crises.make(cell.seed, cell.kind, size, LENGTH, planted)


def run(seeds: int, kinds: Iterable[str], file: Path) -> list[dict[str, Any]]:
    """Measure the cells that are missing in `file`."""
    done = kept(file)
    have = {(row["kind"], row["seed"], row["planted"]) for row in done}
    with file.open("a") as out:
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            for cell in (Cell(kind, seed, planted) for kind in kinds for planted in (False, True)):
                if tuple(cell) not in have:
                    row = {**cell._asdict(), "version": version(), "fired": watch(made(cell), BUDGET)}
                    out.write(json.dumps(row) + "\n")
                    out.flush()
                    done.append(row)
    return done


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Summarise each kind of feed: false alarms over the budget, and detected crises and decoys, beside the rivals."""
    settled = crises.SETTLED * crises.DAY
    found = []
    for kind in sorted({row["kind"] for row in rows}):
        quiet = [row for row in rows if row["kind"] == kind and not row["planted"]]
        loud = [row for row in rows if row["kind"] == kind and row["planted"]]
        if not quiet or not loud:
            continue
        weeks = len(quiet) * (LENGTH - crises.SETTLED) / 7
        bad = [Fired(*f) for row in quiet for f in row["fired"] if f[1] in BAD_NEWS and f[2] == "worse"]
        late = [alert for alert in bad if alert.minute >= settled]
        allowed = weeks * 7 * BUDGET.false_alarms * BUDGET.bad_news
        surged = sum(alert.kind == "negativity_spike" for alert in late)
        feeds = [(made(Cell(kind, row["seed"], planted=True)), row) for row in loud]
        times = {"Foreshock": [[(f[0], f[3]) for f in row["fired"] if f[1] in BAD_NEWS] for _, row in feeds]}
        calm = [made(Cell(kind, row["seed"], planted=False)) for row in quiet]
        for name, rival in surge_rivals.RIVALS.items():
            quiet_scores = [list(surge_rivals.scores(feed, rival)) for feed in calm]
            threshold = surge_rivals.level(quiet_scores, len(late), settled)
            times[name] = [
                surge_rivals.alarms(list(surge_rivals.scores(feed, rival)), threshold, settled) for feed, _ in feeds
            ]
        found.append(
            {
                "kind": kind,
                "seeds": len(quiet),
                "false_bad_news_over_budget": round(len(late) / allowed, 2),
                "surges_over_their_part": round(surged / (allowed * BUDGET.surges), 2),
                "false_bad_news_before_day_40": len(bad) - len(late),
                "noticed": {name: noticed([feed for feed, _ in feeds], alerts) for name, alerts in times.items()},
                "smouldering_noticed_of": {
                    name: by_rate([feed for feed, _ in feeds], alerts) for name, alerts in times.items()
                },
            }
        )
    return found


def noticed(feeds: list[crises.Feed], alerts: list[list[tuple[int, int]]]) -> dict[str, Any]:
    """Return for each kind of crisis and decoy: number, parts detected within 1 h, 3 h and at all, and delays."""
    delays: dict[str, list[float]] = {}
    for feed, rang in zip(feeds, alerts, strict=True):
        for plant in feed.planted:
            hits = [minute for topic, minute in rang if topic == plant.topic and plant.minute < minute <= plant.until]
            delays.setdefault(plant.kind, []).append(min(hits) - plant.minute if hits else math.inf)
    return {
        name: {
            "of": len(found),
            **{f"within_{m}_min": round(float(np.mean(np.array(found) <= m)), 2) for m in WITHIN},
            "at_all": round(float(np.mean(np.isfinite(found))), 2),
            "median_minutes": _finite(np.quantile(found, 0.5, method="higher")),
            "minutes_of_90_percent": _finite(np.quantile(found, 0.9, method="higher")),
        }
        for name, found in sorted(delays.items())
    }


def by_rate(feeds: list[crises.Feed], alerts: list[list[tuple[int, int]]]) -> dict[str, tuple[int, int]]:
    """Return how many smouldering crises were noticed, and of how many, by the usual stories a day of their topics."""
    found = {f"{low} to {high} a day": (0, 0) for low, high in pairwise(RATES)}
    for feed, rang in zip(feeds, alerts, strict=True):
        for plant in feed.planted:
            if plant.kind == "smouldering":
                hit = any(topic == plant.topic and plant.minute < minute <= plant.until for topic, minute in rang)
                place = bisect_right(RATES, float(feed.rate[plant.topic]), 1, len(RATES) - 1)
                name = f"{RATES[place - 1]} to {RATES[place]} a day"
                found[name] = found[name][0] + hit, found[name][1] + 1
    return found


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def version() -> str:
    """Return a hash of the detectors, of the code that makes the feeds, and of their sizes."""
    sizes = [desk.version(), BUCKET, TOPICS, USUAL_TOPICS, EACH, LENGTH, repr(BUDGET)]
    return hashlib.sha256(Path(crises.__file__).read_bytes() + json.dumps(sizes).encode()).hexdigest()[:12]


def kept(file: Path) -> list[dict[str, Any]]:
    """Return the measurements of today's detectors on today's feeds."""
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    now = version()
    return [row for row in rows if row.get("version") == now]
