"""Decide whether an alert that fires says nothing new, because another alert explains it.

A theme rings for its company, or companies ring for their theme or the market, or a topic is busy because of its bad
news. The alert is then *inhibited*: it is stored with the reason, belongs to the incident, and makes no message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from foreshock.monitor.grouping import Event, Member, Side, Tie
from foreshock.monitor.kinds import SPIKE, VOLUME, quoted
from foreshock.monitor.units import ALL

AS_USUAL = 2.0
"""A wider topic is as usual without the narrower one's stories if the rest are fewer than so many times the usual."""
WORSE = 2.0
"""A narrower topic is worse than the wider one if its multiple of the usual number is more than so many times that of
the others."""
Read = Callable[[Member], Side]
"""Reads the evidence of an alert of an incident."""


def inhibition(mine: Side, tie: Tie, common: Collection[Event], side: Read) -> tuple[str | None, str | None]:
    """Return which alert explains the one that fires, and why; or None twice."""
    alert, other = mine.alert, tie.member.alert
    if tie.how == "topic" and alert.kind == VOLUME and other.kind == SPIKE and other.resolved_at is None:
        if mine.times_without(common, "") < AS_USUAL:
            return other.id, f"Without the bad news, {_named(alert.topic)} has as many stories as usual."
    elif tie.how == "twin":
        return (
            other.id,
            f"Most of what is unusual about {_named(alert.topic)} are the stories of {_named(other.topic)}.",
        )
    elif tie.how == "silent" and not tie.wider:
        return other.id, f"Most stories that {_named(alert.topic)} misses are those of {_named(other.topic)}."
    elif tie.how == "within" and tie.wider:
        if mine.times_without(mine.bearing(other.topic), other.topic) < AS_USUAL:
            return other.id, f"Without the stories of {_named(other.topic)}, {_named(alert.topic)} is as usual."
    elif tie.how == "above" and not tie.wider:
        wide = side(tie.member)
        if mine.times() <= WORSE * wide.times_without(wide.bearing(alert.topic), alert.topic):
            what = "fires for what its topics have in common"
            return other.id, f"It is no worse than the others of {_named(other.topic)}, which {what}."
    return None, None


def _named(topic: str) -> str:
    return "the whole feed" if topic == ALL else quoted(topic)
