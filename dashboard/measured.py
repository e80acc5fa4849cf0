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
    odds: str
    """How often chance alone would give an alert as sure; empty if that is not known."""


def measured(look: Look, alert: AlertRow) -> Measured:
    """Return the line of an alert. It is cached until a new bucket is decided."""
    key = ("measured", alert.id, alert.state, alert.window_end)
    return frame.reader().decided(look, key, lambda: _measured(look, alert))


def _measured(look: Look, alert: AlertRow) -> Measured:
    if KINDS[alert.kind].by_rule:  # chance has no part in it, and one story does not become less
        return Measured(
            f"{KINDS[alert.kind].measure.capitalize()} {alert.observed:.2f}, needed {alert.baseline:.2f}", "", ""
        )
    until = look.standing.decided_until or alert.window_end
    window, value = kinds.span(alert_windows.window_of(alert)), None
    when, usual = formats.clock(alert.window_end), words.usual(alert)
    if until > alert.window_end:
        value = words.measured(alert, alert_windows.value_at(look.connection, alert, until))
    odds = words.odds(false_alarms.days_between(look.connection, alert))
    observed = words.measured(alert, float(alert.events) if alert.kind == VOLUME else alert.observed)
    if alert.kind == SILENCE:
        if alert.resolved_at is None:
            value = None if value is None else kinds.span(until - alert.started_at)
            return Measured(f"No story in {window} at {when}, usual {usual}", f"{value} now" if value else "", odds)
        then = f"No story in {window} at {when}, usual {usual}"
        return Measured(then, "" if value is None else f"{value} in the last {window} now", odds)
    if alert.kind == DRIFT:
        then = f"{words.thing(alert)} {observed} over {window} at {when}, usual {usual}"
    else:
        then = f"{observed} {words.thing(alert)} in {window} at {when}, usual {usual}"
    return Measured(then[0].upper() + then[1:], "" if value is None else f"{value} now", odds)
