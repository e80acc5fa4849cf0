"""The alerts of critical stories: one story by rule, without statistics.

A topic has at most one critical alert a day (UTC). It fires at the moment at which the day's first critical story
counts, and it is over when 24 hours have brought no further one, or when the next day's begins. Its id follows from the
topic and the day.

Invariant: which critical alerts there are follows from the set of critical stories alone, whatever the order in which
they arrive; and the changes do not depend on how stories are split into calls (both property-tested). So an alert can
be sent before its bucket closes (`ahead.py`): what arrives meanwhile cannot take it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from foreshock.monitor.alerts import Alert, AlertChange, alert_id
from foreshock.monitor.buckets import CriticalStory
from foreshock.monitor.kinds import CRITICAL, WORSE
from foreshock.monitor.units import DAY, HOUR, SECOND, UNIT

Position = tuple[str, int]
"""(partition, offset)."""

OVER = 24 * HOUR
"""How long a topic brings no critical story until its alert is over."""


class CriticalAlerts:
    """The open critical alerts, each with the time of its topic's last critical story, as of `clock`.

    `stood`: stretches (start, end] in which time stood still. Their whole hours never pass.
    """

    def __init__(
        self,
        opened: Iterable[tuple[Alert, int]] = (),
        clock: int | None = None,
        stood: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._open = {alert.topic: (alert, last) for alert, last in opened}
        self._clock = clock
        self._stood = stood
        self.story_of: dict[str, Position] = {}
        """The story for which each alert fires, by the alert's id."""

    def take(self, stories: Iterable[CriticalStory], until: int | None) -> list[AlertChange]:
        """Take stories in order of time, and let the whole hours up to `until` pass. Return changes in order of time.

        All times are in microseconds. Stories may count later than `until`, where time stands still.
        """
        changes: list[AlertChange] = []
        for story in stories:
            changes += self._pass(story.counts_at)
            changes += self._take(story)
        return changes if until is None else changes + self._pass(until)

    def _take(self, story: CriticalStory) -> list[AlertChange]:
        at, topic = moment_of(story.counts_at), story.topic
        changes: list[AlertChange] = []
        if topic in self._open:
            alert, _ = self._open[topic]
            if day_of(story.counts_at) == day_of(alert.started_at):
                self._open[topic] = alert, story.counts_at
                return []
            changes.append(AlertChange("resolved", replace(alert, state="resolved", resolved_at=at)))
        pending = _alert(story, at)
        firing = replace(pending, state="firing", fired_at=at)
        self._open[topic] = firing, story.counts_at
        self.story_of[firing.id] = story.partition, story.offset
        return [*changes, AlertChange("pending", pending), AlertChange("firing", firing)]

    def _pass(self, until: int) -> list[AlertChange]:
        """Let the whole hours up to `until` pass."""
        over: list[tuple[int, str]] = []
        for topic, (_, last) in self._open.items():
            due = max(last + OVER, (self._clock or 0) + 1)
            hour = self._next_hour(-(-due // HOUR) * HOUR)
            if hour <= until:
                over.append((hour, topic))
        self._clock = until if self._clock is None else max(self._clock, until)
        ended = [(hour, self._open.pop(topic)[0]) for hour, topic in sorted(over)]
        return [AlertChange("resolved", replace(alert, state="resolved", resolved_at=hour)) for hour, alert in ended]

    def _next_hour(self, hour: int) -> int:
        """Return the first whole hour from `hour` on that passes."""
        for start, end in sorted(self._stood):
            if start < hour <= end:
                hour = end // HOUR * HOUR + HOUR
        return hour


def moment_of(counts_at: int) -> int:
    """Return when an alert fires for a story: at the end of the second in which it counts.

    Evidence ends before its moment, and so contains the story. A bucket's end is never earlier.
    """
    return (counts_at // SECOND + 1) * SECOND


def day_of(time: int) -> int:
    """Return the start of the UTC day of a time."""
    return time - time % DAY


def critical_id(topic: str, counts_at: int) -> str:
    """Return the id of a topic's critical alert of the day of `counts_at`: UUIDv5, with the start of that day."""
    return alert_id(topic, CRITICAL, WORSE, day_of(counts_at))


def _alert(story: CriticalStory, at: int) -> Alert:
    negative, needed = story.negative / UNIT, story.needed / UNIT
    return Alert(
        id=critical_id(story.topic, story.counts_at),
        topic=story.topic,
        kind=CRITICAL,
        direction=WORSE,
        state="pending",
        started_at=story.counts_at,
        pending_at=at,
        fired_at=None,
        resolved_at=None,
        observed=negative,
        baseline=needed,
        window_start=story.counts_at,
        window_end=at,
        score=negative,
        statistic=negative,
        threshold=needed,
        word=story.word,
    )
