"""The settings of reading a feed, checked by pydantic because they come from outside."""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator

from foreshock.ingest.containers import check_encoding
from foreshock.ingest.date_formats import check_format
from foreshock.ingest.errors import BadMapping
from foreshock.ingest.fields import FIELDS
from foreshock.ingest.meant import did_you_mean
from foreshock.ingest.parsing import ParseRules


class IngestSettings(BaseModel):
    """How records are read, from files, Kafka and RSS."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    encoding: str | None = None
    """The encoding of files that are neither UTF-8 nor marked, such as `cp1252`."""
    date_format: str | None = None
    """The form of dates such as 31.12.2023 or 12/31/2023: `dayfirst`, `monthfirst`, `excel` (days since 1899-12-30), or
    codes of strptime (`%d.%m.%Y %Hh%M`)."""
    date_only: bool = False
    """A time of exactly 00:00:00 says only the day, as `2024-05-06 00:00:00` in many files does. It counts at the end
    of that day."""
    guess_language: bool = False
    """A record that does not say its language has the one of its script: `zh`, `ja`, `ko`, `en` for Latin letters, or
    `und` for other scripts. False: it is `en`."""

    @field_validator("encoding")
    @classmethod
    def _is_an_encoding(cls, value: str | None) -> str | None:
        return check_encoding(value) if value else None

    @field_validator("date_format")
    @classmethod
    def _is_a_form(cls, value: str | None) -> str | None:
        return check_format(value) if value else None


class ParseSettings(BaseModel):
    """How records become stories. `rules()` returns them for `parsing.parse`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    assume_zone: str | dict[str, str] | None = None
    """IANA zone (`America/New_York`) of dates without a zone: one for all sources, or source -> zone."""
    encoding: str | None = None
    """Of a file's text, if it is not UTF-8."""
    date_format: str | None = None
    """A form of dates that only the user knows (`date_formats`)."""
    date_only: bool = False
    """A time of exactly 00:00:00 says only the day."""
    accept_scores: bool = True
    """Use the `scores` that a record carries instead of scoring its text."""
    accept_counts_at: bool = True
    """Use `counts_at`, which exported files carry. A producer must not choose when its stories count."""
    feed: str = ""
    """Whose ids the records bear, besides their sources'."""
    source_bytes: int = 200
    """Longest name of a source. A record with a longer one is a dead letter."""
    guess_language: bool = False
    """Whether a record that does not say its language has the one of its script, not English."""
    mapping: dict[str, str] = Field(default_factory=dict)
    """Field -> the column that holds it: `{"title": "Headline"}`. Paths lead into objects: `source.name`."""

    @field_validator("assume_zone")
    @classmethod
    def _zones_exist(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        for name in value.values() if isinstance(value, dict) else [value] if value else []:
            zone(name)
        return value

    @field_validator("mapping")
    @classmethod
    def _fields_exist(cls, value: dict[str, str]) -> dict[str, str]:
        return check_map(value)

    def rules(self) -> ParseRules:
        """Return the rules for `parsing.parse`."""
        by_source = self.assume_zone if isinstance(self.assume_zone, dict) else {}
        return ParseRules(
            zone=zone(self.assume_zone) if isinstance(self.assume_zone, str) and self.assume_zone else None,
            zones={source: zone(name) for source, name in by_source.items()},
            encoding=self.encoding,
            date_format=self.date_format,
            date_only=self.date_only,
            accept_scores=self.accept_scores,
            accept_counts_at=self.accept_counts_at,
            source_bytes=self.source_bytes,
            feed=self.feed,
            guess_language=self.guess_language,
            mapping=dict(self.mapping),
        )


def read_map(text: str) -> dict[str, str]:
    """Return `title=Headline,published_at=Date` as a dict. Raises `BadMapping`."""
    mapping: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        field, sign, column = (piece.strip() for piece in part.partition("="))
        if not (field and sign and column):
            raise BadMapping(f"--map {part}: expected field=column, for example title=Headline.")
        if field in mapping:
            raise BadMapping(f"--map names {field} twice.")
        mapping[field] = column
    try:
        return check_map(mapping)
    except ValueError as error:
        raise BadMapping(f"--map {text}: {error}") from None


def check_map(mapping: Mapping[str, str]) -> dict[str, str]:
    """Return the mapping if it names fields of a story; otherwise raise ValueError with the most similar field."""
    for field in mapping:
        if field not in FIELDS:
            raise ValueError(f"{field} is not a field of a story.{did_you_mean(field, FIELDS)}")
    return dict(mapping)


def zone(name: str) -> ZoneInfo:
    """Return the zone with an IANA name; otherwise raise ValueError with the most similar name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(name, available_timezones()) or " Write an IANA name such as America/New_York."
        raise ValueError(f"{name!r} is not a time zone.{hint}") from None
