"""Write rows as a table: JSON lines or CSV as elsewhere, Parquet or Arrow with types.

    tables.write(rows, tables.SERIES, tables.choice(format_, out), out)

Rows are written in parts, so a table may be larger than memory. A file appears whole, or not at all.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.cli import output

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
FORMATS = ("json", "csv", "parquet", "arrow")
ROWS_AT_A_TIME = 20_000

Format = Annotated[
    str | None,
    typer.Option("--format", metavar="FORMAT", help=f"{', '.join(FORMATS)}. Default: by the name of --out."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write to this file: .parquet, .arrow, .csv or .jsonl.", dir_okay=False),
]

Columns = Mapping[str, str]
"""Columns of a table, each with its type: text, int, float, bool, time, day, texts, or json (values as JSON text)."""

SERIES: Columns = {
    **{"topic": "text", "start": "time", "end": "time", "known_at": "time", "stories": "int", "events": "int"},
    **dict.fromkeys(("negative", "neutral", "positive", "polarity", "baseline"), "float"),
    **{"alerting": "bool", "filled": "bool", "model": "text"},
}
STORIES: Columns = {
    **{"id": "text", "published_at": "time", "counts_at": "time"},
    **dict.fromkeys(("source", "title", "body", "url"), "text"),
    **{"topics": "texts", "tickers": "texts", "language": "text", "status": "text"},
    **dict.fromkeys(("negative", "neutral", "positive", "severity"), "float"),
    **{"topic_scores": "json", "late": "bool", "stale": "bool", "date_only": "bool", "ending": "text", "copy": "bool"},
    **{"partition": "text", "offset": "int"},
}
ALERTS: Columns = {
    **dict.fromkeys(("id", "topic", "kind", "direction", "state", "origin", "group_id"), "text"),
    **dict.fromkeys(("started_at", "fired_at", "resolved_at"), "time"),
    **{"observed": "float", "baseline": "float", "evidence": "json", "sources": "int", "events": "int"},
    **{"severity": "text", "sentence": "text", "statistic": "float", "threshold": "float"},
    **dict.fromkeys(("word", "inhibited_by", "inhibited_because"), "text"),
}


def choice(format_: str | None, out: Path | None, *, json: bool = False, csv: bool = False) -> str | None:
    """Return the format that the options ask for; None: a table for people."""
    asked = [name for name, wanted in (("json", json), ("csv", csv)) if wanted]
    if format_ is not None:
        if format_ not in FORMATS:
            raise typer.BadParameter(f"{format_!r} is not one of {', '.join(FORMATS)}", param_hint="--format")
        asked.append(format_)
    if len(set(asked)) > 1:
        raise typer.BadParameter("choose one of --json, --csv and --format")
    if asked:
        return asked[0]
    if out is None:
        return None
    if (found := SUFFIXES.get(out.suffix.lower())) is None:
        raise typer.BadParameter(
            f"{out.name} does not say its format: name it {', '.join(SUFFIXES)}, or add --format", param_hint="--out"
        )
    return found


def write(rows: Iterable[dict[str, Any]], columns: Columns, format_: str, out: Path | None) -> None:
    """Write rows to `out`, or to stdout."""
    if format_ in ("parquet", "arrow"):
        if out is None and sys.stdout.isatty():
            raise typer.BadParameter(f"{format_} is not for a terminal; name a file with --out", param_hint="--format")
        with _sink(out) as sink:
            _write_typed(rows, columns, format_, sink)
        return
    with _sink(out) as sink, _as_stdout(sink, out):
        output.print_lines(rows) if format_ == "json" else output.print_csv(rows)


@contextmanager
def _sink(out: Path | None) -> Iterator[Any]:
    if out is None:
        yield sys.stdout.buffer
        return
    part = out.with_name(f".{out.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, out)
    except OSError as error:
        raise typer.BadParameter(f"{out} cannot be written: {error.strerror}", param_hint="--out") from None
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _as_stdout(sink: Any, out: Path | None) -> Iterator[None]:
    if out is None:
        yield
        return
    import io

    text = io.TextIOWrapper(sink, encoding="utf-8", newline="")
    with contextlib.redirect_stdout(text):
        yield
    text.flush()
    text.detach()


def _write_typed(rows: Iterable[dict[str, Any]], columns: Columns, format_: str, sink: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema, rows = _schema(columns), iter(rows)
    made = parquet.ParquetWriter(sink, schema) if format_ == "parquet" else pa.ipc.new_file(sink, schema)
    with made as writer:
        while some := list(islice(rows, ROWS_AT_A_TIME)):
            arrays = [[_value(row, name, kind) for row in some] for name, kind in columns.items()]
            typed = [pa.array(values, kind) for values, kind in zip(arrays, schema.types, strict=True)]
            writer.write_batch(pa.record_batch(typed, schema=schema))


def _schema(columns: Columns) -> pa.Schema:
    import pyarrow as pa

    types = {
        **{"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "json": pa.string()},
        **{"time": pa.timestamp("us", tz="UTC"), "day": pa.date32(), "texts": pa.list_(pa.string())},
    }
    return pa.schema([(name, types[kind]) for name, kind in columns.items()])


def _value(row: Mapping[str, Any], name: str, kind: str) -> Any:
    scores = row.get("scores")
    value = scores.get(name) if name not in row and isinstance(scores, Mapping) else row.get(name)
    if value is None:
        return None
    if kind == "time":
        return datetime.fromisoformat(value)
    if kind == "day":
        return date.fromisoformat(value)
    if kind == "json":
        import orjson

        return orjson.dumps(value).decode()
    return value
