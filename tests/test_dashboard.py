"""The pages' logic: what they say of a store, in each of its states, without a browser."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from pages import Show, html, rows_of, show, words
from sqlalchemy import insert

from foreshock.dashboard import export, formats, frame, highlight, markup, text
from foreshock.dashboard.reader import Look, Reader
from foreshock.dashboard.settings import VARIABLE, ServeSettings
from foreshock.monitor import kinds
from foreshock.monitor.errors import SchemaMismatch, StoreError, StoreMissing
from foreshock.monitor.scorer_blocks import Sums
from foreshock.monitor.scorer_watch import Place
from foreshock.monitor.store import alert_windows, curves, database, desk_actions, schema, topic_views, views
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.units import DAY, HOUR
from foreshock.processes.replay import replay
from foreshock.settings.load import load

pytestmark = pytest.mark.slow

__all__ = ["show"]


@pytest.fixture
def own_store(crisis_store: Path, tmp_path: Path) -> Path:
    """A copy that a test may write to."""
    return Path(shutil.copy(crisis_store, tmp_path / "own.db"))


@pytest.fixture
def crisis(crisis_store: Path) -> views.AlertRow:
    engine = connect(f"sqlite:///{crisis_store}", create=False)
    with reading(engine) as connection:
        found = [a for a in views.alerts(connection, states=["firing"]) if a.kind == "negativity_spike"]
    engine.dispose()
    return found[0]


def test_now_lists_every_topic_with_the_firing_ones_first(show: Show, crisis_store: Path, crisis: Any) -> None:
    rows = [row for page in ("1", "2") for row in rows_of(html(show("now", crisis_store, page=page)))]
    with sqlite3.connect(crisis_store) as connection:
        topics = connection.execute("SELECT count(*) FROM topics WHERE topic <> '_all'").fetchone()[0]
    assert len(rows) == len(set(rows)) == topics
    assert rows[0] == crisis.topic


def test_a_state_is_a_word_beside_its_colour(show: Show, crisis_store: Path) -> None:
    said = words(show("now", crisis_store))
    assert "worse, firing" in said
    assert "as usual" in said
    assert "learning" in said


def test_now_finds_topics_by_a_part_of_their_name(show: Show, crisis_store: Path) -> None:
    app = show("now", crisis_store)
    app.text_input(key="find").set_value("wEfT").run()
    assert rows_of(html(app)) == ["Weftware"]
    app.text_input(key="find").set_value("no such topic").run()
    assert "No topic's name contains" in html(app)


def test_now_can_be_ordered_by_name(show: Show, crisis_store: Path) -> None:
    app = show("now", crisis_store, order="name")
    rows = rows_of(html(app))
    assert len(rows) > 20
    assert rows == sorted(rows, key=str.lower)


def test_topic_says_what_fires_and_lists_its_events(show: Show, crisis_store: Path, crisis: Any) -> None:
    app = show("topic", crisis_store, topic=crisis.topic, alert=crisis.id)
    said = words(app)
    assert text.clean(crisis.sentence) in said
    assert f"{crisis.events} independent events" in said
    assert app.selectbox(key="topic").value == crisis.topic


def test_topic_takes_its_range_from_the_address(show: Show, crisis_store: Path) -> None:
    app = show("topic", crisis_store, topic="banks", range="week")
    assert "Stories in 1 hour" in words(app)
    assert "Stories in 24 hours" in words(show("topic", crisis_store, topic="banks", range="all"))


def test_topic_reads_the_stories_of_the_bar_in_the_address(show: Show, crisis_store: Path, crisis: Any) -> None:
    at = crisis.started_at // 1_000_000
    at -= at % (3 * 3600)
    said = words(show("topic", crisis_store, topic=crisis.topic, at=str(at)))
    assert f"Stories from {formats.clock(at * 1_000_000)}" in said


def test_topic_takes_any_from_and_to_from_the_address(show: Show, crisis_store: Path, crisis: Any) -> None:
    ends = {"from": "2026-04-02T06:00", "to": "2026-04-02T18:00"}
    said = words(show("topic", crisis_store, topic=crisis.topic, **ends))
    assert "06:00, 2 April 2026 to 18:00, 2 April 2026 UTC. Show the time up to now" in said
    assert "Stories from 06:00, 2 April to 18:00, 2 April UTC" in said


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ({"from": "2020-01-01T00:00", "to": "2020-02-01T00:00"}, "No stories in this period"),  # before the first story
        ({"from": "2026-04-02T18:00", "to": "2026-04-02T06:00"}, "Stories in 3 hours"),  # its end before its start
        ({"from": "2150-01-01T00:00"}, "Stories in 3 hours"),  # in the future
        ({"from": "yesterday", "to": "99999-01-01"}, "Stories in 3 hours"),
        ({"to": "2026-03-20T00:00"}, "Stories from"),
    ],
)
def test_a_range_that_makes_no_sense_breaks_nothing(
    show: Show, crisis_store: Path, crisis: Any, ends: dict[str, str], said: str
) -> None:
    assert said in words(show("topic", crisis_store, topic=crisis.topic, **ends))


def test_a_topic_with_few_stories_shows_each_event(show: Show, crisis_store: Path, crisis: Any) -> None:
    assert "Events, one by one" in words(show("topic", crisis_store, topic="Vale", range="week"))
    assert "Negative share of the last 3 hours" in words(show("topic", crisis_store, topic="_all", range="day"))


def test_an_alert_opens_its_topic_where_the_alert_can_be_seen(show: Show, crisis_store: Path, crisis: Any) -> None:
    page = html(show("alerts", crisis_store, alert=crisis.id))
    link = re.search(r'href="Topic\?(topic=[^"]+)"', page)
    assert link
    query = dict(parse_qsl(unescape(link[1])))
    assert query["alert"] == crisis.id
    assert query["from"] < f"{formats.moment(crisis.window_start):%Y-%m-%dT%H:%M}"
    assert query["to"] > f"{formats.moment(crisis.window_end):%Y-%m-%dT%H:%M}"
    said = words(show("topic", crisis_store, **query))
    assert f"The line is at {crisis.observed:.0f} where the alert fired" in said, "the alert's own chart is there"


def test_an_alert_says_what_it_measured_then_and_now_and_how_rare_that_is(
    show: Show, crisis_store: Path, crisis: Any
) -> None:
    window, clock = kinds.span(alert_windows.window_of(crisis)), formats.clock(crisis.window_end)
    then = f"{crisis.observed:.0f} negative stories in {window} at {clock}, usual 1 in "
    for page, query in (
        ("alerts", {"alert": crisis.id}),
        ("now", {"open": crisis.topic}),
        ("alerts", {"open": crisis.group_id}),
        ("alerts", {"incident": crisis.group_id}),
        ("topic", {"topic": crisis.topic}),
    ):
        said = words(show(page, crisis_store, **query))
        assert re.search(re.escape(then) + r"\d+ hours; [\d.]+ now", said), page
    said = words(show("alerts", crisis_store, alert=crisis.id))
    assert "chance alone would give this once in" in said
    assert "score" not in said.partition("Evidence")[0]


def test_the_table_says_what_it_is_sorted_by(show: Show, crisis_store: Path) -> None:
    assert "then by how many standard deviations the mood of the last 24 hours is from its usual, either way" in words(
        show("now", crisis_store)
    )
    assert "is below its usual" in words(show("now", crisis_store, order="most wrong"))
    assert "In the order of their names" in words(show("now", crisis_store, order="name"))


def test_a_topic_that_is_not_there_is_said_not_shown(show: Show, crisis_store: Path) -> None:
    assert "This store has no topic gold mines of Mars" in words(
        show("topic", crisis_store, topic="gold mines of Mars")
    )


def test_alerts_of_the_chosen_states_alone_are_listed(show: Show, crisis_store: Path, crisis: Any) -> None:
    app = show("alerts", crisis_store)
    assert crisis.group_id in html(app)
    app.button_group(key="state").set_value(["resolved"]).run()
    assert crisis.group_id not in html(app)


def test_an_alert_shows_its_evidence_and_its_timeline(show: Show, crisis_store: Path, crisis: Any) -> None:
    said = words(show("alerts", crisis_store, alert=crisis.id))
    assert text.clean(crisis.sentence) in said
    assert "estimated start of the change" in said
    assert formats.clock(crisis.fired_at, year=True) in said
    assert text.clean(crisis.evidence[0]["title"]) in said


def test_an_alert_that_is_not_there_is_said(show: Show, crisis_store: Path) -> None:
    assert "This store has no alert nonsense" in words(show("alerts", crisis_store, alert="nonsense"))


def test_an_acknowledgement_is_a_row_with_its_name_and_note(show: Show, own_store: Path, crisis: Any) -> None:
    app = show("alerts", own_store, alert=crisis.id)
    app.text_input(key="ack-by").set_value(" Ada ")
    app.text_input(key="ack-note").set_value("on it")
    next(b for b in app.button if b.label == "Acknowledge this alert").click().run()
    engine = connect(f"sqlite:///{own_store}", create=False)
    with reading(engine) as connection:
        acts = desk_actions.actions(connection, alert_id=crisis.id)
    assert [(a["action"], a["by"], a["note"]) for a in acts] == [("acknowledge", "Ada", "on it")]
    assert "acknowledged by Ada" in words(app)
    assert "acknowledged by Ada" in words(show("now", own_store))


def test_an_acknowledgement_without_a_name_is_refused(show: Show, own_store: Path, crisis: Any) -> None:
    app = show("alerts", own_store, alert=crisis.id)
    next(b for b in app.button if b.label == "Acknowledge this alert").click().run()
    assert "Enter your name" in app.error[0].value
    with sqlite3.connect(own_store) as connection:
        assert connection.execute("SELECT count(*) FROM desk_actions").fetchone()[0] == 0


def test_a_verdict_is_kept_shown_and_counted_on_health(show: Show, own_store: Path, crisis: Any) -> None:
    app = show("alerts", own_store, alert=crisis.id)
    app.radio(key="feedback-verdict").set_value("useless")
    app.text_input(key="feedback-by").set_value("Ada")
    next(b for b in app.button if b.label == "Save").click().run()
    engine = connect(f"sqlite:///{own_store}", create=False)
    with reading(engine) as connection:
        acts = desk_actions.actions(connection, alert_id=crisis.id)
    assert [(a["action"], a["by"]) for a in acts] == [("useless", "Ada")]
    assert "called useless by Ada" in words(app)
    assert "acknowledged by" not in words(app)
    assert "0 of 1 useful" in words(show("health", own_store))


def test_a_silence_names_the_topic_and_its_end(show: Show, own_store: Path, crisis: Any) -> None:
    app = show("alerts", own_store, alert=crisis.id)
    app.selectbox(key="silence-span").set_value("4 hours")
    app.text_input(key="silence-by").set_value("Ada")
    next(b for b in app.button if b.label == "Silence this topic").click().run()
    with sqlite3.connect(own_store) as connection:
        topic, at, until = connection.execute("SELECT topic, at, until FROM desk_actions").fetchone()
    assert topic == crisis.topic
    assert until - at == pytest.approx(4 * HOUR, abs=5_000_000)
    assert "silenced until" in words(app)
    with sqlite3.connect(own_store) as connection:
        connection.execute("UPDATE desk_actions SET until = at + 1")
    assert "silenced until" not in words(show("alerts", own_store, alert=crisis.id)), "it has ended"


def test_stories_are_searched_by_words_and_filters_in_the_address(show: Show, crisis_store: Path) -> None:
    app = show("stories", crisis_store, words="weftware breach", sentiment="negative")
    page = html(app)
    titles = re.findall(r'<td class="top">.*?<bdi dir="auto">(.*?)</bdi>', page)
    assert titles
    assert all("weftware" in title.lower() and "breach" in title.lower() for title in titles)
    assert "neg&nbsp;" in page
    assert "pos&nbsp;" not in page


def test_what_is_not_found_is_said(show: Show, crisis_store: Path) -> None:
    assert "Nothing found" in words(show("stories", crisis_store, words="xylophone quartet"))


def test_older_stories_follow(show: Show, crisis_store: Path) -> None:
    app = show("stories", crisis_store)
    assert "Stories 1 to 50" in words(app)
    app.button(key="older").click().run()
    assert "Stories 51 to 100" in words(app)
    assert app.query_params["page"] == "2"
    app.selectbox(key="sentiment").set_value("neutral").run()
    assert "Stories 1 to 50" in words(app), "another search begins at its first page"
    assert "page" not in app.query_params


@pytest.mark.parametrize(("page", "says"), [("3", "Stories 101 to 150"), ("9999", "No further story")])
@pytest.mark.parametrize("words_in", [{}, {"sentiment": "neutral"}])
def test_the_address_has_the_page_of_stories(
    show: Show, crisis_store: Path, page: str, says: str, words_in: dict[str, str]
) -> None:
    app = show("stories", crisis_store, page=page, **words_in)
    assert says in words(app)
    if page == "9999":
        app.button(key="first").click().run()
        assert "Stories 1 to 50" in words(app)


@pytest.mark.parametrize("page", ["0", "-1", "two", "1e3", "99999"])
def test_what_is_no_page_of_stories_is_the_first(show: Show, crisis_store: Path, page: str) -> None:
    assert "Stories 1 to 50" in words(show("stories", crisis_store, page=page))


def test_health_names_sources_model_and_the_licence_of_its_weights(show: Show, crisis_store: Path) -> None:
    said = words(show("health", crisis_store))
    assert "news.jsonl" in said
    assert "read to its end" in said
    assert "words-1" in said
    assert "licence of the weights" in said or "no such folder of weights" in said


def test_health_says_who_names_too_many_topics(show: Show, tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    assert "too many topics" not in words(show("health", tmp_path / "store.db"))
    with writing(engine) as connection:
        row = {"partition": "news/0", "first_at": 1_770_000_000_000_000, "last_at": 1_770_000_300_000_000}
        connection.execute(insert(schema.beyond_limits).values(**row, stories=3, example="<b>n1</b>"))
    engine.dispose()
    said = words(show("health", tmp_path / "store.db"))
    assert "3 stories named too many topics" in said
    assert "news/0" in said
    assert "&lt;b&gt;n1" in said


def test_health_says_for_which_sources_the_scorer_is_worth_less(show: Show, tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    assert "No source has brought a hundred scored stories yet" in words(show("health", tmp_path / "store.db"))
    at, block = 1_770_000_000_000_000, Sums([50, 30, 20], [400_000, 240_000, 160_000], 200_000, 100)
    with writing(engine) as connection:
        for name in ("<b>wire", "desk"):
            place = Place(stories=100, last_at=at, blocks=1, recent=[(at, block)])
            connection.execute(insert(schema.scorer_sources).values(source=name, body=json.dumps(place.to_json())))
        row = {"found_at": at, "began_at": at, "label": "", "stories": 100, "after": 0.2, "before": 0.02, "card": 0.03}
        connection.execute(insert(schema.scorer_changes).values(source="<b>wire", kind="words", **row))
        mood = row | {"label": "negative", "after": 0.7, "before": 0.3, "card": None, "ended_at": at, "ended": "back"}
        connection.execute(insert(schema.scorer_changes).values(source="desk", kind="mood", **mood))
    engine.dispose()
    said = words(show("health", tmp_path / "store.db"))
    assert "The scorer is worth less for 1 source" in said
    assert "&lt;b&gt;wire : 20.0% of the tokens" in said.replace("wire:", "wire :")
    assert "2.0% before; the model's card says 3.0%" in unescape(said)
    assert "foreshock stories --source" in said
    assert "words changed" in said
    assert "70% of the stories are negative, 30% before" in said
    assert "its figures are back" in said
    assert "that is news" in said
    assert "compared with its own past" in said


# The states of a store.


def test_without_a_store_every_page_says_so_and_what_to_do(show: Show, tmp_path: Path) -> None:
    for page in ("now", "topic", "alerts", "stories", "health"):
        said = words(show(page, tmp_path / "none.db"))
        assert "No store yet" in said
        assert "foreshock replay FILE --store" in said


def test_a_page_that_could_not_be_drawn_or_waits_for_something_is_drawn_at_the_next_look(
    crisis_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, ServeSettings(store=f"sqlite:///{crisis_store}").model_dump_json())
    parts: list[Callable[[], None]] = []
    reruns: list[int] = []
    streamlit = frame.st  # type: ignore[attr-defined]
    monkeypatch.setattr(streamlit, "fragment", lambda part, **_: parts.append(part) or part)
    monkeypatch.setattr(streamlit, "rerun", lambda: reruns.append(1))
    monkeypatch.setattr(streamlit, "session_state", {})

    def fails(look: Look) -> None:
        raise StoreError("the database is locked")

    for body, expected in ((lambda look: None, 0), (fails, 1), (lambda look: frame.soon(), 1)):
        parts.clear(), reruns.clear()
        frame.live(body)
        parts[0]()  # the look after five seconds
        assert len(reruns) == expected


def test_an_empty_store_says_so(show: Show, tmp_path: Path) -> None:
    connect(f"sqlite:///{tmp_path / 'empty.db'}", create=True).dispose()
    for page in ("now", "topic", "alerts", "stories"):
        assert "The store is empty" in words(show(page, tmp_path / "empty.db"))
    assert "No source has been read yet" in words(show("health", tmp_path / "empty.db"))


@pytest.mark.parametrize(("revision", "said"), [("9999", "of a newer Foreshock"), ("0001", "To upgrade the store")])
def test_a_store_of_another_version_is_named(show: Show, own_store: Path, revision: str, said: str) -> None:
    with sqlite3.connect(own_store) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    for page in ("now", "topic", "alerts", "stories", "health"):
        assert said in words(show(page, own_store))


def test_a_file_that_is_no_store_is_an_error_said_in_words(show: Show, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("these are not the tables you are looking for" * 100)
    assert "cannot be" in words(show("now", tmp_path / "notes.db"))


def standing_line(*sources: tuple[str, bool, bool], hours: float = 5, unmoved: float = 0) -> str:
    """What a page says at its top of sources (kind, member, idle), when all is decided until some hours ago."""
    rows = tuple(views.SourceRow(f"s{n}", *source, 9, None) for n, source in enumerate(sources))
    until = time.time_ns() // 1_000 - round(hours * HOUR)
    standing = views.StoreState(until, 300_000_000, 120_000_000, None, rows, False, 1)
    return "".join(frame._standing(Look(None, standing, unmoved, None)))  # type: ignore[arg-type]


def test_a_live_store_far_behind_the_clock_says_so_whoever_reads_it() -> None:
    assert "Stale: the newest decided news is 5 h old." in standing_line(("rss", True, True), ("file", False, False))
    for kind in ("rss", "kafka"):
        assert "and no process reads this store. Start foreshock run" in standing_line((kind, False, False))
    assert "Stale" in standing_line(("file", True, True)), "a run waits at its end"
    for source in (("file", True, False), ("file", False, False), ("deadletters", False, False)):
        assert "Stale" not in standing_line(source), "it may be a replay"
    assert "Stale" not in standing_line(("rss", False, False), hours=0.1)


def test_a_source_at_its_end_need_not_move() -> None:
    assert "Nothing has moved" not in standing_line(("file", True, True), unmoved=90)
    said = standing_line(("file", True, True), ("file", True, False), unmoved=90)
    assert '<bdi dir="auto">s1</bdi> is not at its end' in said
    assert "s0" not in said


def test_a_store_of_files_is_a_replay_s_once_an_alert_of_it_says_so(small_store: Callable[[int], Path]) -> None:
    store = small_store(1)
    engine = connect(f"sqlite:///{store}", create=False)
    with reading(engine) as connection:
        assert not views.standing(connection).replayed
    engine.dispose()


def test_a_store_that_is_learning_says_until_when(show: Show, small_store: Callable[[int], Path]) -> None:
    said = words(show("now", small_store(40)))
    assert "No topic has a baseline yet, so no alert can fire" in said
    assert "The first topic finishes learning around" in said
    assert "foreshock replay HISTORY --store" in said
    assert "still learning what is usual until about" in words(show("topic", small_store(40), topic="banks"))


def test_a_store_whose_topics_have_too_few_events_names_no_day(show: Show, small_store: Callable[[int], Path]) -> None:
    store = small_store(1)
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE topics SET learning_until = 1")
    said = words(show("now", store))
    assert "no alert can fire. There are too few events so far." in said
    assert "1970" not in said


def test_a_store_of_one_bucket_has_all_its_pages(show: Show, small_store: Callable[[int], Path]) -> None:
    store = small_store(1)
    assert "One topic" in words(show("now", store))
    assert "Stories in 3 hours" in words(show("topic", store, topic="banks"))
    assert "Stories 1 to 1" in words(show("stories", store))
    assert "No such alert" in words(show("alerts", store))


def test_a_page_says_when_anyone_who_reaches_it_can_act(show: Show, crisis_store: Path) -> None:
    assert "anyone who reaches it" in words(show("now", crisis_store, host="0.0.0.0"))
    assert "anyone who reaches it" not in words(show("now", crisis_store))
    assert "anyone who reaches it" not in words(show("now", crisis_store, host="::1"))


def test_a_store_that_is_migrated_under_an_open_page_is_read_again_and_never_written_to_meanwhile(
    show: Show, own_store: Path, crisis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = show("alerts", own_store, alert=crisis.id)
    for revision, remedy in (("0011", "To upgrade the store"), ("9999", "Upgrade Foreshock")):
        with sqlite3.connect(own_store) as connection:
            (head,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        # The form was drawn before; the page does not know yet.
        app.text_input(key="ack-by").set_value("Ada")
        app.button[0].click().run()
        assert not app.exception
        assert any("Nothing was saved" in error.value for error in app.error) or "another version" in words(app)
        with sqlite3.connect(own_store) as connection:
            assert connection.execute("SELECT count(*) FROM desk_actions").fetchone() == (0,)
        page = app.run()
        assert "A store of another version" in words(page)
        assert remedy in words(page)
        with sqlite3.connect(own_store) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (head,))
        assert "Evidence" in words(app.run())
    # A write in the moment of the migration itself.
    url = f"sqlite:///{own_store}"
    reader = Reader(url)
    with reader.look():
        pass
    with sqlite3.connect(own_store) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0011'")
    with pytest.raises(SchemaMismatch), writing(reader.engine()) as connection:
        reader.check(connection)


def test_an_answer_is_made_of_the_one_before_unless_the_store_was_replaced(crisis_store: Path, tmp_path: Path) -> None:
    store, given = tmp_path / "moving.db", list[int | None]()

    def answer() -> int:
        def make(last: int | None) -> int:
            given.append(last)
            return (last or 0) + 1

        with reader.look() as look:
            return reader.moved_on(look, "answer", make)

    shutil.copy(crisis_store, store)
    reader = Reader(f"sqlite:///{store}")
    assert [answer(), answer()] == [1, 1], "nothing was decided since"
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE feed SET decided_until = decided_until + 300000000")
    assert answer() == 2
    shutil.copy(crisis_store, tmp_path / "other.db")
    (tmp_path / "other.db").replace(store)
    assert answer() == 1
    assert given == [None, 1, None]


def test_a_reader_meets_a_store_that_goes_comes_back_and_is_replaced(crisis_store: Path, tmp_path: Path) -> None:
    store = tmp_path / "moving.db"
    reader = Reader(f"sqlite:///{store}")
    with pytest.raises(StoreMissing), reader.look():
        pass
    shutil.copy(crisis_store, store)
    with reader.look() as look:
        before = len(topic_views.topics_with_series(look.connection))
        assert reader.decided(look, "answer", lambda: 1) == 1
        assert reader.decided(look, "answer", lambda: 2) == 1, "nothing was decided since"
        seen = reader.seen(look)
    with sqlite3.connect(store) as connection:
        connection.execute(
            "INSERT INTO fills (number, settings, topics, state, read_until, read, found) "
            "VALUES (1, 1, '[]', 'done', '{}', 0, 0)"
        )
    with reader.look() as look:
        assert reader.decided(look, "answer", lambda: 2) == 2, "a fill changed the past"
        assert reader.seen(look) != seen
    store.unlink()
    with pytest.raises(StoreMissing), reader.look():
        pass
    shutil.copy(crisis_store, store)
    with reader.look() as look:
        assert len(topic_views.topics_with_series(look.connection)) == before
        assert reader.decided(look, "answer", lambda: 3) == 3, "another file, another answer"
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch), reader.look():
        pass
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (database.HEAD,))
    with reader.look():
        pass


@pytest.fixture
def small_store(tmp_path: Path, quick_scorer: Any) -> Callable[[int], Path]:
    """A store of so many stories about banks, ten minutes apart."""
    from foreshock.monitor.settings import StoreSettings
    from foreshock.processes.replay import replay
    from foreshock.settings.models import Settings

    def make(stories: int) -> Path:
        feed = tmp_path / "feed.jsonl"
        rows = [
            {"id": str(n), "title": f"Bank number {n} opens", "source": "Wire", "topics": ["banks"],
             "published_at": f"2026-03-02T{8 + n // 6:02}:{n % 6}0:00Z"}
            for n in range(stories)
        ]  # fmt: skip
        feed.write_text("".join(json.dumps(row) + "\n" for row in rows))
        store = tmp_path / "small.db"
        settings = Settings.model_validate(
            {"store": StoreSettings(url=f"sqlite:///{store}"), "watchlist": {"defaults": False}}
        )
        replay(settings, [feed], scorer=quick_scorer)
        return store

    return make


# What the pages ask: figures against the same taken by hand.


def test_a_curve_is_the_mean_over_its_window_and_nothing_else(crisis_store: Path) -> None:
    engine = connect(f"sqlite:///{crisis_store}", create=False)
    with reading(engine) as connection:
        now = views.standing(connection).decided_until
        assert now is not None
        curve = curves.curve(connection, "Weftware", now - 7 * DAY, now, step=HOUR, window=24 * HOUR)
        buckets = connection.exec_driver_sql(
            "SELECT start, stories, events, negative, positive FROM buckets WHERE topic = 'Weftware'"
        ).all()
    engine.dispose()
    for place in (0, 50, 100, len(curve.start) - 1):
        end = int(curve.start[place]) + HOUR
        window = [b for b in buckets if end - 24 * HOUR <= b.start < end]
        events = sum(b.events for b in window)
        expected = sum(b.positive - b.negative for b in window) / events / 10_000 if events else np.nan
        assert curve.polarity[place] == pytest.approx(expected, nan_ok=True)
        assert curve.stories[place] == sum(b.stories for b in buckets if end - HOUR <= b.start < end)
    known = np.isfinite(curve.negative_low)
    assert known.any()
    assert (curve.negative_low[known] <= curve.negative_high[known]).all()


def test_the_events_of_an_alert_are_as_many_as_it_says(crisis_store: Path, crisis: Any) -> None:
    engine = connect(f"sqlite:///{crisis_store}", create=False)
    with reading(engine) as connection:
        rows, total = views.events(
            connection, crisis.topic, crisis.window_start, crisis.window_end, known=crisis.window_end, limit=1000
        )
    engine.dispose()
    assert total == len(rows) == crisis.events
    negatives = [row.first.scores[0] for row in rows if row.first.scores]
    assert negatives == sorted(negatives, reverse=True)


# Text from outside.

HOSTILE = [
    "<script>window.hacked=1</script>",
    '<img src=x onerror="window.hacked=1">',
    "[click](javascript:alert(1)) **bold** $x^2$ :red[now]",
    "\u202egnp.exe\u202c and \u2066on\u2069",
]


def headline(title: str, url: str) -> str:
    """A story's title as the templates draw it."""
    return str(markup.environment().get_template("parts.html").module.headline(title, url))  # type: ignore[attr-defined]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_escaped_and_loses_its_steering(hostile: str) -> None:
    shown = text.outside(hostile)
    inner = shown.removeprefix('<bdi dir="auto">').removesuffix("</bdi>")
    assert "<" not in inner
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", inner)


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", " JaVaScript:alert(1)", "data:text/html,<script>", "//evil.example", "", "http:", "ftp://x/y",
     "https://a\u202eb.example/"],
)  # fmt: skip
def test_only_web_addresses_become_links(url: str) -> None:
    assert "<a" not in headline("title", url)


def test_a_link_keeps_whatever_names_an_address_has(show: Show, crisis_store: Path) -> None:
    page = html(show("stories", crisis_store, path="2", label="x", words="security breach"))
    assert re.search(r'href="Stories\?path=2&amp;label=x&amp;words=security%20breach&amp;source=', page)


def test_a_story_without_a_title_says_so_also_where_its_hits_are_marked() -> None:
    macro = markup.environment().get_template("parts.html").module.headline  # type: ignore[attr-defined]
    assert "(no title)" in str(macro(" ", "https://x.example", words=highlight.title(" ", [(["bank"], False)])))


def test_a_name_from_right_to_left_does_not_move_the_number_behind_it() -> None:
    name = "بنك مصر"
    assert f"on <bdi>{name}</bdi>: 17 stories" in text.outside(f"Bad news on {name}: 17 stories")
    assert text.outside(f"{name} 17 Ford") == f'<bdi dir="auto">{name} 17 Ford</bdi>', "a headline in Arabic is whole"


def test_a_web_address_becomes_a_link_that_cannot_leave_its_attribute() -> None:
    link = headline("title", 'https://a.example/"onmouseover="alert(1)')
    assert 'href="https://a.example/&#34;onmouseover=&#34;alert(1)"' in link


class Markup(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses |= {value or "" for name, value in attrs if name in ("href", "src")}

    def handle_data(self, data: str) -> None:
        self.text += data


TAGS = {
    *("a", "article", "b", "bdi", "code", "details", "div", "h2", "i", "img", "li", "p"),
    *("s", "section", "span", "style", "summary", "table", "tbody", "td", "th", "thead", "time", "tr", "ul"),
}
ATTRIBUTES = {
    "alt",
    "aria-label",
    "colspan",
    "class",
    "dir",
    "height",
    "href",
    "rel",
    "role",
    "src",
    "style",
    "target",
    "title",
    "width",
}

BAD_TOPIC = """<b onmouseover="x()">W&W</b>'"""
BAD_SENTENCE = "<img src=x onerror=x()> is negative"
BAD_TITLE = "<script>x()</script> {{ 7 * 7 }}"
BAD_SOURCE = "<u onclick=x()>Wire</u>"
BAD_NAME = "<svg onload=x()>"
BAD_NOTE = "</li></ul><form action=x>"


@pytest.fixture
def hostile_store(own_store: Path, crisis: Any) -> Path:
    """The crisis with markup in each text that comes from a feed, a person or a receiver."""
    with sqlite3.connect(own_store) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if "topic" in {row[1] for row in connection.execute(f"PRAGMA table_info('{table}')")}:
                connection.execute(f"UPDATE {table} SET topic = ? WHERE topic = ?", (BAD_TOPIC, crisis.topic))
        connection.execute("UPDATE alerts SET sentence = ?", (BAD_SENTENCE,))
        connection.execute("UPDATE incidents SET title = ?", (BAD_SENTENCE,))
        connection.execute("UPDATE stories SET title = ?, source = ?, url = 'javascript:x()'", (BAD_TITLE, BAD_SOURCE))
        evidence = [{"title": BAD_TITLE, "url": "javascript:x()", "source": BAD_SOURCE}]
        connection.execute("UPDATE alerts SET evidence = ?", (json.dumps(evidence),))
        connection.execute("UPDATE partitions SET partition = '<i>feed', kind = '<i>kind'")
        connection.execute("UPDATE outbox SET state = '<i>state'")
        connection.execute(
            'INSERT INTO dead_letters (partition, "offset", reason, detail, raw, size, settings, ingested_at) '
            "VALUES ('p', 1, '<i>reason', '<i>detail', x'00', 1, 1, 1)"
        )
    engine = connect(f"sqlite:///{own_store}", create=False)
    with database.writing(engine) as connection:
        now = time.time_ns() // 1_000
        desk_actions.acknowledge(connection, crisis.id, by=BAD_NAME, note=BAD_NOTE, now=now)
        desk_actions.silence(connection, BAD_TOPIC, until=now + DAY, by=BAD_NAME, note=BAD_NOTE, now=now)
    engine.dispose()
    return own_store


def test_markup_from_outside_is_text_on_every_page(show: Show, hostile_store: Path, crisis: Any) -> None:
    expected = {
        "now": ({"open": BAD_TOPIC}, [BAD_TOPIC, BAD_SENTENCE, BAD_TITLE, BAD_SOURCE, BAD_NAME]),
        "topic": ({"topic": BAD_TOPIC, "alert": crisis.id}, [BAD_SENTENCE, BAD_TITLE, BAD_SOURCE]),
        "alerts": ({"alert": crisis.id}, [BAD_TOPIC, BAD_SENTENCE, BAD_TITLE, BAD_SOURCE, BAD_NAME, BAD_NOTE]),
        "stories": ({}, [BAD_TOPIC, BAD_TITLE, BAD_SOURCE]),
        "health": ({}, ["<i>feed", "<i>kind", "<i>state", "<i>reason", "<i>detail"]),
    }
    asked = {
        "now": ({"find": BAD_NAME}, [BAD_NAME]),
        "topic": ({"topic": BAD_NAME}, [BAD_NAME]),
        "alerts": ({"alert": BAD_NAME}, [BAD_NAME]),
    }
    for page, (query, texts) in [*expected.items(), *asked.items()]:
        found = Markup(html(show(page, hostile_store, **query)))
        assert found.tags <= TAGS, page
        assert found.attributes <= ATTRIBUTES, page
        assert not [address for address in found.addresses if address.lower().startswith("javascript")], page
        for text_from_outside in texts:
            assert text_from_outside in found.text, page


def test_no_template_turns_escaping_off() -> None:
    templates = list(markup.FOLDER.glob("*.html"))
    assert templates
    for template in templates:
        written = template.read_text()
        assert not re.search(r"\|\s*safe\b|autoescape", written), template.name
        assert not re.search(r"(href|src|class|title|alt|style)=\{\{", written), (
            f"{template.name}: an unquoted attribute"
        )
    assert markup.environment().autoescape is True


def test_a_name_that_nobody_passed_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="may_act"):
        markup.render("exposed.html")


@given(st.text())
def test_no_text_makes_a_tag(anything: str) -> None:
    shown = text.outside(anything)
    assert shown.startswith('<bdi dir="auto">')
    assert "<" not in re.sub(r"</?bdi>", "", shown.removeprefix('<bdi dir="auto">'))


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_no_csv_cell_begins_like_a_formula(cells: list[str]) -> None:
    rows = list(csv.reader(io.StringIO(export.to_csv(["a"] * len(cells), [cells]), newline="")))
    for value in rows[-1] if len(rows) > 1 else []:
        assert not value.lstrip(" ").startswith(("=", "+", "-", "@", "\t"))


def test_numbers_in_csv_stay_numbers() -> None:
    assert export.to_csv(["a", "b"], [[-0.5, "-0.5"]]) == "a,b\n-0.5,'-0.5\n"


def test_a_critical_story_has_its_own_words_on_each_page_that_names_it(show: Show, tmp_path: Path) -> None:
    store, feed = tmp_path / "desk.db", tmp_path / "feed.jsonl"
    topics = [{"name": "Acme", "names": ["Acme"], "tickers": ["ACME"]}]
    flags = {"store.url": f"sqlite:///{store}", "watchlist.defaults": False, "topics": topics}
    titles = ["Acme opens a plant", "Acme files for insolvency", "Acme hires a chef", "Other news"]
    days = [f"2026-02-{day:02}T09:{minute:02}:00Z" for day in range(3, 12) for minute in (0, 20)]
    bad = {"negative": 0.95, "neutral": 0.05, "positive": 0.0}
    calm = {"negative": 0.05, "neutral": 0.9, "positive": 0.05}
    with feed.open("w") as file:
        for number, at in enumerate(days):
            title = titles[1] if number == 13 else f"{titles[number % 2 * 2]} number {number}"
            scores = bad if number == 13 else calm
            story = {"id": f"s{number}", "title": title, "published_at": at, "source": "wire", "scores": scores}
            file.write(json.dumps(story) + "\n")
    replay(load(None, flags=flags, environ={}).settings, [feed])
    engine = connect(f"sqlite:///{store}", create=False)
    with reading(engine) as connection:
        (alert,) = [row for row in views.alerts(connection) if row.kind == "critical"]
    engine.dispose()
    one = words(show("alerts", store, alert=alert.id))
    assert "A critical story on Acme" in one
    assert "Probability of negative 0.95, needed 0.70" in one
    assert "Acme files for insolvency" in one
    assert "critical story" in words(show("alerts", store))
    assert "the story counts" in one
    assert "estimated start" not in one
    assert "pending" not in one
    topic = words(show("topic", store, topic="Acme", alert=alert.id))
    assert "Acme files for insolvency" in topic
    assert f"Stories behind the alert, {formats.clock(alert.fired_at or 0)} UTC" in topic
    assert "Acme hires a chef number" not in topic.partition("Stories behind the alert")[2]
