"""What one sender can do to the news of others: suppress, forge and drown."""

from __future__ import annotations

import itertools
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from older_stores import back_to
from sqlalchemy import select

from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.story import Story
from foreshock.monitor import novelty
from foreshock.monitor.buckets import Bucket, SourceSums, TopicBucket
from foreshock.monitor.counting import CountedStory, Scores, SeenIds, count_bucket, key_of
from foreshock.monitor.deciding import DetectionRules, State, decide
from foreshock.monitor.moods import APART, agree, median, polarity
from foreshock.monitor.store import database, open_store, schema
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.units import ALL, DAY, HOUR, UNIT
from foreshock.monitor.watermark import TimeRules
from foreshock.processes.replay import replay
from foreshock.settings.load import SettingsError, load

START = 20_003 * DAY
RULES = TimeRules()
BAD, GOOD = (9_000, 500, 500), (500, 500, 9_000)
REAL = "Acme Corp misses a payment on its bonds and creditors ask for the whole sum at once on Tuesday morning"


def story(
    number: int, title: str, scores: Scores, *, source: str, at: int = 0, identity: str = "", feed: str = ""
) -> CountedStory:
    """A story of the topic Acme, `at` seconds after the start."""
    signature = novelty.signature(title)
    time = START + at * 1_000_000
    (keys,) = novelty.keys([signature])
    return CountedStory(
        source, number, RULES.start_of(time), time, identity or f"{source}-{number}", title, source, False, False,
        scores, signature, keys, ("Acme",), feed,
    )  # fmt: skip


def acme(stories: list[CountedStory], muted: tuple[str, ...] = ()) -> list[TopicBucket]:
    """The rows of Acme in the buckets of these stories."""
    memory, rows = SeenIds(), list[TopicBucket]()
    for start, members in itertools.groupby(sorted(stories, key=lambda s: s.bucket), key=lambda s: s.bucket):
        _, bucket = count_bucket(memory, start, list(members), RULES, muted=muted)
        rows += [topic for topic in bucket.topics if topic.topic == "Acme"]
    return rows


# Ids.


@given(st.integers(-600, 600), st.integers(1, 5), st.booleans(), st.sampled_from(["source", "feed"]))
def test_nobody_takes_the_id_of_another(at: int, count: int, same_bucket: bool, taken: str) -> None:
    """Invariant: stories that another source or feed sends under one's ids, earlier or later, with any text, leave
    one's own stories as they are."""
    words = ["oil harbour strike", "bank fraud trial", "mine flood closure", "drug trial halted", "chip plant fire"]
    real = [
        story(n, f"Acme {words[n]} and the regulator asks why", BAD, source="wire", at=700 + n, identity=f"id{n}")
        for n in range(count)
    ]
    who = {"source": "thief"} if taken == "source" else {"source": "wire", "feed": "other"}
    fake = [
        story(
            100 + n,
            f"{word} weather stays mild",
            GOOD,
            at=700 + n + (0 if same_bucket else at),
            identity=f"id{n}",
            **who,
        )
        for n, word in zip(range(count), ("northern", "southern", "eastern", "western", "central"), strict=False)
    ]
    alone, attacked = acme(real), acme(real + fake)
    assert sum(row.negative for row in attacked) == sum(row.negative for row in alone) + sum(
        s.scores[0] for s in fake if s.scores
    )
    assert sum(row.events for row in attacked) == count + len(fake)


@given(
    st.lists(st.tuples(st.text("ab\x1f"), st.text("ab\x1f"), st.text("ab\x1f")), min_size=2, max_size=2, unique=True)
)
def test_keys_of_ids_are_distinct(ids: list[tuple[str, str, str]]) -> None:
    clean = [tuple(part.replace("\x1f", "") for part in one) for one in ids]
    assert (key_of(*clean[0]) == key_of(*clean[1])) == (clean[0] == clean[1])


def test_only_an_export_names_a_feed() -> None:
    """A producer that names a feed would write under the ids of another. Files of one's own exports may."""
    said = {"title": "t", "published_at": 1_700_000_000, "feed": "rss:other"}
    for extra, rules, feed in (
        ({}, ParseRules(feed="news", accept_counts_at=False), "news"),
        ({"counts_at": 1_700_000_000}, ParseRules(feed="news", accept_counts_at=False), "news"),
        ({}, ParseRules(), ""),
        ({"counts_at": 1_700_000_000}, ParseRules(), "rss:other"),
    ):
        found = parse(json.dumps(said | extra).encode(), "p", 0, rules)
        assert isinstance(found, Story)
        assert found.feed == feed


# Moods.

moods = st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)).map(
    lambda p: (min(p), max(p) - min(p), 10_000 - max(p))
)


@given(st.lists(moods, min_size=1, max_size=7), st.randoms())
def test_the_median_has_no_first_and_no_loudest(voices: list[Scores], random: Any) -> None:
    """Invariant: the order of voices does not matter, the scores sum to 1, and a minority of voices, whatever they say,
    stays within what the others say."""
    found = median(voices)
    shuffled = random.sample(voices, len(voices))
    assert median(shuffled) == found
    assert sum(found) == 10_000
    liars = [GOOD] * ((len(voices) - 1) // 2)
    held = median([*voices[len(liars) :], *liars])
    honest = [polarity(voice) for voice in voices[len(liars) :]]
    assert min(honest) - 2 <= polarity(held) <= max(honest) + 2


SUFFIXES = ["and shares rally strongly", "shares rally", "but all is well", "and stock jumps to a record high"]


@given(
    st.sampled_from(SUFFIXES),
    st.lists(st.integers(-40 * 3600, 3600), min_size=1, max_size=4),
    st.booleans(),
)
@settings(deadline=None)
def test_words_that_others_append_take_nothing_from_a_story(suffix: str, times: list[int], in_front: bool) -> None:
    """Invariant: copies with a contrary mood, of any sources, before, with or after a story, leave its negative mass in
    the topic. They are at most one event beside it."""
    title = f"{suffix}: {REAL}" if in_front else f"{REAL} {suffix}"
    real = story(1, REAL, BAD, source="wire")
    copies = [story(10 + n, title, GOOD, source=f"forger{n}", at=at) for n, at in enumerate(times)]
    rows = acme([real, *copies])
    assert sum(row.negative for row in rows) == BAD[0] + GOOD[0]
    assert sum(row.events for row in rows) == 2


@given(st.permutations(range(4)), st.lists(st.integers(7_000, 9_500), min_size=4, max_size=4))
def test_whoever_claims_to_be_first_changes_nothing_in_a_bucket(order: list[int], bad: list[int]) -> None:
    """Invariant: in a bucket, an event's row is the same whichever of its sources has the earliest time."""

    def rows(times: list[int]) -> list[TopicBucket]:
        stories = [story(n, REAL, (bad[n], 10_000 - bad[n], 0), source=f"s{n}", at=at) for n, at in enumerate(times)]
        return acme(stories)

    assert rows(list(range(4))) == rows(list(order))
    assert rows(list(order))[0].events == 1


def test_an_event_that_a_swarm_repeats_is_not_the_swarms() -> None:
    own = ["oil", "bank", "mine", "drug", "chip"]
    swarm = [
        story(n, f"{word} notice of the {word} {word} committee", GOOD, source="swarm") for n, word in enumerate(own)
    ]
    copy = story(50, REAL, BAD, source="swarm", at=0)
    (row,) = acme([*swarm, copy, story(60, REAL, BAD, source="wire", at=100)])
    assert {part.source: part.events for part in row.by_source} == {"swarm": 5, "wire": 1}


@given(st.integers(-9_000, 9_000), st.integers(-9_000, 9_000))
def test_moods_that_contradict_are_two_events(a: int, b: int) -> None:
    first, second = ((max(-p, 0), 10_000 - abs(p), max(p, 0)) for p in (a, b))
    rows = acme([story(1, REAL, first, source="x"), story(2, REAL, second, source="y")])
    assert rows[0].events == (1 if abs(a - b) < APART else 2)
    assert agree(a, b) == (abs(a - b) < APART)


def test_posts_that_differ_in_numbers_are_one_event() -> None:
    posts = [f"Acme Corp cuts {n} jobs, {n / 7:.2f} % of its staff, by {2020 + n}" for n in (4, 500, 1_200, 30_000)]
    (row,) = acme([story(n, post, BAD, source=f"s{n}", at=n) for n, post in enumerate(posts)])
    assert (row.stories, row.events) == (4, 1)


# Trust.


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from([BAD, GOOD]), st.integers(0, 900)), max_size=6))
def test_a_muted_source_leaves_the_rows_of_the_others(posts: list[tuple[int, Scores, int]]) -> None:
    """Invariant: with a source muted, the buckets are those of a feed without it."""
    texts = [
        REAL,
        "Harbour of Acme closes after the storm took two of its cranes",
        "Acme names another head of its board",
    ]
    real = [story(n, texts[n], BAD, source="wire", at=300 * n + 10) for n in range(3)]
    noise = [story(20 + n, texts[t], mood, source="noise", at=at) for n, (t, mood, at) in enumerate(posts)]
    assert acme(real + noise, muted=("noise",)) == acme(real)


def test_two_tables_for_one_source_are_an_error() -> None:
    with pytest.raises(SettingsError, match="the source 'x' has two tables"):
        load(None, flags={"sources": [{"name": "x", "weight": 0}, {"name": "x"}]}, environ={})


def test_trust_is_a_setting_that_shapes_what_is_decided(tmp_path: Path) -> None:
    records = [
        {"id": f"{source}{n}", "title": f"{w} {source} and {w} again of {w}", "source": source, "topics": ["Acme"],
         "published_at": START / 1e6 + n * 10, "scores": {"negative": 0.9, "neutral": 0.05, "positive": 0.05}}
        for n, w in enumerate(["oil", "bank", "mine"]) for source in ("wire", "noise")
    ]  # fmt: skip
    path = tmp_path / "news.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    url = f"sqlite:///{tmp_path / 'store.db'}"
    flags = {"store.url": url, "watchlist.defaults": False, "sources": [{"name": "noise", "weight": 0}]}
    replay(load(None, flags=flags, environ={}).settings, [path])
    assert open_store(url).series("Acme")["events"].sum() == 3
    with reading(connect(url, create=False)) as connection:
        assert '"sources": [{"name": "noise", "weight": 0.0}]' in str(
            connection.execute(select(schema.settings_versions.c.body)).scalar_one()
        )


# One source's share.


def row(topic: str, parts: list[SourceSums], stories: int = 0) -> TopicBucket:
    events, bad = sum(part.events for part in parts), sum(part.negative for part in parts)
    good = sum(part.positive for part in parts)
    names = tuple(part.source for part in parts)
    return TopicBucket(
        topic, stories or events, events, bad, events * UNIT - bad - good, good, names, 0, 0,
        tuple(parts) if len(parts) > 1 else (),
    )  # fmt: skip


def sources(prefix: str, count: int, bad: int = 2_000, good: int = 2_000) -> list[SourceSums]:
    return [SourceSums(f"{prefix}{n:02}", 1, bad, good, 0, 0) for n in range(count)]


def week(rules: DetectionRules, last: list[SourceSums]) -> tuple[State, list[Any]]:
    """Three weeks of four topics with an event in each of three hours a day, then an hour of Acme with `last`."""
    state, changes = State.fresh(rules), list[Any]()
    for number in range(21 * 6):
        own = sources(f"w{number % 5}", 2, bad=1_500 + 100 * (number % 7))
        rows = dict.fromkeys(("Acme", "Bolt", "Crow", "Dune"), own) | {ALL: own}
        if number == 21 * 6 - 1:
            rows["Acme"] = rows[ALL] = last
        made = Bucket(START + number * 4 * HOUR, tuple(row(topic, parts) for topic, parts in sorted(rows.items())))
        changes += decide(state, made).changes
    return state, [c for c in changes if c.event == "firing" and c.alert.topic == "Acme"]


def test_a_swarm_of_one_source_hides_no_crisis_and_is_no_volume() -> None:
    """264 positive posts of one source beside 24 negative ones of as many; and 264 of one source alone."""
    real = sources("x", 24, bad=9_000, good=500)
    drowning = sorted([*real, SourceSums("swarm", 264, 264 * 500, 264 * 9_000, 0, 0)])
    alone, drowned = week(DetectionRules(), real)[1], week(DetectionRules(), drowning)[1]
    assert {c.alert.kind for c in alone} >= {"negativity_spike"}
    assert {c.alert.kind for c in drowned} >= {"negativity_spike"}
    assert week(DetectionRules(), [SourceSums("swarm", 264, 264 * 500, 264 * 9_000, 0, 0)])[1] == []


@pytest.mark.parametrize("good", [500, 9_000])
def test_one_sources_part_of_a_topics_evidence_is_bounded_in_every_sum(good: int) -> None:
    """300 events of one source weigh less than 30 of 30 sources in shares and surges, and in what is usual and volume
    less than a third of what they are."""
    state, _ = week(
        DetectionRules(), sorted([SourceSums("swarm", 300, 300 * 500, 300 * good, 0, 0), *sources("x", 30)])
    )
    place = state.history.index["Acme"]
    events, _, positive = state.history.hour_now[place] / UNIT
    assert 25 < events < 30 + 300 / 3
    assert positive - 30 * 0.2 < 0.9 * 300 / 3
    parts: dict[str, Any] = state.parts()
    assert parts["shares"].opened[place][0] / UNIT < 60
    assert parts["surges"].now[place][0] / UNIT < 60


def test_a_source_that_is_trusted_less_weighs_less() -> None:
    last = sources("x", 20, bad=9_000)
    trust = tuple((part.source, 0.1) for part in last)
    whole, less = (week(DetectionRules(trust=t), last)[0].history for t in ((), trust))
    place = whole.index["Acme"]
    assert less.hour_now[place][0] == pytest.approx(whole.hour_now[place][0] / 10, rel=0.01)


# A store from before.


def test_ids_of_an_older_store_become_their_sources_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the migration, a source's own record is a duplicate, and another's with its id is a story."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    own = load(None, flags={"store.url": url, "watchlist.defaults": False}, environ={}).settings
    scores = {"negative": 0.2, "neutral": 0.7, "positive": 0.1}
    first = [
        {"id": f"i{n}", "title": f"{w} {w} notice", "source": "wire", "published_at": START / 1e6 + n, "scores": scores}
        for n, w in enumerate(["oil", "bank", "mine"])
    ]
    path = tmp_path / "one.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in first))
    replay(own, [path])
    back_to("0006", tmp_path / "store.db")
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:  # ids were the sources' own then
        connection.execute(
            'UPDATE story_ids SET id = (SELECT id FROM stories s WHERE s."partition" = story_ids."partition" '
            'AND s."offset" = story_ids."offset")'
        )
        connection.commit()
    later = [{**record, "published_at": START / 1e6 + 600} for record in first]
    theirs = [
        {**record, "title": f"other {n} {record['title']} altogether", "source": "thief"}
        for n, record in enumerate(later)
    ]
    path = tmp_path / "two.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in later + theirs))
    found = replay(own, [path]).to_json()
    assert (found["duplicates"], found["scored"], found["revisions"]) == (3, 3, 0)
    assert database.HEAD >= "0007"
