"""Units of time and of scores, and the names of the series that no feed and no rule makes."""

from __future__ import annotations

SECOND = 1_000_000
"""A second, in microseconds: the unit of all times in the monitor."""

MINUTE = 60 * SECOND
HOUR = 3_600 * SECOND

DAY = 24 * HOUR

UNIT = 10_000
"""Sums of scores and of events are integers of 1/10,000 event."""

ALL = "_all"
"""The market-wide series: it contains every story, and no topic may have its name. Detectors watch it like a topic. It
is left out wherever topics are pooled, because it would count their stories twice."""

OTHER = "_other"
"""The series of stories whose names were beyond a limit (`foreshock.monitor.admission`). Detectors do not watch it, and
no rule may have its name."""

NEW = "_new:"
"""Begins the topic of an alert on a name that no topic has (`foreshock.monitor.new_names`). No feed and no rule has a
topic that begins so."""


def is_new(topic: str) -> bool:
    """Return whether an alert's topic is a name that no topic has."""
    return topic.startswith(NEW)


def shown(topic: str) -> str:
    """Return an alert's topic as readers see it: a new name without what marks it."""
    return topic.removeprefix(NEW)
