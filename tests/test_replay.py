"""A feed file through the whole way: the same rows whatever happens on it."""

from __future__ import annotations

import contextlib
import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, exists, insert, select, update
from typer.testing import CliRunner

from foreshock.cli.app import app
from foreshock.cli.errors import explain
from foreshock.ingest.errors import FileChanged
from foreshock.monitor import closing, deciding, lease, rebuild
from foreshock.monitor.budget import detection_rules
from foreshock.monitor.deciding import State, decide, pass_time
from foreshock.monitor.detectors import Seen
from foreshock.monitor.detectors.share_changes import ShareChanges
from foreshock.monitor.detectors.volume_changes import VolumeChanges
from foreshock.monitor.errors import (
    LateFile,
    LeaseHeld,
    Misconfigured,
    NoSuchSource,
    Overtaken,
    SettingsDiffer,
    SourceMismatch,
    StoreUnavailable,
)
from foreshock.monitor.store import counts as store_counts
from foreshock.monitor.store import decided as store_decided
from foreshock.monitor.store import open_store, progress, schema, settings_versions
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.export import export_stories
from foreshock.observability.outage import BackOff
from foreshock.processes import redrive
from foreshock.processes.batches import TEXTS_TO_ENCODE, BatchSize
from foreshock.processes.redrive import replay_dead_letters
from foreshock.processes.replay import replay
from foreshock.processes.wiring import time_rules
from foreshock.settings.load import load
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping

pytestmark = pytest.mark.slow

START = 1_770_000_000


def settings_for(url: str, **flags: Any) -> Settings:
    values = {"store.url": url, "watchlist.defaults": False}
    return load(None, flags={**values, **{k.replace("__", "."): v for k, v in flags.items()}}, environ={}).settings


def write(path: Path, records: Sequence[Mapping[str, Any] | str]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


def feed(
    count: int, seed: int = 1, *, every: float = 200, topics: int = 4, sources: str = "abc"
) -> list[dict[str, Any]]:
    """Stories of a few topics, slightly out of order, with duplicates, revisions, near-copies and dead letters among
    them."""
    rng = random.Random(seed)
    time, out = float(START), list[Any]()
    for number in range(count):
        time += rng.expovariate(1 / every)
        title = " ".join(rng.choices([f"{c}{v}{d}" for c in "bdgklmnprst" for v in "aeiou" for d in "lnrs"], k=9))
        record: dict[str, Any] = {
            "id": f"s{number}",
            "title": title,
            "published_at": round(time - rng.choice([0, 0, 0, 30, 90, 400, 30_000]), 3),
            "source": rng.choice(sources),
            "topics": rng.sample([f"T{n}" for n in range(topics)], k=rng.choice([0, 1, 1, 2])),
        }
        out.append(record)
        kind = rng.random()
        if kind < 0.04:
            out.append({**record, "topics": ["T0"]})
        elif kind < 0.08:
            out.append({**record, "title": title + " again", "published_at": record["published_at"] + 60})
        elif kind < 0.12:
            out.append(
                {**record, "id": f"c{number}", "title": title + " via", "topics": ["T1"], "published_at": time + 50}
            )
        elif kind < 0.14:
            out.append({**record, "id": f"u{number}", "language": "zh"})
        elif kind < 0.16:
            out.append({"id": "x", "published_at": time})
    return out


class Bomb(Exception):
    """A crash, from the store's point of view: the transaction in hand is lost, everything in memory is."""


def crash_at(statement: int) -> Callable[[], None]:
    """Raise `Bomb` at the n-th statement from now on; returns what takes the bomb away."""
    left = [statement]

    def before(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Bomb

    event.listen(Engine, "before_cursor_execute", before)
    return lambda: event.remove(Engine, "before_cursor_execute", before)


def test_a_feed_goes_through_and_its_ends_add_up(tmp_path: Path, quick_scorer: Any) -> None:
    path = write(tmp_path / "news.jsonl", feed(600))
    url = f"sqlite:///{tmp_path / 'store.db'}"
    result = replay(settings_for(url), [path], scorer=quick_scorer).to_json()
    assert result["records"] == len(path.read_text().splitlines())
    assert result["stories"] == result["records"] - result["dead_letters"]
    assert result["records"] == sum(
        result[end] for end in ("scored", "duplicates", "revisions", "unscored", "dead_letters")
    )
    assert all(
        result[end] > 0 for end in ("scored", "duplicates", "revisions", "unscored", "dead_letters", "late", "stale")
    )
    store = open_store(url)
    frame = store.series("_all")
    assert frame["events"].sum() <= result["scored"] - result["stale"]
    assert frame["stories"].sum() == result["scored"] - sum(
        row["stale"] and row["ending"] == "scored" for row in store.stories()
    )
    assert frame.index.is_monotonic_increasing


def test_running_it_again_changes_nothing(tmp_path: Path, quick_scorer: Any, all_rows: Any) -> None:
    path = write(tmp_path / "news.jsonl", feed(300))
    url = f"sqlite:///{tmp_path / 'store.db'}"
    first = replay(settings_for(url), [path], scorer=quick_scorer)
    rows = all_rows(url)
    again = replay(settings_for(url), [path], scorer=quick_scorer)
    assert all_rows(url) == rows
    assert again.counts == first.counts


@given(st.integers(0, 2**32), st.lists(st.integers(1, 400), max_size=5), st.integers(1, 60), st.integers(1, 3))
@settings(max_examples=12)
def test_crashes_batches_and_closings_leave_no_trace(
    tmp_path_factory: pytest.TempPathFactory,
    quick_scorer: Any,
    all_rows: Any,
    seed: int,
    crashes: list[int],
    batch: int,
    buckets: int,
) -> None:
    """Any crashes, any sizes of batches and of closings: the rows of an undisturbed run."""
    folder = tmp_path_factory.mktemp("crash")
    paths = [write(folder / f"{name}.jsonl", feed(80, seed + place)) for place, name in enumerate("ab")]
    clean, crashed = f"sqlite:///{folder / 'clean.db'}", f"sqlite:///{folder / 'crashed.db'}"
    replay(settings_for(clean), paths, scorer=quick_scorer)
    size = BatchSize(records=batch)
    before = store_decided.BUCKETS_AT_A_TIME, store_decided.STORIES_AT_A_TIME
    store_decided.BUCKETS_AT_A_TIME, store_decided.STORIES_AT_A_TIME = buckets, 7
    try:
        for statement in crashes:
            defuse = crash_at(statement)
            with contextlib.suppress(Bomb):
                replay(settings_for(crashed), paths, scorer=quick_scorer, batch_size=size)
            defuse()
        replay(settings_for(crashed), paths, scorer=quick_scorer, batch_size=size)
    finally:
        store_decided.BUCKETS_AT_A_TIME, store_decided.STORIES_AT_A_TIME = before
    expected, found = all_rows(clean), all_rows(crashed)
    for table in expected:
        assert found[table] == expected[table], table


@given(st.integers(0, 2**32))
@settings(max_examples=15)
def test_decisions_are_those_of_the_specification(
    tmp_path_factory: pytest.TempPathFactory, quick_scorer: Any, seed: int
) -> None:
    """Two files of one command: every record ends as the executable specification says, in the bucket that it says."""
    folder = tmp_path_factory.mktemp("oracle")
    paths = [write(folder / f"{name}.jsonl", feed(60, seed + place)) for place, name in enumerate("ab")]
    url = f"sqlite:///{folder / 'store.db'}"
    replay(settings_for(url), paths, scorer=quick_scorer)
    engine = connect(url, create=False)
    s, d = schema.stories.c, schema.decisions.c
    with reading(engine) as connection:
        stored = {(row.partition, row.offset): row for row in connection.execute(select(schema.stories))}
        decided = [
            (row.bucket, row.partition, row.offset, row.ending, row.weighs)
            for row in connection.execute(
                select(schema.decisions, s.published_at, s.id, s.content)
                .join_from(schema.decisions, schema.stories, (s.partition == d.partition) & (s.offset == d.offset))
                .order_by(d.bucket, s.published_at, s.id, s.content, d.partition, d.offset)
            )
        ]
    logs = {}
    for path in paths:
        records = [
            oracle.Record(row.published_at, row.id, row.content, row.negative is not None, row.source)
            if (row := stored.get((path.name, offset)))
            else oracle.Record(None)
            for offset in range(len(path.read_text().splitlines()))
        ]
        logs[path.name] = [oracle.Join(None), *records, oracle.Leave()]
    micro = 1_000_000
    rules = oracle.Rules(300 * micro, 120 * micro, 6 * 3600 * micro, 90 * 86400 * micro, 3 * 3600 * micro)
    expected = [
        (start, r.judged.partition, r.judged.place - 1, r.end, r.weighs)
        for start, rulings in oracle.decide(logs, rules)
        for r in rulings
    ]
    assert decided == expected


@pytest.mark.postgres
def test_both_stores_give_the_same_rows(tmp_path: Path, postgres: str, quick_scorer: Any, all_rows: Any) -> None:
    path = write(tmp_path / "news.jsonl", feed(400))
    sqlite = f"sqlite:///{tmp_path / 'store.db'}"
    for url in (sqlite, postgres):
        replay(settings_for(url), [path], scorer=quick_scorer)
    assert all_rows(postgres) == all_rows(sqlite)


def test_a_file_that_grew_goes_on_and_one_that_changed_is_refused(
    tmp_path: Path, quick_scorer: Any, all_rows: Any
) -> None:
    records = feed(200)
    path = write(tmp_path / "news.jsonl", records[:120])
    grown, whole = f"sqlite:///{tmp_path / 'grown.db'}", f"sqlite:///{tmp_path / 'whole.db'}"
    replay(settings_for(grown), [path], scorer=quick_scorer)
    write(path, records)
    result = replay(settings_for(grown), [path], scorer=quick_scorer)
    assert result.counts["records"] == len(records)
    write(path, [*records[:100], *feed(100, seed=9)])
    with pytest.raises(FileChanged, match=r"news\.jsonl"):
        replay(settings_for(grown), [path], scorer=quick_scorer)
    write(path, records)
    replay(settings_for(whole), [path], scorer=quick_scorer)
    ends = [(row["id"], row["ending"]) for row in open_store(whole).stories() if not row["late"]]
    assert set(ends) <= {(row["id"], row["ending"]) for row in open_store(grown).stories()} | set(ends)


def test_a_budget_changed_on_the_way_holds_from_where_it_was_adopted(tmp_path: Path, quick_scorer: Any) -> None:
    url, records = f"sqlite:///{tmp_path / 'store.db'}", feed(900, every=1800)
    path = write(tmp_path / "news.jsonl", records[:800])
    replay(settings_for(url), [path], scorer=quick_scorer)
    write(path, records)
    other = settings_for(url, alerts__false_alarms="5 per day")
    replay(other, [path], scorer=quick_scorer)
    rules = time_rules(other)
    with reading(connect(url, create=False)) as connection:
        (_, body), (since, other_body) = settings_versions.in_order(connection)
        decided_until = store_counts.decided_until(connection)
        rebuilt = rebuild.rebuild(connection, rules, decided_until)
        state = State.fresh(detection_rules(body, rules))
        for bucket in store_decided.decided_buckets(connection, None):
            if since is not None and bucket.start >= since:
                pass_time(state, since)
                state.adopt(detection_rules(other_body, rules))
                since = None
            decide(state, bucket)
    pass_time(state, decided_until or 0)
    assert state.rules.false_alarms == 5.0
    assert rebuilt.snapshot() == state.snapshot()


def test_an_alert_that_another_version_left_open_is_ended(tmp_path: Path, quick_scorer: Any) -> None:
    url, records = f"sqlite:///{tmp_path / 'store.db'}", feed(60)
    path = write(tmp_path / "news.jsonl", records[:40])
    replay(settings_for(url), [path], scorer=quick_scorer)
    engine = connect(url, create=False)
    times = {"started_at": START, "pending_at": START, "fired_at": START, "window_start": START, "window_end": START}
    shown = {"evidence": "[]", "sources": 0, "events": 0, "sentence": "", "settings": 1, "origin": "replay"}
    numbers = {"observed": 0.5, "baseline": 0.2, "score": 4.0}
    told = {"id": "old", "topic": "T0", "kind": "drift", "direction": "worse", "state": "firing"}
    with writing(engine) as connection:
        connection.execute(insert(schema.alerts).values(**told, **times, **shown, **numbers))
        # A day's state that this version cannot read: all of it follows from the buckets.
        connection.execute(update(schema.daily_state).values(body=b"of another version"))
        until = store_counts.decided_until(connection)
    write(path, records)
    replay(settings_for(url), [path], scorer=quick_scorer)
    with reading(engine) as connection:
        row = connection.execute(select(schema.alerts).where(schema.alerts.c.id == "old")).one()
    assert (row.state, row.resolved_at) == ("resolved", until)


def test_settings_that_are_adopted_while_a_bucket_is_decided_are_in_force_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_scorer: Any
) -> None:
    """No bucket is decided by a version that is not in force for it, whoever decides it."""
    url, adopted = f"sqlite:///{tmp_path / 'store.db'}", list[int]()
    decide_all = closing.Closer._decide

    def decide_late(closer: closing.Closer, *arguments: Any) -> closing.Closed:
        if not adopted:
            with writing(connect(url, create=False)) as connection:
                others = shaping(settings_for(url, alerts__false_alarms="5 per week"))
                adopted.append(settings_versions.adopt(connection, others, resuming=None))
        return decide_all(closer, *arguments)

    monkeypatch.setattr(closing.Closer, "_decide", decide_late)
    replay(settings_for(url), [write(tmp_path / "news.jsonl", feed(60))], scorer=quick_scorer)
    with reading(connect(url, create=False)) as connection:
        assert adopted == [2]
        assert [since for since, _ in settings_versions.in_order(connection)] == [None, None]
        assert connection.execute(select(schema.buckets.c.settings).distinct()).scalars().all() == [2]


def crisis_feed() -> list[dict[str, Any]]:
    """Two topics with a story an hour for 25 days; one has bad news from the 18th on, for five days."""
    rng, out = random.Random(5), list[dict[str, Any]]()
    for hour in range(25 * 24):
        for topic in ("calm", "falling"):
            bad = topic == "falling" and 18 * 24 <= hour < 23 * 24
            negative = 0.85 if bad else rng.choice([0.05, 0.1, 0.2, 0.7])
            out.append(
                {
                    "id": f"{topic}{hour}",
                    "title": " ".join(rng.choices([f"{c}{v}" for c in "bdgklmnprst" for v in "aeiou"], k=9)),
                    "published_at": START + hour * 3600 + rng.randrange(300),
                    "source": rng.choice("abc"),
                    "topics": [topic],
                    "scores": {"negative": negative, "neutral": round(0.9 - negative, 3), "positive": 0.1},
                }
            )
    return out


def test_a_topic_that_the_settings_no_longer_have_is_not_silent(tmp_path: Path, quick_scorer: Any) -> None:
    """And a silence of it that was told is over. Once it is a topic again, its past is filled, and it is watched as if
    it had been there: what came meanwhile is known, so that it may be silent again at once."""
    url, rng = f"sqlite:///{tmp_path / 'store.db'}", random.Random(5)
    names = [f"zq{letter}topic" for letter in "abcd"]

    def stories(days: range, which: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {
                "id": f"{name}{hour}",
                "title": f"{name} " + " ".join(rng.choices([f"{c}{v}" for c in "bdgklmnprst" for v in "aeiou"], k=9)),
                "published_at": START + hour * 3600 + rng.randrange(300),
                "source": rng.choice("abc"),
                "scores": {"negative": 0.2, "neutral": 0.6, "positive": 0.2},
            }
            for hour in range(days.start * 24, days.stop * 24)
            for name in which
        ]

    def read(file: str, days: range, which: Sequence[str], rules: Sequence[str]) -> dict[str, list[str]]:
        path = tmp_path / f"{file}.toml"
        path.write_text("".join(f'[[topics]]\nname = "{name}"\nnames = ["{name}"]\n' for name in rules))
        flags = {"store.url": url, "watchlist.defaults": False}
        replay(
            load(path, flags=flags, environ={}).settings,
            [write(tmp_path / f"{file}.jsonl", stories(days, which))],
            scorer=quick_scorer,
        )
        with reading(connect(url, create=False)) as connection:
            a = schema.alerts.c
            query = select(a.topic, a.state).where(a.kind == "silence", a.fired_at.is_not(None)).order_by(a.fired_at)
            told: dict[str, list[str]] = {}
            for row in connection.execute(query):
                told.setdefault(row.topic, []).append(row.state)
            return told

    assert read("all", range(18), names, names) == {}
    assert read("b stops", range(18, 21), [names[0], *names[2:]], names) == {names[1]: ["firing"]}
    assert read("b is no topic any more, nor is a", range(21, 25), names, names[2:]) == {names[1]: ["resolved"]}
    assert read("both are back", range(25, 26), names, names) == {names[1]: ["resolved"]}
    assert read("a is silent", range(26, 33), names[1:], names) == {names[0]: ["firing"], names[1]: ["resolved"]}


@pytest.mark.parametrize("before", ["ended alerts at once", "never fired"])
def test_a_version_that_decides_otherwise_goes_on_with_what_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_scorer: Any, before: str
) -> None:
    """Its open alerts become the store's: an end is not told again, and none without a beginning."""
    url, records = f"sqlite:///{tmp_path / 'store.db'}", crisis_feed()
    known = [r for r in records if r["published_at"] < START + 21 * 86_400]
    path, known_until = write(tmp_path / "news.jsonl", known), (START + 21 * 86_400) * 1_000_000
    with monkeypatch.context() as old:
        old.setattr(deciding, "SNAPSHOT_VERSION", 1)
        if before == "never fired":
            old.setattr(Seen, "corroborated", lambda *_: False)
        else:
            old.setattr(ShareChanges, "is_over", lambda *_: True)
            old.setattr(VolumeChanges, "is_over", lambda *_: True)
        replay(settings_for(url), [path], scorer=quick_scorer)
    for hours in (6, 9, 24 * 9):  # twice begun anew before a day's snapshot
        write(path, [r for r in records if r["published_at"] < START + 21 * 86_400 + hours * 3600])
        replay(settings_for(url), [path], scorer=quick_scorer)
    with reading(connect(url, create=False)) as connection:
        o = schema.outbox.c
        mine = exists().where(schema.alerts.c.id == o.alert_id, schema.alerts.c.topic == "falling")
        told = connection.execute(select(o.alert_id, o.event).where(mine)).all()
        a = schema.alerts.c
        kept = connection.execute(select(a.id, a.kind, a.fired_at, a.state).where(a.topic == "falling")).all()
    fired, over = ({row.alert_id for row in told if row.event == event} for event in ("firing", "resolved"))
    assert fired == {row.id for row in kept if row.fired_at is not None} != set()
    assert over == {row.id for row in kept if row.fired_at is not None and row.state == "resolved"}
    at_once = [row.fired_at for row in kept if row.fired_at is not None and row.kind == "negativity_spike"]
    assert len(at_once) == len(set(at_once))
    assert sum(at > known_until for at in at_once) <= 1, "what goes on is not told twice"


def test_a_file_of_the_past_is_refused(tmp_path: Path, quick_scorer: Any) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    replay(settings_for(url), [write(tmp_path / "new.jsonl", feed(50))], scorer=quick_scorer)
    old = [{**record, "published_at": record["published_at"] - 10_000_000} for record in feed(50) if "title" in record]
    with pytest.raises(LateFile, match=r"old\.jsonl.*Load history first"):
        replay(settings_for(url), [write(tmp_path / "old.jsonl", old)], scorer=quick_scorer)


def test_two_files_of_one_name_are_refused(tmp_path: Path, quick_scorer: Any) -> None:
    (tmp_path / "other").mkdir()
    paths = [write(tmp_path / "news.jsonl", feed(5)), write(tmp_path / "other" / "news.jsonl", feed(5))]
    with pytest.raises(SourceMismatch, match="one name"):
        replay(settings_for(f"sqlite:///{tmp_path / 'store.db'}"), paths, scorer=quick_scorer)


def test_an_unfinished_file_goes_on_only_with_its_settings(tmp_path: Path, quick_scorer: Any) -> None:
    path = write(tmp_path / "news.jsonl", feed(100))
    url = f"sqlite:///{tmp_path / 'store.db'}"

    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(settings_for(url), [path], scorer=quick_scorer, on_progress=stop)
    # The file was read to its end in one batch, so it has left; begin one that has not.
    other = write(tmp_path / "other.jsonl", feed(TEXTS_TO_ENCODE + 100, seed=3, every=500))
    with pytest.raises(KeyboardInterrupt):
        replay(settings_for(url), [other], scorer=quick_scorer, on_progress=stop)
    changed = settings_for(url, topics=[{"name": "new", "names": ["news"]}])
    with pytest.raises(SettingsDiffer, match=r"other\.jsonl is unfinished and was started with other.*topics \(new\)"):
        replay(changed, [other], scorer=quick_scorer)
    assert replay(settings_for(url), [other], scorer=quick_scorer).counts["records"] > TEXTS_TO_ENCODE
    with pytest.raises(SettingsDiffer, match=r"time\.bucket"):
        replay(settings_for(url, time__bucket="10m"), [path], scorer=quick_scorer)
    assert replay(changed, [path], scorer=quick_scorer).counts["records"] == len(path.read_text().splitlines())


def test_time_waits_for_a_lost_file_until_somebody_lets_go_of_it(tmp_path: Path, quick_scorer: Any) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    lost = write(tmp_path / "lost.jsonl", feed(TEXTS_TO_ENCODE + 100, seed=3, every=500))

    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(settings_for(url), [lost], scorer=quick_scorer, on_progress=stop)
    other = write(
        tmp_path / "other.jsonl",
        [
            {**r, "published_at": r["published_at"] + 10**8}
            for r in feed(50)
            if isinstance(r, dict) and isinstance(r.get("published_at"), float)
        ],
    )
    replay(settings_for(url), [other], scorer=quick_scorer)
    waits = open_store(url).overview()
    assert waits["unfinished_sources"] == ["lost.jsonl"]
    command = ["sources", "leave", "--store", url]
    error = CliRunner().invoke(app, [*command, "lots.jsonl"]).exception
    assert isinstance(error, Exception)
    assert explain(error)[1] == 2
    assert CliRunner().invoke(app, [*command, "lost.jsonl"]).output == "lost.jsonl is closed.\n"
    assert "closed already" in CliRunner().invoke(app, [*command, "lost.jsonl"]).output
    listed = CliRunner().invoke(app, ["sources", "list", "--json", "--store", url]).output.splitlines()
    assert {row["source"]: row["state"] for row in map(json.loads, listed)} == {
        "lost.jsonl": "closed",
        "other.jsonl": "closed",
    }
    assert "lost.jsonl" in CliRunner().invoke(app, ["sources", "list", "--store", url]).output
    replay(settings_for(url), [other], scorer=quick_scorer)
    assert open_store(url).overview()["decided_until"] > waits["decided_until"]
    with writing(open_store(url).engine) as connection:
        connection.execute(update(schema.partitions).values(kind="deadletters"))
    with (
        pytest.raises(NoSuchSource, match="foreshock deadletters replay"),
        writing(open_store(url).engine) as connection,
    ):
        progress.remove(connection, "lost.jsonl")


def test_another_model_is_refused(tmp_path: Path, quick_scorer: Any) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    replay(settings_for(url), [write(tmp_path / "a.jsonl", feed(20))], scorer=quick_scorer)
    other = quick_scorer()
    other.identity = "other-2"
    with pytest.raises(SettingsDiffer, match=r"quick-1.*other-2"):
        replay(settings_for(url), [write(tmp_path / "b.jsonl", feed(40, seed=2))], scorer=lambda: other)


def test_a_held_store_is_refused_and_its_holder_named(tmp_path: Path, quick_scorer: Any) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    path = write(tmp_path / "news.jsonl", feed(20))

    def again(_: Any) -> None:
        with pytest.raises(LeaseHeld, match=r"foreshock replay"):
            replay(settings_for(url), [path], scorer=quick_scorer)

    replay(settings_for(url), [path], scorer=quick_scorer, on_progress=again)


def test_a_file_newest_first_says_so_and_sorts(tmp_path: Path, quick_scorer: Any) -> None:
    records = [record for record in feed(300) if "title" in record]
    newest_first = sorted(records, key=lambda record: -float(record["published_at"]))
    path = write(tmp_path / "news.jsonl", newest_first)
    result = replay(settings_for(f"sqlite:///{tmp_path / 'a.db'}"), [path], scorer=quick_scorer)
    assert any("--sort" in note for note in result.notes)
    result = replay(settings_for(f"sqlite:///{tmp_path / 'b.db'}"), [path], scorer=quick_scorer, sort=True)
    assert (result.counts["late"], result.counts["stale"], result.notes) == (0, 0, [])


def test_a_truncated_file_keeps_what_was_whole_and_can_go_on(tmp_path: Path, quick_scorer: Any, all_rows: Any) -> None:
    import gzip

    whole = tmp_path / "news.jsonl.gz"
    content = "".join(json.dumps(record) + "\n" for record in feed(600)).encode()
    packed = gzip.compress(content)
    whole.write_bytes(packed[: len(packed) * 2 // 3])
    url, clean = f"sqlite:///{tmp_path / 'store.db'}", f"sqlite:///{tmp_path / 'clean.db'}"
    from foreshock.ingest.errors import UnreadableFile

    with pytest.raises(UnreadableFile, match=r"news\.jsonl\.gz"):
        replay(settings_for(url), [whole], scorer=quick_scorer, batch_size=BatchSize(records=100))
    assert len(list(open_store(url).stories())) >= 200
    whole.write_bytes(packed)
    replay(settings_for(url), [whole], scorer=quick_scorer)
    replay(settings_for(clean), [whole], scorer=quick_scorer)
    assert all_rows(url) == all_rows(clean)


def test_dead_letters_without_zone_become_stories_once_a_zone_is_assumed(tmp_path: Path, quick_scorer: Any) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    records = [{"title": f"Story {n} of no zone", "published_at": f"2026-02-0{n}T10:00:00"} for n in (1, 2, 3)]
    replay(settings_for(url), [write(tmp_path / "a.jsonl", records)], scorer=quick_scorer)
    for zone in ("America/New_York", {"Wire": "Europe/London"}):
        result = replay_dead_letters(settings_for(url, time__assume_zone=zone), scorer=quick_scorer)
        assert result.counts["scored"] == (3 if zone == "America/New_York" else 0)
    with pytest.raises(SettingsDiffer, match=r"time\.lateness"):
        replay_dead_letters(settings_for(url, time__lateness="3m"), scorer=quick_scorer)


def test_dead_letters_are_fed_again_once(tmp_path: Path, quick_scorer: Any) -> None:
    records: list[Any] = feed(30)
    fixed = {"title": "Zeta Corp sinks after audit", "published_at": "2026-02-02T10:00:00", "id": "nozone"}
    path = write(tmp_path / "news.jsonl", [*records, fixed, "[1]", "12"])
    url = f"sqlite:///{tmp_path / 'store.db'}"
    replay(settings_for(url), [path], scorer=quick_scorer)
    dead = [row["reason"] for row in open_store(url).dead_letters()]
    assert {"date_without_zone", "not_an_object"} <= set(dead)
    result = replay_dead_letters(settings_for(url), reason="date_without_zone", scorer=quick_scorer)
    assert (result.counts["records"], result.counts["dead_letters"]) == (1, 1)
    result = replay_dead_letters(settings_for(url), scorer=quick_scorer)
    assert result.counts["records"] == len(dead)
    assert replay_dead_letters(settings_for(url), reason="bad_json", scorer=quick_scorer).counts["records"] == 0


@pytest.mark.parametrize("error", [StoreUnavailable("The store does not answer."), Overtaken("Another was first.")])
def test_a_replay_of_dead_letters_tries_again_what_its_store_refused_for_a_moment(
    tmp_path: Path, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Workers and a monitor write the same rows of a PostgreSQL store."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    replay(settings_for(url), [write(tmp_path / "news.jsonl", ["[1]", "12"])], scorer=quick_scorer)
    refused: list[str] = []
    for module in (redrive, sys.modules[replay.__module__]):

        @contextmanager
        def refusing(engine: Any, name: str = module.__name__) -> Iterator[Any]:
            with writing(engine) as connection:
                yield connection
                if name not in refused:
                    refused.append(name)
                    raise error

        monkeypatch.setattr(module, "writing", refusing)
    monkeypatch.setattr(BackOff, "failed", lambda *_: 0.0)
    assert replay_dead_letters(settings_for(url), scorer=quick_scorer).counts["records"] == 2
    assert len(refused) == 2


def test_a_replay_ends_when_another_process_has_taken_its_store_over(
    tmp_path: Path, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setattr(lease.Lease, "lost", True)
    with pytest.raises(LeaseHeld, match="took this store over"):
        replay(settings_for(url), [write(tmp_path / "news.jsonl", feed(30))], scorer=quick_scorer)


def test_a_producers_dead_letters_are_believed_no_more_than_its_records(tmp_path: Path, quick_scorer: Any) -> None:
    """However often they are fed again: their scores and `counts_at` are taken from files alone."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    claims = {"scores": {"negative": 1, "neutral": 0, "positive": 0}, "counts_at": "2026-03-01T00:00:00Z"}
    for name in ("file", "kafka"):
        records = [{"id": name, "headline_x": "Zeta sinks", "published_at": "2026-02-02T10:00:00", **claims}]
        path = write(tmp_path / name, records)
        replay(settings_for(url), [path], mapping={"title": "headline_x"}, scorer=quick_scorer)
    with writing(open_store(url).engine) as connection:
        p = schema.partitions
        connection.execute(update(p).where(p.c.partition == "kafka").values(kind="kafka"))
    mapped = {"kafka__topic": "news", "kafka__map": {"title": "headline_x"}}
    counts = replay_dead_letters(settings_for(url, **mapped), scorer=quick_scorer).counts
    assert (counts["records"], counts["dead_letters"]) == (2, 2)
    assert {row["reason"] for row in open_store(url).dead_letters()} == {"no_text", "date_without_zone"}
    counts = replay_dead_letters(
        settings_for(url, time__assume_zone="UTC", **mapped), reason="date_without_zone", scorer=quick_scorer
    ).counts
    assert (counts["records"], counts["dead_letters"]) == (1, 0)
    replay_dead_letters(
        settings_for(url, time__assume_zone="UTC"), mapping={"title": "headline_x"}, scorer=quick_scorer
    )
    stories = {row["id"]: row for row in open_store(url).stories()}
    assert {name: row["scores"]["negative"] == 1 for name, row in stories.items()} == {"file": True, "kafka": False}
    assert stories["file"]["counts_at"] == claims["counts_at"]
    assert stories["kafka"]["counts_at"] == stories["kafka"]["published_at"]


def test_a_duplicate_adds_the_topics_that_its_story_lacked(tmp_path: Path, quick_scorer: Any) -> None:
    """One row a ticker: one story, one event in each of its topics."""
    story = {"title": "Zeta and Eta agree to merge in all-share deal", "published_at": START, "url": "u", "source": "w"}
    rows: list[Any] = [{**story, "topics": [topic]} for topic in ("zeta", "eta", "zeta")]
    rows += [
        {"title": f"Unrelated item number {n}", "published_at": START + 3600 * n, "id": f"n{n}"} for n in range(1, 5)
    ]
    url = f"sqlite:///{tmp_path / 'store.db'}"
    result = replay(settings_for(url), [write(tmp_path / "rows.jsonl", rows)], scorer=quick_scorer)
    assert (result.counts["scored"], result.counts["duplicates"]) == (5, 2)
    frame = open_store(url).series(["zeta", "eta", "_all"])
    assert frame.groupby("topic")[["stories", "events"]].sum().to_dict("index") == {
        "zeta": {"stories": 1, "events": 1},
        "eta": {"stories": 1, "events": 1},
        "_all": {"stories": 5, "events": 5},
    }


def test_near_copies_weigh_as_one_event_with_a_reach(tmp_path: Path, quick_scorer: Any) -> None:
    title = "Zeta Corp says it will restate two years of results after audit finds errors"
    copies: list[Any] = [
        {
            "id": f"c{n}",
            "title": title + (f" - via {chr(97 + n % 26)}{chr(97 + n // 26)}" if n else ""),
            "published_at": START + 600 * n,
            "source": f"s{n}",
            "topics": ["zeta"],
        }
        for n in range(40)
    ]
    url = f"sqlite:///{tmp_path / 'store.db'}"
    replay(settings_for(url), [write(tmp_path / "copies.jsonl", copies)], scorer=quick_scorer)
    frame = open_store(url).series("zeta")
    assert (frame["stories"].sum(), frame["events"].sum()) == (40, 1)
    assert sum(row["copy"] for row in open_store(url).stories(topic="zeta")) == 39


@given(st.integers(0, 2**32))
@settings(max_examples=10)
def test_an_export_replayed_gives_the_same_series_and_alerts(
    tmp_path_factory: pytest.TempPathFactory, quick_scorer: Any, all_rows: Any, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("export")
    paths = [write(folder / f"{name}.jsonl", feed(110, seed + place)) for place, name in enumerate("ab")]
    days = [{"title": f"The day of {n}", "published_at": f"2026-02-0{n}", "id": f"d{n}"} for n in range(2, 6)]
    paths.append(write(folder / "days.jsonl", days))
    live, again = f"sqlite:///{folder / 'live.db'}", f"sqlite:///{folder / 'again.db'}"
    replay(settings_for(live), paths, scorer=quick_scorer)
    exported = folder / "export.jsonl"
    with exported.open("wb") as out:
        count = export_stories(open_store(live).engine, out)
    result = replay(settings_for(again), [exported], scorer=quick_scorer)
    assert (result.counts["records"], result.counts["dead_letters"]) == (count, 0)
    before, after = all_rows(live), all_rows(again)
    for table in ("buckets", "topics", "daily_state", "alerts", "outbox", "feed_stalls"):
        assert after[table] == before[table], table

    def ended(url: str) -> list[Any]:
        kept = ("id", "published_at", "counts_at", "title", "ending", "late", "stale", "date_only", "scores", "topics")
        return sorted(json.dumps([row[key] for key in kept]) for row in open_store(url).stories())

    assert ended(again) == ended(live)


def test_an_export_means_the_same_under_any_settings(tmp_path: Path, quick_scorer: Any) -> None:
    """Its bare days were read in two zones, and its scores were not believed: that stays so wherever it is replayed."""
    url, exported = f"sqlite:///{tmp_path / 'live.db'}", tmp_path / "export.jsonl"
    claims = {"scores": {"negative": 1, "neutral": 0, "positive": 0}, "headline": "H", "status": "updated"}
    for day, zone in enumerate(("UTC", "America/New_York"), 1):
        records = [
            {"id": f"{zone} {language}", "title": f"News of {zone}, {language}", "language": language, **claims}
            for language in ("en", "zh")
        ]
        path = write(tmp_path / f"{day}.jsonl", [{**record, "published_at": f"2026-02-0{day}"} for record in records])
        replay(settings_for(url, time__assume_zone=zone, files__accept_scores=False), [path], scorer=quick_scorer)
    with exported.open("wb") as out:
        export_stories(open_store(url).engine, out)

    def rows(url: str) -> list[Any]:
        kept = ("id", "published_at", "counts_at", "ending", "late", "stale", "date_only", "scores")
        found = sorted([row[key] for key in kept] for row in open_store(url).stories())
        with reading(open_store(url).engine) as connection:
            extras = connection.execute(select(schema.stories.c.extra).order_by(schema.stories.c.id)).scalars()
            return [*found, *({**json.loads(extra), "scores": None} for extra in extras)]

    assert {row[3] for row in rows(url)[:4]} == {"scored", "unscored"}
    for zone in ("", "UTC", "America/New_York"):
        again = f"sqlite:///{tmp_path / 'again'}{len(zone)}.db"
        replay(settings_for(again, time__assume_zone=zone or None), [exported], scorer=quick_scorer)
        assert rows(again) == rows(url)


def test_a_file_that_dies_for_one_reason_stops_before_it_and_goes_on_with_the_right_settings(
    tmp_path: Path, quick_scorer: Any
) -> None:
    good = [record for record in feed(40) if "title" in record]
    unzoned = [
        {"id": f"n{n}", "title": f"Unzoned item number {n}", "published_at": f"2026-02-10T10:{n // 60:02}:{n % 60:02}"}
        for n in range(1200)
    ]
    path = write(tmp_path / "news.jsonl", [*good, *unzoned])
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with pytest.raises(Misconfigured, match=r"news\.jsonl.*date_without_zone.*settings"):
        replay(settings_for(url), [path], scorer=quick_scorer)
    assert list(open_store(url).dead_letters()) == []
    result = replay(settings_for(url, time__assume_zone="UTC"), [path], scorer=quick_scorer)
    assert (result.counts["records"], result.counts["dead_letters"]) == (len(good) + 1200, 0)


def test_a_tenth_of_poison_stops_nothing(tmp_path: Path, quick_scorer: Any) -> None:
    records: list[Any] = []
    for number, record in enumerate(record for record in feed(1500) if "title" in record):
        records += [record, "not json"] if number % 9 == 0 else [record]
    path = write(tmp_path / "news.jsonl", records)
    result = replay(settings_for(f"sqlite:///{tmp_path / 'store.db'}"), [path], scorer=quick_scorer)
    assert result.counts["records"] == len(records)
    assert result.counts["dead_letters"] == records.count("not json")
