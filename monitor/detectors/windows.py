"""The windows that end now, and how strongly each speaks for a change."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from foreshock.monitor.arrays import FloatArray, IntArray
from foreshock.monitor.baseline import EVENTS
from foreshock.monitor.detectors import Seen, shares, volume
from foreshock.monitor.detectors.alarms import BETTER, MORE, WORSE, C
from foreshock.monitor.detectors.shares import (
    DAY_SCALE,
    LENGTHS,
    LONG,
    NONE,
    NOTHING,
    Sums,
    expected,
    mixtures,
    seen_share,
)
from foreshock.monitor.detectors.volume import V


class View(NamedTuple):
    """What the windows of some topics hold, and what it is worth. Arrays are (window, topic)."""

    topics: IntArray | slice
    sums: Sums
    usual: FloatArray
    share: FloatArray
    worth: FloatArray
    events: FloatArray
    expected: FloatArray
    volume_worth: FloatArray


def view(seen: Seen, topics: IntArray | slice, sums: Sums, counts: tuple[FloatArray, FloatArray]) -> View:
    weight, share = seen.pool.weight, seen.pool.share
    worth = seen.shares.effective(topics, sums, weight)
    volume_worth = seen.volume.effective(topics, *counts)
    usual = expected(sums, share, weight)
    return View(topics, sums, usual, seen_share(sums, usual), worth, *counts, volume_worth)


def view_now(seen: Seen, topics: IntArray, timed: IntArray) -> View:
    """Of topics with news, at the end of a bucket: (topics, 2) what has a time of day in it, as it weighs.

    A swarm of one source weighs little in shares, too; in volume it counts.
    """
    h, k, effect = seen.history, seen.history.hours, seen.effect[topics]
    whole, dated = seen.surges.now[topics], seen.surges.now_dated[topics]
    all_of_it = seen.shares.crowd(whole, effect)
    opened = np.stack([all_of_it, all_of_it - seen.shares.crowd(whole - dated, effect)], axis=1)
    sums = seen.shares.sums_now(topics, k, k - h.first_hour[topics], opened, seen.shares.crowd(timed, effect))
    events = h.hour_now[topics, EVENTS] - seen.volume.open_dated[topics]
    counts = seen.volume.sums_now(topics, k, events, seen.events[topics])
    return view(seen, topics, sums, counts)


def view_of_hour(seen: Seen) -> View:
    """Of all topics, at the end of an hour that was just closed."""
    h, everyone = seen.history, slice(0, len(seen.history.names))
    sums = seen.shares.sums(everyone, h.hours, h.hours - h.first_hour[everyone])
    return view(seen, everyone, sums, seen.volume.sums(everyone, h.hours))


def weigh(v: View, told: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """(channel, window, topic) likelihood ratios, (channel, topic, window) logs of mixtures of windows up to each.

    `told`: (channel, topic) levels that were told already and must be passed; nan for none.
    """
    base, fewer, usual = v.usual, v.usual[LONG:], v.expected
    if told is not None:
        base, fewer = np.fmax(base, told[WORSE]), np.fmin(fewer, told[BETTER])
        usual = usual * np.fmax(told[MORE], 1.0)
    out = np.full((C, *v.usual.shape), NOTHING)
    mixed = np.empty_like(out)
    # What is shorter than a day is left to surges: each window that looks spends a part of the budget.
    day = slice(DAY_SCALE, None)
    out[WORSE, day] = shares.ratios(v.worth[day], base[day], v.share[day])
    out[BETTER, LONG:] = shares.ratios(v.worth[LONG:], 1 - fewer, 1 - v.share[LONG:])
    out[MORE, :V] = volume.ratios(v.volume_worth, v.events, usual)
    mixed[WORSE, :DAY_SCALE], mixed[WORSE, day] = NONE, mixtures(out[WORSE, day], LENGTHS[day])
    mixed[BETTER, :LONG], mixed[BETTER, LONG:] = NONE, mixtures(out[BETTER, LONG:], LENGTHS[LONG:])
    mixed[MORE, :V] = mixtures(out[MORE, :V], LENGTHS[:V])
    mixed[MORE, V:] = mixed[MORE, V - 1]
    return out, np.ascontiguousarray(mixed.swapaxes(1, 2))
