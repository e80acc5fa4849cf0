"""Measure the way from Kafka to committed rows.

    python -m benchmarks.kafka                  # about ten minutes; --small: minutes, and nothing is recorded
    python -m benchmarks.kafka --only latency   # at shares of the recorded capacity; the other figures stay

It measures how close a worker comes to its scorer, how much a worker carries without scoring, how long a story takes,
and how much memory a lag costs. `foreshock worker` runs in real processes, with a broker and a PostgreSQL that the
benchmark starts. All of them share the cores of this machine. The processor time of a story is measured as well,
because it changes little with what else the machine does. No monitor runs; `benchmarks.monitor` measures that.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

from benchmarks.arguments import parser
from benchmarks.recording import RESULTS, record
from benchmarks.stage import Crew, Stage
from foreshock.demo import generator
from foreshock.processes.batches import TEXTS_TO_ENCODE

PARTITIONS = 8
WARM = 32
"""Stories a partition before the measurement, so that encoders are loaded and partitions assigned."""
SHARE = 0.95
"""Share of the work that is timed. It leaves out the tail, in which partitions end one after the other."""


@dataclass(frozen=True, slots=True)
class Sizes:
    turns: int
    seeds: tuple[int, ...]
    texts: int
    """Headlines to score, from the demo feeds of these seeds."""
    scored: int
    crews: tuple[int, ...]
    seconds: float
    """Duration of each load at which latency is measured."""
    lag: int


FULL = Sizes(turns=2, seeds=(7, 8), texts=15_000, scored=150_000, crews=(1, 2, 3), seconds=45.0, lag=600_000)
SMALL = Sizes(turns=1, seeds=(7,), texts=1_500, scored=10_000, crews=(1, 2), seconds=10.0, lag=20_000)
LOADS = (0.3, 0.7, 0.95)
"""Shares of the capacity at which latency is measured."""
POISON = 0.01
"""The share of records that are not stories."""


PARTS = ("scorer", "scored", "latency", "lag")


def measure(sizes: Sizes, parts: Sequence[str] = PARTS, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Run parts. Rates are in stories a second, latencies in seconds, memory in megabytes.

    `before`: the figures of an earlier run. Those of parts that do not run are taken over.
    """
    found = dict(before or {})
    with Stage() as stage:
        if "scorer" in parts:
            found |= _against_the_scorer(stage, sizes)
        if "scored" in parts:
            found |= _all_scored(stage, sizes)
        if "latency" in parts:
            found |= _latencies(stage, sizes, found["stories_per_second"])
        if "lag" in parts:
            found["lag"] = _lag(stage, sizes)
    return found


def _all_scored(stage: Stage, sizes: Sizes) -> dict[str, Any]:
    """Measure workers on stories that carry their scores."""
    plumbing = {count: _plumbing(stage, sizes, count) for count in sizes.crews}
    poisoned, _ = _plumbing(stage, sizes, 1, poison=POISON)
    rate, processor = plumbing[1]
    return {
        "scored_stories_per_second_by_workers": {str(count): rate for count, (rate, _) in plumbing.items()},
        "scored_stories_per_second_a_worker": rate,
        "scored_processor_microseconds_a_story": processor,
        "poison": {"share": POISON, "stories_per_second": poisoned, "over_none": round(poisoned / rate, 3)},
    }


def _against_the_scorer(stage: Stage, sizes: Sizes) -> dict[str, Any]:
    """Time the scorer alone, in a worker's batches, and a worker on the same headlines from Kafka, in turns."""
    stories = sorted(
        ({**story, "id": f"{seed}-{story['id']}"} for seed in sizes.seeds for story in generator.generate(seed)),
        key=lambda story: str(story["published_at"]),
    )[: sizes.texts]
    values = [json.dumps(story).encode() for story in stories]
    pairs = [(story["title"], story.get("body", "")) for story in stories]
    alone, whole = [], []
    for _ in range(sizes.turns):
        alone.append(_scorer_alone(pairs))
        whole.append(_worker_whole(stage, values))
    ratios = [b / a for (a, _), (b, _) in zip(alone, whole, strict=True)]
    return {
        "texts": len(pairs),
        "scorer_texts_per_second": _median([rate for rate, _ in alone]),
        "stories_per_second": _median([rate for rate, _ in whole]),
        "processor_microseconds_a_story": {"scorer alone": alone[-1][1], **whole[-1][1]},
        "over_scorer": round(float(np.median(ratios)), 3),
        "over_scorer_each_turn": [round(ratio, 3) for ratio in ratios],
    }


def _scorer_alone(pairs: list[tuple[str, str]]) -> tuple[float, float]:
    """Return the scorer's rate in texts a second, and its processor time in microseconds a text."""
    from foreshock.model.scorer import load_scorer

    scorer = load_scorer()
    scorer.score_stories(pairs[:WARM])
    began, used = time.perf_counter(), time.process_time()
    for start in range(WARM, len(pairs), TEXTS_TO_ENCODE):
        scorer.score_stories(pairs[start : start + TEXTS_TO_ENCODE])
    texts = len(pairs) - WARM
    return texts / (time.perf_counter() - began), round(1e6 * (time.process_time() - used) / texts, 1)


def _worker_whole(stage: Stage, values: list[bytes]) -> tuple[float, dict[str, float]]:
    """Return a worker's rate in stories a second, with the encoder, and the processor time a story in microseconds."""
    topic, database = stage.topic(PARTITIONS), stage.database()
    with stage.workers(1, topic, database, accept_scores=False) as crew:
        first = _warm(stage, crew, values)
        stage.produce(topic, values, PARTITIONS)
        begin = crew.look()
        crew.until(first + len(values), 600)
        found = crew.rate(begin, SHARE * (first + len(values))), crew.microseconds_a_story(begin)
    stage.drop(database)
    return found


def _plumbing(stage: Stage, sizes: Sizes, count: int, poison: float = 0.0) -> tuple[float, dict[str, float]]:
    """Return the scored stories a second that `count` workers commit together, with a share of poison, and the
    processor time a story in microseconds."""
    topic, database = stage.topic(PARTITIONS), stage.database()
    values = list(_scored(sizes.scored))
    bad = [b"\xff\xfe not JSON at all", b"{}", b'{"title": 7, "published_at": 1}', b""] if poison else []
    every = round(1 / poison) if poison else 0
    with stage.workers(count, topic, database, accept_scores=True) as crew:
        first = _warm(stage, crew, list(_scored(WARM * PARTITIONS, "w")))
        stage.produce(topic, _with(values, bad, every), PARTITIONS)
        begin = crew.look()
        crew.until(first + len(values), 600)
        rate = round(crew.rate(begin, SHARE * (first + len(values))), 1)
        used = crew.microseconds_a_story(begin)
    stage.drop(database)
    return rate, used


def _with(values: list[bytes], bad: list[bytes], every: int) -> Iterator[bytes]:
    """Yield the values, with a bad one after each `every` values."""
    for place, value in enumerate(values, 1):
        yield value
        if every and place % every == 0:
            yield bad[place // every % len(bad)]


def _latencies(stage: Stage, sizes: Sizes, alone: float) -> dict[str, Any]:
    """Measure latency at each share of what a worker commits a second beside the sender.

    alone: stories a second that a worker commits of a topic that is full already. As many are sent, which is more than
    it can commit while the sender uses the same cores; so what it commits then is the capacity.
    """
    _, committed = _sent(stage, sizes, alone)
    first, last = committed.min() + 0.3 * sizes.seconds, committed.min() + sizes.seconds
    capacity = float(((committed >= first) & (committed < last)).sum()) / (0.7 * sizes.seconds)
    return {
        "capacity_beside_the_sender": round(capacity, 1),
        "latency_seconds_by_share_of_capacity": {
            f"{100 * load:.0f} %": _latency(stage, sizes, load * capacity) for load in LOADS
        },
    }


def _latency(stage: Stage, sizes: Sizes, rate: float) -> dict[str, float]:
    """Return the time from sending to the commit. The first tenth is left out: the queue is still filling."""
    published, committed = _sent(stage, sizes, rate)
    waits = (committed - published)[published > published.min() + 0.1 * sizes.seconds]
    found = {f"p{q}": round(float(np.percentile(waits, q)), 3) for q in (50, 95, 99)}
    return {"stories_per_second": round(len(published) / sizes.seconds, 1), **found}


def _sent(stage: Stage, sizes: Sizes, rate: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Send headlines at random moments, `rate` a second. Return when each was sent, and when the database committed it.

    Both are in seconds since 1970.
    """
    from kafka import KafkaProducer

    topic, database = stage.topic(PARTITIONS), stage.database()
    titles = [str(story["title"]) for story in generator.generate(11)]
    draw = random.Random(5)
    with stage.workers(1, topic, database, accept_scores=False) as crew:
        first = _warm(stage, crew, [json.dumps({"title": title}).encode() for title in titles])
        # A request for each record would take more of the cores than the database does. The wait counts as latency.
        producer = KafkaProducer(bootstrap_servers=stage.broker.bootstrap, acks="all", linger_ms=5)
        sent, began = 0, time.time()
        due = began
        while due < began + sizes.seconds:
            time.sleep(max(0.0, due - time.time()))
            # Each text is new, because the scorer caches repeated texts.
            story = {"id": f"late-{sent}", "title": f"{titles[sent % len(titles)]} {sent}", "published_at": time.time()}
            producer.send(topic, json.dumps(story).encode(), partition=sent % PARTITIONS)
            sent += 1
            due += draw.expovariate(rate)
        producer.flush()
        producer.close()
        crew.until(first + sent, 300)
    with stage.sql(database) as connection:
        query = "SELECT published_at / 1e6, extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM stories "
        query += "WHERE id LIKE 'late-%'"
        rows = np.array([tuple(map(float, row)) for row in connection.execute(text(query))])
    stage.drop(database)
    return rows[:, 0], rows[:, 1]


def _lag(stage: Stage, sizes: Sizes) -> dict[str, Any]:
    """Measure a worker's memory while it reads a lag."""
    topic, database = stage.topic(PARTITIONS), stage.database()
    stage.produce(topic, _scored(sizes.lag), PARTITIONS)
    with stage.workers(1, topic, database, accept_scores=True) as crew:
        crew.until(sizes.lag, 3_600)
        looks = crew.looks
    stage.drop(database)
    mb = np.array([look.rss for look in looks]) / 1e6
    tenth = max(1, len(mb) // 10)
    return {
        "records": sizes.lag,
        "seconds": round(looks[-1].at - looks[0].at, 1),
        "megabytes_in_the_second_tenth": round(float(np.median(mb[tenth : 2 * tenth])), 1),
        "megabytes_in_the_last_tenth": round(float(np.median(mb[-tenth:])), 1),
        "megabytes_at_most": round(float(mb.max()), 1),
    }


def _warm(stage: Stage, crew: Crew, values: list[bytes]) -> int:
    """Send a few stories to every partition, wait for their commit, and return their number."""
    count = WARM * PARTITIONS
    stage.produce(crew.topic, [_renamed(value, number) for number, value in enumerate(values[:count])], PARTITIONS)
    crew.until(min(count, len(values)), 180)
    return min(count, len(values))


def _renamed(value: bytes, number: int) -> bytes:
    return json.dumps({**json.loads(value), "id": f"warm-{number}"}).encode()


def _scored(count: int, prefix: str = "s", seed: int = 1) -> Iterator[bytes]:
    """Yield stories like those of `benchmarks.replay`: 20 a bucket, 30 topics, six sources, ten words, with scores."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(3, 9))) for _ in range(5_000)]
    at = 1_770_000_000.0
    for number in range(count):
        at += rng.expovariate(1 / 15)
        negative = round(rng.random(), 3)
        story = {
            "id": f"{prefix}{number}",
            "title": " ".join(rng.choices(words, k=10)),
            "published_at": round(at, 3),
            "source": rng.choice("abcdef"),
            "topics": [f"topic {rng.randrange(30)}"],
            "scores": {"negative": negative, "neutral": 0, "positive": round(1 - negative, 3)},
        }
        yield json.dumps(story).encode()


def _median(rates: list[float]) -> float:
    return round(float(np.median(rates)), 1)


if __name__ == "__main__":
    arguments = parser(__doc__, small=True)
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    given = arguments.parse_args()
    recorded: dict[str, Any] = {}
    if tuple(given.only) != PARTS and (RESULTS / "kafka.json").exists():
        recorded = json.loads((RESULTS / "kafka.json").read_text())
        recorded = {key: value for key, value in recorded.items() if key not in ("command", "date", "machine")}
    if "latency" in given.only and "scorer" not in given.only and "stories_per_second" not in recorded:
        arguments.error("latencies are measured at shares of the capacity: measure it too, with --only scorer latency")
    dates = recorded.get("measured", {}) | dict.fromkeys(given.only, date.today().isoformat())
    measured = measure(SMALL if given.small else FULL, given.only, recorded)
    if not given.small:
        measured = record("kafka", "python -m benchmarks.kafka", {**measured, "measured": dates})
    print(json.dumps(measured, indent=2))
