"""Measure the scorer watch: false calls on real and made feeds, what it finds of made faults and how soon, its cost.

    python -m benchmarks.scorer_watch --feeds ../shared/data/streams --labelled ../shared/data/labelled

It takes ten minutes or more. `--quick` replays a part of each feed, and `--only PART` measures one part (a feed, `made`
or `cost`) and puts it into the recorded result.

* **Real feeds** are replayed with the shipped weights; what the store then holds is what the watch found. Nothing is
  known to be wrong with them, so each call after the first days is false. One at the beginning says that the feed is
  unlike the labelled sets.
* **Faults** begin at 70 % of each feed, in its next 600 texts: markup around them, letters that nobody knows (rot13),
  Chinese headlines, a scorer that says neutral to everything, one that is half as sure. A week in which 70 % of the
  stories are negative is no fault.
* **Made feeds**: 60 sources for a year each, with weekends, moods that wander and weeks of bad news; no fault.
* **Detectors**: how often each detector of river alone finds a change in the real feeds, and how many of the three
  faults in the texts it finds.

The limit from which on a token is familiar was changed once after a first run on a part of one feed, and chosen on
held-out labelled texts with the same kinds of fault. So how soon faults are found, above all unknown words, is no blind
judgement. Nothing else of the watch was chosen by these figures.
"""

from __future__ import annotations

import argparse
import codecs
import gzip
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from river import drift
from sqlalchemy import and_, select

from benchmarks.recording import RESULTS, record
from foreshock.model.reference import read_reference
from foreshock.model.scorer import Scorer, load_scorer
from foreshock.model.storage import open_weights
from foreshock.monitor.counting import CountedStory, Ruling
from foreshock.monitor.scorer_blocks import Sums, Usual, doubt
from foreshock.monitor.scorer_watch import BLOCK_STORIES, DETECTORS, ScorerWatch
from foreshock.monitor.store import schema, scorer_watch
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.units import DAY, HOUR, MINUTE
from foreshock.processes.replay import replay
from foreshock.settings.load import load

FEEDS = {"reuters21578_1987": (0, 2_000), "stocknet_2014_2015": (0, 3_500), "reuters_2018_2020": (26_500, 31_000)}
"""The feeds, and the stories of each that `--quick` replays: of the last one those with the crash of 2020."""
FAULT_AT, FAULT_STORIES = 0.7, 600
MADE_SOURCES, MADE_DAYS = 60, 365
BUCKET = 5 * MINUTE
NAME = "scorer_watch"
PARTS = (*FEEDS, "made", "cost")
TEXT_FAULTS = ("markup", "unknown words", "Chinese")
YEAR = 365 * DAY


@dataclass(frozen=True, slots=True)
class Scored:
    """A story that counts: when, with its scores and novelty in 1/10,000, and its text."""

    at: int
    scores: tuple[int, int, int]
    novelty: int
    text: tuple[str, str] = ("", "")


def ruling(source: str, one: Scored) -> Ruling:
    """Return the ruling on a story, as closing a bucket makes it."""
    nothing: dict[str, Any] = {
        "partition": "",
        "offset": 0,
        "bucket": 0,
        "published_at": 0,
        "id": "",
        "content": "",
        "stale": False,
    }
    nothing |= {"date_only": False, "signature": None, "keys": (), "topics": ()}
    return Ruling(
        CountedStory(**nothing, source=source, scores=one.scores, model="m", novelty=one.novelty), "scored", True
    )


def watched(usual: Usual | None, source: str, stories: Sequence[Scored]) -> list[Any]:
    """Return the changes that a watch finds in the stories of one source, in buckets."""
    watch, found = ScorerWatch({} if usual is None else {"m": usual}), []
    place = 0
    while place < len(stories):
        end = stories[place].at - stories[place].at % BUCKET + BUCKET
        begin = place
        while place < len(stories) and stories[place].at < end:
            place += 1
        found += watch.take(end, [ruling(source, one) for one in stories[begin:place]])[0]
    return found


def replayed(
    name: str, feeds: Path, folder: str, scorer: Scorer, *, quick: bool
) -> tuple[list[Scored], list[dict[str, Any]], Usual | None]:
    """Replay a feed. Return its stories that count, the changes that the store holds, and what the card says."""
    url, file = f"sqlite:///{folder}/{name}.db", Path(folder) / f"{name}.jsonl"
    with gzip.open(feeds / f"{name}.jsonl.gz", "rb") as lines:
        file.write_bytes(b"".join(islice(lines, *FEEDS[name]) if quick else lines))
    settings = load(None, flags={"store.url": url}, environ={}).settings
    replay(settings, [file], scorer=lambda: scorer)
    s, d = schema.stories.c, schema.decisions.c
    query = select(s.counts_at, s.negative, s.neutral, s.positive, s.novelty, s.title, s.body).join_from(
        schema.stories, schema.decisions, and_(d.partition == s.partition, d.offset == s.offset)
    )
    query = query.where(d.ending == "scored", d.weighs, d.event_partition.is_(None), s.negative.is_not(None))
    engine = connect(url, create=False)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(s.counts_at)).all()
        changes = [noted.to_json() for noted in scorer_watch.changes(connection, since=0)]
        usual = scorer_watch.usual(connection)
    engine.dispose()
    stories = [Scored(r.counts_at, (r.negative, r.neutral, r.positive), r.novelty, (r.title, r.body)) for r in rows]
    return stories, changes, usual


def rescored(stories: Sequence[Scored], texts: Sequence[tuple[str, str]], scorer: Scorer) -> list[Scored]:
    """Return the stories with other texts, scored."""
    scores, novelty = scorer.score_stories(texts).tolist(), scorer.novel_stories(texts)
    assert novelty is not None
    return [Scored(s.at, (a, b, c), n) for s, (a, b, c), n in zip(stories, scores, novelty.tolist(), strict=True)]


def faults(stories: Sequence[Scored], chinese: Sequence[str], scorer: Scorer) -> dict[str, list[Scored]]:
    """Return the stories with each fault."""
    titles = [s.text for s in stories]

    def marked(text: str) -> str:
        return f'<div class="td-block"><a href="#top">{text}</a>&nbsp;&raquo;</div><br/>' if text else ""

    def flat(scores: tuple[int, int, int]) -> tuple[int, int, int]:
        a, b, c = (value + 10_000 // 3 for value in scores)
        return a // 2, b // 2, c // 2

    return {
        "markup": rescored(stories, [(marked(title), marked(body)) for title, body in titles], scorer),
        "unknown words": rescored(
            stories, [(codecs.encode(title, "rot13"), codecs.encode(body, "rot13")) for title, body in titles], scorer
        ),
        "Chinese": rescored(stories, [(chinese[i % len(chinese)], "") for i in range(len(stories))], scorer),
        "all neutral": [Scored(s.at, (50, 9_900, 50), s.novelty) for s in stories],
        "half as sure": [Scored(s.at, flat(s.scores), s.novelty) for s in stories],
    }


def bad_week(stories: Sequence[Scored], rng: random.Random) -> list[Scored]:
    """Return the stories, of which in the first week so many others are left out that 70 % are negative."""
    until = stories[0].at + 7 * DAY
    week = [s for s in stories if s.at < until]
    negative = sum(s.scores[0] == max(s.scores) for s in week)
    kept = negative * 3 / 7 / max(1, len(week) - negative)
    return [s for s in stories if s.at >= until or s.scores[0] == max(s.scores) or rng.random() < kept]


def made_source(rng: random.Random) -> Iterator[Scored]:
    """Make a year of a source in which nothing is wrong with the scorer."""
    a_day = int(rng.lognormvariate(4, 1)) + 5
    sure = [rng.uniform(0.75, 0.93) for _ in range(3)]
    novelty, mood = rng.uniform(0.005, 0.04), 0.0
    bad_days = {first + day for first in rng.sample(range(MADE_DAYS), 4) for day in range(7)}
    for day in range(MADE_DAYS):
        mood = 0.95 * mood + rng.gauss(0, 0.04)
        weekend = day % 7 >= 5
        bad = 0.7 if day in bad_days else min(0.8, max(0.03, 0.25 + mood))
        shares = (bad, (1 - bad) * (0.8 if weekend else 0.65), (1 - bad) * (0.2 if weekend else 0.35))
        for number in range(a_day // (3 if weekend else 1)):
            c = rng.choices(range(3), shares)[0]
            level = int(min(0.99, max(0.4, rng.gauss(sure[c], 0.12))) * 10_000)
            rest = (10_000 - level) // 2
            scores = [rest] * 3
            scores[c] = 10_000 - 2 * rest
            new = max(0, int(rng.gauss(novelty, 0.06) * 10_000))
            yield Scored(day * DAY + number * DAY // a_day, (scores[0], scores[1], scores[2]), new)


def blocks(usual: Usual | None, stories: Sequence[Scored]) -> Iterator[tuple[float, float]]:
    """Yield novelty and doubt of the blocks of a source, as the watch makes them where nothing is found."""
    past, block = Sums(), Sums()
    begun = stories[0].at
    for s in stories:
        block.take(s.scores, s.novelty)
        if block.stories >= BLOCK_STORIES and s.at - begun >= 6 * HOUR:
            yield block.words or 0.0, doubt(block, past, usual)
            past.add(block)
            block, begun = Sums(), s.at


RIVALS: dict[str, tuple[str, Callable[[], Any]]] = {
    "Page-Hinkley, as the watch has it": (
        "blocks",
        lambda: drift.PageHinkley(min_instances=8, alpha=1.0, **DETECTORS["words"]),
    ),
    "ADWIN on blocks": ("blocks", lambda: drift.ADWIN(clock=1)),
    "KSWIN on blocks": ("blocks", lambda: drift.KSWIN(seed=1, window_size=40, stat_size=12)),
    "Page-Hinkley on stories": ("stories", drift.PageHinkley),
    "ADWIN on stories": ("stories", drift.ADWIN),
    "KSWIN on stories": ("stories", lambda: drift.KSWIN(seed=1)),
}


def rivals(stories: list[Scored], usual: Usual | None, changed: dict[str, list[Scored]]) -> dict[str, Any]:
    """Return, for each detector, how often it alone finds a change of novelty in a feed, and in its changed texts."""
    found: dict[str, Any] = {}
    cut = int(len(stories) * FAULT_AT)
    for name, (of, make) in RIVALS.items():
        values = _values(of, usual, stories)
        begun = time.process_time()
        whole = len(_hits(make(), values))
        spent = time.process_time() - begun
        known = len(_values(of, usual, stories[:cut]))
        after = {fault: _values(of, usual, stories[:cut] + changed[fault]) for fault in TEXT_FAULTS}
        found[name] = {
            "changes_in_the_whole_feed": whole,
            "faults_found": sum(any(place >= known for place in _hits(make(), each)) for each in after.values()),
            "of": len(after),
            "microseconds_a_story": round(spent / len(stories) * 1e6, 2),
        }
    return found


def _values(of: str, usual: Usual | None, stories: Sequence[Scored]) -> list[float]:
    if of == "stories":
        return [s.novelty / 10_000 for s in stories]
    return [words for words, _ in blocks(usual, stories)]


def _hits(detector: Any, values: Sequence[float]) -> list[int]:
    hits = []
    for place, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            hits.append(place)
    return hits


def cost(stories: Sequence[Scored], usual: Usual | None, scorer: Scorer) -> dict[str, Any]:
    """Return what the watch and the novelty cost a story, beside the encoder."""
    begun = time.process_time()
    watched(usual, "feed", stories)
    watching = time.process_time() - begun
    texts = [s.text for s in stories[:500]]
    fresh = load_scorer("default", "cpu", cached=1)  # the other one remembers these texts
    begun = time.process_time()
    fresh.score_stories(texts)
    encoding = time.process_time() - begun
    rows = [one.ids for one in scorer._tokenizer.encode_batch_fast([f"{title}\n{body}" for title, body in texts])]
    familiar = scorer._familiar
    assert familiar is not None
    begun = time.process_time()
    for _ in range(20):
        familiar.novelty(rows)
    reading_tokens = (time.process_time() - begun) / 20
    many, rng = ScorerWatch({} if usual is None else {"m": usual}), random.Random(2)
    begun = time.process_time()
    for hour in range(200):
        named = (ruling(f"s{rng.randrange(5_000)}", rng.choice(stories[:500])) for _ in range(500))
        many.take((hour + 1) * HOUR, named)
    return {
        "watching_microseconds_a_story": round(watching / len(stories) * 1e6, 2),
        "novelty_microseconds_a_text": round(reading_tokens / len(texts) * 1e6, 2),
        "encoder_microseconds_a_text": round(encoding / len(texts) * 1e6, 1),
        "novelty_of_the_encoder": round(reading_tokens / encoding, 5),
        "with_5000_sources": {
            "microseconds_a_story": round((time.process_time() - begun) / 100_000 * 1e6, 2),
            "places": len(many.places),
            "bytes_stored": sum(len(json.dumps(place.to_json())) for place in many.places.values()),
        },
    }


def measure(part: str, feeds: Path, labelled: Path, *, quick: bool) -> dict[str, Any]:
    """Measure one part: a feed, `made` or `cost`."""
    rng = random.Random(5)
    if part == "made":
        reference = read_reference(open_weights("default").card)
        usual = None if reference is None else Usual.of_card(reference.without_tokens())
        counted: Counter[str] = Counter()
        for _ in range(MADE_SOURCES):
            for change in watched(usual, "made", list(made_source(rng))):
                counted[change.kind if change.before is not None else f"{change.kind} at first"] += 1
        return {"sources": MADE_SOURCES, "days": MADE_DAYS, "changes": dict(sorted(counted.items()))}
    scorer = load_scorer("default", "cpu")
    if part == "cost":
        with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
            stories, _, usual = replayed("stocknet_2014_2015", feeds, folder, scorer, quick=True)
        return cost(stories, usual, scorer)
    with gzip.open(labelled / "zhfin_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        chinese = [row.get("title") or row["text"][:60] for row in map(json.loads, lines)]
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        stories, changes, usual = replayed(part, feeds, folder, scorer, quick=quick)
    cut = int(len(stories) * FAULT_AT)
    texts = faults(stories[cut : cut + FAULT_STORIES], chinese, scorer)
    before = {(c.kind, c.found_at) for c in watched(usual, part, stories[:cut])}
    made = texts | {"a week of bad news": bad_week(stories[cut:], rng)}
    return {
        "stories_that_count": len(stories),
        "years": round((stories[-1].at - stories[0].at) / YEAR, 2),
        "changes": changes,
        "calls_at_the_beginning": sum(c["calls"] and c["before"] is None for c in changes),
        "false_calls": sum(c["calls"] and c["before"] is not None for c in changes),
        "faults": {name: _found(watched(usual, part, stories[:cut] + of), before, of) for name, of in made.items()},
        "detectors_alone": rivals(stories, usual, texts),
    }


def _found(changes: Sequence[Any], before: set[tuple[str, int]], stories: Sequence[Scored]) -> dict[str, Any]:
    """Return what was found after the fault began, and after how many stories an operator was called."""
    new = [change for change in changes if (change.kind, change.found_at) not in before]
    calls = [change.found_at for change in new if change.calls]
    return {
        "found": sorted({change.kind for change in new}),
        "called_after_stories": sum(s.at < calls[0] for s in stories) if calls else None,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feeds", type=Path, required=True)
    parser.add_argument("--labelled", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS)
    given = parser.parse_args()
    command = "python -m benchmarks.scorer_watch --feeds ../shared/data/streams --labelled ../shared/data/labelled"
    recorded = RESULTS / f"{NAME}.json"
    if given.only is None:
        recorded.unlink(missing_ok=True)
    for each in [given.only] if given.only else PARTS:
        measured = measure(each, given.feeds, given.labelled, quick=given.quick)
        print(json.dumps({each: measured}, indent=1), flush=True)
        before = json.loads(recorded.read_text())["parts"] if recorded.is_file() else {}
        record(NAME, command + (" --quick" if given.quick else ""), {"parts": {**before, each: measured}})
