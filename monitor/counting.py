"""Decide what each story of a bucket counts as, in canonical order: docs/design.md#counting as pure code.

Each story answers three questions in turn. Is its id known (then it is a duplicate or a revision)? Is it a near-copy
of an event of the last 48 hours? Which topics does its event reach for the first time? Once all stories of the bucket
are ruled on, each event gets its mood.

`SeenIds` holds everything that these questions need. The caller fills it from the store for the stories of the bucket,
and writes back what changed.

Invariant: the rulings depend only on the stories in canonical order, not on how they were split into calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256

from foreshock.monitor import novelty
from foreshock.monitor.admission import Admission, Limits
from foreshock.monitor.buckets import Bucket, CriticalStory, NameCounts, SourceSums, TopicBucket
from foreshock.monitor.moods import agree, median, polarity
from foreshock.monitor.units import ALL, HOUR, OTHER
from foreshock.monitor.watermark import TimeRules

LOOK_BACK = 48 * HOUR
"""How long after its bucket an event can still have near-copies, in event time."""

Position = tuple[str, int]
"""(partition, offset): identifies a record."""

Scores = tuple[int, int, int]

Rank = tuple[int, int, str, str, str, int]
"""(bucket, event time, id, content, partition, offset): the canonical order of all stories."""


@lru_cache(maxsize=1 << 15)  # asked twice for each story of a closing
def key_of(feed: str, source: str, identity: str) -> str:
    """Return what an id is known by: an id belongs to its feed and source, so nobody can take another's.

    The same id from another source is another story. (If it says the same, it is a near-copy.) Never change this: it is
    stored.
    """
    return sha256("\x1f".join((feed, source, identity)).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class CountedStory:
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
    """None if the story is in a language that the model cannot read."""
    signature: bytes | None
    keys: tuple[int, ...]
    """The keys of the signature (`novelty.keys`). Stories that share a key may be near-copies."""
    topics: tuple[str, ...]
    feed: str = ""
    """The feed whose ids these are; none for files."""
    moods: Mapping[str, Scores] = field(default_factory=dict)
    """By topic, the scores towards a company where they differ from the text's."""
    counts_at: int = 0
    names: tuple[tuple[str, str], ...] = ()
    """Names that no topic has: what each is known by, and as it is written."""
    critical: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """The topics for which the story is critical: the word, and the probability of negative that was needed."""
    model: str | None = None
    """The model that scored it; None: it brought its scores along."""
    novelty: int | None = None
    """The share of its tokens that the model's training texts did not hold, in 1/10,000."""

    @property
    def key(self) -> str:
        """What the story's id is known by."""
        return key_of(self.feed, self.source, self.id)

    @property
    def position(self) -> Position:
        """The record's partition and offset."""
        return self.partition, self.offset

    @property
    def rank(self) -> Rank:
        """The story's place in the canonical order."""
        return self.bucket, self.published_at, self.id, self.content, self.partition, self.offset


@dataclass(slots=True)
class Event:
    """An independent event: its first story, and the topics in which it was counted."""

    position: Position
    rank: Rank
    signature: bytes
    keys: tuple[int, ...]
    polarity: int
    """Of its first story. A story with another mood is another event, however alike the words."""
    topics: set[str]
    """As its stories name them, including names that have no place."""


@dataclass(slots=True)
class Known:
    """What is known about an id: its first story, the bucket of its last record, and every content seen under it."""

    first: Position
    last_bucket: int
    contents: set[str]
    topics: set[str]
    """Topics of the story, including those that duplicates added."""
    event: Event | None
    """The event of the first story; None if the story has no weight (unscored)."""
    critical: set[str] = field(default_factory=set)
    """Topics for which a version of the story was critical. Loaded only where a later version is critical."""
    dirty: bool = False
    """Whether this must be written to the store."""


@dataclass(slots=True)
class SeenIds:
    """The ids and events that the rulings on a bucket's stories need."""

    ids: dict[str, Known] = field(default_factory=dict)
    """By key (`CountedStory.key`)."""
    stored: set[str] = field(default_factory=set)
    """The part of `ids` that has rows in the store."""
    keys: dict[int, list[Event]] = field(default_factory=dict)
    """Events by the keys of their signatures: at least those of the last 48 hours."""
    shared: frozenset[int] | None = None
    """The only keys by which stories to come can find an event; None: any. Nearly all keys are borne by one story."""
    new_events: list[Event] = field(default_factory=list)

    def add_event(self, event: Event) -> None:
        """Add an event, so that later near-copies find it."""
        known = self.keys
        for key in event.keys if self.shared is None else self.shared.intersection(event.keys):
            if key in known:
                known[key].append(event)
            else:
                known[key] = [event]


@dataclass(frozen=True, slots=True)
class Beyond:
    """What stories of one partition named beyond the limits, in the buckets that were decided."""

    first: int
    """The start of the first such bucket (microseconds)."""
    last: int
    stories: int
    example: str
    """A name that had no place, or `_other` if only names beyond the limit of one story came."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a story counts as, and the story or event that it belongs to."""

    member: CountedStory
    ending: str
    """`scored`, `unscored`, `duplicate` or `revision`."""
    weighs: bool
    """Whether the story is in the statistics (scored and not stale): as an event, or as a near-copy in its event's
    reach."""
    story: Position | None = None
    """The first record of the story, if this is a duplicate or a revision."""
    event: Position | None = None
    """The first story of the event, if this is a near-copy, or a duplicate of a story with weight."""


@dataclass(slots=True)
class _Tally:
    stories: int = 0
    events: int = 0
    negative: int = 0
    neutral: int = 0
    positive: int = 0
    day_events: int = 0
    day_negative: int = 0
    sources: dict[str, list[int]] = field(default_factory=dict)
    """By source: events, negative, positive, day_events, day_negative."""

    def add(self, scores: Scores, source: str, *, date_only: bool) -> None:
        """Add an event with its mood, and the source to which it belongs."""
        negative, neutral, positive = scores
        self.events += 1
        self.negative += negative
        self.neutral += neutral
        self.positive += positive
        self.day_events += date_only
        self.day_negative += negative * date_only
        part = 1, negative, positive, int(date_only), negative * date_only
        before = self.sources.get(source)
        self.sources[source] = list(part) if before is None else [a + b for a, b in zip(before, part, strict=True)]

    def row(self, topic: str) -> TopicBucket:
        """Return the topic's row."""
        names = tuple(sorted(self.sources))
        parts = tuple(SourceSums(name, *self.sources[name]) for name in names) if len(names) > 1 else ()
        sums = self.stories, self.events, self.negative, self.neutral, self.positive
        return TopicBucket(topic, *sums, names, self.day_events, self.day_negative, parts)


def count_bucket(
    memory: SeenIds,
    start: int,
    members: Iterable[CountedStory],
    rules: TimeRules,
    admission: Admission | None = None,
    beyond: dict[str, Beyond] | None = None,
    muted: Collection[str] = (),
) -> tuple[list[Ruling], Bucket]:
    """Decide one bucket's stories, and add them to `memory`.

    `admission`: the names that have a place; new ones take places. `beyond`: where names without a place are noted, by
    partition. `muted`: sources whose stories weigh nothing. Returns the rulings in canonical order, and the bucket with
    its topics.
    """
    counting = Counting(memory, rules, admission or Admission(Limits()), {} if beyond is None else beyond, muted)
    rulings = [counting.rule(member) for member in sorted(members, key=lambda m: m.rank)]
    return rulings, Bucket(start, counting.topics(), counting.critical(), counting.names())


class Counting:
    """The stories of one bucket, as they are counted."""

    def __init__(
        self,
        memory: SeenIds,
        rules: TimeRules,
        admission: Admission,
        beyond: dict[str, Beyond],
        muted: Collection[str],
    ) -> None:
        self._memory, self._rules, self._admission, self._beyond = memory, rules, admission, beyond
        self._muted = muted
        self._tallies: dict[str, _Tally] = {}
        self._reached: list[tuple[str, Position, bool]] = []
        """Topic and event, for each topic that an event reaches for the first time; whether only its day is known."""
        self._voices: dict[Position, dict[str, CountedStory]] = {}
        """For each event of the bucket, the story by which each of its sources speaks: its first."""
        self._stories: Counter[str] = Counter()
        """Stories of each source in the bucket."""
        self._critical: list[CriticalStory] = []
        self._named: list[CountedStory] = []
        """The first stories of new events that bear names."""

    def topics(self) -> tuple[TopicBucket, ...]:
        """Return the bucket's topics, in bytewise order.

        An event's mood is the median over its sources in the bucket, and it belongs to the quietest of them. So nobody
        gains by being the first: an event that a swarm repeats is not the swarm's. In the series of a company, a source
        says what its story says of that company.
        """
        moods = {event: _mood(voices.values(), None) for event, voices in self._voices.items()}
        apart = {event for event, voices in self._voices.items() if any(voice.moods for voice in voices.values())}
        owners = {event: self._quietest(voices) for event, voices in self._voices.items()}
        for topic, event, date_only in self._reached:
            mood = _mood(self._voices[event].values(), topic) if event in apart else moods[event]
            self._tallies[topic].add(mood, owners[event], date_only=date_only)
        self._reached.clear()
        return tuple(tally.row(topic) for topic, tally in sorted(self._tallies.items()))

    def _quietest(self, sources: Collection[str]) -> str:
        """Return the source with the fewest stories in the bucket."""
        return next(iter(sources)) if len(sources) == 1 else min(sources, key=lambda s: (self._stories[s], s))

    def names(self) -> tuple[NameCounts, ...]:
        """Return what the bucket's new events say of names that no topic has. A copy adds no name to its event."""
        tallies: dict[str, _Tally] = {}
        written: dict[str, Counter[str]] = {}
        for story in self._named:
            voices = self._voices[story.position]
            mood, owner = _mood(voices.values(), None), self._quietest(voices)
            for key, name in story.names:
                tally = tallies.setdefault(key, _Tally())
                tally.stories += 1
                tally.add(mood, owner, date_only=story.date_only)
                written.setdefault(key, Counter())[name] += 1
        return tuple(NameCounts(key, plainest(written[key]), tallies[key].row(key)) for key in sorted(tallies))

    def critical(self) -> tuple[CriticalStory, ...]:
        """Return the bucket's critical stories, by when they count; equal ones stay in canonical order."""
        return tuple(sorted(self._critical, key=lambda story: story.counts_at))

    def rule(self, m: CountedStory) -> Ruling:
        """Decide what the next story in canonical order counts as, and count it."""
        memory = self._memory
        key = m.key
        known = memory.ids.get(key)
        if known is not None and m.bucket - known.last_bucket <= self._rules.remember:
            ending = "duplicate" if m.content in known.contents else "revision"
            known.contents.add(m.content)
            known.last_bucket = m.bucket
            known.dirty = True
            event = known.event
            if ending == "revision" and not m.stale and m.source not in self._muted:
                # The first version stands in the series. But what became critical only now is news.
                self._note_critical(m, [topic for topic in m.critical if topic not in known.critical])
                known.critical.update(m.critical)
            if ending == "revision" or m.stale or event is None or m.scores is None or m.source in self._muted:
                return Ruling(m, ending, False, known.first)
            added = [topic for topic in m.topics if topic not in known.topics]
            known.topics.update(added)
            self.count(m, added, event)
            return Ruling(m, ending, False, known.first, event.position)
        if m.scores is None or m.stale or m.source in self._muted:
            if not m.stale:
                memory.ids[key] = Known(m.position, m.bucket, {m.content}, set(m.topics), None, dirty=True)
            return Ruling(m, "unscored" if m.scores is None else "scored", False)
        assert m.signature is not None
        first = _event_of(memory, m)
        if first is None:
            event = Event(m.position, m.rank, m.signature, m.keys, polarity(m.scores), set())
            memory.add_event(event)
            memory.new_events.append(event)
            if m.names:
                self._named.append(m)
        else:
            event = first
        known = Known(m.position, m.bucket, {m.content}, set(m.topics), event, set(m.critical), dirty=True)
        memory.ids[key] = known
        self.count(m, (ALL, *m.topics), event)
        return Ruling(m, "scored", True, event=None if first is None else first.position)

    def count(self, m: CountedStory, topics: Iterable[str], event: Event) -> None:
        """Count one more story in each of `topics`, and one more event where the event is new.

        What the event has reached is remembered by the names that its stories bear. So it follows from the stories
        alone, whatever names had a place at the time.
        """
        assert m.scores is not None
        self._stories[m.source] += 1
        self._voices.setdefault(event.position, {}).setdefault(m.source, m)
        topics = list(topics)
        if m.critical:
            self._note_critical(m, topics)
        beyond: list[tuple[str, bool]] = []
        for topic in topics:
            new = topic not in event.topics
            event.topics.add(topic)
            if self._admission.admits(topic, m.source):
                self._add(m, topic, event, new)
            else:
                beyond.append((topic, new))
        if beyond:
            self._add(m, OTHER, event, any(new for _, new in beyond))
            note = self._beyond.get(m.partition)
            if note is None:
                self._beyond[m.partition] = Beyond(m.bucket, m.bucket, 1, beyond[0][0])
            else:
                self._beyond[m.partition] = replace(note, last=m.bucket, stories=note.stories + 1)

    def _note_critical(self, m: CountedStory, topics: Iterable[str]) -> None:
        for topic in sorted(topics):
            if topic in m.critical:
                word, needed = m.critical[topic]
                scores = m.moods.get(topic, m.scores)
                assert scores is not None
                self._critical.append(CriticalStory(m.counts_at, topic, *m.position, word, scores[0], needed))

    def _add(self, m: CountedStory, topic: str, event: Event, new: bool) -> None:
        tally = self._tallies.get(topic)
        if tally is None:
            tally = self._tallies[topic] = _Tally()
        tally.stories += 1
        if new:
            self._reached.append((topic, event.position, m.date_only))


def plainest(forms: Mapping[str, int]) -> str:
    """Return the form of a name by which readers know it: the most frequent; of equals, not one in capitals, without a
    hyphen, of more words, longer."""
    return max(
        sorted(forms), key=lambda form: (forms[form], not form.isupper(), "-" not in form, len(form.split()), len(form))
    )


def _mood(voices: Iterable[CountedStory], topic: str | None) -> Scores:
    """Return the median of what stories with scores say of a topic; of the text as a whole for None."""
    said = [m.scores if topic is None else m.moods.get(topic, m.scores) for m in voices]
    return median([scores for scores in said if scores is not None])


def _event_of(memory: SeenIds, m: CountedStory) -> Event | None:
    """Return the earliest event of the last 48 hours that this story is a near-copy of, in words and in mood."""
    assert m.scores is not None
    if memory.keys.keys().isdisjoint(m.keys):  # as for nearly all stories
        return None
    mood = polarity(m.scores)
    found = {
        event.rank: event
        for key in m.keys
        for event in memory.keys.get(key, ())
        if m.bucket - event.rank[0] <= LOOK_BACK and agree(event.polarity, mood)
    }
    if not found:
        return None
    assert m.signature is not None
    match = novelty.best_match(m.signature, [(found[rank], found[rank].signature) for rank in sorted(found)])
    return match if isinstance(match, Event) else None
