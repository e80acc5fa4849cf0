"""What receivers can rely on, whatever routes, mute times, silences, delays and crashes there were.

Invariants, for each receiver, of what arrived (a message that was repeated after a crash has the id of the first):

1. If anything about an incident arrived, its end arrives, once, and nothing after it.
2. No message about an incident arrives twice, by itself or as part of a digest.
3. What arrives about an incident is in the order in which it was decided.
4. The first that arrives is that it fires, or that it ended meanwhile.
5. What the store calls delivered, or carried by another message, arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from foreshock.monitor.delivery.sender import Retries, deliver_to, dispatch
from foreshock.monitor.errors import Undelivered
from foreshock.monitor.store import deliveries, desk_actions, outbox, schema
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.units import DAY, HOUR
from tests.delivering import NOON, Clock, Inbox, empty, new_store, put, put_alert, routing

pytestmark = pytest.mark.slow

NAMES = ("aa", "bb", "cc")
TOPICS = {"aa": "Banks", "bb": "Banks", "cc": "Gold"}
LEVELS = ("info", "warning", "critical")
PATIENT = Retries(attempts=1_000, gives_up_after=1_000 * HOUR)
"""Nothing is parked here: what is parked is visible, and sent again when somebody asks for it."""


class Crash(Exception):
    """The process ends here."""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[Engine]:
    yield from new_store(tmp_path_factory.mktemp("promise"))


routes = st.lists(
    st.fixed_dictionaries(
        {"receivers": st.lists(st.sampled_from(["desk", "boss", "service", "old"]), max_size=3, unique=True)},
        optional={
            "topics": st.just(["Banks"]),
            "severities": st.sampled_from([["critical"], ["info", "warning"]]),
            "hours": st.just(["night"]),
            "continue": st.booleans(),
            "mute_time_intervals": st.sampled_from([["night"], ["evening"], ["evening", "night"]]),
        },
    ),
    max_size=3,
)
escalation = st.fixed_dictionaries(
    {"receivers": st.just(["desk"]), "continue": st.just(True), "escalate_after": st.just("30m")}
    | {"escalate_to": st.just(["boss"])}
)
quiet = st.lists(
    st.fixed_dictionaries(
        {"time_intervals": st.just(["night"]), "receivers": st.sampled_from([["desk"], ["boss", "old"]])},
        optional={"except_severities": st.just(["critical"])},
    ),
    max_size=1,
)
TYPICAL: Any = (
    [],
    [
        {"receivers": ["desk", "old"], "mute_time_intervals": ["night"], "continue": True},
        {"severities": ["critical"], "receivers": ["boss"], "continue": True},
        {"receivers": ["boss", "service"]},
    ],
    [{"time_intervals": ["night"], "receivers": ["boss"], "except_severities": ["critical"]}],
)
QUIET = [{"time_intervals": ["night"], "receivers": ["desk"], "except_severities": ["critical"]}]
settings_ = st.one_of(st.tuples(st.lists(escalation, max_size=1), routes, quiet), st.just(TYPICAL))
steps = st.lists(
    st.one_of(
        *[st.tuples(st.just("news"), st.sampled_from(NAMES), st.booleans())] * 3,
        st.tuples(st.just("end"), st.sampled_from(NAMES)),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 0.6, 5, 9])),
        st.tuples(st.just("silence"), st.sampled_from(["Banks", "Gold"]), st.sampled_from([1, 8])),
        st.tuples(st.just("acknowledge"), st.sampled_from(NAMES)),
        st.tuples(st.just("settings"), settings_),
        st.tuples(st.just("down"), st.sampled_from(["desk", "service"])),
        st.tuples(st.just("up")),
        st.tuples(st.just("a night"), st.permutations(NAMES), st.sampled_from([None, "desk", "boss"])),
        st.tuples(st.just("late"), st.permutations(NAMES), st.lists(st.booleans(), min_size=3, max_size=3)),
        st.tuples(st.just("refuse"), st.sampled_from(["desk", "boss", "service", "old"])),
        st.tuples(st.just("crash while dispatching"), st.integers(0, 2)),
        st.tuples(st.just("crash after sending")),
    ),
    min_size=4,
    max_size=16,
)


class World:
    """A store, its receivers and what happens to them."""

    def __init__(self, engine: Engine, given_: Any) -> None:
        self.engine = engine
        self.clock = Clock(NOON + 11 * HOUR)  # at night
        self.inboxes = [Inbox("desk"), Inbox("boss"), Inbox("service", takes_digests=False), Inbox("old", version=1)]
        self.number: dict[str, int] = {}
        self.level: dict[str, int] = {}
        self.ended: set[str] = set()
        self.configure(given_)

    def configure(self, given_: Any) -> None:
        first, others, quiet_hours = given_
        self.routes = routing(self.inboxes, *first, *others, quiet=quiet_hours)

    def news(self, name: str, graver: bool = False) -> None:
        if name in self.ended:
            return
        self.number[name] = self.number.get(name, -1) + 1
        self.level[name] = min(self.level.get(name, 0) + graver, 2)
        event = "firing" if self.number[name] == 0 else f"updated-{self.number[name]:06}"
        self._put(name, event)

    def end(self, name: str) -> None:
        if name in self.number and name not in self.ended:
            self.ended.add(name)
            self._put(name, "resolved")

    def _put(self, name: str, event: str) -> None:
        self.clock.now += 1
        about: dict[str, Any] = {"topic": TOPICS[name], "severity": LEVELS[self.level[name]]}
        put(self.engine, name, event, self.clock(), **about)
        if not event.startswith("updated"):
            put_alert(self.engine, name, event, self.clock(), **about)

    def turn(self) -> None:
        """One pass of a sender."""
        dispatch(self.engine, self.inboxes, self.clock, routing=self.routes)
        for inbox in self.inboxes:
            deliver_to(self.engine, inbox, self.clock, None, PATIENT, lambda: False)

    def do(self, step: tuple[Any, ...]) -> None:
        what, *how = step
        if what == "news":
            self.news(*how)
        elif what == "end":
            self.end(*how)
        elif what == "wait":
            self.clock.forward(*how)
        elif what == "silence":
            now = self.clock()
            with writing(self.engine) as connection:
                desk_actions.silence(connection, how[0], until=now + how[1] * HOUR, by="Ada", now=now)
        elif what == "acknowledge" and how[0] in self.number:
            with writing(self.engine) as connection:
                alert = f"{how[0]}000000-0000-0000-0000-000000000000"
                desk_actions.acknowledge(connection, alert, by="Ada", now=self.clock())
        elif what == "settings":
            self.configure(*how)
        elif what == "down":
            for inbox in self.inboxes:
                inbox.fails = Undelivered("no answer", receiver_down=True) if inbox.name == how[0] else inbox.fails
        elif what == "a night":
            self.clock.now += (NOON + 11 * HOUR - self.clock.now) % DAY
            for name in how[0][:2]:
                self.news(name)
            self.turn()
            if how[1] is not None:
                self.do(("refuse", how[1]))
            self.clock.forward(9)
            self.turn()
            self.end(how[0][0])
        elif what == "late":  # nothing was dispatched for two hours, in which some became graver
            for name, graver in zip(*how, strict=True):
                self.news(name, graver)
                self.news(name, graver)
            self.clock.forward(2)
        elif what == "refuse":
            for inbox in self.inboxes:
                inbox.refuses_next = inbox.refuses_next or inbox.name == how[0]
        elif what == "up":
            for inbox in self.inboxes:
                inbox.fails = None
        elif what == "crash while dispatching":
            works, done = outbox._hand_out, [0]

            def hand_out(*args: Any, **more: Any) -> None:
                done[0] += 1
                if done[0] > how[0]:
                    raise Crash
                works(*args, **more)

            with suppress(Crash), patch.object(outbox, "_hand_out", hand_out):
                self.turn()
        elif what == "crash after sending":
            with suppress(Crash), patch.object(deliveries, "settle", side_effect=Crash):
                self.turn()


def arrived(inbox: Inbox) -> dict[str, list[tuple[str, int]]]:
    """Return what arrived of each incident, in order: the event, and its place among all of the incident.

    The event is `open` if the incident was listed in a message that stands for several, as one that goes on.
    """
    found: dict[str, list[tuple[str, int]]] = {}
    seen: set[str] = set()

    def take(title: str, event: str) -> None:
        name, decided = title.split()
        place = {"firing": 0, "resolved": 1_000}.get(decided)
        found.setdefault(name, []).append((event, int(decided[-6:]) if place is None else place))

    for notice in inbox.notices:
        if notice.id in seen:  # repeated after a crash
            continue
        seen.add(notice.id)
        if notice.event == "digest":
            listed = [one["id"] for one in notice.alert["digest"]["incidents"]]
            assert len(listed) == len(set(listed)), "an incident is in a digest once"
            for one in notice.alert["digest"]["incidents"]:
                take(one["title"], one["event"])
            continue
        about = notice.alert.get("incident", notice.alert)
        title = about.get("title") or f"{notice.alert['id'][:2]} {notice.alert['state']}"
        take(title, notice.event)
        for one in notice.alert.get("folded", ()):
            ended = one["state"] in ("ended", "resolved")
            title = one.get("title") or f"{one['id'][:2]} {one['state']}"
            take(title, "resolved" if ended else "open")
    return found


def reached(engine: Engine, receiver: str) -> set[tuple[str, int]]:
    """Return what the store says that a receiver got of incidents: the incident, and the place among its news."""
    d = schema.deliveries.c
    delivered = (d.receiver == receiver, d.state.in_(("delivered", "digested")), d.event.startswith("incident."))
    with reading(engine) as connection:
        rows = connection.execute(select(d.alert_id, d.event).where(*delivered)).all()
    places = {"incident.firing": 0, "incident.resolved": 1_000}
    return {(alert[:2], places[event] if event in places else int(event[-6:])) for alert, event in rows}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(settings_, steps)
@example(TYPICAL, [("wait", 9), ("down", "desk"), ("news", "aa", False), ("a night", NAMES, None)])
@example(
    TYPICAL,
    [
        ("wait", 5),
        ("down", "desk"),
        ("news", "aa", False),
        ("news", "bb", False),
        ("wait", 5),
        ("a night", NAMES, "desk"),
    ],
)
@example(([], [], QUIET), [("late", NAMES, (True, False, False)), ("wait", 9)])
def test_whoever_heard_of_an_incident_hears_of_its_end_once_and_in_order(store, given_, done):
    empty(store)
    world = World(store, given_)
    for step in done:
        world.do(step)
        world.turn()
    world.do(("up",))
    for name in NAMES:
        world.end(name)
    for _ in range(12):
        world.turn()
        world.turn()
        world.clock.forward(2.5)
    for inbox in world.inboxes:
        note(f"{inbox.name}: {arrived(inbox)}")
        got = {(name, place) for name, events in arrived(inbox).items() for _, place in events}
        assert reached(store, inbox.name) <= got, f"lost: {reached(store, inbox.name) - got}"
        for name, events in arrived(inbox).items():
            about = f"{inbox.name} of {name}: {events}"
            places = [place for _, place in events]
            assert places == sorted(set(places)), f"twice, or not in order: {about}"
            assert places[-1] == 1_000, f"no end: {about}"
            assert events[0][0] in ("firing", "open", "resolved"), f"not opened: {about}"
            assert all(event in ("updated", "open") for event, _ in events[1:-1]), about
