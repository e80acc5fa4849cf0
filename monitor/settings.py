"""What a user may set about the store, the time, alerts and the watchlist.

The docstring under a setting is its documentation: `config init` writes it above the setting.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, field_validator, model_validator

from foreshock.ingest.settings import zone
from foreshock.monitor.budget import parse_budget

SECOND = 1_000_000
HOUR, DAY = 3_600 * SECOND, 86_400 * SECOND
UNITS = {"ms": 1_000, "s": SECOND, "m": 60 * SECOND, "h": HOUR, "d": DAY, "w": 7 * DAY}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*")


def parse_duration(value: object) -> int:
    """Microseconds of `"5m"`, `"90s"`, `"1h30m"`, `"2d"`, or of a number of seconds; else ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12:
        return round(value * SECOND)
    if isinstance(value, str):
        text = value.strip().lower()
        if re.fullmatch(r"\d{1,12}(\.\d+)?", text):
            return round(float(text) * SECOND)
        parts = _PART.findall(text)
        if parts and "".join(_PART.split(text)) == "".join(number + unit for number, unit in parts):
            return round(sum(float(number) * UNITS[unit] for number, unit in parts))
    raise ValueError(f"{value!r} is no duration: expected a text such as 90s, 5m, 6h or 2d, or a number of seconds")


def format_duration(microseconds: int) -> str:
    """The shortest text in one unit that `parse_duration` reads back as the same number: `5m`, `90s`, `36h`."""
    for unit in ("d", "h", "m", "s"):
        if microseconds and microseconds % UNITS[unit] == 0:
            return f"{microseconds // UNITS[unit]}{unit}"
    return f"{microseconds / SECOND:.6f}".rstrip("0").rstrip(".") + "s"


Duration = Annotated[int, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
"""Microseconds, written as text such as `5m`."""


class StoreSettings(BaseModel):
    """Where stories, series and alerts are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    url: str = Field(default="sqlite:///foreshock.db", min_length=1, repr=False)
    """A SQLite file, taken from the folder in which a command runs (sqlite:///foreshock.db), or PostgreSQL
    (postgresql://user:password@host/name)."""
    password_file: Path | None = None
    """A file that holds the PostgreSQL password, instead of having it in the URL. A relative path is taken from the
    settings file's folder."""

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        # Never repeat the value: it may hold a password.
        if not re.match(r"(sqlite|postgresql|postgres)(\+\w+)?://", value):
            raise ValueError("a store is named by a URL: sqlite:///FILE.db or postgresql://user:password@host/name")
        return value

    @model_validator(mode="after")
    def _takes_the_password_from_its_file(self) -> StoreSettings:
        if self.password_file is None or self.url.startswith("sqlite"):
            return self
        scheme, _, rest = self.url.partition("://")
        user, at, host = rest.rpartition("@")
        if not at or not user or ":" in user:
            raise ValueError("with password_file the URL names a user and no password: postgresql://user@host/name")
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
    """How event time is cut and how long it waits. Durations are texts such as "90s", "5m", "6h", "2d", or seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    bucket: Duration = parse_duration("5m")
    """Length of a bucket, the step of every series. It must divide an hour."""
    lateness: Duration = parse_duration("2m")
    """How long a bucket waits for stories that arrive out of order."""
    max_staleness: Duration = parse_duration("6h")
    """A story that comes later than this is kept but weighs nothing: a backfill is not news."""
    stall_after: Duration = parse_duration("3h")
    """After this long without any story in the whole feed, time stops until the next one."""
    assume_zone: str | dict[str, str] | None = None
    """Time zone of dates that name none: one for all ("America/New_York"), or one a source
    ({ Reuters = "Europe/London" }). Without it such records are dead letters."""

    @field_validator("bucket")
    @classmethod
    def _divides_an_hour(cls, value: int) -> int:
        if value < SECOND or HOUR % value:  # detectors count by the hour
            raise ValueError(
                f"a bucket must divide an hour and last a second or more; {format_duration(value)} does not"
            )
        return value

    @field_validator("stall_after")
    @classmethod
    def _is_positive(cls, value: int) -> int:
        if value <= 0:
            raise ValueError("must be longer than nothing")
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


class AlertShares(BaseModel):
    """How the budget of false alarms is divided. What they lack of 1 is not spent; a kind with 0 is off."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    bad_news: float = Field(default=0.7, ge=0, le=1)
    """Negativity spikes, and drift for the worse."""
    better: float = Field(default=0.1, ge=0, le=1)
    """Drift for the better."""
    volume: float = Field(default=0.1, ge=0, le=1)
    """Far more stories than usual."""
    silence: float = Field(default=0.1, ge=0, le=1)
    """No stories for far longer than usual."""

    @model_validator(mode="after")
    def _are_parts_of_one(self) -> AlertShares:
        total = self.bad_news + self.better + self.volume + self.silence
        if not 0 < total <= 1 + 1e-9:
            raise ValueError(f"the shares come to {total:.4g}: they are parts of the budget, more than 0 and at most 1")
        return self


class AlertSettings(BaseModel):
    """How many false alarms are accepted. Nothing else need be tuned."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    false_alarms: Annotated[str, BeforeValidator(_budget)] = "1 per week"
    """Of the whole desk ("1 per week"), or of each topic ("1 per topic per 90 days"): what chance alone may raise."""
    shares: AlertShares = AlertShares()
    """How the budget is divided: bad_news, better, volume, silence; 0 turns a kind off."""


class WatchlistSettings(BaseModel):
    """Topics that need no rule of your own."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    defaults: bool = True
    """Follow the themes and large companies that Foreshock brings along."""
    file: Path | None = None
    """A CSV with companies of your own: columns name, tickers, names, case_sensitive, require, exclude, language,
    weight. A relative path is taken from the settings file's folder."""
