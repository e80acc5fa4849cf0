"""A story's mood towards each company that it names: from the worker through the store to series and pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import QuickScorer
from hypothesis import given, settings
from hypothesis import strategies as st
from older_stores import back_to
from rows import all_rows, promised_rows
from sqlalchemy import select

from foreshock.cli import main
from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.story import Story
from foreshock.monitor import novelty
from foreshock.monitor.counting import CountedStory, Scores, SeenIds, count_bucket
from foreshock.monitor.errors import SettingsDiffer
from foreshock.monitor.moods import median
from foreshock.monitor.store import evidence, open_store, schema, settings_versions
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.export import export_stories
from foreshock.monitor.store.search import Wanted, search
from foreshock.monitor.topics.matching import Matcher
from foreshock.monitor.topics.rules import TopicRule
from foreshock.monitor.units import ALL, DAY
from foreshock.monitor.watermark import TimeRules
from foreshock.processes.batches import BatchSize, Worker
from foreshock.processes.replay import replay
from foreshock.settings.load import load
from foreshock.settings.models import Settings
from foreshock.settings.versions import in_force, shaping

START = 1_770_000_000
NAMES = ("Norvane", "Castellor", "Tarvale")
TOPICS = [{"name": name, "tickers": [name[:4].upper()], "names": [name]} for name in NAMES]
BAD, GOOD, CALM = (9_000, 500, 500), (500, 500, 9_000), (1_000, 8_000, 1_000)


class RivalsScorer(QuickScorer):
    """What is bad for the text is good for Castellor; of Tarvale it says what it says of the text."""

    def score_stories(self, pairs: Sequence[tuple[str, str]]) -> Any:
        return np.array([BAD for _ in pairs], np.int32).reshape(-1, 3)

    def grade_stories(self, pairs: Sequence[tuple[str, str]]) -> Any:
        return np.array([220 for _ in pairs], np.int32)

    def score_companies(self, asked: Sequence[tuple[str, str, str]]) -> Any:
        return np.array([GOOD if name == "Castellor" else BAD for *_, name in asked], np.int32).reshape(-1, 3)


def settings_for(url: str, **flags: Any) -> Settings:
    values = {"store.url": url, "watchlist.defaults": False, **flags}
    own = load(None, flags=values, environ={}).settings
    return own.model_copy(update={"topics": tuple(TopicRule.model_validate(topic) for topic in TOPICS)})


def record(number: int, title: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"n{number}", "title": title, "published_at": START + 60 * number, "source": "wire", **fields}


def write(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def moods(url: str) -> dict[tuple[int, str], Any]:
    """The scores towards companies as they are stored, by offset and topic; None where the text's count."""
    engine = connect(url, create=False)
    t = schema.story_topics.c
    with reading(engine) as connection:
        rows = connection.execute(select(t.offset, t.topic, t.negative, t.neutral, t.positive)).all()
    engine.dispose()
    return {(row[0], row[1]): None if row[2] is None else tuple(row[2:]) for row in rows}


RIVALS = [
    record(0, "Norvane loses a suit against Castellor and Tarvale"),
    record(1, "Norvane shuts its mines in the north", topics=["mines"]),
    record(2, "Castellor gains as trade returns", tickers=["NORV"]),
    record(3, "Dry weather hurts farmers of the plain"),
]


# What the worker stores.


def test_a_text_is_scored_towards_each_company_where_it_names_two_and_stored_where_that_differs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    replay(settings_for(url), [write(tmp_path / "a.jsonl", RIVALS)], scorer=RivalsScorer)
    assert moods(url) == {
        (0, "Norvane"): None,
        (0, "Castellor"): GOOD,
        (0, "Tarvale"): None,
        (1, "Norvane"): None,
        (1, "mines"): None,
        (2, "Castellor"): None,  # one name, and one company of the ticker field alone
        (2, "Norvane"): None,
    }
    store = open_store(url)
    positive = {topic: sum(row["positive"] for row in store.series_rows(topic)) for topic in NAMES}
    assert positive == pytest.approx({"Norvane": 3 * 0.05, "Castellor": 0.9 + 0.05, "Tarvale": 0.05})


class WithoutHeads(RivalsScorer):
    def score_companies(self, asked: Sequence[tuple[str, str, str]]) -> Any:
        return None


class TextsOnly:
    identity, languages = "texts-only", frozenset({"en"})

    def score_stories(self, pairs: Sequence[tuple[str, str]]) -> Any:
        return np.array([BAD for _ in pairs], np.int32).reshape(-1, 3)


@pytest.mark.parametrize(
    ("scorer", "flags"), [(WithoutHeads, {}), (TextsOnly, {}), (RivalsScorer, {"model.per_company": False})]
)
def test_without_a_head_for_companies_or_if_it_is_set_so_the_text_s_score_counts(
    tmp_path: Path, scorer: Any, flags: dict[str, Any]
) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    replay(settings_for(url, **flags), [write(tmp_path / "a.jsonl", RIVALS)], scorer=scorer)
    assert set(moods(url).values()) == {None}


def test_a_text_that_no_model_reads_is_scored_towards_nobody() -> None:
    class Never(RivalsScorer):
        def score_companies(self, asked: Sequence[tuple[str, str, str]]) -> Any:
            raise AssertionError(asked)

    matcher = Matcher([TopicRule.model_validate(topic) for topic in TOPICS])
    worker = Worker(matcher, Never, TimeRules(), settings=1)
    from foreshock.monitor.watermark import Judgement
    from foreshock.processes.rows import Taken

    story = Story("p", 0, "a", 0, "Norvane verklagt Castellor", language="de")
    taken = Taken([(story, Judgement(0, False, False))], [matcher.read(story.title, "", [], [], "de")])
    assert [row["negative"] for row in worker.rows(taken).story_topics] == [None, None]


TITLES = [
    "Norvane sues Castellor",
    "Castellor sues Norvane",
    "Norvane, Castellor and Tarvale merge",
    "Tarvale rises",
    "Rain",
    "NORV and CAST fall: $NORV $CAST",
]


@given(titles=st.lists(st.sampled_from(TITLES), min_size=1, max_size=12), size=st.integers(1, 12))
@settings(max_examples=10, deadline=None)
def test_where_a_batch_ends_changes_no_mood(
    tmp_path_factory: pytest.TempPathFactory, titles: list[str], size: int
) -> None:
    """Invariant: a mood depends on the text and the name alone, not on the batch."""
    folder = tmp_path_factory.mktemp("batches")
    path = write(folder / "a.jsonl", [record(n, title) for n, title in enumerate(titles)])
    found = []
    for name, most in (("one", size), ("all", 100)):
        own = settings_for(f"sqlite:///{folder / name}.db")
        replay(own, [path], scorer=QuickScorer, batch_size=BatchSize(records=most))
        found.append(promised_rows(own.store.url))
    assert found[0] == found[1]


# Counting.


def counted(number: int, source: str, scores: Scores, own: dict[str, Scores], topics: tuple[str, ...]) -> CountedStory:
    signature = novelty.signature(
        "Norvane sues Castellor over the patents of its newest engine in a court of the north"
    )
    (keys,) = novelty.keys([signature])
    return CountedStory(
        "p", number, DAY, DAY + number, f"i{number}", f"c{number}", source, False, False, scores, signature, keys,
        topics, "", own,
    )  # fmt: skip


SCORES = st.sampled_from([CALM, (2_000, 6_000, 2_000), (3_000, 6_000, 1_000)])


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            SCORES,
            st.dictionaries(st.sampled_from(NAMES), st.sampled_from([BAD, GOOD, CALM]), max_size=3),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_an_events_mood_in_a_company_s_series_is_the_median_of_what_its_sources_say_of_it(stories: Any) -> None:
    """Invariant: each source speaks by its first story: towards the company where that has a mood, else by its text."""
    members = [counted(n, source, scores, own, NAMES) for n, (source, scores, own) in enumerate(stories)]
    _, bucket = count_bucket(SeenIds(), DAY, members, TimeRules())
    first = {source: (scores, own) for source, scores, own in reversed(stories)}
    for topic in bucket.topics:
        said = [own.get(topic.topic, scores) for scores, own in first.values()]
        assert topic.events == 1
        assert (topic.negative, topic.neutral, topic.positive) == median(said)
    assert [topic.topic for topic in bucket.topics] == sorted([ALL, *NAMES])


# Out of the store.


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("postgres") if request.param == "postgres" else f"sqlite:///{tmp_path / 'store.db'}"


def test_evidence_search_and_json_of_a_company_have_its_own_mood(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replay(settings_for(url), [write(tmp_path / "a.jsonl", RIVALS)], scorer=RivalsScorer)
    store = open_store(url)
    end = (START + DAY) * 1_000_000
    with reading(store.engine) as connection:
        shown = evidence.stories(connection, "Castellor", 0, end, known=end, worse=True)
        everything = evidence.stories(connection, ALL, 0, end, known=end, worse=True)
        worse = search(connection, Wanted(topic="Castellor", label="negative"))
        better = search(connection, Wanted(topic="Castellor", label="positive"))
        none = search(connection, Wanted(label="positive"))
    assert [(story["id"], story["scores"]["positive"]) for story in shown] == [("n2", 0.05), ("n0", 0.9)]
    assert [story["scores"]["severity"] for story in shown] == [2.2, 0.15]  # three times 0.05, how bad it is for it
    assert {story["scores"]["severity"] for story in everything} == {2.2}
    assert [found.story.title for found in worse] == [RIVALS[2]["title"]]
    assert [(found.story.title, found.story.scores, found.story.severity) for found in better] == [
        (RIVALS[0]["title"], GOOD, 15)
    ]
    assert none == []
    told = {story["id"]: story for story in store.stories()}
    assert told["n0"]["topic_scores"] == {"Castellor": {"negative": 0.05, "neutral": 0.05, "positive": 0.9}}
    assert told["n0"]["scores"]["negative"] == 0.9
    assert told["n2"]["topic_scores"] == {}
    assert main(["stories", "--topic", "Castellor", "--store", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2:4] for line in lines if "suit" in line or "trade" in line] == [
        ["0.90", "0.05"],
        ["0.05", "0.90"],
    ]


@given(titles=st.lists(st.sampled_from(TITLES), min_size=1, max_size=10))
@settings(max_examples=8, deadline=None)
def test_an_export_s_replay_has_the_same_moods_series_and_alerts_without_a_model(
    tmp_path_factory: pytest.TempPathFactory, titles: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("export")
    live, again = settings_for(f"sqlite:///{folder / 'a.db'}"), settings_for(f"sqlite:///{folder / 'b.db'}")
    path = write(folder / "a.jsonl", [record(n, title) for n, title in enumerate(titles)])
    replay(live, [path], scorer=QuickScorer)
    with (folder / "out.jsonl").open("wb") as out:
        export_stories(open_store(live.store.url).engine, out)

    def no_scorer() -> Any:
        raise AssertionError("every story carries its scores")

    replay(again, [folder / "out.jsonl"], scorer=no_scorer)
    assert sorted(moods(again.store.url).items()) == sorted(moods(live.store.url).items())
    before, after = all_rows(live.store.url), all_rows(again.store.url)
    for table in ("buckets", "topics", "daily_state", "alerts", "outbox"):
        assert after[table] == before[table], table


# On the wire.

ONE = {"negative": 0.2, "neutral": 0.3, "positive": 0.5}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"A": ONE, " B ": ONE}, {"A": (2000, 3000, 5000), "B": (2000, 3000, 5000)}),
        (json.dumps({"A": ONE}), {"A": (2000, 3000, 5000)}),
        ({}, {}),
        (None, {}),
        ({"A": {**ONE, "positive": 0.9}}, None),
        ({"A": {"negative": 1}}, None),
        ({"A": [0.2, 0.3, 0.5]}, None),
        ({"A" * 2_000: ONE}, None),
        ({f"{n}": ONE for n in range(1_001)}, None),
        ([ONE], None),
        ("good", None),
        (3, None),
    ],
)
def test_a_record_that_carries_scores_may_carry_those_towards_companies(given_: Any, expected: Any) -> None:
    raw = {"title": "Loss", "published_at": START, "scores": ONE, "topic_scores": given_}
    story = parse(json.dumps(raw).encode(), "p", 0, ParseRules())
    assert isinstance(story, Story)
    assert story.topic_scores == (expected or {})
    assert ("topic_scores" in story.extra) == (expected is None)  # what cannot be used is kept, and costs nothing else
    plain = parse(json.dumps({**raw, "scores": None}).encode(), "p", 0, ParseRules())
    assert isinstance(plain, Story)
    assert plain.topic_scores == {}


# Settings.


def test_whether_companies_are_scored_is_a_setting_of_the_store_that_may_change() -> None:
    plain, without = (
        Settings(),
        Settings().model_copy(update={"model": Settings().model.model_copy(update={"per_company": False})}),
    )
    assert shaping(plain)["model"]["per_company"] is True
    assert "per_company" not in shaping(without)["model"]  # as in stores from before the setting
    assert not any("company" in rule for rule in shaping(without)["topics"])
    assert in_force(plain, shaping(plain)).model == plain.model
    assert in_force(plain, shaping(without)).model == without.model
    again = in_force(without, shaping(plain))
    assert [rule.is_company for rule in again.topics] == [
        rule.is_company for rule in in_force(plain, shaping(plain)).topics
    ]
    assert sum(rule.is_company for rule in again.topics) == 280


def test_a_store_from_before_companies_were_scored_is_upgraded_and_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "old.db"
    own = settings_for(f"sqlite:///{store}")
    old = own.model_copy(update={"model": own.model.model_copy(update={"per_company": False})})
    replay(old, [write(tmp_path / "a.jsonl", RIVALS)], scorer=RivalsScorer)
    back_to("0009", store)
    later = [record(60, "Court fines Norvane for what Castellor had to bear in all these years")]
    replay(own, [write(tmp_path / "b.jsonl", later)], scorer=RivalsScorer)
    found = moods(own.store.url)
    assert found[0, "Castellor"] == GOOD  # of b.jsonl; all of a.jsonl have none
    rows = all_rows(own.store.url)
    assert len(rows["settings_versions"]) == 2
    assert {row[4:] for row in rows["story_topics"] if row[0] == "a.jsonl"} == {(None,) * 6}
    positive = [topic["positive"] for topic in open_store(own.store.url).series_rows("Castellor")]
    assert sum(positive) == pytest.approx(0.05 + 0.05 + 0.9)


def test_an_unfinished_replay_goes_on_only_with_what_it_was_started_with(tmp_path: Path) -> None:
    own = settings_for(f"sqlite:///{tmp_path / 's.db'}")
    replay(own, [write(tmp_path / "a.jsonl", RIVALS)], scorer=RivalsScorer)
    without = shaping(own.model_copy(update={"model": own.model.model_copy(update={"per_company": False})}))
    with (
        writing(connect(own.store.url, create=False)) as connection,
        pytest.raises(SettingsDiffer, match=r"model\.per_company \(was True, is None\)"),
    ):
        settings_versions.adopt(connection, without, resuming="a.jsonl")
