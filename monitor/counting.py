"""What each story of a bucket counts as, decided in canonical order: DESIGN.md's "Counting" as pure code.

Three questions are asked of a story, one after the other. Is its id known (duplicate, revision)? Does it copy an
event of the last 48 hours (near-copy)? Which topics does it bring an event to, that the event had not reached before?
All that must be remembered for this is a `Memory`: the caller fills it from the store for the stories at hand, and
writes back what changed.

Invariant: the rulings are a function of the stories in canonical order alone, however they were split into calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from foreshock.monitor import novelty
from foreshock.monitor.buckets import ALL, Bucket, TopicBucket
from foreshock.monitor.watermark import TimeRules

LOOK_BACK = 48 * 3600 * 1_000_000
"""For how long an event is looked for by later near-copies (microseconds of event time)."""

Position = tuple[str, int]
"""(partition, offset): the name of a record."""

Scores = tuple[int, int, int]

Rank = tuple[int, int, str, str, str, int]
"""(bucket, event time, id, content, partition, offset): the canonical order of all stories."""


@dataclass(frozen=True, slots=True)
class Member:
    """A story as the monitor reads it from the store."""

    partition: str
    offset: int
    bucket: int
    published_at: int
    id: str
    content: str
    source: str
    stale: bool
    date_only: bool
    scores: Scores | None
    """None: in a language that the model does not read."""
    signature: bytes | None
    keys: tuple[int, ...]
    """Of the signature (`novelty.keys`): stories that share one may be near-copies."""
    topics: tuple[str, ...]

    @property
    def position(self) -> Position:
        return self.partition, self.offset

    @property
    def rank(self) -> Rank:
        return self.bucket, self.published_at, self.id, self.content, self.partition, self.offset


@dataclass(slots=True)
class Event:
    """An independent event: its first story, and the topics in which it has counted."""

    position: Position
    rank: Rank
    signature: bytes
    keys: tuple[int, ...]
    topics: set[str]


@dataclass(slots=True)
class Known:
    """What is remembered of an id: every content seen under it, the last bucket that bore it, and its first story."""

    first: Position
    last_bucket: int
    contents: set[str]
    topics: set[str]
    """Topics that the story has, those that duplicates added included."""
    event: Event | None
    """The event that the first story is of; None if it weighs nothing (unscored)."""
    dirty: bool = False


@dataclass(slots=True)
class Memory:
    ids: dict[str, Known] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)
    """Those of `ids` that the store has rows of."""
    keys: dict[int, list[Event]] = field(default_factory=dict)
    """Events by the keys of their signatures, those of the last 48 hours at least."""
    new_events: list[Event] = field(default_factory=list)

    def add_event(self, event: Event) -> None:
        for key in event.keys:
            self.keys.setdefault(key, []).append(event)


@dataclass(frozen=True, slots=True)
class Ruling:
    """How a story ended, and what it hangs on."""

    member: Member
    ending: str
    """`scored`, `unscored`, `duplicate` or `revision`."""
    weighs: bool
    """Scored and not stale: it is in the statistics, by itself or (a near-copy) as part of its event's reach."""
    story: Position | None = None
    """For a duplicate or a revision: the first record of its story."""
    event: Position | None = None
    """For a near-copy, and for duplicates of stories that weigh: the first story of their event."""


@dataclass(slots=True)
class _Tally:
    stories: int = 0
    events: int = 0
    negative: int = 0
    neutral: int = 0
    positive: int = 0
    day_events: int = 0
    day_negative: int = 0
    sources: set[str] = field(default_factory=set)


def count_bucket(
    memory: Memory, start: int, members: Iterable[Member], rules: TimeRules
) -> tuple[list[Ruling], Bucket]:
    """Rule on one bucket's stories; `memory` learns them. Returns the rulings in canonical order, and the bucket's
    topics."""
    tallies: dict[str, _Tally] = {}
    rulings = [_rule(memory, member, tallies, rules) for member in sorted(members, key=lambda m: m.rank)]
    rows = (
        TopicBucket(
            topic,
            t.stories,
            t.events,
            t.negative,
            t.neutral,
            t.positive,
            tuple(sorted(t.sources)),
            t.day_events,
            t.day_negative,
        )
        for topic, t in sorted(tallies.items())
    )
    return rulings, Bucket(start, tuple(rows))


def _rule(memory: Memory, m: Member, tallies: dict[str, _Tally], rules: TimeRules) -> Ruling:
    known = memory.ids.get(m.id)
    if known is not None and m.bucket - known.last_bucket <= rules.remember:
        ending = "duplicate" if m.content in known.contents else "revision"
        known.contents.add(m.content)
        known.last_bucket = m.bucket
        known.dirty = True
        event = known.event
        if ending == "revision" or m.stale or event is None or m.scores is None:
            return Ruling(m, ending, False, known.first)
        added = [topic for topic in m.topics if topic not in known.topics]
        known.topics.update(added)
        _count(m, added, event, tallies)
        return Ruling(m, ending, False, known.first, event.position)
    if m.scores is None or m.stale:
        if not m.stale:
            memory.ids[m.id] = Known(m.position, m.bucket, {m.content}, set(m.topics), None, dirty=True)
        return Ruling(m, "unscored" if m.scores is None else "scored", False)
    assert m.signature is not None
    first = _event_of(memory, m)
    if first is None:
        event = Event(m.position, m.rank, m.signature, m.keys, set())
        memory.add_event(event)
        memory.new_events.append(event)
    else:
        event = first
    memory.ids[m.id] = Known(m.position, m.bucket, {m.content}, set(m.topics), event, dirty=True)
    _count(m, (ALL, *m.topics), event, tallies)
    return Ruling(m, "scored", True, event=None if first is None else first.position)


def _event_of(memory: Memory, m: Member) -> Event | None:
    """The earliest event of the last 48 hours of which this story is a near-copy."""
    found = {
        event.rank: event
        for key in m.keys
        for event in memory.keys.get(key, ())
        if m.bucket - event.rank[0] <= LOOK_BACK
    }
    if not found:
        return None
    assert m.signature is not None
    match = novelty.best_match(m.signature, [(found[rank], found[rank].signature) for rank in sorted(found)])
    return match if isinstance(match, Event) else None


def _count(m: Member, topics: Iterable[str], event: Event, tallies: dict[str, _Tally]) -> None:
    """One more story in each of `topics`, and one more event in those that the event reaches for the first time."""
    assert m.scores is not None
    negative, neutral, positive = m.scores
    for topic in topics:
        tally = tallies.get(topic)
        if tally is None:
            tally = tallies[topic] = _Tally()
        tally.stories += 1
        if topic in event.topics:
            continue
        event.topics.add(topic)
        tally.events += 1
        tally.negative += negative
        tally.neutral += neutral
        tally.positive += positive
        tally.sources.add(m.source)
        if m.date_only:
            tally.day_events += 1
            tally.day_negative += negative
