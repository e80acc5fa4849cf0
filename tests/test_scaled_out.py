"""The processes of compose.yaml, started by its own commands and settings, as processes of this machine: only where
servers are and which ports they listen on differs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from feeds import news
from processes import Process, Processes
from rows import assert_same, promised_rows
from servers import Broker, free_port, wait_until
from test_chaos import Store
from test_kafka import in_time_order, settings_for

from foreshock.processes import replay

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]

COMPOSE = yaml.safe_load((Path(__file__).parents[1] / "compose.yaml").read_text())


class Composed:
    """compose.yaml's services here."""

    def __init__(self, processes: Processes, broker: Broker, topic: str, postgres: str) -> None:
        self._processes = processes
        self._moved = {
            "FORESHOCK_STORE__URL": postgres,
            "FORESHOCK_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
            "FORESHOCK_KAFKA__TOPIC": topic,
            "FORESHOCK_KAFKA__GROUP": topic,
            # As in the other tests, so that rows can be compared.
            "FORESHOCK_WATCHLIST__DEFAULTS": "false",
            "FORESHOCK_KAFKA__ACCEPT_SCORES": "true",
        }

    def start(
        self, service: str, *, port: int = 0, name: str = "", more: Sequence[str] = (), **command: str
    ) -> Process:
        """Its command, with `command`'s words replaced and `more` added; it serves health at `port`."""
        found = COMPOSE["services"][service]
        assert set(found["environment"]) <= {
            *self._moved,
            "FORESHOCK_METRICS__LISTEN",
            "FORESHOCK_STORE__PASSWORD_FILE",  # the tests' server trusts who is on its machine
        }, "a setting that this test would leave out"
        words = [command.get(word.strip("/-").replace("/", "_").replace(".", "_"), word) for word in found["command"]]
        variables = {**self._moved, "FORESHOCK_METRICS__LISTEN": f"127.0.0.1:{port}" if port else ""}
        return self._processes.make(*words, *more, config=None, name=name, variables=variables).start()


def answer(port: int, path: str) -> tuple[int, str]:
    """Status and body; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.mark.timeout(400)
def test_two_workers_two_monitors_and_a_dashboard_on_kafka_and_postgresql(
    tmp_path: Path, broker: Broker, postgres: str, topic: str, processes: Processes
) -> None:
    composed = Composed(processes, broker, topic, postgres)
    broker.create_topic(topic, 8)
    log = news(1_500, partitions=1, disorder=0, every=60, scored=1.0, oddities=0)
    file = in_time_order(tmp_path / "news.jsonl", log)
    ports = {name: free_port() for name in ("worker-1", "worker-2", "monitor-1", "monitor-2", "dashboard")}
    crew = [
        composed.start(service, port=ports[f"{service}-{n}"], name=f"{service}-{n}")
        for service in ("worker", "monitor")
        for n in (1, 2)
    ]
    for process in crew:
        wait_until(lambda p=process: answer(ports[p.name], "/healthz")[0] == 200, f"{process.name} is well", 60)
    assert COMPOSE["services"]["worker"]["deploy"]["replicas"] == COMPOSE["services"]["monitor"]["deploy"]["replicas"]
    wait_until(lambda: broker.shares(topic) == [4, 4], "each worker has its share of the partitions")
    page: dict[str, Any] = {"8501": str(ports["dashboard"]), "0_0_0_0": "127.0.0.1"}
    dashboard = composed.start("dashboard", name="dashboard", **page)
    words: dict[str, Any] = {"feed_news_jsonl": str(file), "60": "100000000"}
    feed = composed.start("feed", name="feed", **words)
    assert feed.wait(60) == 0, feed.shown()
    store = Store(postgres)
    wait_until(lambda: store.records == 1_500, "all stories are stored", 60, every=0.5)
    both = [answer(ports[name], "/metrics")[1] for name in ("worker-1", "worker-2")]
    counted = [_sum(text, "foreshock_stories_total") for text in both]
    assert sum(counted) == 1_500
    assert min(counted) > 0, "each has its share"
    # By the clock the stories are long past and all partitions idle: time stands just before the last of them.
    wait_until(lambda: store.one("SELECT count(*) FROM decisions") > 1_400, "they are decided", 60, every=0.5)
    states = {json.loads(answer(ports[name], "/healthz")[1])["state"] for name in ("monitor-1", "monitor-2")}
    assert len(states) == 2, f"one decides, one stands by: {states}"
    wait_until(lambda: answer(ports["dashboard"], "/_stcore/health")[0] == 200, "the dashboard answers", 60)
    for process in crew:
        assert process.stop(20) == 0, process.shown()
    dashboard.kill()  # it holds nothing
    assert broker.members(topic) == 0

    # Read to the end by one more, what they made together is what a replay of the file gives.
    monitor = composed.start("monitor", name="last monitor")
    last = composed.start("worker", name="last worker", more=["--until-end"])
    assert last.wait(60) == 0, last.shown()
    wait_until(lambda: store.is_decided, "all is decided", 60, every=0.5)
    assert monitor.stop(20) == 0
    store.close()
    replayed = f"sqlite:///{tmp_path / 'replayed.db'}"
    replay.replay(settings_for(replayed, broker, topic), [file])
    found, expected = promised_rows(postgres), promised_rows(replayed)
    for table in ("buckets", "alerts", "topics"):
        assert_same({table: found[table]}, {table: expected[table]})


def _sum(text: str, metric: str) -> int:
    """Add up all samples of a metric in Prometheus' text format."""
    lines = (line for line in text.splitlines() if line.startswith((f"{metric} ", f"{metric}{{")))
    return round(sum(float(line.rpartition(" ")[2]) for line in lines))
