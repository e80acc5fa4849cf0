"""What the pages say of an alert in words: its kind, its sentence in the right tense, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock.dashboard import formats
from foreshock.monitor import kinds
from foreshock.monitor.kinds import CRITICAL, DRIFT, KINDS, NEW_NAME, SILENCE, SPIKE, VOLUME
from foreshock.monitor.odds import RAREST
from foreshock.monitor.store.alert_windows import was_share, window_of
from foreshock.monitor.store.views import AlertRow

NEVER_FIRED = "never fired"
"""The state of an alert that ended before it fired."""
_KIND = {
    SPIKE: "surge of bad news",
    VOLUME: "unusual volume",
    SILENCE: "silence",
    CRITICAL: "critical story",
    NEW_NAME: "new name",
}
_PAST: Mapping[str, Mapping[str, str]] = {
    SPIKE: {"; usual is ": "; usual was "},
    DRIFT: {" has fallen to ": " fell to ", " has risen to ": " rose to "},
    SILENCE: {" would be usual in that time.": " would have been usual in that time."},
}
"""How a sentence of `monitor.kinds` is put into the past. The last place counts: a topic's name stands before it."""


_SPANS = ((1 / 24, "hour", 2.0), (1.0, "day", 14.0), (7.0, "week", 70.0), (30.4, "month", 550.0))
"""Units of `odds`: days of one, its name, and the days up to which it is used."""


def state(alert: AlertRow) -> str:
    """Return an alert's state in words: `pending`, `firing`, `resolved` or `never fired`."""
    return NEVER_FIRED if alert.state == "dropped" else alert.state


def kind(alert: AlertRow) -> str:
    """Return an alert's kind in words: `surge of bad news`, `drift for the worse`."""
    return _KIND.get(alert.kind) or f"{alert.kind} for the {alert.direction}"


def of_kind(name: str) -> str:
    """Return a kind in words, whatever its direction: `surge of bad news`, `drift`."""
    return _KIND.get(name, name)


def sentence(alert: AlertRow) -> str:
    """Return an alert's sentence, in the past tense once the alert has ended."""
    if alert.resolved_at is None:
        return alert.sentence
    said = alert.sentence
    places = {said.rfind(present): present for present in _PAST.get(alert.kind, {})}
    place = max(places, default=-1)
    if place >= 0:
        present = places[place]
        said = said[:place] + _PAST[alert.kind][present] + said[place + len(present) :]
    return said


def measured(alert: AlertRow, value: float | None) -> str:
    """Write a value of the quantity that the alert is about: `9`, `−0.46`; None is `no story`."""
    if value is None:
        return "no story"
    if was_share(alert):
        return formats.share(value)
    if KINDS[alert.kind].quantity == "polarity":
        return formats.signed(value)
    return formats.whole(value) if value >= 1 or value == 0 else f"{value:.1g}"


def usual(alert: AlertRow) -> str:
    """Write what the alert called usual, as its sentence does: `4`, `1 in 9 days`, `+0.08`."""
    if KINDS[alert.kind].quantity == "polarity" or was_share(alert):
        return measured(alert, alert.baseline)
    return kinds.usual(alert.baseline, window_of(alert))


def thing(alert: AlertRow) -> str:
    """Name what the alert counts or takes the mean of."""
    if was_share(alert):
        return "negative share"
    return {SPIKE: "negative stories", NEW_NAME: "negative stories", DRIFT: "mean polarity"}.get(alert.kind, "events")


def odds(days: float | None) -> str:
    """Say how often chance alone gives an alert as sure: `chance alone would give this once in 5 weeks`.

    `days`: between two of them (`monitor.odds`); None gives no words.
    """
    if days is None:
        return ""
    if days >= RAREST:
        return "chance alone would give this less than once in 10 years"
    for unit, word, until in _SPANS:
        if days < until:
            return f"chance alone would give this once in {formats.count(max(round(days / unit), 1), word)}"
    return f"chance alone would give this once in {formats.count(round(days / 365), 'year')}"
