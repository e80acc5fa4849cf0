"""Find the value that a mapping names in a record: a column, a path into objects and lists, or the first of several.

    Headline                a column
    source.name             a field of an object
    symbols[].symbol        a field of each object in a list: a list of values
    authors[0]              one entry of a list
    dateTimePub|dateTime    the first that has a value; with a `|` at the end, a file need not have any
    company+form            texts, joined by a space

A column whose own name has such signs is found by that name. Text that holds an object or a list, as pandas writes it
into a CSV (`{'id': None, 'name': 'Quay Times'}`), counts as that object or list.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from foreshock.ingest.errors import BadRecord
from foreshock.ingest.json_records import mended

_LONGEST = 1 << 16
"""Characters of text that are read as an object. Python's parser needs much memory for more."""
_STEP = re.compile(r"([^.\[\]]+)|\[([0-9]{0,6})\]|\.")
_Steps = tuple[str | int | None, ...]
"""Names, places in a list, and None for all entries of a list."""


def value_at(record: Mapping[str, Any], column: str) -> tuple[Any, str | None]:
    """Return the value of a column, and its key if it is a key of the record and not a path."""
    if column in record:
        return record[column], column
    parts = _parts(column)
    if len(parts) > 1:
        found = [_first(record, part)[0] for part in parts]
        texts = [str(value).strip() for value in found if type(value) in (str, int, float)]
        return " ".join(filter(None, texts)) or None, None
    return _first(record, parts[0])


def roots(column: str) -> list[list[str]]:
    """Return the record's keys that a column needs: of each list one, or none if it is empty.

    >>> roots("dateTimePub|dateTime"), roots("symbols[].symbol"), roots("url|")
    ([['dateTimePub', 'dateTime']], [['symbols']], [[]])
    """
    found = []
    for alternatives in _parts(column):
        names = [] if any(not steps for _, steps in alternatives) else [str(steps[0]) for _, steps in alternatives]
        found.append(names)
    return found


def as_object(value: Any) -> Any:
    """Return the object or list that a text holds, as JSON or as Python writes it; any other value unchanged.

    What is read from the text is mended as the record was (`json_records.mended`): NUL may be written in it again.
    """
    if type(value) is not str or value[:1] not in {"{", "["} or len(value) > _LONGEST:
        return value
    clean = "\\u0000" not in value
    try:
        read = orjson.loads(value)
    except orjson.JSONDecodeError:
        clean = False
        try:
            read = ast.literal_eval(value)
            orjson.dumps(read)  # only what JSON has: no bytes, no sets
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return value
        if not isinstance(read, dict | list):
            return value
    try:
        return read if clean else mended(read)
    except BadRecord:  # it is nested too deeply
        return value


def _first(record: Mapping[str, Any], alternatives: tuple[tuple[str, _Steps], ...]) -> tuple[Any, str | None]:
    for name, steps in alternatives:
        if not steps:  # nothing between two `|`, or behind the last
            continue
        value, key = (record[name], name) if name in record else (_follow(record, steps), None)
        # Of several, an object is none: `source.name|source` reads both forms of a source.
        if value not in (None, "", []) and (len(alternatives) == 1 or not isinstance(value, dict)):
            return value, key
    return None, None


def _follow(value: Any, steps: _Steps) -> Any:
    for number, step in enumerate(steps):
        value = as_object(value)
        if step is None:
            entries = value if isinstance(value, list) else [value]
            found = [_follow(entry, steps[number + 1 :]) for entry in entries]
            flat: list[Any] = []
            for one in found:
                flat += one if isinstance(one, list) else [] if one is None else [one]
            return flat
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


@lru_cache(maxsize=1024)
def _parts(column: str) -> tuple[tuple[tuple[str, _Steps], ...], ...]:
    """Return the texts that a column joins, each with its alternatives."""
    return tuple(tuple((name.strip(), _steps(name.strip())) for name in part.split("|")) for part in column.split("+"))


def _steps(path: str) -> _Steps:
    steps: list[str | int | None] = []
    for match in _STEP.finditer(path):
        if match[1] is not None:
            steps.append(match[1])
        elif match[2] is not None:
            steps.append(int(match[2]) if match[2] else None)
    return tuple(steps)
