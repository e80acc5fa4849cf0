"""The store and the monitor against the executable specification of time and counting, on random logs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.monitor import watermark
from foreshock.monitor.counting import CountedStory, SeenIds, count_bucket
from foreshock.monitor.watermark import Progress, TimeRules

pytestmark = pytest.mark.slow

SECOND = 1_000_000

RULES = TimeRules(
    bucket=300, lateness=120, max_staleness=6 * 3600, stall_after=3 * 3600, remember=90 * 86400, max_ahead=120
)
SMALL = TimeRules(bucket=10, lateness=5, max_staleness=40, stall_after=60, remember=100, max_ahead=3)

times = st.one_of(st.integers(0, 120), st.integers(0, 2_000))
records = st.builds(
    oracle.Record,
    time=st.one_of(st.none(), times),
    id=st.sampled_from("abcdefgh"),
    content=st.sampled_from("xyz"),
    readable=st.sampled_from([True, True, True, False]),
    owner=st.sampled_from("pqq"),
    ahead=st.sampled_from([False, False, False, True]),
)


def as_oracle(rules: TimeRules) -> object:
    return oracle.Rules(
        rules.bucket, rules.lateness, rules.max_staleness, rules.remember, rules.stall_after, rules.max_ahead
    )


@st.composite
def rows(draw: st.DrawFn) -> list[object]:
    """A partition's log: it joins, then records and ticks come, and it may leave and join again."""
    log: list[object] = [oracle.Join(draw(st.one_of(st.none(), times)))]
    member = True
    for _ in range(draw(st.integers(0, 25))):
        if not member:
            log.append(oracle.Join(draw(st.one_of(st.none(), times))))
            member = True
            continue
        row = draw(
            st.one_of(
                *(records, records, records, st.just(oracle.Leave())),
                *(st.builds(said, st.one_of(st.none(), times)) for said in (oracle.Tick, oracle.Aside)),
            )
        )
        member = not isinstance(row, oracle.Leave)
        log.append(row)
    return log


def ours(p: Progress, row: object, rules: TimeRules) -> Progress:
    if isinstance(row, oracle.Join):
        return replace(p, watermark=watermark.later(p.watermark, row.value), member=True, idle=False)
    if isinstance(row, oracle.Tick | oracle.Aside):
        return watermark.tick(p, row.value)
    if isinstance(row, oracle.Leave):
        return watermark.leave(p)
    assert isinstance(row, oracle.Record)
    return replace(p, idle=False) if row.time is None or row.ahead else watermark.step(p, row.time, row.id, rules)


@given(rows(), st.sampled_from([RULES, SMALL]))
def test_progress_and_judgement_of_a_partition_are_the_specifications(log: list[object], rules: TimeRules) -> None:
    expected = oracle.Progress()
    progress = Progress()
    for row in log:
        if isinstance(row, oracle.Record) and row.time is not None:
            judged = oracle.judge_one(expected, "p", 0, row, as_oracle(rules))
            mine = watermark.judge(progress.watermark, row.time, rules)
            assert (mine.counts_at, mine.late, mine.stale) == (judged.counts_at, judged.late, judged.stale)
            assert rules.start_of(mine.counts_at) == judged.bucket
        before = progress.watermark
        expected = oracle.step(expected, row, as_oracle(rules))
        progress = ours(progress, row, rules)
        assert (progress.watermark, progress.largest, progress.member, progress.idle) == (
            expected.watermark,
            expected.largest,
            expected.member,
            expected.idle,
        )
        assert before is None or (progress.watermark is not None and progress.watermark >= before), (
            "a watermark never falls"
        )


@given(
    st.dictionaries(st.sampled_from("pqr"), rows(), min_size=1),
    st.integers(0, 2_500),
    st.sets(st.sampled_from("pqr")),
)
def test_feed_time_joins_ticks_and_asides_are_the_specifications(
    feed: dict[str, list[object]], clock: int, silent: set[str]
) -> None:
    states = {name: oracle.progress(log, as_oracle(SMALL)) for name, log in feed.items()}
    mine = {name: Progress(p.watermark, p.largest, p.member, p.idle) for name, p in states.items()}
    counted = [
        j.counts_at
        for name, log in feed.items()
        for j in oracle.judge(name, log, as_oracle(SMALL))
        if j.counts_at is not None
    ]
    time = watermark.feed_time(mine.values(), max(counted, default=None), SMALL)
    assert time == oracle.feed_time(feed, as_oracle(SMALL))
    joined = watermark.join(Progress(), time, SMALL)
    assert joined.watermark == oracle.join_floor(time, as_oracle(SMALL))
    for own in mine:
        assert watermark.tick_value(own, mine, clock, SMALL) == oracle.tick_value(own, states, clock, as_oracle(SMALL))
        said = watermark.aside_value(own, mine, silent, clock, SMALL)
        assert said == oracle.aside_value(own, states, silent, clock, as_oracle(SMALL))


@given(st.dictionaries(st.sampled_from("pq"), rows(), min_size=1))
@settings(deadline=None)
def test_rulings_are_the_specifications_in_canonical_order(feed: dict[str, list[object]]) -> None:
    decided = oracle.decide(feed, as_oracle(SMALL))
    memory = SeenIds()
    for start, expected in decided:
        members = [
            CountedStory(
                partition=d.judged.partition,
                offset=d.judged.place,
                bucket=start,
                published_at=d.judged.record.time,
                id=d.judged.record.id,
                content=d.judged.record.content,
                source=d.judged.record.owner,
                stale=d.judged.stale,
                date_only=False,
                scores=(2_000, 3_000, 5_000) if d.judged.record.readable else None,
                # Every event its own text, so that near-copies play no part here.
                signature=(d.judged.partition + str(d.judged.place)).encode().ljust(256, b"\1"),
                keys=(place,),
                topics=("t",),
            )
            for place, d in enumerate(expected, 100 * start)
        ]
        rulings, bucket = count_bucket(memory, start, reversed(members), SMALL)
        assert [(r.member.position, r.ending, r.weighs) for r in rulings] == [
            ((d.judged.partition, d.judged.place), d.end, d.weighs) for d in expected
        ]
        weighing = sum(d.weighs for d in expected)
        assert sum(t.stories for t in bucket.topics if t.topic == "_all") == weighing


repeats = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.sets(st.sampled_from(["t", "u", "v"]))), max_size=4
)


@given(repeats, repeats)
@settings(deadline=None, max_examples=50)
def test_what_a_muted_source_brings_moves_no_series_whatever_it_repeats(
    before: list[tuple[str, str, set[str]]], after: list[tuple[str, str, set[str]]]
) -> None:
    """Not by a further topic of a story from before it was muted, either."""
    memory = SeenIds()

    def topics(start: int, records: list[tuple[str, str, set[str]]], muted: set[str]) -> list[str]:
        members = [
            CountedStory(
                partition="p",
                offset=start + place,
                bucket=start,
                published_at=start,
                id=identity,
                content=content,
                source="wire",
                stale=False,
                date_only=False,
                scores=(2_000, 3_000, 5_000),
                signature=(identity + content).encode().ljust(256, b"\1"),
                keys=(start + place,),
                topics=tuple(sorted(topics)),
            )
            for place, (identity, content, topics) in enumerate(records)
        ]
        return [topic.topic for topic in count_bucket(memory, start, members, SMALL, muted=muted)[1].topics]

    assert bool(topics(0, before, set())) is bool(before)
    assert topics(10, after, {"wire"}) == []


class Live:
    """A live feed as the specification sees it: partitions, the clock, and what their workers and the monitor write."""

    def __init__(self) -> None:
        self.rules = as_oracle(SMALL)
        self.clock = 100
        self.feed: dict[str, list[Any]] = {name: [oracle.Join(None)] for name in "pqr"}

    @property
    def states(self) -> dict[str, Any]:
        return {name: oracle.progress(log, self.rules) for name, log in self.feed.items()}

    def arrives(self, name: str, after: int, identity: str) -> None:
        time = max(0, self.clock + after)
        self.feed[name].append(oracle.Record(time, identity, ahead=oracle.is_ahead(time, self.clock, self.rules)))

    def tick(self, name: str) -> None:
        self.feed[name].append(oracle.Tick(oracle.tick_value(name, self.states, self.clock, self.rules)))

    def set_aside(self, silent: set[str]) -> None:
        for name in sorted(silent):
            value = oracle.aside_value(name, self.states, silent, self.clock, self.rules)
            if value is not None:
                self.feed[name].append(oracle.Aside(value))

    def decided(self) -> list[Any]:
        return oracle.decide(self.feed, self.rules)


names = st.sampled_from("pqr")
happenings = st.lists(
    st.one_of(
        *[st.tuples(st.just("arrives"), names, st.integers(-60, 60), st.sampled_from("abcdefgh"))] * 4,
        st.tuples(st.just("tick"), names),
        st.tuples(st.just("aside"), st.sets(names, max_size=2)),
        st.tuples(st.just("clock"), st.integers(1, 30)),
    ),
    max_size=40,
)


@given(happenings)
def test_what_was_decided_stays_decided_whatever_the_monitor_says_of_silent_sources(steps: list[tuple]) -> None:
    """An earlier `decide` is a prefix of a later one, and the same rows decide the same: no decision reads a clock."""
    live = Live()
    before: list[Any] = []
    for what, *given_ in steps:
        if what == "clock":
            live.clock += given_[0]
        else:
            does: dict[str, Any] = {"arrives": live.arrives, "tick": live.tick, "aside": live.set_aside}
            does[what](*given_)
        found = live.decided()
        assert found[: len(before)] == before
        before = found
    replayed = oracle.decide({name: list(log) for name, log in live.feed.items()}, live.rules)
    assert replayed == before


@given(happenings, st.sets(names, min_size=1, max_size=2))
def test_no_silent_source_stops_time_while_another_answers(steps: list[tuple], silent: set[str]) -> None:
    """Whatever came before: once the silent are set aside and the others are at their end, time follows the clock."""
    live = Live()
    for what, *given_ in steps:
        if what == "clock":
            live.clock += given_[0]
        elif what != "aside":
            does: dict[str, Any] = {"arrives": live.arrives, "tick": live.tick}
            does[what](*given_)
    awake = sorted(set("pqr") - silent)
    for number in range(3):
        live.arrives(awake[0], -number, f"now {number}")  # a stored time near the clock
    for _ in range(2):
        live.set_aside(silent)
        for name in awake:
            live.tick(name)
    time = oracle.feed_time(live.feed, live.rules)
    assert time is not None
    assert oracle.join_floor(time, live.rules) >= oracle.join_floor(live.clock - SMALL.lateness, live.rules)


@given(happenings, names, st.integers(4, 3_000))
def test_records_ahead_of_the_clock_move_no_time(steps: list[tuple], name: str, ahead: int) -> None:
    live = Live()
    for what, *given_ in steps:
        if what == "arrives":
            live.arrives(*given_)
    before = live.states[name]
    for number in range(5):
        live.arrives(name, ahead + number, f"ahead {number}")
    after = live.states[name]
    assert (after.watermark, after.largest) == (before.watermark, before.largest)
