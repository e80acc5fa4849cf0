"""Define topics: rules of tickers, names and the words around them, from the settings, a CSV or the defaults.

A watchlist CSV has the columns of a `[[topics]]` table. Only `name` is required. Lists in a cell are separated by `|`
or `;`. `matching.py` applies the rules.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from foreshock.monitor.topics.normalise import words
from foreshock.monitor.units import ALL, OTHER, is_new

_HERE = Path(__file__).parent
_LISTS = ("tickers", "names", "require", "exclude", "weak", "support", "avoid")
"""The fields whose entries are looked for in texts."""
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


class WatchlistError(ValueError):
    """A watchlist cannot be read. The text names the file, the line and what to do."""

    exit_code = 2


class TopicRule(BaseModel):
    """One topic. A story belongs to it by a ticker or cashtag, or by one of its names.

    `require` and `exclude` restrict the names alone: a ticker is not ambiguous. They are compared without case.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, use_attribute_docstrings=True)

    name: str
    tickers: list[str] = []
    """In any notation that a feed may have: `AAPL`, `VOD.L`, `NASDAQ:AAPL`, `VOD LN Equity`."""
    names: list[str] = []
    """Names and aliases. A legal suffix (`Inc.`, `AG`, `plc`) may stand here and in the text, or not. So `News Corp`
    matches every *news*: a name that is an ordinary word without its suffix needs `require = ["News Corp"]`."""
    case_sensitive: bool = False
    """The names match only as they are written here; a headline in capitals needs the name in capitals too."""
    require: list[str] = []
    """If any are given, at least one of these words or phrases must be in the story too."""
    exclude: list[str] = []
    """A name does not count where it overlaps one of these phrases: `Target` in "target price"."""
    weak: list[str] = []
    """Names that also mean something else. One counts only if the words around it show a company (`context`), or if a
    word of `support` or a second weak name is in the story too."""
    context: Literal["word", "name", "letters", "usual", "market", "theme"] | None = None
    """What a weak name also is: an ordinary `word` (Target), another `name` of a person or place (Ford), or `letters`
    (BP). It then counts beside words such as shares, profit or chief executive. `usual` counts unless the words around
    speak of a person or place. A weak name is matched as it is written here, in headlines in capitals, and in texts
    without capitals. `market` is for themes: a word such as gold counts, in any case, in a sentence with words such as
    price, exports or investors. `theme` counts unless the sentence is of sport, arts or crime."""
    support: list[str] = []
    """Words and phrases that show that a weak name means the topic: its products and people."""
    avoid: list[str] = []
    """Words and phrases that show that a weak name means something else: `orchards` for Apple."""
    language: str | None = None
    """If given, only stories in this language (`en`; `en` takes `en-GB` too)."""
    weight: float = Field(default=1.0, ge=0.01, le=100)
    """How many times another topic's part of the false-alarm budget it has: 4 for one that matters more."""
    company: bool | None = None
    """Whether the topic is a company. A text that names two or more companies is scored once for each of them. If
    nothing is set, a topic with `tickers` is one, unless its `context` is `market` or `theme`."""
    tags: list[str] = []
    """What routes may ask for and *Now* filters by, such as `banks`. Tags change no story and no alert."""

    @property
    def is_company(self) -> bool:
        """Whether a text that names the topic can be good or bad for it in particular."""
        if self.company is not None:
            return self.company
        return bool(self.tickers) and self.context not in ("market", "theme")

    @field_validator("name")
    @classmethod
    def _may_be_used(cls, name: str) -> str:
        if not name:
            raise ValueError("a topic needs a name")
        if name in (ALL, OTHER) or is_new(name):
            raise ValueError(f"{name} is the name of a series that Foreshock makes; give the topic another name")
        return name

    @field_validator("tickers")
    @classmethod
    def _as_compared(cls, tickers: list[str]) -> list[str]:
        return [ticker.removeprefix("$").upper() for ticker in tickers]

    @field_validator("language")
    @classmethod
    def _lower(cls, language: str | None) -> str | None:
        return language.lower() if language else None

    @model_validator(mode="after")
    def _can_match(self) -> TopicRule:
        if not self.tickers and not self.names and not self.weak:
            raise ValueError("a topic needs at least one of tickers and names; without them it matches nothing")
        if not self.weak and (self.context or self.support or self.avoid):
            raise ValueError("context, support and avoid restrict weak names; write the ambiguous names in weak")
        if self.weak and not self.context and not self.support and len(self.weak) < 2:
            raise ValueError("a weak name needs a context, or words of support; without them it can never count")
        for field in _LISTS:
            for entry in getattr(self, field):
                if not words(entry):
                    raise ValueError(f"{field} has the entry {entry!r}, which contains neither a letter nor a digit")
        return self


def default_rules() -> list[TopicRule]:
    """Return the market themes that Foreshock follows by default (`defaults.toml`), in English."""
    return list(_default_rules())


def default_watchlist() -> list[TopicRule]:
    """Return the large companies that Foreshock follows by default (`watchlist.csv`)."""
    return list(_default_watchlist())


@cache
def _default_rules() -> tuple[TopicRule, ...]:
    tables = tomllib.loads((_HERE / "defaults.toml").read_text("utf-8"))["topics"]
    return tuple(TopicRule.model_validate(table) for table in tables)


@cache
def _default_watchlist() -> tuple[TopicRule, ...]:
    return tuple(load_watchlist(_HERE / "watchlist.csv"))


def check_distinct(rules: Sequence[TopicRule]) -> None:
    """Raise `ValueError` with the name of the first topic that two rules define."""
    seen: set[str] = set()
    for rule in rules:
        if rule.name in seen:
            raise ValueError(f"two topics are called {rule.name!r}; give one of them another name, or join their rules")
        seen.add(rule.name)


def load_watchlist(path: str | Path) -> list[TopicRule]:
    """Return the rules of a UTF-8 CSV file with a header, in the file's order.

    Raises:
        WatchlistError: the file is missing, has an unknown column or value, or has a name twice.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise WatchlistError(f"{path}: no such file; set [watchlist] file to a CSV that exists") from None
    except OSError as error:
        raise WatchlistError(f"{path}: cannot be read ({error.strerror}); set [watchlist] file to another") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise WatchlistError(f"{path}, line {line}: is not UTF-8; save the file as UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rules: list[TopicRule] = []
    lines: dict[str, int] = {}
    try:
        _check_columns(path, reader.fieldnames or [])
        for row in reader:
            if not any(isinstance(cell, str) and cell.strip() for cell in row.values()):
                continue
            rule = _rule(path, reader.line_num, row)
            if rule.name in lines:
                raise WatchlistError(
                    f"{path}, line {reader.line_num}: the topic {rule.name!r} is already in line {lines[rule.name]}; "
                    "join the two lines or rename one"
                )
            lines[rule.name] = reader.line_num
            rules.append(rule)
    except csv.Error as error:
        said = str(error).partition(" - ")[0]  # without advice to the programmer
        raise WatchlistError(
            f"{path}, line {reader.line_num}: is not CSV ({said}); put cells that hold a comma or a quote in quotes"
        ) from None
    return rules


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    known = list(TopicRule.model_fields)
    for column in columns:
        if column not in known:
            near = difflib.get_close_matches(column, known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise WatchlistError(f"{path}, line 1: unknown column {column!r}; {remedy}")
    if "name" not in columns:
        raise WatchlistError(
            f"{path}, line 1: no column 'name'; the first line must name the columns: {','.join(known)}"
        )
    if len(set(columns)) < len(columns):
        raise WatchlistError(f"{path}, line 1: a column name occurs twice; each may occur only once")


def _rule(path: Path, line: int, row: dict[str | Any, str | Any]) -> TopicRule:
    where = f"{path}, line {line}"
    if None in row:
        raise WatchlistError(f"{where}: more cells than columns; separate lists by | and quote cells with a comma")
    values: dict[str, Any] = {}
    for column, written in row.items():
        cell = (written or "").strip()
        if column in (*_LISTS, "tags"):
            values[column] = [part.strip() for part in re.split(r"[|;]", cell) if part.strip()]
        elif column == "company" and not cell:
            continue
        elif column in ("case_sensitive", "company"):
            if cell.lower() not in _TRUTHS:
                raise WatchlistError(f"{where}: {column} is {cell!r}; write true or false")
            values[column] = _TRUTHS[cell.lower()]
        elif column in ("language", "context"):
            values[column] = cell or None
        elif column == "weight":
            values[column] = cell or 1
        else:
            values[column] = cell
    try:
        return TopicRule.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise WatchlistError(
            f"{where}: {field + ': ' if field else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from None
