"""Decide which alerts tell of one thing: by the stories that they share, and by the company that they are about.

Sharing stories means less than it seems, because every story of a company is also one of its theme and of `_all`. So a
theme that fires "shares" all stories of each of its companies, and two unrelated crises would become one. Three rules
keep them apart. All of them compare what came with what is usual, so they need no list of companies and themes.

* **Alike** topics (two companies, two themes) belong together if half of what is unusual about the quieter is shared.
  **Twins** (the stories of each usually bear the other) if half of what is unusual about each is the other's, too.
* A **wider** topic (one that the other's stories usually bear, too) belongs to the narrower if at least half of what is
  unusual about it are the narrower's stories: the theme rings because of its company.
* It stands **above** narrower ones if what is unusual is spread: its two loudest parts do not make half of it, and at
  least three have more than usual. The companies then ring because of their theme or of the market.

What is usual is measured on the topic's newest stories before the evidence. Everything here is a pure function of the
evidence, which ends at the moment of the decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple, Protocol

from foreshock.monitor.alerts import Alert
from foreshock.monitor.kinds import BETTER, DRIFT, KINDS, VOLUME
from foreshock.monitor.units import ALL, DAY, OTHER, UNIT

SHARE = 0.5
"""The part of what is unusual that two alerts share if they tell of one thing: more in common than apart."""
FEWEST_SHARED = 2
"""Events that they share at least. One story that names two companies does not make two crises one."""
USUALLY = 0.5
"""A topic is wider than another if at least this part of the other's usual stories bear it."""
FEWEST_USUAL = 5
"""Usual stories without which the evidence itself says what is wider."""
ALWAYS = 0.9
"""That is if nearly all of it bears the wider topic."""
PARTS_ABOVE = 3
"""Parts with more than usual that a spread change has at least. Two may be a coincidence."""
LOUDEST = 8
"""The loudest parts, of which pairs are tried."""
SPREAD = 0.5
"""Its two loudest parts make less of it than this."""
USUAL_DAYS = 28
"""How far back usual stories are read: as far as the detectors' profile of a topic."""
USUAL_STORIES = 1_000
"""The most of them, the newest: enough to know a share of 1 % to half of itself."""
MOST = 5_000
"""The most records of an alert's evidence that are compared, the newest. A whole market's are many times as many."""

Event = tuple[str, int]
"""Position (partition, offset) of an event's first story."""


class Record(NamedTuple):
    """A story that counts in some topic."""

    event: Event
    at: int
    """When it counts (microseconds)."""
    topics: frozenset[str]
    source: str
    negative: int
    """Probability of negative, in 1/10,000."""
    severity: int | None = None
    """How grave its bad news is, in hundredths from 0 to 300."""


class Past(NamedTuple):
    """The usual stories of a topic: the newest before a time, and how long they took to come (microseconds)."""

    records: Sequence[Record]
    span: int


class Evidence(Protocol):
    """Where stories are read from. Both answers hold only stories that count before `end`."""

    def records(self, topic: str, start: int, end: int, wanted: str, limit: int = MOST) -> list[Record]:
        """Return the newest records of a topic in [start, end), in a fixed order: those of a mood, or `any`."""
        ...

    def past(self, topic: str, end: int, wanted: str) -> Past:
        """Return the newest `USUAL_STORIES` records of a mood in the `USUAL_DAYS` before `end`."""
        ...


class Seen(NamedTuple):
    """An event as some evidence shows it."""

    at: int
    topics: frozenset[str]
    sources: frozenset[str]
    negative: int
    severity: int | None


def wanted_of(kind: str, direction: str) -> str:
    """Return which stories are the evidence of an alert: `negative`, `positive`, or `any`."""
    if kind == VOLUME:
        return "any"
    return "positive" if direction == BETTER else "negative"


def wanted_by(alert: Alert) -> str:
    """Return which stories are an alert's evidence."""
    return wanted_of(alert.kind, alert.direction)


def seen(records: Sequence[Record]) -> dict[Event, Seen]:
    """Return the events of records, each with all topics and sources of its stories."""
    found: dict[Event, Seen] = {}
    for r in records:
        before = found.get(r.event)
        if before is None:
            found[r.event] = Seen(r.at, r.topics, frozenset((r.source,)), r.negative, r.severity)
        else:
            graver = max(filter(None, (before.severity, r.severity)), default=before.severity)
            found[r.event] = Seen(
                min(before.at, r.at),
                before.topics | r.topics,
                before.sources | {r.source},
                max(before.negative, r.negative),
                graver,
            )
    return found


@dataclass(frozen=True, slots=True)
class Member:
    """An alert of an incident that is compared with one that fires."""

    alert: Alert
    incident: str
    size: int
    """Events beyond the usual number when it fired."""

    def until(self, at: int, kind: str) -> int:
        """Return where its evidence ends, for an alert of a `kind` that fires at `at`: it grows while the alert fires.

        A drift may fire for weeks. It goes on for another drift. For other kinds it reports what came before it fired.
        """
        if self.alert.resolved_at is not None:
            return min(self.alert.resolved_at, at)
        return self.alert.window_end if self.alert.kind == DRIFT != kind else at


class Tie(NamedTuple):
    """Why an alert that fires belongs to the incident of another."""

    member: Member
    share: float
    """Which part of what is unusual about the quieter one is the other's, too."""
    how: str
    """`topic`: they are of one topic. `alike`: their topics are alike. `twin`: each topic's stories usually bear the
    other. `within`: the wider topic rings because of the narrower one. `above`: the narrower rings because of the
    wider. `silent`: both are silent, and miss the same stories."""
    wider: bool = False
    """Whether the alert that fires is of the wider topic."""


@dataclass(frozen=True, slots=True)
class Side:
    """The stories of an alert's topic since its evidence began, or since a day if that is longer, and what is usual."""

    alert: Alert
    events: Mapping[Event, Seen]
    often: Mapping[str, int]
    """By topic, how many of the usual events bear it."""
    known: int
    """Usual events that were read."""
    span: int
    """Microseconds in which the usual events came, at least a day; for a silence, however few."""
    scale: float
    """The length of that time over the time in which the usual events came."""

    @classmethod
    def of(cls, alert: Alert, evidence: Evidence, end: int) -> Side:
        """Read the stories of an alert's topic up to `end`."""
        if not KINDS[alert.kind].has_stories:
            return cls(alert, {}, {}, 0, DAY, 0.0)
        wanted, start = wanted_by(alert), _since(alert.window_start, end)
        past = evidence.past(alert.topic, start, wanted)
        usual = seen(past.records)
        often = Counter(topic for event in usual.values() for topic in event.topics)
        length, span = max(end - start, 1), max(past.span, DAY)
        events = seen(evidence.records(alert.topic, start, end, wanted))
        return cls(alert, events, often, len(usual), span, length / span)

    @classmethod
    def of_silence(cls, alert: Alert, evidence: Evidence) -> Side:
        """Read the usual stories of a silent topic: those that it misses."""
        past = evidence.past(alert.topic, alert.window_start, "any")
        usual = seen(past.records)
        often = Counter(topic for event in usual.values() for topic in event.topics)
        return cls(alert, {}, often, len(usual), max(past.span, 1), 0.0)

    @property
    def wideness(self) -> tuple[bool, float]:
        """Return what orders topics from narrow to wide: how many usual events came in how much time, `_all` last."""
        return self.alert.topic == ALL, self.known / self.span

    @property
    def usual(self) -> float:
        """Events that are usual in as much time."""
        return self.known * self.scale

    @property
    def unusual(self) -> float:
        """Events beyond the usual number, at least 1."""
        return max(len(self.events) - self.usual, 1.0)

    @property
    def window(self) -> list[Seen]:
        """Return the events of the alert's own window."""
        return [event for event in self.events.values() if event.at >= self.alert.window_start]

    def beyond_usual(self, topic: str) -> float:
        """Return how many more events than usual bear a topic."""
        return len(self.bearing(topic)) - self.often.get(topic, 0) * self.scale

    def part(self, topic: str) -> float:
        """Return which part of what is unusual bears a topic."""
        return self.beyond_usual(topic) / self.unusual

    def parts(self) -> dict[str, float]:
        """Return `beyond_usual` of the topics that fewer than half of the usual events bear."""
        now = {topic for event in self.events.values() for topic in event.topics}
        fewer = (topic for topic in now if self.often.get(topic, 0) < USUALLY * max(self.known, 1))
        return {topic: self.beyond_usual(topic) for topic in fewer if topic not in (self.alert.topic, ALL, OTHER)}

    def bearing(self, topic: str) -> set[Event]:
        """Return the events of the evidence that bear a topic."""
        return set(self.events) if topic == ALL else {e for e, s in self.events.items() if topic in s.topics}

    def is_spread(self) -> bool:
        """Return whether what is unusual is spread over parts of the topic, so that it is more than one part's news."""
        parts = self.parts()
        loud = sorted((topic for topic, more in parts.items() if more >= 1), key=lambda t: (-parts[t], t))
        if len(loud) < PARTS_ABOVE:
            return False
        bear = {topic: self.bearing(topic) for topic in loud[:LOUDEST]}
        usual = {topic: self.often.get(topic, 0) * self.scale for topic in bear}
        most = max(len(bear[a] | bear[b]) - usual[a] - usual[b] for a, b in combinations(bear, 2))
        return most < SPREAD * self.unusual

    def times(self) -> float:
        """Return how many times the usual number of events came, one more on both sides."""
        return (1 + len(self.events)) / (1 + self.usual)

    def times_without(self, events: Collection[Event], topic: str) -> float:
        """Return `times` without some events, which bear `topic`."""
        usual = self.usual - self.often.get(topic, 0) * self.scale
        return (1 + len(self.events.keys() - set(events))) / (1 + max(usual, 0.0))


def mainly(mine: Side, evidence: Evidence, end: int) -> str | None:
    """Return the topic whose stories make at least half of what is unusual and that says more, or None.

    For a theme this is a company.
    """
    parts, better = mine.parts(), list[tuple[bool, float, str]]()
    for topic in sorted(parts, key=lambda t: (-parts[t], t))[:LOUDEST]:
        if parts[topic] < FEWEST_SHARED or mine.part(topic) < SHARE:
            break
        side = Side.of(replace(mine.alert, topic=topic), evidence, end)
        if says_more(side, mine):
            narrower = side.known >= FEWEST_USUAL and _is_wider(mine.alert.topic, side)  # what is new may be anything
            better.append((not narrower, -parts[topic], topic))
    return min(better)[2] if better else None


def says_more(one: Side, other: Side) -> bool:
    """Return whether a topic is the better name for what two topics share: the narrower, or the one that holds more of
    what is unusual about the other than the other of its."""
    up, down = _is_wider(other.alert.topic, one), _is_wider(one.alert.topic, other)
    if up != down:
        return up
    return other.part(one.alert.topic) > one.part(other.alert.topic)


def silent_tie(mine: Side, other: Member, side: Callable[[Member], Side]) -> Tie | None:
    """Return what ties a silence to another one: half of the stories that the quieter topic misses are the other's.

    The quieter topic is the one that usually has fewer stories a day. Only its stories say what both share, because
    the newest stories of a busy topic may be those of a few hours. The tie is `wider` if the alert that fires is of the
    topic with more stories a day. `mine`, and what `side` returns, are sides `of_silence`.

    Invariant: which of two silences fires first changes nothing but `wider`.
    """
    topic, theirs_topic = mine.alert.topic, other.alert.topic
    has_all_stories = mine.span >= USUAL_DAYS * DAY
    if ALL not in (topic, theirs_topic) and has_all_stories and mine.often.get(theirs_topic, 0) < FEWEST_SHARED:
        return None  # spares reading the other's stories
    theirs = side(other)
    quieter, louder = sorted((mine, theirs), key=lambda s: (s.wideness, s.alert.topic))
    shared = quieter.known if louder.alert.topic == ALL else quieter.often.get(louder.alert.topic, 0)
    share = shared / max(quieter.known, 1)
    if share < SHARE or shared < FEWEST_SHARED:
        return None
    return Tie(other, share, "silent", wider=mine.wideness > theirs.wideness)


class Ties:
    """What an alert that fires has in common with the alerts of open incidents.

    `side` reads the evidence of another alert. It is called only where stories are shared.
    """

    def __init__(self, mine: Side, side: Callable[[Member], Side]) -> None:
        self.mine, self._side = mine, side

    def tie(self, other: Member, at: int) -> Tie | None:
        """Return what ties the alert to one of an incident at a moment, or None."""
        mine, topic, theirs = self.mine, self.mine.alert.topic, other.alert.topic
        common = self.common(other, at)
        if len(common) < FEWEST_SHARED:
            return None
        shared = len(common) - mine.often.get(theirs, 0) * mine.scale * (theirs not in (ALL, topic))
        share = shared / min(mine.unusual, max(other.size, shared, 1.0))
        if share < SHARE:
            return None
        if topic == theirs:
            return Tie(other, share, "topic")
        side = self._side(other)
        # Its stories go on to come after it fired, so its size goes on to grow.
        share = min(share, shared / min(mine.unusual, max(side.unusual, shared)))
        if share < SHARE:
            return None
        up, down = _is_wider(theirs, mine), _is_wider(topic, side)
        if up and down:
            if min(side.part(topic), mine.part(theirs)) >= SHARE:
                return Tie(other, share, "twin")
            # One company may be most of its theme's usual stories. The theme is the one that has more parts.
            up, down = side.is_spread(), mine.is_spread()
            if up == down:
                return None
        if up:
            return _of_wider(Tie(other, share, "above"), side, topic)
        if down:
            return _of_wider(Tie(other, share, "above", wider=True), mine, theirs)
        return Tie(other, share, "alike")

    def common(self, other: Member, at: int) -> set[Event]:
        """Return the events of the alert that are the other's evidence, too.

        A story may be bad for one company and good for another. So the mood towards this alert's topic says nothing of
        another topic, whose own evidence is read, once enough events may be shared.
        """
        begin, end = _since(other.alert.window_start, other.alert.fired_at or at), other.until(at, self.mine.alert.kind)
        if not KINDS[other.alert.kind].has_stories:
            return set()
        events, of_one_topic = self.mine.events, other.alert.topic == self.mine.alert.topic
        shared = {event for event in self.mine.bearing(other.alert.topic) if begin <= events[event].at < end}
        if of_one_topic and wanted_by(other.alert) == "negative":
            return {event for event in shared if events[event].negative >= UNIT // 2}
        if of_one_topic or len(shared) < FEWEST_SHARED:
            return shared
        return shared & self._side(other).events.keys()


def _since(start: int, end: int) -> int:
    """Return from when on stories are compared: what a crisis brings comes within a day, and a window may be short."""
    return min(start, end - DAY)


def _of_wider(tie: Tie, wide: Side, narrow: str) -> Tie | None:
    """Return the tie of a wider topic with a narrower one, or None: sharing stories is not enough for it."""
    if wide.part(narrow) >= SHARE:
        return tie._replace(how="within")
    return tie if wide.is_spread() else None


def _is_wider(topic: str, narrow: Side) -> bool:
    """Return whether a topic is wider than that of an evidence: its stories usually bear it."""
    if ALL in (topic, narrow.alert.topic):
        return topic == ALL
    if narrow.known >= FEWEST_USUAL:
        return narrow.often.get(topic, 0) >= USUALLY * narrow.known
    return len(narrow.bearing(topic)) >= ALWAYS * max(len(narrow.events), 1)
