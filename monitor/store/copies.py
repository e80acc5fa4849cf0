"""Tell which stored stories repeat another, so that a list can show each once with the number of its copies.

A story repeats another if it is a near-copy of an event, or a duplicate of a record. Before its bucket is decided, a
story stands for itself. A revision has a text of its own, so it is no repetition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from foreshock.monitor.store import lookup, schema

Position = tuple[str, int]
"""Partition and offset."""

_D = schema.decisions.c
_OF_A_RECORD = and_(_D.ending == "duplicate", _D.event_partition.is_(None))
"""Duplicates of a story that does not weigh: it belongs to no event."""


def first_of(s: Any) -> tuple[ColumnElement[str], ColumnElement[int]]:
    """Return the position of the story that each row of `s` (columns of stories) repeats, or its own.

    The query must join the decisions.
    """
    return (
        func.coalesce(_D.event_partition, case((_OF_A_RECORD, _D.story_partition)), s.partition),
        func.coalesce(_D.event_offset, case((_OF_A_RECORD, _D.story_offset)), s.offset),
    )


def counted(connection: Connection, firsts: Sequence[Position]) -> Counter[Position]:
    """Return how many stories of the store repeat each of these first stories."""
    found = Counter[Position]()
    for partition, offset, of_these in (
        (_D.event_partition, _D.event_offset, None),
        (_D.story_partition, _D.story_offset, _OF_A_RECORD),
    ):
        query = select(partition, offset)
        if of_these is not None:
            query = query.where(of_these)
        found.update(
            (name, number) for name, number in lookup.by_position(connection, query, partition, offset, firsts)
        )
    return found
