"""The whole list of what can go wrong in ingest.

Two kinds. A *record* that cannot become a story is a value, a `DeadLetter`, with one of the codes in `REASONS`: it
never stops a feed. A *feed* that cannot be read, or is not the one that it was, is an `IngestError`: its text says what
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
    "bad_csv": "The row cannot be split into the header's columns.",
    "no_value": "The record has no value (a tombstone).",
    "no_text": "None of title, headline and text has anything in it.",
    "text_not_a_string": "A text field is not a string.",
    "bad_date": "The date cannot be read.",
    "date_without_zone": "The date has a time but no zone, and no zone is assumed for this source.",
    "no_date": "The record has no date.",
    "date_out_of_range": "The date lies outside the years 1970 to 2100.",
    "date_in_future": "The date lies more than an hour ahead.",
    "bad_scores": "The scores are not three finite numbers in 0..1 that sum to 1 within 0.001.",
    "bad_field": "A field holds something that it cannot hold.",
    "too_large": "The record is larger than 1 MiB.",
}
"""Code -> a sentence for a person. Codes are stored and do not change."""


class BadRecord(Exception):
    """Raised inside ingest where a record fails; whoever parses turns it into a `DeadLetter`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class IngestError(Exception):
    """A feed that cannot be read, or settings for one that make no sense."""

    exit_code: ClassVar[int] = 1


class MissingFile(IngestError):
    exit_code = 2

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: no such file.")
        self.path = path


class UnreadableFile(IngestError):
    """Truncated, damaged, a folder, not allowed, or in an encoding that is not read."""

    def __init__(self, path: Path, what: str, record: int | None = None) -> None:
        where = f"{path}" if record is None else f"{path}, record {record}"
        super().__init__(f"{where}: {what}")
        self.path = path
        self.record = record


class MissingColumns(IngestError):
    """The file's columns hold no text or no date, or `--map` names a column that is not there."""

    exit_code = 2

    def __init__(
        self, path: Path, missing: Sequence[str], columns: Sequence[str], suggestion: Mapping[str, str]
    ) -> None:
        mapping = suggestion or {"title": "Headline"}
        example = ",".join(f"{field}={column}" for field, column in mapping.items())
        super().__init__(
            f"{path}: no column {' and no column '.join(missing)}. The file has: {', '.join(columns) or 'none'}. "
            f"Say which column is which, {'with' if suggestion else 'for example'} --map {example}"
        )
        self.path = path
        self.missing = tuple(missing)
        self.columns = tuple(columns)
        self.suggestion = dict(suggestion)


class FileChanged(IngestError):
    """A file of which a part was read is no longer the same file up to there."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path} changed underneath: {what} A feed file may only grow at its end; give a rewritten one a new name."
        )
        self.path = path


class BadMapping(IngestError):
    """`--map` cannot be read."""

    exit_code = 2


class FeedUnavailable(IngestError):
    """An RSS feed could not be fetched, or what came is no feed. It is tried again later.

    `retry_after`: seconds for which the server asked to be left alone. `gone`: it says that the feed is no more.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0, gone: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.gone = gone


class BrokerUnavailable(IngestError):
    """No Kafka broker answers. Asked again, unless somebody waits for the end."""


class TopicMissing(IngestError):
    """Kafka has no such topic."""
