"""Three workers and two monitors on a real broker and a real PostgreSQL, killed at random and started again, the
broker restarted twice and the database crashed once: at the end, row for row, the tables of one undisturbed run.

    make chaos                                          ten seeds of 20,000 stories
    FORESHOCK_CHAOS_SEEDS=3,4 FORESHOCK_CHAOS_STORIES=5000 pytest tests/test_chaos.py

`make test` does one short seed. `make chaos` keeps a row for each seed in benchmarks/results/chaos.json.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from feeds import Log, news
from processes import Process, Processes
from rows import assert_same, promised_rows
from servers import OwnBroker, OwnPostgres, wait_until
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from test_kafka import produce

STORIES = int(os.environ.get("FORESHOCK_CHAOS_STORIES", "1200"))
SEEDS = [int(seed) for seed in os.environ.get("FORESHOCK_CHAOS_SEEDS", "1").split(",")]
PARTITIONS = 8
PATIENCE = 120 + STORIES / 20
"""Seconds within which all must have come to its end: more would be a hang."""

RECORD = os.environ.get("FORESHOCK_CHAOS_RECORD")
"""A file that keeps what became of each seed."""

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]


class Store:
    """What a bystander sees of a PostgreSQL store, also while it comes and goes."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), pool_pre_ping=True)

    def one(self, query: str) -> Any:
        """The query's only value; 0 while there is no such table or no database."""
        try:
            with self._engine.connect() as connection:
                return connection.execute(text(query)).scalar() or 0
        except Exception:
            return 0

    @property
    def records(self) -> int:
        return int(self.one("SELECT (SELECT count(*) FROM stories) + (SELECT count(*) FROM dead_letters)"))

    @property
    def is_decided(self) -> bool:
        """Nobody is a member any more, and each story has its decision."""
        return self.records > 0 and not self.one(
            "SELECT (SELECT count(*) FROM partitions WHERE member) + (SELECT count(*) FROM stories) "
            "- (SELECT count(*) FROM decisions)"
        )

    def close(self) -> None:
        self._engine.dispose()


def a_log(seed: int, stories: int) -> Log:
    """Each partition slightly out of order within the lateness, duplicates across partitions, some poison; half of the
    stories carry their scores, the others are for the encoder."""
    log = news(stories, partitions=PARTITIONS, seed=seed, every=15, disorder=100, scored=0.5)
    rng = random.Random(seed)
    for _ in range(stories // 100):
        values = log[rng.randrange(PARTITIONS)]
        values.insert(rng.randrange(len(values)), rng.choice([b"", b"{", b"\xff", None, b"[]"]))
    return log


def settings(processes: Processes, name: str, url: str, broker: OwnBroker, topic: str) -> Path:
    kafka = {
        "bootstrap_servers": broker.bootstrap,
        "topic": topic,
        "group": f"{topic}-{name}",
        "accept_scores": True,
        "session_timeout": "6s",
    }
    return processes.settings(f"{name}.toml", store={"url": url}, kafka=kafka)


def undisturbed(processes: Processes, folder: Path, broker: OwnBroker, topic: str) -> str:
    """The URL of the SQLite store that one process makes of the topic."""
    url = f"sqlite:///{folder / 'undisturbed.db'}"
    config = settings(processes, "undisturbed", url, broker, topic)
    processes.run("run", "--until-end", config=config, name="undisturbed", seconds=PATIENCE)
    return url


def disturb(
    rng: random.Random,
    crew: list[Process],
    store: Store,
    all_records: int,
    servers: list[tuple[float, Callable[[], None]]],
) -> int:
    """Kill one of `crew` every few seconds and start it again, until all workers have ended by themselves; with a kill,
    also restart the next server, if its share of the records is in the store or there were as many kills. Returns how
    many were killed.

    Mostly after the last kill was got over, so that a slow machine gets on, too; at times sooner, in the middle of it.
    """
    kills, begun, all_servers = 0, time.monotonic(), len(servers)
    while any(process.alive for process in crew if process.name.startswith("worker")):
        assert time.monotonic() - begun < PATIENCE, f"it hangs at {store.records} of {all_records} records"
        before, last = store.records, time.monotonic()
        soonest, latest = rng.uniform(1.0, 4.0) if kills else 0.0, 2.0 if kills and rng.random() < 0.3 else 30.0
        while any(process.alive for process in crew if process.name.startswith("worker")):
            records, waited = store.records, time.monotonic() - last
            if waited > latest or (waited > soonest and records > before):
                break
            time.sleep(0.02)
        for process in crew:
            assert process.code in (None, 0, -9), f"{process.name} ended with {process.code}: {process.shown()}"
        living = [process for process in crew if process.alive]
        if any(process.name.startswith("worker") for process in living):
            victim = rng.choice(living)
            victim.kill()
            kills += 1
            if servers and (store.records >= servers[0][0] * all_records or kills > all_servers - len(servers)):
                servers.pop(0)[1]()
            if rng.random() < 0.5:
                time.sleep(rng.uniform(0, 1))
            victim.start()
    return kills


def keep(seed: int, **figures: Any) -> None:
    """Write what became of a seed into the record; a seed that was run before is replaced."""
    if RECORD is None:
        return
    path = Path(RECORD)
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    seeds = {int(row["seed"]): row for row in kept.get("seeds", ())}
    date = time.strftime("%Y-%m-%d", time.gmtime())
    seeds[seed] = {"seed": seed, "date": date, "stories": STORIES, **figures, "load": round(os.getloadavg()[1], 1)}
    kept = {"command": "make chaos", "date": date, "machine": {"cores": os.cpu_count()}}
    kept["seeds"] = [seeds[one] for one in sorted(seeds)]
    path.write_text(json.dumps(kept, indent=2) + "\n")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.timeout(max(600, 3 * PATIENCE))
def test_kills_and_restarts_leave_no_trace(
    tmp_path: Path, own_broker: OwnBroker, own_postgres: OwnPostgres, topic: str, processes: Processes, seed: int
) -> None:
    rng = random.Random(seed)
    log = a_log(seed, STORIES)
    all_records = sum(map(len, log.values()))
    produce(own_broker, topic, log)
    config = settings(processes, "scaled", own_postgres.url, own_broker, topic)
    workers = [processes.start("worker", "--until-end", config=config) for _ in range(3)]
    monitors = [processes.start("monitor", config=config) for _ in range(2)]
    store = Store(own_postgres.url)
    begun = time.monotonic()
    keep(seed, result="not finished")
    restarts = [(0.2, own_broker.restart), (0.45, own_postgres.restart), (0.65, own_broker.restart)]
    restarted = len(restarts)
    kills = disturb(rng, [*workers, *monitors], store, all_records, restarts)
    for _, restart in restarts:  # a quick machine: while the monitors still decide, or have just decided
        restart()
    assert kills > 0
    assert all(worker.code == 0 for worker in workers)
    wait_until(lambda: store.is_decided, "all is decided", PATIENCE, every=0.5)
    took = round(time.monotonic() - begun)
    print(f"seed {seed}: {all_records} records, {kills} kills, {took} s")
    figures = {"records": all_records, "kills": kills, "servers_restarted": restarted, "seconds": took}
    keep(seed, result="not compared", **figures)
    for monitor in monitors:
        assert monitor.stop() == 0
    store.close()
    expected = promised_rows(undisturbed(processes, tmp_path, own_broker, topic))
    assert len(expected["stories"]) + len(expected["dead_letters"]) == all_records
    found = promised_rows(own_postgres.url)
    keep(seed, result="rows differ", **figures)
    assert_same(found, expected)
    keep(seed, result="same rows", rows_compared=sum(map(len, expected.values())), **figures)


def test_a_worker_that_was_paused_past_its_session_and_goes_on_changes_no_row(
    tmp_path: Path, own_broker: OwnBroker, own_postgres: OwnPostgres, topic: str, processes: Processes
) -> None:
    """A zombie: stopped with batches in hand, its partitions given to another, and continued when all is read."""
    log = a_log(2, 1_200)
    all_records = sum(map(len, log.values()))
    produce(own_broker, topic, log)
    config = settings(processes, "scaled", own_postgres.url, own_broker, topic)
    zombie = processes.start("worker", config=config, name="zombie")
    store = Store(own_postgres.url)
    wait_until(lambda: store.records > 0, "it has begun", 60, every=0.02)
    zombie.pause()
    assert store.records < all_records
    processes.run("worker", "--until-end", config=config, seconds=PATIENCE)
    monitor = processes.start("monitor", config=config)
    wait_until(lambda: store.is_decided, "all is decided", PATIENCE, every=0.5)
    zombie.resume()
    zombie.says("another process went on with a source")
    time.sleep(2)
    assert (zombie.stop(), monitor.stop()) == (0, 0)
    store.close()
    expected = promised_rows(undisturbed(processes, tmp_path, own_broker, topic))
    found = promised_rows(own_postgres.url)
    # It went on, without --until-end: it is a member again, and waits for records.
    assert_same(found, expected, leave_out={"partitions", "feed"})
