"""Feeds that misbehave, the whole way from a file to the alerts: none of it is a surge, and a crisis still is."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from foreshock.monitor.store import open_store
from foreshock.processes.replay import replay
from foreshock.settings.load import load

pytestmark = pytest.mark.slow

START = 1_770_000_000 // 86_400 * 86_400
DAYS = 24
CRISIS = START + 20 * 86_400 + 10 * 3_600
SYLLABLES = [f"{c}{v}{d}" for c in "bdgklmnprst" for v in "aeiou" for d in "lnrs"]
SURGE = "negativity_spike"

Story = dict[str, Any]


def story(rng: random.Random, at: float, topic: str, source: str, negative: float) -> Story:
    return {
        "id": f"{rng.getrandbits(64):x}",
        "title": " ".join(rng.choices(SYLLABLES, k=9)),
        "published_at": round(at, 3),
        "source": source,
        "topics": [topic],
        "scores": {"negative": negative, "neutral": round(0.95 - negative, 3), "positive": 0.05},
    }


def ordinary(seed: int = 1) -> list[Story]:
    """Eight companies with half a story to six a day, a quarter of them bad, from six sources, in order of time."""
    rng = random.Random(seed)
    found = [
        story(
            rng,
            START + rng.uniform(0, DAYS * 86_400),
            f"zq{'abcdefgh'[topic]}",
            f"source {rng.choice('pqrstu')}",
            rng.choice((0.05, 0.08, 0.12, 0.85)),
        )
        for topic in range(8)
        for _ in range(round(DAYS * 0.5 * 12 ** (topic / 7)))
    ]
    return sorted(found, key=lambda one: float(one["published_at"]))


def crisis(topic: str = "zqc") -> list[Story]:
    rng = random.Random(9)
    return [story(rng, CRISIS + 600 * n, topic, f"source {'pqrstu'[n % 6]}", 0.9) for n in range(9)]


def surges(folder: Path, stories: Iterable[Story]) -> list[str]:
    """Replay stories in the given order and return the topics of which bad news surged."""
    url, path = f"sqlite:///{folder / 'store.db'}", folder / "feed.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in stories))
    settings = load(None, flags={"store.url": url, "watchlist.defaults": False}, environ={}).settings
    replay(settings, [path])
    store = open_store(url)
    found = [alert["topic"] for alert in store.alerts() if alert["kind"] == SURGE and alert["fired_at"]]
    store.close()
    return found


def test_a_crisis_is_a_surge_and_what_is_ordinary_is_none(tmp_path: Path) -> None:
    both = sorted(ordinary() + crisis(), key=lambda one: float(one["published_at"]))
    assert surges(tmp_path, both) == ["zqc"]


def test_the_backlog_after_an_outage_is_no_surge(tmp_path: Path) -> None:
    """What was published in five hours comes at once, late, after a story that was published afterwards."""
    hidden = CRISIS, CRISIS + 5 * 3_600
    stories = ordinary()
    late = [one for one in stories if hidden[0] <= one["published_at"] < hidden[1]]
    assert late
    after = next(n for n, one in enumerate(stories) if one["published_at"] >= hidden[1])
    rest = [one for one in stories[after + 1 :] if one not in late]
    before = [one for one in stories[:after] if one not in late]
    assert surges(tmp_path, [*before, stories[after], *late, *rest]) == []


def test_clocks_that_go_back_make_no_surge_and_hide_none(tmp_path: Path) -> None:
    """From the twelfth day on, the clocks of three sources are two hours slow, so that their stories come late."""
    both = sorted(ordinary() + crisis(), key=lambda one: float(one["published_at"]))
    for one in both:
        if one["source"][-1] in "pqr" and one["published_at"] >= START + 12 * 86_400:
            one["published_at"] -= 2 * 3_600
    assert surges(tmp_path, both) == ["zqc"]
