"""Critical stories live: they are sent before their bucket closes, and what is decided is what a replay decides."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rows import promised_rows
from servers import wait_until
from services import Services
from sqlalchemy import Engine, select

from foreshock.monitor.closing import Closed, Closer
from foreshock.monitor.critical import critical_id
from foreshock.monitor.errors import Overtaken, StoreUnavailable
from foreshock.monitor.incident import Said, incident_id
from foreshock.monitor.incidents import Incidents
from foreshock.monitor.kinds import CRITICAL
from foreshock.monitor.settings import SourceSettings
from foreshock.monitor.store import ahead as store_ahead
from foreshock.monitor.store import decided as store_decided
from foreshock.monitor.store import incident_views, outbox, progress, schema, settings_versions
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.outbox_events import AHEAD
from foreshock.monitor.store.progress import Partition
from foreshock.observability.outage import Outage
from foreshock.processes import wiring
from foreshock.processes.loop import Loop
from foreshock.processes.monitor import _Monitor
from foreshock.processes.replay import replay
from foreshock.settings.load import load
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping
from foreshock.sources.feeds import Feeds
from foreshock.sources.growing_file import FileSource

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
MICRO = 1_000_000
START = 1_770_076_800.0 + 9 * 3600
"""A morning, UTC, in seconds."""
TOPICS = [{"name": "Acme", "names": ["Acme"], "tickers": ["ACME"]}, {"name": "Bolt", "names": ["Bolt"]}]


def settings_for(url: str) -> Settings:
    flags = {"store.url": url, "watchlist.defaults": False, "topics": TOPICS}
    return load(None, flags=flags, environ={}).settings


def story(number: int, at: float, title: str, bad: float = 0.95, **more: Any) -> dict[str, Any]:
    scores = {"negative": bad, "neutral": round(1 - bad, 4), "positive": 0.0}
    return {"id": f"s{number}", "title": title, "published_at": at, "source": "wire", "scores": scores, **more}


def append(path: Path, *records: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


class Desk:
    """A loop over growing files, with a clock that stands until it is moved. `how`: `deciding`, and `deliver`."""

    def __init__(self, url: str, paths: list[Path], at: float, scorer: Any = None, **how: bool) -> None:
        self.settings = settings_for(url)
        self.now = round(at * MICRO)
        self.engine = connect(url, create=True)
        rules = wiring.time_rules(self.settings)
        for path in paths:
            path.touch()
        with writing(self.engine) as connection:  # as every process does: topics of the settings are watched at once
            settings_versions.adopt(connection, shaping(self.settings), resuming=None)
            known = progress.load(connection)
        parsing = self.settings.parsing().rules()
        sources = [
            FileSource(known.get(p.name) or Partition(p.name, "file"), p, parsing, clock=lambda: self.now)
            for p in paths
        ]
        self.reported: list[Any] = []
        self.loop = Loop(
            self.engine,
            wiring.worker(self.settings, self.engine, 1, scorer),
            Closer(self.engine, rules, settings=1, deliver=how.get("deliver", True))
            if how.get("deciding", True)
            else None,
            [Feeds(sources)],
            rules,
            clock=lambda: self.now,
            outage=Outage("store", shortest=0.0, longest=0.0),
            on_alert=self.reported.append,
        )
        self.loop.begin()

    def take(self) -> None:
        while self.loop.turn():
            pass

    def until(self, at: float, step: float = 20.0) -> None:
        end = round(at * MICRO)
        while self.now < end:
            self.now = min(self.now + round(step * MICRO), end)
            self.take()


def alerts(engine: Engine) -> list[Any]:
    a = schema.alerts.c
    with reading(engine) as connection:
        return list(connection.execute(select(schema.alerts).where(a.kind == CRITICAL).order_by(a.fired_at, a.id)))


def messages(engine: Engine) -> list[tuple[str, dict[str, Any]]]:
    """The messages about incidents, in order."""
    o = schema.outbox.c
    query = select(o.event, o.alert).where(o.event.like("incident.%")).order_by(o.decided_at, o.event)
    with reading(engine) as connection:
        return [(row.event, json.loads(row.alert)) for row in connection.execute(query)]


def decided(url: str) -> dict[str, Any]:
    """All that is decided, without what was sent ahead and did not come true."""
    rows = promised_rows(url)
    engine = connect(url, create=False)
    with reading(engine) as connection:
        s = schema.sent_ahead.c
        query = select(s.alert_id, s.incident).where(s.came_true.is_(False))
        wrong = {row.alert_id for row in connection.execute(query) if row.incident == incident_id(row.alert_id)}
    engine.dispose()
    ids, incidents = wrong, {incident_id(alert) for alert in wrong}
    rows["outbox"] = [row for row in rows["outbox"] if not (row[0] in ids and row[1].startswith("incident."))]
    rows["outbox"] = [row for row in rows["outbox"] if AHEAD not in row[1]]
    rows["incidents"] = [row for row in rows["incidents"] if row[0] not in incidents or row[1] not in ids]
    kept = ("stories", "story_topics", "decisions", "buckets", "alerts", "incidents", "outbox", "critical_stories")
    return {table: rows[table] for table in kept}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def live_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path / 'live.db'}"


def test_one_critical_story_leaves_at_once_and_no_later_story_is_needed(tmp_path: Path, live_url: str) -> None:
    path = tmp_path / "a.jsonl"
    desk = Desk(live_url, [path], START)
    append(path, story(1, START, "Acme files for bankruptcy protection"))
    desk.take()
    (alert,) = alerts(desk.engine)
    at = round(START * MICRO)
    assert alert.id == critical_id("Acme", at)
    assert (alert.state, alert.severity, alert.word) == ("firing", "critical", "bankruptcy")
    assert (alert.started_at, alert.fired_at) == (at, at + MICRO)
    assert (alert.observed, alert.baseline, alert.events, alert.sources) == (0.95, 0.7, 1, 1)
    ((event, said),) = messages(desk.engine)
    assert (event, said["severity"], said["group_id"]) == ("incident.firing", "critical", incident_id(alert.id))
    assert said["incident"]["stories"][0]["title"] == "Acme files for bankruptcy protection"
    assert [news.change.event for news in desk.reported] == ["firing"]
    with reading(desk.engine) as connection:
        assert connection.execute(select(schema.feed.c.decided_until)).scalar() is None, "nothing is decided yet"
        assert incident_views.incident(connection, said["group_id"])["state"] == "open"
        before = connection.execute(select(schema.outbox)).all()
    desk.until(START + 600)
    with reading(desk.engine) as connection:
        assert connection.execute(select(schema.feed.c.decided_until)).scalar() is not None
        assert connection.execute(select(schema.outbox)).all() == before, "the closing decides the same"
        assert connection.execute(select(schema.sent_ahead.c.came_true)).scalars().all() == [True]
    assert [n.change.event for n in desk.reported] == ["firing"], "it is reported once"
    desk.engine.dispose()


PLAN = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from([0.0, 5.0, 40.0, 130.0, 290.0, 4_000.0, 30_000.0, 88_200.0, 90_000.0]),
        st.floats(0, 110),
        st.sampled_from(["Acme recalls cars", "Bolt hacked", "Acme and Bolt hit by explosion", "Acme meets analysts"]),
        st.sampled_from([0.95, 0.95, 0.4]),
        st.sampled_from(["new", "new", "again", "revised"]),
    ),
    min_size=1,
    max_size=14,
)


A_DAY_LATER = [(0, gap, 0.0, "Acme recalls cars", 0.95, "new") for gap in (0.0, 88_200.0, 90_000.0)]


@given(PLAN, st.integers(0, 2**32), st.booleans(), st.sampled_from([3, 10, 1_000]))
@example(A_DAY_LATER, 0, True, 3)
@hypothesis_settings(max_examples=6)
def test_a_live_run_decides_what_a_replay_decides(
    tmp_path_factory: pytest.TempPathFactory, plan: list[Any], seed: int, busy: bool, buckets: int
) -> None:
    """Critical stories in two feeds, out of order within the lateness, repeated and revised, around midnight and over
    stalls; a desk that sends them ahead and is killed now and then: the alerts, incidents and messages of a replay.

    `busy`: a third feed of other news keeps time going. `buckets`: how many a closing of the replay decides at most.
    """
    folder = tmp_path_factory.mktemp("critical")
    paths = [folder / "a.jsonl", folder / "b.jsonl"]
    rng, at, arrivals = random.Random(seed), START, list[tuple[float, Path, dict[str, Any]]]()
    for number, (feed, gap, delay, title, bad, kind) in enumerate(plan):
        at += gap
        identity = number if kind == "new" or not number else number - 1
        words = " ".join(rng.choices(["alpha", "beta", "gamma", "delta", "kappa"], k=6)) if kind != "again" else ""
        record = story(identity, round(at, 3), f"{title} {words}".strip(), bad, source=f"wire {number % 3}")
        arrivals.append((at + delay, paths[feed], record))
    if busy:
        paths.append(folder / "c.jsonl")
        for number in range(round((at - START) / 9_000) + 1):
            words = " ".join(rng.choices(["north", "south", "east", "west", "plain"], k=6))
            moment = START + number * 9_000
            arrivals.append((moment, paths[2], story(1_000 + number, moment, f"Report of {words}", 0.1)))
    arrivals.sort(key=lambda arrival: arrival[0])
    live, replayed = f"sqlite:///{folder / 'live.db'}", f"sqlite:///{folder / 'replayed.db'}"
    desk = Desk(live, paths, START - 1)
    for moment, path, record in arrivals:
        desk.until(moment - 900, step=1_700.0)
        desk.until(moment, step=rng.choice([13.0, 61.0, 250.0]))
        append(path, record)
        desk.take()
        if rng.random() < 0.2:  # killed, and started again
            desk.engine.dispose()
            desk = Desk(live, paths, desk.now / MICRO)
    desk.loop.end(close=True)
    desk.engine.dispose()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_decided, "BUCKETS_AT_A_TIME", buckets)
        replay(settings_for(replayed), paths)
    found, expected = decided(live), decided(replayed)
    for table in expected:
        assert found[table] == expected[table], table


def fired(desk: Desk) -> dict[str, Any]:
    return {row.topic: row for row in alerts(desk.engine)}


def ahead(desk: Desk) -> list[Any]:
    with reading(desk.engine) as connection:
        return list(connection.execute(select(schema.sent_ahead).order_by(schema.sent_ahead.c.alert_id)))


def test_a_story_that_names_two_companies_is_one_message(tmp_path: Path) -> None:
    desk = Desk(f"sqlite:///{tmp_path / 'live.db'}", [tmp_path / "a.jsonl"], START)
    append(tmp_path / "a.jsonl", story(1, START, "Acme and Bolt hit by explosion"))
    desk.take()
    assert {row.topic for row in alerts(desk.engine)} == {"Acme", "Bolt"}
    ((event, said),) = messages(desk.engine)
    assert event == "incident.firing"
    assert said["incident"]["topics"] == ["Acme", "Bolt"]
    desk.until(START + 600)
    assert [event for event, _ in messages(desk.engine)] == ["incident.firing"]


def test_further_critical_stories_join_in_silence_and_another_company_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    desk = Desk(f"sqlite:///{tmp_path / 'live.db'}", [path], START)
    append(path, story(1, START, "Acme recalls cars"))
    desk.take()
    append(path, story(2, START + 30, "Acme hit by fraud"), story(3, START + 40, "Bolt chief arrested"))
    desk.take()
    append(path, story(4, START + 50, "Acme and Bolt hacked"))
    desk.until(START + 40 * 3600, step=600)
    append(path, story(5, START + 40 * 3600, "Acme recalls more cars"))
    desk.take()
    said = [(event, one["topic"]) for event, one in messages(desk.engine)]
    assert said == [("incident.firing", "Acme"), ("incident.firing", "Bolt")], "also on the next day"
    assert len(alerts(desk.engine)) == 3
    desk.until(START + 100 * 3600, step=1_200)
    # The feed stood still three hours after its last story, and so did its incidents.
    assert [event for event, _ in messages(desk.engine)] == ["incident.firing"] * 2


def test_copies_repeats_and_revisions_make_no_further_alert_unless_they_become_critical(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    desk = Desk(f"sqlite:///{tmp_path / 'live.db'}", [path], START)
    first = story(1, START, "Acme gives a statement on its northern plant today", 0.5)
    append(path, first)
    desk.until(START + 1_000)
    assert alerts(desk.engine) == []
    revised = {**first, "title": "Acme plant hit by explosion", "scores": story(1, 0, "")["scores"]}
    append(path, {**revised, "published_at": START + 1_000})
    desk.take()
    (alert,) = alerts(desk.engine)
    assert json.loads(alert.evidence)[0]["title"] == "Acme plant hit by explosion"
    ((_, said),) = messages(desk.engine)
    assert [s["title"] for s in said["incident"]["stories"]] == ["Acme plant hit by explosion"]
    copy = story(7, START + 1_100, "Acme plant hit by explosion", source="blog")
    append(path, copy, {**revised, "published_at": START + 1_200})
    append(path, {**revised, "title": "Acme plant hit by explosion, two killed", "published_at": START + 1_300})
    desk.until(START + 2_000)
    assert [event for event, _ in messages(desk.engine)] == ["incident.firing"]
    with reading(desk.engine) as connection:
        counted = connection.execute(select(schema.critical_stories.c.offset)).scalars().all()
    assert sorted(counted) == [1, 2], "the revision and the copy"


def test_stale_withdrawn_and_muted_stories_are_not_critical_and_a_date_ahead_waits(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    desk = Desk(f"sqlite:///{tmp_path / 'live.db'}", [path], START)
    append(path, *(story(n, START - n, f"Market report number {n} of the day", 0.1) for n in range(5)))
    desk.until(START + 300)
    append(path, story(11, START - 8 * 3600, "Acme recalls cars"))
    append(path, story(12, START + 290, "Acme hit by fraud", status="withdrawn"))
    append(path, story(13, START + 1_800, "Bolt hacked"))
    desk.take()
    assert alerts(desk.engine) == [], "half an hour ahead of the clock: it waits for its bucket"
    late = story(14, START + 20, "Acme chief arrested")
    append(path, late)
    desk.take()
    (alert,) = alerts(desk.engine)
    assert alert.topic == "Acme"
    append(path, *(story(20 + n, START + 2_400 + n, f"Another report number {n} of the day", 0.1) for n in range(5)))
    desk.until(START + 2_500)
    assert [a.topic for a in alerts(desk.engine)] == ["Acme", "Bolt"]
    assert fired(desk)["Bolt"].fired_at == round((START + 1_801) * MICRO)


def test_an_incident_that_another_story_began_after_all_ends_and_names_it(tmp_path: Path, live_url: str) -> None:
    """Around midnight: the story of the old day arrives after that of the new one, and began the incident."""
    midnight = START - 9 * 3600 + 86_400
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    desk = Desk(live_url, paths, midnight - 600)
    append(paths[0], story(1, midnight - 600, "Market report of the day", 0.1))
    append(paths[1], story(2, midnight - 590, "Another report of the day", 0.1))
    desk.until(midnight + 30)
    append(paths[0], story(3, midnight + 30, "Acme recalls cars"))
    desk.take()
    append(paths[1], story(4, midnight - 20, "Acme hit by fraud"))
    desk.take()
    assert len(messages(desk.engine)) == 1, "its topic was announced already"
    announced = messages(desk.engine)[0][1]["group_id"]
    desk.until(midnight + 1_000)
    old, new = (critical_id("Acme", round(at * MICRO)) for at in (midnight - 20, midnight + 30))
    assert announced == incident_id(new)
    assert [(event, one["group_id"]) for event, one in messages(desk.engine)] == [
        ("incident.firing", incident_id(old)),
        ("incident.firing", announced),
        ("incident.resolved", announced),
    ]
    assert messages(desk.engine)[2][1]["incident"]["merged_into"] == incident_id(old)
    assert {row.group_id for row in alerts(desk.engine)} == {incident_id(old)}
    assert [row.came_true for row in ahead(desk)] == [False]
    with reading(desk.engine) as connection:
        assert incident_views.incident(connection, announced)["id"] == incident_id(old), "a link still leads there"
    desk.engine.dispose()


def test_an_alert_of_a_source_that_is_muted_meanwhile_ends(tmp_path: Path) -> None:
    url, path = f"sqlite:///{tmp_path / 'live.db'}", tmp_path / "a.jsonl"
    desk = Desk(url, [path], START)
    append(path, story(1, START, "Acme recalls cars"))
    desk.take()
    muted = desk.settings.model_copy(update={"sources": (SourceSettings(name="wire", weight=0),)})
    with writing(desk.engine) as connection:
        settings_versions.adopt(connection, shaping(muted), resuming=None)
    desk.until(START + 1_000)
    (alert,) = alerts(desk.engine)
    assert alert.state == "resolved"
    assert [event for event, _ in messages(desk.engine)] == ["incident.firing", "incident.resolved"]
    with reading(desk.engine) as connection:
        assert connection.execute(select(schema.critical_stories)).all() == []
        assert connection.execute(select(schema.incidents.c.state)).scalars().all() == ["ended"]
    with writing(desk.engine) as connection:  # and its next story of that day counts
        settings_versions.adopt(connection, shaping(desk.settings), resuming=None)
    append(path, story(2, START + 1_300, "Acme hit by fraud"), story(3, START + 1_310, "Acme hit by explosion"))
    desk.until(START + 1_350)
    desk.until(START + 2_300)
    o, i = schema.outbox.c, schema.incidents.c
    with reading(desk.engine) as connection:
        assert set(connection.execute(select(o.event).where(o.state == "queued")).scalars()) == {
            *("firing", "resolved", "firing-again"),
            *("incident.firing", "incident.resolved", "incident.firing-again"),
        }
        (row,) = connection.execute(select(i.state, i.merged_into, i.settings, i.first_alert)).all()
    assert tuple(row) == ("open", None, 3, alert.id)
    (alert,) = alerts(desk.engine)
    assert (alert.state, alert.word) == ("firing", "fraud")


def test_a_backlog_is_left_to_the_closing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append(path, story(1, START, "Acme recalls cars"))
    desk = Desk(f"sqlite:///{tmp_path / 'live.db'}", [path], START + 2 * 3600)
    desk.take()
    assert ahead(desk) == []


def test_a_monitor_process_delivers_what_a_worker_stored(processes: Any, tmp_path: Path) -> None:
    """Scaled out, the worker only stores the story; the monitor sends it ahead."""
    url, path = f"sqlite:///{tmp_path / 'live.db'}", tmp_path / "a.jsonl"
    desk = Desk(url, [path], time.time(), deciding=False)
    append(path, story(1, time.time() - 1, "Acme files for bankruptcy protection"))
    desk.take()
    desk.engine.dispose()
    with Services(answer=lambda *_: (204, {}, "")) as receiver:
        hook = {"name": "desk", "url": receiver.url, "secrets": "whsec_" + "A" * 32, "allow_private": True}
        config = processes.settings(store={"url": url}, topics=TOPICS, webhooks=[hook])
        process = processes.start("monitor", config=config)
        wait_until(lambda: receiver.requests, "the message")
        assert receiver.requests[0][2]["data"]["severity"] == "critical"
        assert process.stop() == 0


def test_a_running_process_delivers_a_critical_story_without_a_later_one(processes: Any, tmp_path: Path) -> None:
    """The real `run`, a real receiver: the message is there while the story's bucket is open."""
    feed, url = tmp_path / "live.jsonl", f"sqlite:///{tmp_path / 'live.db'}"
    feed.touch()
    with Services(answer=lambda *_: (204, {}, "")) as desk:
        config = processes.settings(
            store={"url": url},
            feeds=[{"file": str(feed)}],
            topics=TOPICS,
            webhooks=[{"name": "desk", "url": desk.url, "secrets": "whsec_" + "A" * 32, "allow_private": True}],
        )
        process = processes.start("run", config=config)
        process.says("running")
        append(feed, story(1, time.time() - 1, "Acme files for bankruptcy protection"))
        wait_until(lambda: desk.requests, "the message")
        with reading(connect(url, create=False)) as connection:
            decided_until = connection.execute(select(schema.feed.c.decided_until)).scalar()
            fired = connection.execute(select(schema.alerts.c.fired_at)).scalar_one()
        assert decided_until is None or decided_until < fired
        ((_, _, body),) = desk.requests
        jsonschema.validate(body, json.loads((ROOT / "docs/webhook.v2.schema.json").read_text("utf-8")))
        assert (body["type"], body["data"]["severity"]) == ("incident.firing", "critical")
        assert body["data"]["stories"][0]["id"] == "s1"
        assert body["data"]["alerts"][0]["word"] == "bankruptcy"
        assert process.stop() == 0


def test_an_earlier_story_of_the_day_that_arrives_later_decides_the_alert_that_was_sent(tmp_path: Path) -> None:
    """It lies in an earlier bucket, which closes first. The alert is the same, and is decided once."""
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    desk = Desk(f"sqlite:///{tmp_path / 'live.db'}", paths, START - 60)
    desk.until(START + 330)
    append(paths[0], story(1, START + 330, "Acme hit by explosion"))
    desk.take()
    append(paths[1], story(2, START + 290, "Acme recalls cars"))
    desk.take()
    for at in (430, 1_000):  # after the first bucket, and after the second
        desk.until(START + at)
        (alert,) = alerts(desk.engine)
    assert alert.word == "recalls"
    assert [row.came_true for row in ahead(desk)] == [True]
    assert [event for event, _ in messages(desk.engine)] == ["incident.firing"]


@pytest.mark.parametrize("at_once", [False, True])
def test_an_incident_that_is_merged_in_the_closing_that_decides_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """A wider alert merges it into an older one: later, or in the moment in which it fired."""
    path = tmp_path / "a.jsonl"
    desk = Desk(f"sqlite:///{tmp_path / 'live.db'}", [path], START)
    append(path, story(1, START, "Bolt chief arrested"))
    desk.until(START + 900)
    append(path, story(2, START + 900, "Acme recalls cars"))
    desk.take()
    old, new = (incident_id(critical_id(topic, round(START * MICRO))) for topic in ("Bolt", "Acme"))
    assert [one["group_id"] for _, one in messages(desk.engine)] == [old, new]

    def merge(incidents: Incidents, at: int) -> list[Said]:
        if new not in incidents.open or (incidents.open[new].fired_at == at) != at_once:
            return []
        theirs = tuple(incidents.of(new))
        ended = replace(incidents.open[new], state="ended", updated_at=at, ended_at=at, merged_into=old)
        for member in theirs:
            incidents._keep(replace(member, incident=old))
        incidents._keep_incident(ended)
        return [Said("unsaid" if at_once else "resolved", at, ended, theirs)]

    take, pass_time = Incidents.take, Incidents.pass_time
    if at_once:
        monkeypatch.setattr(Incidents, "take", lambda i, some, at, of=None: [*take(i, some, at, of), *merge(i, at)])
    else:
        monkeypatch.setattr(Incidents, "pass_time", lambda i, at: [*pass_time(i, at), *merge(i, at)])
    desk.until(START + 2_000)
    assert [(event, one["group_id"]) for event, one in messages(desk.engine)] == [
        ("incident.firing", old),
        ("incident.firing", new),
        ("incident.resolved", new),
    ]
    assert messages(desk.engine)[2][1]["state"] == "resolved"
    assert {row.group_id for row in alerts(desk.engine)} == {old}
    came_true = {row.alert_id: row.came_true for row in ahead(desk)}
    assert came_true[critical_id("Acme", round(START * MICRO))] is not at_once, "a replay says nothing of it"


def test_what_does_not_deliver_sends_nothing_ahead(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    desk = Desk(f"sqlite:///{tmp_path / 'live.db'}", [path], START, deliver=False)
    append(path, story(1, START, "Acme recalls cars"))
    desk.take()
    assert ahead(desk) == []
    desk.until(START + 900)
    with reading(desk.engine) as connection:
        assert set(connection.execute(select(schema.outbox.c.state)).scalars()) == {"withheld"}


@pytest.mark.parametrize("error", [Overtaken("meanwhile"), StoreUnavailable("gone")])
def test_a_monitor_reports_what_it_decided_although_the_look_ahead_fails(error: Exception) -> None:
    closed, done = Closed(1, 1, 0, []), list[Any]()

    def fail() -> None:
        raise error

    seconds = SimpleNamespace(failed=lambda _: 0.0)
    process: Any = SimpleNamespace(
        _report=lambda *given: done.append(given[0]), _stop=SimpleNamespace(wait=lambda _: None), _outage=seconds
    )
    parts: Any = [SimpleNamespace(holds=lambda: True), SimpleNamespace(close_some=lambda: closed)]
    parts += [SimpleNamespace(look=lambda: None), SimpleNamespace(look=fail)]
    parts += [SimpleNamespace(due=lambda **_: False)] * 2
    turn: Any = _Monitor._turn
    turn(process, *parts, lambda: done.append("woken"))
    assert done == [closed, "woken"]


def test_a_story_just_after_midnight_is_sent_once_the_alert_of_the_day_before_is_decided(tmp_path: Path) -> None:
    midnight = START - 9 * 3600 + 86_400
    path = tmp_path / "a.jsonl"
    desk = Desk(f"sqlite:///{tmp_path / 'live.db'}", [path], midnight - 20)
    append(path, story(1, midnight - 20, "Acme recalls cars"))
    desk.until(midnight + 30)
    append(path, story(2, midnight + 30, "Acme hit by fraud"))
    desk.take()
    assert [row.came_true for row in ahead(desk)] == [None], "of one topic, one at a time"
    desk.until(midnight + 280)
    assert sorted(str(row.came_true) for row in ahead(desk)) == ["None", "True"]
    assert len(desk.reported) == 2
    desk.until(midnight + 900)
    assert [row.came_true for row in ahead(desk)] == [True, True]
    assert [event for event, _ in messages(desk.engine)] == ["incident.firing"]


def test_an_update_that_is_sent_ahead_has_a_name_of_its_own(tmp_path: Path) -> None:
    """An incident becomes critical by a story; before, the closing says another update of it with the same number."""
    desk = Desk(f"sqlite:///{tmp_path / 'live.db'}", [tmp_path / "a.jsonl"], START)
    append(tmp_path / "a.jsonl", story(1, START, "Acme recalls cars"))
    desk.until(START + 900)
    first = critical_id("Acme", round(START * MICRO))
    moment = round((START + 900) * MICRO)
    alert = {"id": "other", "group_id": incident_id(first), "topic": "Acme", "kind": CRITICAL, "fired_at": moment}

    def changes(*some: str) -> str:
        return json.dumps({"group_id": incident_id(first), "changes": [{"change": c, "detail": c} for c in some]})

    event, o = "incident.updated-000001", schema.outbox.c
    with writing(desk.engine) as connection:
        before = dict(connection.execute(select(schema.alerts).where(schema.alerts.c.id == first)).one()._mapping)
        message = {"alert_id": first, "event": event, "decided_at": moment, "alert": changes("critical")}
        trial = store_ahead.Trial([{**before, **alert, "topic": "Bolt"}], [], [message])
        assert store_ahead.write(connection, trial, moment) == (["other"], False)
        (removed,) = store_ahead.remove(connection)
        put: dict[str, Any] = {"decided_at": moment - MICRO, "queued": True}
        outbox.put(connection, first, event, alert=json.loads(changes("topic")), **put)
        outbox.put(connection, first, "incident.updated-000002", alert=json.loads(changes("critical")), **put)
        outbox.put(connection, first, "incident.updated-000003", alert=json.loads(changes("again")), **put)
        store_ahead.settle(connection, [removed], moment - MICRO)
        rows = connection.execute(select(o.event, o.state, o.alert).where(o.event.like("%updated%")).order_by(o.event))
        assert [tuple(row) for row in rows] == [
            (event, "queued", changes("topic")),
            (f"{event}{AHEAD}", "queued", changes("critical")),
            ("incident.updated-000002", "folded", changes("critical")),
            ("incident.updated-000003", "queued", changes("again")),
        ]
