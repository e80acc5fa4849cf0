"""Read the open incidents as cards: what *Now* shows of each, and nothing that it does not show.

    waiting = open_incidents(connection)      # all of them, without their alerts: few numbers each
    card(connection, waiting[0], now)         # one that is drawn
    done(connection, alerts, topics, clock)   # what people did about it, which may change at any time

The gravest come first. Times are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select, text

from foreshock.monitor.kinds import KINDS
from foreshock.monitor.severity import LEVELS
from foreshock.monitor.store import (
    desk_actions,
    evidence,
    feedback,
    incident_history,
    lookup,
    name_adding,
    schema,
    views,
)
from foreshock.monitor.store.incident_history import Act
from foreshock.monitor.store.incidents import SHOWN_FOR, gravest
from foreshock.monitor.store.views import AlertRow, StoryRow
from foreshock.monitor.units import HOUR, UNIT, is_new

STORIES = 3
"""How many stories a card shows: as many as say how grave an incident is."""
TREND_STEP = HOUR
TREND_STEPS = 24
"""The trend of a card: its lead topic's events in so many steps (microseconds each)."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open incident, or a firing alert of a store from before incidents, which stands for itself."""

    id: str | None
    """The incident's id; None for an alert."""
    lead: str
    """The id of the alert that it is about."""
    firing: bool
    """Whether any of its alerts fires. Otherwise it ends soon, unless another alert joins it."""
    severity: str
    fired_at: int


@dataclass(frozen=True, slots=True)
class Step:
    """Events of one step of a trend, and the expected number of negative ones among them."""

    events: int
    negative: float


@dataclass(frozen=True, slots=True)
class Card:
    """An open incident with what a reader needs to judge it."""

    waiting: Waiting
    title: str
    """One sentence."""
    started_at: int
    events: int
    sources: int
    lead: AlertRow
    first_alert: str
    """The alert that acknowledgements and verdicts are about, as in `foreshock alerts ack INCIDENT`."""
    alerts: tuple[str, ...]
    """The ids of its alerts, in the order in which they fired."""
    topics: tuple[str, ...]
    """The topics that must all be silenced to silence it: those with an alert that no other explains."""
    stories: tuple[tuple[StoryRow, int], ...]
    """The gravest, each with the number of its copies."""
    names: tuple[str, ...]
    """The sources that reported on its lead topic since it started, at most of the last `SHOWN_FOR`."""
    trend: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """What people did about an incident."""

    acts: tuple[Act, ...]
    """The newest first."""
    silenced_until: int | None
    """The first time at which not all its topics are silenced any more; None if one is not silenced."""
    watched: Mapping[str, str] = field(default_factory=dict)
    """Names that no topic had and that are on the watchlist now, each with the person who put it there."""

    @property
    def acknowledged_by(self) -> tuple[str, ...]:
        """Who acknowledged one of its alerts, in the order in which they did."""
        return tuple(dict.fromkeys(act.by for act in reversed(self.acts) if act.action == "acknowledge"))

    @property
    def verdict(self) -> Act | None:
        """The last verdict on one of its alerts."""
        return next((act for act in self.acts if act.action in feedback.VERDICTS), None)


def open_incidents(connection: Connection) -> list[Waiting]:
    """Return what is open: what fires before what does not, then the gravest, then the newest."""
    i, a = schema.incidents.c, schema.alerts.c
    opened = connection.execute(
        select(i.id, i.lead, i.severity, i.fired_at).where(i.state == "open", i.merged_into.is_(None))
    ).all()
    firing = connection.execute(select(a.id, a.group_id, a.severity, a.fired_at).where(a.state == "firing")).all()
    groups = {row.group_id for row in firing}
    found = [Waiting(row.id, row.lead, row.id in groups, row.severity, row.fired_at) for row in opened]
    alone = [row for row in firing if row.group_id is None]
    found += [Waiting(None, row.id, True, row.severity or LEVELS[0], row.fired_at) for row in alone]
    return sorted(found, key=lambda w: (not w.firing, -LEVELS.index(w.severity), -w.fired_at, w.lead))


def card(connection: Connection, waiting: Waiting, now: int) -> Card:
    """Return one card. `now`: "decided until". It changes only with the next decided bucket."""
    i, a = schema.incidents.c, schema.alerts.c
    incident = None
    mine = a.id == waiting.lead
    if waiting.id is not None:
        incident = connection.execute(select(schema.incidents).where(i.id == waiting.id)).one()
        mine = a.group_id == waiting.id
    query = select(schema.alerts).where(mine).order_by(a.fired_at, a.id)
    rows = [dict(row._mapping) for row in connection.execute(query)]
    lead = next(views.alert_row(row) for row in rows if row["id"] == waiting.lead)
    first = next((row for row in rows if incident is not None and row["id"] == incident.first_alert), rows[0])
    topics = {first["topic"], *(row["topic"] for row in rows if row["inhibited_by"] is None)}
    stories = []
    if KINDS[lead.kind].has_stories:
        stories = gravest(connection, rows, waiting.lead, lead.direction, now, limit=STORIES)
    return Card(
        waiting=waiting,
        title=lead.sentence if incident is None else incident.title,
        started_at=lead.started_at if incident is None else incident.started_at,
        events=lead.events if incident is None else incident.events,
        sources=lead.sources if incident is None else incident.sources,
        lead=lead,
        first_alert=first["id"],
        alerts=tuple(row["id"] for row in rows),
        topics=tuple(sorted(topics)),
        stories=tuple((views.story_of_evidence(story), story["copies"]) for story in stories),
        names=tuple(evidence.sources(connection, lead.topic, max(lead.window_start, now - SHOWN_FOR), now)),
        trend=trend(connection, lead.topic, now),
    )


def done(connection: Connection, alerts: Sequence[str], topics: Sequence[str], clock: int) -> Done:
    """Return what people did about an incident's alerts and topics. `clock`: the time by which silences end."""
    d = schema.desk_actions.c
    rows = sorted(
        lookup.by_text(connection, select(schema.desk_actions), d.alert_id, alerts), key=lambda row: -row.number
    )
    ends = [desk_actions.silenced_until(connection, topic) or 0 for topic in topics]
    silenced = min(ends, default=0)
    acts = tuple(incident_history.act(row) for row in rows)
    watched = {topic: by for topic in topics if is_new(topic) and (by := name_adding.added_by(connection, topic))}
    return Done(acts, silenced if silenced > clock else None, watched)


def trend(connection: Connection, topic: str, now: int) -> tuple[Step, ...]:
    """Return the events of a topic in the `TREND_STEPS` steps up to `now`, oldest first."""
    first = now - TREND_STEPS * TREND_STEP
    found = [Step(0, 0.0)] * TREND_STEPS
    for row in connection.execute(_TREND, {"first": first, "until": now, "step": TREND_STEP, "topic": topic}):
        found[int(row.place)] = Step(int(row.events), int(row.negative) / UNIT)
    return tuple(found)


_TREND = text(
    "SELECT (start - :first) / :step AS place, sum(events) AS events, sum(negative) AS negative FROM buckets "
    "WHERE topic = :topic AND start >= :first AND start < :until GROUP BY (start - :first) / :step"
)
