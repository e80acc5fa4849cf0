"""Is the scorer still right: what is found in made feeds, what is not, and that a restart changes nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.monitor import page_hinkley, scorer_watch
from foreshock.monitor.counting import CountedStory, Ruling
from foreshock.monitor.scorer_blocks import Sums, Usual, doubt
from foreshock.monitor.scorer_changes import Change, Ended, remedy, sentence
from foreshock.monitor.scorer_watch import FORGET, PLACES, Place, ScorerWatch
from foreshock.monitor.units import DAY, HOUR, OTHER

CARD = {
    "sets": [
        {"name": "news", "texts": 900, "shares": [3000, 4500, 2500], "confidence": [9000, 8800, 8900], "novelty": 200},
        {"name": "posts", "texts": 900, "shares": [2000, 6000, 2000], "confidence": [8600, 8900, 8500], "novelty": 500},
    ]
}
USUAL = Usual.of_card(CARD)
assert USUAL is not None
CARDS = {"m": USUAL}
QUIET = {"shares": (0.25, 0.5, 0.25), "sure": (0.92, 0.86, 0.9), "novelty": 0.03}


def _story(source: str, scores: tuple[int, int, int] | None, novelty: int | None, **other: Any) -> Ruling:
    about: dict[str, Any] = {"partition": "p", "offset": 0, "bucket": 0, "published_at": 0, "id": "a", "content": "c"}
    member = CountedStory(
        **about,
        stale=False,
        source=source,
        date_only=False,
        scores=scores,
        signature=None,
        keys=(),
        topics=(),
        model="m",
        novelty=novelty,
    )
    return replace(Ruling(member, "scored", True), **other)


def _made(source: str, n: int, of: dict[str, Any], rng: random.Random) -> list[Ruling]:
    """Make stories of a source: classes by their shares, each as sure as its class, with their novelty."""
    found = []
    for _ in range(n):
        c = rng.choices(range(3), of["shares"])[0]
        sure = min(9_900, max(4_000, int(rng.gauss(of["sure"][c], 0.08) * 10_000)))
        rest = 10_000 - sure
        scores = [rest // 2, rest // 2, rest // 2]
        scores[c] = 10_000 - 2 * (rest // 2)
        novelty = max(0, min(10_000, int(rng.gauss(of["novelty"], 0.05) * 10_000)))
        found.append(_story(source, (scores[0], scores[1], scores[2]), novelty))
    return found


def _days(
    watch: ScorerWatch, days: Sequence[dict[str, Any]], source: str = "wire", seed: int = 1, first: int = 0
) -> tuple[list[Change], list[Ended]]:
    """Give the watch days of 100 stories in four buckets each."""
    rng, found, ended = random.Random(seed), list[Change](), list[Ended]()
    for day, of in enumerate(days, first):
        for part in range(4):
            new, over = watch.take(day * DAY + (part + 1) * 6 * HOUR, _made(source, 25, of, rng))
            found += new
            ended += over
    return found, ended


def test_a_week_of_bad_news_calls_nobody_though_the_scorer_is_surer_of_other_classes() -> None:
    bad = {**QUIET, "shares": (0.7, 0.2, 0.1)}
    for seed in range(20):
        found, _ = _days(ScorerWatch(CARDS), [QUIET] * 60 + [bad] * 7 + [QUIET] * 30, seed=seed)
        assert [change for change in found if change.calls] == []


def test_a_lasting_change_of_mood_is_noted_as_news_and_calls_nobody() -> None:
    bad = {**QUIET, "shares": (0.7, 0.2, 0.1)}
    found, ended = _days(ScorerWatch(CARDS), [QUIET] * 60 + [bad] * 20 + [QUIET] * 30)
    (change,) = found
    assert (change.kind, change.label, change.calls, remedy(change)) == ("mood", "negative", False, "")
    assert 60 * DAY < change.found_at < 75 * DAY
    assert change.after > 0.5
    assert (change.before or 0) < 0.3
    assert [(over.kind, over.because) for over in ended] == [("mood", "back")]


def test_new_words_are_found_and_are_over_when_the_words_are_known_again() -> None:
    found, ended = _days(ScorerWatch(CARDS), [QUIET] * 30 + [{**QUIET, "novelty": 0.3}] * 10 + [QUIET] * 10)
    (change,) = found
    assert (change.kind, change.calls) == ("words", True)
    assert 30 * DAY < change.found_at <= 33 * DAY
    assert 29 * DAY <= change.began_at <= change.found_at
    assert change.after > 0.1
    assert (change.before or 1) < 0.04
    assert "ones that the training texts did not hold" in sentence(change)
    assert [(over.kind, over.because) for over in ended] == [("words", "back")]
    assert ended[0].ended_at <= 45 * DAY


def test_a_scorer_that_is_less_sure_of_the_same_classes_is_found() -> None:
    unsure = {**QUIET, "sure": (0.7, 0.66, 0.7)}
    found, ended = _days(ScorerWatch(CARDS), [QUIET] * 30 + [unsure] * 10 + [QUIET] * 10)
    assert [(change.kind, change.calls) for change in found] == [("doubt", True)]
    assert found[0].after < 0.8
    assert (found[0].before or 0) > 0.8
    assert [(over.kind, over.because) for over in ended] == [("doubt", "back")]


def test_a_scorer_that_gives_one_class_to_everything_is_found() -> None:
    found, _ = _days(ScorerWatch(CARDS), [QUIET] * 30 + [{**QUIET, "shares": (0.0, 1.0, 0.0)}] * 10)
    assert {change.kind for change in found} == {"stuck", "mood"}
    (stuck,) = [change for change in found if change.kind == "stuck"]
    assert (stuck.label, stuck.calls) == ("neutral", True)


def test_a_source_that_is_unlike_the_card_from_its_first_day_on_is_found_once_and_then_it_is_what_it_is() -> None:
    foreign = {**QUIET, "novelty": 0.4, "sure": (0.6, 0.6, 0.6)}
    found, ended = _days(ScorerWatch(CARDS), [foreign] * 60)
    assert [(change.kind, change.before, change.found_at // DAY) for change in found] == [
        ("words", None, 4),
        ("doubt", None, 4),
    ]
    assert {(over.kind, over.because) for over in ended} == {("words", "stayed"), ("doubt", "stayed")}


def test_names_of_its_own_call_nobody_from_the_first_day_on_where_the_scorer_reads_the_rest() -> None:
    names = {**QUIET, "novelty": 0.3}
    assert _days(ScorerWatch(CARDS), [names] * 20) == ([], [])
    unread = {**names, "shares": (0.05, 0.9, 0.05)}  # as of another language
    found, _ = _days(ScorerWatch(CARDS), [unread] * 20)
    assert [(change.kind, change.before, change.found_at // DAY) for change in found] == [("words", None, 4)]
    found, _ = _days(ScorerWatch(CARDS), [names] * 20 + [{**names, "novelty": 0.45}] * 10)
    assert [change.kind for change in found] == ["words"]  # more new words than before still are a change


def test_without_a_card_a_source_is_compared_with_its_own_past() -> None:
    found, _ = _days(ScorerWatch({}), [{**QUIET, "novelty": 0.4}] * 30)
    assert found == []
    found, _ = _days(ScorerWatch({}), [QUIET] * 30 + [{**QUIET, "novelty": 0.4}] * 10)
    assert [change.kind for change in found] == ["words"]


def test_what_is_no_event_of_this_model_does_not_count() -> None:
    watch = ScorerWatch(CARDS)
    carried = _story("wire", (10_000, 0, 0), None)
    ignored = [
        replace(carried, member=replace(carried.member, model=None)),
        replace(carried, weighs=False),
        replace(carried, event=("p", 1)),
        replace(carried, member=replace(carried.member, scores=None)),
    ]
    for bucket in range(500):
        assert watch.take((bucket + 1) * HOUR, ignored) == ([], [])
    assert list(watch.places) == [OTHER]
    assert watch.changed == set()


def test_memory_is_bounded_and_a_busy_source_finds_a_place_among_invented_names() -> None:
    watch, rng = ScorerWatch(CARDS), random.Random(3)
    for hour in range(24 * 14):
        invented = [_story(f"made-up-{rng.random()}", (100, 9_800, 100), 300) for _ in range(60)]
        watch.take((hour + 1) * HOUR, [*invented, *_made("wire", 10, QUIET, rng)])
    assert len(watch.places) <= PLACES + 1
    assert watch.places["wire"].blocks > 20
    assert watch.places[OTHER].blocks > 20


def test_newcomers_of_one_bucket_take_places_from_the_smallest_and_not_from_one_another() -> None:
    watch = ScorerWatch(CARDS)
    for part in range(PLACES // 16):
        old = [f"old-{part * 16 + n:03}" for n in range(16)]
        watch.take((part + 1) * HOUR, [_story(name, (100, 9_800, 100), 300) for name in old for _ in range(3)])
    assert len(watch.places) == PLACES + 1
    new = {"large": 50, "middle": 20, "small": 1}
    watch.take(20 * HOUR, [_story(name, (100, 9_800, 100), 300) for name, n in new.items() for _ in range(n)])
    assert {name: watch.places[name].stories for name in new} == {"large": 53, "middle": 23, "small": 4}
    assert {name: watch.places[name].open.stories for name in new} == new
    assert watch.removed == {"old-000", "old-001", "old-002"}
    assert watch.places[OTHER].open.stories == 9


def test_a_source_that_is_silent_loses_its_place_and_its_changes_are_over() -> None:
    watch = ScorerWatch(CARDS)
    found, _ = _days(watch, [QUIET] * 30 + [{**QUIET, "novelty": 0.3}] * 5)
    assert [change.kind for change in found] == ["words"]
    _, ended = _days(watch, [QUIET], source="other", first=35 + FORGET // DAY + 1)
    assert [(over.source, over.because) for over in ended] == [("wire", "silent")]
    assert "wire" in watch.removed
    assert "wire" not in watch.places


def test_another_model_begins_anew_and_ends_what_was_found() -> None:
    watch = ScorerWatch(CARDS)
    found, _ = _days(watch, [QUIET] * 30 + [{**QUIET, "novelty": 0.3}] * 5)
    assert [change.kind for change in found] == ["words"]
    rng = random.Random(1)
    later = [replace(r, member=replace(r.member, model="n")) for r in _made("wire", 25, QUIET, rng)]
    _, ended = watch.take(36 * DAY, later)
    assert [(over.source, over.because) for over in ended] == [("wire", "model")]
    assert {name: place.stories for name, place in watch.places.items()} == {OTHER: 0, "wire": 25}
    assert watch.places[OTHER].model == "n"
    assert not watch.removed - watch.places.keys() - {"wire"}


def test_a_source_named_like_the_tail_counts_in_it() -> None:
    watch = ScorerWatch(CARDS)
    _days(watch, [QUIET] * 10, source=OTHER)
    assert list(watch.places) == [OTHER]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 0.6), st.floats(0.5, 0.95), st.booleans()), max_size=40), st.integers(0, 9))
def test_a_state_that_was_stored_and_loaded_finds_the_same(days: list[tuple[float, float, bool]], seed: int) -> None:
    whole, parts = ScorerWatch(CARDS), ScorerWatch(CARDS)
    for day, (novelty, sure, stored) in enumerate(days):
        of = {"shares": (0.3, 0.4, 0.3), "sure": (sure, sure, sure), "novelty": novelty}
        assert _days(whole, [of], seed=seed, first=day) == _days(parts, [of], seed=seed, first=day)
        if stored:
            body = json.loads(json.dumps({name: place.to_json() for name, place in parts.places.items()}))
            parts = ScorerWatch(CARDS, {name: Place.of_json(one) for name, one in body.items()})
    assert {n: p.to_json() for n, p in whole.places.items()} == {n: p.to_json() for n, p in parts.places.items()}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(0, 60), st.sampled_from(["up", "both"]))
def test_a_detector_that_was_stored_goes_on_like_one_that_was_not(values: list[float], cut: int, mode: Any) -> None:
    how: dict[str, Any] = {"delta": 0.02, "threshold": 0.1, "mode": mode}
    one, other = page_hinkley.fresh(**how), page_hinkley.fresh(**how)
    for place, value in enumerate(values):
        if place == cut:
            remembered = json.loads(json.dumps(page_hinkley.state(other)))
            other = page_hinkley.restored(page_hinkley.fresh(**how), remembered)
        one.update(value)
        other.update(value)
        assert one.drift_detected == other.drift_detected
        assert page_hinkley.state(one) == page_hinkley.state(other)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(4_000, 10_000)), min_size=3, max_size=3),
    st.lists(st.integers(0, 500), min_size=3, max_size=3).filter(any),
)
def test_other_shares_of_the_classes_alone_move_no_doubt(past: list[tuple[int, int]], counts: list[int]) -> None:
    before = Sums([n for n, _ in past], [n * sure for n, sure in past])
    block = Sums(counts, [n * sure for n, (_, sure) in zip(counts, past, strict=True)])
    assert doubt(block, before, None) == pytest.approx(0, abs=1e-9)


def test_the_past_fades_and_keeps_its_figures() -> None:
    sums = Sums([20_000, 10_000, 2], [180_000_000, 90_000_000, 18_000], 9_000_000, 30_000)
    confidence, words = sums.confidence, sums.words
    sums.fade()
    assert sums.stories == 15_001
    assert (sums.confidence, sums.words) == pytest.approx((confidence, words), rel=1e-3)


def test_the_card_says_the_largest_doubt_and_novelty_of_any_set() -> None:
    assert USUAL is not None
    assert USUAL.words == 0.05
    assert 0 < USUAL.doubt < 0.02
    assert Usual.of_card(None) is None
    assert Usual.of_card({"sets": []}) is None


def test_detectors_are_those_of_the_kinds() -> None:
    assert set(scorer_watch.DETECTORS) == {"words", "doubt", "negative", "neutral", "positive"}
