"""What incidents read: whose evidence a shared story is, which stories a limit keeps, and what messages say of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, insert, select, update
from test_incidents import COMPANIES, NOW, THEME, alert, burst, ends, fires, moment, told, usual

from foreshock.monitor.alerts import Alert, AlertChange
from foreshock.monitor.delivery.messages import _sentences
from foreshock.monitor.delivery.notice import Notice
from foreshock.monitor.grouping import Member, Record, Side, Ties
from foreshock.monitor.incident import Incident, Joined, Said, incident_id
from foreshock.monitor.incidents import Incidents
from foreshock.monitor.made_stories import MadeStories
from foreshock.monitor.store import incidents as store_incidents
from foreshock.monitor.store import schema
from foreshock.monitor.store.incident_views import incident as shown
from foreshock.monitor.units import DAY, HOUR

A, B = COMPANIES[:2]


@pytest.fixture
def store() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    schema.metadata.create_all(engine)
    with engine.begin() as connection:
        yield connection


def put(
    connection: Connection, number: int, at: int, *, topic: str = A, partition: str = "p", name: str | None = None
) -> None:
    """Store a bad story that is decided and weighs."""
    place = {"partition": partition, "offset": number}
    said = {"negative": 9_000, "neutral": 1_000, "positive": 0, "severity": 200}
    texts = dict.fromkeys(("body", "url", "language", "tickers"), "") | {"status": "usable"}
    times = {"published_at": at, "counts_at": at, "ingested_at": at}
    name = name or f"{topic} {number:06}"
    row = {
        **place,
        **said,
        **texts,
        **times,
        "id": name,
        "content": name,
        "title": name,
        "source": f"wire {number % 3}",
    }
    flags = dict.fromkeys(("late", "stale", "date_only"), False)
    connection.execute(insert(schema.stories).values(**row, **flags, settings=1))
    connection.execute(insert(schema.story_topics).values(**place, topic=topic, counts_at=at))
    connection.execute(insert(schema.decisions).values(**place, bucket=at, ending="", weighs=True))


# Whose evidence a story is.


def test_stories_that_are_bad_for_one_company_and_good_for_another_do_not_tie_them() -> None:
    """B's own bad news are other stories, so an alert of A on orders that A lost to B is an incident of its own."""
    lost = burst({A, B, THEME}, 5, hours=0.9)
    good_for_b = [s._replace(negative=500, severity=0) for s in lost]
    towards_a = MadeStories([*usual(), *lost])
    towards_b = MadeStories([*usual(), *good_for_b, *burst({B, THEME}, 12, hours=0.9)])
    mine, other = alert(A, 1), alert(B, 1)
    ties = Ties(Side.of(mine, towards_a, NOW + HOUR), lambda m: Side.of(m.alert, towards_b, NOW + HOUR))
    member = Member(other, "incident", 12)
    assert ties.common(member, NOW + HOUR) == set()
    assert ties.tie(member, NOW + HOUR) is None
    bad_for_both = Ties(ties.mine, lambda m: Side.of(m.alert, MadeStories([*usual(), *lost]), NOW + HOUR))
    assert bad_for_both.common(replace(member, size=5), NOW + HOUR) == {s.event for s in lost}
    assert bad_for_both.tie(replace(member, size=5), NOW + HOUR) is not None


# What a limit keeps.


def test_which_stories_of_one_time_a_limit_keeps_does_not_depend_on_partitions_and_offsets(store: Connection) -> None:
    kept = []
    for run, partitions in enumerate((["a", "b", "c"], ["c", "a", "b"])):
        at = NOW + run * 10 * DAY
        for place in range(9):
            number = place if run == 0 else 8 - place
            put(store, 100 * run + place, at, partition=partitions[number % 3], name=f"story {number}/{run}")
        found = store_incidents.StoredStories(store).records(A, at, at + 1, "negative", 4)
        s = schema.stories.c
        names = [
            store.execute(select(s.id).where(s.partition == r.event[0], s.offset == r.event[1])).scalar_one()
            for r in found
        ]
        kept.append([name.split("/")[0] for name in names])
    assert kept[0] == kept[1] == [f"story {number}" for number in range(4)]


# What messages say.


def write(connection: Connection, one: Alert, incident: str | None = None) -> None:
    row = {name: value for name, value in asdict(one).items() if name in schema.alerts.c}
    more = {"origin": "replay", "settings": 1, "evidence": "[]", "sources": 3, "events": 9, "sentence": "It fell."}
    connection.execute(insert(schema.alerts).values(**{**more, **row, "group_id": incident}))


def take(connection: Connection, incidents: Incidents, *changes: AlertChange) -> list[dict[str, Any]]:
    """Take the changes of one moment as a closing does, and return the messages in the outbox."""
    at = moment(changes[0])
    store_incidents.note(connection, incidents.pass_time(at), origin="replay", settings=1, deliver=True)
    said = incidents.take(changes, at)
    for change in changes:
        if change.event == "firing":
            write(connection, change.alert)
    store_incidents.note(connection, said, origin="replay", settings=1, deliver=True)
    store_incidents.save(connection, incidents, origin="replay", settings=1)
    o = schema.outbox.c
    return [json.loads(row) for row in connection.execute(select(o.alert).order_by(o.decided_at, o.event)).scalars()]


def test_a_message_has_no_more_events_at_the_peak_than_in_all(store: Connection) -> None:
    """What came in the day before the evidence began is not the incident's."""
    put(store, 0, NOW - 5 * HOUR)
    for number in range(1, 7):
        put(store, number, NOW + number * HOUR // 10)
    (sent,) = take(store, store_incidents.load(store, NOW), *fires(alert(A, 1)))
    assert sent["incident"]["events"] == sent["incident"]["peak"]["events"] == 6
    assert sent["incident"]["sources"] == 3


def test_the_number_of_events_never_falls_although_only_the_newest_are_read(
    store: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        put(store, number, NOW + number * HOUR // 10)
    read = store_incidents.StoredStories.records

    def newest(stories: Any, topic: str, start: int, end: int, mood: str, _: int = 0) -> list[Record]:
        return read(stories, topic, start, end, mood, 8)

    monkeypatch.setattr(store_incidents.StoredStories, "records", newest)
    incidents = store_incidents.load(store, NOW)
    (before,) = take(store, incidents, *fires(alert(A, 1)))
    for number in range(8, 12):  # copies of the last
        put(store, number, NOW + HOUR + number)
        d = schema.decisions.c
        of_last = {"weighs": False, "event_partition": "p", "event_offset": 7}
        store.execute(update(schema.decisions).where(d.offset == number).values(**of_last))
    sent = take(store, incidents, *fires(alert(A, 3, kind="drift", observed=-0.4, baseline=0.1)))
    assert len(sent) == 2
    assert len({r.event for r in read(store_incidents.StoredStories(store), A, NOW, NOW + 3 * HOUR, "negative", 8)}) < 8
    assert [message["incident"]["events"] for message in sent] == [before["incident"]["events"], 8] == [8, 8]


def test_a_message_and_a_page_show_the_same_stories_of_the_last_days(
    store: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take topics in the order in which the alerts fired, whatever their ids, and nothing older than 4 days."""
    monkeypatch.setattr(store_incidents, "TOPICS", 2)
    topics = COMPANIES[:6]
    for place, topic in enumerate(topics):
        put(store, 10 * place, NOW - 5 * DAY, topic=topic)
        put(store, 10 * place + 1, NOW + HOUR // 2, topic=topic)
    first, *others = (alert(topic, 1 + n, since=-200) for n, topic in enumerate(topics))
    identity = incident_id(first.id)
    joined = [Joined(one, identity, 1) for one in (first, *others)]
    at = NOW + 7 * HOUR
    incident = Incident(identity, first.id, "open", "worse", NOW, NOW, at, NOW, "warning", others[2].id)
    for one in (first, *others):
        write(store, one, identity)
    store_incidents.note(
        store, [Said("firing", at, incident, tuple(joined))], origin="replay", settings=1, deliver=True
    )
    (sent,) = (json.loads(row) for row in store.execute(select(schema.outbox.c.alert)).scalars())
    titles = [story["title"] for story in sent["incident"]["stories"]]
    assert titles == sorted([f"{topics[0]} 000001", f"{topics[3]} 000031"])
    assert shown(store, identity)["stories"] == sent["incident"]["stories"]


def test_open_incidents_are_loaded_without_the_evidence_of_their_alerts(store: Connection) -> None:
    for number in range(6):
        put(store, number, NOW + number * HOUR // 10)
    before = store_incidents.load(store, NOW)
    take(store, before, *fires(alert(A, 1)))
    asked: list[str] = []
    event.listen(store, "before_cursor_execute", lambda *said: asked.append(said[2]))
    loaded = store_incidents.load(store, NOW + HOUR)
    assert loaded.members == before.members
    assert loaded.open == before.open
    assert not any("alerts.evidence," in statement or "sentence" in statement for statement in asked)
    assert any("alerts.window_start" in statement for statement in asked)


def test_people_read_no_names_of_kinds_and_no_ids() -> None:
    changes = [
        {"change": "topic", "detail": "negativity_spike of _all"},
        {"change": "kind", "detail": "drift of Banks; all is well. Gold"},
        {"change": "merged", "detail": "997b7c50-fbee-5240-a296-f9a2b4636f07"},
        {"change": "severity", "detail": "info to warning"},
    ]
    about = {"incident": {"title": "Bad news.", "direction": "worse"}, "changes": changes, "sentence": "It fell."}
    assert _sentences(Notice("msg", "updated", 0, about, None)) == [
        "Bad news.",
        "Another topic: bad news on all stories.",
        "Another kind of alert: worse mood on “Banks; all is well. Gold”.",
        "Another incident is part of it.",
        "Graver: info to warning.",
        "It fell.",
    ]


# Time that stands still.


@pytest.mark.parametrize("splits", [[], [29], [40], [29, 55, 70]])
def test_no_incident_ends_while_time_stands_still(splits: list[int]) -> None:
    """It ends at the first whole hour after the feed goes on, wherever closings are split."""
    stories = MadeStories([*usual(), *burst({A, THEME}, 12)])
    before = Incidents(stories, NOW)
    told(before, *fires(alert(A, 1)), ends(alert(A, 1), 26.5))
    said, clock, opened, members = [], NOW + 26 * HOUR + HOUR // 2, before.open, before.members
    for until in [*splits, 80]:
        goes_on = until > 72
        incidents = Incidents(
            stories, clock, opened.values(), members.values(), [(NOW + 30 * HOUR, NOW + 72 * HOUR)] if goes_on else []
        )
        # A closing within the stall lets no more time pass than its first hours.
        clock = NOW + (until if goes_on else min(until, 30)) * HOUR
        said += incidents.pass_time(clock)
        opened, members = dict(incidents.open), dict(incidents.members)
    assert [(s.event, s.at) for s in said] == [("resolved", NOW + 73 * HOUR)]
