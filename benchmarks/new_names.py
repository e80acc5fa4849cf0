"""New names: false alarms on made feeds without crises, and what fires on real feeds whose companies nobody lists.

    python -m benchmarks.new_names made --cache FOLDER      # the first part of results/new_names.json; resumable
    python -m benchmarks.new_names real --cache FOLDER      # the second part; alerts with stories go to the cache

In a made feed nothing happens but chance: names of very unequal rates (Zipf), each with its own usual share of negative
stories, everyday bursts of one mood (results, product news), and new names every day. Whatever fires is false. The real
feeds are replayed with the built-in themes and without the built-in companies, so each company is a name that nobody
has on a list. Their texts stay in the cache.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.real import DATA
from benchmarks.recording import RESULTS, record
from foreshock.monitor.buckets import Bucket, NameCounts, SourceSums, TopicBucket
from foreshock.monitor.deciding import DetectionRules, State, decide
from foreshock.monitor.new_names import NewNames
from foreshock.monitor.units import ALL, DAY, HOUR, UNIT
from foreshock.settings.models import Settings

FILE = RESULTS / "new_names.json"
SHARE = 0.1
START = 19_000 * DAY
THEMES, SOURCES = 20, 8
KINDS = {
    # stories a day, names, bursts: part of a name's stories that bring two to six more of their mood within six hours
    "newspaper": (20, 400, 0.02),
    "bursty newspaper": (20, 400, 0.1),
    "wire": (200, 2_000, 0.02),
    "bursty wire": (200, 2_000, 0.1),
    "one source": (60, 800, 0.02),
}
VERDICTS = Path(__file__).parent / "data" / "new_names_read.tsv"
"""Verdicts by the ids of the alerts: feed, alert, verdict, what it was."""
FEEDS = ("reuters_2018_2020", "stocknet_2014_2015")
UNSEEN = 20
"""The first seed. Those below were looked at while the threshold was chosen."""
FIRST = 60
"""Days in which the threshold of names rests on little."""
READ = 60
"""Alerts that are read by hand."""


def stories(kind: str, seed: int, days: int) -> Iterator[tuple[int, int, bool, int]]:
    """Yield (hour, name, negative, source) in order of time."""
    rate, names, bursts = KINDS[kind]
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    weights = 1 / np.arange(1, names + 1)
    weights /= weights.sum()
    share = rng.beta(2, 5, names)
    born = rng.integers(-days, days, names)  # half of the names come up in the course of the feed
    found: list[tuple[int, int, bool, int]] = []
    sources = 1 if kind == "one source" else SOURCES
    for hour in range(days * 24):
        busy = 1.6 if 7 <= hour % 24 < 19 else 0.4
        for name in rng.choice(names, rng.poisson(rate / 24 * busy), p=weights).tolist():
            if born[name] > hour // 24:
                continue
            bad = bool(rng.random() < share[name])
            found.append((hour, name, bad, int(rng.integers(sources))))
            if rng.random() < bursts:
                more = int(rng.integers(2, 7))
                found += [(hour + int(rng.integers(6)), name, bad, int(rng.integers(sources))) for _ in range(more)]
    yield from sorted(found)


def buckets(kind: str, seed: int, days: int) -> Iterator[Bucket]:
    """Yield a made feed in buckets of an hour. Each name belongs to one theme."""
    by_hour: dict[int, list[tuple[int, bool, int]]] = {}
    for hour, name, bad, source in stories(kind, seed, days):
        by_hour.setdefault(hour, []).append((name, bad, source))
    for hour in sorted(by_hour):
        of_topic: dict[str, list[tuple[bool, int]]] = {}
        of_name: dict[str, list[tuple[bool, int]]] = {}
        for name, bad, source in by_hour[hour]:
            for topic in (ALL, f"t{name % THEMES:02}"):
                of_topic.setdefault(topic, []).append((bad, source))
            of_name.setdefault(f"n{name:04}", []).append((bad, source))
        topics = tuple(_sums(topic, of_topic[topic]) for topic in sorted(of_topic))
        names = tuple(NameCounts(name, name, _sums(name, of_name[name])) for name in sorted(of_name))
        yield Bucket(START + hour * HOUR, topics, names=names)


def _sums(topic: str, events: list[tuple[bool, int]]) -> TopicBucket:
    by_source: dict[str, list[bool]] = {}
    for bad, source in events:
        by_source.setdefault(f"s{source}", []).append(bad)
    parts = tuple(
        SourceSums(
            name,
            len(moods),
            sum(8_500 if bad else 800 for bad in moods),
            sum(300 if bad else 2_000 for bad in moods),
            0,
            0,
        )
        for name, moods in sorted(by_source.items())
    )
    negative, positive = sum(part.negative for part in parts), sum(part.positive for part in parts)
    sums = len(events), len(events), negative, len(events) * UNIT - negative - positive, positive
    return TopicBucket(topic, *sums, tuple(part.source for part in parts), by_source=parts if len(parts) > 1 else ())


def cell(kind: str, seed: int, days: int) -> dict[str, Any]:
    """Count what fires on one made feed, and the largest number of bytes that the watch is stored in."""
    state, watch = State.fresh(DetectionRules(bucket=HOUR, false_alarms=(1 - SHARE) / 7)), NewNames(SHARE)
    fired, first, size, day = 0, 0, 0, -1
    for bucket in buckets(kind, seed, days):
        decide(state, bucket)
        new = sum(change.event == "firing" for change in watch.take(bucket, state))
        fired += new
        first += new * (bucket.start < START + FIRST * DAY)
        if bucket.start // DAY != day:
            day, size = bucket.start // DAY, max(size, len(watch.dump()))
    return {"kind": kind, "seed": seed, "days": days, "fired": fired, "first": first, "bytes": size}


def false_alarms(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare what fired, by kind of feed, with what the budget of a desk of "1 per week" gives names."""
    found = []
    for kind in KINDS:
        mine = [one for one in cells if one["kind"] == kind]
        if not mine:
            continue
        later = sum(one["days"] - FIRST for one in mine) * SHARE / 7
        fired, first = (sum(one[name] for one in mine) for name in ("fired", "first"))
        found.append(
            {
                "kind": kind,
                "seeds": len(mine),
                "days": mine[0]["days"],
                "fired": fired,
                "first_60_days": round(first / (FIRST * len(mine) * SHARE / 7), 2),
                "later": round((fired - first) / later, 2),
                "stored_bytes": max(one["bytes"] for one in mine),
            }
        )
    return found


def made(cells: Path, kinds: Sequence[str], seeds: int, days: int) -> list[dict[str, Any]]:
    """Measure feeds that are not in the file of cells yet; return all that it has."""
    kept = [json.loads(line) for line in cells.read_text().splitlines()] if cells.exists() else []
    known = {(one["kind"], one["seed"], one["days"]) for one in kept}
    for kind in kinds:
        for seed in range(UNSEEN, UNSEEN + seeds):
            if (kind, seed, days) not in known:
                kept.append(cell(kind, seed, days))
                with cells.open("a") as file:
                    file.write(json.dumps(kept[-1]) + "\n")
    return kept


def scored(cache: Path, name: str) -> Path:
    """Return the feed with the encoder's scores, as a file in the cache. It is scored once."""
    from foreshock.analysis.score_file import score_file

    out = cache / f"{name}.scored.jsonl"
    if not out.exists():
        score_file(Settings(), DATA / "streams" / f"{name}.jsonl.gz", out)
    return out


def real(cache: Path, name: str) -> dict[str, Any]:
    """Replay a real feed without companies; write the first alerts on new names with their stories to the cache."""
    from foreshock.monitor.store import open_store
    from foreshock.monitor.topics.rules import default_rules
    from foreshock.processes import replay
    from foreshock.settings.load import load

    db = cache / f"{name}.names.db"
    db.unlink(missing_ok=True)
    flags = {"store.url": f"sqlite:///{db}", "watchlist.defaults": False, "alerts.new_names": SHARE}
    settings = load(None, flags=flags).settings.model_copy(update={"topics": tuple(default_rules())})
    result = replay.replay(settings, [scored(cache, name)])
    fired = [a for a in open_store(settings.store.url).alerts() if a["kind"] == "new_name" and a["fired_at"]]
    (cache / f"{name}.new_names.json").write_text(json.dumps(fired[:READ], indent=2, ensure_ascii=False))
    days = len(list(open_store(settings.store.url).series_rows([ALL], every=DAY)))
    weeks = round(days / 7, 1)
    return {
        "feed": name,
        "stories": result.counts["stories"],
        "weeks": weeks,
        "fired": len(fired),
        "a_week": round(len(fired) / weeks, 2),
        "budget_a_week": SHARE,
        "read": _read(name, fired[:READ]),
    }


def _read(feed: str, fired: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return how many of the alerts were read, and in how many the stories tell of one development of the name."""
    rows = (line.split("\t") for line in VERDICTS.read_text("utf-8").splitlines()[1:])
    known = {identity: verdict for of, identity, verdict, *_ in rows if of == feed}
    said = [known[alert["id"]] for alert in fired if alert["id"] in known]
    return {"read": len(said), "true": said.count("true")}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.new_names")
    parser.add_argument("part", choices=("made", "real"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--days", type=int, default=240)
    parser.add_argument("--cache", type=Path, default=Path("runs/new_names"))
    parser.add_argument("--kinds", nargs="*")
    args = parser.parse_args()
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    kept = {key: found[key] for key in ("made", "real") if key in found}
    args.cache.mkdir(parents=True, exist_ok=True)
    if args.part == "made":
        kept["made"] = false_alarms(made(args.cache / "made.jsonl", args.kinds or list(KINDS), args.seeds, args.days))
    else:
        kept["real"] = [real(args.cache, name) for name in args.kinds or FEEDS]
    record("new_names", "python -m benchmarks.new_names made --cache FOLDER; ... real --cache FOLDER", kept)


if __name__ == "__main__":
    main()
