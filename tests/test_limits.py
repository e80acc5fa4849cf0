"""Names that a feed invents: what they may cost, and that they disturb nobody."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.story import DeadLetter
from foreshock.monitor import snapshots
from foreshock.monitor.admission import Admission, Limits
from foreshock.monitor.buckets import Bucket, TopicBucket
from foreshock.monitor.closing import Closer
from foreshock.monitor.deciding import SNAPSHOT_VERSION, DetectionRules, State, decide
from foreshock.monitor.store import admission as store_admission
from foreshock.monitor.store import decided as store_decided
from foreshock.monitor.store import open_store, schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.topics import Matcher, TopicRule
from foreshock.monitor.units import ALL, DAY, HOUR, OTHER
from foreshock.observability import metrics
from foreshock.processes.batches import BatchSize
from foreshock.processes.replay import replay
from foreshock.settings.load import load
from foreshock.settings.models import Settings

START = 20_003 * DAY
FEW = DetectionRules(own=frozenset({"Desk"}), first_events=3, most_topics=1_000)

names = st.sampled_from(["Desk", "a", "b", "c", "d", "e", ALL, OTHER])


def settings_for(url: str, **flags: Any) -> Settings:
    values = {"store.url": url, "watchlist.defaults": False, **{k.replace("__", "."): v for k, v in flags.items()}}
    return load(None, flags=values, environ={}).settings


def write(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def record(
    number: int, topics: list[str], *, every: float = 60.0, source: str = "wire", bad: float = 0.2
) -> dict[str, Any]:
    words = " ".join(word(number * prime % 9973) for prime in (7, 11, 13, 17, 19, 23))
    scores = {"negative": bad, "neutral": 0.9 - bad, "positive": 0.1}
    at = (START / 1e6) + number * every
    return {
        "id": f"s{number}",
        "title": words,
        "published_at": at,
        "source": source,
        "topics": topics,
        "scores": scores,
    }


def word(number: int) -> str:
    """A word without digits, which would be masked."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def rows_of(url: str, topic: str) -> list[tuple[Any, ...]]:
    engine = connect(url, create=False)
    with reading(engine) as connection:
        table = schema.buckets
        rows = connection.execute(select(table).where(table.c.topic == topic).order_by(table.c.start))
        return [tuple(row) for row in rows]


# Which names have a place.


@given(st.lists(st.tuples(names, st.sampled_from("xyz"))), st.integers(0, 4), st.integers(0, 3), st.integers(0, 30))
def test_places_go_to_the_first_names_and_a_restart_keeps_them(
    came: list[tuple[str, str]], places: int, per_source: int, at: int
) -> None:
    """Invariant: who has a place follows from the order of names alone. There are never more than the limits, the
    desk's own topics always have one, and one that was made again from what it held goes on alike."""
    limits = Limits(places, per_source, own=frozenset({"Desk"}))
    whole, before = Admission(limits), Admission(limits)
    answers = [whole.admits(*name) for name in came]
    for name in came[:at]:
        before.admits(*name)
    again = Admission(limits, before.taken.items())
    assert [again.admits(*name) for name in came[at:]] == answers[at:]
    assert again.taken == whole.taken
    assert len(whole.taken) <= places
    assert all(list(whole.taken.values()).count(source) <= per_source for source in "xyz")
    assert all(answer for (name, _), answer in zip(came, answers, strict=True) if name in ("Desk", ALL))
    assert not any(answer for (name, _), answer in zip(came, answers, strict=True) if name == OTHER)


@given(st.lists(st.sampled_from(["Desk", "a", "b", "c", "d", "e", " a ", "", ALL]), max_size=12), st.integers(0, 4))
def test_a_story_keeps_the_desks_topics_and_its_first_few_others(given_names: list[str], per_story: int) -> None:
    matcher = Matcher([TopicRule(name="Desk", names=["Desk"])], per_story=per_story)
    found = matcher.match("nothing", "", [], given_names)
    distinct = list(dict.fromkeys(name.strip() for name in given_names if name.strip() not in ("", ALL)))
    others = [name for name in distinct if name != "Desk"]
    expected = {*others[:per_story], *(["Desk"] if "Desk" in distinct else [])}
    assert set(found) - {OTHER} == expected
    assert (OTHER in found) == (len(others) > per_story)


def test_no_rule_may_be_called_as_what_is_beyond() -> None:
    with pytest.raises(ValueError, match="_other is the name of a series that Foreshock makes"):
        TopicRule(name=OTHER)


@pytest.mark.parametrize(("length", "alive"), [(200, True), (201, False)])
def test_a_record_with_an_endless_source_is_a_dead_letter(length: int, alive: bool) -> None:
    raw = json.dumps({"title": "t", "published_at": 1_700_000_000, "source": "s" * length}).encode()
    found = parse(raw, "p", 0, ParseRules())
    assert isinstance(found, DeadLetter) is not alive
    assert alive or "source is longer than 200 bytes" in found.detail  # type: ignore[union-attr]


# What names cost.


def bucket(number: int, rows: dict[str, tuple[int, int]]) -> Bucket:
    """An hour's bucket: events and negative (1/10,000) by topic, from two sources."""
    made = [TopicBucket(topic, n, n, bad, n * 10_000 - bad, 0, ("a", "b")) for topic, (n, bad) in sorted(rows.items())]
    return Bucket(START + number * HOUR, tuple(made))


def test_names_without_end_take_no_memory_of_the_detectors() -> None:
    """20,000 names, each in two events: no arrays, and no more memory than the limit of names takes."""
    state = State.fresh(FEW)
    sizes = []
    for number in range(40):
        hostile = {f"n{number}_{name}": (2, 9_000) for name in range(500)}
        decide(state, bucket(number, {ALL: (1_001, 9_000), "Desk": (1, 2_000), **hostile}))
        sizes.append(
            sum(array.nbytes for part in state.parts().values() for array in part.dump(part.capacity).values())
        )
    assert state.history.names == ["Desk", ALL]
    assert len(state.few) == FEW.most_topics
    assert len(set(sizes)) == 1
    assert len(state.snapshot()) < 200_000


def test_names_that_repeat_themselves_take_arrays_up_to_the_limit_alone() -> None:
    state = State.fresh(DetectionRules(own=frozenset({"Desk"}), first_events=3, most_topics=40))
    for number in range(50):
        decide(state, bucket(number, {ALL: (30, 0), **{f"n{number}_{name}": (3, 0) for name in range(10)}}))
    assert len(state.history.names) <= 40 + 2
    decide(state, bucket(50, {ALL: (1, 0), "Desk": (1, 0)}))
    assert "Desk" in state.history.index


def test_a_quiet_topic_takes_less_than_8_kb() -> None:
    state = State.fresh(DetectionRules(first_events=3))
    decide(state, bucket(0, {ALL: (1, 0)}))
    tracemalloc.start()
    try:
        for number in range(1, 5):
            decide(state, bucket(number, {ALL: (500, 0), **{f"n{number}_{name}": (1, 0) for name in range(500)}}))
        state.recent.forget(START + 100 * HOUR)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / 2_000 < 8_000


@given(
    st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 2), min_size=1), max_size=8), st.integers(0, 8)
)
@settings(max_examples=15, deadline=None)
def test_a_state_with_few_events_is_the_same_after_a_snapshot(days: list[dict[str, int]], at: int) -> None:
    """Invariant: a state that was restored decides as the one that was not."""
    rules = DetectionRules(first_events=3, most_topics=4)
    whole, part = State.fresh(rules), State.fresh(rules)
    for number, day in enumerate(days):
        made = bucket(number, {topic: (events, 0) for topic, events in day.items()})
        if number == at:
            part = State.restore(part.snapshot(), rules)
        assert decide(part, made) == decide(whole, made)
    assert part.snapshot() == whole.snapshot()


def steady(state: State, hostile: bool) -> list[Any]:
    """Forty days of a desk topic and others, then a crisis of it; beside them, names that each come once."""
    changes: list[Any] = []
    for number in range(40 * 24 // 4):
        hour = 4 * number
        bad = 0.2 + 0.01 * (number % 5)
        crisis = (40, 380_000) if number in (236, 237) else (12, round(120_000 * bad))
        rows = {topic: (12, round(120_000 * bad)) for topic in ("Desk2", "Desk3", "Desk4")} | {
            "Desk": crisis,
            ALL: (48, 0),
        }
        if hostile:
            rows |= {f"n{number}_{name}": (1, 9_500) for name in range(20)}
        changes += decide(state, bucket(hour, rows)).changes
    return changes


@pytest.mark.slow
def test_a_desks_topic_has_the_same_alerts_with_and_without_hostile_names() -> None:
    own = frozenset({"Desk", "Desk2", "Desk3", "Desk4"})
    rules = DetectionRules(own=own, first_events=3, most_topics=50)
    calm, attacked = steady(State.fresh(rules), False), steady(State.fresh(rules), True)
    assert attacked == calm
    assert any(change.event == "firing" and change.alert.topic == "Desk" for change in calm)


# Through the whole way.


def hostile_feed(stories: int, names: int, *, hostile: bool = True) -> list[dict[str, Any]]:
    return [
        record(n, ["Desk" if n % 3 else "Harbour", *([f"n{n}_{name}" for name in range(names)] if hostile else [])])
        for n in range(stories)
    ]


RULES = {"topics": [{"name": "Desk", "names": ["Desk"]}, {"name": "Harbour", "names": ["Harbour"]}]}


def desk(url: str, **flags: Any) -> Settings:
    return settings_for(url, **RULES, **flags)


def test_the_rows_of_the_desk_are_those_without_the_names(tmp_path: Path, quick_scorer: Any) -> None:
    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("hostile", "calm")]
    for url, hostile in zip(urls, (True, False), strict=True):
        path = write(tmp_path / "news.jsonl", hostile_feed(120, 60, hostile=hostile))
        replay(desk(url, limits__topics=500), [path], scorer=quick_scorer)
    for topic in ("Desk", "Harbour", ALL):
        rows = rows_of(urls[0], topic)
        assert rows
        assert [row[:-2] for row in rows] == [row[:-2] for row in rows_of(urls[1], topic)]  # less settings, by_source


def test_what_is_beyond_the_limits_is_counted_and_reported(tmp_path: Path, quick_scorer: Any) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    path = write(tmp_path / "news.jsonl", hostile_feed(30, 8))
    before = metrics.BEYOND_LIMITS._value.get()
    replay(desk(url, limits__topics=20, limits__topics_per_story=5), [path], scorer=quick_scorer)
    engine = connect(url, create=False)
    with reading(engine) as connection:
        found = store_admission.beyond(connection)
        topics = connection.execute(select(schema.topics.c.topic, schema.topics.c.source)).all()
    assert [(row.partition, row.stories) for row in found] == [("news.jsonl", 30)]
    assert found[0].first_at == START
    assert metrics.BEYOND_LIMITS._value.get() - before == 30
    assert len(topics) == 20 + 4  # the places, the desk's two, _all and _other
    assert {row.source for row in topics if row.topic.startswith("n")} == {"wire"}
    series = open_store(url).series(OTHER)
    assert series["stories"].sum() == 30
    assert series["events"].sum() == 30


def test_a_source_that_fills_its_places_leaves_those_of_others(tmp_path: Path, quick_scorer: Any) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    stories = [record(n, [f"n{n}"], source="loud") for n in range(40)] + [record(50, ["quiet"], source="quiet")]
    replay(desk(url, limits__topics_per_source=10), [write(tmp_path / "n.jsonl", stories)], scorer=quick_scorer)
    engine = connect(url, create=False)
    with reading(engine) as connection:
        topics = set(connection.execute(select(schema.topics.c.topic)).scalars())
    assert topics == {ALL, OTHER, "quiet", *(f"n{n}" for n in range(10))}


@pytest.mark.slow
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**16))
@settings(max_examples=4, deadline=None)
def test_batches_closings_and_restarts_change_no_place(
    tmp_path_factory: pytest.TempPathFactory, size: int, buckets: int, seed: int
) -> None:
    """Invariant: the same records give the same rows, whatever the batches, and however often the monitor starts."""
    rng = np.random.default_rng(seed)
    stories = [
        record(n, [f"n{name}" for name in rng.integers(0, 30, 3)], source=str(rng.choice(["x", "y"])), every=400.0)
        for n in range(40)
    ]
    # Copies of earlier stories that bring further names: an event may reach a name long after it was refused.
    for n in range(14):
        copy = {"id": f"c{n}", "topics": [f"n{name}" for name in rng.integers(0, 40, 4)]}
        stories.append({**stories[int(rng.integers(0, 40))], **copy, "published_at": START / 1e6 + 16_000 + 300 * n})
    folder = tmp_path_factory.mktemp("places")
    path = write(folder / "news.jsonl", stories)
    limits = {"limits.topics": 12, "limits.topics_per_source": 8, "limits.topics_per_story": 2}
    rows = []
    for name, batch, at_once in (("whole", 500, 1_000), ("cut", size, buckets)):
        url = f"sqlite:///{folder / name}.db"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store_decided, "BUCKETS_AT_A_TIME", at_once)
            if name == "cut":
                patch.setattr(Closer, "close_some", restarted(Closer.close_some))
            replay(settings_for(url, **limits), [path], batch_size=BatchSize(batch, batch))
        engine = connect(url, create=False)
        with reading(engine) as connection:
            tables = (schema.buckets, schema.topics, schema.beyond_limits, schema.decisions, schema.daily_state)
            rows.append([[tuple(r) for r in connection.execute(select(t).order_by(*t.primary_key))] for t in tables])
        engine.dispose()
    assert rows[0] == rows[1]
    assert len(rows[0][1]) == 12 + 2


def restarted(close_some: Any) -> Any:
    """Let a monitor begin each closing as after a start."""

    def anew(closer: Any) -> Any:
        closer._state = None
        return close_some(closer)

    return anew


# Stores that were poisoned before, and snapshots that cannot be read.


def test_a_store_that_was_poisoned_opens_again(tmp_path: Path, quick_scorer: Any) -> None:
    """More topics than there are places, a snapshot that is none, and one too large to be read."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    path = write(tmp_path / "news.jsonl", hostile_feed(40, 1))
    replay(desk(url), [path], scorer=quick_scorer)
    engine = connect(url, create=False)
    with writing(engine) as connection:
        connection.execute(
            insert(schema.topics),
            [
                {
                    "topic": f"old{n}",
                    "first_story_at": START,
                    "last_story_at": START,
                    "stories": 1,
                    "learning_until": None,
                }
                for n in range(3_000)
            ],
        )
        poisoned = {"start": START, "stories": 9, "events": 9, "negative": 0, "neutral": 90_000, "positive": 0}
        rest = {"day_events": 0, "day_negative": 0, "sources": '["x"]', "baseline": None, "settings": 1}
        connection.execute(insert(schema.buckets), [{"topic": f"old{n}", **poisoned, **rest} for n in range(3_000)])
        connection.execute(update(schema.daily_state).values(body=b"\x78\x01" + b"poison" * 100))
    later = [record(n, ["Desk"], every=120.0) for n in range(3_000, 3_020)]
    replay(desk(url, limits__topics=100), [write(tmp_path / "more.jsonl", later)], scorer=quick_scorer)
    assert len([row for row in rows_of(url, "Desk") if row[1] > START + DAY]) == len({n // 2.5 // 1 for n in range(20)})
    with reading(engine) as connection:
        places = store_admission.load(connection)
    assert len(places.taken) == 100


@given(st.data())
def test_a_damaged_snapshot_is_an_error_that_is_skipped(data: Any) -> None:
    """Invariant: bytes that do not hold exactly a snapshot's content raise ValueError, whatever they are.

    One content has many compressed forms: other bytes that unpack to the same are as good.
    """
    state = State.fresh(FEW)
    decide(state, bucket(0, {ALL: (1, 0)}))
    whole = state.snapshot()
    start = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:start] + data.draw(st.binary(max_size=20)) + whole[start + data.draw(st.integers(1, 50)) :]
    try:
        same = zlib.decompress(damaged) == zlib.decompress(whole)
    except zlib.error:
        same = False
    if not same:
        with pytest.raises(ValueError, match="snapshot"):
            State.restore(damaged, FEW)
    with pytest.raises(snapshots.OtherVersion):
        snapshots.read(whole, SNAPSHOT_VERSION + 1)


@given(st.lists(st.tuples(st.sampled_from(sorted(snapshots._TYPES)), st.lists(st.integers(-1, 1)))), st.integers(1, 40))
def test_a_snapshot_gives_the_arrays_back(parts: list[tuple[str, list[int]]], piece: int) -> None:
    arrays = {f"{number}": np.array(values, kind) for number, (kind, values) in enumerate(parts)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "_CHUNK", piece)
        found, meta = snapshots.read(snapshots.write(arrays, {"version": 7, "of": [1]}), 8, 7)
    assert meta == {"version": 7, "of": [1]}
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].tolist() == array.tolist()


def test_the_largest_snapshot_that_is_written_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"a": np.ones(8_000, np.int64)}
    size = snapshots.unpacked_size(snapshots.write(arrays, {"version": 7}))
    monkeypatch.setattr(snapshots, "LARGEST_RAW", size)
    assert snapshots.read(snapshots.write(arrays, {"version": 7}), 7)[0]["a"].sum() == 8_000
    monkeypatch.setattr(snapshots, "LARGEST_RAW", size - 1)
    assert snapshots.write(arrays, {"version": 7}) == b""


def test_a_snapshot_of_more_zeros_than_its_header_says_is_refused() -> None:
    whole = zlib.decompress(snapshots.write({"a": np.zeros(80, np.int64)}, {"version": 7}))
    more = whole[:-18] + (1 << 40).to_bytes(8, "little") + whole[-10:]
    with pytest.raises(ValueError, match="more than its header says"):
        snapshots.read(zlib.compress(more), 7)


def test_a_state_too_large_for_a_snapshot_is_rebuilt(
    tmp_path: Path, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("small", "large")]
    stories = [record(n, ["Desk"], every=3 * 3600.0) for n in range(30)]
    for url, largest in zip(urls, (snapshots.LARGEST, 100), strict=True):
        monkeypatch.setattr(snapshots, "LARGEST", largest)
        for end in (15, 30):
            replay(desk(url), [write(tmp_path / "news.jsonl", stories[:end])], scorer=quick_scorer)
    assert rows_of(urls[0], "Desk") == rows_of(urls[1], "Desk")
    engine = connect(urls[1], create=False)
    with reading(engine) as connection:
        assert set(connection.execute(select(schema.daily_state.c.body)).scalars()) == {b""}
