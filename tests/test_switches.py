"""A store's model is switched at a recorded bucket: monitor/switching.py says what holds."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Gloomy, QuickScorer
from hypothesis import given
from hypothesis import strategies as st
from named_feed import ADDED, BEFORE, START, Killed, Made, feed, until, with_topics, write
from rows import all_rows, assert_same
from sqlalchemy import Connection, delete, func, select, text, update
from typer.testing import CliRunner

from foreshock.analysis.certify import certify
from foreshock.cli.app import app
from foreshock.model.errors import ModelError
from foreshock.monitor import switching
from foreshock.monitor.buckets import SourceSums, TopicBucket
from foreshock.monitor.chaining import Overlap, chain
from foreshock.monitor.closing import Closer
from foreshock.monitor.deciding_again import versions_of
from foreshock.monitor.errors import Overtaken, SettingsDiffer, StoreUnavailable
from foreshock.monitor.rebuild import rebuild
from foreshock.monitor.store import (
    curves,
    database,
    fills,
    open_store,
    progress,
    rescoring,
    rolling,
    schema,
    settings_versions,
    switches,
)
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import UNIT
from foreshock.monitor.watermark import TimeRules
from foreshock.processes import rescoring as rescoring_process
from foreshock.processes import switch as switch_process
from foreshock.processes import switches as switches_process
from foreshock.processes import wiring
from foreshock.processes.fills import Fills
from foreshock.processes.models import Models
from foreshock.processes.replay import replay
from foreshock.processes.run import run
from foreshock.processes.stop import Stop
from foreshock.processes.switch import Switched, switch
from foreshock.processes.switches import Switches
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping
from foreshock.sources.feeds import Feeds


@pytest.fixture(scope="module", autouse=True)
def _quick_models() -> Iterator[None]:
    """Weights "default" are quick, and others gloomy."""
    made = {"default": QuickScorer}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "scorer_of", lambda model, kept=None: made.get(model.weights, Gloomy)())
        yield


def settings(url: str, flags: Mapping[str, Any] | None = None) -> Settings:
    return with_topics(url, BEFORE, **(flags or {}))


def only(url: str) -> switches.Switch:
    with reading(connect(url, create=False)) as connection:
        return switches.of_number(connection, 1)


def models_of(url: str) -> list[tuple[int, str | None]]:
    s = schema.stories.c
    with reading(connect(url, create=False)) as connection:
        return [(row[0], row[1]) for row in connection.execute(select(s.counts_at, s.model).order_by(s.counts_at))]


def test_stories_carry_the_model_that_was_in_force_when_they_count(new_store: Made, tmp_path: Path) -> None:
    records = feed(220, 1)
    first, second = write(tmp_path / "a.jsonl", records[:180]), write(tmp_path / "b.jsonl", records[180:])
    url = new_store("one")
    replay(settings(url), [first])
    found = switch(settings(url), "gloomy")
    assert (found.state, found.model, found.before) == ("in force", "gloomy-1", "quick-1")
    assert found.rescored > 100
    replay(settings(url), [second])
    at = only(url).in_force_from
    assert at is not None
    assert iso(at) == found.in_force_from
    scored = [(time, model) for time, model in models_of(url) if model is not None]
    assert {model for time, model in scored if time < at} == {"quick-1"}
    assert {model for time, model in scored if time >= at} == {"gloomy-1"}
    with reading(connect(url, create=False)) as connection:
        assert connection.execute(select(schema.feed.c.model)).scalar() == "gloomy-1"


def test_a_replay_with_the_recorded_bucket_gives_the_same_rows(new_store: Made, tmp_path: Path) -> None:
    records = feed(320, 2, every=5_000)
    first, second = write(tmp_path / "a.jsonl", records[:330]), write(tmp_path / "b.jsonl", records[330:])
    one, two = new_store("one"), new_store("two")
    replay(settings(one), [first])
    at = switch(settings(one), "gloomy").in_force_from
    replay(settings(one), [second])
    recorded = only(one).in_force_from
    assert recorded is not None
    for path in (first, second):
        replay(settings(two), [path], switched=[(str(Path("gloomy").absolute()), recorded)])
    assert iso(only(two).in_force_from or 0) == at
    assert_same(all_rows(two), all_rows(one))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, _quick_models: None) -> tuple[Path, Any]:
    """A store before a switch, and all rows after the switch, which nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    before, after = folder / "before.db", folder / "after.db"
    replay(settings(f"sqlite:///{before}"), [write(folder / "a.jsonl", feed(200, 5))])
    shutil.copy(before, after)
    switch(settings(f"sqlite:///{after}"), "gloomy")
    return before, all_rows(f"sqlite:///{after}")


@pytest.mark.parametrize("seed", [1, 2])
def test_a_switch_that_is_killed_goes_on_where_it_was(
    seed: int, undisturbed: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, expected = undisturbed
    killed = shutil.copy(before, tmp_path / "killed.db")
    monkeypatch.setattr(rescoring, "STORIES_AT_A_TIME", 30)
    monkeypatch.setattr(switching, "STEP_SECONDS", 0.0)
    rng, deaths, real = random.Random(seed), 0, database.writing

    @contextmanager
    def dying(engine: Any) -> Iterator[Any]:
        moment = rng.choice(["before", "after", "never", "never"]) if deaths < 8 else "never"
        with real(engine) as connection:
            yield connection
            if moment == "before":
                raise Killed
        if moment == "after":
            raise Killed

    found: Switched | None = None
    with monkeypatch.context() as patched:
        for module in (rescoring_process, switching, switch_process):
            patched.setattr(module, "writing", dying)
        for _ in range(50):
            try:
                found = switch(settings(f"sqlite:///{killed}"), "gloomy")
                break
            except Killed:
                deaths += 1
    assert deaths
    assert found is not None
    assert_same(all_rows(f"sqlite:///{killed}"), expected)
    again = switch(settings(f"sqlite:///{killed}"), "gloomy")
    assert again.state == "unchanged"
    assert_same(all_rows(f"sqlite:///{killed}"), expected)


def test_a_restart_finds_the_state_of_the_switch_and_without_its_snapshot_the_same_again(
    new_store: Made, tmp_path: Path
) -> None:
    url = new_store("one")
    replay(settings(url), [write(tmp_path / "a.jsonl", feed(210, 3, every=7_000))])
    switch(settings(url), "gloomy")
    engine = connect(url, create=False)

    def state() -> bytes:
        with reading(engine) as connection:
            until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
            return rebuild(connection, settings_versions.time_rules(connection), until).snapshot()

    before = state()
    m = schema.model_switches
    with writing(engine) as connection:
        assert connection.execute(select(func.length(m.c.body))).scalar_one() > 0
        connection.execute(update(m).values(body=b""))
    assert state() == before
    with writing(engine) as connection:
        connection.execute(delete(schema.daily_state))
    assert state() == before


def test_settings_that_are_adopted_at_the_bucket_of_a_switch_after_it_are_not_forgotten(
    new_store: Made, tmp_path: Path
) -> None:
    url = new_store("one")
    replay(settings(url), [write(tmp_path / "a.jsonl", feed(150, 3))])
    switch(settings(url), "gloomy")
    engine, at = connect(url, create=False), only(url).in_force_from or 0
    assert at == decided(url)
    with reading(engine) as connection:
        before = rebuild(connection, settings_versions.time_rules(connection), at)
    with writing(engine) as connection:
        settings_versions.adopt(
            connection, shaping(with_topics(url, [], **{"alerts.false_alarms": "7 per day"})), resuming=None
        )
    with reading(engine) as connection:
        versions = versions_of(connection, settings_versions.time_rules(connection))
        state = rebuild(connection, settings_versions.time_rules(connection), at)
    gone = versions[-2].topics - versions[-1].topics
    assert gone == {"Arvex"}
    before.adopt(versions[-1].rules, gone=gone, back=frozenset())
    assert state.snapshot() == before.snapshot()


def test_the_state_after_a_switch_knows_the_habits_of_the_new_model(new_store: Made, tmp_path: Path) -> None:
    """As a store does that the new model scored all along."""
    path = write(tmp_path / "a.jsonl", feed(500, 3, every=3_000))
    switched, always = new_store("switched"), new_store("always")
    replay(settings(switched), [path])
    switch(settings(switched), "gloomy")
    replay(settings(always, {"model.weights": "gloomy"}), [path])
    shares = {}
    for url in (switched, always):
        with reading(connect(url, create=False)) as connection:
            until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
            state = rebuild(connection, settings_versions.time_rules(connection), until)
        h = state.history
        shares[url] = {
            name: h.base[h.index[name], 1] / max(h.base[h.index[name], 0], 1) for name in ("_all", "T1", "T2", "Arvex")
        }
    for name, share in shares[always].items():
        assert shares[switched][name] == pytest.approx(share, abs=0.01), name


def test_rows_before_the_switch_stay_as_they_were_known(new_store: Made, tmp_path: Path) -> None:
    url = new_store("one")
    replay(settings(url), [write(tmp_path / "a.jsonl", feed(200, 4))])
    before = list(open_store(url).series_rows(["_all", "T1"]))
    switch(settings(url), "gloomy")
    assert list(open_store(url).series_rows(["_all", "T1"])) == before


def test_switching_back_works_and_other_models_of_the_store_may_stand_in_the_settings(
    new_store: Made, tmp_path: Path
) -> None:
    url, records = new_store("one"), feed(250, 6)
    cuts = [records[:150], records[150:200], records[200:]]
    paths = [write(tmp_path / f"{place}.jsonl", some) for place, some in enumerate(cuts)]
    replay(settings(url), [paths[0]])
    there = switch(settings(url), "gloomy")
    replay(settings(url, {"model.weights": str(Path("gloomy").absolute())}), [paths[1]])
    back = switch(settings(url), "default")
    assert (back.state, back.model, back.before) == ("in force", "quick-1", "gloomy-1")
    replay(settings(url), [paths[2]])
    bounds = [there.in_force_from, back.in_force_from]
    found = [(iso(time), model) for time, model in models_of(url) if model]
    assert {model for time, model in found if time < str(bounds[0])} == {"quick-1"}
    assert {model for time, model in found if str(bounds[0]) <= time < str(bounds[1])} == {"gloomy-1"}
    assert {model for time, model in found if time >= str(bounds[1])} == {"quick-1"}
    with pytest.raises(SettingsDiffer, match="model switch"):
        replay(settings(url, {"model.weights": "third"}), [paths[2]])


def test_stories_that_the_feed_scored_keep_their_scores(new_store: Made, tmp_path: Path) -> None:
    url, records = new_store("one"), feed(200, 7)
    for place, record in enumerate(records):
        if place % 2:
            record["scores"] = {"negative": 0.1, "neutral": 0.2, "positive": 0.7}
    replay(settings(url), [write(tmp_path / "a.jsonl", records)])
    found = switch(settings(url), "gloomy")
    s, r, b = schema.stories.c, schema.rescored_buckets.c, schema.buckets.c
    with reading(connect(url, create=False)) as connection:
        fed = set(connection.execute(select(s.counts_at).where(s.model == "feed")).scalars())
        own = set(connection.execute(select(s.counts_at).where(s.model == "quick-1")).scalars())
        again, first = (
            {row[0]: row[1] for row in connection.execute(select(c.start, c.negative).where(c.topic == "_all"))}
            for c in (r, b)
        )
    bucket = 300_000_000
    only_fed = {time - time % bucket for time in fed} - {time - time % bucket for time in own}
    assert again
    assert all(again[start] == first[start] for start in only_fed & again.keys())
    assert any(again[start] > first[start] for start in again.keys() - only_fed)
    assert 0 < found.rescored < len(own) + 1


def test_a_chart_leaves_out_rows_that_were_counted_again_of_other_stories(new_store: Made, tmp_path: Path) -> None:
    """Rows that were put together since, or that a fill replaced, have another number of events."""
    url, records = new_store("one"), feed(250, 1)
    replay(settings(url), [write(tmp_path / "a.jsonl", records[:210])])
    switch(settings(url), "gloomy")
    replay(settings(url), [write(tmp_path / "b.jsonl", records[210:])])
    b, bucket = schema.buckets, 300_000_000
    with writing(connect(url, create=False)) as connection:
        rows = connection.execute(select(b).where(b.c.topic == "_all").order_by(b.c.start)).all()
        at = only(url).in_force_from
        before = [row for row in rows if row.start < at]

        def moved() -> dict[int, int]:
            """Return by how much the negative sum of each bucket is another with the new model."""
            size = (rows[-1].start - rows[0].start) // bucket + 1
            total, last = np.zeros((size + 1, 6), np.int64), np.arange(size) + 1
            end = rows[0].start + size * bucket
            ((_, sums),) = curves._by_model(connection, "_all", total, last, rows[0].start, end, bucket)
            found = np.diff(sums, axis=0)[:, 2]
            return {rows[0].start + int(n) * bucket: int(found[n]) for n in np.flatnonzero(found)}

        first = moved()
        assert first
        start = next(iter(first))
        together = [row for row in before if row.start >= start][:2]
        assert len(together) == 2
        rolling._replace(connection, start, [together])
        again = moved()
    assert again == {time: much for time, much in first.items() if time not in {row.start for row in together}}


def test_nothing_can_be_switched_before_something_is_scored(new_store: Made) -> None:
    with pytest.raises(SettingsDiffer, match="nothing to switch from"):
        switch(settings(new_store("empty")), "gloomy")


def test_the_counted_rows_are_those_of_the_new_model(new_store: Made, tmp_path: Path) -> None:
    """Where both models agree on what is an event, they are the rows of a store that the new model began."""
    records = [r for r in feed(250, 8) if r["id"].startswith("s")]
    path = write(tmp_path / "a.jsonl", list({r["id"]: r for r in records}.values()))
    switched, always = new_store("switched"), new_store("always")
    replay(settings(switched), [path])
    switch(settings(switched), "gloomy")
    replay(settings(always, {"model.weights": "gloomy"}), [path])
    names = ("topic", "start", "stories", "events", "negative", "neutral", "positive", "sources", "by_source")
    r, b = schema.rescored_buckets.c, schema.buckets.c
    with reading(connect(switched, create=False)) as connection:
        found = connection.execute(select(*(r[n] for n in names)).order_by(r.topic, r.start)).all()
    with reading(connect(always, create=False)) as connection:
        since = only(switched).since
        query = select(*(b[n] for n in names)).where(b.start >= since).order_by(b.topic, b.start)
        expected = connection.execute(query).all()
    assert found
    assert found == expected


sums = st.integers(0, 12)


@st.composite
def rows_of(draw: st.DrawFn) -> TopicBucket:
    events = draw(sums)
    negative = draw(st.integers(0, events * UNIT))
    positive = draw(st.integers(0, events * UNIT - negative))
    dated = draw(st.integers(0, events))
    day_negative = draw(st.integers(0, min(dated * UNIT, negative)))
    part = SourceSums("a", events, negative, positive, dated, day_negative)
    neutral = events * UNIT - negative - positive
    return TopicBucket("x", events, events, negative, neutral, positive, ("a",), dated, day_negative, (part,))


def overlap(pairs: Sequence[tuple[TopicBucket, TopicBucket]]) -> Overlap:
    sums = [
        (sum(row.negative for row in rows), sum(row.positive for row in rows))
        for rows in ([old for old, _ in pairs], [new for _, new in pairs])
    ]
    return Overlap(sum(old.events for old, _ in pairs) * UNIT, sums[0], sums[1])


@given(st.lists(st.tuples(rows_of(), rows_of()), max_size=6), rows_of())
def test_a_scaled_row_keeps_its_events_and_its_bounds(
    both: list[tuple[TopicBucket, TopicBucket]], row: TopicBucket
) -> None:
    found = chain({"x": overlap([(old, new) for old, new in both if old.events == new.events])}).scaled(row)
    parts: list[TopicBucket | SourceSums] = [found, *found.by_source]
    for one in parts:
        assert min(one.negative, one.positive, one.day_negative) >= 0
        assert one.negative + one.positive <= one.events * UNIT
        assert one.day_negative <= min(one.negative, one.day_events * UNIT)
    assert (found.events, found.stories, found.sources) == (row.events, row.stories, row.sources)
    assert found.negative + found.neutral + found.positive == row.events * UNIT


@given(st.lists(rows_of(), min_size=1), rows_of())
def test_equal_models_scale_nothing(rows: list[TopicBucket], row: TopicBucket) -> None:
    assert chain({"x": overlap([(one, one) for one in rows])}).scaled(row) == row


def test_the_overlap_itself_is_brought_to_the_scale_of_the_other_model() -> None:
    rng, pairs = random.Random(1), list[tuple[TopicBucket, TopicBucket]]()
    for _ in range(2_000):
        bad = rng.choice([500, 2_000, 9_000])
        more = min(bad * 3 // 2, 9_400)
        old, new = (TopicBucket("x", 1, 1, mass, 9_500 - mass, 500, ("a",)) for mass in (bad, more))
        pairs.append((old, new))
    made = chain({"x": overlap(pairs)})
    scaled = sum(made.scaled(old).negative for old, _ in pairs)
    assert scaled == pytest.approx(sum(new.negative for _, new in pairs), rel=0.01)


SAID = ("stories", "story_topics", "buckets", "model_switches", "rescored_buckets")


def test_a_live_run_goes_over_by_itself_and_a_replay_gives_its_rows(
    new_store: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_scorer: Any
) -> None:
    monkeypatch.setattr(Feeds, "look_seconds", 0.01)
    records = feed(260, 9)
    path, live, replayed = write(tmp_path / "live.jsonl", records[:200]), new_store("live"), new_store("replayed")
    one = settings(live, {"feeds": [{"file": str(path)}], "metrics.listen": ""})
    clock, stop = (START + 90 * 86_400) * 1_000_000, Stop()
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(run, one, stop=stop, scorer=quick_scorer, clock=lambda: clock)
        try:
            until(lambda: len(models_of(live)) == 200 and decided(live) > START * 1_000_000, running)
            asked = threads.submit(switch, one, "gloomy", stop=stop)
            until(lambda: armed(live), running)
            with path.open("a") as more:
                more.writelines(json.dumps(record) + "\n" for record in records[200:])
            found = asked.result(timeout=240)
            until(lambda: len(models_of(live)) == len(records), running)
        finally:
            stop.set()
        running.result(timeout=240)
    assert found.state == "in force"
    at = only(live).in_force_from
    assert at is not None
    assert {model for time, model in models_of(live) if model and time >= at} == {"gloomy-1"}
    assert {model for time, model in models_of(live) if model and time < at} == {"quick-1"}
    replay(settings(replayed), [path], switched=[("gloomy", at)])
    end, was, again = decided(live), all_rows(live), all_rows(replayed)  # a run that was stopped leaves buckets open
    assert end > at
    for table in SAID:
        assert was[table] == [row for row in again[table] if table != "buckets" or row[1] < end], table


def decided(url: str) -> int:
    with reading(connect(url, create=False)) as connection:
        return int(connection.execute(select(schema.feed.c.decided_until)).scalar() or 0)


def armed(url: str) -> bool:
    with reading(connect(url, create=False)) as connection:
        return bool(switches.timeline(connection))


def counted(url: str, path: Path) -> tuple[Any, switches.Switch]:
    """A store whose switch can be armed: its decided buckets are counted by the new model."""
    replay(settings(url), [path])
    engine, rules = connect(url, create=False), TimeRules()
    with writing(engine) as connection:
        planned = switches.plan(connection, {"weights": "gloomy"}, "gloomy-1", rules)
    assert planned is not None
    rescorer = rescoring_process.Rescorer(engine, rules)
    while (due := rescorer.due(armed=False)) is not None:
        rescorer.step(due, Gloomy())
    return engine, planned


def test_topics_that_are_added_while_a_switch_is_armed_are_filled_after_it(new_store: Made, tmp_path: Path) -> None:
    url, records = new_store("one"), feed(300, 21)
    engine, _ = counted(url, write(tmp_path / "a.jsonl", records[:200]))
    rules, after = TimeRules(), with_topics(url, ADDED, **{"model.per_company": True})
    closer, models = Closer(engine, rules, settings=1), Models(QuickScorer, lambda _: Gloomy())
    steps = Switches(engine, rules, closer, models, arms=True)
    assert steps.step()
    with writing(engine) as connection:
        number = settings_versions.adopt(connection, shaping(after), resuming=None)
    filler, worker = Fills(engine, rules, closer), wiring.worker(after, engine, number, QuickScorer)
    assert armed(url)
    assert not filler.step(worker)
    with reading(engine) as connection:
        (fill,) = fills.unfinished(connection)
        assert (fill.state, fill.read) == (fills.READING, 0)
    while only(url).state == switches.ARMED:
        assert not filler.step(worker)
        assert steps.step()
    replay(after, [write(tmp_path / "b.jsonl", records[200:250])])
    replay(after, [write(tmp_path / "c.jsonl", records[250:])])  # filled before it is read, at the latest
    with reading(engine) as connection:
        (fill,) = fills.done(connection)
    assert (fill.in_force_from or 0) > (only(url).in_force_from or 0)


def test_topics_are_filled_before_a_switch_that_lies_far_ahead_by_the_model_in_force(
    new_store: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, records, rules = new_store("one"), feed(300, 22), TimeRules()
    how = {"model.per_company": True}
    replay(with_topics(url, BEFORE, **how), [write(tmp_path / "a.jsonl", records[:200])])
    engine, at = connect(url, create=False), rules.start_of((START + 90 * 86_400) * 1_000_000)
    with writing(engine) as connection:
        switches.plan_at(connection, {"weights": "gone"}, "gone-1", at, rules)

    def scorer_of(model: Any, kept: Any = None) -> Any:
        assert model.weights == "default", "the other model is not needed yet"
        return QuickScorer()

    monkeypatch.setattr(wiring, "scorer_of", scorer_of)
    replay(with_topics(url, ADDED, **how), [write(tmp_path / "b.jsonl", records[200:])])
    with reading(engine) as connection:
        (fill,) = fills.done(connection)
        assert fill.found
    assert (fill.in_force_from or at) < at


@pytest.mark.parametrize("error", [StoreUnavailable, Overtaken])
def test_a_store_that_does_not_answer_for_a_moment_refuses_no_switch(
    error: type[Exception], new_store: Made, tmp_path: Path
) -> None:
    url, fails = new_store("one"), [error("not now")]
    engine, _ = counted(url, write(tmp_path / "a.jsonl", feed(60, 11)))

    def after(_: switches.Switch) -> Any:
        if fails:
            raise fails.pop()
        return Gloomy()

    rules = TimeRules()
    steps = Switches(engine, rules, Closer(engine, rules, settings=1), Models(QuickScorer, after), arms=True)
    with pytest.raises(error):
        steps.step()
    assert steps.step()
    assert armed(url)


def test_a_model_that_a_live_process_cannot_load_is_refused_and_can_be_taken_back(
    new_store: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_store("one")
    replay(settings(url), [write(tmp_path / "a.jsonl", feed(120, 11))])
    engine, rules = connect(url, create=False), TimeRules()
    with writing(engine) as connection:
        planned = switches.plan(connection, {"weights": "gone"}, "gone-1", rules)
    assert planned is not None
    rescorer = rescoring_process.Rescorer(engine, rules)
    while (due := rescorer.due(armed=False)) is not None:
        rescorer.step(due, Gloomy())

    def fails(_: switches.Switch) -> Any:
        raise ModelError("no such folder")

    steps = Switches(engine, rules, Closer(engine, rules, settings=1), Models(QuickScorer, fails), arms=True)
    assert not steps.step()
    assert not armed(url)
    assert switch(settings(url), "default").state == "unchanged"
    with reading(engine) as connection:
        assert not switches.unfinished(connection)
        assert connection.execute(select(func.count()).select_from(schema.rescored_buckets)).scalar_one() == 0


def test_an_armed_switch_is_taken_back_until_a_story_counts_in_its_bucket(new_store: Made, tmp_path: Path) -> None:
    url, records = new_store("one"), feed(200, 24)
    engine, _ = counted(url, write(tmp_path / "a.jsonl", records[:150]))
    rules, call = TimeRules(), CliRunner()
    models = Models(QuickScorer, lambda _: Gloomy())
    assert Switches(engine, rules, Closer(engine, rules, settings=1), models, arms=True).step()
    at = only(url).in_force_from or 0
    assert armed(url)
    with reading(engine) as connection:
        models.follow(connection)
        place = models.place(at)
        known = progress.load(connection)["a.jsonl"]
    assert place == 1, "who scores now scores stories of that bucket by the new model"
    found = call.invoke(app, ["model", "switch", "--cancel", "--store", url, "--json"])
    said = json.loads(found.stdout)
    assert (said["state"], said["model"], said["before"]) == ("taken back", "gloomy-1", "quick-1")
    assert not armed(url)
    for batch in (progress.Batch([], [], [], [known], switch=1), progress.Batch([], [], [], [known])):
        with pytest.raises(Overtaken), writing(engine) as connection:
            progress.commit(connection, batch)
    with reading(engine) as connection:
        models.follow(connection)
        assert connection.execute(select(func.count()).select_from(schema.rescored_buckets)).scalar_one() == 0
    assert models.place(at) == 0
    replay(settings(url), [write(tmp_path / "b.jsonl", records[150:])])
    plain = new_store("plain")
    replay(settings(plain), [tmp_path / "a.jsonl"])
    replay(settings(plain), [tmp_path / "b.jsonl"])
    rows, expected = all_rows(url), all_rows(plain)
    for table in ("stories", "story_topics", "buckets", "rescored_buckets"):
        assert rows[table] == expected[table], table
    found = call.invoke(app, ["model", "switch", "--cancel", "--store", url])
    assert "nothing to take back" in str(found.exception)


def test_a_switch_is_not_taken_back_once_a_story_has_its_scores(new_store: Made, tmp_path: Path) -> None:
    url, records = new_store("one"), feed(200, 24)
    engine, _ = counted(url, write(tmp_path / "a.jsonl", records[:150]))
    rules, s = TimeRules(), schema.stories.c
    models = Models(QuickScorer, lambda _: Gloomy())
    assert Switches(engine, rules, Closer(engine, rules, settings=1), models, arms=True).step()
    at = only(url).in_force_from or 0
    with writing(engine) as connection:
        newest = connection.execute(select(func.max(s.counts_at))).scalar_one()
        connection.execute(update(schema.stories).where(s.counts_at == newest).values(counts_at=at))
    with pytest.raises(SettingsDiffer, match=r"have scores of gloomy-1 already.*weights of quick-1"):
        switch_process.take_back(settings(url))
    assert armed(url)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("first", ["the switch is taken back", "the story is stored"])
def test_on_postgresql_a_switch_is_taken_back_or_a_story_has_its_scores(
    postgres: str, tmp_path: Path, first: str
) -> None:
    """A worker stores a story of the recorded bucket while the switch is taken back: the second of the two fails."""
    engine, _ = counted(postgres, write(tmp_path / "a.jsonl", feed(150, 24)))
    rules, s = TimeRules(), schema.stories.c
    models = Models(QuickScorer, lambda _: Gloomy())
    assert Switches(engine, rules, Closer(engine, rules, settings=1), models, arms=True).step()
    at = only(postgres).in_force_from or 0
    newest = select(func.max(s.counts_at)).scalar_subquery()

    def store(connection: Connection, known: progress.Partition) -> None:
        connection.execute(update(schema.stories).where(s.counts_at == newest).values(counts_at=at))
        progress.commit(connection, progress.Batch([], [], [], [known], switch=1))

    def waits() -> bool:
        """Whether a connection to this database waits for another one's transaction."""
        locked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        with reading(engine) as connection:
            return bool(connection.execute(text(locked)).scalar())

    def store_after_it_is_taken_back() -> None:
        with writing(engine) as connection:
            known = progress.load(connection)["a.jsonl"]
            assert pool.submit(switch_process.take_back, settings(postgres)).result().state == "taken back"
            store(connection, known)

    with ThreadPoolExecutor(1) as pool:
        if first == "the story is stored":
            with writing(engine) as connection:
                store(connection, progress.load(connection)["a.jsonl"])
                taken = pool.submit(switch_process.take_back, settings(postgres))
                until(waits, taken)  # it saw no such story
            with pytest.raises(SettingsDiffer, match="have scores of gloomy-1 already"):
                taken.result()
        else:
            with pytest.raises(Overtaken):
                store_after_it_is_taken_back()
    with reading(engine) as connection:
        stored = connection.execute(select(newest)).scalar_one() >= at
    assert (armed(postgres), stored) == ((True, True) if first == "the story is stored" else (False, False))
    engine.dispose()


@pytest.mark.parametrize("given", [[], ["gloomy", "--cancel"]])
def test_a_switch_is_begun_or_taken_back(given: list[str]) -> None:
    found = CliRunner().invoke(app, ["model", "switch", *given])
    assert found.exit_code == 2
    assert "give either WEIGHTS or --cancel" in " ".join(found.output.replace("\u2502", " ").split())


@pytest.mark.parametrize("error", [ModelError, SettingsDiffer])
def test_a_worker_that_cannot_load_the_model_of_an_armed_switch_warns_once_and_goes_on(
    error: type[Exception], new_store: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    url, rules = new_store("one"), TimeRules()
    replay(settings(url), [write(tmp_path / "a.jsonl", feed(60, 23))])
    engine = connect(url, create=False)
    with writing(engine) as connection:
        switches.plan_at(connection, {"weights": "gone"}, "gone-1", decided(url) + rules.bucket, rules)
    tried = []

    def fails(_: switches.Switch) -> Any:
        tried.append(1)
        raise error("no such folder")

    monkeypatch.setattr(switches_process, "LOAD_SECONDS", 0.0)
    capsys.readouterr()
    worker = Switches(engine, rules, None, Models(QuickScorer, fails), arms=True)
    assert not worker.step()
    assert not worker.step()
    said = capsys.readouterr()
    assert (len(tried), (said.out + said.err).count("cannot use the new one")) == (2, 1)
    replayed = Switches(engine, rules, Closer(engine, rules, settings=1), Models(QuickScorer, fails), arms=False)
    with pytest.raises(error):
        replayed.step()


def test_a_batch_that_did_not_know_of_the_switch_is_not_written(new_store: Made, tmp_path: Path) -> None:
    url, rules = new_store("one"), TimeRules()
    replay(settings(url), [write(tmp_path / "a.jsonl", feed(100, 12))])
    engine = connect(url, create=False)
    with writing(engine) as connection:
        switches.plan_at(connection, {"weights": "gloomy"}, "gloomy-1", decided(url) + rules.bucket, rules)
    row = {"partition": "b"}
    with pytest.raises(Overtaken, match="did not know"), writing(engine) as connection:
        progress.commit(connection, progress.Batch([row], [], [], []))


def test_the_command_prints_how_it_stands_and_series_say_where_the_model_changed(
    new_store: Made, tmp_path: Path
) -> None:
    url, records = new_store("one"), feed(260, 13)
    first, second = write(tmp_path / "a.jsonl", records[:200]), write(tmp_path / "b.jsonl", records[200:])
    replay(settings(url), [first])
    call = CliRunner()
    found = call.invoke(app, ["model", "switch", "gloomy", "--store", url, "--json"])
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    assert (said["state"], said["model"], said["before"]) == ("in force", "gloomy-1", "quick-1")
    assert said["in_force_from"] == iso(only(url).in_force_from or 0)
    assert "is the model in force" in call.invoke(app, ["model", "switch", "gloomy", "--store", url]).output
    replay(settings(url), [second])
    shown = call.invoke(app, ["series", "T1", "--store", url])
    assert f"that count from {said['in_force_from']} on are scored by gloomy-1" in " ".join(shown.output.split())
    listed = call.invoke(app, ["series", "T1", "--store", url, "--json"]).stdout
    rows = [json.loads(line) for line in listed.splitlines()]
    assert {row["model"] for row in rows if row["start"] < said["in_force_from"]} == {"quick-1"}
    assert {row["model"] for row in rows if row["start"] >= said["in_force_from"]} == {"gloomy-1"}
    assert certify(connect(url, create=False), ["T1", "_all"], weights="default", cuts=2).holds
    assert call.invoke(app, ["replay", str(second), "--store", url, "--switch", "gloomy"]).exit_code == 2


@pytest.mark.postgres
def test_postgresql_gives_the_same_rows(postgres: str, new_store: Made, tmp_path: Path) -> None:
    records = feed(220, 14)
    first, second = write(tmp_path / "a.jsonl", records[:180]), write(tmp_path / "b.jsonl", records[180:])
    lite = new_store("lite")
    for url in (postgres, lite):
        replay(settings(url), [first])
        switch(settings(url), "gloomy")
        replay(settings(url), [second])
    assert_same(all_rows(postgres), all_rows(lite))


@pytest.mark.parametrize(
    ("given", "because"),
    [
        ("gloomy", "not WEIGHTS@TIME"),
        ("@2026-02-12T13:25Z", "not WEIGHTS@TIME"),
        ("gloomy@soon", "not a time"),
        ("gloomy@2026-02-12T13:26Z", "not the start of a bucket"),
        ("gloomy@2020-01-01", "are in the store already"),
    ],
)
def test_a_switch_of_a_replay_that_cannot_be_recorded_is_refused(
    given: str, because: str, new_store: Made, tmp_path: Path
) -> None:
    path, url = write(tmp_path / "a.jsonl", feed(20, 15)), new_store("one")
    replay(settings(url), [path])
    before = all_rows(url)
    result = CliRunner().invoke(app, ["replay", str(path), "--store", url, "--switch", given])
    assert result.exit_code == 2 or isinstance(result.exception, SettingsDiffer)
    assert because in " ".join(f"{result.output} {result.exception}".replace("\u2502", " ").split())
    assert_same(all_rows(url), before)


@pytest.mark.parametrize("scored", [False, True])
def test_a_replay_whose_settings_name_the_model_after_the_switch_is_refused(
    scored: bool, new_store: Made, tmp_path: Path
) -> None:
    url, rules, records = new_store("one"), TimeRules(), feed(60, 18)
    first, second = write(tmp_path / "a.jsonl", records[:40]), write(tmp_path / "b.jsonl", records[40:])
    there = settings(url, {"model.weights": "gloomy"})
    at = rules.start_of((START + 90 * 86_400) * 1_000_000)
    if scored:
        replay(there, [first])
    with pytest.raises(SettingsDiffer, match="must name the first model"):
        replay(there, [second if scored else first], switched=[("gloomy", at)])
    with reading(connect(url, create=False)) as connection:
        assert not switches.timeline(connection)
    there_and_back = [("default", at), ("gloomy", at + rules.bucket)]
    for _ in range(2):  # what is recorded is no news
        replay(there, [second if scored else first], switched=there_and_back)


def test_how_far_a_switch_is_is_said(new_store: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_store("one")
    replay(settings(url), [write(tmp_path / "a.jsonl", feed(150, 16))])
    monkeypatch.setattr(rescoring, "STORIES_AT_A_TIME", 60)
    engine, rules = connect(url, create=False), TimeRules()
    with writing(engine) as connection:
        planned = switches.plan(connection, {"weights": "gloomy"}, "gloomy-1", rules)
    assert planned is not None
    rescorer = rescoring_process.Rescorer(engine, rules)
    due = rescorer.due(armed=False)
    assert due is not None
    rescorer.step(due, Gloomy())
    (said,) = open_store(url).overview()["model_switches"]
    assert (said["model"], said["step"], said["from"]) == ("gloomy-1", "scoring", None)
    assert 0 < said["done"] < 1
    assert "% of the last stories scored again" in switches.sentence(said)
    with pytest.raises(Overtaken), writing(engine) as connection:  # who saw the row before that step writes nothing
        switches.move(connection, planned, counted_until=0)
