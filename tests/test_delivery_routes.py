"""Who hears of what, and when: routes, mute times with catch-up, silences, escalations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import Engine, delete, select

from foreshock.monitor.delivery import routes as routes_module
from foreshock.monitor.delivery import time_intervals
from foreshock.monitor.delivery.routes import Routing
from foreshock.monitor.delivery.sender import Sender
from foreshock.monitor.delivery.webhook import body
from foreshock.monitor.errors import Undelivered
from foreshock.monitor.store import deliveries, desk_actions, escalations, schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.units import HOUR, MINUTE
from foreshock.processes import wiring
from tests.delivering import (
    EVENING,
    NIGHT,
    NOON,
    Clock,
    Inbox,
    deliver,
    empty,
    new_store,
    put,
    put_alert,
    routing,
    states,
)

DIGEST = json.loads((Path(__file__).parents[1] / "docs" / "digest.schema.json").read_text())


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[Engine]:
    yield from new_store(tmp_path_factory.mktemp("routes"))


@pytest.fixture
def engine(store: Engine) -> Engine:
    empty(store)
    return store


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fires_at_night(engine: Engine, receivers: list[Inbox], clock: Clock, routes: Routing) -> None:
    """Let an incident fire at 23:00, and deliver what is due then."""
    clock.forward(11)
    put(engine, "aa", "firing", clock())
    deliver(engine, receivers, clock, routes)


MUTED = {"receivers": ["desk"], "mute_time_intervals": ["night"]}


# Routes


def test_each_receiver_hears_of_what_its_routes_take_and_of_nothing_else(engine, clock):
    desk, boss, rest = Inbox("desk"), Inbox("boss"), Inbox("rest")
    all_ = [desk, boss, rest]
    routes = routing(
        all_,
        {"severities": ["critical"], "receivers": ["boss"], "continue": True},
        {"topics": ["Banks"], "receivers": ["desk"]},
    )
    put(engine, "aa", "firing", NOON)
    put(engine, "bb", "firing", NOON, topic="Gold")
    put(engine, "cc", "firing", NOON, severity="critical")
    deliver(engine, all_, clock, routes)
    assert desk.heard() == [("firing", "aa"), ("firing", "cc")]
    assert boss.heard() == [("firing", "cc")]
    assert rest.heard() == [("firing", "bb")]
    put(engine, "aa", "resolved", NOON + 1)
    deliver(engine, all_, clock, routes)
    assert desk.heard()[2:] == [("resolved", "aa")]
    assert (len(boss.notices), len(rest.notices)) == (1, 1)


def test_an_incident_that_becomes_graver_is_routed_anew(engine, clock):
    """A receiver of critical incidents alone gets `firing` when it becomes critical, and its end."""
    desk, boss = Inbox("desk"), Inbox("boss")
    routes = routing(
        [desk, boss], {"severities": ["critical"], "receivers": ["boss"], "continue": True}, {"receivers": ["desk"]}
    )
    put(engine, "aa", "firing", NOON)
    put(engine, "aa", "updated-000001", NOON + 1)
    deliver(engine, [desk, boss], clock, routes)
    assert boss.heard() == []
    put(engine, "aa", "updated-000002", NOON + 2, severity="critical")
    deliver(engine, [desk, boss], clock, routes)
    put(engine, "aa", "updated-000003", NOON + 3, severity="critical")
    put(engine, "aa", "resolved", NOON + 4, severity="critical")
    deliver(engine, [desk, boss], clock, routes)
    assert [event for event, _ in boss.heard()] == ["firing", "updated", "resolved"]
    assert [event for event, _ in desk.heard()] == ["firing", "updated", "updated", "updated", "resolved"]
    opening = json.loads(body(boss.notices[0]))
    assert (opening["type"], opening["data"]["severity"]) == ("incident.firing", "critical")


def test_whoever_heard_of_an_incident_stays_with_it_although_the_hours_of_the_route_are_over(engine, clock):
    day, night = Inbox("day"), Inbox("night")
    routes = routing([day, night], {"hours": ["night"], "receivers": ["night"]}, {"receivers": ["day"]})
    put(engine, "aa", "firing", clock())
    deliver(engine, [day, night], clock, routes)
    clock.forward(11)
    put(engine, "aa", "updated-000001", clock())
    put(engine, "bb", "firing", clock())
    deliver(engine, [day, night], clock, routes)
    assert day.heard() == [("firing", "aa"), ("updated", "aa")]
    assert sorted(night.heard()) == [("firing", "aa"), ("firing", "bb")]
    clock.forward(11)
    put(engine, "aa", "resolved", clock())
    put(engine, "bb", "resolved", clock())
    deliver(engine, [day, night], clock, routes)
    assert day.heard()[2:] == [("resolved", "aa")]
    assert sorted(night.heard()[2:]) == [("resolved", "aa"), ("resolved", "bb")]


def test_who_never_heard_of_an_incident_hears_nothing_of_its_end(engine, clock):
    day, night = Inbox("day"), Inbox("night")
    routes = routing([day, night], {"hours": ["night"], "receivers": ["night"]}, {"receivers": []})
    put(engine, "aa", "firing", clock())
    deliver(engine, [day, night], clock, routes)
    clock.forward(11)
    put(engine, "aa", "resolved", clock())
    deliver(engine, [day, night], clock, routes)
    assert (day.heard(), night.heard()) == ([], [])


def test_receivers_of_version_1_are_routed_by_their_alerts(engine, clock):
    old, boss = Inbox("old", version=1), Inbox("boss", version=1)
    routes = routing([old, boss], {"severities": ["critical"], "receivers": ["boss"]})
    for name, severity in (("aa", "critical"), ("bb", "info")):
        put(engine, name, "firing", NOON, severity=severity)
        put_alert(engine, name, "firing", NOON, severity=severity)
        put_alert(engine, name, "resolved", NOON + 1, severity=severity)
    deliver(engine, [old, boss], clock, routes)
    assert boss.heard() == [("firing", "aa"), ("resolved", "aa")]
    assert old.heard() == [("firing", "bb"), ("resolved", "bb")]


def test_what_is_decided_late_is_folded_for_those_who_would_hear_of_all_of_it(engine, clock):
    desk, boss = Inbox("desk"), Inbox("boss")
    routes = routing(
        [desk, boss], {"severities": ["critical"], "receivers": ["boss"], "continue": True}, {"receivers": ["desk"]}
    )
    for name, severity in (("aa", "critical"), ("bb", "critical"), ("cc", "info"), ("dd", "info")):
        put(engine, name, "firing", NOON - 5 * HOUR, severity=severity)
    put(engine, "dd", "resolved", NOON - 4 * HOUR)
    deliver(engine, [desk, boss], clock, routes)
    folded = lambda n: (n.alert["id"][:2], [one["title"][:2] for one in n.alert["folded"]])  # noqa: E731
    assert sorted(map(folded, desk.notices)) == [("bb", ["aa"]), ("cc", ["dd"])]
    assert list(map(folded, boss.notices)) == [("bb", ["aa"])]
    for name in ("aa", "cc", "dd"):
        if name != "dd":
            put(engine, name, "resolved", NOON)
    deliver(engine, [desk, boss], clock, routes)
    assert sorted(desk.heard()[2:]) == [("resolved", "aa"), ("resolved", "cc")]
    assert boss.heard()[1:] == [("resolved", "aa")], "also of one that was reported as part of another"


def test_what_is_decided_late_and_let_through_is_not_folded_into_a_message_that_is_muted(engine, clock):
    """Both go to the same receiver, and quiet hours keep back the newer one alone."""
    desk, other = Inbox("desk"), Inbox("other")
    quiet = [{"receivers": ["desk"], "time_intervals": ["night"], "except_severities": ["critical"]}]
    routes = routing([desk, other], quiet=quiet)
    clock.forward(11)
    put(engine, "aa", "firing", clock() - 3 * HOUR, severity="critical")
    put(engine, "bb", "firing", clock() - 2 * HOUR)
    deliver(engine, [desk, other], clock, routes)
    assert desk.heard() == [("firing", "aa")]
    assert states(engine, "desk") == {"firing aa": "delivered", "firing bb": "muted"}
    assert sorted(other.heard()) == [("firing", "aa"), ("firing", "bb")]
    clock.forward(9)
    deliver(engine, [desk, other], clock, routes)
    assert desk.heard()[1:] == [("firing", "bb")]


# Mute times and quiet hours


def test_what_fires_and_ends_while_muted_is_one_digest_when_the_mute_time_ends(engine, clock):
    desk, other = Inbox("desk"), Inbox("other")
    routes = routing([desk, other], MUTED | {"continue": True})
    put(engine, "aa", "firing", clock())
    deliver(engine, [desk, other], clock, routes)
    clock.forward(10.5)  # 22:30
    put(engine, "aa", "updated-000001", clock())
    put(engine, "bb", "firing", clock())
    put(engine, "cc", "firing", clock(), severity="critical")
    deliver(engine, [desk, other], clock, routes)
    clock.forward(2)
    put(engine, "aa", "resolved", clock())
    put(engine, "bb", "resolved", clock())
    deliver(engine, [desk, other], clock, routes)
    clock.forward(6.49)  # 06:59:24
    deliver(engine, [desk, other], clock, routes)
    assert desk.heard() == [("firing", "aa")]
    assert len(other.notices) == 6, "a mute time is one of a route"
    clock.forward(0.02)
    deliver(engine, [desk, other], clock, routes)
    assert desk.heard()[1:] == [("digest", "firing cc", "resolved aa", "resolved bb")]
    sent = json.loads(body(desk.notices[-1]))
    jsonschema.validate(sent, DIGEST)
    assert sent["data"]["sentence"] == "While messages were kept back: 1 incident fired, 2 ended."
    put(engine, "cc", "resolved", clock(), severity="critical")
    deliver(engine, [desk, other], clock, routes)
    assert desk.heard()[2:] == [("resolved", "cc")]


def test_one_message_that_was_muted_is_sent_as_it_is(engine, clock):
    desk = Inbox("desk")
    routes = routing([desk], MUTED)
    fires_at_night(engine, [desk], clock, routes)
    put(engine, "aa", "updated-000001", clock() + 1)
    deliver(engine, [desk], clock, routes)
    assert states(engine, "desk") == {"firing aa": "superseded", "updated-000001 aa": "muted"}
    with reading(engine) as connection:
        (until,) = connection.execute(
            select(schema.deliveries.c.next_attempt_at).where(schema.deliveries.c.state == "muted")
        ).scalars()
    assert until == NOON + 19 * HOUR
    clock.forward(9)
    deliver(engine, [desk], clock, routes)
    assert desk.heard() == [("firing", "aa")], "the newest, and the first that the receiver gets"
    assert desk.notices[0].alert["incident"]["title"] == "aa updated-000001"


def test_a_replay_that_ends_says_what_is_muted_and_until_when(engine, clock):
    desk = Inbox("desk")
    clock.forward(11)
    for name in ("aa", "bb"):
        put(engine, name, "firing", clock())
    deliver(engine, [desk], clock, routing([desk], MUTED))
    with reading(engine) as connection:
        assert deliveries.unsettled(connection, ["desk"]) == 0, "nobody waits for the morning"
        assert wiring.kept_back(connection) == [
            "Messages that are muted for desk: 2, until 2026-03-03T06:00:00Z. `run` or `monitor` delivers them then."
        ]


def test_the_end_of_a_mute_time_is_searched_once_for_all_that_it_keeps_back(engine, clock, monkeypatch):
    searched = []

    def end(active: Any, at: int) -> int | None:
        searched.append(at)
        return time_intervals.end(active, at)

    monkeypatch.setattr(routes_module, "end", end)
    desk, other = Inbox("desk"), Inbox("other")
    routes = routing([desk, other], MUTED)
    clock.forward(11)
    for name in ("aa", "bb", "cc", "dd"):
        put(engine, name, "firing", clock())
    deliver(engine, [desk, other], clock, routes)
    clock.forward(1)
    put(engine, "ee", "firing", clock())
    deliver(engine, [desk, other], clock, routes)
    assert len(searched) == 1
    with reading(engine) as connection:
        until = set(connection.execute(select(schema.deliveries.c.next_attempt_at)).scalars())
    assert until == {NOON + 19 * HOUR}


def test_adjacent_mute_times_are_one(engine, clock):
    desk = Inbox("desk")
    routes = routing([desk], {"receivers": ["desk"], "mute_time_intervals": ["evening", "night"]})
    clock.forward(8)  # 20:00
    put(engine, "aa", "firing", clock())
    for _ in range(10):
        deliver(engine, [desk], clock, routes)
        clock.forward(1)
    assert desk.heard() == []
    clock.forward(1)
    deliver(engine, [desk], clock, routes)
    assert desk.heard() == [("firing", "aa")]


def test_quiet_hours_hold_for_a_receiver_whatever_its_route_and_let_through_what_is_grave(engine, clock):
    desk, boss = Inbox("desk"), Inbox("boss")
    quiet = ({"receivers": ["boss"], "time_intervals": ["night"], "except_severities": ["critical"]},)
    routes = routing([desk, boss], quiet=quiet)
    clock.forward(12)
    put(engine, "aa", "firing", clock())
    put(engine, "bb", "firing", clock(), severity="critical")
    deliver(engine, [desk, boss], clock, routes)
    assert desk.heard() == [("firing", "aa"), ("firing", "bb")]
    assert boss.heard() == [("firing", "bb")]
    put(engine, "aa", "updated-000001", clock() + 1, severity="critical")
    deliver(engine, [desk, boss], clock, routes)
    assert boss.heard()[1:] == [("firing", "aa")], "it became graver: what was kept back comes with it, once"
    clock.forward(12)
    deliver(engine, [desk, boss], clock, routes)
    assert len(boss.notices) == 2


def test_a_receiver_that_takes_no_digests_gets_what_was_muted_one_by_one(engine, clock):
    """A service opens and closes an entry for each incident, and version 1 has no digests."""
    service, old = Inbox("service", takes_digests=False), Inbox("old", version=1)
    routes = routing([service, old], {"receivers": ["service", "old"], "mute_time_intervals": ["night"]})
    put(engine, "aa", "firing", clock())
    put_alert(engine, "aa", "firing", clock())
    deliver(engine, [service, old], clock, routes)
    clock.forward(11)
    for name, event in (("aa", "resolved"), ("bb", "firing"), ("cc", "firing"), ("cc", "resolved")):
        put(engine, name, event, clock())
        put_alert(engine, name, event, clock())
    deliver(engine, [service, old], clock, routes)
    clock.forward(9)
    deliver(engine, [service, old], clock, routes)
    for receiver in (service, old):
        assert receiver.heard()[0] == ("firing", "aa")
        assert sorted(receiver.heard()[1:]) == [("firing", "bb"), ("resolved", "aa"), ("resolved", "cc")]


def test_more_than_a_digest_holds_are_several_digests(engine, clock):
    desk = Inbox("desk")
    routes = routing([desk], MUTED)
    clock.forward(11)
    names = [f"{n:02x}" for n in range(130)]
    for name in names:
        put(engine, name, "firing", clock())
    deliver(engine, [desk], clock, routes)
    clock.forward(9)
    deliver(engine, [desk], clock, routes)
    assert [len(one) - 1 for one in desk.heard()] == [100, 30]
    assert sorted(text[-2:] for one in desk.heard() for text in one[1:]) == names


def test_what_happens_next_waits_for_a_digest_that_is_not_there_yet(engine, clock):
    """Order: an end does not overtake the digest with the beginning."""
    desk = Inbox("desk")
    routes = routing([desk], MUTED)
    clock.forward(11)
    for name in ("aa", "bb"):
        put(engine, name, "firing", clock())
    deliver(engine, [desk], clock, routes)
    clock.forward(9)
    desk.fails = Undelivered("answered 422", status=422)
    deliver(engine, [desk], clock, routes)
    desk.fails = None
    put(engine, "aa", "resolved", clock())
    put(engine, "cc", "firing", clock())
    deliver(engine, [desk], clock, routes)
    assert desk.heard() == [("firing", "cc")], "the digest waits for its next attempt, and with it the end"
    clock.forward(0.01)
    deliver(engine, [desk], clock, routes)
    assert desk.heard()[1:] == [("digest", "firing aa", "firing bb"), ("resolved", "aa")]


def test_a_parked_digest_is_resent_as_things_stand_now(engine, clock):
    desk = Inbox("desk")
    routes = routing([desk], MUTED)
    clock.forward(11)
    for name in ("aa", "bb", "cc"):
        put(engine, name, "firing", clock())
    deliver(engine, [desk], clock, routes)
    clock.forward(9)
    desk.fails = Undelivered("answered 410", final=True)
    deliver(engine, [desk], clock, routes)
    desk.fails = None
    put(engine, "aa", "resolved", clock())
    deliver(engine, [desk], clock, routes)
    assert desk.heard() == [("resolved", "aa")]
    with writing(engine) as connection:
        assert deliveries.resend(connection, clock(), receivers=["desk"]) == 1
        assert deliveries.resend(connection, clock(), receivers=["desk"]) == 0
    deliver(engine, [desk], clock, routes)
    assert desk.heard()[1:] == [("digest", "firing bb", "firing cc")], "aa is not opened again"


def test_a_mute_time_that_is_taken_out_of_the_settings_is_over(engine, clock):
    desk = Inbox("desk")
    clock.forward(11)
    put(engine, "aa", "firing", clock())
    deliver(engine, [desk], clock, routing([desk], MUTED))
    deliver(engine, [desk], clock, routing([desk], {"receivers": ["desk"]}, intervals=[EVENING]))
    assert desk.heard() == [("firing", "aa")]


def test_what_is_muted_for_a_receiver_that_left_the_settings_is_parked(engine, clock):
    desk, other = Inbox("desk"), Inbox("other")
    clock.forward(11)
    put(engine, "aa", "firing", clock())
    deliver(engine, [desk, other], clock, routing([desk, other], MUTED))
    with Sender(engine, [other], now=clock) as sender:
        sender.drain()
    assert states(engine, "desk") == {"firing aa": "parked"}


def test_an_incident_that_lasts_a_month_under_nightly_mute_times_is_one_story_in_order(engine, clock):
    desk, always = Inbox("desk"), Inbox("always")
    routes = routing([desk, always], MUTED | {"continue": True})
    put(engine, "aa", "firing", clock())
    deliver(engine, [desk, always], clock, routes)
    for night in range(30):
        clock.forward(12)
        for number in (2 * night + 1, 2 * night + 2):
            put(engine, "aa", f"updated-{number:06}", clock() + number)
        deliver(engine, [desk, always], clock, routes)
        clock.forward(12)
        deliver(engine, [desk, always], clock, routes)
    clock.forward(13)
    put(engine, "aa", "resolved", clock())
    deliver(engine, [desk, always], clock, routes)
    assert desk.heard()[-1] == ("updated", "aa")
    clock.forward(12)
    deliver(engine, [desk, always], clock, routes)
    for receiver in (desk, always):
        events = [event for event, _ in receiver.heard()]
        assert (events[0], events[-1]) == ("firing", "resolved")
        assert set(events[1:-1]) == {"updated"}
        titles = [notice.alert["incident"]["title"] for notice in receiver.notices]
        assert len(titles) == len(set(titles)), "none twice"
        assert titles[1:-1] == sorted(titles[1:-1])
    assert (len(always.notices), len(desk.notices)) == (62, 32), "of what is muted in a night, the last is sent"


# Silences


def test_the_end_of_an_alert_that_was_announced_is_delivered_under_a_silence_to_every_version(engine, clock):
    old, new = Inbox("old", version=1), Inbox("new")
    put(engine, "aa", "firing", clock())
    put_alert(engine, "aa", "firing", clock())
    deliver(engine, [old, new], clock)
    with writing(engine) as connection:
        desk_actions.silence(connection, "Banks", until=clock() + HOUR, by="Ada", now=clock())
    put(engine, "aa", "resolved", clock() + 1)
    put_alert(engine, "aa", "resolved", clock() + 1)
    put(engine, "bb", "firing", clock() + 1)
    put_alert(engine, "bb", "firing", clock() + 1)
    deliver(engine, [old, new], clock)
    for receiver in (old, new):
        assert receiver.heard() == [("firing", "aa"), ("resolved", "aa")]


# Escalations

ESCALATES = {"receivers": ["desk"], "escalate_after": "15m", "escalate_to": ["boss"]}


def acknowledge(engine: Engine, alert: str, now: int) -> None:
    with writing(engine) as connection:
        desk_actions.acknowledge(connection, alert, by="Ada", now=now)


def escalated(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(select(schema.escalations.c.state)).scalars())


def test_what_nobody_acknowledges_reaches_further_receivers_once_also_after_a_restart(engine, clock):
    desk, boss = Inbox("desk"), Inbox("boss")
    routes = routing([desk, boss], ESCALATES)
    put(engine, "aa", "firing", clock())
    put(engine, "bb", "firing", clock())
    deliver(engine, [desk, boss], clock, routes)
    acknowledge(engine, "bb000000-0000-0000-0000-000000000000", clock() + MINUTE)
    clock.forward(0.2)
    put(engine, "aa", "updated-000001", clock())
    deliver(engine, [desk, boss], clock, routes)
    assert boss.heard() == []
    clock.forward(0.1)
    for _ in range(3):  # each pass knows only what the store knows, as a new process does
        deliver(engine, [desk, boss], clock, routing([desk, boss], ESCALATES))
    assert boss.heard() == [("firing", "aa")]
    assert boss.notices[0].alert["incident"]["title"] == "aa updated-000001", "as it stands now"
    assert json.loads(body(boss.notices[0]))["data"]["escalated"] is True
    assert "escalated" not in json.loads(body(desk.notices[0]))["data"]
    put(engine, "aa", "resolved", clock())
    deliver(engine, [desk, boss], clock, routes)
    assert boss.heard()[1:] == [("resolved", "aa")], "who heard of it hears of its end"
    assert sorted(escalated(engine)) == ["acknowledged", "escalated"]


@pytest.mark.parametrize("what", ["ended", "silenced", "gone"])
def test_nothing_escalates_that_ended_that_the_desk_silenced_or_whose_route_is_gone(engine, clock, what):
    desk, boss = Inbox("desk"), Inbox("boss")
    routes = routing([desk, boss], ESCALATES)
    put(engine, "aa", "firing", clock())
    deliver(engine, [desk, boss], clock, routes)
    if what == "ended":
        put(engine, "aa", "resolved", clock())
    elif what == "silenced":
        with writing(engine) as connection:
            desk_actions.silence(connection, "Banks", until=clock() + 2 * HOUR, by="Ada", now=clock())
    else:
        routes = routing([desk, boss], {"name": "other", "receivers": ["desk", "boss"]})
    clock.forward(1)
    deliver(engine, [desk, boss], clock, routes)
    assert boss.heard() == []
    assert "waiting" not in escalated(engine)
    with reading(engine) as connection:
        assert not escalations.has_due(connection, clock())


def test_who_heard_of_an_incident_already_is_not_told_again_by_an_escalation(engine, clock):
    desk, boss = Inbox("desk"), Inbox("boss")
    routes = routing([desk, boss], ESCALATES | {"receivers": ["desk", "boss"]})
    put(engine, "aa", "firing", clock())
    deliver(engine, [desk, boss], clock, routes)
    clock.forward(1)
    deliver(engine, [desk, boss], clock, routes)
    assert boss.heard() == [("firing", "aa")]


def test_an_acknowledgement_from_before_an_incident_became_graver_does_not_stop_the_graver_route(engine, clock):
    desk, boss, chief = Inbox("desk"), Inbox("boss"), Inbox("chief")
    grave = {"severities": ["critical"], "receivers": ["boss"], "escalate_after": "15m", "escalate_to": ["chief"]}
    routes = routing([desk, boss, chief], grave, {"receivers": ["desk"]})
    alert = put(engine, "aa", "firing", clock())
    deliver(engine, [desk, boss, chief], clock, routes)
    acknowledge(engine, alert, clock())
    clock.forward(24)
    put(engine, "aa", "updated-000001", clock(), severity="critical")
    deliver(engine, [desk, boss, chief], clock, routes)
    assert boss.heard() == [("firing", "aa")]
    clock.forward(1)
    deliver(engine, [desk, boss, chief], clock, routes)
    assert chief.heard() == [("firing", "aa")]


def test_what_is_muted_does_not_escalate_before_anybody_heard(engine, clock):
    desk, boss = Inbox("desk"), Inbox("boss")
    routes = routing([desk, boss], ESCALATES | {"mute_time_intervals": ["night"]})
    fires_at_night(engine, [desk, boss], clock, routes)
    clock.forward(8)
    deliver(engine, [desk, boss], clock, routes)
    assert (desk.heard(), boss.heard()) == ([("firing", "aa")], [])
    clock.forward(0.3)
    deliver(engine, [desk, boss], clock, routes)
    assert boss.heard() == [("firing", "aa")]


def test_an_incident_that_escalates_does_not_bring_what_was_folded_into_its_message(engine, clock):
    desk, boss = Inbox("desk"), Inbox("boss")
    routes = routing([desk, boss], ESCALATES)
    put(engine, "aa", "firing", clock() - 3 * HOUR)
    put(engine, "bb", "firing", clock() - 2 * HOUR)
    deliver(engine, [desk, boss], clock, routes)
    assert [one["title"][:2] for one in desk.notices[0].alert["folded"]] == ["aa"]
    clock.forward(1)
    deliver(engine, [desk, boss], clock, routes)
    assert sorted(boss.heard()) == [("firing", "aa"), ("firing", "bb")]
    assert not any("folded" in notice.alert for notice in boss.notices)


def test_a_wait_begins_when_a_later_message_is_not_muted(engine, clock):
    """It became graver at night, so that quiet hours let it through."""
    desk, boss = Inbox("desk"), Inbox("boss")
    quiet = [{"receivers": ["desk"], "time_intervals": ["night"], "except_severities": ["critical"]}]
    routes = routing([desk, boss], ESCALATES, quiet=quiet)
    fires_at_night(engine, [desk, boss], clock, routes)
    clock.forward(1)
    put(engine, "aa", "updated-000001", clock(), severity="critical")
    deliver(engine, [desk, boss], clock, routes)
    assert (desk.heard(), boss.heard()) == ([("firing", "aa")], [])
    clock.forward(0.3)
    deliver(engine, [desk, boss], clock, routes)
    assert boss.heard() == [("firing", "aa")]
    assert escalated(engine) == ["escalated"]


def test_a_wait_looks_at_the_receivers_of_its_route_alone(engine, clock):
    """Neither what an archive hears at night begins it, nor what is handed out to it in the evening."""
    desk, boss, archive = all_ = [Inbox("desk"), Inbox("boss"), Inbox("archive")]
    route = ESCALATES | {"mute_time_intervals": ["night"], "continue": True}
    keeps = {"receivers": ["archive"], "mute_time_intervals": ["evening"]}
    routes = routing(all_, route, keeps, intervals=[NIGHT, EVENING | {"times": ["18:00-23:30"]}])
    clock.forward(11)
    put(engine, "aa", "firing", clock())  # muted for both
    deliver(engine, all_, clock, routes)
    clock.forward(1)  # no longer for the archive
    deliver(engine, all_, clock, routes)
    put(engine, "bb", "firing", clock())
    deliver(engine, all_, clock, routes)
    clock.forward(1)
    deliver(engine, all_, clock, routes)
    assert archive.heard() == [("firing", "aa"), ("firing", "bb")]
    assert (desk.heard(), boss.heard()) == ([], [])
    clock.forward(6)
    deliver(engine, all_, clock, routes)
    assert desk.heard() == [("digest", "firing aa", "firing bb")]
    assert boss.heard() == []
    clock.forward(0.3)
    deliver(engine, all_, clock, routes)
    assert sorted(boss.heard()) == [("firing", "aa"), ("firing", "bb")]


def test_an_escalation_does_not_wait_for_a_receiver_that_left_the_settings(engine, clock):
    desk, boss = Inbox("desk"), Inbox("boss")
    routes = routing([desk, boss], ESCALATES | {"name": "desk", "mute_time_intervals": ["night"]})
    fires_at_night(engine, [desk, boss], clock, routes)
    changed = routing([boss], ESCALATES | {"name": "desk", "receivers": [], "mute_time_intervals": ["night"]})
    with Sender(engine, [boss], now=clock, routing=changed) as sender:
        sender.drain()
    clock.forward(0.3)
    deliver(engine, [boss], clock, changed)
    assert boss.heard() == [("firing", "aa")]


def test_an_escalation_of_which_no_message_is_kept_is_not_called_acknowledged(engine, clock):
    desk, boss = Inbox("desk"), Inbox("boss")
    routes = routing([desk, boss], ESCALATES)
    put(engine, "aa", "firing", clock())
    deliver(engine, [desk, boss], clock, routes)
    with writing(engine) as connection:
        connection.execute(delete(schema.outbox))
    clock.forward(1)
    deliver(engine, [desk, boss], clock, routes)
    assert (boss.heard(), escalated(engine)) == ([], ["gone"])


def test_an_escalation_waits_for_the_end_of_quiet_hours(engine, clock):
    desk, boss = Inbox("desk"), Inbox("boss")
    routes = routing([desk, boss], ESCALATES, quiet=[{"receivers": ["boss"], "time_intervals": ["night"]}])
    fires_at_night(engine, [desk, boss], clock, routes)
    clock.forward(1)
    deliver(engine, [desk, boss], clock, routes)
    assert (desk.heard(), boss.heard()) == ([("firing", "aa")], [])
    clock.forward(7)
    deliver(engine, [desk, boss], clock, routes)
    assert boss.heard() == [("firing", "aa")]
    assert boss.notices[0].alert["escalated"] is True


@pytest.mark.postgres
def test_postgresql_routes_mutes_and_escalates_alike(postgres, clock: Any):
    engine = connect(postgres, create=True)
    try:
        test_what_fires_and_ends_while_muted_is_one_digest_when_the_mute_time_ends(engine, Clock())
        empty(engine)
        test_what_nobody_acknowledges_reaches_further_receivers_once_also_after_a_restart(engine, Clock())
        empty(engine)
        test_a_parked_digest_is_resent_as_things_stand_now(engine, Clock())
    finally:
        engine.dispose()
