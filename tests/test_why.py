"""`alerts why`: how any topic stood at any time, what was missing, and without which stories an alert had not fired.

What it says is compared with what happens: the feed is replayed anew with the stories that were missing, or without
those that mattered.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import all_rows
from sqlalchemy import delete, insert, select
from test_delivery_cli import LETTERS, feed
from typer.testing import CliRunner

from foreshock.analysis.why import NothingAt, fewest, standing_at, without
from foreshock.cli.app import app
from foreshock.cli.errors import explain
from foreshock.monitor.store import open_store, retention, schema
from foreshock.monitor.store.database import connect, writing
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import ALL, HOUR
from foreshock.processes import replay
from foreshock.settings.load import load

pytestmark = pytest.mark.slow

assert feed is not None
assert LETTERS is not None
START = 1_704_067_200
CALM = (START + 8 * 86_400 + 12 * 3600 + 600) * 1_000_000
"""The end of a bucket of an ordinary day."""


def replayed(folder: Path, stories: Iterable[dict[str, Any]], scorer: Any) -> str:
    file = folder / "news.jsonl"
    file.write_text("".join(json.dumps(story) + "\n" for story in stories))
    url = f"sqlite:///{folder}/store.db"
    flags = {"store.url": url, "watchlist.defaults": False}
    replay.replay(load(None, flags=flags, environ={}).settings, [file], scorer=scorer)
    return url


@pytest.fixture(scope="module")
def stories(feed: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in feed.read_text().splitlines()]


@pytest.fixture(scope="module")
def url(stories: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory, quick_scorer: Any) -> str:
    return replayed(tmp_path_factory.mktemp("why"), stories, quick_scorer)


def spikes(url: str, topic: str = "Banks") -> list[dict[str, Any]]:
    return [a for a in open_store(url).alerts() if a["topic"] == topic and a["kind"] == "negativity_spike"]


@given(st.integers(1, 200), st.integers(1, 200))
def test_the_fewest_that_are_enough_are_found(least: int, most: int) -> None:
    """Invariant: of counts where more is always more, the smallest that is enough, or None beyond `most`."""
    assert fewest(lambda n: n >= least, most) == (least if least <= most else None)


def test_without_the_named_stories_a_new_replay_fires_no_alert_and_with_one_of_them_it_does(
    url, stories, tmp_path, quick_scorer
):
    alert = spikes(url)[0]
    found = without(open_store(url).engine, alert["id"])
    names = [story["id"] for story in found.stories]
    assert 0 < len(names) < found.of
    assert f"of {found.of}, it would not have fired by then." in found.sentence

    def fires(gone: set[str], folder: str) -> bool:
        (tmp_path / folder).mkdir()
        kept = [story for story in stories if story["id"] not in gone]
        return any(a["fired_at"] <= alert["fired_at"] for a in spikes(replayed(tmp_path / folder, kept, quick_scorer)))

    assert not fires(set(names), "without")
    assert fires(set(names[:-1]), "with-one")


def test_of_an_alert_whose_stories_were_deleted_it_says_so(url, tmp_path):
    old = f"sqlite:///{shutil.copy(url.removeprefix('sqlite:///'), tmp_path / 'old.db')}"
    alert, engine = spikes(old)[0], connect(old, create=False)
    with writing(engine) as connection:
        topic = schema.story_topics.c.topic == "Banks"
        places = select(schema.story_topics.c.partition, schema.story_topics.c.offset).where(topic)
        retention._delete(connection, [(row[0], row[1]) for row in connection.execute(places)], ["none"], 0)
    assert without(engine, alert["id"]).sentence == "Its stories are older than [store] keep_stories and were deleted."
    engine.dispose()


def test_with_the_missing_stories_a_new_replay_fires_and_with_one_less_it_does_not(
    url, stories, tmp_path, quick_scorer
):
    found = standing_at(open_store(url).engine, "Banks", CALM)
    (missing,) = (m for m in found.missing if m.kind == "negativity_spike")
    assert missing.stories is not None
    assert missing.stories > 1
    assert f"{missing.stories} more independent sources" in missing.sentence
    at = CALM / 1e6 - 100

    def fires(count: int, folder: str) -> bool:
        (tmp_path / folder).mkdir()
        words = ["oil", "mine", "drug", "chip", "rail", "wine", "gold", "farm", "ship", "steel", "paper", "glass"]
        added = [
            {
                **{"id": f"added-{n}", "title": " ".join([words[n % 12] + str(n).translate(LETTERS)] * 4)},
                **{"published_at": at, "source": f"added source {n}", "topics": ["Banks"]},
                "scores": {"negative": 0.9, "neutral": 0.07, "positive": 0.03},
            }
            for n in range(count)
        ]
        fed = sorted([*stories, *added], key=lambda story: story["published_at"])
        fired = spikes(replayed(tmp_path / folder, fed, quick_scorer))
        return any(a["fired_at"] == iso(CALM) for a in fired)

    assert fires(missing.stories, "enough")
    assert not fires(missing.stories - 1, "one-less")


def test_a_calm_time_has_every_kind_with_its_score_below_its_threshold(url):
    found = standing_at(open_store(url).engine, "Banks", CALM)
    assert found.at == CALM
    assert found.open == []
    kinds = [(one.kind, one.direction) for one in found.standings]
    assert kinds == [
        *(("negativity_spike", "worse"), ("drift", "worse"), ("drift", "better"), ("volume", "worse")),
        ("silence", "worse"),
    ]
    for one in found.standings:
        if one.judged:
            assert one.score < one.threshold, one
    assert {missing.kind for missing in found.missing} == {"negativity_spike", "drift", "volume", "silence"}


def test_while_it_fires_the_alert_is_named_and_the_whole_market_is_listed_too(url):
    alert = spikes(url)[0]
    at = round(datetime.fromisoformat(alert["fired_at"]).timestamp()) * 1_000_000
    found = standing_at(open_store(url).engine, "Banks", at)
    assert alert["id"] in {one["id"] for one in found.open if one["state"] == "firing"}
    assert "negativity_spike: an alert was firing." in [missing.sentence for missing in found.missing]
    before = standing_at(open_store(url).engine, "Banks", at - HOUR)
    assert all(one["state"] != "firing" for one in before.open)
    assert ALL in {topic for topic, _ in found.also}


def test_an_open_critical_alert_is_among_the_open_ones(url):
    engine, a = open_store(url).engine, schema.alerts.c
    row: dict[str, Any] = {column.name: 0 for column in schema.alerts.columns if not column.nullable}
    row |= {"id": "grave", "topic": "Banks", "kind": "critical", "direction": "worse", "state": "resolved"}
    times = {"fired_at": CALM - 5 * HOUR, "resolved_at": CALM + HOUR}
    with writing(engine) as connection:
        connection.execute(insert(schema.alerts).values(**row, **times))
    try:
        assert standing_at(engine, "Banks", CALM).open == [
            {"kind": "critical", "direction": "worse", "state": "firing", "id": "grave"}
        ]
        assert standing_at(engine, "Banks", CALM - 6 * HOUR).open == []
        assert standing_at(engine, "Banks", CALM + HOUR).open == []
    finally:
        with writing(engine) as connection:
            connection.execute(delete(schema.alerts).where(a.id == "grave"))


def test_a_topic_that_is_learning_is_said_to_be(url):
    found = standing_at(open_store(url).engine, "Banks", (START + 3 * 86_400) * 1_000_000)
    assert "drift: the topic was still learning" in " ".join(missing.sentence for missing in found.missing)


def test_nothing_is_stored_and_the_same_is_said_twice(url):
    engine, alert = open_store(url).engine, spikes(url)[0]
    before = all_rows(url)
    said = [(standing_at(engine, "Banks", CALM).to_json(), without(engine, alert["id"]).to_json()) for _ in range(2)]
    assert said[0] == said[1]
    assert all_rows(url) == before


@pytest.mark.parametrize("at", [(START - 86_400) * 1_000_000, None])
def test_a_topic_without_a_story_by_then_is_an_error_of_usage(url, at):
    with pytest.raises(NothingAt, match="had no story that is watched before") as caught:
        standing_at(open_store(url).engine, "Banks" if at else "Nobody", at)
    assert explain(caught.value)[1] == 2


def test_the_command_takes_a_topic_a_time_an_alert_and_a_beginning_of_one(url):
    def run(*command: str) -> Any:
        return CliRunner().invoke(app, ["alerts", "why", *command, "--store", url])

    shown = run("Banks", "--at", iso(CALM))
    assert shown.exit_code == 0, shown.output
    assert f"Banks at {iso(CALM)}" in shown.output
    assert "more independent sources with negative stories in that bucket would have done." in shown.output
    now = json.loads(run("Banks", "--json").output)
    assert set(now) == {"topic", "at", "open", "standings", "missing", "also"}
    alert = spikes(url)[0]
    by_prefix = run(alert["id"][:8])
    assert by_prefix.exit_code == 0, by_prefix.output
    assert "it would not have fired by then." in by_prefix.output
    found = json.loads(run(alert["id"], "--json").output)
    assert set(found["without"]) == {"stories", "of", "sentence"}
    slip = run("Bnks").exception
    assert slip is not None
    assert explain(slip) == ("There is no alert and no topic 'Bnks'; did you mean Banks?", 2)
