"""Write a digest for people: a sentence that counts, then a line for each incident and topic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from foreshock.monitor.alerts import clock
from foreshock.monitor.kinds import count, quoted
from foreshock.monitor.store.digests import SCHEDULED
from foreshock.monitor.store.times import microseconds

SHOWN = 20
"""The most incidents that a message lists of one sort."""
WORDS = {"firing": "Fired", "updated": "Changed", "resolved": "Ended"}
"""What a line says has become of an incident."""


def title(digest: Mapping[str, Any]) -> str:
    """Return the title of a digest."""
    return f"Digest {digest['name']}" if digest["reason"] == SCHEDULED else "Digest of what was muted"


def lines(digest: Mapping[str, Any]) -> list[str]:
    """Return the lines of a digest."""
    said = [f"{digest['sentence']} ({_time(digest['start'])} to {_time(digest['end'])})"]
    if digest["reason"] != SCHEDULED:
        return said + _incidents(digest["incidents"], digest["incident_count"])
    again = {one["id"] for one in digest["ended"]}
    fired = [one for one in digest["fired"] if one["id"] not in again]
    said += _incidents(fired, digest["fired_count"] - len(digest["fired"]) + len(fired))
    said += _incidents(digest["ended"], digest["ended_count"])
    for one in digest["movers"]:
        moved = f"mood {one['polarity']:+.2f}, usual {one['usual']:+.2f}, {count(one['events'], 'event')}"
        said.append(f"{'Worse' if one['direction'] == 'worse' else 'Better'}: {quoted(one['topic'])}, {moved}.")
    for one in digest["quiet"]:
        usual = count(round(one["usual"]), "story", "stories")
        said.append(f"Quiet: {quoted(one['topic'])}, no story since {_time(one['last_story_at'])}; usual are {usual}.")
    return said


def _incidents(listed: Iterable[Mapping[str, Any]], number: int) -> list[str]:
    """Return a line for each of the first incidents, and how many more there are."""
    shown = list(listed)[:SHOWN]
    said = [f"{WORDS[one['event']]} ({one.get('severity') or 'warning'}): {one['title']}" for one in shown]
    return said + ([f"And {number - len(shown)} more."] if number > len(shown) else [])


def _time(text: str) -> str:
    return clock(microseconds(datetime.fromisoformat(text)))
