"""Search the text of stories, with filters.

    rows = search(connection, Wanted(words='bank "profit warning"'), limit=50)

All words must occur in the title or body. Words in quotes must occur as a phrase. A word that ends in * matches all
words that begin with it. Case does not matter. Words are not stemmed, so both databases find the same stories. (SQLite
also ignores accents.)

In any order but the newest first, and for the counts by source, only the `LOOKED_AT` newest stories that match are
looked at: an answer about every story of years would take seconds, and its first lines would be years old.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    column,
    false,
    func,
    literal_column,
    select,
    text,
)

from foreshock.model.labels import LABELS
from foreshock.monitor.store import lookup, schema
from foreshock.monitor.store.evidence import mood
from foreshock.monitor.store.story_topics import topics_of
from foreshock.monitor.store.views import StoryRow
from foreshock.monitor.units import ALL

LOOKED_AT = 10_000
"""The most stories that are put into an order, or counted by source."""
ORDERS = ("newest", "gravest", "negative", "relevance")
BODY = 4_000
"""How many characters of a body are read: enough to show where a word stands."""
_MATCHES = 2 * LOOKED_AT
"""The most stories with the words, the last to arrive, that are put into an order where nothing else is asked."""
_MATCHES_FILTERED = 500_000
"""The same where other filters follow. Those that pass them may have come long before the last, and SQLite takes a
second for so many."""
_TERM = re.compile(r'"([^"]*)"?|(\S+)')
_WORD = re.compile(r"\w+", re.UNICODE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to search for. Empty or None fields do not filter.

    `start` and `end` (microseconds) filter by when stories count.
    """

    words: str = ""
    topic: str | None = None
    source: str | None = None
    label: str | None = None
    """The label with the highest score: `negative`, `neutral` or `positive`. With a company as the topic, the score is
    that towards it, where a story has one."""
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A story that was found, and how it counts. `ending` is None until its bucket is decided."""

    story: StoryRow
    body: str
    """The first `BODY` characters of its body."""
    topics: tuple[str, ...]
    ending: str | None
    copy: bool
    late: bool
    stale: bool


def search(
    connection: Connection, wanted: Wanted, *, limit: int = 50, offset: int = 0, order: str = "newest"
) -> list[Found]:
    """Return the stories that match, in one of `ORDERS`; equal ones newest first by when they count.

    `relevance` is how often and how near the beginning the words occur (BM25 on SQLite, `ts_rank` on PostgreSQL), the
    title before the body; without words it is the newest first.
    """
    if order not in ORDERS:
        raise ValueError(f"an order is {', '.join(ORDERS)}, not {order!r}")
    s = schema.stories.c
    if order == "relevance" and not terms(wanted.words):
        order = "newest"
    columns = [s.partition, s.offset, s.counts_at, *mood(wanted.topic)]
    found = _matching(connection, wanted, columns, deep=order != "newest", ranked=order == "relevance")
    if found is None:
        return []
    query, parameters = found
    if order == "newest":
        query = query.limit(limit).offset(offset)
    else:
        f = query.limit(LOOKED_AT).subquery().c
        by: dict[str, Sequence[ColumnElement[Any]]] = {
            # Without a severity, bad news counts as mild.
            "gravest": (
                func.coalesce(f.severity, f.negative / 100).desc().nulls_last(),
                f.negative.desc().nulls_last(),
            ),
            "negative": (f.negative.desc().nulls_last(),),
        }
        best = by[order] if order in by else (f["rank"],)
        then = f.counts_at.desc(), f.partition.desc(), f.offset.desc()
        ranked: Select[Any] = select(f.partition, f.offset).order_by(*best, *then)
        query = ranked.limit(limit).offset(offset)
    positions = [(row.partition, row.offset) for row in connection.execute(query, parameters)]
    return _found_at(connection, positions, wanted.topic)


def sources(connection: Connection, wanted: Wanted) -> list[tuple[str, int]]:
    """Count the stories that match by source, the most frequent first."""
    found = _matching(connection, wanted, [schema.stories.c.source], deep=True)
    if found is None:
        return []
    query, parameters = found
    f = query.limit(LOOKED_AT).subquery().c
    count = func.count()
    counts = select(f.source, count).group_by(f.source).order_by(count.desc(), f.source)
    return [(source, int(n)) for source, n in connection.execute(counts, parameters)]


def _matching(
    connection: Connection, wanted: Wanted, columns: Sequence[ColumnElement[Any]], *, deep: bool, ranked: bool = False
) -> tuple[Select[Any], dict[str, Any]] | None:
    """Return the query for these columns of the stories that match, the newest first, and its parameters; None if none
    can match.

    `deep`: thousands of them are read, not a page of them. `ranked`: with a column `rank` by the words, the lower the
    more relevant.
    """
    s, t = schema.stories.c, schema.story_topics.c
    # For a topic, the rows of its own index are read, newest first, and no more than are asked for.
    place = s if wanted.topic in (None, ALL) else t
    query = select(*columns)
    if place is s:
        query = query.select_from(schema.stories)
    else:
        borne = and_(t.partition == s.partition, t.offset == s.offset)
        query = query.join_from(schema.story_topics, schema.stories, borne).where(t.topic == wanted.topic)
    parameters: dict[str, Any] = {}
    newest: Any = place.counts_at
    match = terms(wanted.words)
    if match:
        on_postgresql = connection.dialect.name == "postgresql"
        parameters["match"] = _postgres(match) if on_postgresql else _sqlite(match)
        by_rank = deep and not on_postgresql
        few = not by_rank and _few(connection, parameters, _MATCHES if deep else FEW)
        if by_rank:
            r = _RANKED.c
            alone = Wanted(words=wanted.words)
            parameters["matches"] = (
                _MATCHES if replace(wanted, topic=None) == alone and place is s else _MATCHES_FILTERED
            )
            query = query.join(_RANKED, and_(r.partition == s.partition, r.offset == s.offset))
            query = query.add_columns(r.rank) if ranked else query
        else:
            query = query.where(_matches(connection, match, parameters, few))
        if ranked and on_postgresql:
            query = query.add_columns((-func.ts_rank(literal_column("stories.words"), _TS_QUERY)).label("rank"))
        if few and on_postgresql:
            newest = place.counts_at + 0  # is in no index: the few are read and sorted, not looked for from the newest
    elif wanted.words.strip():
        return None  # only punctuation, which is not a word of any story
    if wanted.source is not None:
        query = query.where(s.source == wanted.source)
    if wanted.label is not None:
        scores = dict(zip(LABELS, mood(wanted.topic), strict=False))
        mine = scores.pop(wanted.label)
        query = query.where(and_(*(mine >= other for other in scores.values())))
    if wanted.start is not None:
        query = query.where(place.counts_at >= wanted.start)
    if wanted.end is not None:
        query = query.where(place.counts_at < wanted.end)
    return query.order_by(newest.desc(), place.partition.desc(), place.offset.desc()), parameters


def _found_at(connection: Connection, positions: Sequence[tuple[str, int]], topic: str | None) -> list[Found]:
    """Return the stories at these positions, in this order."""
    s, d, t = schema.stories.c, schema.decisions.c, schema.story_topics.c
    here = and_(s.partition == d.partition, s.offset == d.offset)
    query = select(
        *(s.partition, s.offset, s.title, s.url, s.source, s.published_at, *mood(topic)),
        *(func.substr(s.body, 1, BODY).label("body"), s.late, s.stale, s.status, d.ending, d.event_partition),
    ).join_from(schema.stories, schema.decisions, here, isouter=True)
    if topic not in (None, ALL):
        query = query.join(schema.story_topics, and_(t.partition == s.partition, t.offset == s.offset)).where(
            t.topic == topic
        )
    rows = {
        (row.partition, row.offset): row
        for row in lookup.by_position(connection, query, s.partition, s.offset, positions)
    }
    topics = topics_of(connection, positions)
    return [_found(rows[position], tuple(topics.get(position, ()))) for position in positions]


def terms(words: str) -> list[tuple[list[str], bool]]:
    """Return the phrases of a query: consecutive words, and whether the last one is only a prefix."""
    found = []
    for quoted, plain in _TERM.findall(words.casefold()[:400]):
        parts = _WORD.findall(quoted or plain)
        if parts:
            found.append((parts, not quoted and plain.endswith("*")))
    return found


FEW = 2_000
"""If more stories than this match, the newest stories are tried one after the other instead of sorting all that do.

On SQLite, trying a prefix costs as much as finding all of its stories. So a prefix finds among the `FEW` that were
stored last.
"""
_TS_QUERY = func.to_tsquery(literal_column("'simple'"), bindparam("match"))
# A word of the title counts as much as four of the body. A limit keeps words that stand in every story quick.
_RANKED = (
    text(
        'SELECT n."partition", n."offset", bm25(story_words, 4.0, 1.0) AS rank FROM story_words '
        "JOIN story_numbers n ON n.number = story_words.rowid WHERE story_words MATCH :match "
        "ORDER BY story_words.rowid DESC LIMIT :matches"
    )
    .columns(column("partition"), column("offset"), column("rank"))
    .subquery("ranked")
)


def _matches(connection: Connection, match: list[tuple[list[str], bool]], parameters: dict[str, Any], few: bool) -> Any:
    if connection.dialect.name == "postgresql":
        found: Any = literal_column("stories.words").op("@@")(_TS_QUERY)
        # Inside a function, the planner cannot use the index of words, and reads the newest stories first.
        return found if few else func.coalesce(found, false())
    if few:
        return text(
            '(stories."partition", stories."offset") IN (SELECT n."partition", n."offset" FROM story_words '
            "JOIN story_numbers n ON n.number = story_words.rowid WHERE story_words MATCH :match)"
        )
    if any(begins for _, begins in match):
        parameters["few"] = FEW
        return text(
            '(stories."partition", stories."offset") IN (SELECT n."partition", n."offset" FROM (SELECT rowid AS number '
            "FROM story_words WHERE story_words MATCH :match ORDER BY rowid DESC LIMIT :few) AS w "
            "JOIN story_numbers n ON n.number = w.number)"
        )
    return text(
        "EXISTS (SELECT 1 FROM story_numbers n CROSS JOIN story_words WHERE story_words.rowid = n.number "
        'AND story_words MATCH :match AND n."partition" = stories."partition" AND n."offset" = stories."offset")'
    )


def _few(connection: Connection, parameters: dict[str, Any], most: int) -> bool:
    """Return whether at most so many stories match a query of words."""
    limited = {**parameters, "more": most + 1}
    if connection.dialect.name == "postgresql":
        # Without statistics of rare words, the planner would look for so many in the whole table.
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        query = "SELECT 1 FROM stories WHERE words @@ to_tsquery('simple', :match) LIMIT :more"
    else:
        query = "SELECT 1 FROM story_words WHERE story_words MATCH :match LIMIT :more"
    found = connection.execute(text(query), limited).all()
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL enable_seqscan = on"))
    return len(found) <= most


def _sqlite(phrases: list[tuple[list[str], bool]]) -> str:
    """Return an FTS5 query in which each phrase is in quotes, so SQLite reads none of it as an operator."""
    return " AND ".join(f'"{" ".join(parts)}"{" *" if begins else ""}' for parts, begins in phrases)


def _postgres(phrases: list[tuple[list[str], bool]]) -> str:
    return " & ".join(
        "(" + " <-> ".join(f"'{part}'" for part in parts) + (":*" if begins else "") + ")" for parts, begins in phrases
    )


def _found(row: Any, topics: tuple[str, ...]) -> Found:
    scores = None if row.negative is None else (row.negative, row.neutral, row.positive)
    return Found(
        StoryRow(
            *(row.title, row.url, row.source, row.published_at, scores, row.status == "withdrawn", row.severity),
            position=(row.partition, row.offset),
        ),
        row.body,
        topics,
        row.ending,
        row.event_partition is not None and row.ending == "scored",
        row.late,
        row.stale,
    )
