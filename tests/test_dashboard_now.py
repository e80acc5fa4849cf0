"""*Now*: incidents as cards with what people can do about them, the market in one strip, and the table of topics."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import NOW, Show, click, html, made_store, rows_of, show, words
from sqlalchemy import Engine

from foreshock.dashboard import frame, now, server, topic_filter
from foreshock.dashboard.settings import VARIABLE, ServeSettings
from foreshock.dashboard.topic_filter import STATES, Wanted
from foreshock.monitor.store import desk_actions, incident_cards, topic_views
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.incident_cards import Step
from foreshock.monitor.store.topic_labels import Labels
from foreshock.monitor.store.topic_views import TopicRow

pytestmark = pytest.mark.slow
__all__ = ["show"]

ODD_NAMES = ["B" * 300, "🏦🔥 موجة", "بنك الرياض الأهلي", "<b>Bold</b> & Co"]


def actions(engine: Engine) -> list[tuple[str, str, str | None, str | None]]:
    with reading(engine) as connection:
        return [(a["action"], a["by"], a["alert"], a["topic"]) for a in desk_actions.actions(connection)][::-1]


# Incidents.


def test_a_card_says_what_since_when_how_sure_and_shows_the_three_gravest_stories(
    show: Show, crisis_store: Path
) -> None:
    page = html(show("now", crisis_store))
    card = page[page.index("fs-card") : page.index("</article>")]
    assert 'href="Alerts?incident=' in card
    assert "Many stories on Weftware: 17 stories from 8 sources since 12:00 UTC on 2 April 2026." in card
    assert "chance alone would give this once in" in card
    assert "17 events in 3 hours at 14:55, 2 April, usual 2; <b>" in card, "what it measured then and now"
    assert card.count("<li>") == 3
    assert "Prosecutors raid Weftware offices over security breach" in card
    assert "12 sources:" in card
    assert 'alt="events an hour in the last 24 hours' in card
    assert page.index("fs-card") < page.index("fs-market") < page.index("<table")


def test_the_gravest_come_first_and_the_others_on_demand(show: Show, tmp_path: Path) -> None:
    incidents: list[dict[str, Any]] = [{"id": f"i{n}", "severity": "info"} for n in range(4)]
    incidents += [{"id": "grave", "severity": "critical"}, {"id": "over", "alerts": [{"state": "resolved"}]}]
    incidents += [{"id": "ended", "state": "ended"}, {"id": "part", "merged_into": "grave"}, {"id": "w"}]
    made_store(tmp_path / "s.db", ["Acme"], incidents)
    app = show("now", tmp_path / "s.db")
    page = html(app)
    assert page.count("<article") == 3
    assert page.index("Bad news on grave.") < page.index("Bad news on w.") < page.index("Bad news on i0.")
    assert "4 more" in words(app)
    assert "Firing now: 6 incidents 1 incident still open" in words(app)
    page = html(show("now", tmp_path / "s.db", more="1"))
    assert page.count("<article") == 7
    assert page.index("Bad news on over.") > page.index("Bad news on i3."), "what fires comes before what does not"
    assert "Bad news on ended." not in page
    assert "Bad news on part." not in page


def test_an_incident_is_acknowledged_judged_and_silenced_in_place(show: Show, tmp_path: Path) -> None:
    quiet = {"topic": "Also", "inhibited_by": "one-0", "inhibited_because": "it is the same"}
    alerts = [{}, {"topic": "Bolt"}, quiet]
    engine = made_store(tmp_path / "s.db", ["Acme", "Bolt", "Also"], [{"id": "one", "alerts": alerts}])
    app = show("now", tmp_path / "s.db")
    click(app, "Acknowledge")
    assert "Enter your name" in app.error[0].value
    assert actions(engine) == []
    app.text_input(key="by").set_value(" Ada ").run()
    click(app, "Acknowledge")
    assert "Acknowledged. This does not change detection." in words(app)
    assert "acknowledged by Ada" in words(app)
    click(app, "Useful")
    assert "called useful by Ada" in words(app)
    assert "No messages about Acme, Bolt for:" in words(app)
    click(app, "4 hours")
    assert "Silenced: no messages about Acme, Bolt for 4 hours." in words(app)
    assert "silenced until" in words(app)
    assert actions(engine) == [
        ("acknowledge", "Ada", "one-0", None),
        ("useful", "Ada", "one-0", None),
        # All topics that must be silenced for the incident to be: not the one that another explains.
        ("silence", "Ada", None, "Acme"),
        ("silence", "Ada", None, "Bolt"),
    ]


def test_of_two_operators_who_acknowledge_at_once_both_are_kept_and_the_second_is_told(
    show: Show, tmp_path: Path
) -> None:
    engine = made_store(tmp_path / "s.db", ["Acme"], [{"id": "one"}])
    ada, grace = (show("now", tmp_path / "s.db") for _ in range(2))
    for app, name in ((ada, "Ada"), (grace, "Grace")):
        assert "acknowledged by" not in words(app), "neither page shows the other's act yet"
        app.text_input(key="by").set_value(name)
    click(ada, "Acknowledge")
    click(grace, "Acknowledge")
    assert [(action, by) for action, by, *_ in actions(engine)] == [("acknowledge", "Ada"), ("acknowledge", "Grace")]
    assert "Ada acknowledged it before you." in words(grace)
    assert "acknowledged by Ada , Grace" in words(ada.run())


def test_a_page_that_is_read_only_has_no_buttons(show: Show, tmp_path: Path) -> None:
    made_store(tmp_path / "s.db", ["Acme"], [{"id": "one"}])
    app = show("now", tmp_path / "s.db", host="0.0.0.0")
    assert "Bad news on one." in html(app)
    assert [button.label for button in app.button] == []


def test_without_an_open_incident_the_last_one_is_named(show: Show, tmp_path: Path) -> None:
    made_store(tmp_path / "s.db", ["Acme"], [{"id": "old", "state": "ended", "alerts": [{"state": "resolved"}]}])
    said = words(show("now", tmp_path / "s.db"))
    assert "No incident is open" in said
    assert "The last one: Bad news on old." in said


def test_a_firing_alert_from_before_incidents_has_a_card_of_its_own(show: Show, tmp_path: Path) -> None:
    made_store(tmp_path / "s.db", ["Acme"], [{"id": "x", "state": "ended", "alerts": [{"group_id": None}]}])
    page = html(show("now", tmp_path / "s.db"))
    assert 'href="Alerts?alert=x-0"' in page
    assert "9 negative stories on x." in page


def test_a_trend_counts_the_events_of_each_hour(crisis_store: Path) -> None:
    engine = made_connection(crisis_store)
    with reading(engine) as connection:
        now = connection.exec_driver_sql("SELECT decided_until FROM feed").scalar_one()
        steps = incident_cards.trend(connection, "Weftware", now)
        rows = connection.exec_driver_sql("SELECT start, events, negative FROM buckets WHERE topic = 'Weftware'").all()
    hour = incident_cards.TREND_STEP
    for place, step in enumerate(steps):
        first = now - (24 - place) * hour
        of_it = [row for row in rows if first <= row.start < first + hour]
        assert step == Step(sum(r.events for r in of_it), sum(r.negative for r in of_it) / 10_000)
    assert sum(step.events for step in steps) > 0


def made_connection(store: Path) -> Engine:
    from foreshock.monitor.store.database import connect

    return connect(f"sqlite:///{store}", create=False)


# The market, and the table.

rows = st.builds(
    TopicRow,
    topic=st.text(max_size=3),
    state=st.sampled_from(["firing", "silent", "pending", "learning", "ok"]),
    direction=st.sampled_from(["worse", "better"]),
    word=st.sampled_from([None, "silent", "busy", "critical"]),
    mark=st.none(),
    learning_until=st.none(),
    polarity=st.none() | st.floats(-1, 1),
    usual=st.none(),
    change=st.none(),
    score=st.floats(-9, 9),
    negative=st.none(),
    stories_today=st.integers(0, 9),
    events=st.integers(0, 9),
    last_story_at=st.integers(0, 9),
)


@given(st.lists(rows, max_size=8), st.sampled_from(sorted(topic_filter.ORDERS)))
def test_every_topic_is_in_a_state_that_one_can_ask_for_and_none_is_lost(found: list[TopicRow], order: str) -> None:
    assert sorted(map(str, topic_filter.chosen(found, {}, Wanted(), order))) == sorted(map(str, found))
    asked = [topic_filter.chosen(found, {}, Wanted(states=(state,)), order) for state in STATES]
    assert {row.topic for some in asked for row in some} == {row.topic for row in found}
    every = topic_filter.chosen(found, {}, Wanted(states=STATES), order)
    assert len(every) == len(found)
    shares = topic_filter.shares(found)
    assert all(0 <= share <= 1 for share in shares.values())
    assert sum(shares.values()) <= 1 + 1e-9


def test_topics_are_filtered_by_watchlist_and_tag_and_the_address_has_it(show: Show, tmp_path: Path) -> None:
    labels = {"Acme": Labels(frozenset({"banks"}), "topics"), "Bolt": Labels(frozenset({"oil"}), "file")}
    made_store(tmp_path / "s.db", ["_all", "Acme", "Bolt", "Named"], labels=labels)
    app = show("now", tmp_path / "s.db")
    assert rows_of(html(app)) == ["Acme", "Bolt", "Named"]
    app.multiselect(key="tag").set_value(["banks"]).run()
    assert rows_of(html(app)) == ["Acme"]
    assert rows_of(html(show("now", tmp_path / "s.db", tag="oil"))) == ["Bolt"]
    assert rows_of(html(show("now", tmp_path / "s.db", watchlist="your watchlist file"))) == ["Bolt"]
    assert rows_of(html(show("now", tmp_path / "s.db", watchlist="named by the feed"))) == ["Named"]
    assert "all stories : polarity −0.50" in words(app), "the market's own series is in the strip"


def test_topics_are_filtered_by_their_states(show: Show, crisis_store: Path) -> None:
    firing = html(show("now", crisis_store, **{"is": "firing"}))
    assert rows_of(firing) == ["Weftware", "cybersecurity", "power"]
    assert rows_of(html(show("now", crisis_store, **{"is": "silent"}))) == ["power"]
    learning = html(show("now", crisis_store, **{"is": "learning"}))
    assert learning.count("fs-row") == learning.count("…</i>learning") == 9
    assert "fs-row" not in html(show("now", crisis_store, **{"is": "no story yet"}))


def test_a_row_opens_in_place_with_its_alerts_and_gravest_events(show: Show, crisis_store: Path) -> None:
    page = html(show("now", crisis_store, open="Weftware", find="w"))
    assert page.count("fs-opened") == 1
    inside = page[page.index("fs-opened") :]
    assert "negative stories on Weftware from" in inside
    assert "independent events" in inside
    assert inside.count('<td class="top">') == 5
    assert 'href="?find=w"' in page, "the link that closes it keeps the rest of the address"
    assert "fs-opened" not in html(show("now", crisis_store, open="no such topic"))


def test_of_5000_topics_one_page_is_drawn_and_all_are_downloaded(
    show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from foreshock.dashboard import frame
    from foreshock.monitor.store import topic_views

    asked: list[int] = []
    sparklines = topic_views.sparklines

    def counted(connection: Any, names: Any, now: int) -> Any:
        asked.append(len(names))
        return sparklines(connection, names, now)

    downloads: list[Any] = []
    monkeypatch.setattr(topic_views, "sparklines", counted)
    monkeypatch.setattr(frame, "download", lambda *given: downloads.append(given))
    made_store(tmp_path / "s.db", ["_all", *(f"topic {n:04}" for n in range(5000))])
    page = html(show("now", tmp_path / "s.db", order="name", page="100"))
    assert len(rows_of(page)) == page.count("fs-row") == 50
    assert "4,951 to 5,000 of 5,000" in page
    assert "next" not in page[page.index("fs-pages") :]
    assert max(asked) == 50, "sparklines of what is drawn alone"
    name, columns, made = downloads[0][1:]
    text = frame.export.to_csv(columns, made())  # type: ignore[attr-defined]
    assert len(list(csv.reader(io.StringIO(text)))) == 5001, name
    assert rows_of(html(show("now", tmp_path / "s.db", order="name", page="9999")))[-1] == "topic%204999"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_are_long_emoji_right_to_left_or_markup_break_nothing(show: Show, tmp_path: Path, name: str) -> None:
    incident = {"id": "odd", "title": f"Bad news on “{name}”.", "alerts": [{"topic": name, "sentence": f"On {name}."}]}
    labels = {name: Labels(frozenset({name}), "topics")}
    engine = made_store(tmp_path / "s.db", ["_all", name], [incident], labels)
    app = show("now", tmp_path / "s.db", open=name, tag=name)
    page = html(app)
    assert page.count("fs-opened") == 1
    assert rows_of(page), "found by its tag"
    assert "<b>Bold" not in page
    for isolated in ("fs-say", 'class="nm"'):
        assert '<bdi dir="auto">' in page[page.index(isolated) :][:2500], "its direction stays its own"
    app.text_input(key="find").set_value(name[:5]).run()
    assert len(rows_of(html(app))) == 1
    app.text_input(key="by").set_value(name).run()
    click(app, "Acknowledge")
    click(app, "1 hour")
    assert [(by, topic) for _, by, _, topic in actions(engine)] == [(name[:60], None), (name[:60], name)]


# What the server reads before the first reader comes.


def test_the_server_reads_every_topic_ahead_and_waits_for_a_store_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    frozen: list[str] = []
    monkeypatch.setattr(server.gc, "freeze", lambda: frozen.append("frozen"))  # type: ignore[attr-defined]
    monkeypatch.setenv(VARIABLE, ServeSettings(store=f"sqlite:///{tmp_path / 's.db'}").model_dump_json())
    server._read_ahead()
    assert not frozen
    made_store(tmp_path / "s.db", ["_all", "Acme"], []).dispose()
    server._read_ahead()
    assert frozen
    read: list[str] = []
    monkeypatch.setattr(topic_views, "topics", lambda *_: read.append("again"))
    with frame.reader().look() as look:
        assert {row.topic for row in now.topics(look, NOW)} == {"_all", "Acme"}
    assert not read
