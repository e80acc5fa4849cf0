"""The checks of `benchmarks.soak` find what they are for: a lost story, a doubled one, a leak of 1 MB a minute."""

from __future__ import annotations

import copy
import random
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import soak_checks as checks
from benchmarks.soak import concluded
from benchmarks.soak_checks import Attempt
from benchmarks.soak_feed import Inbox, RssServer, Wording

SENT = {"s-1": 1, "s-2": 2, "late-3": 1}
FOUND = {"s-1": (1, 1), "s-2": (2, 1), "late-3": (1, 1)}


def test_stories_that_are_all_there_once_are_neither_lost_nor_doubled() -> None:
    found = checks.stories(SENT, FOUND)
    assert (found["lost"], found["doubled"], found["records_found"]) == (0, 0, 4)


@pytest.mark.parametrize(
    ("changed", "lost", "doubled"),
    [
        ({"s-1": (0, 0)}, ["s-1"], []),  # no record of it
        ({"s-2": (1, 1)}, ["s-2"], []),  # its repetition is missing
        ({"s-1": (1, 0)}, ["s-1"], []),  # it never counted
        ({"s-1": (2, 1)}, [], ["s-1"]),  # a record too many
        ({"s-2": (2, 2)}, [], ["s-2"]),  # it counted twice
        ({"s-9": (1, 1)}, [], ["s-9"]),  # nobody sent it
    ],
)
def test_a_story_that_is_lost_or_doubled_is_found(
    changed: dict[str, tuple[int, int]], lost: list[str], doubled: list[str]
) -> None:
    found = checks.stories(SENT, {**FOUND, **changed})
    assert (found["lost"], found["doubled"], found["examples"]) == (len(lost), len(doubled), lost + doubled)


def rows(mb: Callable[[int], float] = lambda _: 0.0, handles: Callable[[int], int] = lambda _: 0) -> list[Any]:
    """An hour's samples of one process that takes about 700 MB, and goes up and down by some."""
    draw, noise, found = random.Random(5), 0.0, []
    for minute in range(60):
        noise = 0.7 * noise + draw.gauss(0, 1.5)  # neighbouring minutes are alike
        process = {"mb": 700 + noise + mb(minute), "handles": 40 + minute % 3 + handles(minute), "threads": 20}
        latency = {"p95": 2.0 + draw.gauss(0, 0.1), "cpu_ms_a_story": 3.0 + draw.gauss(0, 0.05)}
        row = {"hours": minute / 60, "processes": {"worker": process}, "latency": latency}
        found.append({**row, "disturbed": minute % 15 == 0})
    return found


def verdicts(samples: list[Any]) -> dict[str, str]:
    return {name: one["verdict"] for name, one in checks.flatness(samples).items()}


def test_what_goes_up_and_down_is_flat() -> None:
    assert set(verdicts(rows()).values()) == {"flat"}


def test_a_leak_of_a_megabyte_a_minute_is_found() -> None:
    found = checks.flatness(rows(mb=float))["worker.mb"]
    assert found["verdict"] == "grows"
    assert found["an_hour"] == pytest.approx(60, abs=8)


def test_a_leak_of_a_descriptor_every_four_minutes_is_found() -> None:
    assert verdicts(rows(handles=lambda minute: minute // 4))["worker.handles"] == "grows"


def test_what_a_process_takes_while_it_warms_up_is_no_leak() -> None:
    assert verdicts(rows(mb=lambda minute: 20.0 * min(minute, 14)))["worker.mb"] == "flat"


def test_latency_that_creeps_is_found_and_that_of_disturbed_minutes_is_left_out() -> None:
    samples = rows()
    for minute, row in enumerate(samples):
        row["latency"]["p95"] += 50.0 if row["disturbed"] else 0.04 * minute
    found = checks.flatness(samples)["latency.p95"]
    assert (found["verdict"], found["samples"]) == ("grows", 42)
    assert found["median"] < 5


@given(st.lists(st.integers(-1_000, 1_000), min_size=5, max_size=20), st.integers(-50, 50), st.integers(-50, 50))
def test_a_slope_follows_a_line_that_is_added(values: list[int], height: int, steep: int) -> None:
    """Invariant: slope(v + a + b t) = slope(v) + b, its interval as well."""
    hours = [place / 4 for place in range(len(values))]
    one = checks.slope(hours, values, 1.0)
    other = checks.slope(hours, [v + height + steep * t for v, t in zip(values, hours, strict=True)], 1.0)
    assert (other.an_hour, other.low, other.high) == pytest.approx(
        (one.an_hour + steep, one.low + steep, one.high + steep), abs=1e-6
    )


FIRED = Attempt("desk", "m1", "i1", "incident.firing", "2026-01-01T00:00:00Z", 204)
GREW = Attempt("desk", "m2", "i1", "incident.updated", "2026-01-01T01:00:00Z", 204)
ENDED = Attempt("desk", "m3", "i1", "incident.resolved", "2026-01-02T00:00:00Z", 204)
DELIVERED = [("desk", "i1")] * 3


def test_messages_that_came_once_and_in_order_after_refusals_are_right() -> None:
    refused = [replace(FIRED, answer=500), replace(FIRED, answer=429)]
    found = checks.webhooks([*refused, FIRED, GREW, ENDED], DELIVERED)
    assert {name: found[name] for name in checks.MESSAGES} == dict.fromkeys(checks.MESSAGES, 0)
    assert (found["attempts"], found["accepted"], found["refused"]) == (5, 3, 2)


@pytest.mark.parametrize(
    ("attempts", "wrong"),
    [
        ([FIRED, FIRED, GREW, ENDED], {"doubled", "out_of_order", "delivered_and_not_expected"}),
        ([FIRED, ENDED, GREW], {"out_of_order"}),
        ([GREW, FIRED, ENDED], {"out_of_order"}),
        ([FIRED, GREW], {"not_delivered"}),
        ([replace(FIRED, answer=500, id="other"), FIRED, GREW, ENDED], {"with_a_second_id"}),
        ([FIRED, GREW, replace(ENDED, verified=False)], {"unverified"}),
    ],
)
def test_a_message_that_is_doubled_missing_or_out_of_order_is_found(attempts: list[Attempt], wrong: set[str]) -> None:
    found = checks.webhooks(attempts, DELIVERED)
    assert {name for name in checks.MESSAGES if found[name]} == wrong


def desk() -> dict[str, Any]:
    tables = ("buckets", "alerts", "incidents", "topics")
    return {
        "webhooks": {"accepted": 3, "refused": 2, **dict.fromkeys(checks.MESSAGES, 0)},
        "alerts": {"fired": 1, "no_end": 0, "without_a_message": 0},
        "replayed": {table: {"rows": 9, "only_live": 0, "only_replayed": 0} for table in tables},
    }


GOOD: dict[str, Any] = {
    "minutes": 60.0,
    "settled": {
        "seconds_until": {"committed": 1.0, "decided": 2.0, "delivered": 2.0},
        "exit_codes": {"worker": 0, "monitor 1": 0, "monitor 2": 0, "run": 0},
    },
    "viewer": {"refreshes": 7, "errors": []},
    "flatness": {"worker.mb": {"verdict": "flat"}, "latency.p95": {"verdict": "undecided"}},
    "left": {
        "kafka": {"records_sent": 100, "lost": 0, "doubled": 0},
        "rss": {"records_sent": 9, "lost": 0, "doubled": 0},
        "records": {
            **{"acknowledged": 102, "at_the_broker": 102, "in_the_store": 102, "poison_sent": 2, "dead_letters": 2}
        },
        "late": {
            "sent": {"s": 80, "c": 5, "slow": 5, "late": 6, "stale": 4},
            "found_late_stale": {
                **{"s": [80, 0, 0], "c": [5, 0, 0], "slow": [5, 0, 0], "late": [6, 6, 0], "stale": [4, 4, 4]}
            },
        },
        "scaled": desk(),
        "single": desk(),
    },
}
LATE = ("left", "late", "found_late_stale")
PLANTED: list[tuple[tuple[str, ...], Any, set[str]]] = [
    (("left", "kafka", "records_sent"), 103, {"records sent, not acknowledged"}),
    (
        ("left", "records", "at_the_broker"),
        101,
        {"records acknowledged, not at the broker", "records at the broker, not in the store"},
    ),
    (("left", "records", "in_the_store"), 103, {"records at the broker, not in the store"}),
    (("left", "records", "dead_letters"), 3, {"records that are not stories, not among the dead letters"}),
    *(
        (("left", feed, fault), 1, {f"{feed}: stories {fault}"})
        for feed in ("kafka", "rss")
        for fault in ("lost", "doubled")
    ),
    ((*LATE, "late"), [6, 5, 0], {"stories sent as late, not found late"}),
    ((*LATE, "late"), [6, 6, 1], {"stories sent as late, found stale"}),
    ((*LATE, "stale"), [4, 3, 4], {"stories sent as stale, not found late"}),
    ((*LATE, "stale"), [4, 4, 3], {"stories sent as stale, not found stale"}),
    *(((*LATE, kind), [5, 1, 0], {f"stories sent as {kind}, found late or stale"}) for kind in ("s", "c", "slow")),
    *(
        (("left", name, *where), 1, {f"{name}: {called}"})
        for name in ("scaled", "single")
        for where, called in (
            *((("webhooks", fault), f"messages {fault}") for fault in checks.MESSAGES),
            (("alerts", "no_end"), "alerts without an end"),
            (("alerts", "without_a_message"), "incidents without a message"),
            *(
                (("replayed", table, side), f"{table} that a replay changes")
                for table in ("buckets", "alerts", "incidents", "topics")
                for side in ("only_live", "only_replayed")
            ),
        )
    ),
    (("settled", "seconds_until", "decided"), "worker ended (1)", {"stages not reached in time"}),
    (("settled", "exit_codes", "run"), -9, {"processes with another exit code"}),
    (("viewer", "errors"), ["PageFailed: 500"], {"errors of the viewer"}),
    (("flatness", "worker.mb", "verdict"), "grows", {"figures that grow"}),
]


def planted(where: tuple[str, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(GOOD)
    place = changed
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    return changed


def test_a_good_soak_ends_with_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.not_zero(GOOD) == []
    assert concluded(GOOD) == 0
    assert "NOT ZERO" not in capsys.readouterr().out


def test_every_fault_is_named_and_ends_with_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    found = set[str]()
    for where, value, names in PLANTED:
        result = planted(where, value)
        wrong = {name for name, count in checks.must_be_zero(result).items() if count}
        assert (wrong, concluded(result)) == (names, 1), where
        assert capsys.readouterr().out.count("NOT ZERO") == len(names)
        found |= names
    assert found == set(checks.must_be_zero(GOOD)), "each figure has a fault that it finds"


def test_what_grows_in_a_few_minutes_is_no_fault() -> None:
    assert checks.not_zero({**planted(("flatness", "worker.mb", "verdict"), "grows"), "minutes": 3.0}) == []


def test_surplus_late_stories_of_one_kind_do_not_hide_missing_ones_of_another() -> None:
    result = planted((*LATE, "late"), [6, 4, 0])
    result["left"]["late"]["found_late_stale"]["s"] = [80, 2, 0]
    assert len(checks.not_zero(result)) == 2


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    receiver = Inbox("whsec_" + "A" * 32)
    receiver.up()
    yield receiver
    receiver.down()


def post(inbox: Inbox) -> int:
    body = b'{"type": "incident.firing", "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "i1"}}'
    request = urllib.request.Request(f"{inbox.url}/desk", body, {"webhook-id": "m1"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_receiver_is_well_ill_gone_and_back(inbox: Inbox) -> None:
    answers = [post(inbox)]
    inbox.mood = "ill"
    answers += [post(inbox), post(inbox)]
    inbox.down()
    with pytest.raises(OSError, match="refused"):
        post(inbox)
    inbox.mood = "well"
    inbox.up()
    answers.append(post(inbox))
    assert answers == [204, 429, 500, 204]
    assert [one.answer for one in inbox.attempts] == answers
    assert not any(one.verified for one in inbox.attempts)  # nobody signed these


def test_the_rss_server_is_back_with_other_etags_and_the_items_that_it_had() -> None:
    feed = RssServer(3_600, Wording(1, feeds=1))
    feed.crisis(1)
    feed.close()
    found = []
    for _ in range(2):
        feed.up()
        with urllib.request.urlopen(f"{feed.url}/feed", timeout=30) as answer:
            found.append((answer.headers["etag"], answer.read()))
        feed.down()
    (one, items), (other, again) = found
    assert items == again
    assert one != other
    assert feed.titles.total() == 1
