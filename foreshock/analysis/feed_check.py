"""What a feed file is like, without encoding it: what a user with a strange file runs first (`foreshock check FILE`).

It reads every record once as a replay would, and says what would become of them; where the columns have other names, it
guesses a `--map` and goes on with that. Memory: 16 bytes a record, for repeats, and their overhead.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from foreshock.ingest.columns import missing_fields, suggest_map
from foreshock.ingest.dates import EPOCH, FORMS, date_form
from foreshock.ingest.errors import REASONS, BadRecord, UnreadableFile
from foreshock.ingest.formats import Format, RawRecord, open_format
from foreshock.ingest.parsing import ParseRules, decode, field_of, parse
from foreshock.ingest.story import DeadLetter, Story

TEXTS_PER_SECOND = 100.0
"""Assumed speed of the scorer where none was measured: headlines on two CPU cores, rounded down."""
SCORED_PER_SECOND = 5000.0
"""Stories a second that need no encoding."""
LATENESS = 120 * 1_000_000
"""As the settings have it, where they say nothing else (microseconds); so the next."""
MAX_STALENESS = 6 * 3600 * 1_000_000
_UNSORTED_FROM = 0.01
_SOURCES_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Those of one reason, with the first one."""

    count: int
    record: int
    detail: str
    start: str
    """The first characters of the first one."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    path: str
    format: str
    """`jsonl`, `csv` or `parquet`."""
    columns: tuple[str, ...]
    missing: tuple[str, ...]
    """What the columns, under the given mapping, lack to be a feed."""
    mapping: dict[str, str]
    """Field -> column with which all figures were made: as given, or guessed where something was missing."""
    records: int
    stories: int
    dead_letters: dict[str, DeadLetters]
    dates: dict[str, dict[str, int]]
    """Source -> form (`dates.FORMS`) -> records."""
    order: str
    """`oldest first`, `nearly oldest first`, `newest first`, `unordered`, or `none` with fewer than two times."""
    late: int
    stale: int
    duplicates: int
    """Same id, same content."""
    revisions: int
    """Same id, other content."""
    scored: int
    """Stories that carry scores and need no encoding."""
    first: str | None
    last: str | None
    """Range of event times, ISO 8601."""
    seconds: float
    """A replay, estimated at `texts_per_second`."""
    texts_per_second: float
    broken: str | None
    """Why reading stopped before the file's end, if it did."""
    advice: tuple[str, ...]
    command: str | None
    """The replay to run; None where the file is broken, or nothing in it can be a story."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """The report for a terminal."""
        total = Counter[str]()
        for forms in self.dates.values():
            total.update(forms)
        lines = [
            f"{self.path}: {self.format}, {self.records:,} records, {self.stories:,} stories",
            f"columns      {', '.join(self.columns) or 'none'}",
            f"time         {self.first} to {self.last}" if self.first else "time         no date could be read",
            f"order        {self.order}; {self.late:,} late, of which {self.stale:,} stale (in the file's own order)",
            f"repeats      {self.duplicates:,} with the same content, {self.revisions:,} with other content",
            f"dates        {_counts(total)}",
        ]
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
    lateness: int = LATENESS,
    max_staleness: int = MAX_STALENESS,
    config: Path | None = None,
    texts_per_second: float = TEXTS_PER_SECOND,
) -> CheckReport:
    """Reads the file once (JSON lines: the first 1,000 records twice). `latest` as in `FileFeed`; `lateness` and
    `max_staleness` in microseconds; `config`: the settings file that these are of, which the replay is to have, too.

    Raises `MissingFile`, and `UnreadableFile` if it cannot be opened; of one that breaks off, says so.
    """
    path = Path(path)
    file = open_format(path)
    columns = file.columns if file.columns is not None else _columns_of(file)
    missing = missing_fields(columns, rules.mapping)
    if missing:
        rules = replace(rules, mapping=suggest_map(columns, rules.mapping))
    tally = _Tally(rules, latest, lateness, max_staleness)
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
        columns=columns,
        missing=tuple(missing),
        mapping=dict(rules.mapping),
        records=tally.records,
        stories=tally.stories,
        dead_letters={
            reason: DeadLetters(
                tally.died[reason], first.offset, first.detail, first.raw[:200].decode("utf-8", "replace")
            )
            for reason, first in tally.first_dead.items()
        },
        dates={
            source: {form: counts[form] for form in FORMS if counts[form]} for source, counts in tally.dates.items()
        },
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
        advice=tuple(_advice(tally, missing, columns, rules, late_share)),
        command=None
        if broken or not tally.stories
        else _command(path, rules.mapping, config, sort=late_share > _UNSORTED_FROM),
    )


class _Tally:
    """What is counted while the records go by."""

    def __init__(self, rules: ParseRules, latest: int | None, lateness: int, max_staleness: int) -> None:
        self._rules = rules
        self._latest = latest
        self._lateness = lateness
        self._max_staleness = max_staleness
        # Order and repeats are of interest also where the dates are dead letters only for want of a zone.
        self._in_any_zone = replace(rules, zone=rules.zone or UTC)
        self._ids: set[int] = set()
        self._contents: set[int] = set()
        self._largest: list[tuple[int, str]] = []
        self._watermark: int | None = None
        self._before: int | None = None
        self._rising = self._falling = 0
        self.records = self.stories = self.scored = self.timed = self.late = self.stale = 0
        self.duplicates = self.revisions = 0
        self.earliest: int | None = None
        self.newest: int | None = None
        self.died: Counter[str] = Counter()
        self.first_dead: dict[str, DeadLetter] = {}
        self.dates: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, record: RawRecord) -> None:
        number = self.records
        self.records += 1
        if record.flaw is not None:
            self._dead(DeadLetter("", number, *record.flaw, record.data, record.size))
            return
        self._count_date(record.data)
        item = parse(record.data, "", number, self._rules, self._latest)
        if isinstance(item, DeadLetter):
            self._dead(item)
            if item.reason != "date_without_zone":
                return
            item = parse(record.data, "", number, self._in_any_zone, self._latest)
            if isinstance(item, DeadLetter):
                return
        else:
            self.stories += 1
            self.scored += item.scores is not None
        self._count_time(item)
        self._count_repeat(item)

    def order(self, late_share: float) -> str:
        if not self._rising and not self._falling:
            return "none" if self.timed < 2 else "oldest first"
        if not self._falling:
            return "oldest first"
        if self._falling > 9 * self._rising:
            return "newest first"
        return "unordered" if late_share > _UNSORTED_FROM else "nearly oldest first"

    def _dead(self, letter: DeadLetter) -> None:
        self.died[letter.reason] += 1
        self.first_dead.setdefault(letter.reason, letter)

    def _count_date(self, data: bytes) -> None:
        try:
            fields = decode(data)
        except BadRecord:
            return
        source = str(field_of(fields, "source", self._rules) or "").strip()
        if source not in self.dates and len(self.dates) >= _SOURCES_SHOWN:
            source = "(other)"
        self.dates[source][date_form(field_of(fields, "published_at", self._rules))] += 1

    def _count_time(self, story: Story) -> None:
        """DESIGN's rules of the watermark and of when a story counts, for one partition that nothing joins."""
        time = story.published_at
        self.timed += 1
        self.earliest = time if self.earliest is None else min(time, self.earliest)
        self.newest = time if self.newest is None else max(time, self.newest)
        if self._before is not None:
            self._rising += time > self._before
            self._falling += time < self._before
        self._before = time
        if self._watermark is not None and time < self._watermark:
            self.late += 1
            self.stale += self._watermark - time > self._max_staleness
        if len(self._largest) == 3 and time < self._largest[2][0]:
            return
        others = [(t, i) for t, i in self._largest if i != story.id]
        own = max([time, *(t for t, i in self._largest if i == story.id)])
        self._largest = sorted([*others, (own, story.id)], reverse=True)[:3]
        if len(self._largest) == 3:
            self._watermark = max(self._largest[2][0] - self._lateness, self._watermark or 0)

    def _count_repeat(self, story: Story) -> None:
        identity, content = hash(story.id), hash((story.id, story.content))
        if content in self._contents:
            self.duplicates += 1
        elif identity in self._ids:
            self.revisions += 1
        self._ids.add(identity)
        self._contents.add(content)


def _columns_of(file: Format) -> tuple[str, ...]:
    """Of JSON lines: the keys of the first 1,000 records, in order of appearance."""
    names: dict[str, None] = {}
    try:
        for record in islice(file.records(), 1000):
            try:
                names.update(dict.fromkeys(decode(record.data)))
            except BadRecord:
                continue
    except UnreadableFile:
        pass  # said by the reading itself
    return tuple(names)


def _advice(
    tally: _Tally, missing: list[str], columns: tuple[str, ...], rules: ParseRules, late_share: float
) -> list[str]:
    advice = []
    bad = tally.first_dead.get("bad_json") or tally.first_dead.get("not_an_object")
    if bad is not None and bad.offset == 0 and bad.raw.lstrip().startswith(b"["):
        advice.append("The file is one JSON array. A feed file holds an object a line: jq -c '.[]' makes one of it.")
    if missing:
        advice.append(f"There is no {' and no '.join(missing)}.")
        left = missing_fields(columns, rules.mapping)
        if left:
            advice.append("No column looks like it: say which one it is with --map, for example --map title=Headline.")
        elif rules.mapping:
            guess = ", ".join(f"{field} from {column}" for field, column in rules.mapping.items())
            advice.append(f"Everything here takes {guess}. Check that this is meant.")
    zoneless = sorted(source for source, forms in tally.dates.items() if forms["without zone"])
    if tally.died["date_without_zone"]:
        of = ", ".join(source or "(no source)" for source in zoneless[:5]) + (", ..." if len(zoneless) > 5 else "")
        advice.append(
            f"{tally.died['date_without_zone']:,} dates have a time but no zone: dead letters (sources: {of}). "
            'Set assume_zone in [time], for all ("America/New_York") or by source; order and range above take UTC.'
        )
    days = sum(forms["bare day"] for forms in tally.dates.values())
    if days:
        advice.append(
            f"{days:,} dates are bare days: they count at the day's end and enter no window shorter than a day."
        )
    if tally.records and not tally.stories:
        advice.append("No record can be a story as it is: there is nothing to replay.")
    if late_share > _UNSORTED_FROM:
        advice.append(f"{late_share:.0%} would come late in the file's own order: --sort orders it by time first.")
    return advice


def _command(path: Path, mapping: Mapping[str, str], config: Path | None, *, sort: bool) -> str:
    words = ["foreshock", "replay", str(path)]
    if mapping:
        words += ["--map", ",".join(f"{field}={column}" for field, column in mapping.items())]
    if config is not None:
        words += ["--config", str(config)]
    return shlex.join([*words, *(["--sort"] if sort else [])])


def _counts(forms: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {form}" for form, count in forms.items()) or "none"


def _iso(time: int | None) -> str | None:
    if time is None:
        return None
    when: datetime = EPOCH + timedelta(microseconds=time)
    return when.isoformat().replace("+00:00", "Z")
