"""*Now*: the open incidents as cards, the market in one strip, and every topic, what changed most first."""

from __future__ import annotations

from collections.abc import Sequence

from foreshock.dashboard import formats, frame, here, incident_card, topic_filter, topic_table
from foreshock.dashboard.incident_card import MORE
from foreshock.dashboard.reader import Look
from foreshock.dashboard.topic_filter import Wanted
from foreshock.dashboard.topic_table import OPEN, PAGE
from foreshock.monitor.store import incident_cards, topic_views, views
from foreshock.monitor.store.moved import NOTABLE
from foreshock.monitor.store.topic_sums import topic_sums
from foreshock.monitor.store.topic_views import TopicRow
from foreshock.monitor.units import ALL, DAY


def page() -> None:
    frame.live(body)


def body(look: Look) -> None:
    here.links(OPEN, PAGE, MORE)
    if frame.undecided(look):
        topic_table.unseen(look, Wanted(), {})
        return
    now = look.standing.decided_until
    assert now is not None
    rows = topics(look, now)
    waiting = incident_cards.open_incidents(look.connection)
    if waiting:
        incident_card.draw(look, waiting)
    else:
        _calm(look, rows)
    _market(look, rows, now)
    topic_table.draw(look, rows)


def topics(look: Look, now: int) -> list[TopicRow]:
    """Return the state of each topic over the 24 hours up to `now`."""
    sums = frame.reader().moved_on(look, "sums", lambda before: topic_sums(look.connection, now - DAY, now, before))
    return frame.reader().decided(look, "topics", lambda: topic_views.topics(look.connection, sums))


def _calm(look: Look, rows: Sequence[TopicRow]) -> None:
    """Say that no incident is open, and which was the last; or until when the topics learn."""
    learning = [row for row in rows if row.state == "learning"]
    if rows and len(learning) == len(rows):
        dates = sorted({row.learning_until for row in rows if row.learning_until})
        when = " There are too few events so far."
        if dates:
            when = f" The first topic finishes learning around {formats.zoned(dates[0], year=True)}"
            when += f", the last around {formats.zoned(dates[-1], year=True)}." if len(dates) > 1 else "."
        frame.header(
            "Learning",
            f"No topic has a baseline yet, so no alert can fire.{when} "
            "Until then the table shows the stories that arrived.",
        )
        frame.show("learning.html", until=look.standing.decided_until)
        return
    last = next(iter(views.newest_incidents(look.connection, 1)), None)
    frame.header("No incident is open", "" if last else "No alert has fired yet.")
    if last:
        frame.show("now_last.html", incident=last)


def _market(look: Look, rows: Sequence[TopicRow], now: int) -> None:
    """Draw the market in one strip: how many topics are worse, better and silent, and the series of all stories."""
    whole = next((row for row in rows if row.topic == ALL), None)
    if whole is None:
        return
    topics = [row for row in rows if row.topic != ALL]
    spark = frame.reader().decided(look, "market", lambda: topic_views.sparklines(look.connection, [ALL], now))
    frame.show(
        "now_market.html",
        all=whole,
        spark=spark[ALL],
        shares=topic_filter.shares(topics),
        topics=len(topics),
        learning=sum(row.state == "learning" for row in topics),
        notable=NOTABLE,
    )
