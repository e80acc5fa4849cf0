"""Load which topics have a place, and note what came beyond the limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from foreshock.monitor.admission import Admission, Limits
from foreshock.monitor.counting import Beyond
from foreshock.monitor.settings import LimitSettings
from foreshock.monitor.store import schema, settings_versions
from foreshock.monitor.units import ALL, OTHER


@dataclass(frozen=True, slots=True)
class BeyondRow:
    """What stories of one partition named beyond the limits."""

    partition: str
    first_at: int
    last_at: int
    stories: int
    example: str


def load(connection: Connection) -> Admission:
    """Return the store's places, under the settings in force.

    If more names have rows than there are places (an older version knew no limit, or the limit was lowered), those that
    came first keep theirs.
    """
    newest = settings_versions.newest(connection)
    limits = limits_of({} if newest is None else newest[1])
    t = schema.topics.c
    query = select(t.topic, t.source).where(t.topic.not_in((ALL, OTHER))).order_by(t.first_story_at, t.topic)
    # One for each of the desk's topics more, because they are among the rows and take no place.
    rows = connection.execute(query.limit(limits.topics + len(limits.own)))
    return Admission(limits, [(row.topic, row.source or "") for row in rows])


def limits_of(body: Mapping[str, object]) -> Limits:
    """Return the limits of a settings version's parsed `body`."""
    given = LimitSettings.model_validate(body.get("limits", {}))
    rules = body.get("topics", ())
    own = frozenset(str(rule["name"]) for rule in rules) if isinstance(rules, list) else frozenset[str]()
    return Limits(given.topics, given.topics_per_source, given.topics_per_story, own)


def note(connection: Connection, beyond: Mapping[str, Beyond]) -> None:
    """Add what came beyond the limits to the partitions' rows."""
    table = schema.beyond_limits
    for partition, new in sorted(beyond.items()):
        before = connection.execute(select(table).where(table.c.partition == partition)).first()
        connection.execute(delete(table).where(table.c.partition == partition))
        first, stories, example = (
            (new.first, 0, new.example) if before is None else (before.first_at, before.stories, before.example)
        )
        row = {"partition": partition, "first_at": first, "last_at": new.last, "stories": stories + new.stories}
        connection.execute(insert(table).values(**row, example=example))


def beyond(connection: Connection) -> list[BeyondRow]:
    """Return the partitions that named topics beyond the limits, the one with the most stories first."""
    table = schema.beyond_limits
    rows = connection.execute(select(table).order_by(table.c.stories.desc(), table.c.partition))
    return [BeyondRow(**row._mapping) for row in rows]
