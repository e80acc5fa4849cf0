"""The scripts in examples/ do what they say. `sentiment_and_market.py` is tested in test_research.py."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.story import Story
from foreshock.monitor.delivery.notice import Notice, sample
from foreshock.monitor.delivery.settings import WebhookSettings
from foreshock.monitor.delivery.webhook import Webhook
from foreshock.monitor.errors import Undelivered

EXAMPLES = Path(__file__).parents[1] / "examples"
SECRET = "whsec_cmVwbGFjZSB0aGlzIHdpdGggeW91ciBvd24gc2VjcmV0"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECORDS = [
    {
        "uuid": "2",
        "headline": "Acme recall widens",
        "time": "2026-03-02T09:41:00Z",
        "provider": "B",
        "symbols": ["ACME"],
    },
    {"uuid": "1", "headline": "Acme recalls pumps", "time": "2026-03-02T09:14:00Z", "provider": "A", "summary": "All."},
]


def test_the_own_feed_appends_stories_that_foreshock_reads_in_order_of_time(tmp_path: Path) -> None:
    file = tmp_path / "live.jsonl"
    for answer in (RECORDS, {"articles": RECORDS[:1]}):
        command = [sys.executable, str(EXAMPLES / "own_feed.py"), str(file)]
        done = subprocess.run(command, input=json.dumps(answer), capture_output=True, text=True, check=True)
        assert done.stdout == f"{len(answer) if isinstance(answer, list) else 1} stories\n"
    lines = file.read_bytes().splitlines()
    read = [parse(line, "live.jsonl", number, ParseRules()) for number, line in enumerate(lines)]
    stories = [story for story in read if isinstance(story, Story)]
    assert [story.id for story in stories] == ["1", "2", "2"]
    assert stories[0].body == "All."
    assert stories[1].tickers == ("ACME",)


def test_the_own_feed_leaves_a_record_without_a_title_to_foreshock_which_says_so(tmp_path: Path) -> None:
    module = example("own_feed")
    module.append(tmp_path / "live.jsonl", [{"uuid": "3", "time": "2026-03-02T09:41:00Z"}])
    died: Any = parse((tmp_path / "live.jsonl").read_bytes().strip(), "live.jsonl", 0, ParseRules())
    assert died.reason == "no_text"


def test_the_receiver_of_webhooks_takes_foreshocks_own_once_and_no_forged_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = example("receive_webhooks")
    server = module.serve(module.Receiver(SECRET), 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/hook"

        def webhook(secret: str) -> Webhook:
            given = {"name": "desk", "url": url, "secrets": [secret], "allow_private": True}
            return Webhook(WebhookSettings.model_validate(given))

        notice = Notice("msg_1", "test", 1_772_449_200_000_000, sample(2), None)
        for _ in range(2):
            assert webhook(SECRET).send(notice).status == 204
        with pytest.raises(Undelivered, match="401"):
            webhook("whsec_" + "A" * 43 + "=").send(notice)
    finally:
        server.shutdown()
        server.server_close()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1
    assert "incident.test" in printed[0]
    assert "This is a test of the delivery" in printed[0]
