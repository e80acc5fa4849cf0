"""Keep notes on a time of a topic, such as "our press conference". Charts draw them.

A note is a desk action. Rows are never changed: an action that takes a note back names its number. The monitor reads
neither, so a note changes no detection.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from foreshock.monitor.errors import NoSuchNote
from foreshock.monitor.store import desk_actions, schema

NOTE, TAKE_BACK = "note", "take back a note"
LONGEST = 200
"""The most characters of a note."""
MOST = 200
"""The most notes of a topic that are returned, the newest."""


@dataclass(frozen=True, slots=True)
class Note:
    """A note on a time of a topic: `at` is that time, in microseconds; `number` identifies the note."""

    number: int
    topic: str
    at: int
    words: str
    by: str


def add(connection: Connection, topic: str, at: int, words: str, *, by: str, now: int) -> int:
    """Add a note on the time `at` (microseconds) of a topic, and return its number.

    Raises:
        ValueError: the note has no words, or more than `LONGEST` characters.
    """
    words = " ".join(words.split())
    if not 0 < len(words) <= LONGEST:
        raise ValueError(f"a note has 1 to {LONGEST} characters, not {len(words)}")
    return desk_actions.append(connection, NOTE, now, by, words, topic=topic, about_at=at)


def take_back(connection: Connection, number: int, *, by: str, now: int) -> None:
    """Take a note back. Raises NoSuchNote if there is no such note, or no longer."""
    d = schema.desk_actions.c
    found = connection.execute(select(d.topic).where(d.number == number, d.action == NOTE)).scalar()
    taken = connection.execute(select(d.number).where(d.takes_back == number)).first()
    if found is None or taken is not None:
        raise NoSuchNote(f"There is no note {number}, or it was taken back before.")
    desk_actions.append(connection, TAKE_BACK, now, by, "", topic=found, takes_back=number)


def notes(connection: Connection, topic: str) -> list[Note]:
    """Return the notes that stand on a topic, by their time. Beyond `MOST`, only the last ones."""
    d = schema.desk_actions.c
    # Taken back is rare, and `takes_back` has no index: both are read by topic.
    query = select(d.number, d.action, d.about_at, d.note, d.by, d.takes_back).where(
        d.topic == topic, d.action.in_((NOTE, TAKE_BACK))
    )
    rows = connection.execute(query.order_by(d.number)).all()
    taken = {row.takes_back for row in rows if row.action == TAKE_BACK}
    standing = [row for row in rows if row.action == NOTE and row.number not in taken]
    found = [Note(row.number, topic, row.about_at, row.note, row.by) for row in standing[-MOST:]]
    return sorted(found, key=lambda note: (note.at, note.number))
