"""Record which alerts a desk found useful, and count how many of them were: the desk's own precision.

A verdict is a desk action. The last verdict on an alert counts, whoever gave it. The monitor never reads verdicts, so
they change no detection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from foreshock.monitor.store import desk_actions, schema
from foreshock.monitor.store.alerts import alert_json
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import shown

USEFUL, USELESS = "useful", "useless"
VERDICTS = (USEFUL, USELESS)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many alerts that a person judged were useful."""

    useful: int = 0
    judged: int = 0

    def __str__(self) -> str:
        return f"{self.useful} of {self.judged} useful"


@dataclass(frozen=True, slots=True)
class Precision:
    """The desk's own precision: of all alerts that it judged, and of those of each kind and topic."""

    judged: Tally = Tally()
    fired: int = 0
    """Alerts that fired, judged or not."""
    by_kind: dict[str, Tally] = field(default_factory=dict)
    by_topic: dict[str, Tally] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values: `useful`, `judged`, `fired`, and `by_kind` and `by_topic` with the first two each."""

        def plain(tally: Tally) -> dict[str, int]:
            return {"useful": tally.useful, "judged": tally.judged}

        return {
            **plain(self.judged),
            "fired": self.fired,
            "by_kind": {kind: plain(tally) for kind, tally in self.by_kind.items()},
            "by_topic": {topic: plain(tally) for topic, tally in self.by_topic.items()},
        }


def give(connection: Connection, alert_id: str, verdict: str, *, by: str, note: str = "", now: int) -> None:
    """Record a verdict, `useful` or `useless`. Raises NoSuchAlert."""
    if verdict not in VERDICTS:
        raise ValueError(f"a verdict is {' or '.join(VERDICTS)}, not {verdict!r}")
    desk_actions.must_exist(connection, alert_id)
    desk_actions.append(connection, verdict, now, by, note, alert_id=alert_id)


def precision(connection: Connection) -> Precision:
    """Count the verdicts that stand. Kinds and topics with the most judged alerts come first."""
    a = schema.alerts.c
    fired = connection.execute(select(func.count()).select_from(schema.alerts).where(a.fired_at.is_not(None)))
    kinds, topics = dict[str, Tally](), dict[str, Tally]()
    total = Tally()
    for row in _standing(connection):
        one = int(row.action == USEFUL)
        total = Tally(total.useful + one, total.judged + 1)
        for tallies, key in ((kinds, row.kind), (topics, shown(row.topic))):
            before = tallies.get(key, Tally())
            tallies[key] = Tally(before.useful + one, before.judged + 1)
    return Precision(total, int(fired.scalar_one()), _most(kinds), _most(topics))


def labels(connection: Connection) -> Iterator[dict[str, Any]]:
    """Yield the verdicts that stand as labels, in the order of their alerts: the alert and what was said of it."""
    for row in _standing(connection):
        alert = connection.execute(select(schema.alerts).where(schema.alerts.c.id == row.id)).one()
        yield {
            "label": row.action,
            "by": row.by,
            "at": iso(row.at),
            "note": row.note,
            "alert": alert_json(dict(alert._mapping)),
        }


def _standing(connection: Connection) -> list[Any]:
    """Return the last verdict on each alert, with the alert's kind and topic."""
    d, a = schema.desk_actions.c, schema.alerts.c
    last = select(func.max(d.number)).where(d.action.in_(VERDICTS)).group_by(d.alert_id)
    query = (
        select(d.action, d.by, d.at, d.note, a.id, a.kind, a.topic)
        .join_from(schema.desk_actions, schema.alerts, d.alert_id == a.id)
        .where(d.number.in_(last))
        .order_by(a.fired_at, a.id)
    )
    return list(connection.execute(query))


def _most(tallies: dict[str, Tally]) -> dict[str, Tally]:
    return dict(sorted(tallies.items(), key=lambda item: (-item[1].judged, item[0])))
