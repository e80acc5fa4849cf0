"""The commands of the tutorials run, as they are printed, one after the other in an empty folder.

Left out: what needs Slack, what another test runs (the demo), and in "Your own model" what needs a model of yours.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from servers import free_port, wait_until

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"

pytestmark = pytest.mark.slow


class Desk:
    """A folder with `foreshock`, `python` and the copied example, as a reader has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        commands = folder / ".bin"
        commands.mkdir()
        for name, runs in (("foreshock", f"{sys.executable} -m foreshock"), ("python", sys.executable)):
            self.command(name, f'exec {runs} "$@"')
        (folder / "own_feed.py").symlink_to(ROOT / "examples" / "own_feed.py")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")},
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "FORESHOCK_METRICS__LISTEN": "",
        }

    def command(self, name: str, script: str) -> None:
        file = self.folder / ".bin" / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def run(self, block: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-c", block]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=200
        )

    def does(self, block: str) -> str:
        done = self.run(f"set -e\n{block}")
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout


def blocks(name: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", (TUTORIALS / f"{name}.md").read_text("utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


def test_your_own_feed(desk: Desk) -> None:
    look, state, load, rule, convert, live = blocks("own-feed")
    first = desk.run(look)
    assert first.returncode == 1
    assert "3 date_without_zone" in first.stdout
    assert "takes title from Headline" in first.stderr + first.stdout
    assert "dead letters 0" in desk.does(state)
    assert "Acme,2026-03-02T09:10:00Z" in desk.does(load)
    assert "2 of 3 stored stories match" in desk.does(rule)
    assert desk.does(convert) == "1 stories\n"
    assert "Acme names a new chief executive" in desk.does(live)


def test_alerts_in_slack(desk: Desk) -> None:
    """After the first tutorial, whose settings it goes on with. Nothing is sent."""
    address, receiver, routes, _demo = blocks("slack")
    assert desk.does(address + receiver.replace("foreshock alerts test\n", "")).endswith("No errors.\n")
    assert "slack hears at 2026-03-03T07:00:00Z, by route 2: muted by night until then." in desk.does(routes)


def test_your_own_model(desk: Desk) -> None:
    draw, label, measure, *_ = blocks("own-model")
    desk.does(draw + label)
    assert (desk.folder / "drawn.jsonl").read_text().count('"title"') == 4
    (evaluate, _compare) = measure.splitlines()
    assert "accuracy" in desk.does(evaluate)


@pytest.mark.kafka
def test_kafka_with_tls(tmp_path: Path) -> None:
    libs = Path(os.environ.get("KAFKA_HOME", "")) / "libs"
    if not libs.is_dir():
        pytest.skip("no Kafka in KAFKA_HOME")
    desk = Desk(tmp_path)
    java = f'java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "{libs}/*"'
    for script, runs in (
        ("kafka-storage.sh", f'exec {java} kafka.tools.StorageTool "$@"'),
        ("kafka-topics.sh", f'exec {java} org.apache.kafka.tools.TopicCommand "$@"'),
        ("kafka-server-start.sh", f'shift; nohup {java} kafka.Kafka "$@" > broker.log 2>&1 & echo $! > broker.pid'),
    ):  # as in the bin/ of a Kafka that was unpacked
        desk.command(script, runs)
    (tmp_path / "bin").symlink_to(tmp_path / ".bin")
    desk.environment["KAFKA_HOME"] = str(tmp_path)
    port = free_port()
    certificates, broker, settings, look, send = (
        block.replace("9093", str(port)).replace("9094", str(port + 1)) for block in blocks("kafka-tls")
    )
    desk.does(certificates)
    topic = broker.splitlines()[-1]
    assert "kafka-topics.sh" in topic
    try:
        desk.does(broker.removesuffix(f"{topic}\n"))
        log = tmp_path / "broker.log"
        wait_until(lambda: "Kafka Server started" in log.read_text(), f"the broker has started; its log: {log}", 90)
        desk.does(topic)
        assert "the topic has 4 partitions" in desk.does(settings)
        assert "Verification: OK" in desk.run(look).stderr
        assert "Acme recalls 40,000 pumps" in desk.does(send)
        other = tmp_path / "other.toml"
        other.write_text((tmp_path / "tls.toml").read_text().replace("ssl_certfile", "# ").replace("ssl_keyfile", "# "))
        refused = desk.run("foreshock doctor --connect --config other.toml")
        assert refused.returncode == 1, "the broker takes nobody without a certificate"
        assert "not reached" in refused.stdout
    finally:
        desk.run("kill -9 $(cat broker.pid)")
