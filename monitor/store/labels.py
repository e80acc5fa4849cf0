"""Keep the labels by which people correct the encoder, and export them as rows that `model finetune` reads.

A correction is a desk action on one story. The last one on a story counts, whoever gave it. The monitor never reads
them, so they change no score and no detection; a model that learns from them does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, select

from foreshock.model.labels import LABELS
from foreshock.monitor.errors import NoSuchStory
from foreshock.monitor.store import desk_actions, schema
from foreshock.monitor.store.times import iso

LABEL = "label"


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person said a story is: `negative`, `neutral` or `positive`; when is `at`, in microseconds."""

    label: str
    by: str
    at: int
    note: str


def correct(
    connection: Connection, position: tuple[str, int], label: str, *, by: str, note: str = "", now: int
) -> None:
    """Record that the story at `position` (partition, offset) has this label.

    Raises:
        NoSuchStory: the store has no story there.
        ValueError: `label` is none of the three.
    """
    if label not in LABELS:
        raise ValueError(f"a label is {', '.join(LABELS)}, not {label!r}")
    s = schema.stories.c
    here = and_(s.partition == position[0], s.offset == position[1])
    if connection.execute(select(s.id).where(here)).first() is None:
        raise NoSuchStory(f"There is no story at {position[0]}, {position[1]}.")
    about = {"story_partition": position[0], "story_offset": position[1], "label": label}
    desk_actions.append(connection, LABEL, now, by, note, **about)


def corrections(connection: Connection, position: tuple[str, int]) -> list[Correction]:
    """Return the corrections of one story, newest first."""
    d = schema.desk_actions.c
    here = and_(d.story_partition == position[0], d.story_offset == position[1], d.action == LABEL)
    query = select(d.label, d.by, d.at, d.note).where(here).order_by(d.number.desc())
    return [Correction(row.label, row.by, row.at, row.note) for row in connection.execute(query)]


def labelled_rows(connection: Connection) -> Iterator[dict[str, Any]]:
    """Yield a row for each corrected story, in the order of the corrections.

    `text` and `label` are what `model finetune` reads: the text is the title, a line break and the body, as the
    encoder reads it. The others say where the row comes from: `id`, `source`, `by`, `at`, `note`, and `scored` (the
    label that the encoder gave; None if it gave none).
    """
    s, d = schema.stories.c, schema.desk_actions.c
    last = select(func.max(d.number)).where(d.action == LABEL).group_by(d.story_partition, d.story_offset)
    here = and_(s.partition == d.story_partition, s.offset == d.story_offset)
    query = (
        select(d.label, d.by, d.at, d.note, s.id, s.source, s.title, s.body, *(s[name] for name in LABELS))
        .join_from(schema.desk_actions, schema.stories, here)
        .where(d.number.in_(last))
        .order_by(d.number)
    )
    for row in connection.execute(query):
        scores = [getattr(row, name) for name in LABELS]
        yield {
            "id": row.id,
            "text": f"{row.title}\n{row.body}" if row.body else row.title,
            "label": row.label,
            "scored": None if scores[0] is None else LABELS[scores.index(max(scores))],
            "source": row.source,
            "by": row.by,
            "at": iso(row.at),
            "note": row.note,
        }
