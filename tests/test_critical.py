"""Critical stories: which are, what their alerts do, and that what is sent ahead of a bucket changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from foreshock.monitor.alerts import AlertChange
from foreshock.monitor.buckets import CriticalStory
from foreshock.monitor.critical import OVER, CriticalAlerts, critical_id, day_of, moment_of
from foreshock.monitor.topics import Matcher, TopicRule, default_rules
from foreshock.monitor.topics.critical import CriticalWords, Read, _overlap
from foreshock.monitor.topics.critical_rules import CriticalRule, built_in_words
from foreshock.monitor.units import HOUR

START = 1_770_076_800
"""Midnight, UTC, in seconds."""
MICRO = 1_000_000


def story_at(seconds: float, topic: str = "Acme", offset: int = 0) -> CriticalStory:
    return CriticalStory(round((START + seconds) * MICRO), topic, "feed", offset, "recall", 9_000, 7_000)


def ids(changes: Sequence[AlertChange]) -> set[str]:
    return {change.alert.id for change in changes if change.event == "firing"}


TIMES = st.lists(st.tuples(st.integers(0, 6 * 86_400), st.sampled_from(["Acme", "Bolt"])), min_size=1, max_size=12)


@given(TIMES, st.lists(st.integers(0, 6 * 86_400), max_size=4), st.integers(0, 5 * 86_400))
@hypothesis_settings(max_examples=60)
def test_changes_do_not_depend_on_how_stories_and_time_are_split_into_calls(
    times: list[tuple[int, str]], cuts: list[int], stood: int
) -> None:
    """Any split of stories and hours into closings, with a stall somewhere: the changes of one call, in order."""
    stories = sorted(story_at(at, topic, n) for n, (at, topic) in enumerate(times))
    end = (START + 9 * 86_400) * MICRO
    stall = [((START + stood) * MICRO, (START + stood + 8 * 3600) * MICRO)]
    whole = CriticalAlerts([], START * MICRO, stall).take(stories, end)
    alerts, found = CriticalAlerts([], START * MICRO, stall), list[AlertChange]()
    bounds = sorted((START + cut) * MICRO for cut in cuts)
    for begin, until in zip([0, *bounds], [*bounds, end], strict=True):
        found += alerts.take([s for s in stories if begin <= s.counts_at < until], until)
    assert found == whole
    moments = [c.alert.resolved_at or c.alert.fired_at or c.alert.pending_at for c in whole]
    assert moments == sorted(moments)


@given(TIMES, st.randoms())
@hypothesis_settings(max_examples=60)
def test_which_alerts_there_are_follows_from_the_set_of_stories(times: list[tuple[int, str]], rng: Any) -> None:
    """A critical alert for each topic and day that has a critical story, and no other, whatever comes first."""
    stories = [story_at(at, topic, n) for n, (at, topic) in enumerate(times)]
    expected = {critical_id(s.topic, s.counts_at) for s in stories}
    assert ids(CriticalAlerts().take(sorted(stories), None)) == expected
    some = sorted(rng.sample(stories, rng.randint(1, len(stories))))
    assert ids(CriticalAlerts().take(some, None)) <= expected, "what comes later takes no alert back"


def test_an_alert_is_over_after_a_day_without_a_critical_story() -> None:
    alerts = CriticalAlerts()
    changes = alerts.take([story_at(90), story_at(7_200, offset=1)], story_at(7_200).counts_at + OVER + 2 * HOUR)
    assert [c.event for c in changes] == ["pending", "firing", "resolved"]
    fired, resolved = changes[1].alert, changes[2].alert
    assert fired.fired_at == moment_of(story_at(90).counts_at) == (START + 91) * MICRO
    assert fired.started_at == story_at(90).counts_at
    assert resolved.resolved_at == story_at(7_200).counts_at + OVER
    assert resolved.resolved_at % HOUR == 0


def test_the_next_day_has_an_alert_of_its_own() -> None:
    changes = CriticalAlerts().take([story_at(86_000), story_at(86_500)], None)
    assert [c.event for c in changes] == ["pending", "firing", "resolved", "pending", "firing"]
    assert changes[2].alert.id == changes[0].alert.id != changes[4].alert.id
    assert day_of(changes[4].alert.started_at) == (START + 86_400) * MICRO


# Which stories are critical.


def words(*rules: TopicRule, tables: Sequence[CriticalRule] = (CriticalRule(),)) -> CriticalWords:
    return CriticalWords(tables, rules, Matcher(rules))


ACME = TopicRule(name="Acme", names=["Acme"], tickers=["ACME"])
HALT = TopicRule(name="Halt", names=["Halt", "Halt Security"])


def marks(
    critical: CriticalWords, title: str, *topics: str, body: str = "", bad: float = 0.9, **more: Any
) -> dict[str, str]:
    read = Read(title, body, "en", topics or ("Acme",), **more)
    return {topic: mark.word for topic, mark in critical.marks(read, lambda topic: round(bad * 10_000)).items()}


@pytest.mark.parametrize(
    ("title", "word"),
    [
        ("Acme files for bankruptcy", "bankruptcy"),
        ("ACME RECALLS 40,000 CARS", "recalls"),
        ("Acme's chief is arrested", "arrested"),
        ("Explosion at Acme plant kills three", "explosion"),
        ("Acme: data-breach hits millions", "data breach"),
        ("Depositors begin a run on the bank of Acme", "run on the bank"),
    ],
)
def test_a_built_in_word_makes_a_negative_story_critical(title: str, word: str) -> None:
    assert marks(words(ACME), title) == {"Acme": word}


@pytest.mark.parametrize(
    "title",
    [
        "Acme changes the default settings of its browser",
        "I recall that Acme was small, says its founder",
        "Acme recalled how it began",
        "Acme sees an explosion of interest",
        "Acme's fraud detection is slow",
        "Acme drops on grounds of weak demand",
        "Acme settles fraud case",
        "Acme defaulters",
        "Acme recallable bonds fall",
    ],
)
def test_a_word_in_another_sense_or_inside_another_word_does_not_count(title: str) -> None:
    assert marks(words(ACME), title) == {}


def test_a_word_never_counts_alone() -> None:
    """The encoder must call the story negative, and serious where it says how grave the story is."""
    critical = words(ACME)
    assert marks(critical, "Acme recalls cars", bad=0.69) == {}
    assert marks(critical, "Acme recalls cars", bad=0.7) == {"Acme": "recalls"}
    assert marks(critical, "Acme recalls cars", severity=179) == {}
    assert marks(critical, "Acme recalls cars", severity=180) == {"Acme": "recalls"}


def test_a_word_that_is_also_a_product_or_a_name_does_not_count_in_its_own_stories() -> None:
    critical = words(ACME, HALT)
    assert marks(critical, "Halt cuts its forecast", "Halt") == {}
    assert marks(critical, "Halt Security falls; trading suspended", "Halt") == {"Halt": "trading suspended"}
    assert marks(critical, "Acme must halt production", "Acme") == {"Acme": "halt"}, "elsewhere the word counts"
    mine = words(ACME, tables=[CriticalRule(words=("recall",), exclude=("Recall app",))])
    assert marks(mine, "Acme's Recall App loses users") == {}
    assert marks(mine, "Acme's Recall App loses users after recall of phones") == {"Acme": "recall"}


def test_a_story_is_about_what_its_title_names() -> None:
    bolt = TopicRule(name="Bolt", names=["Bolt"])
    critical = words(ACME, bolt)
    both = ("Acme", "Bolt")
    assert marks(critical, "Acme insolvent", *both, body="Bolt shares fell, too.") == {"Acme": "insolvent"}
    assert set(marks(critical, "Acme and Bolt hacked", *both)) == {"Acme", "Bolt"}
    assert set(marks(critical, "Lender insolvent", *both, body="It is Bolt's bank.")) == {"Bolt"}
    assert marks(critical, "Lender insolvent", *both, tickers=("ACME",)) == {"Acme": "insolvent"}
    assert marks(critical, "Lender insolvent", *both, body="x " * 200 + "Bolt") == {}, "named far down only"


def test_built_in_themes_are_watched_only_if_they_are_named() -> None:
    rules = [ACME, *default_rules()]
    story = "Refinery explosion kills three at oil terminal"
    assert marks(words(*rules), story, "oil") == {}
    named = words(*rules, tables=[CriticalRule(topics=("oil",))])
    assert marks(named, story, "oil") == {"oil": "explosion"}


def test_tables_are_tried_in_turn_and_bad_ones_are_refused() -> None:
    strict = CriticalRule(words=("strike",), negative=0.95, topics=("Acme",))
    critical = words(ACME, tables=[strict, CriticalRule()])
    assert marks(critical, "Acme strike after explosion", bad=0.96) == {"Acme": "strike"}
    assert marks(critical, "Acme strike after explosion", bad=0.9) == {"Acme": "explosion"}
    for wrong in ({"words": ["..."]}, {"topics": ["_all"]}, {"negative": 0.3}, {"words": ["a b"], "exclude": ["A-B"]}):
        with pytest.raises(ValueError, match=r"letter|topic|greater|never count"):
            CriticalRule.model_validate(wrong)


def test_each_built_in_word_counts_and_no_phrase_is_idle() -> None:
    """A word that a phrase excludes whole, or a phrase that overlaps no word, would be a mistake in the list."""
    found, exclude, avoid = built_in_words()
    critical = words(ACME)
    lost = [word for word in found if not marks(critical, f"Acme ... {word}")]
    assert lost == []
    assert len(avoid) == len(set(avoid))
    assert [phrase for phrase in exclude if not any(_overlap(word, phrase) for word in found)] == []
