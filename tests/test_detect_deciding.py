"""Decisions over simulated feeds: counts drawn with a seed, no texts, nothing of the demo."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.monitor.alerts import AlertChange
from foreshock.monitor.baseline import EVENTS, hour_class
from foreshock.monitor.buckets import Bucket, TopicBucket
from foreshock.monitor.deciding import SNAPSHOT_VERSION, Decision, DetectionRules, State, decide, pass_time
from foreshock.monitor.detectors.share_changes import ShareChanges
from foreshock.monitor.recent import LONG, SHORT
from foreshock.monitor.units import DAY, HOUR

pytestmark = pytest.mark.slow

BUCKET = 300_000_000
START = 20_003 * DAY  # Monday, 7 October 2024
RULES = DetectionRules(false_alarms=1 / 365)
"""A budget at which a false alarm in the few weeks of a test would be a fault."""
SHAPE = 0.25 + np.exp(-0.5 * ((np.arange(24) - 14) / 4.5) ** 2)
SHAPE /= SHAPE.mean()

Change = Callable[[int, int, float, float], tuple[float, float]]


def row(topic: str, events: int, negative: float, sources: tuple[str, ...] = ("a", "b")) -> TopicBucket:
    bad = round(events * negative * 10_000)
    good = (events * 10_000 - bad) // 3
    return TopicBucket(topic, events, events, bad, events * 10_000 - bad - good, good, sources)


def simulate(
    seed: int,
    days: int,
    change: Change = lambda topic, at, rate, share: (rate, share),
    *,
    topics: int = 12,
    rate: float = 12.0,
    start: int = START,
) -> list[Bucket]:
    """One bucket an hour: Poisson events with nights and weekends, beta-binomial shares, soft scores."""
    rng = np.random.default_rng(seed)
    rates, shares = rng.uniform(0.7, 1.4, topics) * rate, rng.beta(12, 28, topics)
    buckets = []
    for hour in range(days * 24):
        at = start + hour * HOUR
        usual = SHAPE[at // HOUR % 24] / 24 * (0.35 if hour_class(at // HOUR) >= 24 else 1.15)
        found = []
        for topic in range(topics):
            expected, share = change(topic, at, float(rates[topic] * usual), float(shares[topic]))
            events = int(rng.poisson(expected))
            if events:
                bad = int(rng.binomial(events, rng.beta(60 * share, 60 * (1 - share))))
                soft = (bad * 0.9 + (events - bad) * 0.08) / events
                sources = tuple(sorted({f"s{x}" for x in rng.integers(0, 8, events)}))
                found.append(row(f"t{topic:02d}", events, soft, sources))
        if found:
            buckets.append(Bucket(at + int(rng.integers(12)) * BUCKET, tuple(found)))
    return buckets


known: list[tuple[list[Bucket], list[Decision], State]] = []
"""What `run` decided under `RULES`, and copies of the state on the way: feeds of one seed begin alike."""
KNOWN_EVERY = 7 * DAY


def run(buckets: list[Bucket], rules: DetectionRules = RULES) -> tuple[State, list[AlertChange], list[Decision]]:
    """Decide all buckets. The longest known beginning of these very buckets is not decided again."""
    begun: tuple[list[Bucket], list[Decision], State] = ([], [], State.fresh(rules))
    if rules is RULES:
        alike = (one for one in known if one[0] == buckets[: len(one[0])])
        begun = max(alike, key=lambda one: len(one[0]), default=begun)
    state, decisions = deepcopy(begun[2]), list(begun[1])
    for place in range(len(decisions), len(buckets)):
        bucket = buckets[place]
        if (
            rules is RULES
            and place > len(begun[0])
            and bucket.start // KNOWN_EVERY > buckets[place - 1].start // KNOWN_EVERY
        ):
            known.append((buckets[:place], list(decisions), deepcopy(state)))
        decisions.append(decide(state, bucket))
    return state, [c for d in decisions for c in d.changes], decisions


def fired(changes: list[AlertChange]) -> list[tuple[str, str, str]]:
    return [(c.alert.topic, c.alert.kind, c.alert.direction) for c in changes if c.event == "firing"]


def of_sentiment(changes: list[AlertChange]) -> list[tuple[str, str, str]]:
    return [found for found in fired(changes) if found[1] in ("negativity_spike", "drift")]


def during(first_day: float, last_day: float, topic: int, times: float, share: float | None) -> Change:
    def change(which: int, at: int, rate: float, usual: float) -> tuple[float, float]:
        if which == topic and START + first_day * DAY <= at < START + last_day * DAY:
            return rate * times, usual if share is None else share
        return rate, usual

    return change


# What is found, and what is not


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_calm_feed_is_quiet(seed: int) -> None:
    _, changes, _ = run(simulate(seed, 42))
    assert fired(changes) == []


@pytest.mark.parametrize(("seed", "times"), [(1, 3), (2, 3), (3, 4)])
def test_a_crisis_fires_once_within_a_day_and_is_resolved(seed: int, times: float) -> None:
    """At three times the usual number, seed 3 fires after 24.3 hours, and a drift before it (0087)."""
    onset = 29.5
    _, changes, _ = run(simulate(seed, 40, during(onset, onset + 1.5, 4, times, 0.9)))
    assert of_sentiment(changes) == [("t04", "negativity_spike", "worse")]
    alert = next(c.alert for c in changes if c.event == "firing" and c.alert.kind == "negativity_spike")
    crisis = START + onset * DAY
    assert alert.fired_at is not None
    assert crisis < alert.fired_at < crisis + DAY
    assert abs(alert.started_at - crisis) <= 12 * HOUR
    assert alert.observed > alert.baseline + 0.15
    resolved = [c.alert for c in changes if c.event == "resolved" and c.alert.kind == "negativity_spike"]
    assert [a.id for a in resolved] == [alert.id]
    assert resolved[0].resolved_at is not None
    assert resolved[0].resolved_at < crisis + 6 * DAY


def test_a_busy_neutral_day_is_volume_and_no_bad_news() -> None:
    _, changes, _ = run(simulate(5, 40, during(30, 31, 4, 10, None)))
    assert fired(changes) == [("t04", "volume", "worse")]
    alert = next(c.alert for c in changes if c.event == "firing")
    assert alert.fired_at is not None
    assert START + 30 * DAY < alert.fired_at < START + 31 * DAY
    assert alert.observed > 2 * alert.baseline


def test_one_source_alone_fires_nothing_where_there_are_several() -> None:
    buckets = simulate(1, 33, during(30.4, 31.4, 4, 4, 0.95))
    lone = [
        Bucket(
            b.start,
            tuple(
                TopicBucket(t.topic, t.stories, t.events, t.negative, t.neutral, t.positive, ("s1",))
                if t.topic == "t04" and b.start >= START + 29 * DAY
                else t
                for t in b.topics
            ),
        )
        for b in buckets
    ]
    assert of_sentiment(run(buckets)[1]) == [("t04", "negativity_spike", "worse")]
    changes = run(lone)[1]
    assert fired(changes) == []
    assert all(c.alert.fired_at is None for c in changes)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_slow_decline_is_drift(seed: int) -> None:
    def decline(topic: int, at: int, rate: float, share: float) -> tuple[float, float]:
        passed = (at - START) / DAY - 22
        return rate, share + (0.75 - share) * min(max(passed, 0) / 12, 1) if topic == 4 else share

    _, changes, _ = run(simulate(seed, 50, decline))
    # From the eighth day on three days of it are enough: then it is a spike. It is told once, though it lasts.
    assert [(t, d) for t, _, d in of_sentiment(changes)] == [("t04", "worse")]
    alert = next(c.alert for c in changes if c.event == "firing")
    assert alert.fired_at is not None
    assert START + 18 * DAY <= alert.started_at <= START + 34 * DAY
    assert alert.fired_at < START + 36 * DAY


@pytest.mark.parametrize("seed", [1, 2])
def test_a_decline_over_weeks_is_drift_told_once_while_it_lasts(seed: int) -> None:
    def decline(topic: int, at: int, rate: float, share: float) -> tuple[float, float]:
        passed = (at - START) / DAY - 36
        return rate, share + 0.3 * min(max(passed, 0) / 21, 1) if topic == 4 else share

    _, changes, _ = run(simulate(seed, 70, decline))
    assert of_sentiment(changes) == [("t04", "drift", "worse")]
    alert = next(c.alert for c in changes if c.event == "firing" and c.alert.kind == "drift")
    assert alert.fired_at is not None
    assert START + 36 * DAY < alert.fired_at < START + 70 * DAY
    assert alert.observed < alert.baseline


def test_a_slow_recovery_is_drift_for_the_better() -> None:
    def recover(topic: int, at: int, rate: float, share: float) -> tuple[float, float]:
        passed = (at - START) / DAY - 32
        return rate, 0.75 + (0.1 - 0.75) * min(max(passed, 0) / 8, 1) if topic == 4 else share

    assert fired(run(simulate(3, 50, recover))[1]) == [("t04", "drift", "better")]


def test_an_outage_is_silence_until_the_next_story() -> None:
    _, changes, _ = run(simulate(2, 42, during(30, 36, 4, 0, None)))
    assert fired(changes) == [("t04", "silence", "worse")]
    alert, over = [c.alert for c in changes if c.event in ("firing", "resolved") and c.alert.fired_at]
    assert alert.fired_at is not None
    assert over.resolved_at is not None
    assert START + 30 * DAY < alert.fired_at < START + 33 * DAY
    assert alert.started_at <= START + 30 * DAY
    assert START + 36 * DAY < over.resolved_at < START + 37 * DAY


def test_weekends_without_news_are_no_silence() -> None:
    def working_days(topic: int, at: int, rate: float, share: float) -> tuple[float, float]:
        return (0.0 if topic == 4 and hour_class(at // HOUR) >= 24 else rate), share

    assert "silence" not in {kind for _, kind, _ in fired(run(simulate(2, 32, working_days))[1])}


def test_a_holiday_of_the_whole_feed_is_no_silence() -> None:
    def holiday(topic: int, at: int, rate: float, share: float) -> tuple[float, float]:
        return rate * (0.04 if START + 24 * DAY <= at < START + 28 * DAY else 1), share

    rules = replace(RULES, stall_after=7 * DAY)
    assert fired(run(simulate(2, 30, holiday, topics=8), rules)[1]) == []


# Learning


def test_a_feed_that_starts_in_a_crisis_raises_nothing_while_learning() -> None:
    _, changes, decisions = run(simulate(4, 14, lambda i, at, k, p: (k, 0.9 if at < START + 3 * DAY else p)))
    assert changes == []
    assert all(d.baselines == {} for d in decisions)
    assert all(until is not None for d in decisions for until in d.learning.values())


def test_learning_ends_two_weeks_of_running_time_after_the_first_story() -> None:
    buckets = simulate(1, 16)
    _, _, decisions = run(buckets)
    seen = [
        (b.start, d.learning["t03"], d.baselines.get("t03"))
        for b, d in zip(buckets, decisions, strict=True)
        if "t03" in d.learning
    ]
    first = seen[0][0]
    for start, until, baseline in seen:
        assert (until is None) == (baseline is not None)
        if until is not None:
            assert start < until
    ended = next(start for start, until, _ in seen if until is None)
    assert abs(ended - first - 14 * DAY) < 6 * HOUR
    assert all(abs(until - first - 14 * DAY) < 6 * HOUR for start, until, _ in seen[20:] if until is not None)


def test_a_topic_with_one_story_ever_is_learning_and_nothing_else() -> None:
    buckets = simulate(1, 22)
    lone = row("zz", 1, 1.0)
    buckets[5] = Bucket(buckets[5].start, (*buckets[5].topics, lone))
    state, changes, decisions = run(buckets)
    assert "zz" in state.history.names
    assert decisions[5].learning["zz"] is not None
    assert "zz" not in {c.alert.topic for c in changes}


# Odd feeds


@pytest.mark.parametrize("negative", [0.0, 0.3, 0.999])
def test_all_scores_equal_is_quiet(negative: float) -> None:
    buckets = [Bucket(b.start, tuple(row(t.topic, t.stories, negative) for t in b.topics)) for b in simulate(1, 29)]
    _, changes, decisions = run(buckets)
    assert [c for c in changes if c.alert.kind != "silence"] == []
    polarity = round(10_000 * ((1 - negative) / 3 - negative))
    assert set(decisions[-1].baselines.values()) <= set(range(polarity - 40, polarity + 40))


@pytest.mark.parametrize("share", [0.005, 0.995])
def test_what_is_hardly_ever_negative_or_hardly_ever_not_is_quiet(share: float) -> None:
    rng = np.random.default_rng(1)
    feed = [
        Bucket(START + hour * HOUR, tuple(row(f"t{n}", 30, rng.binomial(30, share) / 30) for n in range(4)))
        for hour in range(36 * 24)
    ]
    _, changes, _ = run(feed)
    assert of_sentiment(changes) == []


def test_counts_of_a_hundred_events_a_second_stay_counts() -> None:
    much = 400_000
    state, _, _ = run([Bucket(START + h * HOUR, (row("a", much, 0.2), row("b", 30, 0.2))) for h in range(60)])
    assert state.history.base[0, EVENTS] == pytest.approx(much * 10_000 * 35, rel=1e-6)
    assert state.history.last_day()[0, 0] == pytest.approx(much * 10_000 * 24, rel=1e-6)


def test_all_stories_in_one_second_is_one_bucket_and_quiet() -> None:
    state, changes, decisions = run([Bucket(START, (row("a", 20_000, 0.9), row("b", 1, 0.0)))])
    assert changes == []
    assert decisions[0].learning["a"] is not None
    assert pass_time(state, START + 90 * DAY).changes == ()


def test_a_gap_of_110_days_is_stepped_over_and_named() -> None:
    feed = simulate(1, 52)
    before = [b for b in feed if b.start < START + 32 * DAY]
    after = [Bucket(b.start + 112 * DAY, b.topics) for b in feed if b.start >= START + 30 * DAY]
    state, changes, decisions = run(before + after)
    assert fired(changes) == []
    gap = decisions[len(before)].stalls
    assert gap == ((before[-1].start + BUCKET, after[0].start),)
    assert all(end - begin < DAY for d in decisions[: len(before)] for begin, end in d.stalls)
    # 54 days of hours, and the three until time stood still: the 110 days are no history.
    assert state.history.hours <= 54 * 24 + 3
    assert len(decisions[len(before)].baselines) > 0


def test_a_leap_day_is_a_day() -> None:
    leap = 19_782 * DAY  # 29 February 2024
    buckets = simulate(1, 4, start=leap - DAY)
    _, _, decisions = run(buckets)
    days = [b.start // DAY for b, d in zip(buckets, decisions, strict=True) if d.snapshot is not None]
    assert days == [19_781, 19_782, 19_783, 19_784]


def test_a_bucket_of_the_past_is_an_error() -> None:
    state, _, _ = run([Bucket(START + HOUR, (row("a", 1, 0.5),))])
    with pytest.raises(ValueError, match="after one that ended"):
        decide(state, Bucket(START, (row("a", 1, 0.5),)))


def test_a_bucket_must_divide_the_hour() -> None:
    with pytest.raises(ValueError, match="divide the hour"):
        DetectionRules(bucket=7 * 60_000_000)


def test_other_bytes_are_no_snapshot() -> None:
    for wrong in (b"", b"nonsense", State.fresh(RULES).snapshot()[:-9]):
        with pytest.raises(ValueError, match="not a snapshot"):
            State.restore(wrong, RULES)


# Replay is live

EVENTFUL = DetectionRules(false_alarms=3.0)
"""A budget so large that all kinds fire often."""


@pytest.fixture(scope="module")
def eventful() -> tuple[list[Bucket], list[Decision], bytes]:
    """Everything at once: crises, an outage, a decline, nights without stories, a stall of days, a late topic."""

    def change(topic: int, at: int, rate: float, share: float) -> tuple[float, float]:
        day = (at - START) / DAY
        if 40 <= day < 43 or (topic == 5 and day < 25) or (topic == 2 and 30 <= day < 35):
            return 0.0, share
        if topic == 1 and (28.5 <= day < 30 or 47.3 <= day < 49):
            return 10 * rate, 0.95
        if topic == 0:
            return rate, share - min(max(day - 30, 0) * 0.02, 0.25)
        return rate, share

    buckets = simulate(11, 62, change, topics=10)
    state, changes, decisions = run(buckets, EVENTFUL)
    assert {k for _, k, _ in fired(changes)} == {"negativity_spike", "drift", "volume", "silence"}
    assert any(d.stalls for d in decisions)
    return buckets, decisions, state.snapshot()


def test_any_days_snapshot_and_the_buckets_since_give_the_same_state_and_changes(
    eventful: tuple[list[Bucket], list[Decision], bytes],
) -> None:
    buckets, decisions, final = eventful
    begins = [i for i, d in enumerate(decisions) if d.snapshot is not None][::6]
    # Each goes on until the next begins, with equal snapshots: so what follows is the next one's. One goes to the end.
    for begin, end in zip(begins, [*begins[1:4], len(buckets), *begins[5:], len(buckets)], strict=True):
        snapshot = decisions[begin].snapshot
        assert snapshot is not None
        state = State.restore(snapshot, EVENTFUL)
        assert state.snapshot() == snapshot
        again = [decide(state, b) for b in buckets[begin : end + 1]]
        # What fell due before the day's first bucket was decided before the snapshot was made.
        assert set(again[0].changes) <= set(decisions[begin].changes)
        assert (again[0].baselines, again[0].learning) == (decisions[begin].baselines, decisions[begin].learning)
        assert again[1:] == decisions[begin + 1 : end + 1]
        assert again[-1].snapshot is not None if end < len(buckets) else state.snapshot() == final


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_however_the_passage_is_split_and_restored_the_same_follows(
    eventful: tuple[list[Bucket], list[Decision], bytes], seed: int
) -> None:
    buckets, decisions, final = eventful
    draw = random.Random(seed)
    days = [i for i, d in enumerate(decisions) if d.snapshot is not None]
    begin = draw.choice(days)
    until = next((i for i in days if buckets[i].start > buckets[begin].start + 14 * DAY), len(buckets))
    snapshot = decisions[begin].snapshot
    assert snapshot is not None
    state = State.restore(snapshot, EVENTFUL)
    changes: list[AlertChange] = []
    previous = buckets[begin].start
    for bucket in buckets[begin:until]:
        steps = (bucket.start - previous) // BUCKET
        for step in sorted(draw.randint(0, steps) for _ in range(draw.randint(0, 3))):
            changes += pass_time(state, previous + step * BUCKET).changes
        if draw.random() < 0.01:
            state = State.restore(state.snapshot(), EVENTFUL)
        changes += decide(state, bucket).changes
        previous = bucket.start + BUCKET
    expected = [c for d in decisions[begin:until] for c in d.changes]
    assert changes == expected[len(expected) - len(changes) :]
    assert len(expected) - len(changes) <= len(decisions[begin].changes)
    if until < len(buckets):  # equal states have equal snapshots
        assert decide(state, buckets[until]).snapshot == decisions[until].snapshot
    else:
        assert state.snapshot() == final


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 4 * 12),  # buckets since the last one
            st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(0, 9), st.integers(0, 10)), max_size=4),
        ),
        max_size=60,
    ),
    st.integers(0, 10**6),
)
def test_any_small_feed_decides_alike_whatever_the_split(
    steps: list[tuple[int, list[tuple[str, int, int]]]], seed: int
) -> None:
    rules = DetectionRules(
        learning_hours=3,
        learning_events=1,
        false_alarms=1000.0,
        silence_hours=1,
    )
    draw, at = random.Random(seed), START + 20 * HOUR
    whole, split = State.fresh(rules), State.fresh(rules)
    for ahead, topics in steps:
        at += ahead * BUCKET
        rows = {t: row(t, n, bad / 10, tuple(sorted({"x", t} if n > 1 else {t})) if n else ()) for t, n, bad in topics}
        bucket = Bucket(at, tuple(rows[t] for t in sorted(rows)))
        expected = decide(whole, bucket)
        early = [
            c
            for k in range(draw.randint(0, 3))
            for c in pass_time(split, at - (3 - k) * BUCKET).changes
            if at - (3 - k) * BUCKET > at - ahead * BUCKET
        ]
        if draw.random() < 0.2:
            split = State.restore(split.snapshot(), rules)
        got = decide(split, bucket)
        assert (*early, *got.changes) == expected.changes
        assert got.baselines == expected.baselines
        assert got.snapshot == expected.snapshot
    assert whole.snapshot() == split.snapshot()


def test_changes_of_a_moment_are_in_the_order_of_topic_kind_and_direction(
    eventful: tuple[list[Bucket], list[Decision], bytes],
) -> None:
    _, decisions, _ = eventful
    for d in decisions:
        moments: dict[tuple[int, bool], list[tuple[bytes, str, str]]] = {}
        for c in d.changes:
            at = c.alert.resolved_at or c.alert.fired_at or c.alert.pending_at
            moments.setdefault((at, c.alert.kind == "drift"), []).append(
                (c.alert.topic.encode(), c.alert.kind, c.alert.direction)
            )
        assert all(keys == sorted(keys) for keys in moments.values())


def test_events_known_only_to_the_day_enter_no_window_shorter_than_a_day() -> None:
    state = State.fresh(RULES)
    timed = row("t", 4, 0.5)
    dated = replace(timed, day_events=3, day_negative=15_000)
    decide(state, Bucket(START, (dated,)))
    values = state.recent.rows[-1].values[0]
    assert values[LONG].tolist()[:2] == [4 * 10_000, timed.negative]
    assert values[SHORT].tolist()[:2] == [1 * 10_000, timed.negative - 15_000]
    pass_time(state, START + BUCKET)
    again = State.restore(state.snapshot(), RULES)
    assert again.recent.rows[-1].values.tolist() == [values.tolist()]
    assert again.snapshot() == state.snapshot()


# The budget


def test_three_topics_are_enough_to_be_quiet_and_to_hear_of_a_crisis() -> None:
    assert fired(run(simulate(3, 34, topics=3))[1]) == []
    changes = run(simulate(3, 34, during(30, 31.5, 1, 3, 0.95), topics=3))[1]
    assert of_sentiment(changes) == [("t01", "negativity_spike", "worse")]


def test_a_feed_that_started_in_a_crisis_is_told_no_recovery() -> None:
    feed = simulate(4, 36, lambda i, at, k, p: (k, 0.9 if at < START + 5 * DAY else p), topics=8)
    assert "better" not in {d for _, _, d in fired(run(feed, DetectionRules(better=0.3))[1])}


def test_daylight_saving_moves_the_day_by_an_hour_and_raises_nothing() -> None:
    def local(topic: int, at: int, rate: float, share: float) -> tuple[float, float]:
        hour = at // HOUR + (1 if at >= START + 27 * DAY else 0)
        return rate, share + 0.15 * np.sin(2 * np.pi * (hour % 24) / 24)

    assert fired(run(simulate(6, 36, local, topics=8))[1]) == []


def test_a_topic_of_more_weight_rings_sooner_and_one_without_budget_never() -> None:
    buckets = simulate(1, 32, during(29.5, 31, 4, 3, 0.75))
    heavy, light = (
        next(
            c.alert.fired_at or 0
            for c in run(buckets, replace(RULES, weights=(("t04", w),)))[1]
            if c.alert.kind == "volume" and c.alert.fired_at
        )
        for w in (50.0, 1.0)
    )
    assert heavy < light
    none = replace(RULES, bad_news=0.0, volume=0.0)
    assert of_sentiment(run(buckets, none)[1]) == []


def test_another_budget_holds_from_the_next_bucket() -> None:
    buckets = simulate(1, 20, topics=4)
    state, _, _ = run(buckets)
    machines = [detector for detector in state.detectors if isinstance(detector, ShareChanges)]
    alarms = machines[0].worse, machines[0].better
    before = [float(a.threshold[0]) for a in alarms]
    state.adopt(replace(RULES, false_alarms=5.0))
    assert all(a.threshold[0] < level for a, level in zip(alarms, before, strict=True))
    state.adopt(RULES)
    assert [float(a.threshold[0]) for a in alarms] == before


def test_a_kind_is_fixed_when_pending() -> None:
    _, changes, _ = run(simulate(1, 50, during(29.5, 44, 4, 1, 0.5)), EVENTFUL)
    kinds: dict[str, set[str]] = {}
    for c in changes:
        kinds.setdefault(c.alert.id, set()).add(c.alert.kind)
    assert all(len(found) == 1 for found in kinds.values())
    assert all(c.alert.id in {p.alert.id for p in changes if p.event == "pending"} for c in changes)


def test_a_busy_topic_rings_on_a_single_bucket() -> None:
    quiet = [
        Bucket(START + h * HOUR, tuple(row(f"t{i}", 12, 0.2 + 0.01 * (h % 5)) for i in range(6)))
        for h in range(24 * 22)
    ]
    state, changes, _ = run(quiet)
    assert of_sentiment(changes) == []
    at = quiet[-1].start + HOUR
    found = decide(state, Bucket(at, (row("t3", 40, 0.95),)))
    assert fired(list(found.changes))[0] == ("t3", "negativity_spike", "worse")


def test_a_snapshot_of_another_version_is_refused() -> None:
    raw, later = zlib.decompress(State.fresh(RULES).snapshot()), SNAPSHOT_VERSION + 1  # of as many digits
    other = raw.replace(f'\\"version\\":{SNAPSHOT_VERSION}'.encode(), f'\\"version\\":{later}'.encode(), 1)
    assert other != raw
    with pytest.raises(ValueError, match=f"of version {later}, this program reads {SNAPSHOT_VERSION}"):
        State.restore(zlib.compress(other), RULES)
