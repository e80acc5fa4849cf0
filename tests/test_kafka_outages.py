"""Brokers and databases that go away, under processes that live on: nothing is lost, and they say so meanwhile."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from feeds import START, news
from processes import Process, Processes
from rows import assert_same, promised_rows, stored
from servers import OwnBroker, OwnPostgres, free_port, wait_until
from test_chaos import Store
from test_kafka import partitions, produce, send, settings_for, story

from foreshock.processes.run import run

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def health(port: int) -> tuple[int, dict[str, Any]]:
    """Status and what it says; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as found:
            return found.status, json.loads(found.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    except OSError:
        return 0, {}


def start(
    processes: Processes, command: str, url: str, broker: OwnBroker, topic: str, port: int, *more: str
) -> Process:
    kafka = {"bootstrap_servers": broker.bootstrap, "topic": topic, "group": topic, "accept_scores": True}
    config = processes.settings(
        f"{command}.toml", store={"url": url}, kafka=kafka, metrics={"listen": f"127.0.0.1:{port}"}
    )
    return processes.start(command, *more, config=config)


def test_a_broker_that_is_gone_and_comes_back_loses_nothing_and_health_says_so(
    tmp_path: Path, own_broker: OwnBroker, topic: str, processes: Processes
) -> None:
    url, port = f"sqlite:///{tmp_path / 'store.db'}", free_port()
    scores = {"scores": {"negative": 0.5, "neutral": 0.25, "positive": 0.25}}
    produce(own_broker, topic, {n: [story(f"{n}", START + n, **scores)] for n in range(3)})
    process = start(processes, "run", url, own_broker, topic, port)
    wait_until(lambda: stored(url) == 3, "what there was is stored", 60)
    wait_until(lambda: health(port)[0] == 200, "it is well")
    own_broker.kill()
    wait_until(lambda: health(port)[0] == 503, "health says that the broker is gone", 60)
    assert "kafka" in json.dumps(health(port)[1]).lower()
    assert process.alive
    time.sleep(5)
    own_broker.start()
    send(own_broker, topic, {n: [story(f"again-{n}", START + 600 + n, **scores)] for n in range(3)})
    wait_until(lambda: stored(url) == 6, "what came afterwards is stored", 60)
    wait_until(lambda: health(port)[0] == 200, "it is well again")
    assert process.stop() == 0
    assert all(row.next_offset == 2 for row in partitions(url).values())


def test_a_broker_that_is_not_there_yet_is_waited_for(
    tmp_path: Path, own_broker: OwnBroker, topic: str, processes: Processes
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    produce(own_broker, topic, news(30, partitions=2, scored=1.0, oddities=0))
    own_broker.kill()
    process = start(processes, "worker", url, own_broker, topic, 0, "--until-end")
    process.says("Kafka does not answer")
    own_broker.start()
    assert process.wait(60) == 0, process.shown()
    assert stored(url) == 30


@pytest.mark.postgres
def test_a_database_that_is_gone_and_comes_back_loses_nothing_and_health_says_so(
    tmp_path: Path, own_broker: OwnBroker, own_postgres: OwnPostgres, topic: str, processes: Processes
) -> None:
    log = news(400, partitions=3, scored=1.0, disorder=100)
    produce(own_broker, topic, {n: values[:-20] for n, values in log.items()})
    url, port, store = own_postgres.url, free_port(), Store(own_postgres.url)
    worker = start(processes, "worker", url, own_broker, topic, port)
    before = sum(len(values) - 20 for values in log.values())
    wait_until(lambda: store.records == before, "what there was is stored", 60)
    own_postgres.crash()
    send(own_broker, topic, {n: values[-20:] for n, values in log.items()})
    wait_until(lambda: health(port)[0] == 503, "health says that the store is gone", 60)
    assert "store" in json.dumps(health(port)[1]).lower()
    time.sleep(5)
    assert worker.alive
    own_postgres.start()
    wait_until(lambda: store.records == sum(map(len, log.values())), "what came meanwhile is stored", 60)
    wait_until(lambda: health(port)[0] == 200, "it is well again")
    assert worker.stop() == 0
    store.close()
    other = f"sqlite:///{tmp_path / 'other.db'}"
    run(settings_for(other, own_broker, topic, kafka__accept_scores=True), until_end=True)
    found, expected = promised_rows(url), promised_rows(other)
    for table in ("stories", "story_topics"):
        assert_same({table: found[table]}, {table: expected[table]})


def test_a_worker_and_its_group_go_on_when_others_come_and_go(
    tmp_path: Path, own_broker: OwnBroker, topic: str, processes: Processes
) -> None:
    """Partitions are given out again while records flow; each offset is written by exactly one transaction."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    log = news(6_000, partitions=4, scored=1.0, disorder=100)
    produce(own_broker, topic, {n: values[:200] for n, values in log.items()})
    first = start(processes, "worker", url, own_broker, topic, 0)
    wait_until(lambda: stored(url) == 800, "the beginning is stored", 60)
    second = processes.make("worker", config=tmp_path / "processes" / "worker.toml").start()
    done = 200
    for _ in range(4):
        send(own_broker, topic, {n: values[done : done + 300] for n, values in log.items()})
        done += 300
        members = own_broker.members(topic)
        if members == 2:
            second.stop()
            second.start()
    send(own_broker, topic, {n: values[done:] for n, values in log.items()})
    wait_until(lambda: stored(url) == sum(map(len, log.values())), "all is stored", 60, every=0.3)
    assert (first.stop(), second.stop()) == (0, 0)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    run(settings_for(other, own_broker, topic, kafka__accept_scores=True), until_end=True)
    found, expected = promised_rows(url), promised_rows(other)
    assert len(found["stories"]) == len(expected["stories"])
    assert {row[:2] for row in found["stories"]} == {row[:2] for row in expected["stories"]}
