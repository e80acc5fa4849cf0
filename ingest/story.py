"""The results of ingest: a `Story`, or a `DeadLetter` for a record that cannot become one, each with its position."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Story:
    """One news record, parsed. Times are microseconds since 1970, UTC."""

    partition: str
    offset: int
    id: str
    """The given id, or else a hash of source, url, published_at, title and body."""
    published_at: int
    """Event time. A date without a time means the end of its day; then `date_only` is set."""
    title: str
    body: str = ""
    source: str = ""
    url: str = ""
    topics: tuple[str, ...] = ()
    tickers: tuple[str, ...] = ()
    language: str = "en"
    status: str = ""
    """`withdrawn`, or empty."""
    content: str = ""
    """Hash of title, body and status (hex). It distinguishes a duplicate from a revision."""
    date_only: bool = False
    counts_at: int | None = None
    """Only in files that `stories --export` wrote: the time at which the story counted live."""
    scores: tuple[int, int, int] | None = None
    """Negative, neutral and positive in 1/10,000 (sum 10,000), if the record carries them and they are accepted."""
    severity: int | None = None
    """How grave bad news is, in hundredths from 0 to 300, if it is among the scores that the record carries."""
    extra: dict[str, Any] = field(default_factory=dict)
    feed: str = ""
    """Whose ids these are, besides the source's: a Kafka topic or an RSS feed. Empty for files, which are one feed."""
    topic_scores: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """The scores towards companies, by topic, if the record carries them along with its own."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that cannot become a story: why, where, and its bytes."""

    partition: str
    offset: int
    reason: str
    """One of `errors.REASONS`: a short code, such as `bad_json`."""
    detail: str
    """A sentence for people."""
    raw: bytes
    """The bytes of the record, at most the first 1 MiB."""
    size: int
    """Length of the whole record in bytes. A record larger than `raw` cannot be replayed."""
