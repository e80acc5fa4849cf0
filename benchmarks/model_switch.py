"""Measure whether a switch of the model raises alerts: those of the fortnight after, with a switch and without.

    python -m benchmarks.model_switch       # some minutes; --only gloomy or --only permissive: one of the two changes

A real feed is read under the default topics and a budget of one false alarm a day. At some dates the model changes.
What fires in the 14 days after is counted in four stores: the model stays; it is switched (`foreshock model switch`);
it just changes, as it would without a switch; and the new model scored from the beginning. An alert that fires after a
switch and in none of the stores of one model is raised by the change.

There are two changes: from the default weights to the permissive ones, and to a made model with other habits, which
calls half of what the default ones call neutral negative. Texts are scored once by each model, and then looked up.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from sqlalchemy import select, update

from benchmarks.recording import record
from foreshock.model.scorer import load_scorer
from foreshock.model.settings import ModelSettings
from foreshock.monitor.store import schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.units import DAY
from foreshock.processes import wiring
from foreshock.processes.models import StoryScorer
from foreshock.processes.replay import replay
from foreshock.processes.switch import switch
from foreshock.settings.load import load
from foreshock.settings.models import Settings

FEED = Path(__file__).parents[2] / "shared/data/streams/reuters_2018_2020.jsonl.gz"
DATES = ("2018-07-09", "2018-07-30")
AFTER = 14 * DAY
BUDGET = "1 per day"
OLD, PERMISSIVE, GLOOMY = "default", "permissive", "gloomy"

Pairs = Sequence[tuple[str, str]]
Table = dict[tuple[str, str], tuple[int, ...]]


class LookedUp:
    """A scorer that has scored all texts already."""

    languages = frozenset({"en"})

    def __init__(self, identity: str, scores: Table) -> None:
        self.identity = identity
        self._scores = scores

    def score_stories(self, pairs: Pairs) -> Any:
        return np.array([self._scores[pair] for pair in pairs], np.int32).reshape(-1, 3)


def measure(names: Sequence[str], dates: Sequence[str] = DATES) -> dict[str, Any]:
    """Return what fired after each change, and how often the models disagree."""
    records = _records(_time_of(dates[-1]) + AFTER)
    tables = _tables(records, names)
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder, _scorers(tables):
        stores = _Stores(Path(folder), records)
        changes = {name: [stores.change(name, date) for date in dates] for name in names}
    return {
        "feed": FEED.name,
        "stories": len(records),
        "budget": BUDGET,
        "days_after": AFTER // DAY,
        "changes": {
            name: {
                "mean_negative": {model: _mean(tables[model]) for model in (OLD, name)},
                "total": {key: sum(one[key] for one in found) for key in found[0] if key not in ("date", "from")},
                "each": found,
            }
            for name, found in changes.items()
        },
    }


def _mean(table: Table) -> float:
    return round(float(np.mean([row[0] for row in table.values()])) / 10_000, 4)


def _records(until: int) -> list[dict[str, Any]]:
    with gzip.open(FEED, "rt") as file:
        return [r for r in map(json.loads, file) if _published(r) < until]


def _tables(records: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Table]:
    pairs = sorted({(str(r.get("title", "")), str(r.get("body", ""))) for r in records})
    tables: dict[str, Table] = {}
    for name in {OLD, *names} - {GLOOMY}:
        scores = load_scorer(weights=name, device="cpu").score_stories(pairs)
        tables[name] = {pair: tuple(row) for pair, row in zip(pairs, scores.tolist(), strict=True)}
    tables[GLOOMY] = {
        pair: (bad + neutral // 2, neutral - neutral // 2, good) for pair, (bad, neutral, good) in tables[OLD].items()
    }
    return tables


@contextmanager
def _scorers(tables: dict[str, Table]) -> Iterator[None]:
    """Let weights be what was looked up."""

    def scorer_of(model: ModelSettings, kept: object = None) -> StoryScorer:
        name = Path(model.weights).name
        return LookedUp(name, tables[name])

    with mock.patch.object(wiring, "scorer_of", scorer_of):
        yield


class _Stores:
    """The stores of one model up to each date, which are read once."""

    def __init__(self, folder: Path, records: Sequence[dict[str, Any]]) -> None:
        self._folder = folder
        self._records = records
        self._made = 0

    def change(self, name: str, date: str) -> dict[str, Any]:
        """Count what fires after a change to `name` at `date`, in each of the four stores."""
        at = _time_of(date)
        before = self._up_to(OLD, at)
        stays, changed, switched = (self._copy(before) for _ in range(3))
        always = self._copy(self._up_to(name, at))
        begun = time.process_time()
        found = switch(_settings(switched), name)
        seconds = time.process_time() - begun
        self._rename(changed, name)
        for store, model in ((stays, OLD), (changed, name), (switched, OLD), (always, name)):
            replay(_settings(store, model), [self._part(at, at + AFTER)])
        fired = {key: _fired(store, at) for key, store in zip(_STORES, (stays, switched, changed, always), strict=True)}
        expected = fired["stays"] | fired["new_from_the_beginning"]
        counted = {
            "date": date,
            "from": found.in_force_from,
            **{key: len(some) for key, some in fired.items()},
            "raised_by_the_switch": len(fired["switched"] - expected),
            "raised_without_a_switch": len(fired["just_changed"] - expected),
            "rescored": found.rescored,
            "cpu_seconds_of_the_switch": round(seconds, 1),
        }
        print(name, json.dumps(counted), file=sys.stderr, flush=True)
        return counted

    def _up_to(self, name: str, at: int) -> Path:
        """Return a store that has read all before `at` by one model; it grows from the one of the date before."""
        path = self._folder / f"{name}-{at}.db"
        if not path.exists():
            done = max((p for p in self._folder.glob(f"{name}-*.db") if _time(p) < at), key=_time, default=None)
            if done is not None:
                shutil.copy(done, path)
            replay(_settings(path, name), [self._part(_time(done) if done is not None else 0, at)])
        return path

    def _part(self, since: int, until: int) -> Path:
        path = self._folder / f"{since}-{until}.jsonl"
        if not path.exists():
            some = [r for r in self._records if since <= _published(r) < until]
            path.write_text("".join(json.dumps(r) + "\n" for r in some))
        return path

    def _copy(self, store: Path) -> Path:
        self._made += 1
        path = self._folder / f"copy{self._made}.db"
        shutil.copy(store, path)
        return path

    def _rename(self, store: Path, name: str) -> None:
        """Let a store believe that `name` had scored it all along."""
        engine = connect(f"sqlite:///{store}", create=False)
        v = schema.settings_versions
        with writing(engine) as connection:
            body = json.loads(connection.execute(select(v.c.body)).scalar_one())
            body["model"]["weights"] = name
            connection.execute(update(v).values(body=json.dumps(body, sort_keys=True, ensure_ascii=False)))
            connection.execute(update(schema.feed).values(model=name))
        engine.dispose()


_STORES = ("stays", "switched", "just_changed", "new_from_the_beginning")


def _time(store: Path) -> int:
    return int(store.stem.rpartition("-")[2])


def _time_of(date: str) -> int:
    return round(datetime.fromisoformat(f"{date}T00:00:00+00:00").timestamp() * 1e6)


def _published(record: dict[str, Any]) -> int:
    return round(datetime.fromisoformat(record["published_at"]).timestamp() * 1e6)


def _settings(store: Path, model: str = OLD) -> Settings:
    flags = {"store.url": f"sqlite:///{store}", "alerts.false_alarms": BUDGET, "model.weights": model}
    return load(None, flags={**flags, "model.per_company": False}, environ={}).settings


def _fired(store: Path, since: int) -> set[tuple[str, str, str]]:
    """Return what fired in the days after: topic, kind and direction."""
    a, engine = schema.alerts.c, connect(f"sqlite:///{store}", create=False)
    with reading(engine) as connection:
        query = select(a.topic, a.kind, a.direction).where(a.fired_at > since, a.fired_at <= since + AFTER)
        return {tuple(row) for row in connection.execute(query)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=(GLOOMY, PERMISSIVE))
    only = parser.parse_args().only
    result = measure((GLOOMY, PERMISSIVE) if only is None else (only,))
    print(json.dumps(result, indent=1))
    command = "python -m benchmarks.model_switch" + ("" if only is None else f" --only {only}")
    record("model_switch", command, result)
