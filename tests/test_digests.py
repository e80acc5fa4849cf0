"""Digests at stated times: once a period, at the stated local time, and what they say."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select, update

from foreshock.monitor.delivery import digest_text
from foreshock.monitor.delivery import digests as scheduling
from foreshock.monitor.delivery.digests import Scheduled, last_due
from foreshock.monitor.delivery.messages import Message
from foreshock.monitor.delivery.route_settings import DigestSettings
from foreshock.monitor.delivery.sender import Sender
from foreshock.monitor.delivery.settings import MessageSettings
from foreshock.monitor.delivery.webhook import body
from foreshock.monitor.store import deliveries, digest_content, schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.times import iso, microseconds
from foreshock.monitor.units import ALL, DAY, HOUR, MINUTE, NEW
from tests.delivering import NOON, Clock, Inbox, deliver, empty, new_store, put, routing

DIGEST = json.loads((Path(__file__).parents[1] / "docs" / "digest.schema.json").read_text())
MORNING = DigestSettings(name="morning", receivers=("desk",), at="07:30", location="Europe/Berlin")
SEVEN = NOON - 5 * HOUR
"""07:00 in Berlin on Monday, 2 March 2026."""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[Engine]:
    yield from new_store(tmp_path_factory.mktemp("digests"))


@pytest.fixture
def engine(store: Engine) -> Engine:
    empty(store)
    return store


def decided(engine: Engine, until: int) -> None:
    with writing(engine) as connection:
        connection.execute(update(schema.feed).values(decided_until=until))


def made(engine: Engine) -> list[tuple[str, str, str, str]]:
    """Return the digests in the store: reason, from, to, stated time."""
    g = schema.digests.c
    with reading(engine) as connection:
        rows = connection.execute(select(g.reason, g.begins_at, g.ends_at, g.due_at).order_by(g.due_at)).all()
    return [(row.reason, *map(iso, row[1:])) for row in rows]


# When


def stated(text: str) -> int:
    return microseconds(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("at", "now", "due"),
    [
        ("07:30", "2026-03-02T06:29:59Z", "2026-03-01T06:30:00Z"),
        ("07:30", "2026-03-02T06:30:00Z", "2026-03-02T06:30:00Z"),
        ("00:10", "2026-03-01T23:30:00Z", "2026-03-01T23:10:00Z"),
        # 02:30 on 29 March does not exist: an hour later, 03:30 in summer time.
        ("02:30", "2026-03-29T01:29:00Z", "2026-03-28T01:30:00Z"),
        ("02:30", "2026-03-29T01:30:00Z", "2026-03-29T01:30:00Z"),
        ("02:30", "2026-03-30T00:30:00Z", "2026-03-30T00:30:00Z"),
        # 02:30 on 25 October exists twice: the first time.
        ("02:30", "2026-10-25T00:30:00Z", "2026-10-25T00:30:00Z"),
        ("02:30", "2026-10-25T02:00:00Z", "2026-10-25T00:30:00Z"),
    ],
)
def test_a_digest_is_due_at_the_stated_local_time_also_where_clocks_change(at, now, due):
    assert iso(last_due(MORNING.model_copy(update={"at": at}), stated(now))) == due


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.integers(0, 23),
    st.sampled_from([0, 15, 30, 59]),
    st.sampled_from(["day", "week"]),
    st.integers(0, 366),
)
def test_there_is_one_stated_time_a_day_or_week(location, hour, minute, every, day):
    """Invariant: as time passes, due times grow, one for each local date (or for each such weekday), none left out."""
    digest = DigestSettings(
        name="d", receivers=("x",), every=every, at=f"{hour}:{minute:02}", weekday="thursday", location=location
    )
    begin = microseconds(datetime(2026, 1, 1, tzinfo=UTC)) + day * DAY
    seen = [last_due(digest, begin + n * HOUR // 2) for n in range(15 * 48)]
    assert seen == sorted(seen)
    assert all(due <= begin + n * HOUR // 2 for n, due in enumerate(seen))
    there = [datetime.fromtimestamp(due / 1e6, ZoneInfo(location)) for due in dict.fromkeys(seen)]
    dates = [moment.date() for moment in there]
    step = timedelta(days=1 if every == "day" else 7)
    assert all(later - earlier == step for earlier, later in pairwise(dates))
    assert every == "day" or all(date.weekday() == 3 for date in dates)


# Once


def turns(engine: Engine, clock: Clock, *digests: DigestSettings) -> Scheduled:
    scheduled = Scheduled(engine, digests or (MORNING,), clock)
    scheduled.turn()
    return scheduled


def test_a_digest_is_sent_once_a_period_and_the_first_one_at_the_next_stated_time(engine):
    clock, desk = Clock(SEVEN), Inbox("desk")
    decided(engine, SEVEN)
    scheduled = turns(engine, clock)
    assert made(engine) == [("begun", *["2026-03-01T06:30:00Z"] * 3)], "a new one sends nothing about the past"
    clock.forward(0.5)
    decided(engine, clock() - 7 * MINUTE)
    for _ in range(3):
        scheduled.turn()
    turns(engine, clock)  # another process
    deliver(engine, [desk], clock)
    assert [heard[0] for heard in desk.heard()] == ["digest"]
    clock.forward(24)
    decided(engine, clock() - MINUTE)
    scheduled.turn()
    deliver(engine, [desk], clock)
    assert made(engine)[1:] == [
        ("scheduled", "2026-03-01T06:30:00Z", "2026-03-02T06:23:00Z", "2026-03-02T06:30:00Z"),
        ("scheduled", "2026-03-02T06:23:00Z", "2026-03-03T06:29:00Z", "2026-03-03T06:30:00Z"),
    ], "each goes on where the one before ended"
    assert len(desk.notices) == 2
    for notice in desk.notices:
        jsonschema.validate(json.loads(body(notice)), DIGEST)


def test_what_was_missed_while_nothing_ran_is_sent_at_the_start_and_only_the_last(engine):
    clock, desk = Clock(SEVEN), Inbox("desk")
    decided(engine, SEVEN)
    turns(engine, clock)
    clock.forward(3 * 24 + 4)  # Thursday, 11:00
    decided(engine, clock())
    for _ in range(3):
        turns(engine, clock)
    deliver(engine, [desk], clock)
    assert made(engine)[1:] == [("scheduled", "2026-03-04T06:30:00Z", "2026-03-05T06:30:00Z", "2026-03-05T06:30:00Z")]
    assert len(desk.notices) == 1


def test_a_digest_waits_until_what_was_missed_is_decided_but_not_for_ever(engine, monkeypatch):
    clock = Clock(SEVEN)
    decided(engine, SEVEN)
    scheduled = turns(engine, clock)
    clock.forward(24)
    decided(engine, SEVEN)
    scheduled.turn()
    assert len(made(engine)) == 1, "the monitor may be catching up"
    monkeypatch.setattr(scheduling, "STILL_SECONDS", 0.0)
    decided(engine, SEVEN + HOUR)
    scheduled.turn()
    assert made(engine)[1:] == [("scheduled", "2026-03-01T06:30:00Z", "2026-03-02T06:30:00Z", "2026-03-02T06:30:00Z")]


def test_a_digest_after_a_gap_does_not_cover_what_the_one_before_did(engine, monkeypatch):
    """Nothing ran on Tuesday morning, and the feed lags: on Wednesday two hours more are decided than on Monday."""
    monkeypatch.setattr(scheduling, "STILL_SECONDS", 0.0)
    clock = Clock(SEVEN)
    decided(engine, SEVEN)
    turns(engine, clock)
    clock.forward(1)
    decided(engine, SEVEN)
    turns(engine, clock)
    clock.forward(48)
    decided(engine, SEVEN + 2 * HOUR)
    turns(engine, clock)
    assert made(engine)[1:] == [
        ("scheduled", "2026-03-01T06:30:00Z", "2026-03-02T06:00:00Z", "2026-03-02T06:30:00Z"),
        ("scheduled", "2026-03-02T06:00:00Z", "2026-03-02T08:00:00Z", "2026-03-04T06:30:00Z"),
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 80), st.integers(-60, 30)), min_size=2, max_size=8))
def test_no_two_digests_cover_the_same_time(store, passes):
    """Invariant: digests follow each other. Only after a gap does one begin later than the one before ended.

    `passes`: of a sender, some hours after the one before; and how much is decided then, in hours from the clock.
    """
    empty(store)
    clock, until = Clock(SEVEN), SEVEN - 10 * DAY
    with patch.object(scheduling, "STILL_SECONDS", 0.0):
        for hours, ahead in passes:
            clock.forward(hours)
            until = max(until, min(clock(), clock() + ahead * HOUR))
            decided(store, until)
            turns(store, clock)
    found = made(store)
    assert all(start <= end <= due for _, start, end, due in found)
    assert all(one[2] <= later[1] for one, later in pairwise(found)), found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 80), st.sampled_from([0, 0, 30, 400, -30, -400])), max_size=6))
def test_a_clock_that_was_wrong_holds_no_digest_and_nothing_is_in_two(store, passes):
    """Invariant: once the clock is right again, the next stated time has its digest, and no two digests overlap.

    `passes`: of a sender, some hours after the one before, and how many hours its clock is wrong.
    """
    empty(store)
    clock = Clock(SEVEN)
    with patch.object(scheduling, "STILL_SECONDS", 0.0):
        for hours, wrong in [*passes, (0, 0), (25, 0)]:
            clock.forward(hours)
            decided(store, clock())
            turns(store, Clock(clock() + wrong * HOUR))
    assert iso(last_due(MORNING, clock())) in [due for reason, *_, due in made(store) if reason == "scheduled"]
    covered = sorted((start, end) for reason, start, end, _ in made(store) if reason == "scheduled")
    assert all(one[1] <= later[0] for one, later in pairwise(covered)), covered


def test_a_digest_that_is_made_late_has_as_long_as_any_to_reach_its_receiver(engine):
    """The receiver is down. What waits for it is given up some hours after it was made, not after the stated time."""
    clock = Clock(SEVEN)
    decided(engine, SEVEN)
    turns(engine, clock)
    clock.forward(10)
    decided(engine, clock())
    turns(engine, clock)
    with writing(engine) as connection:
        assert deliveries.give_up(connection, "desk", clock() - 4 * HOUR, "no answer") == 0
        assert [item.receiver for item in deliveries.due(connection, "desk", clock(), 10)] == ["desk"]
        assert deliveries.give_up(connection, "desk", clock() + 1, "no answer") == 1


def test_a_feed_that_stands_still_gets_a_digest_of_nothing(engine, monkeypatch):
    monkeypatch.setattr(scheduling, "STILL_SECONDS", 0.0)
    clock = Clock(SEVEN)
    decided(engine, SEVEN - 5 * DAY)
    scheduled = turns(engine, clock)
    clock.forward(24)
    scheduled.turn()
    assert made(engine)[1:] == [("scheduled", "2026-03-01T06:30:00Z", "2026-03-01T06:30:00Z", "2026-03-02T06:30:00Z")]


def two_at_once(engine: Engine) -> None:
    clock = Clock(SEVEN)
    decided(engine, SEVEN)
    turns(engine, clock)
    clock.forward(1)
    decided(engine, clock())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: turns(engine, clock), range(4)))
    assert [row[0] for row in made(engine)] == ["begun", "scheduled"]
    with reading(engine) as connection:
        assert len(connection.execute(select(schema.deliveries)).all()) == 1


def test_two_senders_write_one_digest(engine):
    two_at_once(engine)


@pytest.mark.postgres
def test_two_senders_write_one_digest_on_postgresql(postgres):
    engine = connect(postgres, create=True)
    try:
        two_at_once(engine)
    finally:
        engine.dispose()


def test_two_senders_at_once_hand_out_what_was_muted_and_the_digests_once(engine):
    """A stand-by took over in the middle of an incident while the other sender still runs."""
    clock, desk = Clock(SEVEN - 2 * HOUR), Inbox("desk")
    routes = routing([desk], {"receivers": ["desk"], "mute_time_intervals": ["night"]})
    decided(engine, clock())
    turns(engine, clock)
    put(engine, "aa", "firing", clock())
    put(engine, "bb", "firing", clock())
    deliver(engine, [desk], clock, routes)
    clock.forward(3)
    decided(engine, clock())
    more: dict[str, Any] = {"now": clock, "routing": routes, "digests": (MORNING,)}
    with Sender(engine, [desk], **more) as one, Sender(engine, [desk], **more) as two:
        put(engine, "aa", "resolved", clock())
        until = time.monotonic() + 20
        while len({n.id for n in desk.notices}) < 3 and time.monotonic() < until:
            one.wake()
            two.wake()
            time.sleep(0.05)
        one.drain()
        two.drain()
    got = {notice.id: notice for notice in desk.notices}
    said = sorted(notice.alert.get("digest", {}).get("reason", notice.event) for notice in got.values())
    assert said in (["muted", "resolved", "scheduled"], ["firing", "resolved", "scheduled"])


# What they say


def incident(
    engine: Engine, name: str, fired: int, ended: int | None = None, severity: str = "warning", **more: Any
) -> None:
    put(engine, name, "firing", fired, severity=severity, topic=f"T{name}", state="withheld")
    with writing(engine) as connection:
        mine = schema.incidents.c.first_alert == f"{name}000000-0000-0000-0000-000000000000"
        state = "open" if ended is None else "ended"
        connection.execute(update(schema.incidents).where(mine).values(ended_at=ended, state=state, **more))


def bucket(connection: Any, topic: str, start: int, events: int, polarity: float, baseline: float | None) -> None:
    negative = round(events * 10_000 * (1 - polarity) / 2)
    connection.execute(
        insert(schema.buckets).values(
            topic=topic, start=start, stories=events, events=events, negative=negative, neutral=0,
            positive=events * 10_000 - negative, day_events=0, day_negative=0, sources="[]",
            baseline=None if baseline is None else round(baseline * 10_000), settings=1,
        )
    )  # fmt: skip


def topic(connection: Any, name: str, first: int, last: int, stories: int) -> None:
    connection.execute(
        insert(schema.topics).values(topic=name, first_story_at=first, last_story_at=last, stories=stories)
    )


def content(engine: Engine) -> dict[str, Any]:
    with reading(engine) as connection:
        return digest_content.content(connection, "morning", (NOON - DAY, NOON))


def test_a_digest_says_what_fired_what_ended_and_what_is_open(engine):
    incident(engine, "aa", NOON - DAY)  # at its start: of the one before
    incident(engine, "bb", NOON - DAY + 1, severity="info")
    incident(engine, "cc", NOON, severity="critical")
    incident(engine, "dd", NOON - 3 * DAY, NOON - HOUR)
    incident(engine, "ee", NOON - 2 * HOUR, NOON - HOUR)
    incident(engine, "ff", NOON - 2 * HOUR, NOON - HOUR, merged_into="cc")
    incident(engine, "gg", NOON + 1)
    found = content(engine)
    assert [one["title"] for one in found["fired"]] == ["cc", "ee", "bb"], "the gravest first"
    assert [one["title"] for one in found["ended"]] == ["dd", "ee"]
    assert (found["fired_count"], found["ended_count"], found["open_count"]) == (3, 2, 3)
    assert found["sentence"] == "morning: 3 incidents fired, 2 ended, and 3 are open."
    assert found["fired"][0]["topics"] == ["Tcc"]
    with writing(engine) as connection:
        mine = schema.alerts.c.topic == "Tcc"
        connection.execute(update(schema.alerts).where(mine).values(topic=f"{NEW}Halden Foods", kind="new_name"))
    assert content(engine)["fired"][0]["topics"] == ["Halden Foods"], "as people know the name"
    with writing(engine) as connection:
        mine = schema.alerts.c.topic == f"{NEW}Halden Foods"
        connection.execute(update(schema.alerts).where(mine).values(topic="Tcc", kind="drift"))
    found = content(engine)
    assert content(engine) == found, "it depends on the store's rows alone"


def test_a_digest_names_topics_that_moved_and_topics_that_were_quiet(engine):
    start = NOON - DAY
    with writing(engine) as connection:
        for name, polarity in (("Fell", -0.9), ("Rose", 0.7), ("Same", 0.1), ("Few", -1.0), (ALL, -0.9)):
            topic(connection, name, start - 30 * DAY, NOON - HOUR, 1_000)
            bucket(connection, name, NOON - HOUR, 4 if name == "Few" else 40, polarity, 0.1)
        bucket(connection, "Same", NOON, 400, -1.0, 0.1)  # of the next one
        topic(connection, "Stopped", start - 30 * DAY, start - HOUR, 300)
        topic(connection, "Rare", start - 30 * DAY, start - HOUR, 30)
        topic(connection, "Long gone", start - 60 * DAY, start - 8 * DAY, 900)
    found = content(engine)
    assert [(one["topic"], one["direction"]) for one in found["movers"]] == [("Fell", "worse"), ("Rose", "better")]
    assert found["movers"][0] == {"topic": "Fell", "direction": "worse", "polarity": -0.9, "usual": 0.1, "events": 40}
    assert [(one["topic"], one["usual"]) for one in found["quiet"]] == [("Stopped", 10.0)]
    sent = {"version": 2, "type": "digest.scheduled", "timestamp": iso(NOON)}
    whole = {"id": "00000000-0000-5000-8000-000000000000", "link": None, **found}
    jsonschema.validate(sent | {"data": whole}, DIGEST)
    lines = digest_text.lines(whole)
    assert lines == [
        "morning: 0 incidents fired, 0 ended, and 0 are open. (11:00 UTC on 1 March 2026 to 11:00 UTC on 2 March 2026)",
        "Worse: Fell, mood -0.90, usual +0.10, 40 events.",
        "Better: Rose, mood +0.70, usual +0.10, 40 events.",
        "Quiet: Stopped, no story since 10:00 UTC on 1 March 2026; usual are 10 stories.",
    ]


def test_a_digest_lists_the_gravest_and_counts_the_others(engine):
    for number in range(60):
        incident(engine, f"{number:02x}", NOON - HOUR + number, severity="critical" if number == 59 else "info")
    found = content(engine)
    assert (len(found["fired"]), found["fired_count"], found["fired"][0]["title"]) == (50, 60, "3b")
    lines = digest_text.lines({**found, "id": "x"})
    assert len(lines) == 22
    assert (lines[1], lines[-1]) == ("Fired (critical): 3b", "And 40 more.")


def test_a_message_of_a_digest_is_plain_text_whatever_topics_are_called(engine, monkeypatch):
    sent: list[dict[str, Any]] = []
    settings_ = MessageSettings.model_validate(
        {"name": "chat", "apprise_url": "slack://T1JJ3T3L2/B1BRTD4JD/" + "a" * 24}
    )
    monkeypatch.setattr("apprise.Apprise.notify", lambda _, **given_: sent.append(given_) or True)
    clock, chat = Clock(NOON - 13 * HOUR), Inbox("desk")  # 23:00
    routes = routing([chat], {"receivers": ["desk"], "mute_time_intervals": ["night"]})
    put(engine, "aa", "firing", clock())
    put(engine, "bb", "firing", clock(), severity="critical")
    deliver(engine, [chat], clock, routes)
    clock.forward(9)
    deliver(engine, [chat], clock, routes)
    (notice,) = chat.notices
    notice.alert["digest"]["incidents"][0]["title"] = "<!here> *bb*"
    Message(settings_).send(notice)
    assert sent[0]["title"] == "Digest of what was muted"
    lines = sent[0]["body"].splitlines()
    assert lines[0].startswith("While messages were kept back: 2 incidents fired.")
    assert "<!here>" not in lines[1]
    assert lines[2] == "Fired (warning): aa firing"
