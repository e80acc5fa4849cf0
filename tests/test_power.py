"""`power`: changes have their named size, alerts count only if a change caused them, and bad input is reported."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.analysis.history import Past
from foreshock.analysis.injection import (
    APART,
    CHANGES,
    DAY_EVENTS,
    DAY_NEGATIVE,
    Change,
    first_more,
    measure,
    moments,
    planted,
    seeded,
)
from foreshock.analysis.power import span
from foreshock.cli import main
from foreshock.monitor.baseline import EVENTS, NEGATIVE, POSITIVE
from foreshock.monitor.deciding import BucketCounts, DetectionRules
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import DAY, HOUR, UNIT

pytestmark = pytest.mark.slow

START = 20_003 * DAY
DAYS, CRISIS, LEARNED = 60, 40, 15
RATES = {"oil": 2.0, "banks": 1.0, "ports": 1.0, "steel": 0.5, "clogs": 2 / 168}
"""Events an hour; of clogs two stories a week."""
WEEK = 7 * DAY
RULES = DetectionRules(bucket=HOUR)
PLUS_40 = next(change for change in CHANGES if change.points == 0.4)


def made_past(days: int = DAYS) -> Past:
    """Hourly buckets of five topics; from day 40 on half of what is said of ports is bad."""
    rng = np.random.default_rng(3)
    names, counts, firsts = list[str](), list[BucketCounts](), set[int]()
    for hour in range(days * 24):
        there = {topic: n for topic, rate in RATES.items() if (n := int(rng.poisson(rate)))}
        for topic in there:
            if topic not in names:
                names.append(topic)
                firsts.add(len(counts))
        rows = []
        for topic, n in there.items():
            bad = rng.binomial(n, 0.65 if topic == "ports" and CRISIS <= hour / 24 < CRISIS + 5 else 0.25)
            negative = int((0.9 * bad + 0.06 * (n - bad)) * UNIT)
            rows.append((n * UNIT, negative, (n * UNIT - negative) // 3))
        if rows:
            index = np.array([names.index(topic) for topic in there])
            two = (("paper", "wire"),) * len(rows)
            counts.append(
                BucketCounts(START + hour * HOUR, index, np.array(rows), np.zeros((len(rows), 2), np.int64), two)
            )
    return Past(names, counts, frozenset(firsts), START + days * DAY)


@pytest.fixture(scope="module")
def past() -> Past:
    return made_past()


def tried(past: Past, topic: str, changes: tuple[Change, ...] = CHANGES, plants: int = 6) -> dict[str, Any]:
    learned = START + LEARNED * DAY if topic != "clogs" else None
    at = moments(past, RULES, topic, learned, WEEK, plants)
    return {noticed.change.name: noticed for noticed in measure(past, RULES, topic, at, WEEK, changes)}


def test_a_large_rise_on_a_busy_topic_is_always_noticed_and_a_smaller_one_no_more_often(past: Past) -> None:
    found = tried(past, "oil", tuple(change for change in CHANGES if change.kind in ("share", "silence")), 4)
    numbers = [len(found[f"+{points} points"].delays) for points in (10, 20, 40)]
    assert numbers[2] == 4
    assert numbers == sorted(numbers)
    assert len(found["no events"].delays) == 4
    assert all(0 < delay <= WEEK for noticed in found.values() for delay in noticed.delays)


def test_four_times_the_events_fire_an_alert_of_volume(past: Past) -> None:
    four_times = next(change for change in CHANGES if change.times == 4)
    assert len(tried(past, "steel", (four_times,))[four_times.name].delays) >= 3


def test_on_a_topic_with_two_stories_a_week_a_surge_alone_is_noticed(past: Past) -> None:
    twelve = next(change for change in CHANGES if change.stories == 12)
    surge = tried(past, "clogs", (twelve,), 3)[twelve.name]
    assert len(surge.delays) == 3
    assert all(plant.stories is not None and plant.stories <= 12 for plant in surge.plants)
    found = tried(past, "clogs", tuple(change for change in CHANGES if change.kind in ("share", "silence")), 3)
    # 40 points more of its few stories may be a surge by their number: one of three.
    assert len(found.pop("+40 points").delays) == 1
    assert [noticed.delays for noticed in found.values()] == [[]] * 3
    assert all(len(noticed.plants) == 3 for noticed in found.values())


def test_an_alert_that_fires_without_the_change_does_not_count(past: Past) -> None:
    unchanged = (Change("as it was", "share"), Change("as many", "volume", times=1))
    at = [next(place for place, counts in enumerate(past.counts) if counts.start >= START + (CRISIS - 1) * DAY)]
    still = measure(past, RULES, "ports", [at[0], at[0] + 3 * 24], WEEK, unchanged)
    assert [noticed.delays for noticed in still] == [[], []]
    # In that week an alert did fire, and fires still three days later.
    assert [plant.firing for plant in still[0].plants] == [False, True]


@pytest.mark.parametrize(
    ("fired", "anyway", "found"),
    [
        ([], [5], None),
        ([5], [], 5),
        ([5], [5], None),
        ([6], [5], None),  # the alert that fires anyway, a little later
        ([4], [5], 4),  # and sooner
        ([5, 9], [5], 9),
        ([6, 9], [5, 10], 9),
        ([6, 11], [5, 10], None),
    ],
)
def test_a_change_is_noticed_if_an_alert_fires_sooner_or_more_often_than_without_it(
    fired: list[int], anyway: list[int], found: int | None
) -> None:
    assert first_more(fired, anyway) == found


def test_the_same_past_gives_the_same_result() -> None:
    changes = (PLUS_40, Change("+5 points", "share", points=0.05))
    assert tried(made_past(30), "steel", changes, 3) == tried(made_past(30), "steel", changes, 3)


def test_stories_after_a_change_do_not_decide_whether_it_was_noticed(past: Past) -> None:
    at = moments(past, RULES, "banks", START + LEARNED * DAY, WEEK, 3)[:1]
    until = past.counts[at[0]].start + WEEK
    kept = [counts for counts in past.counts if counts.start < until]
    cut = Past(past.names, kept, frozenset(place for place in past.firsts if place < len(kept)), until)
    one_of_each = tuple({change.kind: change for change in CHANGES}.values())
    assert len(one_of_each) == 4
    assert measure(cut, RULES, "banks", at, WEEK, one_of_each) == measure(past, RULES, "banks", at, WEEK, one_of_each)


def test_moments_are_spread_over_the_time_after_learning_and_leave_room_for_the_change(past: Past) -> None:
    learned = START + LEARNED * DAY
    times = [past.counts[place].start for place in moments(past, RULES, "oil", learned, WEEK, 10)]
    assert len(times) == 10
    assert learned <= times[0]
    assert times[-1] + WEEK <= past.until
    stretch = (past.until - WEEK - learned) / 10
    assert all(
        learned + n * stretch <= at + HOUR <= learned + (n + 1) * stretch + 2 * HOUR for n, at in enumerate(times)
    )


@pytest.mark.parametrize(("within", "wanted", "given"), [(40, 10, 5), (44.5, 10, 0), (400, 10, 0), (10, 35, 35)])
def test_there_are_fewer_moments_where_they_would_be_less_than_a_day_apart(
    past: Past, within: float, wanted: int, given: int
) -> None:
    at = moments(past, RULES, "oil", START + LEARNED * DAY, int(within * DAY), wanted)
    assert abs(len(at) - given) <= (given > 0)
    assert APART == DAY


parts = st.tuples(st.integers(0, 6), st.floats(0, 1))


@st.composite
def rows(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """A topic's buckets, of events known to the minute and to the day."""
    found = []
    for _ in range(draw(st.integers(1, 30))):
        (timed, bad), (dated, worse), good = draw(parts), draw(parts), draw(st.floats(0, 1))
        negative, day_negative = round(timed * UNIT * bad), round(dated * UNIT * worse)
        events, total = (timed + dated) * UNIT, negative + day_negative
        found.append((events, total, int((events - total) * good), dated * UNIT, day_negative))
    return np.array(found, np.int64)


@given(rows(), st.sampled_from([0.1, 0.2, 0.4]), st.integers(0, 1000))
def test_a_planted_rise_changes_no_events_and_leaves_possible_sums(
    before: np.ndarray[Any, Any], points: float, seed: int
) -> None:
    after = planted(before, Change("", "share", points=points), seeded(seed))
    assert (after[:, [EVENTS, DAY_EVENTS]] == before[:, [EVENTS, DAY_EVENTS]]).all()
    timed = after[:, [EVENTS, NEGATIVE]] - after[:, [DAY_EVENTS, DAY_NEGATIVE]]
    for events, negative in (timed.T, after[:, [DAY_EVENTS, DAY_NEGATIVE]].T):
        assert (negative >= 0).all()
        assert (negative <= events).all()
    assert (after[:, NEGATIVE] >= before[:, NEGATIVE]).all()
    assert (after[:, POSITIVE] >= 0).all()
    assert (after[:, POSITIVE] <= before[:, POSITIVE]).all()
    assert (after[:, NEGATIVE] + after[:, POSITIVE] <= after[:, EVENTS]).all()


@given(rows(), st.sampled_from([0.1, 0.2, 0.4]))
def test_a_planted_rise_has_the_named_points_on_average(before: np.ndarray[Any, Any], points: float) -> None:
    draws, events = 200, before[:, EVENTS].sum() / UNIT
    room = 1 - before[:, NEGATIVE].sum() / max(before[:, EVENTS].sum(), 1)
    rises = [
        (planted(before, Change("", "share", points=points), seeded(n)) - before)[:, NEGATIVE].sum() / UNIT
        for n in range(draws)
    ]
    # A sum of independent gains of at most 1 each: its variance is no more than events / 4.
    error = 6 * (events / 4 / draws) ** 0.5
    assert abs(np.mean(rises) - events * min(points, room)) <= error + 1e-3 * len(before)


def test_a_share_without_enough_room_rises_to_one() -> None:
    before = np.array([[2 * UNIT, 18_000, 1_000, 0, 0]])
    assert planted(before, PLUS_40, seeded(1)).tolist() == [[2 * UNIT, 2 * UNIT, 0, 0, 0]]


def test_four_times_the_events_and_no_events_multiply_the_rows() -> None:
    before = np.array([[2 * UNIT, 9_000, 1_000, UNIT, 500]])
    times = {
        change.times: planted(before, change, seeded(1)).tolist()
        for change in CHANGES
        if change.kind in ("volume", "silence")
    }
    assert times == {2: (2 * before).tolist(), 4: (4 * before).tolist(), 0: [[0] * 5]}


def story(topic: str, hour: int, n: int, negative: float) -> str:
    scores = {"negative": negative, "neutral": round(0.99 - negative, 2), "positive": 0.01}
    words = " ".join(np.random.default_rng([hour, n]).choice(list("abcdefghijklmnopqrstuvwxyz"), 12))
    at = iso(START + hour * HOUR + n * 60_000_000)
    return json.dumps(
        {"id": f"{topic}{hour}-{n}", "published_at": at, "title": words, "topics": [topic], "scores": scores}
    )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a feed of 30 days and the store that a replay made of it; gas has news since three days ago."""
    folder, rng = tmp_path_factory.mktemp("desk"), np.random.default_rng(4)
    lines = []
    for hour in range(30 * 24):
        for n in range(1 + rng.poisson(0.5)):
            lines.append(story("Oil Futures", hour, n, 0.9 if rng.random() < 0.2 else 0.05))
        if hour >= 27 * 24 and hour % 2:
            lines.append(story("gas", hour, 30, 0.1))
    (folder / "feed.jsonl").write_text("\n".join(lines))
    (folder / "foreshock.toml").write_text('[watchlist]\ndefaults = false\n[time]\nbucket = "1h"\n')
    assert main(["replay", str(folder / "feed.jsonl"), *of(folder)]) == 0
    return folder


def of(desk: Path) -> list[str]:
    return ["--store", f"sqlite:///{desk}/news.db", "--config", str(desk / "foreshock.toml")]


def test_the_command_prints_sentences_and_changes_nothing(desk: Path, capsys: Any) -> None:
    before = (desk / "news.db").read_bytes()
    assert main(["power", "Oil Futures", *of(desk), "--within", "3d", "--plants", "3"]) == 0
    printed = capsys.readouterr().out
    assert "Oil Futures: 3" in printed
    assert "+40 points on Oil Futures: noticed in 3 of 3 within 3 days, half of these within " in printed
    assert (desk / "news.db").read_bytes() == before


def test_a_store_its_file_and_its_feed_give_the_same_result(desk: Path, capsys: Any) -> None:
    asked = ["power", "Oil Futures", "--within", "2d", "--plants", "1", "--json"]
    sources = [[*of(desk)], [str(desk / "news.db"), *of(desk)[2:]], [str(desk / "feed.jsonl"), *of(desk)[2:]]]
    printed = []
    for source in sources:
        assert main([*asked, *source]) == 0
        printed.append(capsys.readouterr().out)
    shown = [json.loads(text) for text in printed]
    assert all({**one, "source": ""} == {**shown[0], "source": ""} for one in shown)
    assert [change["of"] for change in shown[0]["changes"]] == [1] * len(CHANGES)
    for change in shown[0]["changes"]:
        assert change["noticed"] == sum(plant["noticed_at"] is not None for plant in change["plants"])


def test_the_series_of_all_stories_cannot_fall_silent(desk: Path, capsys: Any) -> None:
    assert main(["power", "_all", *of(desk), "--within", "2d", "--plants", "1", "--json"]) == 0
    assert {change["kind"] for change in json.loads(capsys.readouterr().out)["changes"]} == {"share", "volume", "surge"}


def test_an_unknown_topic_names_similar_ones(desk: Path, capsys: Any) -> None:
    assert main(["power", "oil future", *of(desk)]) == 2
    assert "has no topic 'oil future'. Did you mean Oil Futures?" in capsys.readouterr().err
    assert main(["power", "futures", *of(desk)]) == 2
    assert "Did you mean Oil Futures?" in capsys.readouterr().err
    assert main(["power", "zzz", *of(desk)]) == 2
    assert "foreshock topics list" in capsys.readouterr().err


def test_the_error_for_a_learning_topic_says_until_when(desk: Path, capsys: Any) -> None:
    assert main(["power", "gas", *of(desk)]) == 1
    assert "gas is still learning until 2024-11-" in capsys.readouterr().err


def test_the_error_for_a_short_past_suggests_a_shorter_change(desk: Path, capsys: Any) -> None:
    assert main(["power", "Oil Futures", *of(desk), "--within", "20d"]) == 1
    assert "too short for changes of 20 days" in capsys.readouterr().err
    assert main(["power", "Oil Futures", *of(desk), "--within", "14d", "--plants", "9"]) == 0
    assert "room for 1 moments a day apart, not for 9" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--within", "0"], ["--within", "soon"], ["--plants", "0"]])
def test_options_that_cannot_be_used_exit_2(desk: Path, wrong: list[str], capsys: Any) -> None:
    assert main(["power", "Oil Futures", *of(desk), *wrong]) == 2
    assert wrong[0] in capsys.readouterr().err


def test_a_missing_store_or_feed_is_bad_usage_and_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["power", "oil"]) == 2
    assert main(["power", "oil", "none.jsonl"]) == 2
    assert not list(tmp_path.iterdir())


def test_ctrl_c_leaves_nothing_behind(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_args: object) -> None:
        assert list(tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("foreshock.analysis.power.measure", stopped)
    assert main(["power", "Oil Futures", str(desk / "feed.jsonl"), *of(desk)[2:]]) == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("hours", "words"), [(0.42, "25 min"), (9.2, "9 h"), (48, "2 days"), (77, "3.2 days")])
def test_a_length_of_time_in_words(hours: float, words: str) -> None:
    assert span(hours * HOUR) == words
