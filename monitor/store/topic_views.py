"""Answer the dashboard's questions about topics: their table, their sparklines and their names.

Polarities and shares are sums of whole numbers in SQL, and ratios in Python. Times are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, text

from foreshock.monitor.kinds import KINDS, NEW_NAME, Kind
from foreshock.monitor.store import schema
from foreshock.monitor.store.topic_sums import NOTHING, Sums, TopicSums
from foreshock.monitor.units import ALL, HOUR, shown

SPARK_STEP = 6 * HOUR
"""The step of a sparkline (microseconds)."""

SPARK_STEPS = 28
"""The steps of a sparkline: a week in steps of six hours."""


class TopicRow(NamedTuple):
    """The state of one topic at a time. Polarities are in -1..1, over the 24 hours before it unless asked.

    It is a tuple, because thousands are made for each decided bucket.
    """

    topic: str
    state: str
    """`firing`, `silent`, `pending`, `learning` or `ok`."""
    direction: str
    """The open alert's direction, `worse` or `better`. Empty without an open alert."""
    word: str | None
    """What the open alert's kind is called instead of its direction, such as `silent`. None: the direction."""
    mark: str | None
    """The sign beside `word`. None: the direction's."""
    learning_until: int | None
    polarity: float | None
    usual: float | None
    """The polarity expected of the events that came while the topic had a baseline."""
    change: float | None
    """The polarity of these events minus `usual`."""
    score: float
    """`change` in standard deviations of as many independent events. The table is ordered by it."""
    negative: float | None
    stories_today: int
    """Since midnight UTC."""
    events: int
    last_story_at: int


def topics(connection: Connection, sums: TopicSums) -> list[TopicRow]:
    """Return each topic with a series: firing, silent and pending first, then by `score`, learning ones last.

    `sums`: polarities are those of its stretch.
    """
    a = schema.alerts.c
    opened: dict[str, tuple[str, str, Kind]] = {}
    for row in connection.execute(select(a.topic, a.kind, a.direction, a.state).where(a.resolved_at.is_(None))):
        state = KINDS[row.kind].state if row.state == "firing" else row.state
        before = opened.get(row.topic)
        # A surge says more than the volume that comes with it.
        if before is None or (_RANK[state], KINDS[row.kind].rank) < (_RANK[before[0]], before[2].rank):
            opened[row.topic] = state, row.direction, KINDS[row.kind]
    t = schema.topics.c
    rows = connection.execute(select(t.topic, t.learning_until, t.last_story_at)).all()
    found = [_topic(*row, sums.of.get(row[0], NOTHING), opened.get(row[0]), sums.until) for row in rows]
    return sorted(found, key=lambda t: (_RANK[t.state], t.score, t.topic))


def sparklines(connection: Connection, names: Sequence[str], now: int) -> dict[str, list[float | None]]:
    """Return the polarity of these topics in six-hour steps over the last week, oldest first.

    A step without events is None.
    """
    first = now - now % SPARK_STEP - (SPARK_STEPS - 1) * SPARK_STEP
    found: dict[str, list[float | None]] = {name: [None] * SPARK_STEPS for name in names}
    if not names:
        return found
    for row in connection.execute(_SPARKS, {"since": first, "step": SPARK_STEP, "names": list(names)}):
        place = (int(row.at) - first) // SPARK_STEP
        if row.events and 0 <= place < SPARK_STEPS:
            found[row.topic][place] = int(row.polarity) / int(row.events) / 10_000
    return found


def topics_with_series(connection: Connection) -> list[str]:
    """Return the topics that have a series: `_all` first, the others in bytewise order."""
    return sorted(connection.execute(select(schema.topics.c.topic)).scalars(), key=lambda t: (t != ALL, t.encode()))


def names_with_alerts(connection: Connection) -> list[str]:
    """Return the names that no topic had and of which alerts are kept, as they are shown."""
    a = schema.alerts.c
    found = connection.execute(select(a.topic).where(a.kind == NEW_NAME).distinct()).scalars()
    return sorted(map(shown, found), key=str.encode)


def first_story_at(connection: Connection, topic: str) -> int | None:
    """Return the start of the topic's first bucket, or None if the topic has no series."""
    time = connection.execute(select(schema.topics.c.first_story_at).where(schema.topics.c.topic == topic)).scalar()
    return None if time is None else int(time)


def learning_until(connection: Connection, topic: str) -> int | None:
    """Return when a topic will probably have learned what is usual; None if it has, or if it has too few events."""
    t = schema.topics.c
    until: int | None = connection.execute(select(t.learning_until).where(t.topic == topic)).scalar()
    now: int | None = connection.execute(select(schema.feed.c.decided_until)).scalar()
    return until if until is not None and until > (now or 0) else None


_RANK = {"firing": 0, "silent": 1, "pending": 2, "ok": 3, "learning": 4}

# The order of the join is fixed as in `topic_sums`.
_SPARKS = text(
    "SELECT b.topic AS topic, b.start - b.start % :step AS at, sum(b.events) AS events, "
    "sum(b.positive - b.negative) AS polarity "
    "FROM topics t CROSS JOIN buckets b WHERE t.topic IN :names AND b.topic = t.topic AND b.start >= :since "
    "GROUP BY b.topic, b.start - b.start % :step"
).bindparams(bindparam("names", expanding=True))


class Mood(NamedTuple):
    """The numbers of a `TopicRow` that follow from its sums."""

    polarity: float | None = None
    usual: float | None = None
    change: float | None = None
    score: float = 0.0
    negative: float | None = None


def mood(sums: Sums) -> Mood:
    """Return how the events of these sums were, against their usual."""
    events, known = sums.events, sums.usual_events
    if not events:
        return Mood()
    polarity, negative = (sums.positive - sums.negative) / events / 10_000, sums.negative / events / 10_000
    if not known:
        return Mood(polarity, negative=negative)
    usual = sums.usual / known / 10_000
    change = sums.usual_polarity / known / 10_000 - usual
    # The variance of an event's polarity is that of a label -1, 0 or 1 drawn with these shares.
    noise = max((sums.positive + sums.negative) / events / 10_000 - polarity * polarity, 0.05)
    return Mood(polarity, usual, change, change / (noise / known) ** 0.5, negative)


def _topic(
    topic: str, learns: int | None, last: int, sums: Sums, opened: tuple[str, str, Kind] | None, now: int
) -> TopicRow:
    found = mood(sums)
    state, direction, kind = opened or ("ok" if learns is None else "learning", "", None)
    return TopicRow(
        topic=topic,
        state=state,
        direction=direction,
        word=None if kind is None else kind.word,
        mark=None if kind is None else kind.mark,
        learning_until=learns if learns is not None and learns > now else None,
        polarity=found.polarity,
        usual=found.usual,
        change=found.change,
        score=found.score,
        negative=found.negative,
        stories_today=sums.today,
        events=sums.events,
        last_story_at=int(last),
    )
