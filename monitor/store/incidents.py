"""Keep incidents in the store: read the open ones and their stories, and write what became of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from dataclasses import fields as dataclass_fields
from functools import cache
from typing import Any

from sqlalchemy import Connection, Integer, Select, bindparam, delete, func, insert, select, update

from foreshock.monitor.alerts import Alert
from foreshock.monitor.grouping import MOST, USUAL_DAYS, USUAL_STORIES, Past, Record, Side, mainly, wanted_of
from foreshock.monitor.incident import Incident, Joined, Said, title
from foreshock.monitor.incidents import Incidents
from foreshock.monitor.kinds import CRITICAL, KINDS
from foreshock.monitor.store import ahead, evidence, lookup, outbox, schema
from foreshock.monitor.store.alerts import alert_json
from foreshock.monitor.store.times import iso, iso_or_none
from foreshock.monitor.units import ALL, DAY, UNIT, is_new, shown

STORIES = 20
"""The most stories in a message."""
ALERTS = 50
"""The most alerts in a message."""
TOPICS = 5
"""The most topics of which a message shows stories."""
SHOWN_FOR = 4 * DAY
"""How far back a message's stories go: the longest window of a surge. An incident may last for months."""
_ALERT = tuple(field.name for field in dataclass_fields(Alert))
_JOINED = ("group_id", "severity", "evidence_events", "inhibited_by", "inhibited_because")
"""The columns that say how an alert belongs to its incident. Its evidence is long, and not read with it."""
_INCIDENT = tuple(field.name for field in dataclass_fields(Incident) if field.name != "held")
_n = schema.story_names.c
_NAMED = select(_n.partition, _n.offset, _n.name).where(_n.name.in_(bindparam("names", expanding=True)))


class StoredStories:
    """Evidence from the store's rows. It reads in the transaction of `connection`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._begins: int | None = None
        self.named: Callable[[], Iterable[str]] = tuple
        """Returns the topics that are names which no topic has, and that open incidents are about."""

    def records(self, topic: str, start: int, end: int, wanted: str, limit: int = MOST) -> list[Record]:
        """Return the newest records of a topic that weigh or repeat an event in [start, end), newest first."""
        query, borne = _records(evidence.what_of(topic), wanted)
        values = {"topic": evidence.key(topic), "start": start, "end": end, "most": limit}
        rows = self._connection.execute(query, values).all()
        t = schema.story_topics.c
        topics: dict[tuple[str, int], set[str]] = {}
        positions = [(row.partition, row.offset) for row in rows]
        for partition, offset, other in lookup.by_position(self._connection, borne, t.partition, t.offset, positions):
            topics.setdefault((partition, offset), set()).add(other)
        keys = {evidence.key(name): name for name in (*self.named(), *((topic,) if is_new(topic) else ()))}
        if keys:
            names = {"names": sorted(keys)}
            for row in lookup.by_position(self._connection, _NAMED, _n.partition, _n.offset, positions, names):
                topics.setdefault((row.partition, row.offset), set()).add(keys[row.name])
        return [
            Record(
                (row[6], row[7]),
                row.counts_at,
                frozenset(topics.get((row.partition, row.offset), ())),
                row.source,
                row.negative,
                row.severity,
            )
            for row in rows
        ]

    def past(self, topic: str, end: int, wanted: str) -> Past:
        """Return the newest records of a topic before `end`, and how long they took to come."""
        if self._begins is None:
            t = schema.topics.c
            self._begins = self._connection.execute(select(t.first_story_at).where(t.topic == ALL)).scalar() or 0
        start = max(end - USUAL_DAYS * DAY, min(self._begins, end))
        rows = self.records(topic, start, end, wanted, USUAL_STORIES)
        return Past(rows, end - (rows[-1].at if len(rows) == USUAL_STORIES else start))


@cache
def _records(what: evidence.What, wanted: str) -> tuple[Select[Any], Select[Any]]:
    """Return the statements of `StoredStories.records`: the records, and which topics they bear.

    Building them takes longer than most answers.
    """
    s, d, t = schema.stories.c, schema.decisions.c, schema.story_topics.c
    topic, start, end = evidence.given(what)
    event = func.coalesce(d.event_partition, s.partition), func.coalesce(d.event_offset, s.offset)
    negative, _, positive, severity = evidence.mood(topic)
    columns = (s.partition, s.offset, s.counts_at, s.source, negative, severity, *event)
    query = evidence.within(select(*columns), topic, start, end)
    if wanted != "any":
        query = query.where((negative if wanted == "negative" else positive) >= UNIT // 2)
    # Stories without a time of day share one. The canonical order does not depend on partitions and offsets.
    canonical = s.published_at, s.id, s.content, s.partition, s.offset
    query = query.order_by(s.counts_at.desc(), *canonical).limit(bindparam("most", type_=Integer))
    return query, select(t.partition, t.offset, t.topic)


def load(
    connection: Connection,
    clock: int | None,
    stood: Sequence[tuple[int, int]] = (),
    *,
    fired_by: int | None = None,
) -> Incidents:
    """Return the open incidents as of `clock`, up to which time has passed.

    `stood`: stretches (start, end] after it in which time stands still. `fired_by`: what fired later was sent ahead of
    its bucket, and is not decided yet.
    """
    i, a = schema.incidents.c, schema.alerts.c
    mine = select(schema.incidents).where(i.state == "open")
    mine = mine if fired_by is None else mine.where(i.fired_at <= fired_by)
    opened = [_incident(row) for row in connection.execute(mine)]
    members: list[Joined] = []
    if opened:
        query = select(*(a[name] for name in (*_ALERT, *_JOINED)))
        query = query if fired_by is None else query.where(a.pending_at <= fired_by)
        for row in lookup.by_text(connection, query, a.group_id, sorted(incident.id for incident in opened)):
            alert = Alert(**{name: getattr(row, name) for name in _ALERT})
            said = row.severity, row.inhibited_by, row.inhibited_because
            members.append(Joined(alert, row.group_id, row.evidence_events or 0, *said))
    stories = StoredStories(connection)
    incidents = Incidents(stories, clock, opened, members, stood)
    stories.named = incidents.new_names
    return incidents


def _incident(row: Any) -> Incident:
    held = tuple((change, detail) for change, detail in json.loads(row.held))
    return Incident(**{name: getattr(row, name) for name in _INCIDENT}, held=held)


def note(connection: Connection, said: Iterable[Said], *, origin: str, settings: int, deliver: bool) -> list[Said]:
    """Write messages about incidents into the outbox, and the rows of the incidents as the messages show them.

    With `deliver` false a message is withheld, unless it ends an incident of which any message is or will be delivered.
    What is merged in the moment in which it fired is not said at all; or, if it was sent ahead, it ends.
    """
    written: list[Said] = []
    for one in said:
        first, event = one.incident.first_alert, f"incident.{one.event}"
        o = schema.outbox.c
        unsaid = one.event == "unsaid"
        if unsaid and ahead.is_ahead(connection, one.incident.id):
            event = "incident.resolved"
        elif unsaid:
            mine = (o.alert_id == first, o.event == "incident.firing", o.decided_at == one.at)
            connection.execute(delete(schema.outbox).where(*mine))
            _write(connection, one.incident, _said_of(connection, one), origin=origin, settings=settings)
            continue
        if one.event == "firing":  # one that was sent ahead and did not come true begins anew
            connection.execute(delete(schema.incidents).where(schema.incidents.c.id == one.incident.id))
        if one.event == "updated":
            event = f"{event}-{one.incident.messages:06}"
        about = _said_of(connection, one)
        _write(connection, one.incident, about, origin=origin, settings=settings)
        before = outbox.state_of_news(connection, first, of_incident=True)
        ends_it = event == "incident.resolved" and before in outbox.ANNOUNCED
        about_it = message(connection, one, about)
        outbox.put(connection, first, event, decided_at=one.at, queued=deliver or ends_it, alert=about_it)
        written.append(one)
    return written


def save(connection: Connection, incidents: Incidents, *, origin: str, settings: int) -> None:
    """Write what became of incidents and of their alerts, once the alerts' own rows are written."""
    a = schema.alerts.c
    for incident in incidents.kept_incidents.values():
        _write(connection, incident, None, origin=origin, settings=settings)
    for joined in incidents.kept.values():
        connection.execute(update(schema.alerts).where(a.id == joined.alert.id).values(**columns(joined)))
    incidents.kept_incidents.clear()
    incidents.kept.clear()


def columns(joined: Joined) -> dict[str, Any]:
    """Return the columns of an alert's row that say to which incident it belongs, and how."""
    return {
        "group_id": joined.incident,
        "severity": joined.severity,
        "evidence_events": joined.size,
        "inhibited_by": joined.inhibited_by,
        "inhibited_because": joined.inhibited_because,
    }


def _write(
    connection: Connection, incident: Incident, about: tuple[str, int, int] | None, *, origin: str, settings: int
) -> None:
    """Write an incident's row. `about`: its title, events and sources, which stay as they were without it."""
    row = {**asdict(incident), "held": json.dumps(incident.held, ensure_ascii=False)}
    if about is not None:
        row |= dict(zip(("title", "events", "sources"), about, strict=True))
    mine = schema.incidents.c.id == incident.id
    if connection.execute(update(schema.incidents).where(mine).values(**row)).rowcount == 0:
        row = {"title": "", "events": 0, "sources": 0, **row, "origin": origin, "settings": settings}
        connection.execute(insert(schema.incidents).values(**row))


def _said_of(connection: Connection, said: Said) -> tuple[str, int, int]:
    """Return the title of an incident as of a message, and the events and sources of all its topics so far.

    They are counted among the newest `MOST` records of each topic, because the evidence of a market may be millions.
    Neither number falls from one message to the next, although older records drop out.
    """
    stories, found = StoredStories(connection), list[Record]()
    for topic, wanted, start in _topics(said):
        found += stories.records(topic, start, said.at, wanted)
    i = schema.incidents.c
    before = connection.execute(select(i.events, i.sources).where(i.id == said.incident.id)).one_or_none() or (0, 0)
    events = max(len({record.event for record in found}), said.incident.peak_events, before[0])
    sources = max(len({record.source for record in found}), before[1])
    lead = next(joined.alert for joined in said.alerts if joined.alert.id == said.incident.lead)
    end = min(lead.resolved_at or said.at, said.at)
    about = None if KINDS[lead.kind].by_rule else mainly(Side.of(lead, stories, end), stories, end)
    return title(said.incident, said.alerts, events, sources, about), events, sources


def _topics(said: Said) -> list[tuple[str, str, int]]:
    rows = ({**asdict(joined.alert), "inhibited_by": joined.inhibited_by} for joined in said.alerts)
    return _topics_of(rows, said.incident.lead)


def _topics_of(rows: Iterable[Mapping[str, Any]], lead: str) -> list[tuple[str, str, int]]:
    """Return the topics of an incident with stories, each with its mood and the start of its evidence; the lead first.

    Topics whose alerts are inhibited add nothing that the others do not show.
    """
    starts: dict[tuple[str, str], int] = {}
    for row in sorted(rows, key=lambda row: row["id"] != lead):
        if KINDS[row["kind"]].has_stories and row["inhibited_by"] is None:
            key = row["topic"], wanted_of(row["kind"], row["direction"])
            starts[key] = min(starts.get(key, row["window_start"]), row["window_start"])
    return [(topic, wanted, start) for (topic, wanted), start in starts.items()]


def message(connection: Connection, said: Said, about: tuple[str, int, int]) -> dict[str, Any]:
    """Return what the outbox holds of a message: the lead alert's object, with `incident` and `changes`."""
    incident, (words, events, sources) = said.incident, about
    a = schema.alerts.c
    ids = sorted({*(joined.alert.id for joined in said.alerts[-ALERTS:]), incident.lead})
    rows = {row.id: dict(row._mapping) for row in lookup.by_text(connection, select(schema.alerts), a.id, ids)}
    listed = []
    for joined in said.alerts:
        if joined.alert.id in rows:
            row = rows[joined.alert.id] = {
                **rows[joined.alert.id],
                **{name: getattr(joined.alert, name) for name in ("state", "resolved_at")},
                **columns(joined),
            }
            listed.append({key: value for key, value in alert_json(row).items() if key not in ("evidence", "origin")})
    in_order = [rows[joined.alert.id] for joined in said.alerts if joined.alert.id in rows]
    lead = {key: value for key, value in alert_json(rows[incident.lead]).items() if key != "origin"}
    row = {**asdict(incident), "title": words, "events": events, "sources": sources}
    return {
        **lead,
        # What stands for the incident where only one alert's fields are read.
        "state": "firing" if incident.state == "open" else "resolved",
        "severity": incident.severity,
        "group_id": incident.id,
        "incident": {
            **incident_json(row),
            "alerts": listed,
            "alert_count": len(said.alerts),
            "topics": _distinct(shown(joined.alert.topic) for joined in said.alerts),
            "kinds": _distinct(joined.alert.kind for joined in said.alerts),
            "stories": stories_of(connection, in_order, incident.lead, incident.direction, said.at),
        },
        "changes": [{"change": change, "detail": detail} for change, detail in said.changes],
    }


def stories_of(
    connection: Connection, rows: Sequence[Mapping[str, Any]], lead: str, direction: str, at: int
) -> list[dict[str, Any]]:
    """Return the gravest stories of an incident in the `SHOWN_FOR` up to `at`, in order of time (`gravest`)."""
    found = gravest(connection, rows, lead, direction, at, limit=STORIES)
    return sorted(found, key=lambda story: (story["published_at"], story["source"], story["id"]))


def stories_shown(connection: Connection, identity: str, at: int) -> list[dict[str, Any]]:
    """Return the stories of an incident as of `at`, as a message has them (`stories_of`)."""
    i, a = schema.incidents.c, schema.alerts.c
    row = connection.execute(select(i.lead, i.direction).where(i.id == identity)).one()
    query = select(schema.alerts).where(a.group_id == identity).order_by(a.fired_at, a.id)
    rows = [dict(found._mapping) for found in connection.execute(query)]
    return stories_of(connection, rows, row.lead, row.direction, at)


def gravest(
    connection: Connection, rows: Sequence[Mapping[str, Any]], lead: str, direction: str, at: int, *, limit: int
) -> list[dict[str, Any]]:
    """Return up to `limit` stories of an incident in the `SHOWN_FOR` up to `at`, the gravest first.

    If it is one for the better, the least grave come first.

    `rows`: those of its alerts, in the order in which they fired. The newest `ALERTS` and the lead alert say of which
    `TOPICS` stories are shown, so a message and a page show the same.
    """
    some = [row for place, row in enumerate(rows, ALERTS - len(rows)) if place >= 0 or row["id"] == lead]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in some:
        # A version of a known story may be critical. The series, which show the first version, do not have it.
        if row["kind"] == CRITICAL and row["fired_at"] >= at - SHOWN_FOR:
            found |= {(story["source"], story["id"]): story for story in json.loads(row["evidence"])}
    for topic, wanted, start in _topics_of(some, lead)[:TOPICS]:
        begin = max(start, at - SHOWN_FOR)
        for story in evidence.stories(connection, topic, begin, at, known=at, worse=wanted != "positive"):
            found.setdefault((story["source"], story["id"]), story)
    return sorted(found.values(), key=_grave, reverse=direction == "worse")[:limit]


def _grave(story: dict[str, Any]) -> tuple[float, float, str, str]:
    scores: dict[str, float] = story["scores"]
    return scores.get("severity", scores["negative"]), scores["negative"], story["source"], story["id"]


def _distinct(names: Iterable[str]) -> list[str]:
    return sorted(set(names))


def incident_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an incident's columns as outsiders read them."""
    return {
        "id": row["id"],
        "state": row["state"],
        "title": row["title"],
        "severity": row["severity"],
        "direction": row["direction"],
        "started_at": iso(row["started_at"]),
        "fired_at": iso(row["fired_at"]),
        "updated_at": iso(row["updated_at"]),
        "ended_at": iso_or_none(row["ended_at"]),
        "merged_into": row["merged_into"],
        "events": row["events"],
        "sources": row["sources"],
        "peak": {"events": row["peak_events"], "at": iso_or_none(row["peak_at"])},
    }
