"""What the demo says at its end. The whole demo is run and judged in test_packaging.py, from the wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foreshock.cli.demo import bad_news_beyond_the_usual, gravest, next_steps
from foreshock.demo import generator, show
from foreshock.monitor.store import open_store
from foreshock.processes.replay import ReplayResult
from foreshock.settings.models import Settings


def test_where_to_look_next_names_the_gravest_alert() -> None:
    def alert(number: int, kind: str, topic: str) -> dict[str, object]:
        return {"id": str(number), "kind": kind, "topic": topic}

    few, many = alert(1, "negativity_spike", "few"), alert(2, "negativity_spike", "many & co")
    market, silence = alert(3, "negativity_spike", "_all"), alert(4, "silence", "quiet")
    bad_news = {"1": 5.0, "2": 60.0, "3": 900.0, "4": 0.0}

    def of(some: dict[str, Any]) -> float:
        return bad_news[some["id"]]

    assert gravest([silence, few, many, market], of) is many
    assert gravest([], of) is None
    assert gravest([silence], of) is silence
    clicks = next_steps(many, "sqlite:///d.db", "http://127.0.0.1:8501")
    assert len(clicks) == 3
    assert "/Alerts?alert=2" in clicks[0]
    assert "/Topic?topic=many%20%26%20co" in clicks[1]
    assert all("--store sqlite:///d.db" in line for line in next_steps(None, "sqlite:///d.db", None))


def test_the_demo_encodes_all_texts_because_it_says_how_fast_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Settings] = []

    def replay(settings: Settings, files: list[Path], **_: Any) -> ReplayResult:
        given.append(settings)
        return ReplayResult({}, 0.0)

    monkeypatch.setattr(show.replay, "replay", replay)  # type: ignore[attr-defined]
    show.run(tmp_path)
    show.run(tmp_path, on_webhook=lambda _: None)
    assert [settings.model.score_cache for settings in given] == ["off", "off"]


@pytest.mark.slow
def test_the_gravest_alert_is_the_planted_crisis(crisis_store: Path) -> None:
    store = open_store(f"sqlite:///{crisis_store}")
    alerts = list(store.alerts())
    beyond = {alert["id"]: bad_news_beyond_the_usual(store, alert) for alert in alerts if alert["baseline"] > 0}
    found = gravest(alerts, lambda alert: beyond[alert["id"]])
    assert found is not None
    assert found["topic"] == generator.truth(7).crisis.topic
    assert beyond[found["id"]] > found["observed"], "what came after it fired counts, too"
    store.close()
