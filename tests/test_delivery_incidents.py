"""Which messages about incidents reach whom: after a replay, a silence, an upgrade or an outage of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, insert, select, update

from foreshock.monitor.alerts import Alert
from foreshock.monitor.delivery.notice import sample
from foreshock.monitor.delivery.sender import dispatch
from foreshock.monitor.errors import NoSuchAlert, Overtaken, Undelivered
from foreshock.monitor.incident import Incident, Joined, Said
from foreshock.monitor.store import deliveries, desk_actions, incident_views, incidents, receivers, schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.units import SECOND
from tests.test_delivery_sender import START, Clock, Scripted, clock, deliver_due, engine, fire, of_incident, rows, url

__all__ = ["clock", "engine", "url"]


def two(name: str = "new", **script: Any) -> Scripted:
    """A receiver of version 2."""
    receiver = Scripted(name, **script)
    receiver.version = 2
    return receiver


def put(engine: Engine, alert: str, *events: str, state: str = "queued", at: int = START) -> None:
    """Put messages about the incident of an alert into the outbox, all decided at the same time."""
    with writing(engine) as connection:
        mine = schema.alerts.c.id == alert
        connection.execute(update(schema.alerts).where(mine).values(group_id=f"incident-{alert}"))
        for one in events:
            about = json.dumps({**sample(2), "id": alert})
            values = {"alert_id": alert, "event": f"incident.{one}", "decided_at": at, "alert": about}
            connection.execute(insert(schema.outbox).values(**values, state=state))


def silence(engine: Engine, topic: str, seconds: int, now: int) -> None:
    with writing(engine) as connection:
        desk_actions.silence(connection, topic, until=now + seconds * SECOND, by="Ada", now=now)


def got(receiver: Scripted) -> list[str]:
    return [notice.event for notice in receiver.got]


def state_of(engine: Engine, alert: str, about: str) -> str | None:
    o = schema.outbox.c
    with reading(engine) as connection:
        return connection.execute(select(o.state).where(o.alert_id == alert, o.event == about)).scalar()


def passes(engine: Engine, *receivers: Scripted, clock: Clock, count: int = 4) -> None:
    for _ in range(count):
        deliver_due(engine, receivers, clock)


def test_what_joins_an_incident_that_a_replay_began_is_delivered_and_so_is_its_end(engine, clock):
    desk, alert = two(), fire(engine)
    put(engine, alert, "firing", state="withheld")
    put(engine, alert, "updated-000001", at=START + 1)
    passes(engine, desk, clock=clock)
    assert got(desk) == ["firing"], "the first message that a receiver gets"
    put(engine, alert, "resolved", at=START + 2)
    passes(engine, desk, clock=clock)
    assert got(desk) == ["firing", "resolved"]


def test_an_update_after_a_silence_is_delivered_and_one_in_it_is_not(engine, clock):
    desk, alert = two(), fire(engine)
    silence(engine, "Banks", 60, clock())
    put(engine, alert, "firing")
    put(engine, alert, "updated-000001", at=START + 1)
    passes(engine, desk, clock=clock)
    assert got(desk) == []
    assert state_of(engine, alert, "incident.updated-000001") == "silenced"
    clock.forward(61)
    put(engine, alert, "updated-000002", at=START + 2)
    passes(engine, desk, clock=clock)
    silence(engine, "Banks", 60, clock())
    put(engine, alert, "resolved", at=START + 3)
    passes(engine, desk, clock=clock)
    assert got(desk) == ["firing", "resolved"], "what was opened is closed, also in a silence"


@pytest.mark.parametrize("state", ["withheld", "silenced"])
def test_the_end_of_what_nobody_heard_of_is_not_delivered(engine, clock, state):
    desk, alert = two(), fire(engine)
    put(engine, alert, "firing", "updated-000001", state=state)
    put(engine, alert, "resolved", at=START + 1)
    passes(engine, desk, clock=clock)
    assert got(desk) == []
    assert state_of(engine, alert, "incident.resolved") == state


def test_an_announced_incident_that_a_withheld_one_absorbs_ends_and_the_older_one_goes_on(engine, clock):
    desk, older, younger = two(), fire(engine, 1), fire(engine, 2)
    put(engine, older, "firing", state="withheld")
    put(engine, younger, "firing", at=START + 1)
    passes(engine, desk, clock=clock)
    put(engine, younger, "resolved", at=START + 2)
    put(engine, older, "updated-000001", at=START + 2)
    passes(engine, desk, clock=clock)
    put(engine, older, "updated-000002", at=START + 3)
    put(engine, older, "resolved", at=START + 4)
    passes(engine, desk, clock=clock)
    of_older = [n.event for n in desk.got if n.alert["id"] == older]
    assert of_older == ["firing", "updated", "resolved"]
    assert [n.event for n in desk.got if n.alert["id"] == younger] == ["firing", "resolved"]


@pytest.mark.parametrize(
    ("before", "end"),
    [("withheld", "withheld"), ("silenced", "withheld"), ("queued", "queued"), ("dispatched", "queued")],
)
def test_the_end_of_an_incident_of_which_any_message_was_told_is_told_though_a_replay_decides_it(engine, before, end):
    first = fire(engine)
    put(engine, first, "firing", state="withheld")
    put(engine, first, "updated-000001", state=before)
    alert = Alert(first, "Banks", "drift", "worse", "resolved", START, START, START, START, 0.5, 0.1, START, START, 4.0)
    incident = Incident("i", first, "ended", "worse", START, START, START, START, "warning", first, ended_at=START)
    said = Said("resolved", START, incident, (Joined(alert, "i", 1, "warning"),))
    with writing(engine) as connection:
        incidents.note(connection, [said], origin="replay", settings=1, deliver=False)
    assert state_of(engine, first, "incident.resolved") == end


def test_the_end_reaches_who_got_an_update_alone_and_changed_its_version_since(engine, clock):
    desk, alert = two(), fire(engine)
    put(engine, alert, "firing", state="withheld")
    put(engine, alert, "updated-000001", at=START + 1)
    passes(engine, desk, clock=clock)
    desk.version = 1
    put(engine, alert, "resolved", at=START + 2)
    passes(engine, desk, clock=clock)
    assert [n.event for n in desk.got if "incident" in n.alert] == ["firing", "resolved"]


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whoever_got_anything_of_an_incident_gets_its_end_and_nobody_else(tmp_path_factory, data):
    """Invariant: a receiver gets the end of an incident if and only if it got any earlier message about it.

    Whatever was withheld or silenced, in whatever passes it is dispatched, and however late.
    """
    engine = connect(f"sqlite:///{tmp_path_factory.mktemp('outbox')}/s.db", create=True)
    clock, desk, alert = Clock(), two(), fire(engine)
    clock.forward(data.draw(st.sampled_from([0, 7200]), label="late"))
    events = ["firing", *(f"updated-{n:06}" for n in range(1, data.draw(st.integers(1, 4), label="updates")))]
    for number, one in enumerate([*events, "resolved"]):
        fate = "queued" if one == "resolved" else data.draw(st.sampled_from(["queued", "withheld", "silenced"]))
        at = START + data.draw(st.sampled_from([0, number])) if number == len(events) else START
        put(engine, alert, one, state=fate, at=at)
        if data.draw(st.booleans(), label="dispatch now"):
            passes(engine, desk, clock=clock)
    passes(engine, desk, clock=clock, count=6)
    fates = [state_of(engine, alert, f"incident.{one}") for one in events]
    told = any(state in ("dispatched", "folded") for state in fates)
    assert ("resolved" in got(desk)) == told
    assert got(desk).count("resolved") <= 1
    assert not desk.got or got(desk)[-1] == "resolved"
    engine.dispose()


def test_what_was_told_before_incidents_reaches_receivers_of_every_version(engine, clock):
    old, new = Scripted("old"), two()
    fire(engine, 1)  # queued at the upgrade
    fire(engine, 2, state="folded")
    fire(engine, 2, "resolved")
    passes(engine, old, new, clock=clock)
    for receiver in (old, new):
        assert sorted((n.alert["id"][-1], n.event) for n in receiver.got) == [("1", "firing"), ("2", "resolved")]


def test_an_incident_that_ended_at_the_hour_of_its_last_update_is_folded_as_ended(engine, clock):
    desk, over, open_ = two(), fire(engine, 1), fire(engine, 2)
    put(engine, over, "firing")
    put(engine, over, "updated-000001", "resolved", at=START + 1)
    put(engine, open_, "firing")
    clock.forward(7200)
    passes(engine, desk, clock=clock)
    (notice,) = desk.got
    assert (notice.event, notice.alert["id"], notice.alert["folded_count"]) == ("firing", open_, 1)
    assert state_of(engine, over, "incident.resolved") == "folded"
    alone = fire(engine, 3)
    put(engine, alone, "firing")
    put(engine, alone, "updated-000001", "resolved", at=START + 1)
    passes(engine, desk, clock=clock)
    assert (desk.got[1].event, desk.got[1].alert["id"]) == ("resolved", alone)
    assert state_of(engine, alone, "incident.updated-000001") == "folded"


def test_what_is_due_is_read_without_a_scan_of_the_outbox(engine, clock):
    desk = two()
    for number in range(1, 4):
        put(engine, fire(engine, number), "firing", "updated-000001")
    dispatch(engine, [desk], clock)
    asked: list[tuple[str, Any]] = []

    def listen(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    with reading(engine) as connection:
        event.listen(engine, "before_cursor_execute", listen)
        assert [item.event for item in deliveries.due(connection, "new", clock(), 10)] == ["incident.firing"] * 3
        event.remove(engine, "before_cursor_execute", listen)
        plans = [
            str(step[3])
            for statement, parameters in asked
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    assert len(asked) == 2
    assert any("SEARCH outbox" in step for step in plans)
    scans = [step for step in plans if step.startswith("SCAN") and "VIRTUAL TABLE" not in step]
    assert not scans, "only the list of what is looked up is read from end to end"


def grouped(engine: Engine) -> tuple[str, str, str]:
    """Make an incident of two alerts, and one of another alert; return the alerts' ids."""
    first, second, other = fire(engine, 1), fire(engine, 2), fire(engine, 3)
    of_incident(engine, first, "firing")
    of_incident(engine, other, "firing")
    with writing(engine) as connection:
        a = schema.alerts.c
        for identity, members in (("aa-one", (first, second)), ("bb-two", (other,))):
            connection.execute(update(schema.alerts).where(a.id.in_(members)).values(group_id=identity))
            incident = Incident(
                identity, members[0], "open", "worse", START, START, START, START, "warning", members[0]
            )
            incidents._write(connection, incident, ("", 1, 1), origin="live", settings=1)
    return first, second, other


def test_resend_of_an_alert_or_an_incident_sends_what_is_parked_about_its_incident(engine, clock):
    first, second, _ = grouped(engine)
    away = two(refuses=lambda _: Undelivered("no", final=True))
    deliver_due(engine, [away], clock)
    for named_by in (second, "aa"):
        with writing(engine) as connection:
            alert, incident = incident_views.alert_or_incident(connection, named_by)
            named = {"alerts": [alert] if alert else [], "incidents": [incident] if incident else []}
            assert deliveries.resend(connection, clock(), receivers=["new"], **named) == 1
        assert [(r["alert"], r["event"]) for r in rows(engine, state="waiting")] == [(first, "incident.firing")]
        deliver_due(engine, [away], clock)
    with reading(engine) as connection:
        for unknown in ("cc", "", "00000000"):
            with pytest.raises(NoSuchAlert):
                incident_views.alert_or_incident(connection, unknown)


def test_a_message_about_an_incident_is_not_sent_again_after_a_later_one(engine, clock):
    alert = fire(engine)
    put(engine, alert, "firing", "updated-000001")
    wanted = deliveries.message_id(alert, "incident.updated-000001", "new")
    picky = two(refuses=lambda n: None if n.id == wanted else Undelivered("no", final=True))
    passes(engine, picky, clock=clock)
    put(engine, alert, "updated-000002", at=START + 1)
    passes(engine, picky, clock=clock)
    assert {r["event"]: r["state"] for r in rows(engine)} == {
        "incident.firing": "parked",
        "incident.updated-000001": "delivered",
        "incident.updated-000002": "parked",
    }
    with writing(engine) as connection:
        assert deliveries.resend(connection, clock(), receivers=["new"]) == 1
    assert [r["event"] for r in rows(engine, state="waiting")] == ["incident.updated-000002"]


@pytest.mark.postgres
def test_two_senders_whose_receiver_first_fails_for_both_try_again(postgres):
    engine = connect(postgres, create=True)
    failed = receivers.ReceiverState(failures=1, down_since=START)
    row = {"receiver": "one", "failures": 1, "down_since": START, "held_until": None, "last_error": "no"}
    try:
        with writing(engine) as connection:
            receivers.set_state(connection, "one", failed)
        with pytest.raises(Overtaken), writing(engine) as connection:  # as who did not see the other's row
            connection.execute(insert(schema.receivers).values(**row))
    finally:
        engine.dispose()


@pytest.mark.postgres
def test_postgresql_reads_what_is_due_and_resends_alike(postgres, clock):
    engine = connect(postgres, create=True)
    try:
        test_resend_of_an_alert_or_an_incident_sends_what_is_parked_about_its_incident(engine, clock)
    finally:
        engine.dispose()


def test_what_did_not_come_true_and_is_said_again_reaches_receivers_under_other_ids(
    engine: Engine, clock: Clock
) -> None:
    receiver = two()
    alert = fire(engine)
    steps = ("firing", "resolved", "firing-again", "updated-000001", "resolved-again")
    for number, step in enumerate(steps):
        put(engine, alert, step, at=START + number)
    passes(engine, receiver, clock=clock, count=len(steps))
    assert got(receiver) == ["firing", "resolved", "firing", "updated", "resolved"]
    assert len({notice.id for notice in receiver.got}) == len(steps)


def test_a_parked_message_of_what_is_said_again_is_sent_again_until_its_own_end(engine: Engine, clock: Clock) -> None:
    alert = fire(engine)
    d = schema.deliveries.c
    for number, step in enumerate(("firing", "resolved", "firing-again")):
        put(engine, alert, step, at=START + number, state="dispatched")
        values = {"alert_id": alert, "event": f"incident.{step}", "receiver": "new", "attempts": 1}
        state = "parked" if step == "firing-again" else "delivered"
        with writing(engine) as connection:
            connection.execute(insert(schema.deliveries).values(**values, state=state))
    with writing(engine) as connection:
        assert deliveries.resend(connection, START, receivers=["new"]) == 1
        connection.execute(update(schema.deliveries).where(d.state == "waiting").values(state="parked"))
    put(engine, alert, "resolved-again", at=START + 9, state="silenced")
    with writing(engine) as connection:
        assert deliveries.resend(connection, START, receivers=["new"]) == 0
