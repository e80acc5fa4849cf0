"""An alert and its page say the same: the picture passes through the alert's number, outside of what it called usual.

Invariants of the fired alerts of a store:

* One window of the picture is the one that fired, and there the line is at the number that the sentence gives.
* This number lies outside the band, on the side of the alert's direction.
* Each value is the sum, or the mean, of the buckets of its window, and of no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from foreshock.dashboard import marks, words
from foreshock.monitor import odds
from foreshock.monitor.alerts import Alert
from foreshock.monitor.alerts import sentence as said
from foreshock.monitor.detectors import DetectionRules
from foreshock.monitor.kinds import DRIFT, KINDS, SILENCE, SPIKE, VOLUME, quoted
from foreshock.monitor.store import alert_windows, false_alarms, views
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.store.views import AlertRow
from foreshock.monitor.units import DAY, HOUR

BUCKET = 300_000_000


@pytest.fixture(scope="module")
def connection(crisis_store: Path) -> Iterator[Connection]:
    engine = connect(f"sqlite:///{crisis_store}", create=False)
    with reading(engine) as opened:
        yield opened
    engine.dispose()


@pytest.fixture(scope="module")
def fired(connection: Connection) -> list[AlertRow]:
    found = [a for a in views.alerts(connection, states=("firing", "resolved")) if a.kind != SILENCE]
    assert {SPIKE, VOLUME} <= {a.kind for a in found}
    return found


@pytest.mark.slow
def test_the_picture_passes_through_the_number_of_the_sentence_outside_the_band(
    connection: Connection, fired: list[AlertRow]
) -> None:
    until = views.standing(connection).decided_until or 0
    for alert in (a for a in fired if not KINDS[a.kind].of_names):  # names have no series
        curve = alert_windows.alert_curve(connection, alert, until, bucket=BUCKET)
        (place,) = np.flatnonzero(curve.at == alert.window_end)
        value = float(curve.values[place])
        assert value == pytest.approx(alert.events if alert.kind == VOLUME else alert.observed)
        assert value < curve.low if alert.kind == DRIFT and alert.direction == "worse" else value > curve.high
        assert curve.at[0] <= alert.window_start
        assert curve.at[-1] <= max(until, alert.window_end)


@pytest.mark.slow
def test_each_value_is_that_of_its_window_and_of_nothing_else(connection: Connection, fired: list[AlertRow]) -> None:
    until = views.standing(connection).decided_until or 0
    for alert in fired[:4]:
        curve = alert_windows.alert_curve(connection, alert, until, bucket=BUCKET)
        buckets = connection.exec_driver_sql(
            "SELECT start, events, negative FROM buckets WHERE topic = ?", (alert.topic,)
        ).all()
        for place in (0, len(curve.at) // 2, len(curve.at) - 1):
            end = int(curve.at[place])
            inside = [b for b in buckets if end - curve.window <= b.start < end]
            assert curve.events[place] == sum(b.events for b in inside)
            if alert.kind == SPIKE and end != alert.window_end:
                assert curve.values[place] == pytest.approx(sum(b.negative for b in inside) / 10_000)


@pytest.mark.slow
def test_what_it_is_now_is_the_end_of_the_picture(connection: Connection, fired: list[AlertRow]) -> None:
    until = views.standing(connection).decided_until or 0
    spike = next(a for a in fired if a.kind == SPIKE)
    buckets = connection.exec_driver_sql(
        "SELECT coalesce(sum(negative), 0) FROM buckets WHERE topic = ? AND start >= ? AND start < ?",
        (spike.topic, until - alert_windows.window_of(spike), until),
    ).scalar_one()
    assert alert_windows.value_at(connection, spike, until) == pytest.approx(buckets / 10_000)


@pytest.mark.slow
def test_the_odds_of_fired_alerts_are_known_and_rarer_than_their_budget(
    connection: Connection, fired: list[AlertRow]
) -> None:
    for alert in fired:
        days = false_alarms.days_between(connection, alert)
        assert days is not None
        assert days >= 1 / (odds.share(alert.kind, alert.direction, DetectionRules(), names=0.1) / 7) - 1e-9, alert
    assert false_alarms.days_between(connection, replace(fired[0], statistic=None)) is None


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(SPIKE, "worse"), (DRIFT, "worse"), (DRIFT, "better"), (VOLUME, "worse"), (SILENCE, "worse")]),
    st.floats(0, 20),
    st.floats(0, 20),
    st.floats(0, 5),
)
def test_the_surer_the_rarer_and_at_its_threshold_as_rare_as_the_budget(
    of: tuple[str, str], statistic: float, threshold: float, more: float
) -> None:
    """At the threshold: the budget of its kind. Never rarer than what is said at most. Never less rare when surer."""
    rules = DetectionRules()
    at = odds.days_between(*of, threshold, threshold, rules, 1.0)
    assert at == pytest.approx(min(1 / (rules.false_alarms * odds.share(*of, rules)), odds.RAREST))
    one, other = (odds.days_between(*of, s, threshold, rules, 1.0) for s in (statistic, statistic + more))
    assert one is not None
    assert other is not None
    assert one <= other <= odds.RAREST * (1 + 1e-9)


def test_the_parts_of_the_budget_add_up_to_it() -> None:
    rules = DetectionRules()
    kinds = [(SPIKE, "worse"), (DRIFT, "worse"), (DRIFT, "better"), (VOLUME, "worse"), (SILENCE, "worse")]
    whole = rules.bad_news + rules.better + rules.volume + rules.silence
    assert sum(odds.share(*kind, rules) for kind in kinds) == pytest.approx(whole)


def test_a_budget_for_each_topic_counts_the_topics() -> None:
    rules = DetectionRules(per_topic=True, false_alarms=1 / 90)
    one, fifty = (odds.days_between(VOLUME, "worse", 5.0, 5.0, rules, topics) for topics in (1.0, 50.0))
    assert one == pytest.approx(900)
    assert fifty == pytest.approx(18)
    assert odds.days_between(VOLUME, "worse", 5.0, float("inf"), rules, 1.0) is None


@pytest.mark.parametrize(
    ("days", "in_words"),
    [(0.1, "once in 2 hours"), (3.2, "once in 3 days"), (35, "once in 5 weeks"), (200, "once in 7 months"),
     (1000, "once in 3 years"), (3650, "less than once in 10 years")],
)  # fmt: skip
def test_odds_are_said_in_the_unit_that_fits(days: float, in_words: str) -> None:
    assert words.odds(days) == f"chance alone would give this {in_words}"
    assert words.odds(None) == ""


def alert(kind: str, topic: str, *, direction: str = "worse", ended: bool, **more: Any) -> AlertRow:
    """An alert whose sentence the monitor has written."""
    start = int(datetime(2026, 4, 2, 12, tzinfo=UTC).timestamp()) * 1_000_000
    values = {"observed": 9.0, "baseline": 2.0, **more}
    over = start + DAY if ended else None
    state = "resolved" if ended else "firing"
    made = Alert(
        id="a", topic=topic, kind=kind, direction=direction, state=state, started_at=start, pending_at=start + HOUR,
        fired_at=start + HOUR, resolved_at=over, window_start=start, window_end=start + HOUR, score=4.0, **values,
    )  # fmt: skip
    about = (kind, direction, state, "live", start, start + HOUR, start + HOUR, over)
    numbers = (values["observed"], values["baseline"], 4.0, start, start + HOUR)
    return AlertRow("a", topic, *about, *numbers, (), sources=6, events=9, sentence=said(made, 9, 6))


@pytest.mark.parametrize(
    ("kind", "direction", "now", "then"),
    [
        (SPIKE, "worse", "; usual is 2.", "; usual was 2."),
        (DRIFT, "worse", "has fallen to +9.00, from", "fell to +9.00, from"),
        (DRIFT, "better", "has risen to +9.00, from", "rose to +9.00, from"),
        (SILENCE, "worse", "would be usual in that time", "would have been usual in that time"),
    ],
)
def test_what_is_past_is_said_in_the_past_tense(kind: str, direction: str, now: str, then: str) -> None:
    assert now in words.sentence(alert(kind, "Gold", direction=direction, ended=False))
    past = words.sentence(alert(kind, "Gold", direction=direction, ended=True))
    assert then in past
    assert now not in past
    assert "It ended at 12:00 UTC on 3 April 2026." in past


@given(st.sampled_from([SPIKE, DRIFT, VOLUME, SILENCE]), st.text(max_size=40))
def test_the_past_tense_changes_no_topic_s_name(kind: str, name: str) -> None:
    for topic in (name, f"{name} has fallen to -0.10, from; usual is 3. {name}"):
        ended, whole = alert(kind, topic, ended=True), words.sentence(alert(kind, topic, ended=True))
        assert quoted(topic) in whole
        assert len(whole) - len(ended.sentence) <= len(" have been") + 3


def test_a_silence_that_is_pending_is_not_called_worse() -> None:
    assert marks.alert(replace(alert(SILENCE, "Gold", ended=False), state="pending")).word == "silent, pending"
    ended = replace(alert(SILENCE, "Gold", ended=True), state="dropped", fired_at=None)
    assert marks.alert(ended).word == "silent, never fired"
