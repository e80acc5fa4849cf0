"""Count some topics of decided buckets again, from the rulings that stand.

How a story was ruled on (its id, its event, whether it weighs) does not depend on topics. So the rows that some topics
would have had follow from the stored rulings, the stories' topics as they are now, and what of each event and story
these topics had counted before.

Invariant: if the stories had borne these topics from the start, `count_bucket` would have made the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from foreshock.monitor.admission import Admission, Limits
from foreshock.monitor.buckets import TopicBucket
from foreshock.monitor.counting import CountedStory, Counting, Event, Position, SeenIds
from foreshock.monitor.units import ALL
from foreshock.monitor.watermark import TimeRules


@dataclass(frozen=True, slots=True)
class Ruled:
    """A decided story that counts: one that weighs, or a duplicate of a story with weight."""

    member: CountedStory
    duplicate: bool
    story: Position
    """The first record of the story."""
    event: Position
    """The first story of its event."""


@dataclass(frozen=True, slots=True)
class Before:
    """What was counted in earlier buckets: the topics that each event had reached, and that each story had."""

    events: Mapping[Position, AbstractSet[str]]
    stories: Mapping[Position, AbstractSet[str]]


def recount(
    ruled: Mapping[int, Sequence[Ruled]], topics: AbstractSet[str], before: Before, rules: TimeRules
) -> list[tuple[int, tuple[TopicBucket, ...]]]:
    """Return the rows of `topics` in each of the buckets, in order of time.

    `ruled`: by the start of the bucket, all its stories that count, whichever topics they have: the mood of an event is
    that of all its sources. `topics` may have the series of all stories among them.
    """
    events: dict[Position, Event] = {}
    known = {position: set(own) for position, own in before.stories.items()}
    admission = Admission(Limits(own=frozenset(topics)))
    found = []
    for start in sorted(ruled):
        counting = Counting(SeenIds(), rules, admission, {}, ())
        for one in sorted(ruled[start], key=lambda r: r.member.rank):
            event = events.get(one.event)
            if event is None:
                reached = set(before.events.get(one.event, ()))
                if one.event != one.member.position:
                    reached.add(ALL)  # its first story was in an earlier bucket
                event = events[one.event] = Event(one.event, one.member.rank, b"", (), 0, reached)
            own = known.setdefault(one.story, set())
            bears = [topic for topic in one.member.topics if topic in topics]
            added = [topic for topic in bears if topic not in own] if one.duplicate else bears
            own.update(bears)
            if ALL in topics and not one.duplicate:
                added = [ALL, *added]
            counting.count(replace(one.member, critical={}), added, event)
        found.append((start, counting.topics()))
    return found
