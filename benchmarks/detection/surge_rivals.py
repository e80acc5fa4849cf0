"""Rivals of surges: other scores of a topic's negative stories, each with the threshold that fires as often.

A rival gives each negative story a score, from the topic's negative stories up to it. A topic that fired does not
fire again until three days have passed without a score above the threshold.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.detection import crises

HOUR, DAY = 60.0, 24 * 60.0
REST = 3 * DAY
STARTS = 30
"""How many of the last negative stories are tried as the beginning."""
SMOULDERING, SMOULDERS = 0.8, 5
"""Negative stories of a smouldering crisis on its first day (`crises.plant`), and its days."""


class Scored(NamedTuple):
    minute: int
    topic: int
    score: float


Rival = Callable[[list[float], float, float], float]
"""Turns minutes of negative stories up to now, minutes since the feed began, and the true rate a day into a score."""


def k_in_a_day(times: list[float], now: float, rate: float) -> float:
    """The number of negative stories in 24 hours."""
    return float(sum(now - at < DAY for at in times))


def sigmas(times: list[float], now: float, rate: float) -> float:
    """How many standard deviations the last hour's negative stories are above the mean of all hours before."""
    last = sum(now - at < HOUR for at in times)
    hours = max(now / HOUR - 1, 1)
    mean = (len(times) - last) / hours
    return (last - mean) / math.sqrt(max(mean, 1 / hours))


def oracle(times: list[float], now: float, rate: float) -> float:
    """Poisson CUSUM of eight times the true rate of negative stories, which only an oracle knows."""
    score, before = 0.0, 0.0
    for at in times:
        score = max(score - 7 * rate * (at - before) / DAY, 0.0) + math.log(8)
        before = at
    return score


def focus(times: list[float], now: float, rate: float) -> float:
    """The best Poisson likelihood ratio over all recent beginnings and sizes (as FOCuS does), the rate learned."""
    best = 0.0
    for back in range(1, min(len(times), STARTS) + 1):
        begin = times[-back]
        usual = (len(times) - back + 0.5) / (begin + DAY) * (now - begin + 1)
        if back > usual:
            best = max(best, back * math.log(back / usual) - back + usual)
    return best


def kleinberg(times: list[float], now: float, rate: float) -> float:
    """Weight of the burst in Kleinberg's automaton of two states, the second of twice the learned rate."""
    learned = (len(times) + 0.5) / (now + DAY)
    score, before = 0.0, 0.0
    for at in times:
        score = max(score + math.log(2) - learned * (at - before), 0.0)
        before = at
    return score


def shape(times: list[float], now: float, rate: float) -> float:
    """The likelihood ratio of a crisis that doubles daily, averaged over its beginnings, for the true rate.

    Only an oracle knows the rate, how many stories a `smouldering` crisis brings on its first day, that they double,
    and for how long. A rough mark of what can be found, not a bound: for it stories come independently, and it knows
    the mean size of such crises, not that of each.
    """
    recent = np.array([at for at in times[-STARTS * 3 :] if now - at < SMOULDERS * DAY])
    age = (recent - recent[:, None]) / DAY  # (beginning, story)
    of_crisis = SMOULDERING * 2.0 ** np.floor(np.maximum(age, 0.0))
    ratios = np.where(age >= 0, np.log1p(of_crisis / rate), 0.0).sum(axis=1)
    days = (now - recent) / DAY
    whole = np.floor(days)
    expected = SMOULDERING * (2.0**whole - 1 + (days - whole) * 2.0**whole)
    return float(np.logaddexp.reduce(ratios - expected) - math.log(SMOULDERS))


RIVALS: dict[str, Rival] = {
    "k negative stories in 24 h": k_in_a_day,
    "mean + k sigma of hourly negative stories": sigmas,
    "Poisson CUSUM, true rate (oracle)": oracle,
    "doubling daily, true rate and shape (oracle)": shape,
    "FOCuS for Poisson counts, rate learned": focus,
    "Kleinberg, two states": kleinberg,
}


def scores(feed: crises.Feed, rival: Rival) -> Iterator[Scored]:
    """Return the score of each negative story, in order of time."""
    seen: dict[int, list[float]] = defaultdict(list)
    s, rate = feed.stories, feed.rate * feed.share
    for minute, topic, negative in zip(s.minute.tolist(), s.topic.tolist(), s.negative.tolist(), strict=True):
        if negative >= 0.5:
            times = seen[topic]
            times.append(float(minute))
            yield Scored(
                minute, topic, rival(times[-400:] if rival is not focus else times, minute, float(rate[topic]))
            )


def alarms(scored: list[Scored], level: float, settled: int) -> list[tuple[int, int]]:
    """(topic, minute) of alarms from `settled` on."""
    last: dict[int, int] = {}
    found = []
    for minute, topic, score in scored:
        if score >= level:
            if minute - last.get(topic, -(10**9)) > REST and minute >= settled:
                found.append((topic, minute))
            last[topic] = minute
    return found


def level(quiet: list[list[Scored]], count: int, settled: int) -> float:
    """Return the lowest level at which quiet feeds fire at most `count` times."""
    low, high = 0.0, 100_000.0
    for _ in range(60):
        middle = (low + high) / 2
        if sum(len(alarms(feed, middle, settled)) for feed in quiet) > count:
            low = middle
        else:
            high = middle
    return high
