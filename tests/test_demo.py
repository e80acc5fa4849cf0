"""The demo with the shipped encoder: the default settings on a feed that they were not tuned on."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.demo import judge
from foreshock.cli.demo import gravest, next_steps
from foreshock.demo import generator, show
from foreshock.demo.receiver import Received
from foreshock.monitor.store import open_store

pytestmark = pytest.mark.slow

SEED = 3


@pytest.mark.slow
def test_the_crisis_alerts_within_a_day_and_decoys_stay_quiet_and_all_is_delivered(tmp_path: Path) -> None:
    received: list[Received] = []
    done = show.run(tmp_path, seed=SEED, on_webhook=received.append)
    alerts = list(open_store(done.store).alerts())
    verdict = judge(alerts, generator.truth(SEED))
    assert verdict["crisis_after_hours"] is not None
    assert verdict["crisis_after_hours"] <= 24
    assert verdict["decoys_that_alerted"] == []
    assert verdict["silence_found"]
    assert len(verdict["beyond_crisis_drift_silence"]) <= 3
    assert {w.body["data"]["id"] for w in received if w.verified and w.body} == {alert["id"] for alert in alerts}
    crisis = gravest(alerts)
    assert crisis is not None
    assert crisis["topic"] == generator.truth(SEED).crisis.topic
    # Again: the store is replaced, not added to.
    assert list(tmp_path.glob("*.db")) == [tmp_path / show.STORE]


def test_where_to_look_next_names_the_gravest_alert() -> None:
    def alert(number: int, kind: str, topic: str, events: int, observed: float) -> dict[str, object]:
        return {
            "id": str(number),
            "kind": kind,
            "topic": topic,
            "events": events,
            "observed": observed,
            "baseline": 0.2,
        }

    few = alert(1, "negativity_spike", "few", 5, 0.9)
    many = alert(2, "negativity_spike", "many & co", 60, 0.6)
    market = alert(3, "negativity_spike", "_all", 900, 0.4)
    assert gravest([few, many, market]) is many
    assert gravest([]) is None
    silence = alert(4, "silence", "quiet", 0, 0.0)
    assert gravest([silence]) is silence
    clicks = next_steps(many, "sqlite:///d.db", "http://127.0.0.1:8501")
    assert len(clicks) == 3
    assert "/Alerts?alert=2" in clicks[0]
    assert "/Topic?topic=many%20%26%20co" in clicks[1]
    assert all("--store sqlite:///d.db" in line for line in next_steps(None, "sqlite:///d.db", None))
