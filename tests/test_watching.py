"""What watches Foreshock: the heartbeat, /readyz, rules and a dashboard as files, stories through the logs."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from foreshock.monitor.delivery.heartbeat import HeartbeatSettings
from foreshock.observability import metrics
from foreshock.observability.health import Health
from foreshock.observability.http import application
from foreshock.processes.heartbeat import HeartbeatJob
from foreshock.processes.run import run
from foreshock.processes.stop import Stop
from foreshock.settings.load import SettingsError, load

ROOT = Path(__file__).parents[1]
DOCUMENTED = (ROOT / "docs" / "metrics.md").read_text("utf-8")


def names_in(expression: str) -> set[str]:
    return {re.sub(r"_bucket$", "", name) for name in re.findall(r"\bforeshock_\w+", expression)}


def known() -> set[str]:
    """Return the names of all metrics, as they are exposed."""
    found = set()
    for family in REGISTRY.collect():
        found.add(family.name + ("_total" if family.type == "counter" else ""))
    return found


def test_the_rules_are_those_of_the_docs_and_name_metrics_that_exist() -> None:
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus-rules.yml").read_text("utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    watched = DOCUMENTED.split("## What to watch")[1]
    said = set(re.findall(r"^\| `([^`]+)`(?: for [^|]+)? \|", watched, re.M))
    assert {rule["expr"] for rule in rules} == said
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert names_in(rule["expr"]) <= known()
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_the_dashboard_loads_and_each_panel_shows_metrics_that_exist() -> None:
    board = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text("utf-8"))
    panels, taken = board["panels"], set[tuple[int, int]]()
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["description"]
            assert panel["targets"]
        for target in panel.get("targets", ()):
            assert names_in(target["expr"]) <= known(), target["expr"]
            assert target["expr"].count("(") == target["expr"].count(")")
    shown = {name for panel in panels for target in panel.get("targets", ()) for name in names_in(target["expr"])}
    watched = {name for name in names_in(DOCUMENTED.split("## What to watch")[1]) if "heartbeat" not in name}
    assert watched - shown - {"foreshock_receiver_held"} == set(), "what one watches is on the dashboard"


class Switch:
    """A receiver of heartbeats: it keeps what is posted, and answers with `status`."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.posted.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(outer.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/beat"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def switch() -> Iterator[Switch]:
    found = Switch()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def well() -> Iterator[Health]:
    metrics.health.restart()
    metrics.health.turned()
    metrics.health.state("running")
    yield metrics.health
    metrics.health.restart()


def test_a_heartbeat_is_posted_while_a_process_decides_and_is_well(switch: Switch, well: Health) -> None:
    settings = HeartbeatSettings(url=switch.url, allow_private=True, headers={"X-Key": "abc"})
    now = [0.0]
    job = HeartbeatJob("run", lambda: settings, clock=lambda: now[0])

    def beats(seconds: float = 61.0) -> int:
        before = len(switch.posted)
        now[0] += seconds
        job.look()
        return len(switch.posted) - before

    metrics.decided(1_700_000_000_000_000)
    assert beats() == 1
    assert beats(5) == 0, "it is not due"
    assert beats() == 1
    path, headers, body = switch.posted[-1]
    assert (path, headers["x-key"]) == ("/beat", "abc")
    said = json.loads(body)
    assert (said["process"], said["status"], said["decided_until"]) == ("run", "ok", "2023-11-14T22:13:20Z")
    well.lost("store", "away")
    assert beats() == 0
    well.reached("store")
    well.state("standby")
    assert beats() == 0, "the one that decides posts"
    well.state("running")
    well.trouble("deciding", "deciding stands still")
    assert beats() == 0
    well.trouble("deciding", "")
    switch.status = 500
    with capture_logs() as lines:
        assert beats() == 1
    assert [line["event"] for line in lines] == ["the heartbeat was not taken"]
    assert "500" in lines[0]["error"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"heartbeat.url": "ftp://example.com"}, "heartbeat"),
        ({"heartbeat.url": "http://127.0.0.1/x"}, "allow_private"),
        ({"heartbeat.url": "https://example.com/x", "heartbeat.every": "5s"}, "at least 10s"),
        ({"heartbeat.url": "https://example.com/x", "heartbeat.headers": {"A": "${NOWHERE_SET}"}}, "NOWHERE_SET"),
    ],
)
def test_a_heartbeat_that_cannot_be_posted_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(None, flags=settings, environ={})


def test_readyz_tells_starting_and_stopping_from_failing(well: Health) -> None:
    answer = application("worker")

    def get(path: str) -> tuple[str, dict[str, Any]]:
        said: list[str] = []
        body = b"".join(answer({"PATH_INFO": path, "REQUEST_METHOD": "GET"}, lambda status, _: said.append(status)))
        return said[0][:3], json.loads(body)

    assert get("/readyz") == ("200", {"process": "worker", "ready": True, "reasons": []})
    well.state("standby")
    assert get("/readyz")[0] == "200", "a stand-by is ready to take over"
    well.lost("kafka", "no broker")
    assert (get("/healthz")[0], get("/readyz")[0]) == ("503", "200")
    well.lost("store", "away")
    assert get("/readyz") == ("503", {"process": "worker", "ready": False, "reasons": ["store: away"]})
    well.reached("store")
    well.state("stopping")
    assert get("/readyz")[1]["reasons"] == ["the process is stopping"]
    well.restart()
    assert get("/readyz")[1]["reasons"] == ["the process is starting"]


def test_livez_fails_only_where_a_restart_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    health = Health(clock=lambda: now[0])
    monkeypatch.setattr(metrics, "health", health)
    answer = application("worker")

    def get() -> tuple[str, dict[str, Any]]:
        said: list[str] = []
        body = b"".join(answer({"PATH_INFO": "/livez", "REQUEST_METHOD": "GET"}, lambda status, _: said.append(status)))
        return said[0][:3], json.loads(body)

    now[0] = 3600.0
    assert get()[0] == "200", "a start may take long: it migrates, or rebuilds its state"
    health.turned()
    health.lost("store", "away")
    health.lost("kafka", "no broker")
    assert get() == ("200", {"process": "worker", "alive": True, "reason": ""})
    now[0] += 1790.0
    assert get()[0] == "200", "a slow batch, or a history that is decided again: a restart would begin it anew"
    assert "the loop has not turned for 1790 s" in health.reasons()
    now[0] += 11.0
    assert get() == ("503", {"process": "worker", "alive": False, "reason": "the loop has not turned for 1801 s"})
    health.turned()
    assert get()[0] == "200"


def test_a_storys_id_is_in_the_logs_of_every_step(tmp_path: Path, quick_scorer: Any) -> None:
    start, path = 1_770_000_000, tmp_path / "live.jsonl"
    title = "Acme warns of a long and costly recall of all its pumps"
    rows = [
        {"id": "one", "title": title, "published_at": start, "source": "a"},
        {"id": "copy", "title": f"{title} today", "published_at": start + 60, "source": "b"},
        {"id": "one", "title": title, "published_at": start + 90, "source": "a"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags: dict[str, Any] = {
        "store.url": f"sqlite:///{tmp_path / 's.db'}",
        "feeds": [{"file": str(path)}],
        "metrics.listen": "",
    }
    flags |= {"watchlist.defaults": False, "topics": [{"name": "Acme", "names": ["Acme"]}]}

    def lines_of(on: bool, stop: Stop) -> list[Any]:
        settings = load(None, flags={**flags, "logs.stories": on}, environ={}).settings
        with capture_logs() as lines:
            run(settings, until_end=True, stop=stop, scorer=quick_scorer, clock=lambda: (start + 86_400) * 1_000_000)
        return [line for line in lines if "story" in line]

    lines = lines_of(True, Stop())
    steps = {(line["event"], line["story"], line.get("counts_as")) for line in lines}
    assert ("story stored", "one", None) in steps
    assert ("story decided", "one", "scored") in steps
    assert ("story decided", "one", "duplicate") in steps
    assert {kind for event, story, kind in steps if (event, story) == ("story decided", "copy")} <= {
        "near_copy",
        "scored",
    }
    stored = next(line for line in lines if line["event"] == "story stored")
    assert stored["topics"] == ["Acme"]
    assert not any(title in str(line) for line in lines)
    assert lines_of(False, Stop()) == []
