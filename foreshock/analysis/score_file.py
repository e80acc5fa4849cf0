"""Score a file of texts: read its rows, write them again with their scores, in the same format."""

from __future__ import annotations

import csv
import gzip
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from foreshock.ingest.formats import RawRecord
    from foreshock.ingest.parsing import ParseRules
    from foreshock.model.explain import Scores


LABELS = ("negative", "neutral", "positive")


ROWS_AT_ONCE = 2000


def check_columns(file: Path, columns: Sequence[str], rules: ParseRules) -> None:
    from foreshock.ingest.columns import missing_fields, suggest_map
    from foreshock.ingest.errors import MissingColumns

    # No date is needed to score a text.
    missing = [name for name in missing_fields(columns, rules.mapping) if not name.startswith("published_at")]
    if missing:
        guess = {
            field: column for field, column in suggest_map(columns, rules.mapping).items() if field != "published_at"
        }
        raise MissingColumns(file, missing, columns, guess)


def text_of(record: RawRecord, rules: ParseRules) -> tuple[str, str] | None:
    """Title and body of a record, which is what a worker scores; None if it has no title."""
    from foreshock.ingest.errors import BadRecord
    from foreshock.ingest.parsing import TEXT_FIELDS, decode, field_of

    if record.flaw is not None:
        return None
    try:
        fields = decode(record.data)
    except BadRecord:
        return None
    titles = (field_of(fields, name, rules) for name in TEXT_FIELDS)
    title = next((title for title in titles if isinstance(title, str) and title.strip()), "")
    body = field_of(fields, "body", rules)
    return (title, body if isinstance(body, str) else "") if title else None


Words = Sequence[tuple[str, float]]
"""Each word of a text with what it contributes to its score."""


def words_of(scorer: Scores, text: tuple[str, str] | None) -> Words | None:
    """Each word that is read of a story's title and body, with what it contributes; None of no text."""
    from foreshock.model.explain import explain

    if text is None:
        return None
    return [(word.word, round(word.contribution, 4)) for word in explain(scorer, "\n".join(filter(None, text))).words]


class Write(Protocol):
    """Write a batch of records with their scores, and where asked (JSON lines only) with their words."""

    def __call__(
        self,
        batch: Sequence[RawRecord],
        scores: Sequence[Sequence[float] | None],
        words: Sequence[Words | None] | None = None,
    ) -> None: ...


def writer(file: Path, name: str, columns: Sequence[str] | None, stream: IO[bytes]) -> Write:
    if name == "jsonl":
        return _json_writer(stream)
    own = [column for column in columns or () if column not in LABELS]
    return _csv_writer(own, stream) if name == "csv" else _parquet_writer(file, stream)


def _json_writer(stream: IO[bytes]) -> Write:
    def write(
        batch: Sequence[RawRecord],
        scores: Sequence[Sequence[float] | None],
        words: Sequence[Words | None] | None = None,
    ) -> None:
        extra = [{"words": each} for each in words] if words is not None else [{}] * len(batch)
        stream.writelines(map(_json_line, batch, scores, extra))

    return write


def _json_line(record: RawRecord, scores: Sequence[float] | None, extra: dict[str, Any]) -> bytes:
    import orjson

    from foreshock.ingest.errors import BadRecord
    from foreshock.ingest.parsing import decode

    added = dict(zip(LABELS, scores or (None, None, None), strict=True))
    try:
        fields = decode(record.data)
    except BadRecord:
        # No object to add to: the line comes out as it is, so that line numbers still agree.
        return record.data + b"\n"
    return orjson.dumps({**fields, **added, **extra}) + b"\n"


def _csv_writer(columns: Sequence[str], stream: IO[bytes]) -> Write:
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*columns, *LABELS])

    def write(
        batch: Sequence[RawRecord],
        scores: Sequence[Sequence[float] | None],
        words: Sequence[Words | None] | None = None,
    ) -> None:
        import json

        for record, values in zip(batch, scores, strict=True):
            try:
                fields = json.loads(record.data.decode("utf-8", "surrogateescape"))
            except ValueError:
                fields = {}
            rows.writerow([*(fields.get(column, "") for column in columns), *(values or (None, None, None))])
        if not batch:
            text.detach()  # else closing it would close the stream beneath

    return write


def _parquet_writer(file: Path, stream: IO[bytes]) -> Write:
    """Keeps the scores and copies the file at the end, so that its other columns stay what they are."""
    import pyarrow
    import pyarrow.parquet

    kept: list[Sequence[float | None]] = []

    def write(
        batch: Sequence[RawRecord],
        scores: Sequence[Sequence[float] | None],
        words: Sequence[Words | None] | None = None,
    ) -> None:
        kept.extend(row or (None, None, None) for row in scores)
        if batch:
            return
        with pyarrow.parquet.ParquetFile(file) as source:
            schema = source.schema_arrow
            own = [name for name in schema.names if name not in LABELS]
            fields = [
                *(schema.field(name) for name in own),
                *(pyarrow.field(name, pyarrow.float32()) for name in LABELS),
            ]
            done = 0
            with pyarrow.parquet.ParquetWriter(stream, pyarrow.schema(fields, schema.metadata)) as target:
                for rows in source.iter_batches(ROWS_AT_ONCE):
                    part = kept[done : done + rows.num_rows]
                    added = [pyarrow.array([row[i] for row in part], pyarrow.float32()) for i in range(3)]
                    done += rows.num_rows
                    target.write_batch(
                        pyarrow.record_batch([*(rows.column(name) for name in own), *added], schema=target.schema)
                    )

    return write


@contextmanager
def written(target: Path | None) -> Iterator[IO[bytes]]:
    """The stream to write to. A file appears under its name only when all of it is written."""
    if target is None:
        yield sys.stdout.buffer
        return
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as raw:
            packed: Any = nullcontext(raw)
            if target.suffix == ".gz":
                packed = gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="")
            elif target.suffix == ".zst":
                import zstandard

                packed = zstandard.ZstdCompressor().stream_writer(raw, closefd=False)
            with packed as stream:
                yield stream
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
