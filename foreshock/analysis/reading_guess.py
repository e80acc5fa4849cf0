"""Guess from the first records how a feed file is to be read: for `foreshock check`.

What the caller gave is kept. The rest of the report uses the guess, and the recommended command names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from foreshock.analysis.date_check import all_midnight
from foreshock.analysis.date_format_guess import propose
from foreshock.ingest.columns import NO_HEADER, looks_like_data, missing_fields, suggest_map, suggest_paths
from foreshock.ingest.errors import BadRecord, UnreadableFile
from foreshock.ingest.fields import FIELDS
from foreshock.ingest.formats import Format
from foreshock.ingest.json_records import decode
from foreshock.ingest.parsing import ParseRules, field_of
from foreshock.ingest.presets import PRESETS, recognised
from foreshock.ingest.settings import zone

_RECORDS = 1000
_BYTES = 16 << 20
_COLUMNS = 1000


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is to be read, and what was guessed of that."""

    rules: ParseRules
    columns: tuple[str, ...]
    missing: tuple[str, ...]
    """What the file lacks to be a feed, under the given mapping."""
    preset: str | None
    """The preset in the mapping, as asked or as guessed."""
    notes: tuple[str, ...]
    """Sentences on what was guessed."""


def guess(file: Format, rules: ParseRules, preset: str | None) -> Reading:
    """Return how to read a file. `rules` and `preset`: what the caller gave."""
    sample = list(_sample(file))
    mapping: Mapping[str, str]
    columns = file.columns if file.columns is not None else _columns_of(sample)
    missing = missing_fields(columns, rules.mapping)
    notes = []
    if missing:
        notes.append(f"Missing: {' and '.join(missing)}.")
        if file.columns is not None and looks_like_data(file.columns):
            notes.append(f"{NO_HEADER}, for example title,published_at,source.")
            mapping = rules.mapping
        elif not rules.mapping and (name := recognised(columns)) is not None:
            preset, mapping = name, PRESETS[name].mapping
            notes.append(
                f"The records look like those of {PRESETS[name].service}, so this report uses --as {name}. Check that "
                "this guess is right."
            )
            if PRESETS[name].zone is not None and rules.zone is None and not rules.zones:
                rules = replace(rules, zone=zone(PRESETS[name].zone or ""))
                notes.append(f"Their dates have no zone; --as {name} takes them as {PRESETS[name].zone}.")
        else:
            mapping = suggest_map(columns, rules.mapping)
            if missing_fields(columns, mapping):
                notes.append(
                    "No column has a name like it. Name the column with --map, for example --map title=Headline."
                )
            elif mapping:
                taken = ", ".join(f"{field} from {column}" for field, column in mapping.items())
                notes.append(f"This report takes {taken}. Check that this guess is right.")
        rules = replace(rules, mapping=mapping)
    if preset is None and (paths := suggest_paths(sample, rules.mapping)) != rules.mapping:
        inside = ", ".join(f"{field} from {path}" for field, path in paths.items() if rules.mapping.get(field) != path)
        rules = replace(rules, mapping=paths)
        notes.append(f"Some fields hold objects, so this report takes {inside}.")
    dates = [field_of(fields, "published_at", rules) for fields in sample]
    if rules.date_format is None and (proposal := propose(dates)) is not None:
        rules = replace(rules, date_format=proposal.date_format)
        notes.append(f"{proposal.reason[:1].upper()}{proposal.reason[1:]}.")
        if proposal.date_format is not None:
            notes.append(f"This report uses --date-format {proposal.date_format}. Check that this guess is right.")
    if not rules.date_only and all_midnight(dates, rules.date_format):
        rules = replace(rules, date_only=True)
    return Reading(rules, columns, tuple(missing), preset, tuple(notes))


def reading_options(reading: Reading) -> list[str]:
    """Return the options of `replay` that read a file so."""
    options = []
    given = PRESETS[reading.preset].mapping if reading.preset is not None else {}
    if reading.preset is not None:
        options += ["--as", reading.preset]
    if own := {field: column for field, column in reading.rules.mapping.items() if given.get(field) != column}:
        options += ["--map", ",".join(f"{field}={column}" for field, column in own.items())]
    if reading.rules.encoding is not None:
        options += ["--encoding", reading.rules.encoding]
    if reading.rules.date_format is not None:
        options += ["--date-format", reading.rules.date_format]
    if reading.rules.date_only:
        options.append("--date-only")
    return options


def _columns_of(sample: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the keys in order of appearance, about `_COLUMNS` at most: each record may have others."""
    names: dict[str, None] = {}
    for fields in sample:
        names |= dict.fromkeys(islice(fields, _COLUMNS))
        names |= dict.fromkeys(name for name in FIELDS if name in fields)
        if len(names) > _COLUMNS:
            break
    return tuple(names)


def _sample(file: Format) -> Iterator[dict[str, Any]]:
    """Yield the fields of the first records, as far as they can be read."""
    size = 0
    try:
        for record in islice(file.records(), _RECORDS):
            size += len(record.data)
            with suppress(BadRecord):
                if record.flaw is None:
                    yield decode(record.data)
            if size > _BYTES:
                return
    except UnreadableFile:
        return  # reading the file reports it
