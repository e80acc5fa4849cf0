"""A made-up feed that names companies or not, and stores with a few topics: what tests of a store's past share."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from foreshock.settings.load import load
from foreshock.settings.models import Settings

START = 1_770_000_000
WORDS = [f"{c}{v}{d}" for c in "bdgklmnprst" for v in "aeiou" for d in "lnrs"]
ARVEX = {"name": "Arvex", "names": ["Arvex"], "tickers": ["ARV"]}
BOLUN = {"name": "Bolun", "names": ["Bolun"], "tickers": ["BOL"]}
GLOOM = {"name": "gloom", "names": ["gloom", "decline"]}
BEFORE = [ARVEX]
ADDED = [ARVEX, BOLUN, GLOOM]

Made = Callable[[str], str]
"""Makes an empty store of a name, and returns its URL."""


class Killed(Exception):
    """In place of `kill -9`: the process is gone before or after its transaction."""


def feed(count: int, seed: int, every: float = 4_000) -> list[dict[str, Any]]:
    """Stories that name companies or not, with near-copies, duplicates, revisions and unscored ones among them."""
    rng, at, out = random.Random(seed), float(START), list[dict[str, Any]]()
    names = ["Arvex", "Bolun", "Bolun Street", "gloom", "decline", "Arvex and Bolun", "", "", ""]
    for number in range(count):
        at += rng.expovariate(1 / every)
        words = rng.choices(WORDS, k=14)
        title = " ".join([*words[:7], rng.choice(names), *words[7:]])
        record: dict[str, Any] = {
            "id": f"s{number}",
            "title": title,
            "published_at": round(at - rng.choice([0, 0, 0, 30, 90, 400, 30_000]), 3),
            "source": rng.choice("abcd"),
            "topics": rng.sample(["T1", "T2"], k=rng.choice([0, 0, 1])),
            "tickers": rng.choice([[], [], ["BOL"], ["ARV"]]),
        }
        if rng.random() < 0.1:
            record["language"] = "de"
        out.append(record)
        kind, later = rng.random(), round(at + rng.choice([0, 60, 4_000]), 3)
        if kind < 0.06:
            out.append({**record, "topics": ["T1"], "tickers": ["BOL"]})
        elif kind < 0.12:
            out.append({**record, "title": title + " gloom"})
        elif kind < 0.24:
            copied = {"id": f"c{number}", "source": rng.choice("abcd"), "published_at": later}
            out.append({**record, **copied, "title": f"{title} {rng.choice(names)}"})
    return out


def write(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def with_topics(url: str, topics: Sequence[Mapping[str, Any]], **flags: Any) -> Settings:
    values = {"store.url": url, "watchlist.defaults": False, "topics": list(topics), **flags}
    return load(None, flags=values, environ={}).settings


def until(holds: Callable[[], bool], running: Future[Any]) -> None:
    """Wait until it `holds`, while something is running."""
    limit = time.monotonic() + 240
    while not holds():
        assert not running.done(), running.result()
        assert time.monotonic() < limit
        time.sleep(0.05)
