"""Store what the scorer watch remembers, and the changes that it found: the tables `scorer_sources`, `scorer_changes`.

Both are written by the transaction that decides the buckets, so a restart, a replay and a second monitor find the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from foreshock.model.labels import LABELS
from foreshock.monitor.scorer_blocks import Usual
from foreshock.monitor.scorer_changes import MEANING, Change, Ended, remedy, sentence
from foreshock.monitor.scorer_watch import Place, ScorerWatch
from foreshock.monitor.store import schema
from foreshock.monitor.store.times import iso, iso_or_none


@dataclass(frozen=True, slots=True)
class Noted:
    """A change as the store holds it, with when it ended and why; None while it lasts."""

    change: Change
    ended_at: int | None
    ended: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it as `doctor --json` prints it."""
        c = self.change
        return {
            "source": c.source,
            "kind": c.kind,
            "class": c.label or None,
            "calls": c.calls,
            "began_at": iso(c.began_at),
            "found_at": iso(c.found_at),
            "ended_at": iso_or_none(self.ended_at),
            "ended": self.ended,
            "before": c.before,
            "after": c.after,
            "card": c.card,
            "stories": c.stories,
            "sentence": sentence(c),
            "meaning": MEANING[c.kind],
            "remedy": remedy(c),
        }


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """What the scorer says of a source's recent blocks. Figures are ratios; None where nothing is known."""

    source: str
    stories: int
    shares: tuple[float, ...]
    confidence: float
    words: float | None
    since: int


def load(connection: Connection) -> ScorerWatch:
    """Return the watch as it was after the last decided bucket."""
    rows = connection.execute(select(schema.scorer_sources))
    places = {row.source: Place.of_json(json.loads(row.body)) for row in rows}
    return ScorerWatch(cards(connection), places)


def cards(connection: Connection) -> dict[str, Usual]:
    """Return what the cards of the store's models say, by identity."""
    said = connection.execute(select(schema.feed.c.reference)).scalar()
    known = {} if said is None else json.loads(said)
    return {identity: usual for identity, card in known.items() if (usual := Usual.of_card(card)) is not None}


def usual(connection: Connection) -> Usual | None:
    """Return what the card of the model in force says; None where it says nothing."""
    return cards(connection).get(connection.execute(select(schema.feed.c.model)).scalar() or "")


def save(connection: Connection, watch: ScorerWatch, found: Sequence[Change], ended: Sequence[Ended]) -> None:
    """Write the places that have changed, and the changes that were found or are over."""
    s, c = schema.scorer_sources, schema.scorer_changes
    gone = sorted(watch.changed | watch.removed)
    if gone:
        connection.execute(delete(s).where(s.c.source == bindparam("name")), [{"name": name} for name in gone])
    bodies = [{"source": name, "body": json.dumps(watch.places[name].to_json())} for name in sorted(watch.changed)]
    if bodies:
        connection.execute(insert(s), bodies)
    if found:
        connection.execute(insert(c), [_row(change) for change in found])
    for one in ended:
        here = (c.c.source == one.source, c.c.kind == one.kind, c.c.found_at == one.found_at)
        connection.execute(update(c).where(*here).values(ended_at=one.ended_at, ended=one.because))
    watch.changed.clear()
    watch.removed.clear()


def changes(connection: Connection, *, since: int | None = None) -> list[Noted]:
    """Return the changes that are not over, and those that ended at or after `since`, the newest first."""
    c = schema.scorer_changes.c
    lasting = c.ended_at.is_(None)
    query = select(schema.scorer_changes).where(lasting if since is None else lasting | (c.ended_at >= since))
    rows = connection.execute(query.order_by(c.found_at.desc(), c.source, c.kind))
    return [_noted(row._asdict()) for row in rows]


def calling(connection: Connection) -> list[Change]:
    """Return the changes that last and concern an operator, the newest first."""
    return [noted.change for noted in changes(connection) if noted.change.calls]


def figures(connection: Connection) -> list[SourceFigures]:
    """Return the figures of each source that has filled a block, those with the most stories first."""
    rows = connection.execute(select(schema.scorer_sources))
    places = sorted(((row.source, Place.of_json(json.loads(row.body))) for row in rows), key=_by_stories)
    return [_figures(name, place) for name, place in places if place.recent]


def _by_stories(one: tuple[str, Place]) -> tuple[int, str]:
    return -one[1].stories, one[0]


def _figures(name: str, place: Place) -> SourceFigures:
    now = place.now()
    shares = tuple(now.share(c) for c in range(len(LABELS)))
    return SourceFigures(name, now.stories, shares, now.confidence, now.words, place.recent[0][0])


def _row(change: Change) -> dict[str, Any]:
    return {
        "source": change.source,
        "kind": change.kind,
        "found_at": change.found_at,
        "began_at": change.began_at,
        "stories": change.stories,
        "after": change.after,
        "before": change.before,
        "card": change.card,
        "label": change.label,
    }


def _noted(row: dict[str, Any]) -> Noted:
    ended_at, ended = row.pop("ended_at"), row.pop("ended")
    return Noted(Change(**row), ended_at, ended)
