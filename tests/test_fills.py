"""Topics that are added or changed later are filled from the stored stories: monitor/filling.py says what holds."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from named_feed import ADDED, ARVEX, BEFORE, BOLUN, GLOOM, START, WORDS, Killed, Made, feed, until, with_topics, write
from rows import all_rows, assert_same
from sqlalchemy import delete, select, update
from typer.testing import CliRunner

from foreshock.analysis.certify import certify
from foreshock.analysis.pack import pack
from foreshock.analysis.pack_check import verify
from foreshock.cli.app import app
from foreshock.ingest.files import FileFeed
from foreshock.monitor import filling, novelty, rebuild
from foreshock.monitor.closing import Closer
from foreshock.monitor.counting import CountedStory, SeenIds, count_bucket
from foreshock.monitor.filled import Filled
from foreshock.monitor.recounting import Before, Ruled, recount
from foreshock.monitor.store import (
    database,
    fills,
    open_store,
    progress,
    recounting,
    rereading,
    schema,
    settings_versions,
)
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.times import iso
from foreshock.monitor.watermark import TimeRules
from foreshock.processes import reload, wiring
from foreshock.processes import rereading as rereading_process
from foreshock.processes.fills import Fills
from foreshock.processes.replay import replay
from foreshock.processes.run import run
from foreshock.processes.stop import Stop
from foreshock.settings.load import load
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping
from foreshock.sources import live
from foreshock.sources.feeds import Feeds
from foreshock.sources.finite import FiniteSource

RULES = TimeRules()
OTHER_BOLUN = {"name": "Bolun", "names": ["Bolun", "Bolun Works"], "exclude": ["Bolun Street"], "tickers": ["BOL"]}
TWO = "two are added"
CHANGES: dict[str, tuple[list[Any], list[Any]]] = {
    TWO: ([ARVEX], [ARVEX, BOLUN, GLOOM]),
    "an exclude is added": ([ARVEX, BOLUN], [ARVEX, OTHER_BOLUN]),
    "an exclude is taken away": ([ARVEX, OTHER_BOLUN], [ARVEX, BOLUN]),
    "the feed named it before": ([ARVEX], [ARVEX, {"name": "T1", "names": ["gloom"]}]),
}


def series(url: str, topics: Sequence[str], before: int) -> list[tuple[Any, ...]]:
    """The rows of some topics before a bucket, less the version that made them."""
    b = schema.buckets.c
    columns = [column for column in b if column.name not in ("settings", "filled")]
    query = select(*columns).where(b.topic.in_(topics), b.start < before).order_by(b.topic, b.start)
    engine = connect(url, create=False)
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(query)]


def last_fill(url: str) -> fills.Fill:
    with reading(connect(url, create=False)) as connection:
        return fills.done(connection)[-1]


def of_others(rows: Any, topics: Sequence[str]) -> dict[str, Any]:
    """What a store holds that does not speak of `topics`, and is not the story of its settings."""
    kept = ("stories", "story_topics", "buckets", "decisions", "topics", "alerts", "incidents", "outbox", "story_ids")
    return {
        table: [row for row in rows[table] if not set(topics) & {value for value in row if isinstance(value, str)}]
        for table in kept
    }


@pytest.mark.parametrize(("change", "seed", "towards"), [(change, 1, False) for change in CHANGES] + [(TWO, 2, True)])
def test_filled_rows_are_those_of_a_store_that_had_the_topics_from_the_start(
    change: str, seed: int, towards: bool, new_store: Made, tmp_path: Path, quick_scorer: Any
) -> None:
    before, after = CHANGES[change]
    records = feed(400, seed, every=5_000)
    first, second = write(tmp_path / "a.jsonl", records[:440]), write(tmp_path / "b.jsonl", records[440:])
    later, always = new_store("later"), new_store("always")
    how = {"model.per_company": towards}
    replay(with_topics(later, before, **how), [first], scorer=quick_scorer)
    untouched = all_rows(later)
    as_it_was = list(open_store(later).series_rows(["_all", "Bolun", "T1", "gloom"]))
    replay(with_topics(later, after, **how), [second], scorer=quick_scorer)
    for path in (first, second):
        replay(with_topics(always, after, **how), [path], scorer=quick_scorer)
    fill = last_fill(later)
    assert fill.found
    assert any(row[10] is not None for row in series(always, fill.topics, fill.in_force_from or 0))
    assert fill.in_force_from is not None
    filled, expected = (series(url, fill.topics, fill.in_force_from) for url in (later, always))
    if towards:  # other companies' stories are not scored again, and what is usual of all topics is theirs, too
        filled, expected = ([row[:10] for row in rows] for rows in (filled, expected))
    assert filled == expected
    # Who asks what was known before the fill gets the rows of then; and the same from the store that never changed.
    moment = datetime.fromtimestamp((fill.in_force_from + 120_000_000 - 1) / 1e6, UTC)
    known = list(open_store(later).series_rows(["_all", "Bolun", "T1", "gloom"], as_of=moment))
    assert known == [row for row in as_it_was if row["known_at"] <= iso(fill.in_force_from + 120_000_000 - 1)]
    now = of_others(all_rows(later), fill.topics)
    for table, rows in of_others(untouched, fill.topics).items():
        missing = [row for row in rows if row not in set(now[table])]
        assert table == "topics" or not missing, (table, missing[:2])


@st.composite
def buckets_of_stories(draw: st.DrawFn) -> list[list[CountedStory]]:
    """Stories of some buckets, with ids, texts, sources and near-copies that repeat, and any topics."""
    texts = [" ".join(random.Random(n).choices(WORDS, k=20)) for n in range(4)]
    texts += [f"{texts[0]} {WORDS[0]}", f"{texts[0]} {WORDS[1]}"]
    signatures = novelty.signatures([(text, "") for text in texts])
    keys = list(novelty.keys(signatures))
    found, number = [], 0
    for place in range(draw(st.integers(1, 5))):
        members = []
        for _ in range(draw(st.integers(0, 6))):
            number += 1
            text, negative = draw(st.integers(0, len(texts) - 1)), draw(st.sampled_from([1_000, 2_000, 8_000]))
            scores = draw(st.sampled_from([(negative, 1_000, 9_000 - negative)] * 4 + [None]))
            own = draw(st.sets(st.sampled_from("ABC")))
            mood = {t: (9_000, 500, 500) for t in own if scores is not None and draw(st.integers(0, 3)) == 0}
            members.append(
                CountedStory(
                    partition="p",
                    offset=number,
                    bucket=place * RULES.bucket,
                    published_at=place * RULES.bucket + draw(st.integers(0, 9)),
                    id=draw(st.sampled_from("abcdef")),
                    content=draw(st.sampled_from("xy")),
                    source=draw(st.sampled_from("st")),
                    stale=draw(st.integers(0, 9)) == 0,
                    date_only=draw(st.booleans()),
                    scores=scores,
                    signature=None if scores is None else signatures[text],
                    keys=() if scores is None else keys[text],
                    topics=tuple(sorted(own)),
                    moods=mood,
                )
            )
        found.append(members)
    return found


@settings(max_examples=300)
@given(buckets_of_stories(), st.integers(0, 5), st.sets(st.sampled_from("AB"), min_size=1))
def test_counting_some_topics_again_gives_what_counting_gave(
    members: list[list[CountedStory]], cut: int, topics: set[str]
) -> None:
    """In whatever parts it is done: what was counted before stands in the stored rulings and topics."""
    memory, expected, ruled = SeenIds(), {}, dict[int, list[Ruled]]()
    for place, some in enumerate(members):
        start = place * RULES.bucket
        rulings, bucket = count_bucket(memory, start, some, RULES)
        expected[start] = tuple(row for row in bucket.topics if row.topic in topics)
        for r in rulings:
            if r.weighs or (r.ending == "duplicate" and r.event is not None):
                only = replace(r.member, topics=tuple(t for t in r.member.topics if t in topics))
                duplicate = r.ending == "duplicate"
                first, event = r.story if duplicate else r.member.position, r.event or r.member.position
                assert first is not None
                ruled.setdefault(start, []).append(Ruled(only, duplicate, first, event))
    found: dict[int, Any] = {}
    stories, events = dict[Any, set[str]](), dict[Any, set[str]]()
    parts = [{s: r for s, r in ruled.items() if (s < cut * RULES.bucket) == first} for first in (True, False)]
    for part in parts:
        found.update(recount(part, topics, Before(events, stories), RULES))
        for one in (one for some in part.values() for one in some):
            stories.setdefault(one.story, set()).update(one.member.topics)
            events.setdefault(one.event, set()).update(one.member.topics)
    assert found == {start: rows for start, rows in expected.items() if start in ruled}
    assert all(not rows for start, rows in expected.items() if start not in ruled)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, quick_scorer: Any) -> tuple[Path, Path, Any]:
    """A feed, a store of it before a fill, and all rows after the fill, which nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    path, before, after = write(folder / "a.jsonl", feed(200, 5)), folder / "before.db", folder / "after.db"
    replay(with_topics(f"sqlite:///{before}", BEFORE), [path], scorer=quick_scorer)
    shutil.copy(before, after)
    replay(with_topics(f"sqlite:///{after}", ADDED), [path], scorer=quick_scorer)
    return path, before, all_rows(f"sqlite:///{after}")


@pytest.mark.parametrize("seed", [1, 2])
def test_a_process_that_is_killed_in_a_fill_loses_and_doubles_nothing(
    seed: int,
    undisturbed: tuple[Path, Path, Any],
    tmp_path: Path,
    quick_scorer: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, before, expected = undisturbed
    killed = shutil.copy(before, tmp_path / "killed.db")
    monkeypatch.setattr(rereading, "STORIES_AT_A_TIME", 40)
    monkeypatch.setattr(recounting, "TAGS_AT_A_TIME", 30)
    monkeypatch.setattr(filling, "STEP_SECONDS", 0.0)
    rng, deaths = random.Random(seed), 0
    real = database.writing

    @contextmanager
    def dying(engine: Any) -> Iterator[Any]:
        moment = rng.choice(["before", "after", *["never"] * 4]) if deaths < 12 else "never"
        with real(engine) as connection:
            yield connection
            if moment == "before":
                raise Killed
        if moment == "after":
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(filling, "writing", dying)
        patched.setattr(rereading_process, "writing", dying)
        for _ in range(100):
            try:
                replay(with_topics(f"sqlite:///{killed}", ADDED), [path], scorer=quick_scorer)
                break
            except Killed:
                deaths += 1
    assert deaths == 12
    assert_same(all_rows(f"sqlite:///{killed}"), expected)


def columns_of(url: str, topic: str) -> dict[str, Any]:
    """What the state at "decided until" remembers of a topic."""
    with reading(connect(url, create=False)) as connection:
        until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
        state = rebuild.rebuild(connection, settings_versions.time_rules(connection), until)
    place = state.history.index[topic]
    return {
        f"{room}.{name}": getattr(part, name)[(slice(None),) * len(lead) + (place,)].tolist()
        for room, part in state.parts().items()
        for name, (lead, *_) in part.ARRAYS.items()
    }


def test_the_detectors_know_a_filled_topic_as_if_it_had_been_there(
    new_store: Made, tmp_path: Path, quick_scorer: Any
) -> None:
    first = write(tmp_path / "a.jsonl", feed(210, 3, every=7_000))
    later, always = new_store("later"), new_store("always")
    how = {"model.per_company": False}
    replay(with_topics(later, BEFORE, **how), [first], scorer=quick_scorer)
    replay(with_topics(later, ADDED, **how), [first], scorer=quick_scorer)
    replay(with_topics(always, ADDED, **how), [first], scorer=quick_scorer)
    for topic in ("Bolun", "gloom"):
        found, expected = columns_of(later, topic), columns_of(always, topic)
        assert {name for name in found if repr(found[name]) != repr(expected[name])} == set()


def test_a_restart_finds_the_state_of_the_fill_and_without_its_snapshot_the_same_again(
    new_store: Made, tmp_path: Path, quick_scorer: Any
) -> None:
    records = feed(210, 4, every=7_000)
    first, second = write(tmp_path / "a.jsonl", records[:190]), write(tmp_path / "b.jsonl", records[190:])
    url = new_store("later")
    replay(with_topics(url, BEFORE), [first], scorer=quick_scorer)
    replay(with_topics(url, ADDED), [first], scorer=quick_scorer)
    replay(with_topics(url, [*ADDED[:2], {"name": "gloom", "names": ["gloom"]}]), [second], scorer=quick_scorer)
    engine, states = connect(url, create=False), []
    with reading(engine) as connection:
        until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
        time = settings_versions.time_rules(connection)
        moments = [until, *(fill.in_force_from for fill in fills.done(connection))]
    for _ in range(2):
        with reading(engine) as connection:
            found = [rebuild.rebuild(connection, time, until), rebuild.state_before(connection, time, moments[1] or 0)]
            states.append([state.snapshot() for state in found])
        with writing(engine) as connection:
            connection.execute(update(schema.fills).values(body=b""))
            connection.execute(delete(schema.daily_state))
    assert states[0] == states[1]


def crisis(topic: str, days: int, bad: range) -> list[dict[str, Any]]:
    """A story of each of four companies every two hours; of `topic`, bad ones in plenty on some days."""
    rng, out = random.Random(7), list[dict[str, Any]]()
    for hour in range(0, days * 24, 2):
        for name in ("Arvex", "Bolun", "Cimat", "Dolor"):
            worse = name == topic and hour // 24 in bad
            for copy in range(4 if worse else 1):
                negative = 0.95 if worse else rng.choice([0.05, 0.1, 0.2, 0.7])
                out.append(
                    {
                        "id": f"{name}{hour}.{copy}",
                        "title": " ".join([name, *rng.choices(WORDS, k=10)]),
                        "published_at": START + hour * 3600 + rng.randrange(300),
                        "source": rng.choice("abcdef"),
                        "scores": {"negative": negative, "neutral": round(0.97 - negative, 3), "positive": 0.03},
                    }
                )
    return sorted(out, key=lambda one: one["published_at"])


@pytest.mark.parametrize("over", [True, False])
def test_a_fill_raises_nothing_about_the_past(over: bool, new_store: Made, tmp_path: Path, quick_scorer: Any) -> None:
    """A crisis that ended before the fill, or burns on through it: an alert of it would be of what is long known."""
    records = crisis("Bolun", 26, range(17, 20) if over else range(17, 24))
    cut = next(i for i, one in enumerate(records) if one["published_at"] >= START + 22 * 86_400)
    first, second = write(tmp_path / "a.jsonl", records[:cut]), write(tmp_path / "b.jsonl", records[cut:])
    rules = [{"name": name, "names": [name]} for name in ("Arvex", "Bolun", "Cimat", "Dolor")]
    later, always = new_store("later"), new_store("always")
    replay(with_topics(later, [rule for rule in rules if rule["name"] != "Bolun"]), [first], scorer=quick_scorer)
    for url in (later, always):
        for path in (first, second):
            replay(with_topics(url, rules), [path], scorer=quick_scorer)
    raised: dict[str, set[tuple[Any, ...]]] = {}
    for url in (later, always):
        a = schema.alerts.c
        with reading(connect(url, create=False)) as connection:
            rows = connection.execute(select(a.topic, a.kind, a.direction, a.fired_at).where(a.fired_at.is_not(None)))
            raised[url] = {tuple(row) for row in rows}
    since = last_fill(later).in_force_from or 0
    about = {row for row in raised[always] if row[0] == "Bolun"}
    assert any(row[3] <= since for row in about), "the crisis fires where the topic was there"
    assert {row for row in raised[later] if row[0] == "Bolun" and row[3] <= since} == set()
    # What comes later is what a store with the topic from the start says, less what it had said before.
    assert {row for row in raised[later] if row[0] == "Bolun"} == {row for row in about if row[3] > since}


def write_as_a_worker(engine: Any, made: Settings, number: int, path: Path, scorer: Any) -> None:
    """Write a file's stories with the settings' version `number`, and decide nothing."""
    rules = wiring.time_rules(made)
    worker = wiring.worker(made, engine, number, scorer)
    source = FiniteSource(Partition(path.name, "file"), FileFeed(path, rules=made.parsing().rules()))
    with writing(engine) as connection:
        (source.partition,) = live.join(connection, [source], rules)
    while len(taken := worker.take([source])):
        rows = worker.rows(taken)
        with writing(engine) as connection:
            (source.partition,) = progress.commit(connection, rows)
    with writing(engine) as connection:
        progress.leave(connection, [source.partition])


def test_stories_of_a_worker_that_has_not_heard_of_the_settings_are_read_too(
    new_store: Made, tmp_path: Path, quick_scorer: Any
) -> None:
    """And a worker and a monitor share a fill, each its steps."""
    records = feed(200, 6)
    first, second = write(tmp_path / "a.jsonl", records[:150]), write(tmp_path / "b.jsonl", records[150:])
    later, always = new_store("later"), new_store("always")
    before, after = with_topics(later, BEFORE), with_topics(later, ADDED)
    replay(before, [first], scorer=quick_scorer)
    engine, rules = connect(later, create=False), wiring.time_rules(after)
    with writing(engine) as connection:
        number = settings_versions.adopt(connection, shaping(after), resuming=None)
    closer = Closer(engine, rules, settings=number)
    reader, monitor = Fills(engine, rules, None), Fills(engine, rules, closer)
    assert not monitor.step(), "nothing is read again yet"
    worker = wiring.worker(after, engine, number, quick_scorer)
    assert not reader.step(wiring.worker(before, engine, 1, quick_scorer)), "it would read by other rules"
    while reader.step(worker):
        pass
    write_as_a_worker(engine, before, 1, second, quick_scorer)
    for _ in closer.close():
        pass
    while monitor.step() or reader.step(worker):
        pass
    for path in (first, second):
        replay(with_topics(always, ADDED), [path], scorer=quick_scorer)
    fill = last_fill(later)
    rows, expected = (series(url, fill.topics, 2**60) for url in (later, always))
    assert [row[:10] for row in rows] == [row[:10] for row in expected]
    with reading(engine) as connection:
        assert fills.unfinished(connection) == []
        assert connection.execute(select(schema.filled_buckets.c.fill)).scalars().all() == []


def test_settings_that_change_again_begin_the_fill_anew(new_store: Made, tmp_path: Path, quick_scorer: Any) -> None:
    path, url = write(tmp_path / "a.jsonl", feed(60, 8)), new_store("later")
    replay(with_topics(url, BEFORE), [path], scorer=quick_scorer)
    engine = connect(url, create=False)
    changes: list[list[Any]] = [
        [ARVEX, BOLUN], ADDED, [*ADDED[:2], {**GLOOM, "weight": 3.0}], [ARVEX, GLOOM],
    ]  # fmt: skip
    for topics in changes:
        with writing(engine) as connection:
            settings_versions.adopt(connection, shaping(with_topics(url, topics)), resuming=None)
    with reading(engine) as connection:
        states = connection.execute(select(schema.fills.c.state, schema.fills.c.topics)).all()
        (said,) = fills.under_way(connection)
    assert [tuple(row) for row in states] == [
        ("replaced", '["Bolun"]'),
        ("replaced", '["Bolun", "gloom"]'),
        ("replaced", '["Bolun", "gloom"]'),
        ("reading", '["gloom"]'),
    ]
    assert fills.sentence(said) == "gloom: 0 % of the stored stories read again"
    (row,) = [row for row in open_store(url).topics() if row["topic"] == "gloom"]
    assert row["filling"] == {"fill": 4, "step": "reading", "done": 0.0}
    shown = CliRunner().invoke(app, ["topics", "list", "--store", url])
    assert "being filled: 0 % of the stored stories read again" in shown.output
    replay(with_topics(url, [ARVEX, GLOOM]), [path], scorer=quick_scorer)
    row = next(row for row in open_store(url).topics() if row["topic"] == "gloom")
    assert (row["filling"], row["state"]) == (None, "learning")
    assert all(row["filled"] for row in open_store(url).series_rows("gloom"))


def test_what_does_not_decide_which_stories_a_topic_has_fills_nothing(
    new_store: Made, tmp_path: Path, quick_scorer: Any
) -> None:
    """Nor does a version of Foreshock whose rules have a field more."""
    path, url = write(tmp_path / "a.jsonl", feed(20, 8)), new_store("same")
    replay(with_topics(url, ADDED), [path], scorer=quick_scorer)
    engine = connect(url, create=False)
    with writing(engine) as connection:
        v = schema.settings_versions.c
        body = json.loads(connection.execute(select(v.body)).scalar_one())
        body["topics"] = [
            {name: rule[name] for name in rule if name not in ("avoid", "weak")} for rule in body["topics"]
        ]
        connection.execute(update(schema.settings_versions).values(body=json.dumps(body)))
        other: list[Any] = [{**ARVEX, "weight": 4.0, "tags": ["pumps"]}, {**BOLUN, "company": False}, GLOOM]
        assert settings_versions.adopt(connection, shaping(with_topics(url, other)), resuming=None) == 2
        assert fills.unfinished(connection) == []


@pytest.mark.parametrize("days", [1, 100])
def test_rows_whose_stories_are_no_longer_stored_stay_as_they_are(
    days: int, new_store: Made, tmp_path: Path, quick_scorer: Any
) -> None:
    """And the detectors know what they can, from the oldest state that there is, or from none."""
    path, url = write(tmp_path / "a.jsonl", feed(200, 11)), new_store("aged")
    replay(with_topics(url, [ARVEX, BOLUN]), [path], scorer=quick_scorer)
    engine, cut = connect(url, create=False), (START + 5 * 86_400) * 1_000_000
    with writing(engine) as connection:
        s, d, t = schema.stories, schema.decisions, schema.story_topics
        connection.execute(delete(t).where(t.c.counts_at < cut))
        connection.execute(delete(s).where(s.c.counts_at < cut))
        connection.execute(delete(d).where(d.c.bucket < cut))
        # And the detectors' states and other topics' rows of that time, as where all ages alike.
        connection.execute(delete(schema.daily_state).where(schema.daily_state.c.bucket < cut + days * 86_400_000_000))
        others = schema.buckets.c.topic.not_in(["Bolun"])
        connection.execute(delete(schema.buckets).where(others, schema.buckets.c.start < cut))
    old = [row for row in series(url, ["Bolun"], 2**60) if row[1] < cut]
    replay(with_topics(url, [ARVEX, OTHER_BOLUN, GLOOM]), [path], scorer=quick_scorer)
    assert old
    assert [row for row in series(url, ["Bolun"], 2**60) if row[1] < cut] == old
    assert all(row[1] >= cut for row in series(url, ["gloom"], 2**60))
    assert any(row["filled"] for row in open_store(url).series_rows("Bolun"))
    with reading(engine) as connection:
        until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
        state = rebuild.rebuild(connection, settings_versions.time_rules(connection), until)
    assert "gloom" in state.history.index


def test_buckets_that_are_decided_meanwhile_do_not_begin_the_fill_anew(
    new_store: Made, tmp_path: Path, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy desk it would never be done."""
    monkeypatch.setattr(filling, "STEP_SECONDS", 0.0)
    records = feed(150, 12)
    first, url = write(tmp_path / "a.jsonl", records[:120]), new_store("busy")
    after = with_topics(url, ADDED)
    replay(with_topics(url, BEFORE), [first], scorer=quick_scorer)
    engine, rules = connect(url, create=False), wiring.time_rules(after)
    with writing(engine) as connection:
        number = settings_versions.adopt(connection, shaping(after), resuming=None)
    closer, worker = Closer(engine, rules, settings=number), wiring.worker(after, engine, number, quick_scorer)
    steps = Fills(engine, rules, closer)
    made: list[Filled] = []
    monkeypatch.setattr(filling, "Filled", lambda *given: made.append(Filled(*given)) or made[-1])
    for place in range(3):
        for _ in range(8):
            assert steps.step(worker)
        more = write(tmp_path / f"{place}.jsonl", records[120 + 10 * place : 130 + 10 * place])
        write_as_a_worker(engine, after, number, more, quick_scorer)
        for _ in closer.close():
            pass
    while steps.step(worker):
        pass
    assert len(made) == 1
    always = new_store("always")
    for path in (first, *(tmp_path / f"{place}.jsonl" for place in range(3))):
        replay(with_topics(always, ADDED), [path], scorer=quick_scorer)
    filled, expected = (series(one, ["Bolun", "gloom"], last_fill(url).in_force_from or 0) for one in (url, always))
    assert [row[:10] for row in filled] == [row[:10] for row in expected]


def test_a_run_adopts_a_topic_without_a_restart(
    new_store: Made, tmp_path: Path, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "SETTINGS_SECONDS", 0.0)
    monkeypatch.setattr(Feeds, "look_seconds", 0.01)
    path, url = write(tmp_path / "live.jsonl", feed(60, 9)), new_store("run")
    config, stop = tmp_path / "desk.toml", Stop()
    desk = (
        f'[store]\nurl = "{url}"\n[metrics]\nlisten = ""\n[watchlist]\ndefaults = false\n[[feeds]]\nfile = "{path}"\n'
    )
    config.write_text(desk + '[[topics]]\nname = "Arvex"\nnames = ["Arvex"]\n')
    loaded = load(config, environ={})
    file = reload.SettingsFile(lambda: load(config, environ={}), loaded)
    clock = (START + 60 * 86_400) * 1_000_000

    def seen(name: str) -> bool:
        return any(
            row["topic"] == name and row["filling"] is None and row["stories"] for row in open_store(url).topics()
        )

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(run, loaded.settings, stop=stop, file=file, scorer=quick_scorer, clock=lambda: clock)
        try:
            until(lambda: seen("Arvex"), running)
            config.write_text(config.read_text() + '[[topics]]\nname = "Bolun"\nnames = ["Bolun"]\n')
            until(lambda: seen("Bolun"), running)
            config.write_text(config.read_text().replace('file = "', 'file = "other'))
            with path.open("a") as more:
                late = {"id": "last", "title": "Bolun now", "published_at": START + 59 * 86_400}
                more.write(json.dumps(late) + "\n")
            until(lambda: any(row["id"] == "last" for row in open_store(url).stories(topic="Bolun")), running)
        finally:
            stop.set()
        running.result(timeout=240)


def test_an_alert_from_before_a_fill_is_packed_as_it_was_decided(
    new_store: Made, tmp_path: Path, quick_scorer: Any
) -> None:
    """Though the fill gave its topic other stories, and another one a past."""
    path, url = write(tmp_path / "a.jsonl", crisis("Bolun", 20, range(18, 20))), new_store("packs")
    rules = [{"name": name, "names": [name]} for name in ("Bolun", "Cimat", "Dolor")]
    replay(with_topics(url, rules), [path], scorer=quick_scorer)
    engine = connect(url, create=False)
    with reading(engine) as connection:
        a = schema.alerts.c
        query = select(a.id).where(a.topic == "Bolun", a.fired_at.is_not(None)).order_by(a.fired_at)
        alert = connection.execute(query).scalars().first()
    assert alert is not None
    digest = pack(engine, alert, tmp_path / "before.zip")
    other = {**rules[0], "exclude": [f"Bolun {word}" for word in WORDS[:70]]}
    replay(with_topics(url, [other, *rules[1:], ARVEX]), [path], scorer=quick_scorer)
    assert last_fill(url).topics == ("Arvex", "Bolun")
    again = pack(engine, alert, tmp_path / "after.zip")
    assert verify(tmp_path / "before.zip").same
    assert verify(tmp_path / "after.zip").same
    assert digest == again


@pytest.mark.postgres
def test_postgresql_is_filled_with_the_same_rows(
    postgres: str, new_store: Made, tmp_path: Path, quick_scorer: Any
) -> None:
    """A topic that is added, then a rule that changes; and what was known in between."""
    path, lite = write(tmp_path / "a.jsonl", feed(180, 10)), new_store("lite")
    for url in (postgres, lite):
        for topics in ([ARVEX], [ARVEX, BOLUN, GLOOM], [ARVEX, OTHER_BOLUN, GLOOM]):
            replay(with_topics(url, topics), [path], scorer=quick_scorer)
    assert_same(all_rows(postgres), all_rows(lite))
    moments = [datetime.fromtimestamp(START + day * 86_400, UTC) for day in (4, 9)]
    for moment in moments:
        rows = [list(open_store(url).series_rows(["Bolun", "_all"], as_of=moment)) for url in (postgres, lite)]
        assert rows[0] == rows[1]
    engine = connect(postgres, create=False)
    certificate = certify(engine, ["Arvex", "_all"], weights="default", cuts=2)
    assert certificate.holds, certificate.differ
    with writing(engine) as connection:
        connection.execute(update(schema.fills).values(body=b""))
        connection.execute(delete(schema.daily_state))
    with reading(engine) as connection:
        until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
        state = rebuild.rebuild(connection, settings_versions.time_rules(connection), until)
    assert "Bolun" in state.history.index


def test_without_a_fill_a_busy_loop_is_not_disturbed(new_store: Made, tmp_path: Path, quick_scorer: Any) -> None:
    """Batches in hand are committed early only where stories must be read again."""
    path, url = write(tmp_path / "a.jsonl", feed(20, 8)), new_store("quiet")
    replay(with_topics(url, BEFORE), [path], scorer=quick_scorer)
    engine, after = connect(url, create=False), with_topics(url, ADDED)
    rules = wiring.time_rules(after)
    steps = Fills(engine, rules, Closer(engine, rules, settings=1))
    assert not steps.due(idle=False)
    assert not steps.reads
    with writing(engine) as connection:
        number = settings_versions.adopt(connection, shaping(after), resuming=None)
    steps = Fills(engine, rules, Closer(engine, rules, settings=number))
    assert steps.due(idle=False)
    assert steps.reads
    worker = wiring.worker(after, engine, number, quick_scorer)
    while steps.reads:
        steps.step(worker)
        time.sleep(0.01)
        steps._busy_at = 0.0
        steps.due(idle=False)
    assert steps.step(worker), "what is left needs no encoder"


def test_a_fill_ends_where_nothing_is_decided_yet(new_store: Made, tmp_path: Path, quick_scorer: Any) -> None:
    url, rules = new_store("one"), TimeRules()
    replay(with_topics(url, BEFORE), [write(tmp_path / "a.jsonl", feed(20, 3))], scorer=quick_scorer)
    engine = connect(url, create=False)
    with writing(engine) as connection:
        connection.execute(update(schema.feed).values(decided_until=None))
        fills.plan(connection, 2, {"topics": BEFORE}, {"topics": ADDED})
        connection.execute(update(schema.fills).values(state=fills.COUNTING))
    assert filling.Filler(engine, rules, Closer(engine, rules, settings=1)).step()
    with reading(engine) as connection:
        assert not fills.unfinished(connection)
        assert fills.done(connection)
