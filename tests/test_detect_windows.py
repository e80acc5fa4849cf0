"""The windows' sums against counting by hand, the noise that is measured, and the level that is read off shadows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.monitor.baseline import EVENTS, History
from foreshock.monitor.deciding import DetectionRules, State
from foreshock.monitor.detectors import share_changes, volume_changes
from foreshock.monitor.detectors.alarms import Alarms
from foreshock.monitor.detectors.calibration import HISTORY, LEVELS, SEEN, K, ShadowCounts, read_off, record
from foreshock.monitor.detectors.noise import dispersion, fit_noise, quantiles
from foreshock.monitor.detectors.share_changes import ShareChanges
from foreshock.monitor.detectors.shares import (
    CORRELATION_AT_FIRST,
    LEAST_CORRELATION,
    WINDOWS,
    Shares,
    Sums,
    correlation,
    ratios,
)
from foreshock.monitor.detectors.volume import KEPT, V, Volume, crowded
from foreshock.monitor.detectors.volume_changes import VolumeChanges
from foreshock.monitor.detectors.windows import BASELINE, DAY_SCALE, LENGTHS, SCALES, S, in_use, mixtures
from foreshock.monitor.kinds import DRIFT, WORSE
from foreshock.monitor.units import UNIT

pytestmark = pytest.mark.slow


def test_each_window_and_its_baseline_hold_exactly_their_hours() -> None:
    rng = np.random.default_rng(1)
    hours, topics = 3_000, 3
    counts = rng.poisson(0.4, (hours, topics)) * UNIT
    negative = np.rint(counts * rng.random((hours, topics))).astype(np.int64)
    shares = Shares(4)
    weighed = np.array([shares.crowd(np.column_stack([c, n]), 0.0) for c, n in zip(counts, negative, strict=True)])
    for k in range(hours):
        values = np.column_stack([counts[k], negative[k], np.zeros(topics, np.int64)])
        shares.close_hour(
            k, 400_000 + k, values, np.zeros(topics), np.ones(topics, bool), np.zeros((topics, 2), np.int64)
        )
        if k not in (0, 30, 200, 1500, 2_999):
            continue
        sums = shares.sums(slice(0, topics), k + 1, np.full(topics, k + 1))
        for w, length in enumerate(SCALES[DAY_SCALE:].tolist()):
            first = max(k + 1 - length, 0)
            # Beyond a week windows begin with a day, and so do all baselines.
            first = -(-first // 24) * 24 if length > 168 else first
            before = -(-max(first - BASELINE, 0) // 24) * 24
            window, base = weighed[first : k + 1].sum(axis=0) / UNIT, weighed[before:first].sum(axis=0) / UNIT
            assert sums.events[w].tolist() == window[:, 0].tolist(), (k, length)
            assert sums.negative[w].tolist() == window[:, 1].tolist()
            assert sums.before[w].tolist() == base[:, 0].tolist()
            assert sums.negative_before[w].tolist() == base[:, 1].tolist()


def test_a_topics_first_week_is_neither_window_nor_baseline() -> None:
    shares, one = Shares(2), np.array([[5 * UNIT, UNIT, 0], [5 * UNIT, UNIT, 0]])
    for k in range(10):
        shares.close_hour(k, k, one, np.zeros(2), np.array([True, False]), np.zeros((2, 2), np.int64))
    sums = shares.sums(slice(0, 2), 10, np.array([10, 10]))
    assert sums.events[0, 0] > 0
    assert not sums.events[:, 1].any()


@pytest.mark.parametrize("rho", [CORRELATION_AT_FIRST, 0.3])
def test_the_events_of_an_hour_crowd_by_what_they_have_in_common(rho: float) -> None:
    shares = Shares(4)
    shares.correlation[0] = rho
    weighed = shares.crowd(np.array([[UNIT, UNIT], [11 * UNIT, 0], [10_000 * UNIT, 0]]), 0.0)[:, 0] / UNIT
    assert weighed.tolist() == pytest.approx([1, 11 / (1 + rho * 10), 1 / rho], rel=0.01)


@pytest.mark.parametrize(("rho", "wandering"), [(0.0, 0.5), (0.05, 0.0), (0.3, 0.5)])
def test_what_the_events_of_an_hour_have_in_common_is_measured_and_weeks_that_differ_are_not(
    rho: float, wandering: float
) -> None:
    rng = np.random.default_rng(3)
    hours, topics = 60 * 24, 40
    shares = Shares(64)
    events = rng.poisson(rng.uniform(0.2, 4, topics), (hours, topics))
    week = np.repeat(rng.normal(0, wandering, (hours // 168 + 1, topics)), 168, axis=0)[:hours]
    share = 1 / (1 + np.exp(1 - week))
    mood = rng.beta(share * (1 / rho - 1), (1 - share) * (1 / rho - 1)) if rho else share
    soft = 0.9 * (bad := rng.binomial(events, mood)) + 0.06 * (events - bad)
    events[:, -1], soft[:, -1] = events[:, :-1].sum(axis=1), soft[:, :-1].sum(axis=1)  # all stories: not pooled
    everyone = np.arange(topics)
    for k in range(hours):
        values = np.column_stack([events[k] * UNIT, np.rint(soft[k] * UNIT), np.zeros(topics)]).astype(np.int64)
        shares.close_hour(
            k, 400_000 + k, values, np.zeros(topics), np.ones(topics, bool), np.zeros((topics, 2), np.int64)
        )
        shares.compare_hour(k + 1, everyone < topics - 1)
        if k % 24 == 23:
            shares.estimate(topics, k + 1)
    assert shares.correlation[0] == pytest.approx(max(rho, LEAST_CORRELATION), abs=0.02 + 0.1 * rho)


def test_of_few_crowded_hours_little_is_believed() -> None:
    deviations = np.zeros((8, 3))
    assert correlation(deviations) == CORRELATION_AT_FIRST
    deviations[0], deviations[1] = (
        (500, 500, 500),
        (40, 20, 40),
    )  # hours of two events vary as those of one: all in common
    assert CORRELATION_AT_FIRST < correlation(deviations) < 0.25
    deviations[1] *= 1_000
    assert correlation(deviations) == 0.5
    deviations[:, 2] = 0
    assert correlation(deviations) == CORRELATION_AT_FIRST, "scores that are all alike say nothing"


def test_the_busiest_topic_there_can_be_is_counted_right_for_as_long_as_it_is_remembered() -> None:
    shares = Shares(2)
    shares.correlation[0] = LEAST_CORRELATION
    values = np.array([[10**9 * UNIT, 5 * 10**8 * UNIT, 0]])
    for k in range(2 * BASELINE + 200):
        shares.close_hour(k, 400_000 + k, values, np.zeros(1), np.ones(1, bool), np.zeros((1, 2), np.int64))
    sums = shares.sums(slice(0, 1), k + 1, np.full(1, k + 1))
    longest = float(sums.events[-1, 0])
    assert longest == pytest.approx(SCALES[-1] / LEAST_CORRELATION, rel=0.02)
    assert sums.before[-1, 0] == pytest.approx(BASELINE / LEAST_CORRELATION, rel=0.02)
    assert sums.negative[-1, 0] == pytest.approx(longest / 2)


def test_the_events_of_an_hour_crowd_where_many_more_come_than_are_usual() -> None:
    few, many = crowded(np.array([3.0, 100.0]), np.array([1.0, 1.0])).tolist()
    assert few == 3.0
    assert 4 < many < 20


def test_volume_expects_what_it_was_told() -> None:
    volume = Volume(2)
    for k in range(KEPT + 30):
        volume.close_hour(k, np.array([UNIT, 0]), np.array([0.5, 0.25]))
    events, expected = volume.sums(slice(0, 2), KEPT + 30)
    assert events[5].tolist() == [24.0, 0.0]
    assert expected[5].tolist() == [12.0, 6.0]


def test_what_is_expected_of_a_topic_does_not_grow_with_what_it_brings_itself() -> None:
    h, volume = History(), Volume(16)
    two = np.array([h.topic("half of the feed"), h.topic("the other half")])

    def hour(events: list[int]) -> list[float]:
        h.hour += 1
        expected = volume.usual(h)
        h.add(two, np.array([[n * UNIT, 0, 0] for n in events]), np.zeros((2, 2), np.int64), h.hour)
        volume.close_hour(h.hours, h.hour_now[:2, EVENTS], expected)
        h.close_hour()
        return [float(e) for e in expected]

    for _ in range(20 * 24):
        usual = hour([5, 5])
    assert usual == pytest.approx([5, 5], rel=0.05)
    for _ in range(24):
        found = hour([50, 5])
    assert found[0] == pytest.approx(5, rel=0.05)
    assert found[1] == 4 * usual[1], "the rest of the feed is as busy as counts"


def test_a_likelihood_ratio_has_mean_one_where_nothing_changed() -> None:
    rng = np.random.default_rng(2)
    n, p = 6, 0.3
    seen = rng.binomial(n, p, 400_000) / n
    found = ratios(np.full((1, len(seen)), float(n)), np.full((1, len(seen)), p), seen[None])
    assert found.mean() == pytest.approx(1.0, abs=0.03)


def test_a_mixture_is_the_mean_over_windows_up_to_each_weighed_by_their_length() -> None:
    ratio = np.full((S, 1), 0.1)
    ratio[3] = 0.5
    mixed = np.exp(mixtures(ratio, LENGTHS))[:, 0]
    assert mixed[2] == pytest.approx(0.1 * LENGTHS[:3].sum() / S)
    assert mixed[-1] == pytest.approx((0.1 * LENGTHS.sum() + 0.4 * LENGTHS[3]) / S)


@pytest.mark.parametrize("length", [0.5, 4.0])
def test_no_window_reaches_a_level_more_often_than_a_true_likelihood_ratio_may(length: float) -> None:
    rng = np.random.default_rng(5)
    days = 40_000  # a ratio of mean one, each time that the window has gone by
    ratio = np.exp(rng.normal(0, 1.2, (1, round(days / length))) - 0.72)
    score = mixtures(ratio, np.array([length]))
    for level in (1.0, 2.0, 3.0):
        assert 0 < (score >= level).sum() / days < math.exp(-level)


def test_a_score_that_no_model_was_checked_for_counts_by_its_logarithm() -> None:
    score = mixtures(np.exp(np.array([[4.0, 5.0, 50.0]])), np.ones(1))[0]
    assert score.tolist() == pytest.approx([4.0, 5.0, 5.0 + 5.0 * np.log(10)])


@pytest.mark.parametrize("tails", [False, True])
def test_the_noise_that_was_put_in_is_measured_past_a_tenth_of_crises(tails: bool) -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(0.02, 0.25, (42, 300))
    r = rng.normal(0, np.sqrt(0.8 * x + 0.01))
    if not tails:
        r[rng.random(r.shape) < 0.05] = 2.0
    found = fit_noise(np.stack([r, x], axis=-1).astype(np.float16), tails=tails)
    assert found is not None
    c, t = found
    assert c == pytest.approx(0.8, rel=0.25)
    assert t == pytest.approx(0.01, abs=0.012)
    assert fit_noise(np.full((42, 1, 2), np.nan, np.float16)) is None


@given(
    st.lists(st.integers(-5, 5) | st.floats(-1e3, 1e3, width=16), min_size=1, max_size=300),
    st.lists(st.floats(0, 1) | st.sampled_from((0.16, 0.84, 0.99)), max_size=4),
)
def test_quantiles_are_those_of_numpy_to_the_bit(values: list[float], parts: list[float]) -> None:
    array = np.array(values, np.float64)
    assert quantiles(array, *parts) == np.quantile(array, parts).tolist()


def test_a_topic_of_twice_the_noise_is_known_as_such() -> None:
    rng = np.random.default_rng(4)
    sd = np.where(np.arange(40) < 8, 2.0, 1.0)
    x = np.full((42, 40), 0.1)
    r = rng.normal(0, 1, (42, 40)) * sd * np.sqrt(x)
    found = dispersion(np.stack([r, x], axis=-1).astype(np.float16), np.array([1.0, 0.0]), 42 * 24)
    assert np.median(found[:8]) > 2 * np.median(found[8:])
    assert dispersion(np.full((42, 3, 2), np.nan, np.float16), np.array([1.0, 0.0]), 0).tolist() == [1, 1, 1]


def exponential(slope: float, days: float, per_day: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Shadow alarms at each level of a feed that rings `per_day` times a topic-day at level 0."""
    return np.rint(per_day * days * np.exp(-slope * LEVELS)).astype(np.int64)


@pytest.mark.parametrize("slope", [0.6, 1.0, 1.6])
def test_the_level_is_read_off_where_the_alarms_come_to_the_budget(slope: float) -> None:
    days, rate = 3_000.0, 1 / 300
    level, found, _ = read_off(exponential(slope, days, 0.5), days, rate, errors=0.0)
    assert found == pytest.approx(slope, rel=0.2)
    assert level == pytest.approx(math.log(0.5 / rate) / slope, abs=0.5)


@given(st.integers(30, 240))
def test_a_young_feed_has_the_threshold_of_one_in_which_all_of_its_windows_looked_on_all_days(days: int) -> None:
    """Each window fires as often as another. So days with fewer windows tell as much as those with all of today's."""
    past = np.arange(max(days - HISTORY, 0), days)
    today = int(in_use(np.array([days]), DAY_SCALE)[0])

    def threshold(windows: np.ndarray[tuple[int], np.dtype[np.int64]], first: int | None) -> float:
        alarms = Alarms(1, DRIFT, WORSE, leave_out_rare=True, errors=0.0, first=first)
        alarms.counts.exposure[past % HISTORY] = 600 * 24
        alarms.counts.alarms[past % HISTORY] = np.rint(windows[:, None] * 8 * np.exp(-0.9 * LEVELS))
        alarms.calibrate(days, 0.49 / 7 / 60)
        return float(alarms.threshold[0])

    looked = in_use(past, DAY_SCALE)
    assert threshold(looked, DAY_SCALE) == pytest.approx(threshold(np.full(len(past), today), None), abs=0.25)
    assert threshold(looked, DAY_SCALE) >= threshold(looked, None)


def test_one_crisis_among_few_shadows_is_no_tail() -> None:
    assert read_off(np.ones(K, np.int64), 60.0, 1 / 300, errors=1.0)[0] == -math.inf
    assert read_off(np.zeros(K, np.int64), 60.0, 1 / 300, errors=1.0)[0] == -math.inf


def test_changes_far_beyond_the_tail_do_not_raise_the_level() -> None:
    days, rate = 3_000.0, 1 / 300
    calm = exponential(1.0, days, 0.5)
    level, _, _ = read_off(calm, days, rate, errors=1.0)
    assert read_off(calm + 5, days, rate, errors=1.0)[0] == pytest.approx(level, abs=0.3)


@pytest.mark.parametrize("topics", [10, 120])
def test_alarms_far_beyond_the_tail_are_changes_where_they_are_rare_and_a_habit_where_not(topics: int) -> None:
    days, rate = 60.0 * topics, 1 / 900
    calm = exponential(1.2, days, 0.05)
    far = np.linspace(12.0, 18.0, 1000)
    rare, habit = (
        calm + np.rint(count * (far[:, None] >= LEVELS).mean(axis=0)).astype(np.int64)
        for count in (8, round(days / 20))  # a burst in each topic every 20 days
    )
    assert read_off(rare, days, rate, errors=1.0)[0] < 9
    level = read_off(habit, days, rate, errors=1.0)[0]
    assert level > 16
    assert habit[np.searchsorted(LEVELS, min(level, LEVELS[-1]))] <= max(3 * rate * days, 3)


def test_where_nothing_is_left_out_rare_peaks_raise_the_level_too() -> None:
    days, rate = 3_000.0, 1 / 900
    calm = exponential(1.0, days, 0.05)
    rare = calm + np.where(LEVELS <= 15, 2, 0)
    without = read_off(rare, days, rate, errors=1.0)[0]
    assert read_off(rare, days, rate, errors=1.0, leave_out_rare=False)[0] > without + 0.5
    assert read_off(calm, days, rate, errors=1.0, leave_out_rare=False)[0] == pytest.approx(without, abs=0.5)


def test_a_record_is_louder_than_all_before_and_none_before_enough_was_seen() -> None:
    seen = np.where(LEVELS <= 6.5, 3, 0)
    assert record(seen, SEEN - 1) == math.inf
    assert record(seen * 4, SEEN - 1) == record(seen, SEEN) == 7.0
    assert record(np.zeros(K, np.int64), SEEN) == -math.inf


@pytest.mark.parametrize("slope", [0.5, 1.0, 3.0])
def test_the_nth_peak_by_chance_is_the_record_once_in_n_times(slope: float) -> None:
    # Peaks beyond the ladder's end are all records; of these slopes hardly one is.
    peaks = np.random.default_rng(7).exponential(1 / slope, (2_000, 30))
    rang = 0
    for row in peaks:
        counts = np.zeros(K, np.int64)
        for n, peak in enumerate(row):
            rang += n >= 10 and peak >= record(counts, SEEN)
            counts += peak >= LEVELS
    expected = sum(1 / (n + 1) for n in range(10, 30))
    # The ladder's steps make it rarer, the more so the steeper the tail; never more frequent.
    assert 0.1 * expected < rang / len(peaks) < expected + 0.05


def test_volume_must_be_the_loudest_so_far_until_enough_is_known() -> None:
    counts = ShadowCounts()
    peaks = np.where(LEVELS <= 12, 1, 0)  # of a single day, among none

    def close(days: int, topic_days: int) -> None:
        counts.now[:] = peaks * (days == 0)
        counts.exposure_now[:] = topic_days * 24
        counts.close_day(days)

    close(0, 50)
    assert counts.threshold(1, 1 / 900, leave_out_rare=False)[0] == math.inf
    close(1, 60)
    assert counts.threshold(2, 1 / 900, leave_out_rare=False)[0] == 12.5
    assert counts.threshold(2, 1 / 900)[0] < 8
    close(2, 2_000)
    assert counts.threshold(3, 1 / 900, leave_out_rare=False)[0] < 8


def test_a_threshold_begins_at_the_bound_and_gives_way_as_shadows_are_counted() -> None:
    counts = ShadowCounts()
    assert counts.threshold(0, 1 / 300)[0] == pytest.approx(math.log(300))
    assert counts.threshold(0, 1 / 300, looks=1 / 7)[0] == pytest.approx(math.log(300 / 7))
    assert counts.threshold(0, 0.0)[0] == math.inf
    counts.exposure_now[:] = 2_000 * 24
    counts.close_day(0)
    assert counts.threshold(1, 1 / 300)[0] == pytest.approx(math.log(300) - 3.2)


@pytest.mark.parametrize(
    ("days", "evidence", "over"),
    [(1, 2.9, False), (1, 3.1, True), (7, 0.9, False), (7, 1.2, True), (28, 0.0, False), (28, 0.2, True)],
)
def test_a_change_is_over_by_evidence_of_e_cubed_over_the_days_of_its_window(
    days: int, evidence: float, over: bool
) -> None:
    found, k, window = ShareChanges(1), 2_000, SCALES[DAY_SCALE:].tolist().index(24 * days)
    found.worse.report(0, k - 29 * 24, 0.4, new=True)
    usual = share = np.full((WINDOWS, 1), 0.3)  # back at the old level: each event says so by log-likelihood `says`
    says = 0.3 * math.log(0.3 / 0.4) + 0.7 * math.log(0.7 / 0.6)
    worth = np.zeros((WINDOWS, 1))
    worth[window] = evidence / says
    sums = Sums(np.ones((WINDOWS, 1)), share, usual, usual, np.ones((WINDOWS, 1), bool))
    view = share_changes.View(sums, usual, share, worth)
    assert found.is_over(view, found.worse, 0, 0, k) is over


@pytest.mark.parametrize(("seen_now", "over"), [(4.0, True), (18.0, False), (7.0, False)])
def test_a_loud_topic_is_over_when_two_days_speak_for_the_usual_number(seen_now: float, over: bool) -> None:
    found, k, two_days = VolumeChanges(1), 2_000, SCALES.tolist().index(48)
    found.alarms.report(0, k - 2 * 24, 3.0, new=True)
    events, expected = np.zeros((V, 1)), np.full((V, 1), 1e-9)
    events[two_days], expected[two_days] = seen_now, 6.0
    assert found.is_over(volume_changes.View(events, expected, expected), 0, 0, k) is over


def test_a_recovery_is_over_when_the_old_level_is_back() -> None:
    found, k, week = ShareChanges(1), 2_000, SCALES[DAY_SCALE:].tolist().index(168)
    found.better.report(0, k - 8 * 24, 0.2, new=True)
    usual, worth = np.full((WINDOWS, 1), 0.3), np.zeros((WINDOWS, 1))
    sums = Sums(np.ones((WINDOWS, 1)), usual, usual, usual, np.ones((WINDOWS, 1), bool))
    worth[week] = 60
    for share, over in ((0.3, True), (0.2, False)):
        view = share_changes.View(sums, usual, np.full((WINDOWS, 1), share), worth)
        assert found.is_over(view, found.better, 0, 0, k) is over


def test_a_topic_takes_26_kilobytes_at_most() -> None:
    state = State.fresh(DetectionRules())
    for number in range(500):
        state.history.topic(f"t{number}")
    state.grow()
    arrays = [array for room in state.parts().values() for array in room.dump(500).values()]
    assert sum(array.nbytes for array in arrays) / 500 < 26_000
