"""Everything that can go wrong in ingest.

A *record* that cannot become a story is a value, a `DeadLetter`, with one of the codes in `REASONS`. It never stops a
feed. A *feed* that cannot be read, or that is not the same as before, raises an `IngestError`. Its text says what
happened, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

REASONS: dict[str, str] = {
    "not_utf8": "The record's bytes are not UTF-8.",
    "bad_json": "The record is not JSON.",
    "not_an_object": "The record is JSON, but not an object.",
    "bad_csv": "The row cannot be split into the columns of the header.",
    "no_value": "The record has no value (a tombstone).",
    "no_text": "The fields title, headline and text are missing or empty.",
    "text_not_a_string": "A text field is not a string.",
    "bad_date": "The date cannot be read.",
    "date_without_zone": "The date has a time but no zone, and assume_zone names none for this source.",
    "no_date": "The record has no date.",
    "date_out_of_range": "The date lies outside the years 1970 to 2100.",
    "date_in_future": "The date lies more than an hour in the future.",
    "bad_scores": "The scores are not three finite numbers in 0..1 that sum to 1 within 0.001.",
    "bad_field": "counts_at or the source has a value that it cannot have.",
    "too_large": "The record is larger than 1 MiB.",
}
"""Code -> a sentence for people. Codes are stored and do not change."""


class BadRecord(Exception):
    """A record cannot become a story. `parse` turns this into a `DeadLetter`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class IngestError(Exception):
    """A feed cannot be read, or its settings are wrong."""

    exit_code: ClassVar[int] = 1


class MissingFile(IngestError):
    """There is no such file."""

    exit_code = 2

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: no such file.")
        self.path = path


class UnreadableFile(IngestError):
    """The file is truncated, damaged, a folder, forbidden, or in an encoding that is not supported."""

    def __init__(self, path: Path, what: str, record: int | None = None) -> None:
        where = f"{path}" if record is None else f"{path}, record {record}"
        super().__init__(f"{where}: {what}")
        self.path = path
        self.record = record


class MissingColumns(IngestError):
    """The file has no column for text or date, or `--map` names a column that does not exist."""

    exit_code = 2

    def __init__(
        self,
        path: Path,
        missing: Sequence[str],
        columns: Sequence[str],
        suggestion: Mapping[str, str],
        hint: str = "",
    ) -> None:
        mapping = suggestion or {"title": "Headline"}
        example = ",".join(f"{field}={column}" for field, column in mapping.items())
        super().__init__(
            f"{path}: no column {' and no column '.join(missing)}. The file has: {', '.join(columns) or 'none'}. "
            + (hint or f"Name the columns, {'with' if suggestion else 'for example with'} --map {example}")
        )
        self.path = path
        self.missing = tuple(missing)
        self.columns = tuple(columns)
        self.suggestion = dict(suggestion)


class FileChanged(IngestError):
    """The part of a file that was already read has changed."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path} has changed: {what} A feed file may only grow at its end. Give a rewritten file a new name."
        )
        self.path = path


class BadMapping(IngestError):
    """`--map` cannot be read."""

    exit_code = 2


class FeedUnavailable(IngestError):
    """An RSS feed could not be fetched, or the answer is not a feed. The reader tries again later.

    `retry_after`: seconds that the server asked to wait. `gone`: the server says that the feed no longer exists.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0, gone: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.gone = gone


class BrokerUnavailable(IngestError):
    """No Kafka broker answers. The reader tries again, unless the command has an end."""


class TopicMissing(IngestError):
    """Kafka has no such topic."""


class AddressRefused(IngestError):
    """A URL leads to an address that Foreshock does not connect to."""
