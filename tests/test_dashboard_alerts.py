"""*Alerts*: what its filters find, incidents that unfold, and one incident with all that is known of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import NOW, Show, click, html, made_store, show, words
from sqlalchemy import Engine, delete, insert
from typer.testing import CliRunner

from foreshock.cli.app import app as command
from foreshock.dashboard import frame
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.severity import LEVELS
from foreshock.monitor.store import alert_search, desk_actions, incident_cards, incident_history, moved, schema
from foreshock.monitor.store.alert_search import STATES, Wanted
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.topic_sums import topic_sums
from foreshock.monitor.units import DAY, HOUR

pytestmark = pytest.mark.slow
__all__ = ["show"]

TOPICS = ("Acme", "50%_off", "بنك")
alerts = st.fixed_dictionaries(
    {
        "topic": st.sampled_from(TOPICS),
        "kind": st.sampled_from(sorted(KINDS)),
        "severity": st.sampled_from(LEVELS),
        "state": st.sampled_from(STATES),
        "at": st.integers(0, 5),
        "sentence": st.sampled_from(["Bad news on Acme.", "100% of 5_0 Banks", "BAD weather"]),
        "group": st.sampled_from([None, "one", "two"]),
    }
)
asked = st.builds(
    Wanted,
    topic=st.none() | st.sampled_from(TOPICS),
    kinds=st.lists(st.sampled_from(sorted(KINDS)), max_size=2).map(tuple),
    severities=st.lists(st.sampled_from(LEVELS), max_size=2).map(tuple),
    states=st.lists(st.sampled_from(STATES), max_size=3).map(tuple),
    start=st.none() | st.integers(0, 5),
    end=st.none() | st.integers(0, 6),
    receiver=st.none() | st.sampled_from(["desk", "mail"]),
    words=st.sampled_from(["", "bad", "acme news", "%", "5_0", "بنك", "title"]),
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return connect(f"sqlite:///{tmp_path_factory.mktemp('alerts')}/store.db", create=True)


@settings(max_examples=60)
@given(st.lists(alerts, max_size=6), asked, st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["desk", "mail"]))))
def test_an_incident_is_found_if_one_of_its_alerts_matches_and_pages_hold_each_once(
    engine: Engine, made: list[dict[str, Any]], wanted: Wanted, sent: list[tuple[int, str]]
) -> None:
    """Invariant: what SQL finds is what Python finds in the same rows."""
    given_to = {(f"a{n}", receiver) for n, receiver in sent if n < len(made)}
    with writing(engine) as connection:
        for table in (schema.alerts, schema.incidents, schema.deliveries):
            connection.execute(delete(table))
        for n, one in enumerate(made):
            connection.execute(insert(schema.alerts).values(**_row(f"a{n}", one)))
        for group in {one["group"] for one in made} - {None}:
            connection.execute(insert(schema.incidents).values(**_incident(group)))
        for alert, receiver in given_to:
            values = {"alert_id": alert, "event": "firing", "receiver": receiver, "state": "waiting", "attempts": 0}
            connection.execute(insert(schema.deliveries).values(**values))
    groups = [one["group"] or f"a{n}" for n, one in enumerate(made)]
    heard = {groups[int(alert[1:])] for alert, receiver in given_to if receiver == wanted.receiver}
    hits = [n for n, one in enumerate(made) if _matches(one, wanted, groups[n], heard)]
    expected = {groups[n] for n in hits}
    with reading(engine) as connection:
        found = alert_search.search(connection, wanted, limit=100)
        pages = [alert_search.search(connection, wanted, limit=2, offset=n).groups for n in range(0, len(expected), 2)]
        rows = alert_search.matching(connection, wanted, limit=100)
    assert (set(found.groups), found.count, found.alerts) == (expected, len(expected), len(hits))
    assert tuple(group for page in pages for group in page) == found.groups
    assert {row.id for row in rows} == {f"a{n}" for n in hits}


def _matches(one: dict[str, Any], wanted: Wanted, group: str, heard: set[str]) -> bool:
    title = f"The title of {group}" if one["group"] else ""
    texts = [text.lower() for text in (one["sentence"], one["topic"], title, "[]")]
    return (
        wanted.topic in (None, one["topic"])
        and (not wanted.kinds or one["kind"] in wanted.kinds)
        and (not wanted.severities or one["severity"] in wanted.severities)
        and (not wanted.states or one["state"] in wanted.states)
        and (wanted.start is None or one["at"] >= wanted.start)
        and (wanted.end is None or one["at"] < wanted.end)
        and (wanted.receiver is None or group in heard)
        and all(any(word.lower() in text for text in texts) for word in wanted.words.split())
    )


def _row(identity: str, one: dict[str, Any]) -> dict[str, Any]:
    fired = one["state"] in ("firing", "resolved")
    return {
        **{"id": identity, "direction": "worse", "origin": "live", "group_id": one["group"], "evidence": "[]"},
        **{"topic": one["topic"], "kind": one["kind"], "severity": one["severity"], "sentence": one["sentence"]},
        **{"state": "resolved" if one["state"] == "dropped" else one["state"], "started_at": 0},
        **{"pending_at": one["at"], "fired_at": one["at"] if fired else None, "window_start": 0, "window_end": 1},
        **{"resolved_at": 9 if one["state"] in ("resolved", "dropped") else None, "observed": 1.0, "baseline": 1.0},
        **{"score": 1.0, "sources": 1, "events": 1, "settings": 1},
    }


def _incident(identity: str) -> dict[str, Any]:
    return {
        **{"id": identity, "first_alert": "a0", "lead": "a0", "state": "open", "direction": "worse", "origin": "live"},
        **dict.fromkeys(("started_at", "fired_at", "updated_at", "notified_at"), 0),
        **{"severity": "info", "title": f"The title of {identity}", "events": 1, "sources": 1, "peak_events": 0},
        **{"messages": 0, "held": "[]", "settings": 1},
    }


@pytest.mark.postgres
def test_postgresql_answers_what_sqlite_answers(postgres: str, tmp_path: Path) -> None:
    incidents: list[dict[str, Any]] = [
        {
            "id": f"i{n}",
            "alerts": [{"topic": TOPICS[n % 3], "fired_at": NOW - n}, {"topic": "Bolt", "state": "pending"}],
        }
        for n in range(5)
    ]
    asked = [Wanted(), Wanted(words="I3 bad", states=("firing",)), Wanted(topic="50%_off"), Wanted(receiver="desk")]
    answers = []
    for place in (postgres, tmp_path / "s.db"):
        engine = made_store(place, ["_all", *TOPICS], incidents)
        with writing(engine) as connection:
            sent = {"alert_id": "i2-0", "event": "incident.firing", "state": "parked", "attempts": 1}
            connection.execute(insert(schema.deliveries).values(**sent, receiver="desk"))
            desk_actions.acknowledge(connection, "i2-1", by="Ada", now=NOW)
        with reading(engine) as connection:
            waiting = incident_cards.open_incidents(connection)
            answers.append(
                (
                    [alert_search.search(connection, wanted, limit=3, offset=1) for wanted in asked],
                    [alert_search.matching(connection, wanted, limit=3) for wanted in asked],
                    [incident_cards.card(connection, one, NOW) for one in waiting],
                    incident_cards.done(connection, ["i2-0", "i2-1"], ["Acme"], NOW),
                    incident_history.messages(connection, ["i2-0"], of_incident=True),
                    incident_history.acts(connection, ["i2-1"], ["Acme"], 0, NOW + 1),
                    moved.moved(
                        connection, topic_sums(connection, NOW - DAY, NOW), without=["Acme"], alerts=["i0-0"], limit=5
                    ),
                )
            )
    assert answers[0] == answers[1]
    assert [found.count for found in answers[0][0]] == [5, 1, 2, 1]


# The list.


def listed(page: str) -> list[str]:
    """The incidents and alerts that the list shows."""
    return re.findall(r'<td class="nm"><a class="fs-in" href="Alerts\?(?:incident|alert)=([^"]+)"', page)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A store of three incidents, one of them sent to two receivers."""
    bolt = {"topic": "Bolt", "kind": "volume", "fired_at": NOW - 9 * DAY, "state": "resolved", "severity": "info"}
    calm = {"topic": "Calm", "kind": "silence", "severity": "critical"}
    incidents: list[dict[str, Any]] = [
        {"id": "one", "alerts": [{}, {"topic": "Also", "kind": "drift"}]},
        {"id": "two", "state": "ended", "alerts": [bolt]},
        {"id": "three", "severity": "critical", "alerts": [calm]},
    ]
    store = tmp_path / "desk.db"
    engine = made_store(store, ["_all", "Acme", "Also", "Bolt", "Calm"], incidents)
    with writing(engine) as connection:
        for event, at, state in (
            ("incident.firing", NOW - HOUR, "dispatched"),
            ("incident.updated-000001", NOW, "silenced"),
        ):
            row = {"alert_id": "one-0", "event": event, "decided_at": at, "state": state, "alert": "{}"}
            connection.execute(insert(schema.outbox).values(**row))
        sent = {"alert_id": "one-0", "event": "incident.firing"}
        good = {"receiver": "desk", "state": "delivered", "attempts": 1, "delivered_at": NOW, "route": "grave"}
        bad = {"receiver": "mail", "state": "parked", "attempts": 9, "last_error": "HTTP 500 <b>"}
        for one in (good, bad):
            connection.execute(insert(schema.deliveries).values(**sent, **one))
        desk_actions.silence(connection, "Acme", until=NOW + DAY, by="Grace", note="known", now=NOW + 1)
        desk_actions.acknowledge(connection, "one-0", by="Ada", note="on it", now=NOW + 2)
    return store


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["one", "three", "two"]),
        ({"topic": "Also"}, ["one"]),
        ({"kind": "silence"}, ["three"]),
        ({"kind": "negativity_spike"}, ["one"]),
        ({"severity": "critical"}, ["three"]),
        ({"state": "resolved"}, ["two"]),
        ({"from": "2026-03-25"}, ["one", "three"]),
        ({"to": "2026-03-25"}, ["two"]),
        ({"receiver": "mail"}, ["one"]),
        ({"words": "bad NEWS two"}, ["two"]),
        ({"words": "%"}, []),
        ({"topic": "nobody"}, ["one", "three", "two"]),  # it has no alert: the control cannot show it
    ],
)
def test_the_address_has_the_filters(show: Show, desk: Path, query: dict[str, str], expected: list[str]) -> None:
    app = show("alerts", desk, **query)
    assert sorted(listed(html(app))) == sorted(expected)
    assert ("No such alert" in words(app)) == (not expected)


def test_an_incident_unfolds_to_all_its_alerts(show: Show, desk: Path) -> None:
    assert "9 negative stories on one." not in html(show("alerts", desk))
    page = html(show("alerts", desk, open="one"))
    assert page.count("fs-opened") == 1
    assert page.count("<article") == 2
    assert 'href="Alerts?alert=one-1"' in page
    assert html(show("alerts", desk, topic="Also")).count("<article") == 2, "the only one is unfolded"


def test_a_download_has_what_the_filters_find_on_all_pages(
    show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads: list[Any] = []
    monkeypatch.setattr(frame, "download", lambda *given: downloads.append(given))
    made_store(tmp_path / "s.db", ["Acme"], [{"id": f"i{n:02}", "alerts": [{"fired_at": NOW - n}]} for n in range(60)])
    first = show("alerts", tmp_path / "s.db")
    assert listed(html(first)) == [f"i{n:02}" for n in range(25)]
    assert "page 1 of 3 next" in words(first)
    assert listed(html(show("alerts", tmp_path / "s.db", page="3"))) == [f"i{n:02}" for n in range(50, 60)]
    assert listed(html(show("alerts", tmp_path / "s.db", page="99"))) == [f"i{n:02}" for n in range(50, 60)]
    assert len(downloads[0][3]()) == 60
    show("alerts", tmp_path / "s.db", words="i07")
    assert [row[0] for row in downloads[-1][3]()] == ["i07-0"]


# One incident.


def test_the_timeline_has_states_messages_deliveries_and_who_did_what_in_order(show: Show, desk: Path) -> None:
    said = words(show("alerts", desk, incident="one"))
    line = said[said.index("Timeline") :]
    parts = [
        "fired: surge of bad news on Acme",
        "message: it fires",
        "to desk by the route grave: delivered",
        "to mail: parked after 9 attempts: HTTP 500",
        "message: it changed; silenced: a person silenced the topic",
        "silenced Acme until 00:00, 2 April 2026 by Grace : known",
        "acknowledged by Ada : on it",
    ]
    places = [line.index(part) for part in parts]
    assert places == sorted(places)


def test_an_incident_shows_its_stories_why_it_fired_as_the_command_says_and_what_else_moved(
    show: Show, crisis_store: Path
) -> None:
    engine = connect(f"sqlite:///{crisis_store}", create=False)
    with reading(engine) as connection:
        i = schema.incidents.c
        one = connection.execute(schema.incidents.select().where(i.state == "open", i.title.contains("Weftware"))).one()
    printed = CliRunner().invoke(command, ["alerts", "why", one.lead, "--store", f"sqlite:///{crisis_store}"]).output
    said = words(show("alerts", crisis_store, incident=one.id))
    assert one.title in said
    assert "Prosecutors raid Weftware offices over security breach" in said
    assert "fired: surge of bad news on cybersecurity" in said
    assert "It is no worse than the others of Weftware" in said, "why an alert of it is quiet"
    threshold = next(line for line in printed.splitlines() if "fire from" in line)
    assert "alerts of its kind fire from" in threshold
    assert "holds the budget of 1 per week" in threshold
    assert threshold in said
    also = said[said.index("Also moved then") :]
    assert "times the usual number of events on Nerivane Pharma" in also
    assert "Weftware" not in also.partition("Its 4 alerts")[0]


def test_an_incident_that_was_merged_leads_to_the_older_one(show: Show, tmp_path: Path) -> None:
    made_store(tmp_path / "s.db", ["Acme"], [{"id": "old"}, {"id": "new", "merged_into": "old", "alerts": []}])
    assert "Bad news on old." in words(show("alerts", tmp_path / "s.db", incident="new"))
    assert "No such incident" in words(show("alerts", tmp_path / "s.db", incident="none"))


def test_an_incident_is_acknowledged_on_its_page_also_by_two_at_once(show: Show, desk: Path) -> None:
    one, other = (show("alerts", desk, incident="three") for _ in range(2))
    for app, name in ((one, "Ada"), (other, "Grace")):
        app.text_input(key="by").set_value(name)
    click(one, "Acknowledge")
    click(other, "Acknowledge")
    assert "Ada acknowledged it before you." in words(other)
    line = words(show("alerts", desk, incident="three"))
    assert line.index("acknowledged by Ada") < line.index("acknowledged by Grace")
    alone = words(show("alerts", desk, alert="three-0"))
    assert "acknowledged by Grace" in alone
    assert "No message" not in alone


@pytest.mark.parametrize("name", ["B" * 300, "🏦🔥 موجة", "بنك الرياض الأهلي", "<b>Bold</b> & Co"])
def test_odd_names_break_no_list_no_filter_and_no_incident(show: Show, tmp_path: Path, name: str) -> None:
    incident = {"id": "odd", "title": f"Bad news on “{name}”.", "alerts": [{"topic": name, "sentence": f"On {name}."}]}
    other = {"id": "other", "title": "Bad news.", "alerts": [{"topic": name + "2"}]}
    made_store(tmp_path / "s.db", ["_all", name], [incident, other])
    page = html(show("alerts", tmp_path / "s.db", topic=name, words=name[:4], open="odd"))
    assert listed(page) == ["odd"]
    assert page.count("<article") == 1
    one = html(show("alerts", tmp_path / "s.db", incident="odd"))
    for shown in (page, one):
        assert "<b>Bold" not in shown
        assert '<bdi dir="auto">' in shown
