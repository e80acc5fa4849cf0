"""Surges: quiet companies are judged from their first day, swarms and dull days are none, and what fires ends."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.monitor.alerts import Alert, AlertChange, sentence
from foreshock.monitor.buckets import Bucket, TopicBucket
from foreshock.monitor.deciding import DetectionRules, State, decide, pass_time
from foreshock.monitor.detectors import surge
from foreshock.monitor.detectors.calibration import LEVELS
from foreshock.monitor.detectors.crises_apart import TOP
from foreshock.monitor.detectors.surge_alarms import SurgeAlarms
from foreshock.monitor.detectors.surges import DEVIATIONS, HOURS, Look, Surges, beyond_chance
from foreshock.monitor.units import ALL, DAY, HOUR, UNIT

pytestmark = pytest.mark.slow

BUCKET = 300_000_000
START = 20_003 * DAY
SURGE = "negativity_spike"
RULES = DetectionRules(false_alarms=1 / 30)
"""A budget at which a false surge in a test of five weeks would be a fault."""
DAYS = 35
CRISIS = START + 30 * DAY + 10 * HOUR

Story = tuple[int, str, str, float]
"""Time, topic, source, negative probability."""


def ordinary(seed: int = 1, days: int = DAYS, topics: int = 10, sources: int = 6) -> list[Story]:
    """Ten companies, from two stories a month to four a day, a quarter of them bad."""
    rng = np.random.default_rng(seed)
    rates = np.geomspace(1 / 15, 4, topics)
    return [
        (
            START + round(float(at) * DAY),
            f"t{topic}",
            f"s{rng.integers(sources)}",
            float(rng.beta(10, 1.5) if rng.random() < 0.25 else rng.beta(1, 12)),
        )
        for topic in range(topics)
        for at in rng.uniform(0, days, rng.poisson(rates[topic] * days))
    ]


def bad(topic: str, hours: Iterable[float], sources: Iterable[str], since: int = CRISIS) -> list[Story]:
    return [(since + round(hour * HOUR), topic, source, 0.9) for hour, source in zip(hours, sources, strict=True)]


def buckets(stories: list[Story], size: int = BUCKET) -> list[Bucket]:
    rows: dict[int, dict[str, list[Story]]] = {}
    for story in stories:
        there = rows.setdefault(story[0] - story[0] % size, {})
        for topic in (story[1], ALL):
            there.setdefault(topic, []).append(story)

    def row(topic: str, some: list[Story]) -> TopicBucket:
        negative = round(sum(s[3] for s in some) * UNIT)
        positive = (len(some) * UNIT - negative) // 3
        neutral, names = len(some) * UNIT - negative - positive, tuple(sorted({s[2] for s in some}))
        return TopicBucket(topic, len(some), len(some), negative, neutral, positive, names)

    return [
        Bucket(at, tuple(row(topic, there[topic]) for topic in sorted(there))) for at, there in sorted(rows.items())
    ]


known: list[tuple[DetectionRules, list[Bucket], State, list[AlertChange]]] = []
"""What `run` decided of the time before the crisis, which many tests share: the last two."""


def run(stories: list[Story], rules: DetectionRules = RULES) -> list[AlertChange]:
    """Decide all buckets. The same time before the crisis is decided once."""
    all_buckets = buckets(stories)
    before = [bucket for bucket in all_buckets if bucket.start < CRISIS - CRISIS % BUCKET]
    begun = next((one for one in known if one[:2] == (rules, before)), None)
    if begun is None:
        first = State.fresh(rules)
        begun = rules, before, first, [change for bucket in before for change in decide(first, bucket).changes]
        known[:] = [*known[-1:], begun]
    state, changes = deepcopy(begun[2]), list(begun[3])
    for bucket in all_buckets[len(before) :]:
        changes += decide(state, bucket).changes
    return changes + list(pass_time(state, START + (DAYS + 1) * DAY).changes)


def surges(changes: list[AlertChange], event: str = "firing") -> list[Alert]:
    return [c.alert for c in changes if c.event == event and c.alert.kind == SURGE]


def test_an_ordinary_feed_has_no_surges() -> None:
    assert surges(run(ordinary())) == []


def test_five_bad_stories_on_a_quiet_company_are_noticed_before_the_last() -> None:
    found = surges(run(ordinary() + bad("t0", (0, 0.5, 1, 2, 3), ("s0", "s1", "s2", "s3", "s4"))))
    assert [(alert.topic, alert.direction) for alert in found] == [("t0", "worse")]
    fired_at = found[0].fired_at
    assert fired_at is not None
    assert CRISIS < fired_at <= CRISIS + 3 * HOUR
    assert found[0].started_at == CRISIS - CRISIS % BUCKET


def test_a_company_that_was_never_heard_of_is_judged_by_the_pool() -> None:
    found = surges(run(ordinary() + bad("new", (0, 1, 2, 3, 4, 5), "abcdef")))
    assert [alert.topic for alert in found] == ["new"]


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_a_burst_that_is_not_bad_is_no_surge(share: float) -> None:
    burst = [(CRISIS + n * HOUR // 4, "t3", f"s{n % 6}", share) for n in range(30)]
    assert surges(run(ordinary() + burst)) == []


def test_a_swarm_of_one_source_is_no_surge() -> None:
    assert surges(run(ordinary() + bad("t3", np.arange(30) / 10, ["s1"] * 30))) == []


def test_nine_edits_by_one_source_are_no_surge() -> None:
    assert surges(run(ordinary() + bad("t0", np.arange(9) / 2, ["s1"] * 9))) == []


def test_where_the_whole_feed_has_one_source_its_repeats_count() -> None:
    stories = [(at, topic, "paper", negative) for at, topic, _, negative in ordinary()]
    found = surges(run(stories + bad("t2", np.arange(8) / 2, ["paper"] * 8)))
    assert [alert.topic for alert in found] == ["t2"]


def test_one_source_that_publishes_nearly_everything_can_still_tell_of_a_crisis() -> None:
    rng = np.random.default_rng(3)
    stories = [(at, t, "paper" if rng.random() < 0.9 else s, negative) for at, t, s, negative in ordinary()]
    found = surges(run(stories + bad("t2", np.arange(9) / 2, ["paper"] * 8 + ["s1"])))
    assert [alert.topic for alert in found] == ["t2"]


def test_a_topic_that_one_source_covers_hears_of_its_crisis_and_not_of_a_swarm_of_another() -> None:
    rules = DetectionRules(false_alarms=1 / 18)
    own = [(at, t, "trade paper" if t == "t8" else s, negative) for at, t, s, negative in ordinary()]
    found = surges(run(own + bad("t8", np.arange(12) / 4, ["trade paper"] * 12), rules))
    assert [alert.topic for alert in found] == ["t8"]
    assert surges(run(own + bad("t8", np.arange(12) / 4, ["s1"] * 12), rules)) == []


@pytest.mark.parametrize("negative", [0.3, 0.6, 0.9])
def test_a_steady_feed_of_one_story_a_day_has_no_surges(negative: float) -> None:
    steady = [(START + day * DAY + 9 * HOUR, "t0", "s1", negative) for day in range(DAYS)]
    assert surges(run(steady, DetectionRules())) == []


def test_a_surge_ends_after_a_quiet_day_and_a_second_wave_fires_again() -> None:
    first = bad("t2", np.arange(10) / 2, [f"s{n % 6}" for n in range(10)])
    second = bad("t2", np.arange(10) / 2, [f"s{n % 6}" for n in range(10)], CRISIS + 3 * DAY)
    changes = run(ordinary() + first + second)
    fired, ended = surges(changes), surges(changes, "resolved")
    assert [alert.topic for alert in fired if alert.topic != ALL] == ["t2", "t2"]
    resolved_at = ended[0].resolved_at
    assert resolved_at is not None
    assert CRISIS + DAY <= resolved_at < CRISIS + 2.5 * DAY


def test_a_crisis_that_keeps_burning_fires_once() -> None:
    burning = [
        story
        for day in range(4)
        for story in bad("t2", np.arange(12) * 2, [f"s{n % 6}" for n in range(12)], CRISIS + day * DAY)
    ]
    assert [alert.topic for alert in surges(run(ordinary() + burning)) if alert.topic != ALL] == ["t2"]


def test_on_a_day_on_which_all_is_bad_the_market_surges_and_not_each_company() -> None:
    crash = [
        (CRISIS + (7 * n + topic) * HOUR // 40, f"t{topic}", f"s{(n + topic) % 6}", 0.85)
        for topic in range(10)
        for n in range(6)
    ]
    found = {alert.topic for alert in surges(run(ordinary() + crash))}
    assert ALL in found
    assert len(found - {ALL}) <= 4


# Input that is no ordinary feed


def test_a_feed_that_starts_inside_a_crisis_stays_awake_for_the_next() -> None:
    start = bad("t8", np.arange(40) / 2, [f"s{n % 6}" for n in range(40)], START)
    found = surges(run(ordinary() + start + bad("t0", np.arange(6) / 2, "abcdef")))
    assert [alert.topic for alert in found if alert.fired_at is not None and alert.fired_at > CRISIS] == ["t0"]


def test_stories_of_a_day_with_one_time_are_judged_like_others() -> None:
    midnight = [(at - at % DAY + 12 * HOUR, topic, source, negative) for at, topic, source, negative in ordinary()]
    assert surges(run(midnight)) == []
    at_once = bad("t0", [2] * 6, "abcdef")
    assert [alert.topic for alert in surges(run(midnight + at_once))] == ["t0"]


def test_a_single_story_is_never_a_surge() -> None:
    found = surges(run(ordinary() + bad("once", (0,), ("s1",)), DetectionRules(false_alarms=10.0)))
    assert "once" not in {alert.topic for alert in found}


def test_the_backlog_of_an_outage_is_no_surge() -> None:
    # What comes up to six hours late counts where it became known: all of it in one bucket.
    gap = (CRISIS, CRISIS + 6 * HOUR)
    late = [(gap[1] if gap[0] <= at < gap[1] else at, t, s, negative) for at, t, s, negative in ordinary(topics=30)]
    assert surges(run(late)) == []


def test_a_bucket_that_is_older_than_the_last_changes_nothing() -> None:
    state = State.fresh(RULES)
    some = buckets(ordinary(days=3))
    for bucket in some:
        decide(state, bucket)
    before = state.snapshot()
    with pytest.raises(ValueError, match="a bucket at"):
        decide(state, some[-2])
    assert state.snapshot() == before


# What is remembered


def test_a_state_that_was_written_down_inside_a_crisis_goes_on_the_same() -> None:
    stories = ordinary() + bad("t2", np.arange(12), [f"s{n % 6}" for n in range(12)])
    there = buckets(stories)
    state = State.fresh(RULES)
    place = next(n for n, bucket in enumerate(there) if bucket.start > CRISIS + 4 * HOUR)
    for bucket in there[:place]:
        decide(state, bucket)
    again = State.restore(state.snapshot(), RULES)
    for bucket in there[place:]:
        assert decide(again, bucket) == decide(state, bucket)
    assert again.snapshot() == state.snapshot()


def test_a_topic_takes_less_than_eight_kilobytes() -> None:
    state = State(RULES, 16)
    rooms = [part for name, part in state.parts().items() if name in ("repeats", "surges", "surge_alarms")]
    assert len(rooms) == 3
    assert sum(getattr(room, name).nbytes for room in rooms for name in room.ARRAYS) / 16 < 8_000


# The numbers


def test_the_score_of_a_window_by_hand() -> None:
    events, negative, expected, usual, burst, known = 5.0, 4.4, 0.1, 0.25, 0.3, 3.0
    beyond, mean = (negative - events * burst) / (1 - burst), expected * usual

    def likelihood(times: float) -> float:
        # A negative binomial count of shape `known`, but for what does not depend on its mean.
        part = times * mean / (known + times * mean)
        return part**beyond * (1 - part) ** known

    ratio = sum(likelihood(k) / likelihood(1) for k in (3, 8, 25)) / 3
    found = surge.ratios(*(np.array([[v]]) for v in (events, negative, expected, usual, burst, known)))
    assert found[0, 0] == pytest.approx(math.log(ratio), abs=1e-9)


@given(
    st.floats(2, 200), st.floats(0, 1), st.floats(1e-4, 300), st.floats(0, 1), st.floats(0.1, 500), st.floats(1.01, 3)
)
def test_more_bad_news_say_more_and_more_that_are_usual_say_less(
    events: float, part: float, expected: float, usual: float, known: float, times: float
) -> None:
    """The ratio grows with the negative mass of a window, and falls with the usual number of negative events."""

    def ratio(negative: float, expected: float) -> float:
        values = (events, negative, expected, usual, usual, known)
        return float(surge.ratios(*(np.array([[v]]) for v in values))[0, 0])

    assert ratio(events * min(part * times, 1), expected) >= ratio(events * part, expected) - 1e-9
    assert ratio(events * part, expected * times) <= ratio(events * part, expected) + 1e-9


def looked(late: list[float], days: int = 20) -> Look:
    """Return the windows of a topic of so many days, with an event of each mood in `late` in the last four days."""
    surges, topic = Surges(1), np.zeros(1, np.int64)
    apart = np.zeros(1, bool)
    first = (days - 4) * 24
    for k in range(days * 24):
        if k % 24 == 0 and k:
            surges.close_day(1, k // 24 - 1)
        moods = ([0.2] if k % 12 == 0 and k < first else []) + late[k - first - 1 : k - first] * (k > first)
        for mood in moods:
            values = np.rint(np.array([[1.0, mood]]) * UNIT).astype(np.int64)
            surges.add(topic, values, np.zeros_like(values), np.ones((1, 3)), k, apart)
        surges.close_hour(1, k, 1.0)
    return surges.look(topic, topic, days * 24, 0.0, 1 / 12, 1.0, None, apart)


@given(st.lists(st.floats(0, 1), max_size=90))
@settings(max_examples=20)
def test_a_crisis_does_not_become_usual_while_it_lasts(late: list[float]) -> None:
    """What the last four days bring changes nothing of what is usual, in any window."""
    quiet, loud = looked([]), looked(late)
    assert loud.events[-1, 0] == pytest.approx(len(late))
    np.testing.assert_allclose(loud.expected, quiet.expected)
    np.testing.assert_allclose(loud.usual, quiet.usual)


@pytest.mark.parametrize("days", [5, 7, 12, 20])
def test_what_an_alert_calls_usual_is_what_its_window_was_compared_with(days: int) -> None:
    """Also of a young topic, of which a shorter past is left out."""
    view = looked([0.9] * 60, days)
    compared = view.expected[1:, 0] * view.usual[1:, 0] / HOURS[1:] * 24
    np.testing.assert_allclose(view.daily[1:, 0] / compared, view.daily[-1, 0] / compared[-1])


def test_a_feed_whose_rest_is_more_negative_than_whole_mutes_no_topic() -> None:
    """A firing topic's stories count in its own past alone, so that what is left of the feed may be below zero."""
    surges, topic = Surges(1), np.zeros(1, np.int64)
    surges.base[0] = np.array([40, 2, 2]) * UNIT
    surges.feed_base[:] = np.array([[42, 20]]) * UNIT
    view = surges.look(topic, topic, 40 * 24, 0.0, 1 / 12, 1.0, None, np.ones(1, bool))
    assert (view.usual >= 0).all()
    assert (view.usual <= 1).all()


@given(st.floats(0, 50), st.floats(1e-6, 10), st.floats(1, 3))
def test_an_excess_counts_beyond_chance_alone_and_never_more_than_whole(
    excess: float, variance: float, times: float
) -> None:
    counted, more = beyond_chance(np.array([excess, excess * times]), np.array(variance))
    assert 0 <= counted <= excess + 1e-9
    assert counted <= more + 1e-9
    if excess <= DEVIATIONS * variance**0.5:
        assert counted == 0


def test_the_sentence_counts_stories_sources_and_what_is_usual() -> None:
    alert = surges(run(ordinary() + bad("t0", (0, 0.5, 1, 2, 3), ("s0", "s1", "s2", "s3", "s4"))))[0]
    number = round(alert.observed)
    assert number >= 2
    text = sentence(alert, number, number)
    assert text.startswith(f"{number} negative stories on t0 from {number} sources in ")
    assert "usual is 1 in " in text


def calibrated(above: Iterable[int], topics: int, rate: float = 0.03) -> float:
    """Return the threshold of a desk after 60 days, of which each level has so many shadow alarms."""
    alarms = SurgeAlarms(topics)
    alarms.counts.exposure[:] = 24
    alarms.counts.alarms[0] = list(above)
    alarms.calibrate(60, rate, topics)
    return float(alarms.threshold[0])


def of_chance(slope: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.rint(90 * np.exp(-slope * LEVELS)).astype(np.int64)


@given(st.sampled_from([0.6, 0.75, 0.9]), st.sets(st.sampled_from(np.arange(2.0, TOP, 0.5).tolist()), max_size=30))
def test_crises_of_different_sizes_hardly_raise_the_threshold(slope: float, crises: set[float]) -> None:
    """A crisis in up to every second topic within 60 days, no two of a size, makes the desk no more than three units
    deafer, and no more than one unit quicker to fire."""
    calm = of_chance(slope)
    threshold = calibrated(calm, topics=60)
    assert calm[np.searchsorted(LEVELS, threshold)] <= 2 * 0.03 * 60
    assert threshold - 1.0 <= calibrated(with_crises(calm, crises), topics=60) <= threshold + 3.0


@pytest.mark.parametrize(("slope", "crises", "size"), [(0.9, 20, 5.0), (0.75, 25, 7.0)])
def test_many_crises_of_one_size_pass_for_chance(slope: float, crises: int, size: float) -> None:
    """A known limit: they are no uniform part, so the threshold rises above them, until they are 60 days old."""
    calm = of_chance(slope)
    assert calibrated(with_crises(calm, [size] * crises), topics=60) > calibrated(calm, topics=60) + 3.0


@given(st.sampled_from([0.6, 0.75, 0.9]), st.integers(0, 30))
def test_crises_of_all_sizes_raise_the_threshold_by_less_than_a_unit(slope: float, crises: int) -> None:
    """Crises whose scores are spread evenly hardly raise the threshold, however many there are."""
    calm = of_chance(slope)
    loud = with_crises(calm, np.linspace(1.0, 17.0, crises).tolist())
    assert abs(calibrated(loud, topics=60) - calibrated(calm, topics=60)) <= 0.75


@pytest.mark.parametrize("crises", [0, 15, 30])
@pytest.mark.parametrize("heavy", [0.0, 0.08])
@pytest.mark.parametrize("alarms", [25, 150])
def test_chance_spends_its_budget_whatever_crises_there_are(crises: int, heavy: float, alarms: int) -> None:
    """Chance fires about as often as granted, also where a part of its tail falls half as fast."""
    rng = np.random.default_rng(7)
    spent, slope, rate, days = [], 0.8, 0.03, 60
    for _ in range(100):
        slow = rng.random(rng.poisson(alarms)) < heavy
        scores = np.append(rng.exponential(1 / np.where(slow, slope / 2, slope)), rng.uniform(2, 17, crises))
        level = calibrated((scores[:, None] >= LEVELS).sum(axis=0), 60, rate)
        beyond = (1 - heavy) * math.exp(-slope * level) + heavy * math.exp(-slope / 2 * level)
        spent.append(alarms * beyond / (rate * days))
    assert 0.4 < np.mean(spent) < 1.35  # most where the tail is heavy


@given(st.lists(st.integers(0, 60), min_size=1, max_size=41), st.floats(0.005, 3.0), st.floats(1.01, 4.0))
def test_a_larger_budget_has_a_threshold_that_is_hardly_higher(counts: list[int], rate: float, times: float) -> None:
    """Whatever shadows fired, a budget that grants more has a level that is at most half a unit higher: its tail begins
    lower, where another slope may fit."""
    above = np.sort(np.array(counts + [0] * (len(LEVELS) - len(counts))))[::-1]
    assert calibrated(above, 60, rate * times) <= calibrated(above, 60, rate) + 0.5


def with_crises(calm: np.ndarray[tuple[int], np.dtype[np.int64]], crises: Collection[float]) -> Iterable[int]:
    return [int(n) + sum(score >= level for score in crises) for n, level in zip(calm, LEVELS, strict=True)]


def test_surges_that_a_feed_brings_by_habit_raise_the_threshold() -> None:
    """One a day in a desk of 60 topics is no crisis: the threshold is above nearly all of them."""
    habit = of_chance(0.8) + (np.linspace(8.0, 16.0, 60)[:, None] >= LEVELS).sum(axis=0)
    assert 12 < calibrated(habit, topics=60) < TOP


@given(st.lists(st.floats(0.0, 20.0), max_size=400), st.integers(1, 60), st.integers(1, 200))
def test_no_desk_is_deaf_to_the_greatest_crises(scores: list[float], days: int, topics: int) -> None:
    """Whatever fired before, there are scores above the threshold."""
    alarms = SurgeAlarms(topics)
    alarms.counts.exposure[:days] = 24
    alarms.counts.alarms[days - 1] = [sum(score >= level for score in scores) for level in LEVELS]
    alarms.calibrate(days, 0.03, topics)
    assert alarms.threshold[0] < TOP


@pytest.mark.parametrize("seed", range(10))
def test_one_day_on_which_many_topics_surge_is_no_habit(seed: int) -> None:
    """Fifteen of 60 topics surge yesterday: the next crisis is found all the same."""
    alarms, rng = SurgeAlarms(60), np.random.default_rng(seed)
    alarms.counts.exposure[:60] = 24
    for day, score in enumerate(rng.exponential(1 / 0.75, 90)):
        alarms.counts.alarms[day % 60] += score >= LEVELS
    calm = deepcopy(alarms)
    alarms.counts.alarms[59] += (np.linspace(9.0, 16.0, 15)[:, None] >= LEVELS).sum(axis=0)
    for one in (calm, alarms):
        one.calibrate(60, 0.03, 60)
    assert alarms.threshold[0] <= calm.threshold[0] + 2.0, (calm.threshold, alarms.threshold)
