"""The life of an alert, its sentence, and the numbers beneath detectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foreshock.monitor.alerts import Alert, LifeCycle, alert_id, sentence
from foreshock.monitor.baseline import hour_class
from foreshock.monitor.findings import Finding, Level
from foreshock.monitor.recent import Recent, Row
from foreshock.monitor.units import DAY, HOUR

MARCH_3 = 19_785 * DAY  # 3 March 2024
NAMES = ["Banks"]
SPIKE = "negativity_spike"


def finding(level: Level, score: float = 5.0) -> Finding:
    return Finding(0, "worse", level, score, 0.61, 0.265, MARCH_3, MARCH_3)


def events(life: LifeCycle, level: Level, at: int) -> list[str]:
    return [c.event for c in life.take(SPIKE, [finding(level)], NAMES, at)]


def test_near_is_pending_and_falls_back_without_having_fired() -> None:
    life = LifeCycle()
    assert events(life, Level.NEAR, 1 * HOUR) == ["pending"]
    assert events(life, Level.HOLD, 2 * HOUR) == []
    changes = life.take(SPIKE, [finding(Level.CALM)], NAMES, 3 * HOUR)
    assert [(c.event, c.alert.state, c.alert.fired_at, c.alert.resolved_at) for c in changes] == [
        ("dropped", "resolved", None, 3 * HOUR)
    ]
    assert life.open == {}


def test_what_is_met_at_once_is_pending_and_firing_in_one_bucket() -> None:
    life = LifeCycle()
    pending, firing = life.take(SPIKE, [finding(Level.MET)], NAMES, HOUR)
    assert (pending.event, firing.event) == ("pending", "firing")
    assert pending.alert.id == firing.alert.id == alert_id("Banks", SPIKE, "worse", HOUR)
    assert (firing.alert.pending_at, firing.alert.fired_at) == (HOUR, HOUR)
    assert events(life, Level.MET, 2 * HOUR) == []


def test_a_firing_alert_stays_until_its_detector_says_that_it_is_over() -> None:
    life = LifeCycle()
    events(life, Level.MET, 0)
    assert [events(life, level, HOUR) for level in (Level.HOLD, Level.NEAR, Level.MET)] == [[], [], []]
    assert events(life, Level.CALM, 2 * HOUR) == ["resolved"]
    assert events(life, Level.CALM, 3 * HOUR) == []


def test_open_alerts_survive_being_written_down() -> None:
    life, again = LifeCycle(), LifeCycle()
    events(life, Level.MET, 0)
    again.load(life.dump())
    assert again.dump() == life.dump()
    assert again.watched() == life.watched()


def test_ids_are_stable() -> None:
    at = MARCH_3 + 14 * HOUR
    assert alert_id("Banks", SPIKE, "worse", at) == "45743f84-8e1f-500d-945e-aa430b73e127"
    others = {
        alert_id("Banks", SPIKE, "better", at),
        alert_id("Banks", "drift", "worse", at),
        alert_id("Bank", SPIKE, "worse", at),
        alert_id("Banks", SPIKE, "worse", at + 300_000_000),
    }
    assert len(others | {alert_id("Banks", SPIKE, "worse", at)}) == 5


def alert(kind: str, **other: object) -> Alert:
    since = MARCH_3 + 14 * HOUR + 10 * 60_000_000
    values: dict[str, object] = {
        "id": "x",
        "topic": "Banks",
        "kind": kind,
        "direction": "worse",
        "state": "firing",
        "started_at": since,
        "pending_at": since,
        "fired_at": since,
        "resolved_at": None,
        "observed": 0.61,
        "baseline": 0.265,
        "window_start": since,
        "window_end": since,
        "score": 15.0,
    }
    return Alert(**{**values, **other})  # type: ignore[arg-type]


def test_the_sentence_of_a_spike() -> None:
    since = MARCH_3 + 14 * HOUR
    surge = alert(SPIKE, observed=10.8, baseline=0.06, window_start=since, window_end=since + 3 * HOUR)
    assert sentence(surge, 12, 7) == "11 negative stories on Banks from 7 sources in 3 hours; usual is 1 in 2 days."
    usual = {3.2: "3", 0.2: "1 in 15 hours", 0.01: "1 in 12 days", 0.004: "1 in 4 weeks", 0.001: "1 in 4 months"}
    for baseline, words in usual.items():
        assert sentence(replace(surge, baseline=baseline), 12, 7).endswith(f"; usual is {words}.")
    assert sentence(replace(surge, baseline=1e-6), 12, 7).endswith("; usual is less than 1 a year.")


def test_the_sentence_of_a_drift_that_is_over() -> None:
    over = alert("drift", observed=-0.31, baseline=0.02, resolved_at=MARCH_3 + DAY)
    assert sentence(over, 1, 1) == (
        "Polarity of Banks has fallen to -0.31, from +0.02, since 3 March 2024, 1 event from 1 source. "
        "It ended at 00:00 UTC on 4 March 2024."
    )


def test_the_sentence_of_a_busy_topic() -> None:
    assert sentence(alert("volume", observed=42.0, baseline=10.0), 57, 12) == (
        "4.2 times the usual number of events on Banks, since 14:10 UTC on 3 March 2024, 57 events from 12 sources."
    )


def test_the_sentence_of_a_silence_of_all_stories() -> None:
    said = sentence(alert("silence", topic="_all", baseline=14.2), 0, 0)
    assert said == "No story on all stories since 14:10 UTC on 3 March 2024; 14 events would be usual in that time."


def test_the_rows_of_the_last_day_are_kept_and_read_again() -> None:
    recent = Recent()
    for hour in range(30):
        recent.forget((hour + 1) * HOUR)
        recent.add(
            Row(hour * HOUR, np.array([1, 3]), np.tile([[10, hour, 1], [20, 0, 0]], 2), (("a",), ("b", f"{hour}")))
        )
    arrays, meta = recent.dump()
    again = Recent.load(arrays, meta["sources"], meta["row_sources"])  # type: ignore[arg-type]
    for kept in (recent, again):
        assert [row.start // HOUR for row in kept.rows] == list(range(6, 30))
        assert [row.values.tolist() for row in kept.rows] == [row.values.tolist() for row in recent.rows]
        assert kept.rows[-1].sources == (("a",), ("b", "29"))
    recent.forget(100 * HOUR)
    assert not recent.rows


def test_an_onset_is_where_the_excess_begins() -> None:
    recent = Recent()
    for hour, bad in enumerate([0, 3, 3, 1, 9, 9, 8]):
        recent.add(Row(hour * HOUR, np.array([0]), np.array([[10, bad, 2, 10, bad, 2]]), (("a",),)))
    assert recent.onset(0, 0.6, default=-1) == 4 * HOUR


def test_hours_are_of_weekdays_and_weekends() -> None:
    friday, saturday, monday = 20_000 * 24, 20_001 * 24, 20_003 * 24
    assert hour_class(friday + 23) == 23
    assert hour_class(saturday) == 24
    assert hour_class(monday - 1) == 47
    assert hour_class(monday) == 0
