"""The windows that end now, and how strongly each speaks for a change."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from foreshock.monitor.arrays import FloatArray, IntArray
from foreshock.monitor.baseline import EVENTS
from foreshock.monitor.detectors import Seen, shares, volume
from foreshock.monitor.detectors.alarms import BETTER, MORE, WORSE, C
from foreshock.monitor.detectors.shares import (
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


def view_now(seen: Seen, topics: IntArray, bucket: IntArray, dated: IntArray) -> View:
    """Of topics with news, at the end of a bucket: (topics, 3) sums, (topics, 2) of those known only to the day."""
    h, k = seen.history, seen.history.hours
    whole, open_dated, effect = h.hour_now[topics], seen.shares.open_dated[topics], seen.effect[topics]
    all_of_it = seen.shares.crowd(whole, effect)
    opened = np.stack([all_of_it, all_of_it - seen.shares.crowd(whole[:, :2] - open_dated, effect)], axis=1)
    timed = bucket[:, :2] - dated
    sums = seen.shares.sums_now(topics, k, k - h.first_hour[topics], opened, seen.shares.crowd(timed, effect))
    counts = seen.volume.sums_now(topics, k, whole[:, EVENTS] - open_dated[:, 0], seen.events[topics])
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
    out[WORSE] = shares.ratios(v.worth, base, v.share)
    out[BETTER, LONG:] = shares.ratios(v.worth[LONG:], 1 - fewer, 1 - v.share[LONG:])
    out[MORE, :V] = volume.ratios(v.volume_worth, v.events, usual)
    mixed[WORSE] = mixtures(out[WORSE], LENGTHS)
    mixed[BETTER, :LONG], mixed[BETTER, LONG:] = NONE, mixtures(out[BETTER, LONG:], LENGTHS[LONG:])
    mixed[MORE, :V] = mixtures(out[MORE, :V], LENGTHS[:V])
    mixed[MORE, V:] = mixed[MORE, V - 1]
    return out, np.ascontiguousarray(mixed.swapaxes(1, 2))
