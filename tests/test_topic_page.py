"""*Topic* and *Stories*: comparing, who drives, notes, words that matter, one story, its label and its like."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest
from test_dashboard import html, show, words
from test_similar import SigningScorer

from foreshock.dashboard import compared, frame, noted, own_model, text, vega
from foreshock.dashboard.own_model import OwnModel
from foreshock.dashboard.vega import Picture
from foreshock.model.errors import ModelError
from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.store import curves
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.store.notes import Note
from foreshock.monitor.units import DAY, HOUR
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

pytestmark = pytest.mark.slow

Show = Callable[..., AppTest]
__all__ = ["show"]

LONG, EMOJI, RIGHT_TO_LEFT = "long " * 60, "🚀🏦 moon", "بنك مصر"
NAMES = (LONG.strip(), LONG.strip() + " twin", EMOJI, RIGHT_TO_LEFT, "\u202esteered")


class ReadingScorer(SigningScorer):
    """As `SigningScorer`, for the dashboard: scores of whole texts, and embeddings that are bags of letters."""

    def score(self, texts: Sequence[str], entities: Any = None) -> Any:
        return (self.score_stories([(one, "") for one in texts]) / 10_000).astype(np.float32)

    def embed(self, texts: Sequence[str]) -> Any:
        return np.array([[1 + one.lower().count(letter) for letter in "abcdefghijklmnop"] for one in texts], np.float32)


@pytest.fixture
def own_store(crisis_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(crisis_store, tmp_path / "own.db"))


@pytest.fixture
def odd_store(tmp_path: Path) -> Path:
    """A store whose topics have names of 300 characters, of emoji, and from right to left."""
    feed = tmp_path / "news.jsonl"
    rows = [
        {
            "id": f"{n}",
            "title": f"{name[:20]} shares plunge on fraud probe {n}",
            "body": "The bank said nothing.",
            "source": ("Wire", "Desk", "\u202ePost")[n % 3],
            "url": "https://example.com/1",
            "topics": [name],
            "published_at": f"2026-03-0{2 + n // 20}T{n % 20:02}:00:00Z",
        }
        for n, name in enumerate(NAMES * 8)
    ]
    feed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = StoreSettings(url=f"sqlite:///{tmp_path / 'odd.db'}")
    replay(Settings.model_validate({"store": store, "watchlist": {"defaults": False}}), [feed], scorer=ReadingScorer)
    return tmp_path / "odd.db"


@pytest.fixture
def with_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    made = OwnModel(ReadingScorer)
    monkeypatch.setattr(own_model, "of_this_process", lambda: made)


def charts(app: AppTest) -> list[str]:
    """The specifications of the page's charts."""
    return [chart.proto.spec for chart in app.get("arrow_vega_lite_chart") or app.get("vega_lite_chart")]


def test_up_to_five_topics_are_compared_and_the_address_has_them(show: Show, crisis_store: Path) -> None:
    asked = ["banks", "Vale", "_all", "no such topic", "Vale"]
    app = show("topic", crisis_store, topic="Weftware", compare=asked, measure="negative share")
    said = words(app)
    assert "Compared Windows of 24 hours." in said
    assert app.multiselect(key="compare").value == ["banks", "Vale", "_all"]
    table = html(app).partition("Compared")[2].partition("</table>")[0]
    assert re.findall(r'href="Topic\?topic=([^"]+)"', table) == ["Weftware", "banks", "Vale", "_all"]
    app.multiselect(key="compare").set_value(["banks", "Vale"]).run()
    assert app.query_params["compare"] == ["banks", "Vale"]
    assert "Compared" not in words(show("topic", crisis_store, topic="Weftware"))


def test_a_chart_compares_no_more_topics_than_can_be_told_apart(crisis_store: Path) -> None:
    engine = connect(f"sqlite:///{crisis_store}", create=False)
    with reading(engine) as connection:
        now = 1_775_174_400_000_000
        one = curves.curve(connection, "Weftware", now - 7 * DAY, now, step=HOUR, window=DAY)
    engine.dispose()
    six = {f"topic {n}": one for n in range(6)}
    with pytest.raises(ValueError, match="1 to 5 topics"):
        compared.draw(six, "polarity", dark=False)
    five = dict(list(six.items())[:5])
    for measure in compared.MEASURES:
        layers = compared.draw(five, measure, dark=True).layers
        names = {name for one in layers if "label" in one["data"] for name in one["data"]["label"]}
        assert names == set(five), "each line has its name"
    assert len({line.color for line in compared.lines(five, dark=False)}) == 5


def test_bad_news_is_charted_beside_mood_and_volume_on_one_axis(show: Show, crisis_store: Path) -> None:
    app = show("topic", crisis_store, topic="Weftware")
    said = words(app)
    assert said.index("Polarity, mean of") < said.index("Negative stories in the last") < said.index("Stories in 3 h")
    domains = set(re.findall(r'"domain": (\["2026[^]]+\])', "".join(charts(app))))
    assert len(domains) == 1


def test_the_sources_that_drive_a_topic_are_named(show: Show, crisis_store: Path) -> None:
    said = words(show("topic", crisis_store, topic="Weftware"))
    assert "Who drives it" in said
    assert re.search(r"Mood −\d\.\d\d, against [+−]\d\.\d\d in the 28 days before\. [\w ]+ moves it most: by −", said)


def test_a_note_is_written_drawn_listed_and_taken_back(show: Show, own_store: Path) -> None:
    app = show("topic", own_store, topic="Weftware")
    app.text_input(key="note-words").set_value("<b>our</b> briefing of bondholders")
    next(b for b in app.button if b.label == "Add this note").click().run()
    assert "Enter your name" in app.error[0].value
    assert app.text_input(key="note-words").value, "a note that was refused stays"
    app.text_input(key="note-by").set_value(" Ada ")
    next(b for b in app.button if b.label == "Add this note").click().run()
    assert "Noted at 00:35, 4 April 2026 UTC. This does not change detection." in words(app)
    assert app.text_input(key="note-words").value == ""
    app = show("topic", own_store, topic="Weftware")
    assert "00:35, 4 April 2026 &lt;b&gt;our&lt;/b&gt; briefing of bondholders Ada" in words(app)
    assert [place for place, spec in enumerate(charts(app)) if "italic" in spec] == [0], "its words are on one chart"
    with sqlite3.connect(own_store) as connection:
        row = connection.execute("SELECT action, topic, by, about_at FROM desk_actions").fetchone()
    assert row == ("note", "Weftware", "Ada", 1_775_262_900_000_000)
    app.text_input(key="note-back-by").set_value("Ben")
    next(b for b in app.button if b.label == "Take this note back").click().run()
    assert "briefing of bondholders" not in words(show("topic", own_store, topic="Weftware"))
    read_only = show("topic", own_store, host="0.0.0.0", topic="Weftware")
    assert not [b for b in read_only.button if b.label == "Add this note"]


def test_the_page_says_where_the_model_changed(show: Show, own_store: Path) -> None:
    at = 1_775_262_900_000_000 - 3 * DAY
    with sqlite3.connect(own_store) as connection:
        connection.execute(
            "INSERT INTO model_switches (number, settings, model, before, state, rescored, in_force_from, fills) "
            f"VALUES (1, '{{}}', 'mine-2', 'default-1', 'done', 9, {at}, 0)"
        )
    app = show("topic", own_store, topic="Weftware")
    assert "00:35, 1 April UTC: mine-2 scores from here on, before it default-1" in words(app)
    drawn = [re.sub(r"\s", "", spec) for spec in charts(app)]
    assert [place for place, spec in enumerate(drawn) if '"dy":-17' in spec] == [0], "its words are on one chart"
    assert all('"strokeDash":[1,3]' in spec for spec in drawn)
    assert "mine-2 scores since 00:35, 1 April 2026 UTC, before it default-1." in words(show("health", own_store))


def test_the_words_of_stories_are_underlined_when_a_person_asks(
    show: Show, odd_store: Path, with_weights: None
) -> None:
    page = html(show("topic", odd_store, topic=EMOJI, underline="true"))
    assert re.search(r'<span class="fs-bad" title="makes it worse by 0\.\d\d">(plunge|fraud|probe)</span>', page)
    assert '<span class="fs-bad" title' not in html(show("topic", odd_store, topic=EMOJI))


def test_words_that_are_worked_out_later_are_shown_at_the_next_look(
    show: Show, odd_store: Path, with_weights: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Never:
        def submit(self, *_: Any) -> Future[Any]:
            return Future()

    monkeypatch.setattr(own_model.of_this_process(), "_pool", Never())
    monkeypatch.setattr(own_model, "PATIENCE_SECONDS", 0)
    for query in ({"topic": EMOJI, "underline": "true"}, {"story": "2@news.jsonl"}):
        app = show("stories" if "story" in query else "topic", odd_store, **query)
        assert "Further words are being worked out." in words(app)
        assert app.session_state[frame.SOON]


def test_scores_of_other_weights_have_no_words(show: Show, odd_store: Path, with_weights: None) -> None:
    with sqlite3.connect(odd_store) as connection:
        connection.execute("UPDATE stories SET negative = 9999, neutral = 1, positive = 0")
    app = show("topic", odd_store, topic=EMOJI, underline="true")
    assert 'class="fs-bad" title' not in html(app)
    assert "No words are underlined where the scores came with the feed or from other weights." in words(app)


def test_without_weights_a_page_says_so(show: Show, odd_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> Any:
        raise ModelError("no such folder of weights")

    made = OwnModel(load)
    monkeypatch.setattr(own_model, "of_this_process", lambda: made)
    said = words(show("topic", odd_store, topic=EMOJI, underline="true"))
    assert "The words cannot be shown, because this dashboard cannot score: no such folder of weights" in said
    one = words(show("stories", odd_store, story="2@news.jsonl"))
    assert "by the signs of the encoder&#39;s embeddings alone" in one


@pytest.mark.parametrize("name", NAMES)
def test_a_topic_of_any_name_has_its_page_and_its_stories(
    show: Show, odd_store: Path, with_weights: None, name: str
) -> None:
    app = show("topic", odd_store, topic=name, compare=[other for other in NAMES if other != name][:2])
    assert app.selectbox(key="topic").value == name
    assert "This store has no topic" not in words(app)
    assert "Compared" in words(app)
    assert "Who drives it" in words(app)
    assert "\u202e" not in html(app)
    found = show("stories", odd_store, topic=name)
    assert "Stories 1 to 8" in words(found)
    assert "\u202e" not in html(found)


def test_labels_of_names_differ_even_where_the_names_are_cut() -> None:
    found = text.labels(NAMES)
    assert len(set(found.values())) == len(NAMES)
    assert found[NAMES[0]] == text.named(NAMES[0])


def test_a_range_before_the_first_story_says_so_on_both_pages(show: Show, crisis_store: Path) -> None:
    ends = {"from": "2020-01-01T00:00", "to": "2020-02-01T00:00"}
    said = words(show("topic", crisis_store, topic="Weftware", compare=["Vale"], **ends))
    assert "No stories in this period" in said
    assert "Who drives it" not in said
    found = show("stories", crisis_store, order="gravest", **{"from": "2020-01-01", "to": "2020-02-01"})
    assert "Nothing found" in words(found)


def test_stories_are_sorted_marked_and_counted_by_source(show: Show, crisis_store: Path) -> None:
    app = show("stories", crisis_store, words="weftware breach", order="relevance")
    assert "<mark>Weftware</mark>" in html(app)
    assert "Most relevant first." in words(app)
    counted = re.search(r"(\d+) stories: ", words(app))
    assert counted
    with sqlite3.connect(crisis_store) as connection:
        found = connection.execute("SELECT title, body FROM stories").fetchall()
    both = [set(re.findall(r"\w+", f"{title} {body}".lower())) >= {"weftware", "breach"} for title, body in found]
    assert int(counted[1]) == sum(both)
    link = re.search(r'href="(Stories\?words=weftware%20breach&amp;order=relevance&amp;source=[^"]+)"', html(app))
    assert link
    negative = [
        int(n) for n in re.findall(r"neg&nbsp;(\d+)", html(show("stories", crisis_store, order="most negative")))
    ]
    assert len(negative) == 50
    assert negative == sorted(negative, reverse=True)
    assert "Write words to sort by relevance" in words(show("stories", crisis_store, order="relevance"))


def test_one_story_shows_its_words_its_label_and_its_like(show: Show, odd_store: Path, with_weights: None) -> None:
    page = show("stories", odd_store, story="2@news.jsonl")
    said = words(page)
    assert "It counts as an event." in said
    assert "The bank said nothing." in said
    assert re.search(r'class="fs-bad" title="[^"]+">(plunge|fraud|probe)<', html(page))
    assert "The nearest of 39 other stories, by the encoder&#39;s embeddings." in said
    like = re.findall(r'href="Stories\?story=(\d+)%40news.jsonl"', html(page).partition("More like this")[2])
    assert like
    assert "2" not in like
    page.radio(key="label-label").set_value("neutral")
    page.text_input(key="label-by").set_value("Ada")
    next(b for b in page.button if b.label == "Save this label").click().run()
    assert "Labelled neutral." in words(page)
    assert "Called neutral by Ada" in words(show("stories", odd_store, story="2@news.jsonl"))


@pytest.mark.parametrize("address", ["99@news.jsonl", "x@news.jsonl", "@", "", "1" * 30 + "@news.jsonl", "2@other"])
def test_a_story_that_is_not_there_is_said(show: Show, odd_store: Path, address: str) -> None:
    assert "No such story" in words(show("stories", odd_store, story=address))


def test_a_story_that_carried_its_scores_says_that_its_like_is_not_known(show: Show, crisis_store: Path) -> None:
    with sqlite3.connect(crisis_store) as connection:
        partition, offset = connection.execute('SELECT "partition", "offset" FROM stories LIMIT 1').fetchone()
    said = words(show("stories", crisis_store, story=f"{offset}@{partition}"))
    assert "Not known: this story came with its scores, or was scored by an older version." in said


@given(st.lists(st.integers(0, 1_000), max_size=40))
def test_of_many_notes_as_many_are_written_as_a_chart_has_room_for(times: list[int]) -> None:
    standing = [Note(n, "Acme", at, f"note {n} {'x' * 80}", "Ada") for n, at in enumerate(sorted(times))]
    points = vega.layer(pd.DataFrame({"at": [0], "y": [0]}), vega.mark("point"), x="at:Q", y="y:Q")
    chart = noted.onto(Picture([points, points], 100), standing, 0, 1_000, dark=False, words=True)
    written = [
        label for one in chart.layers if one["mark"]["type"] == "text" for label in one["data"]["label"] if label
    ]
    inside = times
    assert any(one["mark"]["type"] == "rule" for one in chart.layers) == bool(inside), "each has its line"
    assert bool(written) == bool(inside)
    assert len(set(written)) <= 2 * 3
    assert all(len(label) <= 22 for label in written)
