"""Real news: alerts against market days, and false alarms on weeks of news in random order.

    python -m benchmarks.detection real --cache FOLDER

The encoder scores each feed, and a replay reads it once into the cache. The cache contains third parties' texts and
stays out of the repository. Market days and the market's topics were defined before any alert was seen.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from benchmarks.detection import desk, feeds, null
from foreshock.analysis.backtest import BacktestResult, backtest
from foreshock.analysis.events import ExpectedEvent, judge
from foreshock.monitor.alerts import Alert
from foreshock.monitor.store import schema
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.store.times import microseconds
from foreshock.processes import replay
from foreshock.settings.load import load
from foreshock.settings.models import Settings

DATA = Path(__file__).parents[3] / "shared" / "data"
FEEDS = ("reuters_2018_2020", "reuters21578_1987")
MARKET = ("_all", "equities", "growth", "rates")
"""Topics that are about the market as a whole."""
VIX_UP, INDEX_DOWN = 0.20, -0.03
CLOSE = 21 * feeds.HOUR
"""Close of New York's exchange, after midnight UTC, within an hour."""
BUSIEST, DAYS = 30, null.DAYS[30]


def market_days(start: int, end: int) -> list[date]:
    """Return the days in [start, end) on which the VIX rose by more than 20 % or the S&P 500 fell by more than 3 %."""
    with (DATA / "market" / "sp500_vix_daily.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = []
    for before, row in pairwise(rows):
        fell = float(row["sp500_close"]) / float(before["sp500_close"]) - 1 < INDEX_DOWN
        known = bool(row["vix_close"] and before["vix_close"])
        if fell or (known and float(row["vix_close"]) / float(before["vix_close"]) - 1 > VIX_UP):
            found.append(date.fromisoformat(row["date"]))
    return [day for day in found if start <= midnight(day) < end]


def midnight(day: date) -> int:
    return microseconds(datetime(day.year, day.month, day.day, tzinfo=UTC))


def settings(cache: Path, name: str) -> Settings:
    """Return the defaults, with a budget of one false alarm a week for the whole desk, and a store in the cache."""
    return load(None, flags={"store.url": f"sqlite:///{cache}/{name}.db"}).settings


def prepare(cache: Path, name: str) -> str:
    """Return the URL of a store with the replayed feed. Replay it if it is not there yet."""
    store = settings(cache, name)
    scored = cache / f"{name}.jsonl"  # of `foreshock score`, if it was run before
    replay.replay(store, [scored if scored.exists() else DATA / "streams" / f"{name}.jsonl.gz"])
    return store.store.url


def run(cache: Path, names: Iterable[str]) -> None:
    """Measure feeds. Write the results to real.json in the cache, and the alerts to NAME.alerts.json."""
    file = cache / "real.json"
    known = {row["feed"]: row for row in json.loads(file.read_text())} if file.exists() else {}
    for name in names:
        known[name] = measure(cache, name)
        file.write_text(json.dumps([known[name] for name in FEEDS if name in known], indent=2))


def measure(cache: Path, name: str) -> dict[str, Any]:
    """Compare alerts for the worse about the market with market days, and all alerts with what chance gives."""
    result = backtest(settings(cache, name), prepare(cache, name))
    told = [
        fired.alert
        for fired in result.fired
        if fired.alert.topic in MARKET
        and fired.alert.direction == "worse"
        and fired.alert.kind in ("negativity_spike", "drift")
    ]
    shown = result.to_json()
    (cache / f"{name}.alerts.json").write_text(json.dumps(shown["alerts"], indent=2))
    keep = ("start", "end", "watched_days", "topics", "fired", "by_kind", "chance_gives", "seconds")
    return {
        "feed": name,
        "detectors": desk.version(),
        **{key: shown[key] for key in keep},
        "seconds_a_year": round(result.seconds * 365 / ((result.end - result.start) / feeds.DAY), 1),
        "market": against_market(result, told),
    }


def against_market(result: BacktestResult, told: list[Alert]) -> dict[str, Any]:
    """Match alerts with market days. An alert belongs to a day if it fires on it or on the day before.

    Its lead is the time to the close.
    """
    first = result.end - round(result.watched_days * feeds.DAY)
    days = [day for day in market_days(result.start, result.end) if midnight(day) >= first]
    spans = [ExpectedEvent("market", midnight(day - timedelta(days=1)), midnight(day) + feeds.DAY - 1) for day in days]
    judged = judge([("market", alert.fired_at) for alert in told if alert.fired_at is not None], spans)
    leads = []
    for day, span in zip(days, spans, strict=True):
        hits = [a.fired_at for a in told if a.fired_at is not None and span.start <= a.fired_at <= span.end]
        if hits:
            leads.append(round((midnight(day) + CLOSE - min(hits)) / feeds.HOUR, 1))
    covered = np.zeros(max(int((result.end - first) // feeds.DAY), 1), bool)
    for span in spans:
        covered[max((span.start - first) // feeds.DAY, 0) : (span.end - first) // feeds.DAY + 1] = True
    return {
        "topics": list(MARKET),
        "market_days": len(days),
        "noticed": judged.found,
        "recall": judged.recall,
        "alerts": judged.alerts,
        "precision": judged.precision,
        "precision_of_alerts_at_random": round(float(covered.mean()), 3),
        "lead_hours": leads,
        "noticed_days": [str(d) for d, s in zip(days, spans, strict=True) if not any(s == m for m in judged.missed)],
    }


def counts(cache: Path, name: str) -> feeds.Feed:
    """Return the replayed feed as hourly counts of its busiest topics, from its first Monday on."""
    b = schema.buckets.c
    engine = connect(prepare(cache, name), create=False)
    with reading(engine) as connection:
        rows = connection.execute(select(b.topic, b.start, b.events, b.negative, b.positive)).all()
    engine.dispose()
    events: dict[str, int] = {}
    for row in rows:
        events[row.topic] = events.get(row.topic, 0) + row.events
    topics = sorted(events, key=lambda topic: (-events[topic], topic))[:BUSIEST]
    index = {topic: place for place, topic in enumerate(topics)}
    first = min(row.start for row in rows) // feeds.DAY + 1
    first += (4 - first) % 7  # day 4 of 1970 was a Monday
    hours = max(row.start for row in rows) // feeds.HOUR + 1 - first * 24
    sums = np.zeros((3, hours, len(topics)), np.int64)
    for row in rows:
        hour = row.start // feeds.HOUR - first * 24
        if hour >= 0 and row.topic in index:
            sums[:, hour, index[row.topic]] += (row.events, row.negative, row.positive)
    share = sums[1].sum(axis=0) / np.maximum(sums[0].sum(axis=0), 1) / feeds.UNIT
    return feeds.Feed(first * feeds.DAY, sums[0], sums[1], sums[2], share=share, copies=np.zeros_like(sums[0]))


def resampled(whole: feeds.Feed, seed: int) -> feeds.Feed:
    """Return weeks of a real feed in random order. Weeks without news are not drawn."""
    weeks = whole.hours // 168
    busy = whole.events[: weeks * 168].reshape(weeks, 168, -1).sum(axis=(1, 2))
    rows = np.concatenate([np.arange(168) + 168 * week for week in np.flatnonzero(busy > np.median(busy) / 4)])
    kept = feeds.Feed(
        whole.start,
        whole.events[rows],
        whole.negative[rows],
        whole.positive[rows],
        whole.share,
        whole.copies[rows],
    )
    return feeds.resample(kept, seed, DAYS)
