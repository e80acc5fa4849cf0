"""`foreshock doctor` on what the settings connect to: feeds that fail, and `--connect`, which tries each once."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from feed_server import Server, entry, rss_of
from test_delivery_webhook import SECRET, certificate, listening
from test_delivery_webhook import settings as webhook

from foreshock.analysis import connections
from foreshock.analysis.connections import attempts
from foreshock.cli import main
from foreshock.ingest import connection
from foreshock.ingest.errors import FeedUnavailable
from foreshock.ingest.kafka import TopicReader
from foreshock.monitor.delivery.messages import Message
from foreshock.monitor.delivery.probe import probe_message, probe_webhook
from foreshock.monitor.delivery.settings import MessageSettings
from foreshock.monitor.errors import Undelivered
from foreshock.processes.run import run
from foreshock.settings.load import load
from foreshock.settings.models import Settings

pytestmark = pytest.mark.slow

__all__ = ["certificate"]
CLOSED = "127.0.0.1:9"
"""Where nobody listens."""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def doctor(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any], list[str]]:
    """Return the exit code, the report, and the problems of feeds, brokers and receivers."""
    capsys.readouterr()  # what came before
    code = main(["doctor", "--json", *options])
    report = json.loads(capsys.readouterr().out)
    return (
        code,
        report,
        [p for p in report["problems"] if p.startswith(("The feed", "The file", "The kafka", "The rec"))],
    )


def test_a_feed_whose_last_poll_failed_is_a_problem_until_it_answers(
    server: Server, quick_scorer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("foreshock.toml").write_text(
        f'[[feeds]]\nrss = "{server.url}/feed"\nname = "zeta news"\nallow_private = true\n'
    )
    settings = load().settings
    server.sends(b"", 403)
    with pytest.raises(FeedUnavailable):
        run(settings, until_end=True, scorer=quick_scorer)
    code, _, problems = doctor(capsys)
    assert code == 1
    (problem,) = problems
    assert problem.startswith(
        "The feed zeta news failed at its last poll: the server answered 403 Forbidden. The server"
    )
    assert "foreshock feeds try 'zeta news'" in problem
    Path("other.toml").write_text('[store]\nurl = "sqlite:///foreshock.db"\n')
    assert doctor(capsys, "--config", "other.toml")[2] == [], "a feed that the settings do not name is no problem"
    server.sends(rss_of(entry(1, time.time() - 60)))
    assert doctor(capsys, "--connect")[2] == [], "it answers now"
    run(settings, until_end=True, scorer=quick_scorer)
    assert doctor(capsys)[2] == []


def test_connect_tries_each_feed_broker_and_receiver_and_sends_nothing(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TopicReader, "connect", partialmethod(TopicReader.connect, timeout=0.5))
    server.sends(rss_of(entry(1, time.time() - 60)))
    with listening(lambda _: None) as (url, requests):
        Path("foreshock.toml").write_text(
            f'[[feeds]]\nrss = "{server.url}/feed"\nname = "good"\nallow_private = true\n'
            f'[[feeds]]\nrss = "http://{CLOSED}/feed"\nname = "bad"\nallow_private = true\n'
            '[[feeds]]\nfile = "none.jsonl"\n'
            f'[kafka]\nbootstrap_servers = "{CLOSED}"\ntopic = "news"\n'
            f'[[webhooks]]\nname = "desk"\nurl = "{url}"\nsecrets = "{SECRET}"\nallow_private = true\n'
            f'[[webhooks]]\nname = "gone"\nurl = "https://{CLOSED}/"\nsecrets = "{SECRET}"\nallow_private = true\n'
        )
        begun = time.monotonic()
        code, report, problems = doctor(capsys, "--connect")
        assert time.monotonic() - begun < 60
        assert code == 1
        found = {(a["kind"], a["name"]): a for a in report["connections"]}
        assert {name for name, a in found.items() if a["ok"]} == {("feed", "good"), ("receiver", "desk")}
        assert found["feed", "good"]["said"] == "polled: 1 story, 0 dead letters; nothing was stored"
        assert found["receiver", "desk"]["said"].endswith("no alert was sent")
        assert "foreshock alerts test --to gone" in found["receiver", "gone"]["remedy"]
        assert "bootstrap_servers" in found["kafka", "news"]["remedy"]
        assert "none.jsonl" in found["file", "none.jsonl"]["said"]
        assert len(problems) == 4
        assert requests == []
        assert main(["doctor", "--connect"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("connect ")]
    assert len(lines) == 6
    assert sum(": FAILED, " in line for line in lines) == 4
    assert list(Path().iterdir()) == [Path("foreshock.toml")], "nothing is stored"


def test_an_attempt_that_does_not_end_is_left_behind(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Invariant: all attempts end within the limit for each eight of them, whatever a server does."""
    held = threading.Event()
    monkeypatch.setattr(connections, "try_url", lambda *_: held.wait(30))
    feeds = [{"rss": f"{server.url}/{n}", "allow_private": True} for n in range(10)]
    begun = time.monotonic()
    found = attempts(Settings.model_validate({"feeds": feeds}), limit=0.2)
    assert time.monotonic() - begun < 5
    assert [a.ok for a in found] == [False] * 10
    assert found[0].said == "did not end within 0.2 s"
    held.set()


def test_a_probe_checks_the_certificate_and_the_address(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    got: list[bytes] = []

    def serve() -> None:
        for _ in range(2):
            plain, _address = listener.accept()
            try:
                with certificate.wrap_socket(plain, server_side=True) as secure:
                    got.append(secure.recv(100))
            except OSError:
                plain.close()

    threading.Thread(target=serve, daemon=True).start()
    trusted = ssl.create_default_context(cafile=str(certificate.folder / "cert.pem"))  # type: ignore[attr-defined]
    monkeypatch.setattr(connection, "_trusted", lambda: trusted)
    port = listener.getsockname()[1]
    here: dict[str, Any] = {"resolver": lambda *_: ["127.0.0.1"], "seconds": 5}
    good = probe_webhook(webhook(f"https://hooks.example:{port}/"), **here)
    assert good == f"connected to hooks.example, port {port}, with TLS; no alert was sent"
    with pytest.raises(Undelivered, match=r"(?i)certificate"):
        probe_webhook(webhook(f"https://other.example:{port}/"), **here)
    with pytest.raises(Undelivered, match="allow_private = true"):
        probe_webhook(webhook(f"https://hooks.example:{port}/", allow_private=False), **here)
    listener.close()
    assert got == [b""], "the probe says nothing"


def test_a_probe_goes_to_the_proxy_where_one_is_set() -> None:
    with listening(lambda _: None) as (url, _):
        port = url.split(":")[2].split("/")[0]
        said = probe_webhook(webhook("https://hooks.example/", proxy=f"http://127.0.0.1:{port}"))
        assert said.startswith(f"connected to its proxy 127.0.0.1, port {port}; nothing was sent")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#c", ("hooks.slack.com", 443, True)),
        ("slack://xoxb-1234-1234-abc124/#c", ("slack.com", 443, True)),
        ("workflows://prod-1.westeurope.logic.azure.com:443/643e69f83c8944/aBcD", None),
        (
            "mailtos://user:pass@example.com?smtp=smtp.example.com&to=x@y.z&mode=starttls",
            ("smtp.example.com", 587, False),
        ),
        ("mailtos://user:pass@example.com?smtp=smtp.example.com&to=x@y.z&mode=ssl", ("smtp.example.com", 465, True)),
    ],
)
def test_the_server_of_a_message_is_the_one_that_apprise_asks(url: str, server: tuple[str, int, bool] | None) -> None:
    server = server or ("prod-1.westeurope.logic.azure.com", 443, True)
    assert Message(MessageSettings(name="m", apprise_url=url)).server() == server


def test_a_probe_of_a_mail_server_says_that_nothing_was_sent() -> None:
    with listening(lambda _: None) as (url, requests):
        port = url.split(":")[2].split("/")[0]
        settings = MessageSettings(
            name="m", apprise_url=f"mailto://u:p@desk.example:{port}?smtp=localhost&to=a@b.example"
        )
        said = probe_message(settings, resolver=lambda *_: ["127.0.0.1"])
        assert said == f"connected to localhost, port {port}; no message was sent and no login was tried"
        assert requests == []


def test_a_kafka_broker_is_described_and_read_no_further(broker: Any, topic: str) -> None:
    broker.create_topic(topic, 3)
    settings = Settings.model_validate({"kafka": {"bootstrap_servers": broker.bootstrap, "topic": topic}})
    (found,) = attempts(settings)
    assert found.ok, found.said
    assert "3 partitions; no record was read" in found.said
