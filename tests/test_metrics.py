"""/metrics and /healthz: what a process says of itself, to Prometheus and to whoever restarts it."""

from __future__ import annotations

import json
import math
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError
from servers import free_port, wait_until
from structlog.testing import capture_logs

from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.receivers import ReceiverState
from foreshock.monitor.watermark import Progress, TimeRules
from foreshock.observability import metrics
from foreshock.observability.health import Health
from foreshock.observability.http import MetricsSettings, serving
from foreshock.observability.stall import StallWatch
from foreshock.processes.run import run
from foreshock.processes.stop import Stop
from foreshock.settings.models import Settings

pytestmark = pytest.mark.slow

ANY_PORT = MetricsSettings(listen="127.0.0.1:0")


@pytest.fixture
def url() -> Iterator[str]:
    with serving(ANY_PORT, "worker") as address:
        assert address is not None
        yield f"http://127.0.0.1:{address[1]}"


def get(url: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def row(**changed: Any) -> dict[str, Any]:
    return {"late": False, "stale": False, "negative": 1, **changed}


def test_prometheus_reads_what_is_served(url: str) -> None:
    status, text = get(f"{url}/metrics")
    names = {family.name for family in text_string_to_metric_families(text)}
    assert status == 200
    assert {"foreshock_stories", "foreshock_commit_seconds", "process_resident_memory_bytes"} <= names


def test_a_process_that_turns_and_reaches_all_is_well(url: str) -> None:
    metrics.health.turned()
    metrics.reached("store")
    status, text = get(f"{url}/healthz")
    report = json.loads(text)
    assert (status, report["status"], report["process"], report["state"]) == (200, "ok", "worker", "running")
    assert report["store"]["reached"] is True


def test_a_process_that_has_just_begun_is_not_well_yet(url: str) -> None:
    status, text = get(f"{url}/healthz")
    assert (status, json.loads(text)["reasons"]) == (503, ["the process is starting"])


def test_health_names_every_reason(url: str) -> None:
    metrics.health.turned()
    metrics.lost("store", "connection refused")
    metrics.lost("kafka", "no brokers")
    status, text = get(f"{url}/healthz")
    reasons = json.loads(text)["reasons"]
    assert status == 503
    assert [reason.partition(" (")[0] for reason in reasons] == ["kafka: no brokers", "store: connection refused"]


def test_other_paths_and_methods_are_refused(url: str) -> None:
    assert get(f"{url}/")[0] == 404
    assert get(f"{url}/healthz", "POST")[0] == 405
    assert get(f"{url}/metrics", "DELETE")[0] == 405
    assert get(f"{url}/healthz", "HEAD") == (503, "")


def test_nothing_listens_once_the_process_ends() -> None:
    with serving(ANY_PORT, "monitor") as address:
        assert address is not None
    with socket.socket() as probe:
        assert probe.connect_ex(address) != 0


def test_a_client_that_says_nothing_keeps_no_one_else_waiting(url: str) -> None:
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)):
        assert get(f"{url}/metrics")[0] == 200


def test_a_port_that_is_taken_is_a_warning_that_names_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, capture_logs() as logs:
        port = taken.getsockname()[1]
        with serving(MetricsSettings(listen=f"127.0.0.1:{port}"), "worker") as address:
            assert address is None
    (said,) = [line for line in logs if line["log_level"] == "warning"]
    assert "FORESHOCK_METRICS__LISTEN" in said["event"]
    assert said["listen"] == f"127.0.0.1:{port}"


def test_an_empty_address_serves_nothing_and_says_nothing() -> None:
    with capture_logs() as logs, serving(MetricsSettings(listen=""), "worker") as address:
        assert address is None
    assert logs == []


@pytest.mark.parametrize(
    ("text", "address"), [(":9464", ("", 9464)), ("[::1]:1", ("::1", 1)), ("localhost:0", ("localhost", 0)), ("", None)]
)
def test_an_address_is_a_host_and_a_port(text: str, address: tuple[str, int] | None) -> None:
    assert MetricsSettings(listen=text).address == address


@pytest.mark.parametrize("text", ["9464", "host", "host:", "host:70000", "http://host:1", "::1:9464", "a b:1"])
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(ValidationError, match="host:port"):
        MetricsSettings(listen=text)


def test_a_loop_that_does_not_turn_is_stuck() -> None:
    clock = Clock()
    health = Health(turn_seconds=60, clock=clock)
    health.turned()
    clock.now += 60
    assert health.reasons() == []
    clock.now += 1
    assert health.reasons() == ["the loop has not turned for 61 s"]
    health.turned()
    assert health.reasons() == []


def test_what_is_gone_says_since_when_and_what_is_back_is_well() -> None:
    clock = Clock()
    health = Health(clock=clock)
    health.turned()
    health.lost("store", "refused")
    clock.now += 5
    health.lost("store", "timed out")
    assert health.reasons() == ["store: timed out (for 5 s)"]
    health.reached("store")
    assert health.reasons() == []
    assert health.report()["store"] == {"reached": True, "for_seconds": 0.0}


def test_a_stand_by_is_well_and_a_process_that_stops_is_not() -> None:
    health = Health()
    health.turned()
    health.state("standby")
    assert (health.reasons(), health.report()["state"]) == ([], "standby")
    health.state("stopping")
    assert health.reasons() == ["the process is stopping"]


def test_a_monitor_that_lost_its_lease_says_nothing_of_what_the_other_decides() -> None:
    metrics.health.restart()
    metrics.active(True)
    metrics.standing_still("source x is behind", "x")
    metrics.set_aside({"y"})
    metrics.receiver("desk", ReceiverState(3, 1, 2_000_000, "no answer"), 1_000_000)
    metrics.health.trouble("delivering", "the disk is full")
    metrics.active(False)
    found = metrics.health.report()
    assert found["state"] == "standby"
    assert "set_aside" not in found
    assert not {"source x is behind", "the disk is full"} & set(found["reasons"])
    assert REGISTRY.get_sample_value("foreshock_receiver_held", {"receiver": "desk"}) is None


def test_a_batch_is_counted_by_what_became_of_its_records() -> None:
    names = ("stories", "late_stories", "stale_stories", "unscored_stories")
    before = [value(f"foreshock_{name}_total") for name in names]
    bad = value("foreshock_dead_letters_total", reason="bad_json")
    stories = [row(), row(late=True), row(late=True, stale=True), row(negative=None), row(negative=0)]
    metrics.committed(stories, [{"reason": "bad_json"}, {"reason": "bad_json"}], seconds=0.02)
    after = [value(f"foreshock_{name}_total") for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [5, 2, 1, 1]
    assert value("foreshock_dead_letters_total", reason="bad_json") - bad == 2


def test_lag_is_told_of_partitions_that_are_ours_alone() -> None:
    metrics.lag({"news/0@a": 5, "news/1@a": 7})
    metrics.lag({"news/1@a": 3})
    assert REGISTRY.get_sample_value("foreshock_lag_records", {"partition": "news/0@a"}) is None
    assert value("foreshock_lag_records", partition="news/1@a") == 3
    metrics.lag({})


def test_the_age_of_what_is_decided_grows_until_more_is() -> None:
    metrics.decided(None)
    assert math.isnan(value("foreshock_decided_until_age_seconds"))
    metrics.decided(0)
    first = value("foreshock_decided_until_age_seconds")
    assert first > 1e9
    assert value("foreshock_decided_until_age_seconds") >= first
    metrics.decided(None)


def test_an_outage_is_counted_once_however_often_it_is_tried() -> None:
    metrics.reached("store")
    before = value("foreshock_connections_lost_total", what="store")
    metrics.lost("store", "refused")
    metrics.lost("store", "refused")
    assert value("foreshock_connections_lost_total", what="store") - before == 1
    assert value("foreshock_reached", what="store") == 0
    metrics.reached("store")
    assert value("foreshock_reached", what="store") == 1


def test_a_run_serves_what_it_did_while_it_goes_on(tmp_path: Path, quick_scorer: Any) -> None:
    port = free_port()
    feed = tmp_path / "news.jsonl"
    stories = ({"id": f"s{n}", "title": f"Story {n}", "published_at": 1_714_500_000 + n} for n in range(50))
    feed.write_text("".join(json.dumps(story) + "\n" for story in stories) + "not JSON\n")
    settings = Settings.model_validate(
        {
            "store": {"url": f"sqlite:///{tmp_path}/store.db"},
            "feeds": [{"file": str(feed)}],
            "metrics": {"listen": f"127.0.0.1:{port}"},
        }
    )
    stop = Stop()
    stories_before = value("foreshock_stories_total")
    dead_before = value("foreshock_dead_letters_total", reason="bad_json")
    thread = threading.Thread(target=run, args=(settings,), kwargs={"stop": stop, "scorer": quick_scorer})
    thread.start()
    try:
        wait_until(lambda: value("foreshock_stories_total") - stories_before == 50, "the stories are counted")
        status, text = get(f"http://127.0.0.1:{port}/healthz")
        report = json.loads(text)
        assert (status, report["process"], report["state"]) == (200, "run", "running")
        assert report["store"]["reached"] is True
        _, served = get(f"http://127.0.0.1:{port}/metrics")
        assert "\nforeshock_active 1.0\n" in served
        assert value("foreshock_dead_letters_total", reason="bad_json") - dead_before == 1
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    assert metrics.health.reasons() == ["the process is stopping"]


def test_a_feed_that_stands_still_is_said_once_and_so_is_that_it_goes_on() -> None:
    rules = TimeRules(bucket=300, lateness=120, max_staleness=6 * 3600, stall_after=3 * 3600, remember=90 * 86400)
    watch = StallWatch(rules)

    def source(name: str, at: int, *, idle: bool = True) -> Partition:
        return Partition(name, "rss", progress=Progress(at - 120, ((at, "id"),), True, idle))

    def stalled(*members: Partition, now: int) -> tuple[float | None, list[str]]:
        with capture_logs() as logs:
            watch.look(members, now)
        return REGISTRY.get_sample_value("foreshock_feed_stalled"), [line["event"] for line in logs]

    hours = 3600
    assert stalled(now=0) == (0, []), "nothing is read"
    assert stalled(source("a", 0), source("b", hours), now=4 * hours) == (0, []), "b gave one three hours ago"
    behind = source("a", 0), source("b", hours, idle=False)
    assert stalled(*behind, now=9 * hours) == (0, []), "b is behind: that its stories are old says nothing"
    assert stalled(source("a", 0), source("b", hours), now=4 * hours + 1) == (1, ["feed_stalled"])
    assert stalled(source("a", 0), source("b", hours), now=5 * hours) == (1, [])
    assert stalled(source("a", 5 * hours), source("b", hours), now=6 * hours) == (0, ["the feed goes on"])
