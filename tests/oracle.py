"""Foreshock's rules of time and counting as a small program, which tests compare with the implementation.

The input is, for each partition, what happened to it in order: `Join`, `Record`, `Tick` and `Leave`, with the values
that were written. The output is what every implementation must give, whatever its workers, batches and crashes:

    judge(name, rows)    each record: the watermark before it, late, stale, when and in which bucket it counts
    feed_time(feed)      how far event time has come: every bucket that ends by then is decided
    decide(feed)         the decided buckets in order, their members in canonical order, each with its end

Times are whole units of event time: seconds with the default `Rules`. A bucket is named by its start and covers
[start, start + bucket). A watermark of `None` means "none yet" and is earlier than every time. Nothing here reads a
clock: the value of a join or a tick is input, like a record. `join_floor` and `tick_value` compute the values that the
live system writes into them.

Two things hold for any rows, values and interleaving of partitions: a watermark never falls, and a record counts at or
after its partition's watermark. The value of a join must not be earlier than the end of any bucket closed so far. Then
no record enters a closed bucket, and an earlier `decide` is a prefix of a later one.

The rules in words are in docs/design.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

Time = int | None


@dataclass(frozen=True)
class Rules:
    """The settings that these rules depend on. Defaults are in seconds."""

    bucket: int = 300
    lateness: int = 120
    max_staleness: int = 6 * 3600
    remember: int = 90 * 86400
    """For how long an id is remembered after the bucket of the last record that bore it."""
    stall_after: int = 3 * 3600
    """Ticks move time only while a stored time is within this distance of the clock."""


class Record(NamedTuple):
    """One record of a partition."""

    time: Time
    """The event time. None: a dead letter, which has no influence on time."""
    id: str = ""
    content: str = ""
    """A hash of title, body and status."""
    readable: bool = True
    """False: the record is in a language that the model's card does not name."""
    owner: str = ""
    """The feed and source whose id this is. The same id of another owner is another story. (The watermark compares ids
    within one partition, whoever they belong to.)"""


class Join(NamedTuple):
    """The partition becomes a member of the feed."""

    value: Time
    """The watermark that it joins with. None: no bucket can have been closed yet."""


class Tick(NamedTuple):
    """The partition's worker declares it idle."""

    value: Time
    """The watermark that it may advance to. None: the partition is idle, but time does not move."""


class Leave(NamedTuple):
    """The partition stops being a member of the feed."""


Row = Record | Join | Tick | Leave
Feed = dict[str, list[Row]]


def later(a: Time, b: Time) -> Time:
    return b if a is None else a if b is None else max(a, b)


def earliest(times: list[Time]) -> Time:
    known = [time for time in times if time is not None]
    return None if len(known) < len(times) else min(known)


@dataclass(frozen=True)
class Progress:
    """What a partition's progress row must hold, besides the next offset, to go on as if never interrupted."""

    watermark: Time = None
    """Records, joins and ticks only ever raise it."""
    largest: tuple[tuple[int, str], ...] = ()
    """The three largest event times with distinct ids, and these ids."""
    member: bool = False
    idle: bool = False
    """Whether the last row is a tick."""
    version: int = 0
    """Rises with every write (here, with each row). Every write compares and sets it."""


def step(p: Progress, row: Row, rules: Rules = Rules()) -> Progress:
    """Return the progress after one more row."""
    watermark, largest, member = p.watermark, p.largest, p.member
    if member == isinstance(row, Join):
        raise ValueError("a member cannot join again, and a partition that is not a member can only join")
    if isinstance(row, (Join, Tick)):
        watermark, member = later(watermark, row.value), True
    elif isinstance(row, Leave):
        member = False
    elif row.time is not None:
        times = {id_: time for time, id_ in largest}
        times[row.id] = max(row.time, times.get(row.id, row.time))
        largest = tuple(sorted(((time, id_) for id_, time in times.items()), reverse=True)[:3])
        if len(largest) == 3:
            watermark = later(watermark, largest[2][0] - rules.lateness)
    return Progress(watermark, largest, member, isinstance(row, Tick), p.version + 1)


def progress(rows: list[Row], rules: Rules = Rules()) -> Progress:
    """Return the progress of a partition after all of its rows."""
    p = Progress()
    for row in rows:
        p = step(p, row, rules)
    return p


class Judged(NamedTuple):
    """A record with its place in time."""

    partition: str
    place: int
    """Index among the partition's rows; in a live system, the offset."""
    record: Record
    watermark: Time
    """The partition's watermark before this record."""
    late: bool
    stale: bool
    """A stale record is late, too, and weighs nothing."""
    counts_at: Time
    """None for a dead letter, as is `bucket`."""
    bucket: Time


def judge_one(p: Progress, partition: str, place: int, r: Record, rules: Rules = Rules()) -> Judged:
    """Return when record `r` counts, if the partition stands at `p` before it."""
    if r.time is None:
        return Judged(partition, place, r, p.watermark, False, False, None, None)
    at, late, stale = r.time, False, False
    if p.watermark is not None and r.time < p.watermark:
        at, late, stale = p.watermark, True, p.watermark - r.time > rules.max_staleness
    return Judged(partition, place, r, p.watermark, late, stale, at, at - at % rules.bucket)


def judge(partition: str, rows: list[Row], rules: Rules = Rules()) -> list[Judged]:
    """Return when each record of a partition counts."""
    p, judged = Progress(), []
    for place, row in enumerate(rows):
        if isinstance(row, Record):
            judged.append(judge_one(p, partition, place, row, rules))
        p = step(p, row, rules)
    return judged


def feed_time(feed: Feed, rules: Rules = Rules()) -> Time:
    """Return the smallest watermark of the members.

    Without members, return the later of the largest watermark and the end of the last bucket that has a record. Rounded
    down to a bucket's end, feed time never falls.
    """
    states = {name: progress(rows, rules) for name, rows in feed.items()}
    members = [p.watermark for p in states.values() if p.member]
    if members:
        return earliest(members)
    time: Time = None
    for name, rows in feed.items():
        time = later(time, states[name].watermark)
        for judged in judge(name, rows, rules):
            time = later(time, None if judged.bucket is None else judged.bucket + rules.bucket)
    return time


@dataclass
class Memory:
    """For each owner and id, every content seen under it and the last bucket that bore it."""

    ids: dict[tuple[str, str], tuple[int, frozenset[str]]] = field(default_factory=dict)

    def end_of(self, j: Judged, rules: Rules) -> str:
        """Return how a record ends (scored, unscored, duplicate or revision), and remember it."""
        assert j.bucket is not None
        last, contents = self.ids.get((j.record.owner, j.record.id), (j.bucket, frozenset()))
        if j.bucket - last > rules.remember:
            contents = frozenset()
        if j.record.content in contents:
            end = "duplicate"
        elif contents:
            end = "revision"
        else:
            end = "scored" if j.record.readable else "unscored"
        if contents or not j.stale:  # a stale record is compared with others, but is never the first of its id
            self.ids[j.record.owner, j.record.id] = (j.bucket, contents | {j.record.content})
        return end


class Decided(NamedTuple):
    judged: Judged
    end: str
    """scored, unscored, duplicate or revision."""
    weighs: bool
    """Whether the record enters the statistics."""


def decide_bucket(memory: Memory, members: Iterable[Judged], rules: Rules = Rules()) -> list[Decided]:
    """Return the members of one bucket in canonical order, each with its end."""

    def canonical(j: Judged) -> tuple[Time, str, str, str, int]:
        return j.record.time, j.record.id, j.record.content, j.partition, j.place

    ends = [(j, memory.end_of(j, rules)) for j in sorted(members, key=canonical)]
    return [Decided(j, end, end == "scored" and not j.stale) for j, end in ends]


def decide(feed: Feed, rules: Rules = Rules()) -> list[tuple[int, list[Decided]]]:
    """Return every bucket that is decided, by its start and in order, with its members."""
    until, memory = feed_time(feed, rules), Memory()
    members: dict[int, list[Judged]] = defaultdict(list)
    for name, rows in feed.items():
        for j in judge(name, rows, rules):
            if j.bucket is not None and until is not None and j.bucket + rules.bucket <= until:
                members[j.bucket].append(j)
    return [(start, decide_bucket(memory, members[start], rules)) for start in sorted(members)]


def join_floor(time: Time, rules: Rules = Rules()) -> Time:
    """Return the value of a join, given the `feed_time` that its own transaction reads."""
    return None if time is None else time - time % rules.bucket


def tick_value(own: str, states: dict[str, Progress], clock: int, rules: Rules = Rules()) -> Time:
    """Return the value of a tick of partition `own`, given the progress rows of one snapshot."""
    members = {name: p for name, p in states.items() if p.member}
    awake = [p.watermark for name, p in members.items() if name != own and not p.idle]
    near = any(abs(clock - time) <= rules.stall_after for p in members.values() for time, _ in p.largest)
    return earliest(awake) if awake else clock - rules.lateness if near else None
