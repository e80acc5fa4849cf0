"""Run one page of the dashboard without a browser, and stores with made-up incidents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update
from streamlit.testing.v1 import AppTest

from foreshock.dashboard.settings import VARIABLE, ServeSettings
from foreshock.monitor.store import schema, topic_labels
from foreshock.monitor.store.database import connect, writing
from foreshock.monitor.store.topic_labels import Labels
from foreshock.monitor.units import DAY, HOUR

Show = Callable[..., AppTest]
NOW = 1_775_001_600 * 1_000_000
"""1 April 2026: what the made-up stores have decided."""


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    """Runs one page over a store."""

    def run(
        name: str, store: Path, /, *, host: str = "127.0.0.1", watchlist_file: Path | None = None, **query: str
    ) -> AppTest:
        settings = ServeSettings(store=f"sqlite:///{store}", host=host, watchlist_file=watchlist_file)
        monkeypatch.setenv(VARIABLE, settings.model_dump_json())
        script = f"from foreshock.dashboard import frame, {name}\nframe.dress()\n{name}.page()"
        app = AppTest.from_string(script, default_timeout=60)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
        assert not app.exception, app.exception
        return app

    return run


def html(app: AppTest) -> str:
    """The page's HTML, without its styles."""
    return re.sub(r"<style>.*?</style>", "", "\n".join(e.proto.body for e in app.get("html")), flags=re.DOTALL)


def words(app: AppTest) -> str:
    """What a reader sees: the page's HTML without tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html(app)))


def rows_of(page: str) -> list[str]:
    """The topics of the table on *Now*, as their links have them."""
    return re.findall(r'<td class="nm"><a class="fs-in" href="Topic\?topic=([^"]+)"', page)


def click(app: AppTest, label: str, place: int = 0) -> AppTest:
    """Press the button of this label, the first or another."""
    return [button for button in app.button if button.label == label][place].click().run()


def made_store(
    place: Path | str,
    topics: Iterable[str],
    incidents: Iterable[Mapping[str, Any]] = (),
    labels: Mapping[str, Labels] | None = None,
) -> Engine:
    """A store whose topics have one event each, in the last hour. `place`: its file, or its URL.

    `incidents`: each with an `id`, perhaps columns of its own, and its `alerts`: columns of theirs.
    """
    engine = connect(place if isinstance(place, str) else f"sqlite:///{place}", create=True)
    bucket = {
        **{"start": NOW - HOUR, "stories": 1, "events": 1, "negative": 6000, "neutral": 3000, "positive": 1000},
        **{"day_events": 0, "day_negative": 0, "sources": '["Wire"]', "baseline": 0, "settings": 1},
    }
    topic = {"first_story_at": NOW - HOUR, "last_story_at": NOW - HOUR, "stories": 1}
    names = list(topics)
    with writing(engine) as connection:
        connection.execute(update(schema.feed).values(decided_until=NOW))
        connection.execute(insert(schema.topics), [{"topic": name, **topic} for name in names])
        connection.execute(insert(schema.buckets), [{"topic": name, **bucket} for name in names])
        topic_labels.keep(connection, labels or {})
        for incident in incidents:
            _insert(connection, {**incident})
    return engine


def _insert(connection: Any, incident: dict[str, Any]) -> None:
    alerts = incident.pop("alerts", [{}])
    identity = incident["id"]
    for place, given in enumerate(alerts):
        alert = {
            **{"id": f"{identity}-{place}", "topic": "Acme", "kind": "negativity_spike", "direction": "worse"},
            **{"state": "firing", "origin": "live", "group_id": identity, "severity": "warning"},
            **({"resolved_at": NOW} if given.get("state") == "resolved" else {}),
            **{"started_at": NOW - 3 * HOUR, "pending_at": NOW - HOUR, "fired_at": NOW - HOUR + place},
            **{"window_start": NOW - 3 * HOUR, "window_end": NOW - HOUR, "observed": 9.0, "baseline": 0.5},
            **{"score": 5.0, "statistic": 5.0, "threshold": 3.0, "evidence": "[]", "sources": 4, "events": 9},
            **{"sentence": f"9 negative stories on {identity}.", "settings": 1},
            **given,
        }
        connection.execute(insert(schema.alerts).values(**alert))
    row = {
        **{"first_alert": f"{identity}-0", "lead": f"{identity}-0", "state": "open", "direction": "worse"},
        **{"origin": "live", "started_at": NOW - 3 * HOUR, "fired_at": NOW - HOUR, "updated_at": NOW - HOUR},
        **{"notified_at": NOW - HOUR, "severity": "warning", "title": f"Bad news on {identity}.", "events": 9},
        **{"sources": 4, "peak_events": 9, "messages": 0, "held": "[]", "settings": 1},
        **incident,
    }
    if row["state"] == "ended":
        row.setdefault("ended_at", NOW - DAY)
    connection.execute(insert(schema.incidents).values(**row))
