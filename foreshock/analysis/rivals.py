"""river's change detectors on a past's hourly negative shares, for comparison with Foreshock's own in a backtest.

    told = told_by("adwin", hours)

Each topic has a detector of its own, with river's default parameters, and rings for the worse only. None knows of a
budget: how often it rings is for the reader to see.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import Any

Hour = tuple[str, int, float]
"""Topic, end of an hour in which it had events (microseconds), and the negative share of these."""


def told_by(name: str, hours: Iterable[Hour]) -> list[tuple[str, int]]:
    """Topic and time of each alarm; `hours` are in order of time within each topic. Raises KeyError for a name that is
    not in `DETECTORS`."""
    make = DETECTORS[name]
    watched: dict[str, tuple[Any, deque[float]]] = {}
    told = []
    for topic, at, share in hours:
        if topic not in watched:
            watched[topic] = make(), deque(maxlen=RECENT + BEFORE)
        detector, last = watched[topic]
        last.append(share)
        detector.update(share)
        if detector.drift_detected and _rose(list(last)):
            told.append((topic, at))
    return told


RECENT, BEFORE = 30, 70
"""Hours with events over which a change counts as a rise: the recent ones have a larger mean than those before."""


def _rose(last: list[float]) -> bool:
    recent = min(RECENT, max(1, len(last) // 2))
    return len(last) > recent and fmean(last[-recent:]) > fmean(last[:-recent])


def _page_hinkley() -> Any:
    from river.drift import PageHinkley

    return PageHinkley(mode="up")


def _adwin() -> Any:
    from river.drift import ADWIN

    return ADWIN()  # type: ignore[no-untyped-call]


def _kswin() -> Any:
    from river.drift import KSWIN

    return KSWIN(seed=0)


DETECTORS: dict[str, Callable[[], Any]] = {"page-hinkley": _page_hinkley, "adwin": _adwin, "kswin": _kswin}
