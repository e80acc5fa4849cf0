"""The state of a receiver: it is held when it does not answer or asks for it, tried with one delivery, and released;
for all that waits for it, across processes, and without delay for any other."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services import Services
from sqlalchemy import Engine, insert, select
from test_delivery_sender import Clock, Scripted, deliver_due, fire, rows, ticking

from foreshock.monitor.delivery import breaker
from foreshock.monitor.delivery.notice import SAMPLE_ALERT, Notice, Receipt
from foreshock.monitor.delivery.post import retry_after
from foreshock.monitor.delivery.receiver_settings import ReceiverSettings
from foreshock.monitor.delivery.sender import LIVE, WAITED_FOR, Sender, Sent
from foreshock.monitor.delivery.services import Service
from foreshock.monitor.errors import Undelivered
from foreshock.monitor.store import deliveries, receivers, schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.receivers import WORKS, ReceiverState
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import HOUR, MINUTE, SECOND

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path}/store.db", create=True)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def state(engine: Engine, name: str = "one") -> ReceiverState:
    with reading(engine) as connection:
        return receivers.state(connection, name)


def too_many(seconds: float = 0.0) -> Undelivered:
    asked = round(seconds * SECOND)
    return Undelivered("answered 429", status=429, receiver_down=True, untried=True, retry_after=asked)


def down() -> Undelivered:
    return Undelivered("cannot connect", receiver_down=True, untried=True)


# The circuit breaker, as a function

errors = st.builds(
    Undelivered,
    st.just("no"),
    status=st.sampled_from([None, 400, 401, 404, 422, 429, 500, 503]),
    receiver_down=st.booleans(),
    untried=st.booleans(),
    retry_after=st.sampled_from([0, 0, SECOND, 30 * SECOND, HOUR, 9 * HOUR]),
)


@given(st.lists(st.tuples(errors, st.booleans(), st.integers(0, 2 * HOUR)), max_size=30))
def test_a_hold_is_as_long_as_asked_and_never_longer_than_its_bound(steps):
    """Invariants: failures are counted upwards; `down_since` is the first; a hold never gets shorter; it lasts at
    least as long as asked, up to an hour, and where nothing was asked, five minutes at most, plus a fifth."""
    known, at, first = WORKS, 1_767_622_800 * SECOND, None
    for error, fresh, later in steps:
        at += later
        new = breaker.failed(known, error, at, fresh=fresh, wait=lambda n: LIVE.wait(n, 0.999))
        assert new.failures in (known.failures, known.failures + 1)
        if new.failures and first is None:
            first = at
        assert new.down_since == (first or 0)
        if known.held_until is not None:
            assert new.held_until is not None
            assert new.held_until >= known.held_until
        if new != known and new.held_until is not None:
            asked = min(error.retry_after, HOUR)
            assert new.held_until >= at + asked
            assert new.held_until <= max(known.held_until or 0, at + max(asked, breaker.LONGEST_HOLD))
        if error.receiver_down or error.untried or error.retry_after:
            assert new.held_until is not None
            assert new.held_until > at
        known = new


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_about_one_alert_never_holds_its_receiver(status):
    known = WORKS
    for _ in range(100):
        known = breaker.failed(known, Undelivered("no", status=status), 1, fresh=True, wait=lambda n: n)
    assert known == WORKS


def test_one_delivery_that_fails_for_ever_holds_no_other(engine, clock):
    """A message at which a receiver breaks (500) is retried; everything else goes through at once, all the time."""
    bad = fire(engine, 1)
    receiver = Scripted(
        "one", refuses=lambda n: Undelivered("answered 500", status=500) if n.alert["id"] == bad else None
    )
    for number in range(2, 40):
        fire(engine, number)
        deliver_due(engine, [receiver], clock)
        assert len(receiver.got) == number - 1
        clock.forward(300)
    assert state(engine) == WORKS


def test_after_five_fresh_failures_one_is_tried_and_then_the_others_follow(engine, clock):
    for number in range(1, 21):
        fire(engine, number)
    broken = True
    receiver = Scripted("one", refuses=lambda _: Undelivered("answered 502", status=502) if broken else None)
    assert deliver_due(engine, [receiver], clock) == Sent(failed=5)
    assert state(engine).word(clock()) == "held"
    assert deliver_due(engine, [receiver], clock) == Sent()
    clock.forward(2)
    assert state(engine).word(clock()) == "trial"
    assert deliver_due(engine, [receiver], clock) == Sent(failed=1), "half-open: one is tried"
    clock.forward(3)
    broken = False
    assert deliver_due(engine, [receiver], clock) == Sent(delivered=20)
    assert state(engine) == WORKS


# What a receiver asks for


def test_a_request_to_wait_holds_for_everything_that_waits_and_for_what_comes_later(engine, clock):
    receiver = Scripted("one", too_many(600))
    for number in (1, 2, 3):
        fire(engine, number)
    assert deliver_due(engine, [receiver], clock) == Sent(failed=1)
    fire(engine, 4)
    for _ in range(9):
        clock.forward(60)
        assert deliver_due(engine, [receiver], clock) == Sent()
    assert len(receiver.tried) == 1
    clock.forward(61)
    assert deliver_due(engine, [receiver], clock) == Sent(delivered=4)
    assert [notice.alert["id"][-1] for notice in receiver.got] == ["1", "2", "3", "4"], "in order"
    assert {row["attempts"] for row in rows(engine)} == {1}, "a request to wait costs a delivery nothing"


def test_a_receiver_that_answers_429_for_an_hour_loses_nothing(engine, clock):
    """Without Retry-After. It is asked ever more rarely, and the alerts that came meanwhile arrive in order."""
    begun = clock()
    receiver = Scripted("one", refuses=lambda _: too_many() if clock() < begun + HOUR else None)
    number = 0
    while clock() < begun + HOUR + 6 * MINUTE:
        if clock() < begun + HOUR and number < 200:
            number += 1
            fire(engine, number, "firing", "resolved")
        deliver_due(engine, [receiver], clock)
        clock.forward(10)
    asked = len(receiver.tried) - len(receiver.got)
    assert 8 <= asked <= 40, "about every five minutes in the end"
    seen = [(notice.alert["id"], notice.event) for notice in receiver.got]
    assert len(seen) == len(set(seen)) == 400
    assert [event for event in seen if event[1] == "firing"] == sorted(event for event in seen if event[1] == "firing")
    for alert in {alert for alert, _ in seen}:
        assert seen.index((alert, "firing")) < seen.index((alert, "resolved"))
    assert {row["state"] for row in rows(engine)} == {"delivered"}


def test_retry_after_is_a_number_or_a_date_by_the_receivers_own_clock():
    from datetime import UTC, datetime, timedelta

    def date(moment: datetime) -> str:
        return format_datetime(moment, usegmt=True)

    now = datetime.now(UTC).replace(microsecond=0)
    wrong = now - timedelta(days=400)
    assert retry_after({"retry-after": "120"}) == 120 * SECOND
    assert retry_after({"retry-after": date(wrong + timedelta(seconds=90)), "date": date(wrong)}) == 90 * SECOND
    assert 58 * SECOND <= retry_after({"retry-after": date(now + timedelta(seconds=60))}) <= 60 * SECOND
    assert retry_after({"retry-after": date(now - timedelta(hours=1)), "date": date(now)}) == 0
    for nonsense in ("", "-5", "soon", "1e9", "9" * 400, "Mon, 99 Xyz 2026 25:00:00 GMT", "²"):
        assert retry_after({"retry-after": nonsense}) == 0, nonsense


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_header_breaks_the_reading_of_retry_after(value, date):
    assert retry_after({"retry-after": value, "date": date}) >= 0


# Outages


def test_what_waited_through_an_outage_follows_at_once_and_nothing_waits_long_after_it(engine, clock):
    begun = clock()
    receiver = Scripted("one", refuses=lambda _: down() if clock() < begun + 3 * HOUR else None)
    for number in range(1, 31):
        fire(engine, number)
    while clock() < begun + 3 * HOUR:
        deliver_due(engine, [receiver], clock)
        clock.forward(30)
    assert len(receiver.tried) < 60
    fire(engine, 31)
    clock.forward(LIVE.wait(20, 0.999) and 6 * 60)
    deliver_due(engine, [receiver], clock)
    assert [notice.alert["id"][-2:] for notice in receiver.got] == [f"{number:02}" for number in range(1, 32)]


def test_after_four_hours_without_an_answer_what_waited_so_long_is_parked_and_the_rest_goes_on(engine, clock):
    begun, working = clock(), False
    receiver = Scripted("one", refuses=lambda _: None if working else down())
    fire(engine, 1)
    fire(engine, 2)
    while clock() < begun + 3 * HOUR:
        deliver_due(engine, [receiver], clock)
        clock.forward(60)
    fire(engine, 3)
    while clock() < begun + 5 * HOUR:
        deliver_due(engine, [receiver], clock)
        clock.forward(60)
    assert [row["state"] for row in sorted(rows(engine), key=lambda row: row["alert"])] == [
        "parked",
        "parked",
        "waiting",
    ]
    with writing(engine) as connection:
        assert deliveries.resend(connection, clock(), receivers=["one"]) == 2
    working = True
    assert deliver_due(engine, [receiver], clock) == Sent(delivered=3), "somebody says that it is back: no hold"


def test_a_replay_gives_up_after_half_a_minute(engine, clock):
    receiver = Scripted("one", refuses=lambda _: down())
    for number in range(1, 301):
        fire(engine, number)
    seconds = 0
    while deliver_due(engine, [receiver], clock, retries=WAITED_FOR).parked < 300:
        clock.forward(1)
        seconds += 1
        assert seconds < 60
    assert len(receiver.tried) <= 7
    assert {row["state"] for row in rows(engine)} == {"parked"}


def test_a_receiver_that_left_the_settings_leaves_no_state(engine, clock):
    fire(engine)
    deliver_due(engine, [Scripted("old", down())], clock)
    assert state(engine, "old").failures == 1
    with Sender(engine, [Scripted("new")]) as sender:
        sender.drain()
    assert state(engine, "old") == WORKS


# Several senders, several receivers


def test_who_takes_over_keeps_to_what_the_receiver_asked_of_the_other(engine, clock):
    """A stand-by takes over in the middle of a hold: it knows of it, and sends each delivery once."""
    first = Scripted("one", None, too_many(3600))
    for number in range(1, 6):
        fire(engine, number, "firing", "resolved")
    deliver_due(engine, [first], clock)
    second = Scripted("one")
    for _ in range(50):
        clock.forward(60)
        assert deliver_due(engine, [second], clock) == Sent()
    clock.forward(11 * 60)
    for _ in range(2):
        deliver_due(engine, [second], clock)
    got = [(notice.alert["id"], notice.event) for notice in (*first.got, *second.got)]
    assert len(got) == len(set(got)) == 10


def test_a_success_from_before_a_hold_does_not_end_it(engine, clock):
    """Two senders at once: one's delivery was on its way while the other was asked to wait."""
    fire(engine, 1)
    fire(engine, 2)

    def send(notice: Notice) -> None:
        deliver_due(engine, [Scripted("one", too_many(600))], clock)

    slow = Scripted("one", refuses=send)
    assert deliver_due(engine, [slow], clock).delivered >= 1
    assert state(engine).word(clock()) == "held"


def test_two_senders_at_once_lose_nothing_and_keep_each_alerts_order(engine):
    """What both send has one id, and what happened first to an alert arrives first."""
    got: list[tuple[str, str, str]] = []

    class Slow:
        name = "one"
        version = 1

        def send(self, notice: Notice) -> Receipt:
            time.sleep(0.002)
            got.append((notice.alert["id"], notice.event, notice.id))
            return Receipt(200, 0.002)

    for number in range(1, 61):
        fire(engine, number, "firing", "resolved")
    with (
        Sender(engine, [Slow()], now=ticking()) as one,
        Sender(engine, [Slow()], now=ticking()) as two,
        ThreadPoolExecutor(2) as pool,
    ):
        list(pool.map(lambda sender: sender.drain(), (one, two)))
    first: dict[tuple[str, str], int] = {}
    for place, (alert, event, _) in enumerate(got):
        first.setdefault((alert, event), place)
    assert len(first) == 120
    assert all(first[alert, "firing"] < first[alert, "resolved"] for alert, _ in first)
    assert len({identity for *_, identity in got}) == 120
    assert {row["state"] for row in rows(engine)} == {"delivered"}


def test_a_receiver_that_is_held_or_slow_delays_no_other(engine):
    hanging = threading.Event()

    class Hanging(Scripted):
        def send(self, notice: Notice) -> Receipt:
            hanging.wait(20)
            return super().send(notice)

    slow, held, quick = Hanging("slow"), Scripted("held", too_many(600)), Scripted("quick")
    with Sender(engine, [slow, held, quick], now=ticking()) as sender:
        for number in range(1, 51):
            fire(engine, number)
        sender.wake()
        until = time.monotonic() + 10
        while len(quick.got) < 50 and time.monotonic() < until:
            time.sleep(0.01)
        assert (len(quick.got), len(slow.got), len(held.tried)) == (50, 0, 1)
        hanging.set()


def test_later_news_of_an_alert_waits_for_the_news_before(engine, clock):
    """Whatever an alert's events are called, they arrive in the order in which they were decided."""
    alert = fire(engine, 1)
    with writing(engine) as connection:
        for minutes, event in ((1, "updated:2"), (2, "updated:1"), (3, "resolved")):
            connection.execute(
                insert(schema.outbox).values(
                    alert_id=alert,
                    event=event,
                    decided_at=clock() - 10 * MINUTE + minutes * MINUTE,
                    state="queued",
                    alert=json.dumps({**SAMPLE_ALERT, "id": alert}),
                )
            )
    receiver = Scripted("one", Undelivered("answered 500", status=500))
    for _ in range(8):
        deliver_due(engine, [receiver], clock)
        clock.forward(3)
    assert [notice.event for notice in receiver.got] == ["firing", "updated:2", "updated:1", "resolved"]


# Shown


def test_doctor_and_health_show_each_receivers_state(engine, clock):
    good, bad = Scripted("good"), Scripted("bad", too_many(600))
    fire(engine)
    deliver_due(engine, [good, bad], clock)
    with reading(engine) as connection:
        shown = receivers.summary(connection, clock(), ["good", "bad", "new"])
    assert shown["good"] | {"last_delivered_at": ""} == {
        **{"state": "ok", "failures": 0, "down_since": None, "held_until": None, "last_error": None},
        **{"last_delivered_at": "", "waiting": 0, "muted": 0, "delivered": 1, "parked": 0},
    }
    assert (shown["bad"]["state"], shown["bad"]["waiting"], shown["bad"]["last_error"]) == ("held", 1, "answered 429")
    assert shown["bad"]["held_until"] == iso(clock() + 600 * SECOND)
    assert shown["new"]["state"] == "ok"


def test_metrics_say_which_receiver_is_held():
    from prometheus_client import REGISTRY

    from foreshock.observability import metrics

    def value(name: str) -> Any:
        return REGISTRY.get_sample_value(f"foreshock_receiver_{name}", {"receiver": "m"})

    metrics.receiver("m", ReceiverState(3, 1, 100, "no"), 50)
    assert (value("failures"), value("held")) == (3, 1)
    metrics.receiver("m", ReceiverState(3, 1, 100, "no"), 100)
    assert (value("failures"), value("held")) == (3, 0)
    metrics.receiver("m", WORKS, 100)
    assert (value("failures"), value("held")) == (0, 0)
    metrics.receivers({"other"})
    assert (value("failures"), value("held")) == (None, None), "it is no longer in the settings"


# Many at once


def queue(engine: Engine, count: int, text: str) -> None:
    """What closing leaves of alerts that fire at once."""
    fire(engine, 1)
    with writing(engine) as connection:
        first = connection.execute(select(schema.alerts)).mappings().one()
        for start in range(2, count + 1, 1000):
            numbers = range(start, min(start + 1000, count + 1))
            alerts = [{**first, "id": f"00000000-0000-0000-0000-{n:012}"} for n in numbers]
            connection.execute(insert(schema.alerts), alerts)
            queued = [
                {
                    **{"alert_id": alert["id"], "event": "firing", "state": "queued"},
                    "decided_at": first["fired_at"] + n,
                    "alert": json.dumps({"id": alert["id"], "sentence": text}),
                }
                for n, alert in zip(numbers, alerts, strict=True)
            ]
            connection.execute(insert(schema.outbox), queued)


class Sink:
    name = "one"
    version = 1

    def __init__(self) -> None:
        self.got: list[str] = []

    def send(self, notice: Notice) -> Receipt:
        self.got.append(notice.alert["id"])
        return Receipt(200, 0.0)


def test_three_thousand_alerts_at_once_arrive_in_order_without_loss(engine):
    """Invariant: each of 3,000 alerts arrives once, in the order in which they were decided."""
    queue(engine, 3_000, "It fell.")
    sink, started = Sink(), time.process_time()
    with Sender(engine, [sink], now=ticking()) as sender:
        sender.drain()
    assert time.process_time() - started < 10, "seconds of computing"
    assert sink.got == [f"00000000-0000-0000-0000-{n:012}" for n in range(1, 3_001)]


def test_memory_is_flat_however_many_alerts_wait(engine):
    """Invariant: bodies are read a hundred at a time, so 50 MB of them need a few megabytes."""
    queue(engine, 1_000, "x" * 50_000)
    sink = Sink()
    tracemalloc.start()
    try:
        with Sender(engine, [sink], now=ticking()) as sender:
            sender.drain()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(sink.got) == 1_000
    assert peak < 20 << 20, f"{peak / 1e6:.0f} MB"


def test_a_service_that_is_held_over_http_gets_everything_afterwards(engine):
    """Retry-After as an HTTP date, over the wire, to a service that checks the schema."""
    answers = 0

    def busy(*_: Any) -> Any:
        nonlocal answers
        answers += 1
        when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
        return (429, {"retry-after": when}, "slow down") if answers == 1 else None

    with Services() as services:
        services.answer = busy
        given = {"name": "one", "kind": "pagerduty", "key": "k" * 32, "allow_private": True}
        settings = ReceiverSettings.model_validate({**given, "url": services.url + "/v2/enqueue"})
        for number in range(1, 6):
            fire(engine, number, "incident.firing")
        started = time.monotonic()
        with Sender(engine, [Service(settings)], now=ticking()) as sender:
            sender.drain()
        assert 0.9 < time.monotonic() - started < 10
        assert answers == 6
        assert len(services.open) == 5
