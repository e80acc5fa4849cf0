"""Measure the speed of a replay: relative to the scorer on the same texts, and alone on stories that carry scores.

    python -m benchmarks.replay

Scorer and replay take turns within one run, so the ratio holds on a machine whose speed drifts.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.arguments import parser
from benchmarks.recording import record
from foreshock.demo import generator
from foreshock.monitor.settings import StoreSettings
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

TURNS = 3
SCORED = 60_000
SPARSE = 20_000
BUCKET = 300


def scored_feed(path: Path, count: int, every: float, seed: int = 1) -> None:
    """Write stories with scores, `every` seconds apart on average: 30 topics, six sources, ten words each."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(3, 9))) for _ in range(5_000)]
    at = 1_770_000_000.0
    with path.open("w") as out:
        for number in range(count):
            at += rng.expovariate(1 / every)
            negative = round(rng.random(), 3)
            story = {
                "id": f"s{number}",
                "title": " ".join(rng.choices(words, k=10)),
                "published_at": round(at, 3),
                "source": rng.choice("abcdef"),
                "topics": [f"topic {rng.randrange(30)}"],
                "scores": {"negative": negative, "neutral": 0, "positive": round(1 - negative, 3)},
            }
            out.write(json.dumps(story) + "\n")


def measure() -> dict[str, Any]:
    """Run all parts. Rates are the medians over the turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dense, sparse = folder / "dense.jsonl", folder / "sparse.jsonl"
        scored_feed(dense, SCORED, BUCKET / 20)
        scored_feed(sparse, SPARSE, BUCKET * 1.5)
        alone = [_replay(folder, dense, turn) for turn in range(TURNS)]
        thin = [_replay(folder, sparse, turn) for turn in range(TURNS)]
        ratios, scorer_rates, replay_rates = _against_the_scorer(folder)
    return {
        "scored_stories_per_second_20_a_bucket": _median(alone, "stories"),
        "buckets_per_second_about_one_story_each": _median(thin, "buckets"),
        "stories_per_bucket_there": round(thin[0]["stories"] / thin[0]["buckets"], 2),
        "scorer_texts_per_second": round(sorted(scorer_rates)[TURNS // 2], 1),
        "replay_stories_per_second": round(sorted(replay_rates)[TURNS // 2], 1),
        "replay_over_scorer": round(sorted(ratios)[TURNS // 2], 3),
        "replay_over_scorer_each_turn": [round(ratio, 3) for ratio in ratios],
    }


def _against_the_scorer(folder: Path) -> tuple[list[float], list[float], list[float]]:
    """Time the scorer alone, in a worker's batches, and a whole replay, on the demo's headlines."""
    from foreshock.model.scorer import load_scorer
    from foreshock.processes.batches import TEXTS_TO_ENCODE

    feed = folder / "demo.jsonl"
    generator.write(feed, 7)
    pairs = [(json.loads(line)["title"], "") for line in feed.read_text().splitlines()]
    ratios, scorer_rates, replay_rates = [], [], []
    for turn in range(TURNS):
        scorer = load_scorer()
        scorer.score_stories(pairs[:64])
        began = time.perf_counter()
        for start in range(0, len(pairs), TEXTS_TO_ENCODE):
            scorer.score_stories(pairs[start : start + TEXTS_TO_ENCODE])
        alone = len(pairs) / (time.perf_counter() - began)
        fresh = load_scorer()
        fresh.score_stories(pairs[:64])
        result = replay(_settings(folder, f"encoded{turn}"), [feed], scorer=lambda scorer=fresh: scorer)  # type: ignore[misc]
        whole = result.counts["stories"] / result.seconds
        ratios.append(whole / alone)
        scorer_rates.append(alone)
        replay_rates.append(whole)
    return ratios, scorer_rates, replay_rates


def _replay(folder: Path, feed: Path, turn: int) -> dict[str, float]:
    result = replay(_settings(folder, f"{feed.stem}{turn}"), [feed])
    return {**result.counts, "seconds": result.seconds}


def _settings(folder: Path, name: str) -> Settings:
    return Settings(store=StoreSettings(url=f"sqlite:///{folder / name}.db"))


def _median(runs: list[dict[str, float]], what: str) -> float:
    return round(sorted(run[what] / run["seconds"] for run in runs)[len(runs) // 2], 1)


if __name__ == "__main__":
    parser(__doc__).parse_args()
    print(json.dumps(record("replay", "python -m benchmarks.replay", measure()), indent=2))
