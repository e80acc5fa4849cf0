"""The sender: every row of the outbox reaches every receiver, in order, again until it is there or parked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from servers import wait_until
from sqlalchemy import Engine, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from foreshock.demo.receiver import Received, Receiver
from foreshock.monitor.alerts import Alert, AlertChange
from foreshock.monitor.delivery import messages, sender, troubles
from foreshock.monitor.delivery.notice import SAMPLE_ALERT, Notice, Receipt, sample
from foreshock.monitor.delivery.sender import LIVE, WAITED_FOR, Retries, Sender, Sent, deliver_to, dispatch, wall_clock
from foreshock.monitor.delivery.settings import WebhookSettings
from foreshock.monitor.delivery.troubles import Troubles
from foreshock.monitor.delivery.webhook import Webhook, body
from foreshock.monitor.errors import NoSuchAlert, StoreUnavailable, Undelivered
from foreshock.monitor.store import deliveries, desk_actions, schema
from foreshock.monitor.store.alerts import write_alert
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.units import SECOND
from foreshock.processes import wiring

pytestmark = pytest.mark.slow

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "webhook.schema.json").read_text())
START = 1_767_622_800 * SECOND


class Scripted:
    """A receiver that keeps what it got, and fails as it is told: one entry an attempt, then it takes all."""

    version = 1

    def __init__(self, name: str, *script: Undelivered | None, refuses: Callable[[Notice], Any] | None = None) -> None:
        self.name = name
        self.script = list(script)
        self.refuses = refuses
        self.tried: list[str] = []
        self.got: list[Notice] = []

    def send(self, notice: Notice) -> Receipt:
        self.tried.append(notice.id)
        if self.script and (error := self.script.pop(0)):
            raise error
        if self.refuses and (error := self.refuses(notice)):
            raise error
        self.got.append(notice)
        return Receipt(200, 0.001)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


def ticking() -> Callable[[], int]:
    """A clock that runs, from the time of the alerts on."""
    begun = time.time_ns() // 1_000
    return lambda: START + time.time_ns() // 1_000 - begun


@pytest.fixture(autouse=True)
def _no_more_belated_rows_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliver belated rows at once: the alerts of most tests are from the past."""
    monkeypatch.setattr(sender, "FOLD_SECONDS", 0.0)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = connect(url, create=True)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fire(engine: Engine, number: int = 1, *events: str, topic: str = "Banks", state: str = "queued") -> str:
    """What closing leaves of an alert: its row, and one in the outbox for each event."""
    alert_id = f"00000000-0000-0000-0000-{number:012}"
    at = START - 1000 * SECOND + number * SECOND
    with writing(engine) as connection:
        found = connection.execute(select(schema.alerts.c.id).where(schema.alerts.c.id == alert_id)).first()
        if found is None:
            connection.execute(
                insert(schema.alerts).values(
                    id=alert_id, topic=topic, kind="drift", direction="worse", state="firing", origin="live",
                    started_at=at, pending_at=at, fired_at=at, observed=0.5, baseline=0.1, score=4.0, window_start=at,
                    window_end=at, evidence="[]", sources=1, events=1, sentence="It fell.", settings=1,
                )
            )  # fmt: skip
        for event in events or ("firing",):
            alert = {**SAMPLE_ALERT, "id": alert_id, "topic": topic, "state": event}
            del alert["origin"]
            connection.execute(
                insert(schema.outbox).values(
                    alert_id=alert_id, event=event, decided_at=at, state=state, alert=json.dumps(alert)
                )
            )
    return alert_id


def deliver_due(
    engine: Engine,
    receivers: Sequence[Any],
    now: Callable[[], int] = wall_clock,
    *,
    external_url: str | None = None,
    retries: Retries = LIVE,
) -> Sent:
    """Dispatch what is queued, then attempt once what is due: one pass of a `Sender`, at a time that a test sets."""
    dispatch(engine, receivers, now)
    if not receivers:
        return Sent()
    with ThreadPoolExecutor(len(receivers)) as pool:

        def deliver(receiver: Any) -> Sent:
            return deliver_to(engine, receiver, now, external_url, retries, lambda: False, lambda *_: None)

        return sum(pool.map(deliver, receivers), Sent())


def states(engine: Engine, table: Any = schema.outbox) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(select(table.c.state).order_by(*table.primary_key.columns)).scalars())


def rows(engine: Engine, **asked: Any) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        return list(deliveries.listed(connection, **asked))


def test_a_row_goes_to_every_receiver_once(engine, clock):
    one, two = Scripted("one"), Scripted("two")
    alert = fire(engine)
    assert deliver_due(engine, [one, two], clock, external_url="https://desk.example") == Sent(delivered=2)
    assert deliver_due(engine, [one, two], clock) == Sent()
    (notice,) = one.got
    assert (notice.event, notice.alert["id"], notice.link) == (
        "firing",
        alert,
        f"https://desk.example/Alerts?alert={alert}",
    )
    assert notice.alert["origin"] == "live"
    assert notice.id != two.got[0].id, "an id is one of a delivery"
    assert states(engine) == ["dispatched"]
    assert {row["state"] for row in rows(engine)} == {"delivered"}


def test_a_failure_is_tried_again_after_about_1_2_and_4_seconds(engine, clock):
    receiver = Scripted("one", *[Undelivered("answered 500", status=500)] * 3)
    fire(engine)
    for wait in (1, 2, 4):
        assert deliver_due(engine, [receiver], clock).failed == 1
        clock.forward(wait * 0.79)
        assert deliver_due(engine, [receiver], clock) == Sent(), "too early"
        clock.forward(wait * 0.42)
    assert deliver_due(engine, [receiver], clock) == Sent(delivered=1)
    assert len(set(receiver.tried)) == 1, "every attempt has the same id"
    (row,) = rows(engine)
    assert (row["attempts"], row["last_error"]) == (4, None)


def test_waits_double_and_are_spread_and_bounded():
    assert [LIVE.wait(n, 0.5) // SECOND for n in (1, 2, 3, 4, 12, 13, 15, 500)] == [1, 2, 4, 8, 2048, 3600, 3600, 3600]
    assert LIVE.wait(1, 0.0) == 800_000
    assert LIVE.wait(1, 0.999) < 1_200_001
    assert sum(WAITED_FOR.wait(n, 0.5) for n in range(1, WAITED_FOR.attempts)) == 31 * SECOND


def of_incident(engine: Engine, alert: str, *events: str) -> None:
    """Put messages about the incident that an alert began into the outbox."""
    with writing(engine) as connection:
        mine = schema.alerts.c.id == alert
        connection.execute(update(schema.alerts).where(mine).values(group_id=f"incident of {alert}"))
        for number, event in enumerate(events):
            about = json.dumps({**sample(2), "id": alert})
            values = {"alert_id": alert, "event": f"incident.{event}", "decided_at": START + number, "alert": about}
            connection.execute(insert(schema.outbox).values(**values, state="queued"))


def test_version_1_hears_of_alerts_and_version_2_of_incidents_in_order(engine, clock):
    old, new = Scripted("old"), Scripted("new")
    new.version = 2
    alert = fire(engine, 1)
    of_incident(engine, alert, "firing", "updated-000001", "updated-000002", "resolved")
    deliver_due(engine, [old, new], clock)
    for _ in range(3):
        deliver_due(engine, [old, new], clock)
    assert [(n.event, "incident" in n.alert) for n in old.got] == [("firing", False)]
    assert [n.event for n in new.got] == ["firing", "updated", "updated", "resolved"]
    assert all(n.link is None and n.alert["incident"] for n in new.got)


def test_an_end_goes_to_whoever_received_the_beginning_whatever_its_version_is_now(engine, clock):
    one, two = Scripted("one"), Scripted("two")
    two.version = 2
    alert = fire(engine, 1)
    of_incident(engine, alert, "firing")
    deliver_due(engine, [one, two], clock)
    one.version, two.version = 2, 1  # the settings were changed meanwhile
    fire(engine, 1, "resolved")
    of_incident(engine, alert, "resolved")
    for _ in range(2):
        deliver_due(engine, [one, two], clock)
    assert [("incident" in n.alert, n.event) for n in one.got if "incident" not in n.alert] == [
        (False, "firing"),
        (False, "resolved"),
    ]
    assert [n.event for n in two.got if "incident" in n.alert] == ["firing", "resolved"]


def test_an_incident_that_was_announced_ends_also_under_a_silence(engine, clock):
    receiver = Scripted("new")
    receiver.version = 2
    alert = fire(engine, 1)
    of_incident(engine, alert, "firing")
    deliver_due(engine, [receiver], clock)
    with writing(engine) as connection:
        desk_actions.silence(connection, "Banks", until=clock() + 3600 * SECOND, by="Ada", now=clock())
    of_incident(engine, fire(engine, 2), "firing")
    of_incident(engine, alert, "resolved")
    deliver_due(engine, [receiver], clock)
    assert [(n.alert["id"], n.event) for n in receiver.got] == [(alert, "firing"), (alert, "resolved")]


def test_after_the_last_attempt_a_delivery_is_parked_and_visible(engine, clock):
    receiver = Scripted("one", refuses=lambda _: Undelivered("answered 500: no"))
    fire(engine)
    for _ in range(3):
        deliver_due(engine, [receiver], clock, retries=Retries(attempts=3))
        clock.forward(10)
    assert deliver_due(engine, [receiver], clock) == Sent()
    (row,) = rows(engine, state="parked")
    assert (row["receiver"], row["attempts"], row["last_error"]) == ("one", 3, "answered 500: no")
    assert row["next_attempt_at"] is None
    with reading(engine) as connection:
        summary = deliveries.summary(connection)
    assert summary["deliveries"] == {"parked": 1}
    assert summary["errors"] == {"one": "answered 500: no"}


def test_what_was_parked_is_sent_when_somebody_asks_for_it_and_what_is_over_is_not_opened_again(engine, clock):
    kept = fire(engine, 1)
    over = fire(engine, 2, "firing", "resolved")
    refused = Scripted("one", refuses=lambda n: Undelivered("no", final=True) if n.event == "firing" else None)
    other = Scripted("two", refuses=lambda _: Undelivered("no", final=True))
    for _ in range(2):
        deliver_due(engine, [refused, other], clock)
    assert [(n.alert["id"], n.event) for n in refused.got] == [(over, "resolved")]
    with writing(engine) as connection:
        assert deliveries.resend(connection, clock(), receivers=["one"], alerts=["another"]) == 0
        assert deliveries.resend(connection, clock(), receivers=["one"]) == 1
    one, two = Scripted("one"), Scripted("two")
    assert deliver_due(engine, [one, two], clock) == Sent(delivered=1)
    assert [(n.alert["id"], n.event) for n in one.got] == [(kept, "firing")]
    with writing(engine) as connection:
        assert deliveries.resend(connection, clock(), receivers=["two"], alerts=[over]) == 2
    for _ in range(2):
        deliver_due(engine, [one, two], clock)
    assert [n.event for n in two.got] == ["firing", "resolved"]


def test_that_an_alert_fires_is_not_sent_again_while_its_end_is_on_its_way(engine, clock):
    fire(engine, 1, "firing", "resolved")
    busy = Scripted("one", refuses=lambda n: Undelivered("no", final=n.event == "firing"))
    for _ in range(2):
        deliver_due(engine, [busy], clock)
    assert [(row["event"], row["state"]) for row in rows(engine)] == [("firing", "parked"), ("resolved", "waiting")]
    with writing(engine) as connection:
        assert deliveries.resend(connection, clock(), receivers=["one"]) == 0


@pytest.mark.parametrize("end", ["silenced", "withheld", "dispatched"])
def test_that_an_alert_fires_is_not_sent_again_where_its_end_will_not_follow(engine, clock, end):
    fire(engine, 1)
    kept = fire(engine, 2)
    away = Scripted("one", refuses=lambda _: Undelivered("no", final=True))
    deliver_due(engine, [away], clock)
    fire(engine, 1, "resolved", state=end)  # dispatched: before this receiver was in the settings again
    fire(engine, 2, "resolved")
    with writing(engine) as connection:
        assert deliveries.resend(connection, clock(), receivers=["one"]) == 1
    back = Scripted("one")
    for _ in range(2):
        deliver_due(engine, [back], clock)
    assert [(notice.alert["id"], notice.event) for notice in back.got] == [(kept, "firing"), (kept, "resolved")]


def test_a_receiver_that_is_gone_for_good_is_not_tried_again(engine, clock):
    receiver = Scripted("one", Undelivered("answered 410", status=410, final=True))
    fire(engine)
    assert deliver_due(engine, [receiver], clock) == Sent(failed=1, parked=1)


def test_a_receiver_that_asks_to_be_left_alone_is(engine, clock):
    receiver = Scripted("one", Undelivered("answered 429", status=429, receiver_down=True, retry_after=30 * SECOND))
    fire(engine)
    deliver_due(engine, [receiver], clock)
    clock.forward(29)
    assert deliver_due(engine, [receiver], clock) == Sent()
    clock.forward(2)
    assert deliver_due(engine, [receiver], clock) == Sent(delivered=1)


def test_resolved_never_comes_before_firing(engine, clock):
    receiver = Scripted("one", Undelivered("answered 500"), Undelivered("answered 500"))
    fire(engine, 1, "firing", "resolved")
    deliver_due(engine, [receiver], clock)
    assert len(receiver.tried) == 1, "resolved waits"
    for _ in range(3):
        clock.forward(5)
        deliver_due(engine, [receiver], clock)
    assert [notice.event for notice in receiver.got] == ["firing", "resolved"]


def test_resolved_comes_although_firing_was_parked(engine, clock):
    receiver = Scripted("one", Undelivered("answered 410", final=True))
    fire(engine, 1, "firing", "resolved")
    deliver_due(engine, [receiver], clock)
    deliver_due(engine, [receiver], clock)
    assert [notice.event for notice in receiver.got] == ["resolved"]


def test_a_bad_row_keeps_no_other_from_its_receiver(engine, clock):
    bad = fire(engine, 1)
    for number in (2, 3):
        fire(engine, number)
    receiver = Scripted("one", refuses=lambda n: Undelivered("answered 400") if n.alert["id"] == bad else None)
    assert deliver_due(engine, [receiver], clock) == Sent(delivered=2, failed=1)


def test_a_row_that_makes_its_receiver_hang_is_tried_after_the_others(engine, clock):
    bad = fire(engine, 1)
    for number in (2, 3):
        fire(engine, number)
    down = lambda n: Undelivered("no answer", receiver_down=True) if n.alert["id"] == bad else None  # noqa: E731
    receiver = Scripted("one", refuses=down)
    assert deliver_due(engine, [receiver], clock) == Sent(failed=1)
    assert len(receiver.tried) == 1, "the others wait with it"
    clock.forward(2)
    assert deliver_due(engine, [receiver], clock) == Sent(delivered=2, failed=1)


def test_a_receiver_that_nobody_foresaw_costs_attempts_and_no_more(engine, clock):
    receiver = Scripted("one", refuses=lambda _: 1 / 0)
    fire(engine)
    assert deliver_due(engine, [receiver], clock) == Sent(failed=1)
    assert rows(engine)[0]["last_error"] == "failed: ZeroDivisionError"


@pytest.mark.parametrize(
    ("fired", "over"),
    [("withheld", "withheld"), ("queued", "queued"), ("dispatched", "queued"), ("silenced", "withheld")],
)
def test_the_end_of_what_was_told_is_told_though_a_replay_decides_it(engine, fired, over):
    told = fire(engine, 1, "firing", state=fired)
    at = START - 1000 * SECOND
    alert = Alert(told, "Banks", "drift", "worse", "resolved", at, at, at, START, 0.5, 0.1, at, at, 4.0)
    with writing(engine) as connection:
        write_alert(connection, AlertChange("resolved", alert), origin="replay", settings=1, deliver=False)
    assert states(engine) == [fired, over]


def test_what_was_withheld_is_never_delivered_nor_what_resolves_it(engine, clock):
    receiver = Scripted("one")
    fire(engine, 1, "firing", state="withheld")
    deliver_due(engine, [receiver], clock)
    fire(engine, 1, "resolved")
    deliver_due(engine, [receiver], clock)
    assert receiver.got == []
    assert states(engine) == ["withheld", "withheld"]


def test_a_silenced_topic_is_not_delivered_until_the_silence_is_over(engine, clock):
    receiver = Scripted("one")
    with writing(engine) as connection:
        desk_actions.silence(
            connection, "Banks", until=clock() + 8 * 3600 * SECOND, by="Ada", note="known", now=clock()
        )
    fire(engine, 1)
    fire(engine, 2, topic="Oil")
    deliver_due(engine, [receiver], clock)
    assert [notice.alert["topic"] for notice in receiver.got] == ["Oil"]
    assert states(engine) == ["silenced", "dispatched"]
    clock.forward(8 * 3600 + 1)
    fire(engine, 1, "resolved")
    fire(engine, 3)
    deliver_due(engine, [receiver], clock)
    assert [notice.alert["id"][-1] for notice in receiver.got] == ["2", "3"], "what resolves a silenced alert is silent"


def test_the_last_silence_of_a_topic_holds(engine, clock):
    with writing(engine) as connection:
        desk_actions.silence(connection, "Banks", until=clock() + SECOND, by="Ada", now=clock())
        desk_actions.silence(connection, "Banks", until=clock(), by="Ben", note="over", now=clock())
        assert desk_actions.silenced_until(connection, "Banks") == clock()
        assert desk_actions.silenced_until(connection, "Oil") is None
        done = desk_actions.actions(connection, topic="Banks")
    assert [(a["action"], a["by"], a["note"]) for a in done] == [("silence", "Ben", "over"), ("silence", "Ada", "")]


def test_an_acknowledgement_is_kept_and_needs_an_alert(engine, clock):
    alert = fire(engine)
    with writing(engine) as connection:
        desk_actions.acknowledge(connection, alert, by="Ada", note="looking", now=clock())
        (done,) = desk_actions.actions(connection, alert_id=alert)
        assert (done["action"], done["by"], done["note"]) == ("acknowledge", "Ada", "looking")
        with pytest.raises(NoSuchAlert, match="no alert x"):
            desk_actions.acknowledge(connection, "x", by="Ada", now=clock())
    assert states(engine) == ["queued"]


def test_without_receivers_nothing_waits_for_one_that_is_added_later(engine, clock):
    fire(engine)
    deliver_due(engine, [], clock)
    late = Scripted("late")
    deliver_due(engine, [late], clock)
    assert late.got == []


def test_what_waits_for_a_receiver_that_was_removed_is_parked(engine, clock):
    fire(engine)
    deliver_due(engine, [Scripted("old", Undelivered("answered 500"))], clock)
    with Sender(engine, [Scripted("new")]) as sender:
        sender.drain()
    (row,) = rows(engine)
    assert (row["state"], row["last_error"]) == ("parked", "the settings no longer have this receiver")


def test_a_sender_delivers_while_a_run_goes_on_and_drains_at_its_end(engine):
    receiver = Scripted("one", Undelivered("answered 500"))
    with Sender(engine, [receiver], now=ticking()) as sender:
        for number in range(1, 6):
            fire(engine, number, "firing", "resolved")
            sender.wake()
        sender.drain()
    assert len(receiver.got) == 10
    seen: set[str] = set()
    for notice in receiver.got:
        assert notice.event == "firing" or notice.alert["id"] in seen
        seen.add(notice.alert["id"])


def test_a_fault_of_ours_ends_a_drain_instead_of_holding_it(engine, monkeypatch):
    def broken(*_: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(deliveries, "settle", broken)
    fire(engine)
    with Sender(engine, [Scripted("one")]) as sender, pytest.raises(KeyError, match="a bug"):
        sender.drain()


@pytest.mark.parametrize("down", [False, True], ids=["each fails", "the receiver is down"])
def test_a_replay_gives_up_its_own_messages_and_leaves_what_waited_waiting(engine, clock, down):
    left, refused = fire(engine, 1), fire(engine, 2)
    deliver_due(engine, [Scripted("one", Undelivered("answered 500"), Undelivered("gone", final=True))], clock)
    fire(engine, 1, "resolved")
    own, gone = fire(engine, 3), fire(engine, 4)

    def fails(notice: Notice) -> Undelivered:
        if notice.alert["id"] == gone:
            return Undelivered("gone", final=True)
        return Undelivered("no answer", receiver_down=down, untried=down)

    quick = Retries(attempts=3, gives_up_after=SECOND // 2, longest=SECOND // 10, hands_back=True)
    with Sender(engine, [Scripted("one", refuses=fails)], retries=quick, now=ticking()) as sender:
        sender.drain()
        assert {row["state"] for row in rows(engine)} == {"parked"}
    found = {(row["alert"], row["event"]): (row["state"], row["attempts"]) for row in rows(engine)}
    assert found.pop((left, "firing")) == ("waiting", 1)
    assert found.pop((left, "resolved")) == ("waiting", 0)
    assert {key: state for key, (state, _) in found.items()} == dict.fromkeys(
        ((alert, "firing") for alert in (refused, own, gone)), "parked"
    )
    with reading(engine) as connection:
        assert wiring.waiting(connection) == [
            "Messages that still wait for one: 2. `run` or `monitor` goes on to send them."
        ]
    clock.forward(600)
    works = Scripted("one")
    for _ in range(2):
        deliver_due(engine, [works], clock)
    assert [(notice.alert["id"], notice.event) for notice in works.got] == [(left, "firing"), (left, "resolved")]


def test_an_alert_that_waited_and_was_refused_for_good_since_stays_parked(engine, clock):
    fire(engine, 1)
    deliver_due(engine, [Scripted("one", Undelivered("answered 500"))], clock)
    gone = Scripted("one", Undelivered("gone", final=True))
    quick = Retries(attempts=3, longest=SECOND // 10, hands_back=True)
    with Sender(engine, [gone], retries=quick, now=ticking()) as sender:
        sender.drain()
    assert [row["state"] for row in rows(engine)] == ["parked"]


def test_a_store_that_cannot_be_written_ends_a_drain_and_is_a_trouble_until_it_can(engine, monkeypatch):
    full = IntegrityError("INSERT", {}, Exception("the disk is full"))

    def broken(*_: Any) -> None:
        raise full

    said: list[str] = []
    fire(engine)
    with Sender(engine, [receiver := Scripted("one")], on_trouble=said.append) as sender:
        with monkeypatch.context() as patch:
            patch.setattr(deliveries, "settle", broken)
            with pytest.raises(IntegrityError, match="disk is full"):
                sender.drain()
        assert len(said) == 1
        assert "disk is full" in said[0]
        wait_until(lambda: len(said) == 2, "it is written again")
        sender.drain()
    assert said[1:] == [""]
    assert len({notice.id for notice in receiver.got}) == 1


def test_a_drain_waits_while_the_store_is_away_for_a_moment_and_ends_where_it_stays_away(engine, monkeypatch):
    real, left = deliveries.unsettled, 3

    def away(*args: Any) -> int:
        nonlocal left
        left -= 1
        if left >= 0:
            raise StoreUnavailable("no answer")
        return real(*args)

    monkeypatch.setattr(deliveries, "unsettled", away)
    said: list[str] = []
    fire(engine)
    with Sender(engine, [receiver := Scripted("one")], on_trouble=said.append) as sender:
        sender.drain()
        assert (left < 0, said, len(receiver.got)) == (True, [], 1)
        left = 10**9
        monkeypatch.setattr(troubles, "LASTING_SECONDS", 0.3)
        with pytest.raises(StoreUnavailable, match="no answer"):
            sender.drain()
        assert said == ["no answer"]
        left = 0
        sender.drain()
    assert said == ["no answer", ""]


def test_a_store_that_is_away_for_a_moment_is_no_trouble(monkeypatch):
    said: list[str] = []
    found = Troubles(said.append)
    found.failed("one", StoreUnavailable("no answer"))
    assert (found.lasting(), said) == (None, [])
    monkeypatch.setattr(troubles, "LASTING_SECONDS", 0.0)
    found.failed("one", StoreUnavailable("no answer"))
    assert said == ["no answer"]
    found.well("one")
    assert (found.lasting(), said[1:]) == (None, [""])


def test_what_waited_while_no_process_ran_is_not_parked_at_the_first_failure(engine, clock):
    down = Undelivered("cannot connect", receiver_down=True, untried=True)
    receiver = Scripted("one", *[down] * 3)
    fire(engine)
    deliver_due(engine, [receiver], clock)
    clock.forward(5 * 3600)
    assert deliver_due(engine, [receiver], clock) == Sent(failed=1)
    clock.forward(600)
    assert deliver_due(engine, [receiver], clock) == Sent(failed=1)
    clock.forward(600)
    assert deliver_due(engine, [receiver], clock) == Sent(delivered=1)


@pytest.mark.parametrize("down", [True, False])
def test_a_clock_that_was_ahead_holds_nothing_once_it_is_set_back(engine, clock, down):
    receiver = Scripted("one", Undelivered("gone", receiver_down=down))
    clock.forward(1_000 * 3600)
    fire(engine)
    assert deliver_due(engine, [receiver], clock).failed == 1
    clock.forward(-500 * 3600)
    assert deliver_due(engine, [receiver], clock) == Sent(delivered=1)


def test_a_receiver_that_hangs_delays_no_other(engine):
    hanging = threading.Event()

    class Hanging(Scripted):
        def send(self, notice: Notice) -> Receipt:
            hanging.wait(20)
            return super().send(notice)

    slow, quick = Hanging("slow"), Scripted("quick")
    with Sender(engine, [slow, quick], now=ticking()) as sender:
        for number in (1, 2):
            fire(engine, number)
            sender.wake()
            started = time.monotonic()
            while len(quick.got) < number and time.monotonic() - started < 10:
                time.sleep(0.01)
            assert len(quick.got) == number
            assert slow.got == []
        hanging.set()
        sender.drain()
    assert len(slow.got) == 2


def test_a_bodys_alert_is_as_it_was_when_it_was_decided(engine, clock):
    receiver = Scripted("one")
    alert = fire(engine, 1, "firing", "resolved")
    with writing(engine) as connection:
        connection.execute(text("UPDATE alerts SET state = 'resolved', sentence = 'Over.'"))
    deliver_due(engine, [receiver], clock)
    deliver_due(engine, [receiver], clock)
    bodies = [json.loads(body(notice)) for notice in receiver.got]
    assert [(b["type"], b["data"]["state"]) for b in bodies] == [
        ("alert.firing", "firing"),
        ("alert.resolved", "resolved"),
    ]
    assert {b["data"]["id"] for b in bodies} == {alert}
    for sent in bodies:
        jsonschema.validate(sent, SCHEMA)


def test_a_kill_between_sending_and_committing_sends_again_under_the_same_id(engine, url):
    fire(engine)
    got: list[Received] = []
    with Receiver(got.append, secret=SECRET) as receiver:
        child = textwrap.dedent(f"""
            import os, signal
            from foreshock.monitor.delivery import sender
            from foreshock.monitor.delivery.settings import WebhookSettings
            from foreshock.monitor.delivery.webhook import Webhook
            from foreshock.monitor.store.database import connect
            sender.FOLD_SECONDS = 0.0
            sender.deliveries.settle = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            hook = WebhookSettings(name="desk", url={receiver.url!r}, secrets={SECRET!r}, allow_private=True, version=1)
            with sender.Sender(connect({url!r}, create=False), [Webhook(hook)]) as running:
                running.drain()
        """)
        done = subprocess.run(
            [sys.executable, "-c", child],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONPATH": "."},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert [row["state"] for row in rows(engine)] == ["waiting"]
        hook = WebhookSettings.model_validate(
            {"name": "desk", "url": receiver.url, "secrets": SECRET, "allow_private": True}
        )
        assert deliver_due(engine, [Webhook(hook)]) == Sent(delivered=1)
    assert [r.verified for r in got] == [True, True]
    assert got[0].id == got[1].id


@pytest.mark.postgres
def test_postgresql_delivers_alike(postgres, clock):
    engine = connect(postgres, create=True)
    try:
        receiver = Scripted("one", Undelivered("answered 500"))
        fire(engine, 1, "firing", "resolved")
        fire(engine, 2)
        with writing(engine) as connection:
            desk_actions.silence(connection, "Oil", until=clock() + SECOND, by="Ada", now=clock())
        fire(engine, 3, topic="Oil")
        deliver_due(engine, [receiver], clock)
        clock.forward(5)
        deliver_due(engine, [receiver], clock)
        assert sorted((n.alert["id"][-1], n.event) for n in receiver.got) == [
            ("1", "firing"),
            ("1", "resolved"),
            ("2", "firing"),
        ]
        with reading(engine) as connection:
            assert deliveries.summary(connection)["outbox"] == {"dispatched": 3, "silenced": 1}
    finally:
        engine.dispose()


def test_each_attempt_is_told_with_what_came_of_it(engine):
    told: list[tuple[str, Sent]] = []
    fire(engine, 1)
    flaky = Scripted("flaky", Undelivered("answered 500"))
    with Sender(engine, [flaky], on_attempt=lambda item, sent, *_: told.append((item.receiver, sent))) as sender:
        sender.drain()
    assert told == [("flaky", Sent(failed=1)), ("flaky", Sent(delivered=1))]


# What is decided long after the fact


def test_what_is_decided_long_after_the_fact_is_told_once_and_together(engine, clock):
    clock.forward(7200)
    over, open_ = fire(engine, 1, "firing", "resolved"), [fire(engine, number, topic=f"T{number}") for number in (2, 3)]
    desk = Scripted("desk")
    assert deliver_due(engine, [desk], clock) == Sent(delivered=1)
    (notice,) = desk.got
    assert (notice.event, notice.alert["id"], notice.alert["belated"]) == ("firing", open_[1], True)
    assert [(alert["id"], alert["state"]) for alert in notice.alert["folded"]] == [
        (open_[0], "firing"),
        (over, "resolved"),
    ]
    assert notice.alert["folded_count"] == 2
    assert all("evidence" not in alert and alert["origin"] == "live" for alert in notice.alert["folded"])
    jsonschema.validate(json.loads(body(notice)), SCHEMA)
    assert states(engine) == ["folded", "folded", "folded", "dispatched"]
    fire(engine, 2, "resolved")
    assert deliver_due(engine, [desk], clock) == Sent(delivered=1)
    assert (desk.got[-1].event, desk.got[-1].alert["id"]) == ("resolved", open_[0]), "its end is told, though late"


def test_the_end_of_an_alert_that_was_told_is_told_by_itself_however_late(engine, clock):
    desk, told = Scripted("desk"), fire(engine, 1)
    deliver_due(engine, [desk], clock)
    clock.forward(7200)
    fire(engine, 1, "resolved")
    fire(engine, 2)
    deliver_due(engine, [desk], clock)
    assert sorted((notice.event, notice.alert.get("folded_count")) for notice in desk.got[1:]) == [
        ("firing", 0),
        ("resolved", None),
    ]
    assert {notice.alert["id"] for notice in desk.got if notice.event == "resolved"} == {told}


def test_a_replay_folds_nothing_and_a_silenced_topic_is_in_no_fold(engine, clock):
    clock.forward(7200)
    with writing(engine) as connection:
        desk_actions.silence(connection, "T3", until=clock() + SECOND, by="Ada", now=clock())
    for number in (1, 2, 3):
        fire(engine, number, topic=f"T{number}")
    with writing(engine) as connection:
        replayed = update(schema.alerts).where(schema.alerts.c.topic == "T1").values(origin="replay")
        connection.execute(replayed)
    desk = Scripted("desk")
    deliver_due(engine, [desk], clock)
    assert sorted((notice.alert["topic"], notice.alert.get("folded_count")) for notice in desk.got) == [
        ("T1", None),
        ("T2", 0),
    ]
    assert states(engine) == ["dispatched", "dispatched", "silenced"]


def test_a_sender_folds_once_nothing_more_comes(engine, clock, monkeypatch):
    monkeypatch.setattr(sender, "FOLD_SECONDS", 0.4)
    clock.forward(7200)
    desk = Scripted("desk")
    with Sender(engine, [desk], now=clock) as running:
        for number in range(1, 6):
            fire(engine, number)
            running.wake()
            time.sleep(0.15)
        with writing(engine) as connection:  # more is decided, and nothing told of it
            connection.execute(update(schema.feed).values(decided_until=START))
        running.wake()
        time.sleep(0.2)
        assert desk.got == []
        running.drain()
    assert [notice.alert["folded_count"] for notice in desk.got] == [4]


def test_a_feed_that_lags_for_ever_is_told_of_all_the_same(engine, clock, monkeypatch):
    monkeypatch.setattr(sender, "FOLD_SECONDS", 10.0)
    monkeypatch.setattr(sender, "LONGEST_FOLD_SECONDS", 0.5)
    clock.forward(7200)
    desk = Scripted("desk")
    with Sender(engine, [desk], now=clock) as running:
        begun, number = time.monotonic(), 0
        while not desk.got and time.monotonic() - begun < 10:
            number += 1
            fire(engine, number)
            running.wake()
            time.sleep(0.05)
    assert desk.got[0].alert["folded_count"] > 1


def test_a_message_names_some_of_what_it_stands_for():
    folded = [{"sentence": f"It fell {number} times."} for number in range(7)]
    told = {**SAMPLE_ALERT, "belated": True, "folded": folded, "folded_count": 7}
    notice = Notice("id", "firing", START, told, None)
    lines = messages._folded(notice)
    assert lines[0] == "Decided late, too, 7:"
    assert lines[1:] == [*(f"It fell {number} times." for number in range(5)), "And 2 more."]
    assert messages._title(notice) == "Alert, decided late"
