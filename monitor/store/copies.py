"""Tell which stored stories repeat another, so that a list can show each once with the number of its copies.

A near-copy repeats the first story of its event. A duplicate repeats the record that has its text: the story's first
version or a revision, and through a near-copy the first story of its event. Before its bucket is decided, a story
stands for itself. A revision has a text of its own, so it is no repetition.

Invariant: a record that others repeat repeats none. So records that stand for themselves and their copies are all
records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, select

from foreshock.monitor.store import lookup, schema

Position = tuple[str, int]
"""Partition and offset."""

_STORIES, _DECISIONS = schema.stories, schema.decisions
_S, _D = _STORIES.c, _DECISIONS.c
_FIRST_VERSION, _ITS_DECISION = _STORIES.alias("first_version"), _DECISIONS.alias("its_decision")
_REVISION, _REVISED = _STORIES.alias("revision"), _DECISIONS.alias("revised")


def with_firsts(*columns: Any) -> Select[Any]:
    """Return a query for `columns` of the stories and their decisions, with what each story repeats, or itself.

    That is in `first_partition` and `first_offset`.
    """
    v, i = _FIRST_VERSION.c, _ITS_DECISION.c
    duplicate_of = and_(_D.ending == "duplicate", v.partition == _D.story_partition, v.offset == _D.story_offset)
    return (
        select(*columns, _first("partition"), _first("offset"))
        .join_from(_STORIES, _DECISIONS, and_(_S.partition == _D.partition, _S.offset == _D.offset), isouter=True)
        .join(_FIRST_VERSION, duplicate_of, isouter=True)
        .join(_ITS_DECISION, and_(i.partition == v.partition, i.offset == v.offset), isouter=True)
    )


def _first(part: str) -> ColumnElement[Any]:
    """Return the partition or the offset of what a story repeats."""
    v, d = _REVISION.c, _REVISED.c
    # A story has one revision of each text: the next record with that text is a duplicate.
    revision = (
        select(v[part])
        .join_from(_REVISED, _REVISION, and_(v.partition == d.partition, v.offset == d.offset))
        .where(d.story_partition == _D.story_partition, d.story_offset == _D.story_offset, d.ending == "revision")
        .where(v.content == _S.content)
        .limit(1)
        .correlate(_STORIES, _DECISIONS)
        .scalar_subquery()
    )
    event, own = f"event_{part}", _S[part]
    return case(
        (_FIRST_VERSION.c.content != _S.content, func.coalesce(revision, own)),
        else_=func.coalesce(_D[event], _ITS_DECISION.c[event], _FIRST_VERSION.c[part], own),
    ).label(f"first_{part}")


def counted(connection: Connection, firsts: Sequence[Position]) -> Counter[Position]:
    """Return how many stories of the store repeat each of these first stories."""
    found = lookup.by_position
    own, its_story = (_D.partition, _D.offset), (_D.story_partition, _D.story_offset)
    of_event = found(connection, select(*own), _D.event_partition, _D.event_offset, firsts)
    candidates = {tuple(row) for row in of_event}
    revised = select(*its_story).where(_D.ending == "revision")
    stories = {*firsts, *candidates, *(tuple(row) for row in found(connection, revised, *own, firsts))}
    duplicates = select(*own).where(_D.ending == "duplicate")
    candidates.update(tuple(row) for row in found(connection, duplicates, *its_story, sorted(stories)))
    wanted, count = set(firsts), Counter[Position]()
    query = with_firsts(_S.partition, _S.offset)
    for *position, partition, offset in found(connection, query, _S.partition, _S.offset, sorted(candidates)):
        if (partition, offset) in wanted and (partition, offset) != tuple(position):
            count[partition, offset] += 1
    return count
