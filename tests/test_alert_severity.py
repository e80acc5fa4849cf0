"""How grave an alert is: monotone in size, sureness, the stories and the sources."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from foreshock.monitor.kinds import BETTER, DRIFT, SILENCE, SPIKE, VOLUME, WORSE
from foreshock.monitor.severity import CRITICAL, INFO, LEVELS, WARNING, Weighed, graver, gravity, points, severity

counts = st.floats(0, 1e5)
weighed = st.builds(
    Weighed,
    kind=st.sampled_from([SPIKE, VOLUME]),
    direction=st.just(WORSE),
    observed=counts,
    baseline=counts,
    margin=st.floats(-5, 50),
    grave=st.floats(0, 3),
    sources=st.integers(0, 10_000),
)
story = st.tuples(st.none() | st.floats(0, 3), st.floats(0, 1))


@given(weighed, st.sampled_from(["observed", "margin", "grave", "sources"]), st.integers(0, 1000))
def test_an_alert_is_never_less_grave_when_one_of_the_four_grows(w: Weighed, name: str, more: int) -> None:
    value = getattr(w, name)
    larger = w._replace(**{name: min(value + more / 100, 3.0) if name == "grave" else value + more})
    assert all(b >= a for a, b in zip(points(w), points(larger), strict=True))
    assert LEVELS.index(severity(larger)) >= LEVELS.index(severity(w))


@given(weighed, counts)
def test_an_alert_is_never_graver_when_more_is_usual(w: Weighed, more: float) -> None:
    assert LEVELS.index(severity(w._replace(baseline=w.baseline + more))) <= LEVELS.index(severity(w))


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 3), st.integers(1, 50))
def test_a_drift_is_graver_the_farther_the_polarity_moved(
    base: float, moved: float, more: float, grave: float, sources: int
) -> None:
    near, far = (Weighed(DRIFT, WORSE, base - change, base, 1.0, grave, sources) for change in (moved, moved + more))
    assert points(far)[0] >= points(near)[0] - 1e-9


@given(counts, counts)
def test_a_silence_is_graver_the_more_is_missing_and_never_critical(missing: float, more: float) -> None:
    some, many = (Weighed(SILENCE, WORSE, 0.0, gap, 50.0, 0.0, 0) for gap in (missing, missing + more))
    assert points(many)[0] >= points(some)[0]
    assert severity(many) != CRITICAL


@given(st.lists(story, max_size=12), story)
def test_a_further_story_never_makes_the_stories_less_grave(stories: list[tuple[float | None, float]], one) -> None:
    assert 0 <= gravity(stories) <= gravity([*stories, one]) <= 3


def test_good_news_is_info() -> None:
    assert severity(Weighed(DRIFT, BETTER, 0.9, -0.9, 40.0, 3.0, 100)) == INFO


def test_the_three_levels_by_example() -> None:
    small = Weighed(SPIKE, WORSE, 3.0, 0.9, 0.1, 1.0, 2)
    crisis = Weighed(SPIKE, WORSE, 11.0, 0.3, 1.5, 1.6, 7)
    disaster = Weighed(SPIKE, WORSE, 60.0, 1.0, 4.0, 2.6, 12)
    assert [severity(w) for w in (small, crisis, disaster)] == [INFO, WARNING, CRITICAL]
    assert severity(disaster._replace(grave=1.0)) == WARNING, "many mild stories are no reason to wake anybody"
    assert graver(INFO, CRITICAL) == graver(CRITICAL, WARNING) == CRITICAL
