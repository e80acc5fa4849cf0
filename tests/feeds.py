"""Feeds of made-up news over several partitions: slightly out of order, with duplicates, revisions and copies across
partitions, and some records that are none."""

from __future__ import annotations

import json
import random
from typing import Any

START = 1_770_000_000.0
"""Event time of the first story, seconds: long past by the wall clock of any run."""

_SYLLABLES = [f"{c}{v}{d}" for c in "bdgklmnprst" for v in "aeiou" for d in "lnrs"]

Log = dict[int, list[bytes | None]]
"""By partition: the values of its records."""


def news(
    count: int,
    *,
    partitions: int = 4,
    seed: int = 1,
    every: float = 20.0,
    disorder: float = 100.0,
    start: float = START,
    topics: int = 4,
    scored: float = 0.0,
    oddities: float = 0.14,
) -> Log:
    """`count` stories, `every` seconds of event time apart on average, each up to `disorder` seconds out of order.

    `scored`: the share of stories that carry scores. `oddities`: the share that is followed by a duplicate, a
    revision, a near-copy or a story in another language, each in any partition.
    """
    rng = random.Random(seed)
    log: Log = {number: [] for number in range(partitions)}
    now = start

    def add(record: dict[str, Any]) -> None:
        log[rng.randrange(partitions)].append(json.dumps(record).encode())

    for number in range(count):
        now += rng.expovariate(1 / every)
        title = " ".join(rng.choices(_SYLLABLES, k=9))
        record: dict[str, Any] = {
            "id": f"s{number}",
            "title": title,
            "published_at": round(now - rng.uniform(0, disorder), 3),
            "source": rng.choice("abcdef"),
            "topics": rng.sample([f"T{n}" for n in range(topics)], k=rng.choice([0, 1, 1, 2])),
        }
        if rng.random() < scored:
            record["scores"] = _scores(rng)
        add(record)
        kind = rng.random() * 0.14 / oddities if oddities else 1.0
        if kind < 0.04:
            add({**record, "topics": ["T0"]})
        elif kind < 0.08:
            at = min(record["published_at"] + 60, round(now, 3))
            add({**record, "title": title + " again", "published_at": at})
        elif kind < 0.12:
            add({**record, "id": f"c{number}", "title": title + " via", "topics": ["T1"]})
        elif kind < 0.14:
            add({**record, "id": f"u{number}", "language": "zh", "scores": None})
    return log


def _scores(rng: random.Random) -> dict[str, float]:
    negative = rng.randrange(0, 9_000)
    positive = rng.randrange(0, 10_000 - negative)
    parts = {"negative": negative, "neutral": 10_000 - negative - positive, "positive": positive}
    return {name: part / 10_000 for name, part in parts.items()}
