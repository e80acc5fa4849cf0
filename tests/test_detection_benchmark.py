"""The benchmark's rivals are what they are called, and its feeds are what they say."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import ks_2samp

from benchmarks.detection import (
    cost,
    crises,
    desk,
    feeds,
    null,
    planted,
    quiet,
    real,
    report,
    rivals,
    surge_rivals,
    surges,
)

pytestmark = pytest.mark.slow


def stories(share: np.ndarray) -> rivals.Stories:
    """One topic with one story an hour of the given negative probability."""
    x = share[:, None]
    return rivals.Stories(np.ones_like(x), x, np.ones_like(x), x, np.array([share[:500].mean()]))


@pytest.fixture
def shifted() -> np.ndarray:
    """A share that rises by 0.4 after 1,000 hours."""
    rng = np.random.default_rng(3)
    return np.clip(rng.normal(0.3, 0.15, 1_400) + np.where(np.arange(1_400) >= 1_000, 0.4, 0.0), 0, 1)


def test_page_hinkley_rings_when_rivers_does(shifted: np.ndarray) -> None:
    from river.drift import PageHinkley  # with scipy it takes a second, in each test process if it stood above

    fired = rivals.page_hinkley(stories(shifted))
    for place in (3, 10, 20):
        river = PageHinkley(threshold=fired.levels[place], mode="up", min_instances=30, delta=0.005)
        hours = []
        for hour, x in enumerate(shifted):
            river.update(float(x))
            if river.drift_detected:
                hours.append(hour)
        assert hours
        assert fired.hour[fired.level == place].tolist() == hours


def test_kswins_distances_are_those_of_the_p_values_that_river_takes() -> None:
    """30 against 30 values: the distance 13/30 has p < 0.01, and 12/30 has not."""
    a = np.arange(30.0)
    assert ks_2samp(a, a + 13).pvalue < 0.01 < ks_2samp(a, a + 12).pvalue


@pytest.mark.parametrize("name", rivals.RIVALS)
def test_each_rival_finds_a_large_shift_and_rings_less_at_a_higher_threshold(name: str, shifted: np.ndarray) -> None:
    fired = rivals.RIVALS[name](stories(shifted))
    quiet = int(fired.level.max())
    found = fired.hour[fired.level == quiet]
    assert (found >= 1_000).any()
    assert np.count_nonzero(fired.level == 0) >= np.count_nonzero(fired.level == quiet)


def test_the_oracle_is_quicker_than_a_rule_of_thumb(shifted: np.ndarray) -> None:
    def first(fired: rivals.Firings) -> int:
        """Delay at the most talkative threshold that is silent before the shift."""
        for level in range(len(fired.levels)):
            hours = fired.hour[fired.level == level]
            if len(hours) and hours.min() >= 1_000:
                return int(hours.min())
        raise AssertionError

    assert first(rivals.oracle(stories(shifted), 0.4)) <= first(rivals.mean_and_sigmas(stories(shifted)))


def test_a_share_is_learned_from_the_first_hours_alone_and_drawn_to_all_topics() -> None:
    feed = feeds.make("busy", 5, 4, 60)
    told = rivals.stories([feed])
    learned = rivals.learned(told, 40 * 24)
    assert learned.share == pytest.approx(told.share, abs=0.05)
    changed = rivals.stories([feeds.make("busy", 5, 4, 60, {0: (feeds.CHANGES[2], 40.0)})])
    assert (rivals.learned(changed, 40 * 24).share == learned.share).all()
    rare = told._replace(events=told.events / 1e5, events_negative=told.events_negative / 1e5)
    assert np.ptp(rivals.learned(rare, 40 * 24).share) < np.ptp(learned.share) / 5


@pytest.mark.parametrize("kind", feeds.KINDS)
def test_a_feed_is_a_function_of_its_seed_and_changes_only_where_something_is_planted(kind: str) -> None:
    plain, again = feeds.make(kind, 4, 3, 40), feeds.make(kind, 4, 3, 40)
    assert (plain.events == again.events).all()
    assert (plain.negative == again.negative).all()
    change = feeds.Change("sudden", points=0.4, length=5)
    planted = feeds.make(kind, 4, 3, 40, {1: (change, 20.0)})
    differs = np.argwhere(planted.negative != plain.negative)
    assert set(differs[:, 1].tolist()) <= {1}
    assert ((differs[:, 0] >= 20 * 24) & (differs[:, 0] < 25 * 24)).all()
    assert ((plain.negative >= 0) & (plain.negative + plain.positive <= plain.events * feeds.UNIT)).all()


def test_what_is_planted_is_there() -> None:
    changes = {0: (feeds.CHANGES[2], 20.0), 1: (feeds.CHANGES[6], 20.0), 2: (feeds.CHANGES[7], 20.0)}
    feed = feeds.make("busy", 1, 3, 40, changes)
    there, before = slice(20 * 24, 27 * 24), slice(0, 20 * 24)

    def share(hours: slice) -> float:
        return float(feed.negative[hours, 0].sum() / feed.events[hours, 0].sum() / feeds.UNIT)

    assert share(there) - share(before) == pytest.approx(0.4 * 0.84, abs=0.06)
    assert feed.events[20 * 24 : 30 * 24, 1].sum() == 0
    assert feed.copies.sum() == 59


def test_a_resampled_feed_is_made_of_whole_weeks() -> None:
    feed = feeds.make("nights", 2, 3, 70)
    again = feeds.resample(feed, 1, 35)
    weeks = feed.events.reshape(10, 168, 3)
    assert again.hours == 35 * 24
    assert all((weeks == week).all(axis=(1, 2)).any() for week in again.events.reshape(5, 168, 3))


def test_alarms_over_the_budget_come_with_an_interval() -> None:
    ratio, low, high = null.ratio([4, 6, 5, 5], [5.0] * 4)
    assert (ratio, low < 1 < high) == (1.0, True)
    assert null.ratio([0, 0], [1.0, 1.0])[2] > 1.5


def test_a_cell_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(null.DAYS, 3, 60)
    wanted = [null.Cell("wandering", 3, 30, seed) for seed in (0, 1)]
    first = null.run(wanted[:1], tmp_path / "null.jsonl")
    watched: list[int] = []
    watch = desk.watch
    monkeypatch.setattr(desk, "watch", lambda *a: (watched.append(1), watch(*a))[1])
    both = null.run(wanted, tmp_path / "null.jsonl")
    assert (len(watched), len(both)) == (1, 2)
    assert both[0] == first[0]
    assert 12 * 3 < both[0]["settled_topic_days"] <= 15 * 3
    monkeypatch.setattr(desk, "version", lambda: "another")
    assert null.kept(tmp_path / "null.jsonl") == []


def test_rivals_are_compared_where_the_desk_was_and_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "TOPICS", 20)
    monkeypatch.setattr(planted, "DAYS", 100)
    monkeypatch.setattr(planted, "EACH", 2)
    rows = [{"seed": seed, "delays": [5.0] * 18} for seed in (0, 1)]
    result = planted.compare("independent", rows, rate=1 / 90)
    sudden = result["changes"]["sudden_40"]
    assert sudden["Foreshock"]["found"] == 1.0
    assert set(sudden) == {"Foreshock", "oracle", planted.LEARNING, planted.UNTOLD, *rivals.RIVALS}
    assert set(result["changes"]["copies_60"]) == {"Foreshock", *rivals.RIVALS}
    assert set(result["changes"]["volume_4x"]) == {"Foreshock"}
    assert all(rate <= 1 / 90 for rate in result["alarms_per_topic_day"].values())
    assert sudden["oracle"]["foreshock_more"][0] == pytest.approx(1 - sudden["oracle"]["found"])
    quiet = [{"kind": "nights", "topics": 30, "one_per_topic_in_days": 90, "seeds": 2, "all": [0.8, 0.5, 1.2]}]
    drawn = report.picture({"false_alarms": quiet, "planted": {"independent": result}})
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    told = report.tables({"false_alarms": quiet, "planted": {"independent": result}, "real": []})
    assert "| 30 | 1 per topic per 90 days | 1 | 2 | 0.80 (nights) | 0.80 (nights) | 0.50 to 1.20 |" in told
    assert "| Foreshock | 100 %, 5 h |" in told


def test_black_monday_is_a_market_day_and_a_quiet_one_is_not(shared: Path) -> None:
    days = real.market_days(real.midnight(date(1987, 10, 1)), real.midnight(date(1987, 10, 22)))
    assert days == [date(1987, 10, 16), date(1987, 10, 19)]


def test_an_alert_belongs_to_a_market_day_from_the_day_before_on(monkeypatch: pytest.MonkeyPatch) -> None:
    days = [date(2020, 3, 9), date(2020, 3, 20)]
    monkeypatch.setattr(real, "market_days", lambda start, end: days)
    start, hour = real.midnight(date(2020, 3, 1)), feeds.HOUR
    result: Any = SimpleNamespace(start=start, end=start + 30 * feeds.DAY, watched_days=30.0)
    told: Any = [
        SimpleNamespace(fired_at=real.midnight(date(2020, 3, 8)) + hour),
        SimpleNamespace(fired_at=real.midnight(date(2020, 3, 9)) + 23 * hour),
        SimpleNamespace(fired_at=real.midnight(date(2020, 3, 10)) + hour),
    ]
    found = real.against_market(result, told)
    assert (found["market_days"], found["noticed"], found["recall"]) == (2, 1, 0.5)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["lead_hours"] == [24 + 21 - 1]
    assert found["precision_of_alerts_at_random"] == pytest.approx(4 / 30, abs=0.001)
    assert found["noticed_days"] == ["2020-03-09"]


def test_the_cost_is_told_a_topic_and_an_hour() -> None:
    found = cost.measure(topics=5, before=1, days=1)
    assert found["detectors"] == desk.version()
    used = {kind: run["seconds"] * 1e6 for kind, run in found["feeds"].items()}
    for kind, run in found["feeds"].items():  # the two parts explain both feeds
        parts = found["us_a_topic_hour"] * found["topic_hours"] + found["us_an_event"] * run["events"]
        assert parts == pytest.approx(used[kind], rel=0.02, abs=50)


def test_a_comparison_is_made_once_and_anew_where_what_was_found_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(planted, "compare", lambda *asked: made.append(asked) or {"seeds": len(made)})
    (tmp_path / "planted.jsonl").write_text(
        "".join(
            f'{{"kind": "busy", "seed": {seed}, "delays": [1.0], "detectors": "{desk.version()}"}}\n' for seed in (0, 1)
        )
    )
    quiet = {"kind": "busy", "topics": 120, "budget": 90, "seed": 0, "detectors": desk.version(), "first": {}}
    quiet |= {"settled": {"worse": 3}, "settled_topic_days": 100.0, "first_topic_days": 1.0}
    (tmp_path / "null.jsonl").write_text(json.dumps(quiet) + "\n")
    assert report.figures(tmp_path)["planted"] == report.figures(tmp_path)["planted"] == {"busy": {"seeds": 1}}
    (tmp_path / "null.jsonl").write_text(json.dumps(quiet | {"settled": {"worse": 4}}) + "\n")
    assert report.figures(tmp_path)["planted"] == {"busy": {"seeds": 2}}


def test_crises_leave_all_other_stories_as_they_were() -> None:
    plan = crises.plan(1, "companies", 30, 80, 1)
    quiet, loud = crises.make(1, "companies", 30, 80), crises.make(1, "companies", 30, 80, plan)
    added = sum(len(planted.stories.minute) for planted in plan)
    assert len(loud.stories.minute) == len(quiet.stories.minute) + added
    others = sorted(set(range(30)) - {planted.topic for planted in plan})
    for topic in others:
        assert (
            loud.stories.minute[loud.stories.topic == topic] == quiet.stories.minute[quiet.stories.topic == topic]
        ).all()
    assert {planted.kind for planted in plan} == {*crises.CRISES, *crises.DECOYS}


@pytest.mark.parametrize("name", surge_rivals.RIVALS)
def test_each_rival_of_surges_scores_a_burst_higher_than_the_same_stories_apart(name: str) -> None:
    rival, now = surge_rivals.RIVALS[name], 60.0 * 24 * 60
    past = [float(day * 24 * 60) for day in range(0, 50, 10)]
    apart = rival([*past, *(now - 24 * 60.0 * n for n in range(7, -1, -1))], now, 0.1)
    burst = rival([*past, *(now - 5.0 * n for n in range(7, -1, -1))], now, 0.1)
    assert burst > apart


def test_the_level_of_a_rival_is_the_lowest_that_rings_so_often() -> None:
    scored = [[surge_rivals.Scored(10_000 * n, 0, float(n)) for n in range(10)]]
    level = surge_rivals.level(scored, 3, 0)
    assert len(surge_rivals.alarms(scored[0], level, 0)) == 3
    assert len(surge_rivals.alarms(scored[0], level - 0.1, 0)) == 4


def test_a_miss_counts_as_never() -> None:
    plan = crises.plan(1, "companies", 30, 80, 1)
    feed = crises.make(1, "companies", 30, 80, plan)
    first = next(planted for planted in plan if planted.kind == "explosive")
    found = surges.noticed([feed], [[(first.topic, first.minute + 90)]])
    assert (found["explosive"]["within_60_min"], found["explosive"]["within_180_min"]) == (0.0, 1.0)
    assert found["explosive"]["median_minutes"] == 90
    assert found["sudden"]["at_all"] == 0.0
    assert found["sudden"]["median_minutes"] is None


def test_smouldering_crises_are_counted_by_the_usual_stories_of_their_topics() -> None:
    plan = crises.plan(1, "companies", 30, 80, 2)
    feed = crises.make(1, "companies", 30, 80, plan)
    smoulders = [planted for planted in plan if planted.kind == "smouldering"]
    found = surges.by_rate([feed], [[(smoulders[0].topic, smoulders[0].until)]])
    assert tuple(map(sum, zip(*found.values(), strict=True))) == (1, len(smoulders))


def test_kept_rows_of_surges_are_those_of_these_detectors_on_feeds_of_this_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "surges.jsonl"
    row = {"kind": "rare", "version": surges.version()}
    file.write_text(json.dumps(row) + "\n" + json.dumps({"kind": "rare", "detectors": "of an older form"}) + "\n")
    assert surges.kept(file) == [row]
    monkeypatch.setattr(surges, "EACH", surges.EACH + 1)
    assert surges.kept(file) == []


def test_false_alarms_of_quiet_feeds_are_those_of_settled_days_that_are_worse() -> None:
    late, early = crises.SETTLED * crises.DAY, crises.SETTLED * crises.DAY - 1
    fired = [
        surges.Fired(1, "negativity_spike", "worse", late, None),
        surges.Fired(2, "drift", "worse", late, None),
        surges.Fired(2, "drift", "better", late, None),
        surges.Fired(3, "negativity_spike", "worse", early, None),
        surges.Fired(4, "volume", "worse", late, None),
    ]
    (found,) = quiet.summary([{"kind": "bursty", "seed": 10 + n, "fired": fired} for n in range(2)])
    assert (found["seeds"], found["alerts"]) == ([10, 11], 4)
    # 40 days of 0.1 alarms a day of bad news, 0.03 of them surges.
    assert [found[name][0] for name in ("bad_news", "negativity_spike", "drift")] == [0.5, 0.833, 0.357]
    assert found["drift"][1] < found["drift"][0] < found["drift"][2]
