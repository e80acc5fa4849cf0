"""The first day with a new store: what `run` says, which topics are shown, and what would be taken of a feed."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from streamlit.testing.v1 import AppTest

from foreshock.cli import main
from foreshock.dashboard.settings import VARIABLE, ServeSettings
from foreshock.monitor.store import open_store
from foreshock.monitor.units import SECOND
from foreshock.processes import first_day
from foreshock.processes.run import run
from foreshock.settings.models import Settings

pytestmark = pytest.mark.slow

QUIET = {"name": "Quiet & Co", "names": ["Quiet & Co"]}


def line(number: int, at: float, **fields: Any) -> str:
    date = datetime.fromtimestamp(at, UTC).isoformat()
    record = {"id": f"s{number}", "title": f"Zeta Mills opens plant {number}", "published_at": date, "source": "Wire"}
    return json.dumps({**record, **fields}) + "\n"


def said(settings: Settings, scorer: Any, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Run to the end of the feeds, and return how often and how the history was asked for."""
    with structlog.testing.capture_logs() as logs:
        run(settings, until_end=True, scorer=scorer, options=options)
    return [dict(entry) for entry in logs if entry["event"] == first_day.SAID]


def settings_of(folder: Path, **sections: Any) -> Settings:
    return Settings.model_validate({"store": {"url": f"sqlite:///{folder / 'new.db'}"}, **sections})


def test_a_run_on_a_new_store_says_once_to_load_history_first_and_goes_on(tmp_path: Path, quick_scorer: Any) -> None:
    feed = tmp_path / "wire.jsonl"
    feed.write_text("".join(line(n, time.time() - 7_000 + n) for n in range(3)))
    settings = settings_of(tmp_path, feeds=[{"file": str(feed)}])
    options = ("--config", "my desk.toml", "--store", "new.db")
    (entry,) = said(settings, quick_scorer, options)
    assert entry["log_level"] == "warning"
    assert entry["load"] == "foreshock replay FILE --config 'my desk.toml' --store new.db"
    assert entry["then"] == "foreshock check FILE --config 'my desk.toml'"
    assert said(settings, quick_scorer, options) == [], "the first run decided buckets: it is too late to load history"


def test_a_file_that_reaches_back_is_a_history(tmp_path: Path, quick_scorer: Any) -> None:
    """Invariant: it is asked for if, and only if, the first story is younger than `HISTORY`."""
    back = first_day.HISTORY / SECOND
    for name, age, asked in (("old", back + 60, 0), ("young", back - 60, 1)):
        folder = tmp_path / name
        folder.mkdir()
        feed = folder / "wire.jsonl"
        feed.write_text("not a record\n" + line(1, time.time() - age))
        assert len(said(settings_of(folder, feeds=[{"file": str(feed)}]), quick_scorer)) == asked


@pytest.fixture
def new_store(tmp_path: Path, quick_scorer: Any) -> Path:
    """A store with one topic that has a series, one whose only story is in an open bucket, and one without a story."""
    feed = tmp_path / "wire.jsonl"
    now = time.time()
    feed.write_text(
        "".join(line(n, now - 90_000 + n, title="Acme opens a plant") for n in range(3))
        + line(9, now - 30, title="Brightwater opens a plant")
    )
    rules = [{"name": "acme", "names": ["Acme"]}, {"name": "brightwater", "names": ["Brightwater"]}, QUIET]
    run(settings_of(tmp_path, feeds=[{"file": str(feed)}], topics=rules), until_end=True, scorer=quick_scorer)
    return tmp_path / "new.db"


def test_the_settings_topics_without_a_story_are_known_with_their_state(new_store: Path) -> None:
    store = open_store(f"sqlite:///{new_store}")
    rows = {row["topic"]: row for row in store.topics()}
    assert rows["acme"]["stories"] == 3
    assert (rows["brightwater"]["state"], rows["Quiet & Co"]["state"]) == ("undecided", "no_story")
    assert rows["Quiet & Co"]["last_story_at"] is None
    assert set(rows) == {"_all", "acme", "brightwater", "Quiet & Co"}, "built-in topics are listed once they have one"
    assert "inflation" in store.unseen_topics().built_in
    store.close()


def test_the_command_line_shows_them(new_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "list", "--store", str(new_store)]) == 0
    shown = capsys.readouterr()
    assert re.search(r"^Quiet & Co +no story yet +0", shown.out, re.M)
    assert re.search(r"^brightwater +first story not decided yet", shown.out, re.M)
    assert "built-in topics have no story yet" in shown.err
    assert main(["series", "Quiet & Co", "inflation", "acme", "--store", str(new_store)]) == 0
    shown = capsys.readouterr()
    assert "Quiet & Co: no story yet." in shown.err
    assert "inflation: no story yet." in shown.err
    assert "acme: no story" not in shown.err
    assert "acme" in shown.out


def html_of(page: str, store: Path, monkeypatch: pytest.MonkeyPatch, **query: str) -> str:
    monkeypatch.setenv(VARIABLE, ServeSettings(store=f"sqlite:///{store}").model_dump_json())
    app = AppTest.from_string(f"from foreshock.dashboard import {page}\n{page}.page()", default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception, app.exception
    found = "\n".join(element.proto.body for element in app.get("html"))
    return re.sub(r"</?bdi[^>]*>", "", found)


def test_the_pages_show_them(new_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = html_of("now", new_store, monkeypatch)
    assert page.index(">acme<") < page.index("No story yet: 2 topics of yours") < page.index("Quiet &amp; Co")
    assert "built-in topics have no story yet" in page
    assert "Topic?topic=inflation" in html_of("now", new_store, monkeypatch, find="inflat")
    assert "Quiet &amp; Co: no story yet" in html_of("topic", new_store, monkeypatch, topic="Quiet & Co")
    assert "This store has no topic" in html_of("topic", new_store, monkeypatch, topic="Loud & Co")


def test_the_pages_show_them_before_anything_is_decided(
    tmp_path: Path, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = tmp_path / "wire.jsonl"
    feed.write_text("")
    settings = settings_of(tmp_path, feeds=[{"file": str(feed)}], topics=[QUIET])
    run(settings, until_end=True, scorer=quick_scorer)
    store = tmp_path / "new.db"
    page = html_of("now", store, monkeypatch)
    assert "The store is empty" in page
    assert "Quiet &amp; Co" in page
    assert "The store is empty" in html_of("topic", store, monkeypatch)
    assert "Quiet &amp; Co: no story yet" in html_of("topic", store, monkeypatch, topic="Quiet & Co")
    assert "inflation: no story yet" in html_of("topic", store, monkeypatch, topic="inflation")
