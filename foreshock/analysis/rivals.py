"""Run river's change detectors on hourly negative shares, to compare them with Foreshock in a backtest.

    found = alarms("adwin", hours)

Each topic has its own detector, with river's default parameters. Only a change for the worse is an alarm. These
detectors have no budget of false alarms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import Any

Hour = tuple[str, int, float]
"""A topic, the end of an hour in which it had events (microseconds), and their negative share."""


def alarms(name: str, hours: Iterable[Hour]) -> list[tuple[str, int]]:
    """Return topic and time of each alarm of the detector `name`.

    `hours` are in order of time within each topic. Raises KeyError for a name that is not in `DETECTORS`.
    """
    make = DETECTORS[name]
    watched: dict[str, tuple[Any, deque[float]]] = {}
    found = []
    for topic, at, share in hours:
        if topic not in watched:
            watched[topic] = make(), deque(maxlen=RECENT + BEFORE)
        detector, last = watched[topic]
        last.append(share)
        detector.update(share)
        if detector.drift_detected and _rose(list(last)):
            found.append((topic, at))
    return found


RECENT, BEFORE = 30, 70
"""A change is a rise if the mean of the last `RECENT` hours with events exceeds that of the `BEFORE` hours before."""


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
