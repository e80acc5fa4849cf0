"""`backtest`: the past decided again, compared with events and budgets; and its errors for bad input."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.analysis import backtest as backtesting
from foreshock.analysis.backtest import backtest
from foreshock.analysis.events import EventsError, ExpectedEvent, judge, read_events
from foreshock.analysis.rivals import alarms
from foreshock.cli import main
from foreshock.monitor.detectors import DetectionRules
from foreshock.monitor.store import open_store
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import DAY
from foreshock.settings.load import load

pytestmark = pytest.mark.slow

START = 20_003 * DAY
DAYS, CRISIS = 40, 34
BUDGETS = (1 / 4, 1.0, 4.0)
TOPICS = ("banks", "oil", "ports", "steel")


def write_feed(path: Path) -> Path:
    """Scored stories of four topics for 40 days; from day 34 on nearly all news of oil is bad."""
    rng = np.random.default_rng(5)
    with path.open("w") as file:
        for hour in range(DAYS * 24):
            for topic in TOPICS:
                for n in range(rng.poisson(0.6)):
                    bad = rng.random() < (0.9 if topic == "oil" and hour >= CRISIS * 24 else 0.25)
                    negative = 0.9 if bad else 0.05
                    words = " ".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 12))
                    story = {
                        "id": f"{topic}-{hour}-{n}",
                        "published_at": iso(START + hour * DAY // 24 + n * 60_000_000),
                        "title": words,
                        "source": ("wire", "paper")[n % 2],
                        "topics": [topic],
                        "scores": {"negative": negative, "neutral": 0.99 - negative, "positive": 0.01},
                    }
                    file.write(json.dumps(story) + "\n")
    return path


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a feed, the store that a replay made of it, and events."""
    folder = tmp_path_factory.mktemp("desk")
    feed = write_feed(folder / "feed.jsonl")
    (folder / "foreshock.toml").write_text('[watchlist]\ndefaults = false\n[time]\nbucket = "1h"\n')
    config = ["--config", str(folder / "foreshock.toml")]
    assert main(["replay", str(feed), "--store", f"sqlite:///{folder}/news.db", *config]) == 0
    with (folder / "events.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("topic", "start", "end"))
        rows.writerow(("oil", iso(START + CRISIS * DAY), iso(START + (CRISIS + 5) * DAY)))
        rows.writerow(("steel", iso(START + 22 * DAY), ""))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _few_budgets() -> Iterator[None]:
    """Enough to see a sweep; each decides the whole past again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foreshock.analysis.backtest.BUDGETS", BUDGETS)
        yield


@pytest.fixture(scope="module")
def result(desk: Path, _few_budgets: None) -> Any:
    """What a backtest finds, which changes nothing in the store."""
    settings, before = load(desk / "foreshock.toml").settings, (desk / "news.db").read_bytes()
    found = backtest(settings, f"sqlite:///{desk}/news.db", events=desk / "events.csv", sweep=True)
    assert (desk / "news.db").read_bytes() == before
    return found


def test_under_the_settings_of_the_store_the_alerts_of_the_replay_fire(desk: Path, result: Any) -> None:
    fields = ("id", "topic", "kind", "direction", "fired_at", "resolved_at", "observed", "baseline", "sentence")
    store = open_store(f"sqlite:///{desk}/news.db")
    then = [{name: alert[name] for name in fields} for alert in store.alerts()]
    store.close()
    again = [fired.to_json() for fired in result.fired]
    assert then
    assert [{name: alert[name] for name in fields} for alert in again] == then


def test_the_crisis_is_found_and_an_event_that_never_happened_is_missed(result: Any) -> None:
    shown = result.to_json()["events"]
    assert (shown["events"], shown["found"], shown["recall"]) == (2, 1, 0.5)
    assert 0 < shown["median_delay_hours"] < 48
    assert [event["topic"] for event in shown["missed"]] == ["steel"]
    assert shown["false_alarms"] == round(len(result.fired) * (1 - shown["precision"]))


def test_a_feed_file_gives_the_result_of_its_store(desk: Path, result: Any) -> None:
    settings = load(desk / "foreshock.toml").settings
    of_file = backtest(settings, str(desk / "feed.jsonl"), events=desk / "events.csv")
    assert [a.to_json() for a in of_file.fired] == [a.to_json() for a in result.fired]
    assert not list(desk.glob("foreshock-past*"))


def test_later_stories_change_no_earlier_alert(desk: Path, result: Any, tmp_path: Path) -> None:
    until = iso(START + (CRISIS + 3) * DAY)
    cut = tmp_path / "cut.jsonl"
    with (desk / "feed.jsonl").open() as whole, cut.open("w") as file:
        file.writelines(line for line in whole if json.loads(line)["published_at"] < until)
    short = backtest(load(desk / "foreshock.toml").settings, str(cut))
    first = [(a.alert.id, a.alert.fired_at, a.alert.observed) for a in result.fired]
    assert short.fired
    assert [(a.alert.id, a.alert.fired_at, a.alert.observed) for a in short.fired] == first[: len(short.fired)]


def test_a_larger_budget_fires_no_fewer_alerts(result: Any) -> None:
    assert [round(point.allowed / result.allowed, 6) for point in result.sweep] == list(BUDGETS)
    alerts = [point.alerts for point in result.sweep]
    assert alerts[0] <= alerts[-1]
    assert result.sweep[BUDGETS.index(1.0)].alerts == len(result.fired)


def test_chance_gives_as_many_alerts_as_the_budget_in_the_settings(desk: Path, result: Any) -> None:
    assert result.allowed == pytest.approx(result.watched_days / 7)
    (desk / "per-topic.toml").write_text("""
        [alerts]
        false_alarms = "1 per topic per 90 days"
        shares = { bad_news = 0.5, better = 0, volume = 0, silence = 0 }
        [watchlist]
        defaults = false
    """)
    each = backtest(load(desk / "per-topic.toml").settings, str(desk / "news.db"))
    assert each.allowed == pytest.approx(each.watched_days * (len(TOPICS) + 1) / 90 * 0.5, rel=0.04)  # and _all
    assert {fired.alert.direction for fired in each.fired} <= {"worse"}
    assert {fired.alert.kind for fired in each.fired} <= {"negativity_spike", "drift"}


def test_the_watched_time_begins_when_topics_have_learned(result: Any) -> None:
    assert DAYS - 18 < result.watched_days < DAYS - 13


def test_watching_began_once_also_if_nobody_is_watched_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its alerts and hours are counted from then on, so an event of that time is found or missed, too."""
    watched, starts = iter((False, True, False, True)), [n * DAY for n in range(4)]
    history = SimpleNamespace(names=["oil"], hours=0)
    seen = SimpleNamespace(weights=np.ones(1), learned=lambda _: np.array([next(watched)]))
    state = SimpleNamespace(history=history, seen=lambda: seen)
    nothing = SimpleNamespace(changes=())
    past = SimpleNamespace(
        counts=[SimpleNamespace(start=start) for start in starts], until=4 * DAY, decide=lambda *_: nothing
    )
    monkeypatch.setattr(backtesting, "State", SimpleNamespace(fresh=lambda _: state))
    monkeypatch.setattr(backtesting, "pass_time", lambda *_: nothing)
    found = backtesting._decide(cast(Any, past), DetectionRules(), cast(Any, SimpleNamespace(take=lambda: None)))
    assert found.watched_from == DAY


def test_the_command_prints_one_object_and_draws_a_curve(desk: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = ["backtest", str(desk / "news.db"), "--events", str(desk / "events.csv"), "--json"]
    curve = tmp_path / "curve.svg"
    assert main([*arguments, "--curve", str(curve), "--config", str(desk / "foreshock.toml")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["fired"] == len(shown["alerts"]) > 0
    assert shown["chance_gives"]["low"] <= shown["chance_gives"]["mean"] <= shown["chance_gives"]["high"]
    assert len(shown["sweep"]) == len(BUDGETS)
    assert ElementTree.fromstring(curve.read_text()).tag.endswith("svg")


def test_another_detector_runs_beside_the_monitor(desk: Path, result: Any, capsys: Any) -> None:
    arguments = ["backtest", str(desk / "news.db"), "--events", str(desk / "events.csv"), "--json"]
    assert main([*arguments, "--compare", "adwin", "--config", str(desk / "foreshock.toml")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["compared"]["detector"] == "adwin"
    assert shown["compared"]["events"]["found"] == 1
    assert shown["compared"]["events"]["false_alarms"] <= shown["compared"]["fired"]
    assert shown["fired"] == len(result.fired)
    assert main([*arguments, "--compare", "cusum"]) == 2


def test_a_backtest_imports_no_river_and_the_watch_of_the_scorer_no_scipy_stats() -> None:
    code = """
import sys
import foreshock.analysis.backtest
print("river" in sys.modules)
from foreshock.monitor import page_hinkley
page_hinkley.fresh(delta=0.1, threshold=1, mode="both")
print("river" in sys.modules, "scipy.stats" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\nTrue False\n"


@pytest.mark.parametrize("name", ["adwin", "kswin"])
def test_a_compared_detector_alarms_only_for_the_worse(name: str) -> None:
    rng = np.random.default_rng(1)

    def shift(by: float) -> list[tuple[str, int, float]]:
        return [("oil", hour, rng.normal(0.5, 0.1) + by * (hour >= 400)) for hour in range(600)]

    assert [at for _, at in alarms(name, shift(0.4)) if at >= 400]
    assert not [at for _, at in alarms(name, shift(-0.4)) if at >= 400]


def test_the_text_output_is_sentences(desk: Path, capsys: Any) -> None:
    arguments = ["backtest", str(desk / "news.db"), "--events", str(desk / "events.csv")]
    assert main([*arguments, "--config", str(desk / "foreshock.toml")]) == 0
    shown = capsys.readouterr().out
    assert "Chance alone, at this budget, gives" in shown
    assert "1 of 2 events were found" in shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("topic,start,until\noil,2024-05-01,\n", "unknown column 'until'"),
        ("topic,begin\noil,2024-05-01\n", "unknown column 'begin'"),
        ("topic,stat\noil,2024-05-01\n", "did you mean start?"),
        ("topic\noil\n", "column start is missing"),
        ("", "column topic is missing"),
        ("topic,start\noil,yesterday\n", "line 2: start = 'yesterday' is not a time"),
        ("topic,start\n,2024-05-01\n", "line 2: the topic is missing"),
        ("topic,start,end\noil,2024-05-02,2024-05-01\n", "line 2: the event ends before it starts"),
        ("topic,start\noil,2024-05-01,2024-05-02\n", "line 2: too many fields"),
    ],
)
def test_an_error_in_an_events_file_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "events.csv").write_text(text)
    with pytest.raises(EventsError, match=says.replace("?", r"\?")):
        read_events(tmp_path / "events.csv")


def test_an_events_file_may_have_any_line_ends_and_an_error_of_its_text_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    for end in (b"\n", b"\r\n", b"\r"):
        file.write_bytes(end.join([b"topic,start", b"oil,2024-05-01", b""]))
        assert [event.topic for event in read_events(file)] == ["oil"]
    for text, says in (
        (b"topic,start\n\xff,2024-05-01\n", "line 2: is not UTF-8; save"),
        (b'topic,start\n"' + b"x" * (csv.field_size_limit() + 1), "line 2: a cell has more than .* quotation mark"),
    ):
        file.write_bytes(text)
        with pytest.raises(EventsError, match=rf"events\.csv, {says}"):
            read_events(file)


def test_a_bare_day_means_the_whole_day(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("topic,start,end\noil,2024-05-01,2024-05-01\n")
    (event,) = read_events(tmp_path / "events.csv")
    assert event.end - event.start == DAY - 1


def test_a_missing_or_bad_events_file_is_bad_usage(desk: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["backtest", str(desk / "news.db"), "--events", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
    (tmp_path / "events.csv").write_text("topic,since\noil,2024-05-01\n")
    assert main(["backtest", str(desk / "news.db"), "--events", str(tmp_path / "events.csv")]) == 2
    assert "unknown column 'since'" in capsys.readouterr().err


def test_a_missing_feed_or_store_is_bad_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["backtest", "none.jsonl"]) == 2
    assert main(["backtest", "sqlite:///none.db"]) == 2
    assert not list(tmp_path.iterdir())


def test_a_feed_without_stories_fails_and_says_so(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty.jsonl").write_text('{"title": "no date"}\nno json\n')
    assert main(["backtest", str(tmp_path / "empty.jsonl")]) == 1
    assert "holds no decided story" in capsys.readouterr().err


def test_a_curve_that_cannot_be_written_is_refused_before_any_work(desk: Path, tmp_path: Path) -> None:
    assert main(["backtest", str(desk / "news.db"), "--curve", str(tmp_path / "none" / "curve.svg")]) == 2
    assert main(["backtest", str(desk / "news.db"), "--curve", str(tmp_path / "curve.png")]) == 2


def test_a_feed_too_short_to_learn_from_says_so(tmp_path: Path, capsys: Any) -> None:
    story = {"title": "Acme", "topics": ["oil"], "scores": {"negative": 0.2, "neutral": 0.5, "positive": 0.3}}
    lines = [json.dumps({**story, "id": f"{n}", "published_at": iso(START + n * DAY // 24)}) for n in range(48)]
    (tmp_path / "short.jsonl").write_text("\n".join(lines))
    assert main(["backtest", str(tmp_path / "short.jsonl"), "--json", "--curve", str(tmp_path / "c.svg")]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["fired"] == 0
    assert "No topic had learned" in out.err
    assert not (tmp_path / "c.svg").exists()


def test_a_topic_that_only_the_events_file_has_is_named(desk: Path, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(f"topic,start\nstele,{iso(START + CRISIS * DAY)}\n")
    result = backtest(load(desk / "foreshock.toml").settings, str(desk / "news.db"), events=tmp_path / "events.csv")
    assert result.judged is not None
    assert result.judged.recall == 0
    assert any("stele" in note and "Did you mean steel?" in note for note in result.notes)


def test_events_outside_the_watched_time_are_neither_found_nor_missed(desk: Path, tmp_path: Path, capsys: Any) -> None:
    days = {"before": -400, "learning": 1, "in it": CRISIS, "after": DAYS + 30}
    rows = "".join(f"oil,{iso(START + day * DAY)},{iso(START + (day + 5) * DAY)}\n" for day in days.values())
    (tmp_path / "events.csv").write_text("topic,start,end\n" + rows)
    arguments = ["backtest", str(desk / "news.db"), "--events", str(tmp_path / "events.csv"), "--compare", "adwin"]
    assert main([*arguments, "--config", str(desk / "foreshock.toml"), "--json"]) == 0
    out = capsys.readouterr()
    for result in (json.loads(out.out)["events"], json.loads(out.out)["compared"]["events"]):
        assert (result["events"], result["found"], result["outside"], result["missed"]) == (1, 1, 3, [])
    assert "3 of 4 events lie outside the watched time, 20" in out.err


def test_an_alert_on_another_topic_or_outside_the_event_finds_nothing() -> None:
    event = ExpectedEvent("oil", 100, 200)
    assert judge([("gas", 150), ("oil", 99), ("oil", 201)], [event]).found == 0
    found = judge([("oil", 200), ("oil", 130)], [event])
    assert (found.found, found.delays, found.true_alerts, found.false_alarms) == (1, (30,), 2, 0)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 100)), max_size=8, unique=True),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 100), st.integers(0, 30)), max_size=8),
)
def test_every_alert_is_true_or_false_and_every_event_found_or_missed(
    fired: list[tuple[str, int]], spans: list[tuple[str, int, int]]
) -> None:
    judged = judge(fired, [ExpectedEvent(topic, at, at + length) for topic, at, length in spans])
    assert judged.true_alerts + judged.false_alarms == len(fired)
    assert judged.found + len(judged.missed) == len(spans)
    assert (judged.found > 0) == (judged.true_alerts > 0)


def test_a_resolved_alert_counts_once(result: Any) -> None:
    ids = [fired.alert.id for fired in result.fired]
    assert len(ids) == len(set(ids))
