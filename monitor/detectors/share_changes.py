"""Bad news and recoveries: topics whose negative share has changed, as surely as the false-alarm budget requires."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import ClassVar, NamedTuple

import numpy as np

from foreshock.monitor.arrays import FloatArray, IntArray, TopicArrays
from foreshock.monitor.baseline import DAYS, EVENTS, NEGATIVE, POSITIVE
from foreshock.monitor.detectors import BucketCounts, Detector, Found, Seen, Watched
from foreshock.monitor.detectors.alarms import COOL, OVER, Alarms, Change, samples_are_due
from foreshock.monitor.detectors.share_hour import RISES, R, ShareHour, scores_at_the_end
from foreshock.monitor.detectors.shares import (
    DAYS_KEPT,
    HOURS_KEPT,
    WEEKS,
    Shares,
    Sums,
    expected,
    ratios,
    seen_share,
)
from foreshock.monitor.detectors.windows import (
    AGES,
    BASELINE,
    DAY_SCALE,
    FIRST_WEEK,
    LENGTHS,
    LONG,
    NONE,
    NOTHING,
    SCALES,
    S,
    by_topic,
    mixtures,
)
from foreshock.monitor.findings import Finding, Level, Standing
from foreshock.monitor.kinds import BETTER, DRIFT, SPIKE, WORSE
from foreshock.monitor.units import DAY, HOUR, UNIT

ABSORBED = BASELINE
"""Running hours after which a reported share is what is usual: the baseline then lies wholly after the change."""
TAKEN, STEP_REPORTED = 0.7, 0.05
"""The part of the observed step that counts as reported (a step is seen at its luckiest moment), and the least step."""
SAME_NEWS: Sequence[str] = (SPIKE,)
"""While bad news surge, a fallen share is the same news. A surge on top of a drift is not."""


ERRORS = 0.0
"""Standard errors by which the threshold for the worse is raised. Its shadows are armed sooner than the alerts, and of
two alerts of one piece of bad news one is not sent."""


class View(NamedTuple):
    """What the windows of some topics hold, and what it is worth. Arrays are (window, topic), as in `Sums`."""

    sums: Sums
    usual: FloatArray
    share: FloatArray
    worth: FloatArray


class ShareChanges(Detector):
    """Find topics whose share of negative events has risen or fallen.

    Rises are looked for by windows of a day and more, and are `drift` for the worse: what is shorter is left to surges.
    Falls are looked for by windows of more than three days alone, and are `drift` for the better: the end of a bad day
    is the end of its alert.

    Reads: events and negative sums of each topic and hour as they weigh by their sources (`Counts.weight`), and the
    stories' times of day.

    Warning: a topic says nothing in a window with fewer than 4 events, so a quiet topic needs a large crisis or a long
    one.

    Parameters, all measured from the feed's own past: the noise of events and the wandering of the baseline, for each
    window (`Shares.noise`); the topic's own noise (`Shares.dispersion`); how much the events of an hour have in common
    (`Shares.correlation`); the thresholds (`Alarms.threshold`). Chosen: `bad_news` and `better`, shares of the budget.

    Source: docs/detection.md#1-what-is-compared and the sections after it; Duembgen and Spokoiny 2001 for the weights
    of windows, Kish 1965 for the weights of events.

    Example:
        >>> from foreshock.monitor.made_feed import fired, hour, steady
        >>> state = steady(topics=6, events=12, negative=0.2, days=30)
        >>> worse = {f"t{number}": (12, 0.45 if number == 3 else 0.2) for number in range(6)}
        >>> [alert for _ in range(12) for alert in fired(state, hour(state, **worse))]
        [('t3', 'drift', 'worse')]
    """

    KINDS: ClassVar[tuple[str, ...]] = (DRIFT,)

    def __init__(self, capacity: int) -> None:
        self.shares = Shares(capacity)
        self.worse = Alarms(capacity, DRIFT, WORSE, leave_out_rare=True, errors=ERRORS, first=DAY_SCALE)
        self.better = Alarms(capacity, DRIFT, BETTER, leave_out_rare=True, first=LONG)
        self._hour = ShareHour(capacity)  # derived; of the open hour

    def parts(self) -> Mapping[str, TopicArrays]:
        return {"shares": self.shares, "share_worse": self.worse, "share_better": self.better}

    def look(self, seen: Seen, counts: BucketCounts, watched: Watched) -> list[Found]:
        topics, shares = counts.topics, self.shares
        shares.add(topics, counts.values[:, :2], counts.dated, counts.weight)
        hour = self._hour
        if hour.capacity < shares.capacity:
            hour = self._hour = ShareHour(shares.capacity)
        hour.fill(seen, shares, self.worse, self.better, topics)
        opened = shares.crowd(shares.opened.take(topics, axis=0), seen.effect.take(topics))
        ratio, scores, counted = hour.look(topics, opened)
        self.worse.see(topics, scores[:RISES].T, slice(DAY_SCALE, None))
        self.better.see(topics, scores[RISES:R].T, slice(LONG, None))
        reach, floor = hour.reach.take(topics, axis=1), hour.floor.take(topics, axis=1)
        near = counted[reach, np.arange(len(topics))] >= floor
        # An alert that fires stays as it is until it is over, which `look_back` finds.
        waiting = {*self.worse.pending(watched, topics), *self.better.pending(watched, topics)} if watched else set()
        if not waiting and not np.count_nonzero(near):
            return []
        at = np.array(sorted(waiting.union(np.flatnonzero(near.any(axis=0)).tolist())), np.int64)
        some, reports = topics[at], self.worse.reports + self.better.reports
        view = cache(lambda: self._as_it_is(seen, some))
        rise, fall = (partial(self._change, seen, view, some, direction) for direction in (WORSE, BETTER))
        whole = partial(_of_all_windows, ratio[:, at], counted[:, at])
        found = [
            *self.worse.look(seen, some, *whole(DAY_SCALE, slice(0, RISES)), watched, rise, SAME_NEWS),
            *self.better.look(seen, some, *whole(LONG, slice(RISES, R)), watched, fall),
        ]
        if self.worse.reports + self.better.reports != reports:
            hour.forget(some)
        return found

    def close_hour(self, seen: Seen) -> None:
        self._hour.begin()
        h, n = seen.history, len(seen.history.names)
        counted = h.hours - h.first_hour[:n] >= FIRST_WEEK
        s = self.shares
        s.close_hour(h.hours, h.hour, s.opened[:n], seen.effect, counted, s.opened_dated[:n])

    def look_back(self, seen: Seen, watched: Watched, *, stalled: bool) -> list[Found]:
        h, n, shares = seen.history, len(seen.history.names), self.shares
        shares.compare_hour(h.hours, h.pooled())
        if samples_are_due(h.hours):
            everyone = slice(0, n)
            sums = shares.sums(everyone, h.hours, h.hours - h.first_hour[everyone])
            shares.sample(sums, h.hours, seen.pool.share, seen.pool.weight)
        awaited = self.worse.awaited(n, h.hours - 1, watched) | self.better.awaited(n, h.hours - 1, watched)
        topics = awaited.nonzero()[0]
        worse, better = scores_at_the_end(seen, shares, topics)

        @cache
        def view() -> View:
            return self._view(seen, topics, shares.sums(topics, h.hours, h.hours - h.first_hour[topics]))

        return [
            *self.worse.look_back(seen, topics, worse, watched, lambda *at: self.is_over(view(), self.worse, *at)),
            *self.better.look_back(seen, topics, better, watched, lambda *at: self.is_over(view(), self.better, *at)),
        ]

    def close_day(self, seen: Seen) -> None:
        h, rules, n = seen.history, seen.rules, len(seen.history.names)
        self.shares.estimate(n, h.hours)
        rate = seen.rate(seen.learned(slice(0, n)))
        self.worse.close_day(h.days, rules.bad_news * (1 - rules.surges) * rate, seen.weights)
        self.better.close_day(h.days, rules.better * rate, seen.weights)

    def calibrate(self, seen: Seen) -> None:
        self._hour.begin()  # also at a day's end, when the noise and the pool are new
        h, rules = seen.history, seen.rules
        rate = seen.rate(seen.learned(slice(0, len(h.names))))
        self.worse.calibrate(h.days, rules.bad_news * (1 - rules.surges) * rate)
        self.better.calibrate(h.days, rules.better * rate)

    def is_over(self, view: View, alarms: Alarms, place: int, topic: int, k: int) -> bool:
        """Return whether what came since a change was reported speaks for the level before it, or is now usual.

        `view`: at the end of running hour `k`; the topic is at a `place` in it.
        """
        age = k + 1 - int(alarms.reported_since[topic])
        if age < COOL:
            return False
        if age >= ABSORBED:
            return True
        if view.sums.events[WEEKS - 1, place] < 1:  # three days without news: nothing is left to go on
            return True
        windows, level = slice(0, int(AGES[age]) + 1 - DAY_SCALE), float(alarms.reported_level[topic])
        b, q = view.usual[windows, place], view.share[windows, place]
        back = view.worth[windows, place] * (q * np.log(b / level) + (1 - q) * np.log((1 - b) / (1 - level)))
        still = b < level if alarms.direction == WORSE else b > level
        return bool((np.where(still, back, 0.0) > OVER[DAY_SCALE:][windows]).any())

    def _view(self, seen: Seen, topics: IntArray | slice, sums: Sums) -> View:
        worth = self.shares.effective(topics, sums, seen.pool.weight)
        usual = expected(sums, seen.pool.share, seen.pool.weight)
        return View(sums, usual, seen_share(sums, usual), worth)

    def stand(self, seen: Seen, topics: IntArray, part: float) -> list[Standing]:
        k, view = seen.history.hours, self._as_it_is(seen, topics)
        judged, found = seen.learned(topics), list[Standing]()
        for alarms, weigh in ((self.worse, weigh_rise), (self.better, weigh_fall)):
            ratio, scores = weigh(view, alarms.reported_level[topics])
            score = alarms.standing(topics, scores, k)
            threshold = alarms.thresholds(topics, seen.weights[topics])
            for place, topic in enumerate(topics.tolist()):
                age = min(max(k + 1 - int(alarms.reported_since[topic]), 0), int(SCALES[-1]))
                window = max(int(ratio[: AGES[age] + 1, place].argmax()), DAY_SCALE)
                numbers = float(score[place]), float(threshold[place])
                row = window - DAY_SCALE
                shares = float(view.share[row, place]), float(view.usual[row, place])
                hours = float(SCALES[window])
                learned = bool(judged[place])
                said = *numbers, *shares
                found.append(Standing(topic, DRIFT, alarms.direction, *said, "negative share", hours, learned))
        return found

    def _as_it_is(self, seen: Seen, topics: IntArray) -> View:
        """Return the windows of topics as they are now."""
        h, k = seen.history, seen.history.hours
        opened = self.shares.crowd(self.shares.opened[topics], seen.effect[topics])
        return self._view(seen, topics, self.shares.sums_now(topics, k, k - h.first_hour[topics], opened))

    def _change(
        self,
        seen: Seen,
        windows: Callable[[], View],
        topics: IntArray,
        direction: str,
        place: int,
        window: int,
    ) -> Change:
        """Describe the change that a window shows: by how much, and since when."""
        h, topic, sign = seen.history, int(topics[place]), 1 if direction == WORSE else -1
        view, row = windows(), max(window - DAY_SCALE, 0)  # 0 too where no window speaks, but the threshold is lower
        opens = min(self.shares.start_of(DAY_SCALE + row, h.hours + 1), h.hours)
        usual = float(view.usual[row, place])
        rise = float(view.share[row, place]) - usual
        spread = (usual * (1 - usual) / max(float(view.worth[row, place]), 1e-9)) ** 0.5
        if row == 0 and direction == WORSE:
            started = seen.recent.onset(topic, rise, self._time_of(seen, opens))
        else:
            started = self._onset(seen, topic, opens, usual + rise / 2, sign)
        polarity, before = polarities(seen, topic, started)
        # A share may rise while polarity does too, where neutral news gives way to both: that is no decline.
        moved = (polarity < before) == (direction == WORSE)
        level = min(max(usual + sign * max(TAKEN * sign * rise, STEP_REPORTED), 0.02), 0.95)
        finding = Finding(topic, direction, Level.HOLD, rise / spread, polarity, before, started, started)
        return Change(finding, level, moved and seen.corroborated(topic, started))

    def _time_of(self, seen: Seen, k: int) -> int:
        """Return when running hour `k` began; `k` may be the open one."""
        h = seen.history
        return h.hour * HOUR if k >= h.hours else self.shares.hour_of(k, h.hours) * HOUR

    def _onset(self, seen: Seen, topic: int, opens: int, level: float, sign: int) -> int:
        """Return the start of the hour from which on the share was beyond `level` by most (of the day, beyond a week).

        That is where a CUSUM left its minimum.
        """
        k, past = seen.history.hours, self.shares
        recent = np.arange(max(opens, k + 1 - HOURS_KEPT, 0), k + 1)
        days = np.arange(-(-opens // 24), recent[0] // 24 + 1)
        days = days[days * 24 < recent[0]]
        at = np.concatenate([days * 24, recent])
        totals = np.concatenate([past.past_days[days % DAYS_KEPT, topic], past.past[recent % HOURS_KEPT, topic]])
        since = (totals[-1] - totals).astype(np.int64)
        excess = sign * (since[:, NEGATIVE] - level * since[:, EVENTS])
        return self._time_of(seen, int(at[int(excess.argmax())]))


def _of_all_windows(ratio: FloatArray, scores: FloatArray, first: int, rows: slice) -> tuple[FloatArray, FloatArray]:
    """Return (window, topic) ratios and (topic, window) scores of all windows, where only those from `first` on speak.

    `rows`: theirs.
    """
    n = ratio.shape[1]
    whole, mixed = np.full((S, n), NOTHING), np.full((n, S), NONE)
    whole[first:], mixed[:, first:] = ratio[rows], scores[rows].T
    return whole, mixed


def weigh_rise(view: View, reported: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """Return how surely the share rose: (window, topic) likelihood ratios, and (topic, window) scores, of all windows.

    Only windows of a day and more speak: each window that looks spends a part of the budget. A score is that of all
    windows up to each. `reported`: levels that were reported already and must be passed; nan
    for none.
    """
    base = view.usual if reported is None else np.fmax(view.usual, reported)
    return _weighed(ratios(view.worth, base, view.share), DAY_SCALE)


def weigh_fall(view: View, reported: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """Return how surely the share fell, as `weigh_rise` does. Only the long windows speak."""
    base = view.usual[WEEKS:] if reported is None else np.fmin(view.usual[WEEKS:], reported)
    return _weighed(ratios(view.worth[WEEKS:], 1 - base, 1 - view.share[WEEKS:]), LONG)


def _weighed(ratio: FloatArray, first: int) -> tuple[FloatArray, FloatArray]:
    """Return (window, topic) ratios and (topic, window) scores of all windows, from ratios of those from `first` on."""
    whole, mixed = (np.full((S, ratio.shape[1]), nothing) for nothing in (NOTHING, NONE))
    whole[first:], mixed[first:] = ratio, mixtures(ratio, LENGTHS[first:])
    return whole, by_topic(mixed)


def polarities(seen: Seen, topic: int, since: int) -> tuple[float, float]:
    """Return the mean polarity since the UTC day of a change, and on the days of the eight weeks before it."""
    h = seen.history
    rows = h.last_days(DAYS)
    after = h.day_number[rows] >= since // DAY
    now = h.day_ring[rows[after], topic].sum(axis=0) + h.day_now[topic]
    return _polarity(now), _polarity(h.day_ring[rows[~after], topic].sum(axis=0))


def _polarity(total: IntArray) -> float:
    return float((total[POSITIVE] - total[NEGATIVE]) / max(float(total[EVENTS]), UNIT / 100))
