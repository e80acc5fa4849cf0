"""What an alert measured when it fired, and what the same is now: one line below its sentence.

9 negative stories in 60 minutes at 12:55, 2 April, usual 0.1; 0 now
"""

from __future__ import annotations

from dataclasses import dataclass

from foreshock.dashboard import formats, frame, words
from foreshock.dashboard.reader import Look
from foreshock.monitor import kinds
from foreshock.monitor.kinds import DRIFT, KINDS, SILENCE, VOLUME
from foreshock.monitor.store import alert_windows, false_alarms
from foreshock.monitor.store.views import AlertRow


@dataclass(frozen=True, slots=True)
class Measured:
    """An alert's line in words."""

    then: str
    """What it measured when it fired or became pending."""
    now: str
    """What the same is now; empty if the alert has only just fired."""


def measured(look: Look, alert: AlertRow) -> Measured:
    """Return the line of an alert. It is cached until a new bucket is decided."""
    key = ("measured", formats.zone(), alert.id, alert.state, alert.window_end)
    return frame.reader().decided(look, key, lambda: _measured(look, alert))


def odds(look: Look, alert: AlertRow) -> str:
    """Say how often chance alone would give an alert as sure; empty if that is not known.

    It is cached as `measured` is.
    """
    key = ("odds", alert.id, alert.state, alert.window_end)
    return frame.reader().decided(look, key, lambda: words.odds(false_alarms.days_between(look.connection, alert)))


def _measured(look: Look, alert: AlertRow) -> Measured:
    if KINDS[alert.kind].by_rule:  # one story does not become less
        measure = KINDS[alert.kind].measure.capitalize()
        return Measured(f"{measure} {alert.observed:.2f}, needed {alert.baseline:.2f}", "")
    until = look.standing.decided_until or alert.window_end
    if KINDS[alert.kind].of_names:  # names have no series
        until = alert.window_end
    window, value = kinds.span(alert_windows.window_of(alert)), None
    when, usual = formats.clock(alert.window_end), words.usual(alert)
    if until > alert.window_end:
        value = words.measured(alert, alert_windows.value_at(look.connection, alert, until))
    observed = words.measured(alert, float(alert.events) if alert.kind == VOLUME else alert.observed)
    if alert.kind == SILENCE:
        then = f"No story in {window} at {when}, usual {usual}"
        if value is None:
            return Measured(then, "")
        gap = kinds.span(until - alert.started_at)
        return Measured(then, f"{gap} now" if alert.resolved_at is None else f"{value} in the last {window} now")
    if alert.kind == DRIFT:
        then = f"{words.thing(alert)} {observed} over {window} at {when}, usual {usual}"
    else:
        then = f"{observed} {words.thing(alert)} in {window} at {when}, usual {usual}"
    return Measured(then[0].upper() + then[1:], "" if value is None else f"{value} now")
