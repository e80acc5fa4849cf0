"""Examine a feed file without scoring it (`foreshock check FILE`): run this first on a file that you do not know.

It reads every record once, as a replay would, and reports what becomes of them. Where the columns have other names, it
guesses a `--map` and continues with that.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from foreshock.analysis.date_check import date_advice
from foreshock.analysis.encoding_guess import guess_encoding
from foreshock.analysis.feed_tally import UNSORTED_FROM, Tally
from foreshock.analysis.reading_guess import Reading, guess, reading_options
from foreshock.analysis.ticker_check import ticker_advice, ticker_words
from foreshock.ingest.dates import END_OF_SEVENTIES, EPOCH, FORMS
from foreshock.ingest.errors import REASONS, UnreadableFile
from foreshock.ingest.fields import NAME_LIMIT
from foreshock.ingest.formats import open_format
from foreshock.ingest.parsing import ParseRules
from foreshock.monitor.watermark import TimeRules

TEXTS_PER_SECOND = 100.0
"""Assumed speed of the scorer where it was not measured: headlines on two CPU cores, rounded down."""
SCORED_PER_SECOND = 5000.0
"""Stories a second, where they carry their scores."""
DEFAULT_TIME = TimeRules()


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The dead letters with one reason, and the first of them."""

    count: int
    record: int
    detail: str
    start: str
    """The first characters of that record."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a feed file holds, and the replay to run."""

    path: str
    format: str
    """`jsonl`, `json` (an array or a reply), `csv`, `parquet` or `xlsx`."""
    columns: tuple[str, ...]
    missing: tuple[str, ...]
    """What the file lacks to be a feed, under the given mapping."""
    mapping: dict[str, str]
    """Field -> column, for all figures here: the given mapping, or a guess where something was missing."""
    preset: str | None
    """The preset (`--as`) in the mapping, as asked or as guessed."""
    encoding: str | None
    """The encoding of the text for all figures here, if it is not UTF-8: as asked, or as guessed."""
    date_format: str | None
    """The form of dates for all figures here: as asked, or as guessed from dates that could not be read without."""
    date_only: bool
    """Whether times of exactly 00:00:00 were taken as days, for all figures here: as asked, or as all of them are."""
    records: int
    stories: int
    dead_letters: dict[str, DeadLetters]
    dates: dict[str, dict[str, int]]
    """Source -> form (`dates.FORMS`) -> records."""
    tickers: int
    """Tickers whose notation was understood."""
    unknown_tickers: dict[str, int]
    """Those that were not, in capitals, with their number: at most 10,000."""
    order: str
    """`oldest first`, `nearly oldest first`, `newest first`, `unordered`; `none` for fewer than two times."""
    late: int
    stale: int
    duplicates: int
    """Same id, same content."""
    revisions: int
    """Same id, other content."""
    scored: int
    """Stories that carry their scores."""
    first: str | None
    last: str | None
    """First and last event time, ISO 8601."""
    seconds: float
    """Estimated duration of a replay at `texts_per_second`."""
    texts_per_second: float
    broken: str | None
    """Why reading stopped before the end of the file; None if it did not."""
    advice: tuple[str, ...]
    command: str | None
    """The replay to run; None if the file is broken or holds no story."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """Return the report for a terminal."""
        total = Counter[str]()
        for forms in self.dates.values():
            total.update(forms)
        lines = [
            f"{self.path}: {self.format}, {self.records:,} records, {self.stories:,} stories",
            f"columns      {', '.join(self.columns) or 'none'}",
            f"time         {self.first} to {self.last}" if self.first else "time         no date could be read",
            f"order        {self.order}; {self.late:,} late, {self.stale:,} of them stale (in the order of the file)",
            f"repeats      {self.duplicates:,} with the same content, {self.revisions:,} with other content",
            f"dates        {_counts(total)}",
        ]
        if self.tickers or self.unknown_tickers:
            lines.append(f"tickers      {ticker_words(self.tickers, self.unknown_tickers)}")
        if len(self.dates) > 1:
            shown = sorted(self.dates.items(), key=lambda item: (-sum(item[1].values()), item[0]))
            lines += [f"  {source or '(no source)'}: {_counts(forms)}" for source, forms in shown[:20]]
            lines += [f"  and {len(shown) - 20:,} more sources"] if len(shown) > 20 else []
        lines.append(f"dead letters {sum(letters.count for letters in self.dead_letters.values()):,}")
        for reason, letters in self.dead_letters.items():
            lines.append(
                f"  {letters.count:,} {reason}: {REASONS[reason]} First: record {letters.record}: {letters.detail}"
            )
            lines.append(f"    {letters.start}")
        lines.append(
            f"a replay     about {timedelta(seconds=round(self.seconds))} at {self.texts_per_second:g} texts a second"
        )
        if self.broken:
            lines.append(f"BROKEN       {self.broken}")
        for part in (self.advice, [self.command] if self.command else []):
            lines += ["", *part] if part else []
        return "\n".join(lines)


def check(
    path: Path | str,
    rules: ParseRules,
    *,
    latest: int | None = None,
    time: TimeRules = DEFAULT_TIME,
    config: Path | None = None,
    preset: str | None = None,
    texts_per_second: float = TEXTS_PER_SECOND,
) -> CheckReport:
    """Read the file once (the first 1,000 records twice) and report what it holds.

    `latest`: the largest event time allowed, as in `FileFeed`. `time`: when a story is late or stale. `config`: the
    settings file that the recommended replay names. `preset`: the preset that the rules' mapping came from.

    Raises:
        MissingFile: there is no such file.
        UnreadableFile: the file cannot be opened. One that breaks off later is reported as `broken` instead.
    """
    path = Path(path)
    encoding = guess_encoding(path) if rules.encoding is None else None
    if encoding is not None:
        rules = replace(rules, encoding=encoding.encoding)
    file = open_format(path, rules.encoding)
    reading = guess(file, rules, preset)
    rules = reading.rules
    tally = Tally(rules, latest, time)
    broken = None
    try:
        for record in file.records():
            tally.add(record)
    except UnreadableFile as error:
        broken = str(error)
    late_share = tally.late / max(tally.timed, 1)
    to_encode = tally.stories - tally.scored - tally.duplicates
    seconds = max(to_encode, 0) / texts_per_second + tally.records / SCORED_PER_SECOND
    return CheckReport(
        path=str(path),
        format=file.name,
        columns=reading.columns,
        missing=reading.missing,
        mapping=dict(rules.mapping),
        preset=reading.preset,
        encoding=rules.encoding,
        date_format=rules.date_format,
        date_only=rules.date_only,
        records=tally.records,
        stories=tally.stories,
        dead_letters={
            reason: DeadLetters(
                tally.died[reason], first.offset, first.detail, first.raw[:200].decode("utf-8", "replace")
            )
            for reason, first in tally.first_dead.items()
        },
        dates={
            source: {form: counts[form] for form in FORMS if counts[form]}
            for source, counts in tally.dates.forms.items()
        },
        tickers=tally.tickers.understood,
        unknown_tickers=dict(tally.tickers.unknown.most_common()),
        order=tally.order(late_share),
        late=tally.late,
        stale=tally.stale,
        duplicates=tally.duplicates,
        revisions=tally.revisions,
        scored=tally.scored,
        first=_iso(tally.earliest),
        last=_iso(tally.newest),
        seconds=round(seconds, 1),
        texts_per_second=texts_per_second,
        broken=broken,
        advice=(*([encoding.reason] if encoding else []), *_advice(tally, reading, late_share)),
        command=None
        if broken or not tally.stories or (tally.newest or 0) < END_OF_SEVENTIES
        else _command(path, reading, config, sort=late_share > UNSORTED_FROM),
    )


def _advice(tally: Tally, reading: Reading, late_share: float) -> list[str]:
    advice = list(reading.notes)
    for name, count in tally.unusable.items():
        advice.append(
            f"The field {name} cannot be used in {count:,} of {tally.stories:,} stories: it is an object, a list of "
            f"objects, or longer than {NAME_LIMIT:,} bytes. It is kept in extra. --map takes paths into objects, such "
            "as source=source.name or tickers=symbols[].symbol."
        )
    zoneless = sorted(source for source, forms in tally.dates.forms.items() if forms["without zone"])
    if without := tally.died["date_without_zone"]:
        of = ", ".join(source or "(no source)" for source in zoneless[:5]) + (", ..." if len(zoneless) > 5 else "")
        advice.append(
            f"{without:,} {'date has' if without == 1 else 'dates have'} a time but no zone: dead letters (sources: "
            f'{of}). Set assume_zone in [time], for all sources ("America/New_York") or by source. Order and range '
            "above assume UTC."
        )
    days = sum(forms["bare day"] for forms in tally.dates.forms.values())
    if days:
        advice.append(
            f"{days:,} {'date is a bare day' if days == 1 else 'dates are bare days'}. Such stories count at the end "
            "of the day, and only in windows of a day or more."
        )
    advice += ticker_advice(tally.tickers)
    advice += date_advice(tally.dates, tally.newest, date_only=reading.rules.date_only)
    if tally.records and not tally.stories:
        advice.append("No record can become a story, so there is nothing to replay.")
    if late_share > UNSORTED_FROM:
        advice.append(f"{late_share:.0%} would come late in the order of the file. --sort orders them by event time.")
    return advice


def _command(path: Path, reading: Reading, config: Path | None, *, sort: bool) -> str:
    words = ["foreshock", "replay", str(path), *reading_options(reading)]
    if config is not None:
        words += ["--config", str(config)]
    return shlex.join([*words, *(["--sort"] if sort else [])])


def _counts(forms: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {form}" for form, count in forms.items()) or "none"


def _iso(time: int | None) -> str | None:
    # As `store.times.iso_or_none`, which would import SQLAlchemy for a command that opens no store.
    if time is None:
        return None
    when: datetime = EPOCH + timedelta(microseconds=time)
    return when.isoformat().replace("+00:00", "Z")
