"""The budget of false alarms: how it is written, what it gives each detector, and how it is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from foreshock.monitor.budget import BudgetReport, by_chance, critical_sentence, detection_rules, parse_budget, sentence
from foreshock.monitor.detectors import DetectionRules
from foreshock.monitor.settings import AlertSettings
from foreshock.monitor.topics.rules import TopicRule
from foreshock.monitor.watermark import TimeRules
from foreshock.settings.load import load
from foreshock.settings.versions import shaping


@pytest.mark.parametrize(
    ("text", "per_day", "per_topic"),
    [
        ("1 per week", 1 / 7, False),
        ("2 a month", 2 / 30, False),
        ("  3 Per   Day ", 3.0, False),
        ("1 per 90 days", 1 / 90, False),
        ("1 per topic per 90 days", 1 / 90, True),
        ("1 per topic per quarter", 1 / 91, True),
        ("0.5 per year", 0.5 / 365, False),
    ],
)
def test_a_budget_is_written_in_words(text: str, per_day: float, per_topic: bool) -> None:
    found = parse_budget(text)
    assert found.per_day == pytest.approx(per_day)
    assert found.per_topic is per_topic


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 per week", "a budget of 0 cannot be kept"),
        ("1 per 0 days", "a budget of 0 cannot be kept"),
        ("1 per hour", "24 false alarms a day for the desk: the largest budget is 10"),
        ("1 per topic per hour", "24 false alarms a day for a topic: the largest budget is 1"),
        ("1 per 20 years", "less than 1 per 10 years"),
        ("seldom", '"1 per week" for the whole desk'),
        ("-1 per week", "is not a budget"),
        ("1 per fortnight", "is not a budget"),
        ("", "is not a budget"),
        (1, "is not a budget"),
    ],
)
def test_an_error_in_a_budget_says_why(text: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_budget(text)
    with pytest.raises(ValidationError, match=said):
        AlertSettings.model_validate({"false_alarms": text})


def test_critical_incidents_stand_beside_what_the_desk_expects() -> None:
    report = BudgetReport(0, 0, 0.0, 0, 1, None, critical=1, critical_days=28, critical_expected=8.0)
    assert (
        critical_sentence(report)
        == "1 incident with a critical story in 28 days; you expect 8 (setting alerts.critical_stories)."
    )
    more = critical_sentence(report._replace(critical=20))
    assert more.startswith(
        "20 incidents with a critical story in 28 days; you expect 8 (setting alerts.critical_stories). That is"
    )
    assert critical_sentence(report._replace(critical_days=0)) == "", "critical stories are off"


def test_shares_are_parts_of_the_budget() -> None:
    with pytest.raises(ValidationError, match="come to 1"):
        AlertSettings.model_validate({"shares": {"bad_news": 0.9}})
    with pytest.raises(ValidationError, match="more than 0"):
        AlertSettings.model_validate({"shares": dict.fromkeys(("bad_news", "better", "volume", "silence"), 0)})
    with pytest.raises(ValidationError, match="spikes"):
        AlertSettings.model_validate({"shares": {"spikes": 0.1}})
    assert AlertSettings.model_validate({"shares": {"volume": 0}}).shares.volume == 0


def test_the_budget_the_shares_and_weights_shape_decisions() -> None:
    loaded = load(
        flags={"alerts.false_alarms": "1 per topic per 90 days", "alerts.shares": {"volume": 0.0, "silence": 0.2}},
        environ={"FORESHOCK_TOPICS": '[{"name": "Deutsche Bank", "names": ["Deutsche Bank"], "weight": 4}]'},
    )
    rules = detection_rules(shaping(loaded.settings), TimeRules())
    assert (rules.false_alarms, rules.per_topic) == (1 / 90, True)
    assert (rules.bad_news, rules.better, rules.volume, rules.silence) == (0.7, 0.1, 0.0, 0.2)
    assert rules.weights == (("Deutsche Bank", 4.0),)


def test_settings_from_before_the_budget_existed_mean_the_default_budget() -> None:
    bodies: list[Any] = [{"time": {}, "topics": []}, None, shaping(load(environ={}).settings)]
    for body in bodies:
        rules = detection_rules(body, TimeRules())
        # The limits of names, and the desk's own topics, come of the settings. Detectors alone do not have them.
        assert replace(rules, first_events=1, most_topics=1_000_000, own=frozenset()) == DetectionRules()


@pytest.mark.parametrize("weight", [0, -1, 1000])
def test_a_weight_is_positive_and_sensible(weight: float) -> None:
    with pytest.raises(ValidationError, match="weight"):
        TopicRule.model_validate({"name": "a", "names": ["a"], "weight": weight})


def test_the_number_that_chance_gives_comes_with_its_interval() -> None:
    assert by_chance(4.0) == (1, 8)
    assert by_chance(0.0) == (0, 0)
    assert by_chance(0.5) == (0, 2)
    assert by_chance(499) == (456, 543)
    assert by_chance(1000) == (938, 1062)
    assert sentence(BudgetReport(6, 28, 4.0, 0, 30, None), None) == (
        "6 incidents in 28 days; chance alone, at your budget, gives 4 (1 to 8)."
    )
    assert sentence(BudgetReport(1, 1, 0.14, 3, 30, 5), "3 March") == (
        "1 incident in 1 day; chance alone, at your budget, gives 0.14 (0 to 1). 3 of 30 topics are still learning, "
        "the first until 3 March."
    )
    assert sentence(BudgetReport(0, 0, 0.0, 2, 2, 5), "3 March") == (
        "No topic is judged by its statistics yet: 2 of 2 topics are still learning, the first until 3 March."
    )
    assert sentence(BudgetReport(0, 0, 0.0, 1, 1, None), None) == (
        "No topic is judged by its statistics yet: 1 of 1 topic is still learning, with too few events so far."
    )
