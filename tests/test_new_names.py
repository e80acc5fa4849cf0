"""Surges of bad news on names that no topic has: decided in event time, with a budget of their own."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rows import promised_rows
from sqlalchemy import event as events_of
from sqlalchemy import func, select, update

from foreshock.monitor.alerts import AlertChange
from foreshock.monitor.buckets import Bucket, NameCounts, TopicBucket
from foreshock.monitor.budget import detection_rules, names_share
from foreshock.monitor.counting import plainest
from foreshock.monitor.deciding import DetectionRules, State, decide, pass_time
from foreshock.monitor.detectors.calibration import HISTORY, LEVELS
from foreshock.monitor.errors import MonitorError
from foreshock.monitor.kinds import NEW_NAME
from foreshock.monitor.name_alarms import held, read_off
from foreshock.monitor.new_names import AT_ONCE, PLACES, NewNames
from foreshock.monitor.sketch import Sketch
from foreshock.monitor.store import desk_actions, name_adding, new_names, open_store, schema, topic_labels
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.topics.rules import WatchlistError, load_watchlist
from foreshock.monitor.units import ALL, DAY, HOUR, NEW, UNIT
from foreshock.monitor.watermark import TimeRules
from foreshock.processes.batches import BatchSize
from foreshock.processes.replay import replay
from foreshock.settings.load import load
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
START = 20_003 * DAY
SHARE = 0.1
RULES = DetectionRules(bucket=HOUR, false_alarms=(1 - SHARE) / 7)


def sums(topic: str, bad: int, good: int, source: str = "wire") -> TopicBucket:
    events, negative, positive = bad + good, 9_000 * bad + 800 * good, 200 * bad + 2_000 * good
    return TopicBucket(
        topic, events, events, negative, events * UNIT - negative - positive, positive, (source,), by_source=()
    )


def bucket(hour: int, **names: tuple[int, int, str]) -> Bucket:
    """Return the bucket of an hour: of each name its bad and its other events, and their source."""
    bad, good = sum(n[0] for n in names.values()) + 1, sum(n[1] for n in names.values()) + 3
    found = tuple(NameCounts(key, key.title(), sums(key, *names[key])) for key in sorted(names))
    return Bucket(START + hour * HOUR, tuple(sums(topic, bad, good) for topic in (ALL, "t1", "t2", "t3")), names=found)


def usual(days: int, seed: int = 1) -> Iterator[Bucket]:
    """Yield days in which ten names have a story now and then, a quarter of them bad."""
    rng = random.Random(seed)
    for hour in range(days * 24):
        name = f"usual{rng.randrange(10)}"
        yield bucket(hour, **{name: (1, 0, f"s{hour % 5}") if rng.random() < 0.25 else (0, 1, f"s{hour % 5}")})


def crisis(first: int) -> list[Bucket]:
    """Return nine hours with a bad story of Halden each, from as many sources."""
    return [bucket(first + hour, halden=(1, 0, f"w{hour}")) for hour in range(9)]


def watched(buckets: Iterator[Bucket] | list[Bucket], state: State, watch: NewNames) -> list[AlertChange]:
    changes = []
    for one in buckets:
        decide(state, one)
        changes += watch.take(one, state)
    return changes


def quiet(state: State, watch: NewNames) -> list[AlertChange]:
    first = (state.last_end or 0) // HOUR - START // HOUR
    return watched([bucket(first + hour, other=(0, 1, "wire")) for hour in range(40)], state, watch)


# What fires.


Known = tuple[State, NewNames]


@pytest.fixture(scope="module")
def after_20_days() -> Known:
    """What is known after twenty usual days, in which nothing fires."""
    state, watch = State.fresh(RULES), NewNames(SHARE)
    assert not watched(usual(20), state, watch)
    return state, watch


@pytest.fixture
def known(after_20_days: Known) -> Known:
    """A copy that a test may change."""
    return deepcopy(after_20_days)


def test_a_name_that_no_topic_has_fires_in_its_crisis_and_ends_after_a_quiet_day(known: Known) -> None:
    state, watch = known
    changes = watched(crisis(480), state, watch)
    assert [(c.event, c.alert.topic, c.alert.kind) for c in changes] == [
        ("pending", NEW + "Halden", NEW_NAME),
        ("firing", NEW + "Halden", NEW_NAME),
    ]
    fired = changes[-1].alert
    assert fired.started_at == START + 480 * HOUR
    assert fired.observed >= 3
    assert fired.baseline < 0.5
    assert fired.statistic is not None
    assert fired.threshold is not None
    assert fired.statistic >= fired.threshold
    over = quiet(state, watch)
    assert [(c.event, c.alert.id) for c in over] == [("resolved", fired.id)]
    assert over[0].alert.resolved_at is not None
    assert over[0].alert.resolved_at >= fired.fired_at + DAY  # type: ignore[operator]


@pytest.mark.parametrize(
    "burst",
    [
        [bucket(480 + hour, halden=(0, 3, f"w{hour}")) for hour in range(9)],  # no bad news
        [bucket(480, halden=(30, 0, "one"))],  # a swarm of one source among many
    ],
    ids=["good news", "one source"],
)
def test_what_is_no_crisis_does_not_fire(burst: list[Bucket], known: Known) -> None:
    assert not watched(burst, *known)


def test_a_feed_that_starts_inside_a_crisis_fires_nothing_on_its_first_day() -> None:
    state, watch = State.fresh(RULES), NewNames(SHARE)
    assert not watched(crisis(0), state, watch)


def test_without_a_share_nothing_fires() -> None:
    watch = NewNames(0.0)
    assert watch.alarms.threshold[0] == np.inf


# Bounded memory, and time.


@given(st.lists(st.integers(0, 30), max_size=400), st.integers(3, 12))
def test_a_name_with_more_than_its_part_of_all_events_has_a_place(events: list[int], capacity: int) -> None:
    sketch = Sketch(capacity)
    for hour, event in enumerate(events):
        sketch.enter(str(event), hour, 1.0)
    counts = Counter(map(str, events))
    assert len(sketch.names) <= capacity
    for name, count in counts.items():
        if count > len(events) / capacity:
            assert name in sketch.index
            assert sketch.count[sketch.index[name]] >= count  # too high, never too low
    assert sketch.count.sum() == pytest.approx(len(events))


def test_a_flood_of_names_takes_a_bounded_number_of_places() -> None:
    state, watch = State.fresh(RULES), NewNames(SHARE)
    watched(usual(3), state, watch)
    before = set(watch.sketch.index)
    watched([bucket(72, **{f"flood{number:05}": (1, 0, "evil") for number in range(5_000)})], state, watch)
    assert len(watch.sketch.index) == len(before) + AT_ONCE
    for hour in range(73, 73 + 2 * PLACES // AT_ONCE):
        flood = {f"f{hour}x{number:05}": (1, 0, "evil") for number in range(1_000)}
        watched([bucket(hour, **flood)], state, watch)
    assert len(watch.sketch.index) == PLACES
    assert any(name in watch.sketch.index for name in before), "frequent names outlast a flood of others"


def test_a_name_that_fires_keeps_its_place_in_a_flood() -> None:
    state, watch = State.fresh(RULES), NewNames(SHARE, capacity=AT_ONCE + 50)
    watched(usual(20), state, watch)
    assert any(c.event == "firing" for c in watched(crisis(480), state, watch))
    for hour in range(489, 493):
        watched([bucket(hour, **{f"f{hour}x{n:04}": (2, 0, "evil") for n in range(400)})], state, watch)
    assert "halden" in watch.sketch.index
    assert watch.life.open


# Invariants.


@hypothesis_settings(max_examples=4, deadline=None)
@given(st.sets(st.integers(1, 24 * 9), max_size=6), st.integers(0, 3))
def test_what_follows_does_not_depend_on_how_buckets_are_split_into_closings(cuts: set[int], seed: int) -> None:
    buckets = [*usual(8, seed), *crisis(192), *(bucket(201 + hour, other=(0, 1, "wire")) for hour in range(30))]
    state, watch = State.fresh(RULES), NewNames(SHARE)
    whole = watched(buckets, state, watch)
    again, other, found = State.fresh(RULES), NewNames(SHARE), list[AlertChange]()
    for place, one in enumerate(buckets):
        found += watched([one], again, other)
        if place in cuts:  # time passes, and another process goes on from what is stored
            pass_time(again, one.start + HOUR)
            found += other.pass_time(again.history)
            kept = other.dump()
            other = NewNames.restore(kept, SHARE)
            assert other.dump() == kept
    assert found == whole
    assert other.dump() == watch.dump()


def test_damaged_bytes_are_refused() -> None:
    state, watch = State.fresh(RULES), NewNames(SHARE)
    watched(usual(2), state, watch)
    body = watch.dump()
    for bad in (b"", b"x", body[:-4], body[: len(body) // 2]):
        with pytest.raises(ValueError, match=r"."):
            NewNames.restore(bad, SHARE)
    with pytest.raises(ValueError, match="more than"):
        NewNames.restore(body, SHARE, capacity=3)


@given(st.lists(st.integers(0, 50), min_size=41, max_size=41), st.floats(1, 60), st.floats(0.001, 0.5))
def test_a_smaller_budget_never_lowers_the_threshold(counts: list[int], days: float, rate: float) -> None:
    alarms = np.array(sorted(counts, reverse=True), np.int64)
    assert read_off(alarms, days, rate / 2)[0] >= read_off(alarms, days, rate)[0] - 1e-9 or alarms[0] == 0


@given(st.lists(st.integers(0, 50), min_size=41, max_size=41), st.floats(1, 60), st.floats(0.001, 0.5))
def test_no_more_alarms_lay_above_the_threshold_than_were_granted(counts: list[int], days: float, rate: float) -> None:
    alarms = np.array(sorted(counts, reverse=True), np.int64)
    level = held(alarms, days, rate)
    assert (alarms[level <= LEVELS] <= rate * days).all()
    assert held(alarms, days, rate / 2) >= level


@pytest.mark.parametrize("tail", ["light", "heavy", "with bursts"])
def test_whatever_the_tail_alarms_fire_about_as_often_as_granted(tail: str) -> None:
    """A peak a day for 20 years is above the level held about once in 70 days. No tail was fitted to it."""
    rng = np.random.default_rng(5)
    days, rate = 7_300, 1 / 70
    peaks = {
        "light": rng.exponential(1 / 1.2, days),
        "heavy": rng.exponential(1 / 0.4, days),
        "with bursts": np.where(rng.random(days) < 0.05, rng.uniform(4, 20, days), rng.exponential(1, days)),
    }[tail]
    fired = 0
    for day in range(HISTORY, days):
        counts = (peaks[day - HISTORY : day, None] >= LEVELS).sum(axis=0)
        fired += peaks[day] >= held(counts, HISTORY, rate)
    assert 0.5 <= fired / ((days - HISTORY) * rate) <= 1.15


def test_names_and_topics_share_the_budget() -> None:
    body = shaping(load(None, flags={"store.url": "sqlite:///x.db", "alerts.new_names": SHARE}, environ={}).settings)
    assert names_share(body) == SHARE
    assert detection_rules(body, TimeRules()).false_alarms == pytest.approx((1 - SHARE) / 7)
    off = shaping(load(None, flags={"store.url": "sqlite:///x.db"}, environ={}).settings)
    assert names_share(off) == 0, "the default"
    assert "new_names" not in off["alerts"], "stores from before keep their version"
    assert detection_rules(off, TimeRules()).false_alarms == pytest.approx(1 / 7)


def test_a_name_is_called_as_it_is_written_most_often() -> None:
    assert plainest({"HALDEN": 1, "Halden Foods": 1, "Halden-Rowe": 1}) == "Halden Foods"
    assert plainest({"Halden": 2, "Halden Foods Recall Line": 1}) == "Halden"


# From a file to an alert.


def settings_for(url: str, **flags: Any) -> Settings:
    topics = [{"name": f"Topic {n}", "names": [name]} for n, name in enumerate(("Bardon", "Celmere", "Dunwick"))]
    given_ = {
        **{"store.url": url, "watchlist.defaults": False, "topics": topics, "alerts.new_names": SHARE},
        **flags,
    }
    return load(None, flags=given_, environ={}).settings


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen days of three companies on the list, and one day's crisis of one that is not."""
    rng, path = random.Random(3), tmp_path_factory.mktemp("feed") / "news.jsonl"
    bad = {"negative": 0.9, "neutral": 0.08, "positive": 0.02}
    dull = {"negative": 0.05, "neutral": 0.85, "positive": 0.1}
    rows = []
    for hour in range(18 * 24):
        name = rng.choice(("Bardon", "Celmere", "Dunwick", "Elford Steel", "Galdon Motors"))
        words = "warns of losses at its unit" if (wrong := rng.random() < 0.25) else "opens a plant in the region"
        rows.append((hour * 3600 + rng.random() * 3000, f"{name} {words} {rng.random()}", bad if wrong else dull))
    forms = ("Halden Foods", "Halden", "Halden Foods")
    does = ("recalls baby milk", "faces probe over deaths", "denies it")
    for number in range(9):
        when = 16 * 86_400.0 + 9 * 3600 + number * 1500
        unlike = " ".join(rng.choice(("ham", "jam", "pan", "tin", "fig")) + str(rng.random()) for _ in range(3))
        rows.append((when, f"{forms[number % 3]} {does[number % 3]} {unlike}", bad))
    with path.open("w") as file:
        for number, (at, title, scores) in enumerate(sorted(rows, key=lambda row: row[0])):
            record = {"id": f"s{number}", "published_at": START // 1_000_000 + at, "source": f"wire{number % 7}"}
            file.write(json.dumps({**record, "title": title, "scores": scores}) + "\n")
    return path


@pytest.fixture(scope="module")
def store(feed: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/names.db"
    replay(settings_for(url), [feed])
    return url


def test_a_crisis_that_nobody_had_on_the_list_is_an_alert_with_its_stories(store: str) -> None:
    (alert,) = [a for a in open_store(store).alerts() if a["kind"] == NEW_NAME]
    assert alert["topic"] == "Halden Foods"
    assert alert["sentence"].startswith("New name: Halden Foods, ")
    assert "; not on your list." in alert["sentence"]
    assert {"Halden" in story["title"] for story in alert["evidence"]} == {True}
    assert alert["sources"] > 2
    assert alert["events"] == len(alert["evidence"])
    assert [a["id"] for a in open_store(store).alerts(topic="Halden Foods")] == [alert["id"]]


def test_its_messages_fit_the_published_schemas(store: str) -> None:
    with reading(connect(store, create=False)) as connection:
        o = schema.outbox.c
        rows = connection.execute(select(o.event, o.alert).where(o.alert.like("%new_name%"))).all()
    assert {row.event.partition("-")[0] for row in rows} >= {"firing", "incident.firing", "resolved"}
    whole = json.loads((ROOT / "docs/webhook.schema.json").read_text("utf-8"))
    alert = {"$defs": whole["$defs"], "$ref": "#/$defs/alert"}
    for row in rows:
        said = json.loads(row.alert)
        assert NEW not in row.alert, "what marks a name inside is not sent"
        if not row.event.startswith("incident"):
            jsonschema.validate({**said, "origin": "replay", "link": None}, alert)


@pytest.mark.parametrize("records", [11, 400])
def test_batches_change_no_row(feed: Path, store: str, tmp_path: Path, records: int) -> None:
    url = f"sqlite:///{tmp_path}/again.db"
    replay(settings_for(url), [feed], batch_size=BatchSize(records=records))
    assert promised_rows(url) == promised_rows(store)
    assert watch_of(url).dump() == watch_of(store).dump()


def watch_of(url: str) -> NewNames:
    with reading(connect(url, create=False)) as connection:
        row = connection.execute(select(schema.new_names)).one()
    return NewNames.restore(row.body, SHARE)


def test_turned_off_what_is_stored_goes_once_and_then_nothing_is_written(store: str, tmp_path: Path) -> None:
    copy = tmp_path / "off.db"
    shutil.copy(store.removeprefix("sqlite:///"), copy)
    engine = connect(f"sqlite:///{copy}", create=False)
    with writing(engine) as connection:
        until = connection.execute(select(schema.new_names.c.until)).scalar_one()
        watch, _ = new_names.load(connection, 0.0, until)
        new_names.save(connection, watch, until + 1)
        assert connection.execute(select(schema.new_names)).all() == []
        said = list[str]()
        events_of.listen(engine, "before_cursor_execute", lambda *given: said.append(given[2]))
        new_names.save(connection, watch, until + 2)
        again, _ = new_names.load(connection, 0.0, until + 2)
        said.clear()
        new_names.save(connection, again, until + 3)
        assert said == []
    engine.dispose()


def test_turned_off_no_name_is_looked_for(feed: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/off.db"
    replay(settings_for(url, **{"alerts.new_names": 0}), [feed])
    with reading(connect(url, create=False)) as connection:
        for table in (schema.story_names, schema.new_names):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 0
    assert not [a for a in open_store(url).alerts() if a["kind"] == NEW_NAME]


def test_what_is_stored_and_cannot_be_read_is_forgotten_and_its_alerts_end(store: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_bytes(Path(store.removeprefix("sqlite:///")).read_bytes())
    engine = connect(f"sqlite:///{copy}", create=False)
    a = schema.alerts.c
    with writing(engine) as connection:
        until = connection.execute(select(schema.feed.c.decided_until)).scalar()
        connection.execute(update(schema.new_names).values(body=b"damaged"))
        connection.execute(update(schema.alerts).where(a.kind == NEW_NAME).values(state="firing", resolved_at=None))
    with reading(engine) as connection:
        watch, over = new_names.load(connection, SHARE, until)
    assert not watch.sketch.names
    assert [(c.event, c.alert.kind, c.alert.resolved_at) for c in over] == [("resolved", NEW_NAME, until)]


# On the list.


def add(url: str, file: Path | None, name: str, by: str = "Ada") -> Any:
    return desk_actions.record(
        connect(url, create=False), lambda connection: name_adding.add(connection, file, name, by=by, now=5)
    )


def test_a_name_goes_on_the_watchlist_with_its_forms_and_who_put_it_there(store: str, tmp_path: Path) -> None:
    file = tmp_path / "watchlist.csv"
    file.write_bytes("\ufeffname,names,tags\r\nCelmere,Celmere|Cel,retail\r\n".encode())
    rule = add(store, file, "Halden Foods")
    assert rule.names == ["Halden Foods", "Halden"]
    assert file.read_bytes().startswith("\ufeffname,names,tags\r\nCelmere,Celmere|Cel,retail\r\n".encode())
    assert [(r.name, r.names) for r in load_watchlist(file)][1] == ("Halden Foods", ["Halden Foods", "Halden"])
    with reading(connect(store, create=False)) as connection:
        assert name_adding.added_by(connection, NEW + "Halden Foods") == "Ada"
    with pytest.raises(WatchlistError, match="already"):
        add(store, file, "Halden Foods")


def test_a_cashtag_becomes_a_ticker_in_a_file_without_that_column(store: str, tmp_path: Path) -> None:
    file = tmp_path / "watchlist.csv"
    file.write_text("name,names\nCelmere,Celmere")
    assert add(store, file, "$HLDN").tickers == ["HLDN"]
    assert [(r.name, r.tickers) for r in load_watchlist(file)] == [("Celmere", []), ("HLDN", ["HLDN"])]


def test_a_file_that_is_not_there_yet_is_made(store: str, tmp_path: Path) -> None:
    add(store, tmp_path / "new.csv", "Halden Foods")
    assert [rule.name for rule in load_watchlist(tmp_path / "new.csv")] == ["Halden Foods"]


def test_a_topic_of_the_settings_is_not_replaced(store: str, tmp_path: Path) -> None:
    with reading(connect(store, create=False)) as connection:
        topic = sorted(topic_labels.load(connection))[0]
    with pytest.raises(MonitorError, match=f"{topic} is a topic already"):
        add(store, tmp_path / "watchlist.csv", topic, by="Nobody")
    assert not (tmp_path / "watchlist.csv").exists()
    with reading(connect(store, create=False)) as connection:
        assert name_adding.added_by(connection, NEW + topic) is None


@pytest.mark.parametrize("name", ["", "...", "_all"])
def test_what_can_be_no_topic_is_refused_and_nothing_is_recorded(store: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(Exception, match=r"topic|name"):
        add(store, tmp_path / "watchlist.csv", name, by="Nobody")
    assert not (tmp_path / "watchlist.csv").exists()
    with reading(connect(store, create=False)) as connection:
        assert not [act for act in desk_actions.actions(connection) if act["by"] == "Nobody"]


def test_without_a_file_the_error_says_which_setting_names_one(store: str) -> None:
    with pytest.raises(WatchlistError, match=r"\[watchlist\] file"):
        add(store, None, "Halden Foods")


def test_once_it_is_on_the_list_a_name_is_a_topic_and_no_longer_new(feed: Path, store: str, tmp_path: Path) -> None:
    file = tmp_path / "watchlist.csv"
    add(store, file, "Halden Foods")
    url = f"sqlite:///{tmp_path}/listed.db"
    replay(settings_for(url, **{"watchlist.file": str(file)}), [feed])
    fired = {a["kind"] for a in open_store(url).alerts() if a["topic"] == "Halden Foods"}
    assert fired == {"critical", "negativity_spike"}
