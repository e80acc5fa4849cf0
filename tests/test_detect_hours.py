"""A look from an hour's table gives the numbers of a look from the beginning, bit for bit."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from foreshock.monitor import snapshots
from foreshock.monitor.arrays import STEPS
from foreshock.monitor.buckets import Bucket, TopicBucket
from foreshock.monitor.deciding import SNAPSHOT_VERSION, DetectionRules, State, decide, pass_time
from foreshock.monitor.detectors.share_changes import ShareChanges, weigh_fall, weigh_rise
from foreshock.monitor.detectors.share_hour import RISES, R, ShareHour, scores_at_the_end
from foreshock.monitor.detectors.volume import V
from foreshock.monitor.detectors.volume_changes import View, VolumeChanges, weigh
from foreshock.monitor.detectors.volume_hour import VolumeHour
from foreshock.monitor.detectors.windows import DAY_SCALE, LONG, NONE, NOTHING, S
from foreshock.monitor.made_feed import START
from foreshock.monitor.units import HOUR, UNIT

TOPICS, DAYS = 6, 40


@pytest.fixture(scope="module")
def state() -> State:
    """Forty days of topics of many rates and shares, three of which have had a change reported."""
    rng, state = np.random.default_rng(4), State.fresh(DetectionRules())
    for hour in range(DAYS * 24):
        rows = []
        for topic in range(TOPICS):
            many = int(rng.poisson(0.1 * 3.5**topic))
            if many:
                bad = int(rng.binomial(many, 0.1 + 0.15 * topic)) * (UNIT - 700) + 300 * many
                late = many // 3 * (hour % 5 == 0), bad // 3 * (hour % 5 == 0)
                rows.append(TopicBucket(f"t{topic}", many, many, bad, 0, many * UNIT - bad, ("a",), *late))
        decide(state, Bucket(START + hour * HOUR, tuple(rows)))
    pass_time(state, START + DAYS * 24 * HOUR)
    k = state.history.hours
    for detector in state.detectors:
        if isinstance(detector, ShareChanges):
            detector.worse.report(1, k - 40, 0.4, new=True)
            detector.better.report(2, k - 400, 0.1, new=True)
        if isinstance(detector, VolumeChanges):
            detector.alarms.report(3, k - 4, 2.5, new=True)
    return state


def _of(state: State, kind: type) -> Any:
    return next(detector for detector in state.detectors if isinstance(detector, kind))


def test_a_snapshot_of_the_version_before_is_the_same_state(state: State) -> None:
    """It had its zeros, its running totals as they are, and the windows shorter than a day."""
    ours = state.snapshot()
    arrays, meta = snapshots.read(ours, SNAPSHOT_VERSION)
    for name in [name for name in arrays if name.endswith(STEPS)]:
        arrays[name.removesuffix(STEPS)] = arrays.pop(name).cumsum(axis=0)
    noise, residual = arrays["shares.noise"], arrays["shares.residual"]
    arrays["shares.noise"] = np.concatenate([np.ones((DAY_SCALE, 2)), noise])
    arrays["shares.residual"] = np.concatenate([residual[:, :DAY_SCALE], residual], axis=1)
    arrays["shares.past_dated"] = np.ones((24, TOPICS, 2), np.int64)
    assert len(arrays["shares.noise"]) == S
    theirs = zlib.compress(save(arrays, {"foreshock": json.dumps({**meta, "version": 12})}))
    assert State.restore(theirs, state.rules).snapshot() == ours


opened = st.lists(st.tuples(st.integers(0, 80), st.floats(0, 1)), min_size=TOPICS, max_size=TOPICS)
picked = st.sets(st.integers(0, TOPICS - 1), min_size=1).map(lambda some: np.array(sorted(some), np.int64))


@given(opened, picked)
def test_a_look_at_shares_from_the_hours_table_is_one_from_the_beginning(
    state: State, opened: list[tuple[int, float]], picked: np.ndarray
) -> None:
    found, seen = _of(state, ShareChanges), state.seen()
    assert isinstance(found, ShareChanges)
    found.shares.opened[:TOPICS] = [(many * UNIT, round(many * UNIT * share)) for many, share in opened]
    view = found._as_it_is(seen, picked)
    hour = ShareHour(found.shares.capacity)
    hour.fill(seen, found.shares, found.worse, found.better, picked)
    ratio, scores, counted = hour.look(picked, found.shares.crowd(found.shares.opened[picked], seen.effect[picked]))
    levels = found.worse.reported_level[picked], found.better.reported_level[picked]
    k = seen.history.hours
    for rise, fall, made in ((None, None, scores), (*levels, counted)):
        worse, better = weigh_rise(view, rise), weigh_fall(view, fall)
        assert (worse[1][:, DAY_SCALE:] == made[:RISES].T).all()
        assert (better[1][:, LONG:] == made[RISES:R].T).all()
    assert (worse[0][DAY_SCALE:] == ratio[:RISES]).all()
    assert (better[0][LONG:] == ratio[RISES:]).all()
    # The windows that do not look say nothing, and neither does a look that would have to be shorter than any.
    assert (worse[1][:, :DAY_SCALE] == NONE).all()
    assert (worse[0][:DAY_SCALE] == NOTHING).all()
    for row, (alarms, mixed) in enumerate(((found.worse, worse[1]), (found.better, better[1]))):
        standing = counted[hour.reach[row, picked], np.arange(len(picked))]
        assert (standing == alarms.standing(picked, mixed, k)).all()


def test_scores_at_an_hours_end_from_its_table_are_those_from_the_beginning(state: State) -> None:
    found, seen, everyone = _of(state, ShareChanges), state.seen(), np.arange(TOPICS)
    assert isinstance(found, ShareChanges)
    k = seen.history.hours
    view = found._view(seen, everyone, found.shares.sums(everyone, k, k - seen.history.first_hour[everyone]))
    worse, better = scores_at_the_end(seen, found.shares, everyone)
    assert (weigh_rise(view)[1] == worse).all()
    assert (weigh_fall(view)[1] == better).all()


@given(opened, picked)
def test_a_look_at_volume_from_the_hours_table_is_one_from_the_beginning(
    state: State, opened: list[tuple[int, float]], picked: np.ndarray
) -> None:
    found, seen = _of(state, VolumeChanges), state.seen()
    assert isinstance(found, VolumeChanges)
    timed = np.array([many * UNIT for many, _ in opened], np.int64)[picked]
    usual, k = found.usual(seen.history), seen.history.hours
    events, expected = found.volume.sums_now(picked, k, timed, usual[picked])
    view = View(events, expected, found.volume.effective(picked, events, expected))
    hour = VolumeHour(found.volume.capacity)
    hour.begin(usual)
    hour.fill(seen, found.volume, found.alarms, picked)
    ratio, scores, counted = hour.look(picked, timed)
    assert (weigh(view)[1][:, :V] == scores.T).all()
    whole, mixed = weigh(view, found.alarms.reported_level[picked])
    assert (whole[:V] == ratio).all()
    assert (mixed[:, :V] == counted.T).all()
    standing = counted[hour.reach[picked], np.arange(len(picked))]
    assert (standing == found.alarms.standing(picked, mixed, k)).all()
