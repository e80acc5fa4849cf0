"""The settings of the store, event time, alerts and the watchlist.

The docstring under a setting is its documentation: `foreshock config init` writes it above the setting, and
docs/settings.md contains it.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, field_validator, model_validator

from foreshock.ingest.settings import zone
from foreshock.monitor.admission import TOPICS, TOPICS_PER_SOURCE, TOPICS_PER_STORY
from foreshock.monitor.budget import CRITICAL_STORIES, parse_budget, parse_expected
from foreshock.monitor.topics.rules import TopicRule, load_watchlist
from foreshock.monitor.units import DAY, HOUR, SECOND

UNITS = {"ms": 1_000, "s": SECOND, "m": 60 * SECOND, "h": HOUR, "d": DAY, "w": 7 * DAY}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)\s*(ms|s|m|h|d|w)\s*")


def parse_duration(value: object) -> int:
    """Return the microseconds of a text such as `"5m"`, `"90s"`, `"1h30m"` or `"2d"`, or of a number of seconds.

    Raises:
        ValueError: the value is neither.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12:
        return round(value * SECOND)
    if isinstance(value, str):
        text = value.strip().lower()
        if re.fullmatch(r"\d{1,12}(\.\d+)?", text):
            return round(float(text) * SECOND)
        parts = _PART.findall(text)
        if parts and "".join(_PART.split(text)) == "".join(number + unit for number, unit in parts):
            return round(sum(float(number) * UNITS[unit] for number, unit in parts))
    raise ValueError(f"{value!r} is not a duration: write a text such as 90s, 5m, 6h or 2d, or a number of seconds")


def format_duration(microseconds: int) -> str:
    """Return the shortest text in one unit that `parse_duration` reads as the same number: `5m`, `90s`, `36h`."""
    for unit in ("d", "h", "m", "s"):
        if microseconds and microseconds % UNITS[unit] == 0:
            return f"{microseconds // UNITS[unit]}{unit}"
    return f"{microseconds / SECOND:.6f}".rstrip("0").rstrip(".") + "s"


Duration = Annotated[int, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
"""Microseconds, written as text such as `5m`."""


LEAST_KEPT = 120 * DAY
"""The shortest time for which stories are kept: longer than anything that decides looks back for one."""


def parse_kept(value: object) -> int | None:
    """Return the microseconds of a duration, or None for `forever`. Raises ValueError."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "forever"):
        return None
    kept = parse_duration(value)
    if kept < LEAST_KEPT:
        raise ValueError(f"what is old is kept for at least {format_duration(LEAST_KEPT)}, not {format_duration(kept)}")
    return kept


def format_kept(kept: int | None) -> str:
    """Return the text that `parse_kept` reads as the same."""
    return "forever" if kept is None else format_duration(kept)


def _longest(*kept: int | None) -> int | None:
    """Return the longest of these; None is for ever."""
    return None if None in kept else max(k for k in kept if k is not None)


class Keeps(NamedTuple):
    """How long each kind is kept (microseconds); None: for ever."""

    stories: int | None
    buckets: int | None
    hours: int | None
    evidence: int | None


Kept = Annotated[int | None, BeforeValidator(parse_kept), PlainSerializer(format_kept)]
"""How long something is kept: a duration, or `forever`."""


class StoreSettings(BaseModel):
    """The database that holds stories, series and alerts."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    url: str = Field(default="sqlite:///foreshock.db", min_length=1, repr=False)
    """A SQLite file (sqlite:///foreshock.db), relative to the folder in which a command runs, or PostgreSQL
    (postgresql://user:password@host/name)."""
    password_file: Path | None = None
    """A file with the PostgreSQL password, so that the URL does not contain it. A relative path starts at the folder
    of the settings file."""
    keep_stories: Kept = parse_kept("366d")
    """How long `run` and `monitor` keep stories, counted back from the newest decided bucket: at least 120d, or
    `forever`. Series and alerts are always kept."""
    keep_buckets: Kept = parse_kept("732d")
    """After how long `run` and `monitor` put the rows of series together, those of an hour into one: at least 120d, and
    never before the stories go; or `forever`. They leave the rows of the last 124 days alone, whatever it says."""
    keep_hours: Kept = parse_kept("forever")
    """After how long they put the rows of hours together, those of a day into one: never before `keep_buckets`."""
    keep_evidence: Kept = parse_kept("forever")
    """How long they keep the stories in alerts and messages (titles, addresses, scores) after the incident has ended:
    at least 120d, or `forever`. The alert always stays."""

    @property
    def keeps(self) -> Keeps:
        """How long each kind is kept: nothing is put together while what it is made of is there."""
        buckets = _longest(self.keep_stories, self.keep_buckets)
        return Keeps(self.keep_stories, buckets, _longest(buckets, self.keep_hours), self.keep_evidence)

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        # Never repeat the value: it may hold a password.
        if not re.match(r"(sqlite|postgresql|postgres)(\+\w+)?://", value):
            raise ValueError("expected the URL of a store: sqlite:///FILE.db or postgresql://user:password@host/name")
        return value

    @model_validator(mode="after")
    def _takes_the_password_from_its_file(self) -> StoreSettings:
        if self.password_file is None or self.url.startswith("sqlite"):
            return self
        scheme, _, rest = self.url.partition("://")
        user, at, host = rest.rpartition("@")
        if not at or not user or ":" in user:
            raise ValueError(
                "with password_file, the URL must contain a user and no password: postgresql://user@host/name"
            )
        try:
            password = self.password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise ValueError(f"password_file: {self.password_file} cannot be read: {reason}") from None
        if not password:
            raise ValueError(f"password_file: {self.password_file} is empty")
        object.__setattr__(self, "url", f"{scheme}://{user}:{quote(password, safe='')}@{host}")
        return self


class TimeSettings(BaseModel):
    """How event time is divided into buckets, and how long it waits for late stories. Write a duration as a text such
    as "90s", "5m", "6h" or "2d", or as a number of seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    bucket: Duration = parse_duration("5m")
    """Length of a bucket, which is the step of every series. It must divide an hour evenly, such as 1m, 5m or 15m."""
    lateness: Duration = parse_duration("2m")
    """How long a bucket waits for stories that arrive out of order."""
    max_staleness: Duration = parse_duration("6h")
    """A story that comes later than this is stored, but has no weight: a backfill is not news."""
    stall_after: Duration = parse_duration("3h")
    """If the whole feed brings no story for this long, event time stops until the next story."""
    silent_after: Duration = parse_duration("10m")
    """If an RSS feed or a Kafka partition does not answer for this long while another source does, event time goes on
    without it. What it brings later counts when it becomes known."""
    max_ahead: Duration = parse_duration("2m")
    """A story dated further ahead of the clock than this does not move event time. This concerns live feeds only."""
    assume_zone: str | dict[str, str] | None = None
    """Time zone of dates without one: one for all sources ("America/New_York"), or one for each source
    ({ Reuters = "Europe/London" }). If it is not set, records with such dates become dead letters."""

    @field_validator("bucket")
    @classmethod
    def _divides_an_hour(cls, value: int) -> int:
        if value < SECOND or HOUR % value:  # detectors count by the hour
            raise ValueError(
                "a bucket must divide an hour evenly and last at least a second, such as 1m, 5m or 15m; "
                f"{format_duration(value)} does not"
            )
        return value

    @field_validator("silent_after")
    @classmethod
    def _leaves_time_to_answer(cls, value: int) -> int:
        if value < 120 * SECOND:
            raise ValueError("must be 2m or more: a source that is at its end is noted every 30 seconds")
        return value

    @field_validator("stall_after")
    @classmethod
    def _is_positive(cls, value: int) -> int:
        if value <= 0:
            raise ValueError("must be longer than 0")
        return value

    @field_validator("assume_zone")
    @classmethod
    def _zones_exist(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        for name in value.values() if isinstance(value, dict) else [value] if value else []:
            zone(name)
        return value or None


def _budget(value: object) -> str:
    parse_budget(value)
    return " ".join(str(value).split())


def _expected(value: object) -> str:
    parse_expected(value)
    return " ".join(str(value).split())


class AlertShares(BaseModel):
    """How the budget of false alarms is divided. If the shares sum to less than 1, the rest is not spent. A share of 0
    turns a kind of alert off."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    bad_news: float = Field(default=0.7, ge=0, le=1)
    """For negativity spikes, and drift for the worse."""
    better: float = Field(default=0.1, ge=0, le=1)
    """For drift for the better."""
    volume: float = Field(default=0.1, ge=0, le=1)
    """For far more stories than usual."""
    silence: float = Field(default=0.1, ge=0, le=1)
    """For a time without stories that is far longer than usual."""

    @model_validator(mode="after")
    def _are_parts_of_one(self) -> AlertShares:
        total = self.bad_news + self.better + self.volume + self.silence
        if not 0 < total <= 1 + 1e-9:
            raise ValueError(f"the shares come to {total:.4g}: their sum must be more than 0 and at most 1")
        return self


class AlertSettings(BaseModel):
    """How many false alarms you accept. Nothing else needs tuning."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    false_alarms: Annotated[str, BeforeValidator(_budget)] = "1 per week"
    """The number of alerts that chance alone may raise, for the whole desk ("1 per week") or for each topic
    ("1 per topic per 90 days")."""
    critical_stories: Annotated[str, BeforeValidator(_expected)] = CRITICAL_STORIES
    """How many critical stories you expect, for the whole desk. None is held back: *Health*, `alerts list` and `doctor`
    show their number beside this one."""
    shares: AlertShares = AlertShares()
    """How the budget is divided among bad_news, better, volume and silence. 0 turns a kind off."""
    new_names: float = Field(default=0.0, ge=0, le=0.5)
    """The part of false_alarms for surges of bad news on names that no topic has; 0.1 is a good one. The shares divide
    the rest. 0 turns them off, which is the default: on small feeds they fire more often than this allows."""


class LimitSettings(BaseModel):
    """How many topics a feed may make, so that nobody who writes one can exhaust the store. Your own topics (rules,
    watchlist, built-in) are never too many. What is beyond a limit counts in the series `_other`; *Health* and a metric
    report it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    topics: int = Field(default=TOPICS, ge=0, le=1_000_000)
    """Topics of feeds' own in the store, first come, first served. A busy topic takes about 30 kB of memory."""
    topics_per_source: int = Field(default=TOPICS_PER_SOURCE, ge=0, le=1_000_000)
    """How many of these one source may bring."""
    topics_per_story: int = Field(default=TOPICS_PER_STORY, ge=0, le=1_000)
    """How many topics of its own one story may have: the first ones."""
    tickers_per_story: int = Field(default=100, ge=0, le=1_000)
    """How many tickers of a story are stored: the first ones. All are matched with your rules."""
    source_bytes: int = Field(default=200, ge=1, le=1_000)
    """The longest name of a source. A record with a longer one becomes a dead letter."""


class SourceSettings(BaseModel):
    """How much you trust a source. One table for each source that is not trusted like the others."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, use_attribute_docstrings=True)

    name: str = Field(min_length=1, max_length=1_000)
    """The source, as its stories name it."""
    weight: float = Field(default=1.0, ge=0, le=1)
    """What an event of this source counts beside another's. 0 mutes it: its stories are stored and shown, and weigh
    nothing."""


class WatchlistSettings(BaseModel):
    """Topics that Foreshock or a CSV file defines, so that you need not write a rule for each."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    defaults: bool = True
    """Watch the themes and large companies that come with Foreshock."""
    file: Path | None = None
    """A CSV file with your own companies: columns name, tickers, names, case_sensitive, require, exclude, language,
    weight, company, tags. A relative path starts at the folder of the settings file."""

    @cached_property
    def rules(self) -> tuple[TopicRule, ...]:
        """The rules of the file, read once: rules that could be used stay, whatever the file becomes meanwhile.

        Raises `WatchlistError` for a file that cannot be read.
        """
        return () if self.file is None else tuple(load_watchlist(self.file))
