"""Score a file of texts: write its rows again with their scores, in the same format.

    scored = score_file(Settings(), Path("news.csv"), Path("scored.csv"))
    scored.rows, scored.unscored

Every row comes out, in the order of the file, with the delimiter, encoding and byte order mark that the file has. A
service's reply comes out as an array, a workbook as CSV. A row without text has no scores: null in JSON, empty cells
in CSV. In JSON, what a replay would make a dead letter because it cannot be read (a broken line) comes out in its place
as an object with `raw`, `reason` and `detail`, so that the output can be read to its end. In CSV, it comes out
as empty cells.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import orjson

from foreshock.analysis.score_towards import Towards, scored_towards
from foreshock.ingest.columns import NO_HEADER, looks_like_data, missing_fields, suggest_map
from foreshock.ingest.errors import BadRecord, MissingColumns
from foreshock.ingest.fields import TEXT_FIELDS
from foreshock.ingest.formats import Csv, Format, JsonLines, RawRecord, open_format
from foreshock.ingest.json_documents import JsonDocuments
from foreshock.ingest.json_records import decode
from foreshock.ingest.markup import plain_text
from foreshock.ingest.parsing import ParseRules, field_of
from foreshock.model.labels import LABELS
from foreshock.settings.models import Settings

if TYPE_CHECKING:
    from foreshock.model.explain import Scores

ROWS_AT_ONCE = 2000
"""Rows that are scored together."""


class OutputRefused(Exception):
    """The scores cannot be written there. The text says why."""

    exit_code: ClassVar[int] = 2


class Scored(NamedTuple):
    """How many rows were written, and how many of them have no scores.

    broken: how many of those could not be read. first_broken: where the first of them is and what is wrong with it.
    """

    rows: int
    unscored: int
    broken: int = 0
    first_broken: str | None = None


def score_file(
    settings: Settings,
    source: Path,
    target: Path | None = None,
    *,
    mapping: Mapping[str, str] | None = None,
    explained: bool = False,
    towards: Towards | None = None,
    on_progress: Callable[[float, int], None] | None = None,
) -> Scored:
    """Write the rows of `source` with their scores to `target`, or to standard output.

    The model and its device come from `settings`. `mapping`: field -> column, for files with other column names.
    `explained`: add `words`, each word that was read with what it contributes to the score (JSON lines only).
    `towards`: whom the scores are towards; a text that does not name the company has the score of the text.
    `on_progress` is called with the share of the file that is done (0 to 1) and the number of rows. `target` appears
    only once it is complete; its suffix `.gz` or `.zst` compresses it.

    Raises:
        OutputRefused: `target` is `source`, a Parquet file has no `target`, or words are added to another format.
        IngestError: `source` cannot be read, or has no column of text.
        ModelError: the weights cannot be loaded, or have no head for companies.
    """
    rules = settings.parsing(mapping).rules()
    file = open_format(source, rules.encoding)
    if file.columns is not None:
        _check_columns(source, file.columns, rules)
        if towards is not None and towards.column is not None and towards.column not in file.columns:
            raise OutputRefused(
                f"{source}: has no column {towards.column!r} for --entities. It has: {', '.join(file.columns)}."
            )
    if target is not None and target.exists() and target.samefile(source):
        raise OutputRefused(f"{target}: the output is the file that is read. Name another file with --output.")
    if file.name == "parquet" and target is None:
        raise OutputRefused(f"{source}: Parquet needs a file to write to. Name one with --output.")
    if explained and file.name not in {"jsonl", "json"}:
        raise OutputRefused(f"{source}: words are added to JSON lines only. Give a .jsonl file, or omit --explain.")

    from foreshock.model.scorer import load_scorer

    scorer = load_scorer(**settings.model.loading())
    if towards is not None:
        scorer.score(["a"], ["a"])  # refuses weights without a head for companies before anything is written
    rows = unscored = broken = 0
    first_broken = None
    with _written(target) as stream:
        words = _explainer(scorer, rules, towards) if explained else None
        write = _writer(source, file, stream, words)
        records = file.records()
        while batch := list(islice(records, ROWS_AT_ONCE)):
            texts = [_text_of(record, rules) for record in batch]
            for number, (record, text) in enumerate(zip(batch, texts, strict=True), rows):
                if text is None and (flaw := _flaw(record)) is not None:
                    first_broken = first_broken or f"{source}, record {number}: {flaw}"
                    broken += 1
            if towards is None:
                found = scorer.score_stories([text for text in texts if text])
            else:
                companies = [towards.company(record) for record in batch]
                found = scored_towards(scorer, [pair for pair in zip(texts, companies, strict=True) if pair[0]])
            scores = iter(found.tolist())
            write(batch, [[share / 10_000 for share in next(scores)] if text else None for text in texts])
            rows += len(batch)
            unscored += sum(text is None for text in texts)
            if on_progress is not None:
                on_progress(file.progress(), rows)
        write([], [])
    return Scored(rows, unscored, broken, first_broken)


def _check_columns(file: Path, columns: Sequence[str], rules: ParseRules) -> None:
    # Scoring a text needs no date.
    missing = [name for name in missing_fields(columns, rules.mapping) if not name.startswith("published_at")]
    if missing:
        guess = {
            field: column for field, column in suggest_map(columns, rules.mapping).items() if field != "published_at"
        }
        raise MissingColumns(file, missing, columns, guess, f"{NO_HEADER}." if looks_like_data(columns) else "")


def _text_of(record: RawRecord, rules: ParseRules) -> tuple[str, str] | None:
    """Return title and body of a record, which is what a worker scores; None if it has no title."""
    try:
        fields = _decoded(record)
    except BadRecord:
        return None
    titles = (field_of(fields, name, rules) for name in TEXT_FIELDS)
    title = next((title for title in titles if isinstance(title, str) and title.strip()), "")
    body = field_of(fields, "body", rules)
    return (plain_text(title), plain_text(body) if isinstance(body, str) else "") if title else None


def _decoded(record: RawRecord) -> dict[str, Any]:
    """Return the fields of a record. Raises BadRecord if it cannot be read."""
    if record.flaw is not None:
        raise BadRecord(*record.flaw)
    return decode(record.data)


def _flaw(record: RawRecord) -> str | None:
    """Return what is wrong with a record that cannot be read; None if it can."""
    try:
        _decoded(record)
    except BadRecord as error:
        return error.detail
    return None


_Words = Callable[[RawRecord], list[tuple[str, float]] | None]
"""Returns each word of a row's text with what it contributes; None where there is no text."""


def _explainer(scorer: Scores, rules: ParseRules, towards: Towards | None) -> _Words:
    from foreshock.model.explain import explain

    def words(record: RawRecord) -> list[tuple[str, float]] | None:
        text = _text_of(record, rules)
        if text is None:
            return None
        company = None if towards is None else towards.company(record)
        explanation = explain(scorer, "\n".join(filter(None, text)), company)
        return [(word.word, round(word.contribution, 4)) for word in explanation.words]

    return words


_Write = Callable[[Sequence[RawRecord], Sequence[Sequence[float] | None]], None]
"""Writes a batch of rows with their scores. An empty batch says that there are no more rows."""


def _writer(path: Path, file: Format, stream: IO[bytes], words: _Words | None) -> _Write:
    if isinstance(file, JsonLines | JsonDocuments) and file.encoding != "utf-8":
        stream = cast("IO[bytes]", _Encoded(stream, file.encoding))
    if file.name == "jsonl":
        return lambda batch, scores: stream.writelines(
            _json_line(record, row, words) for record, row in zip(batch, scores, strict=True)
        )
    if file.name == "json":
        return _array_writer(stream, words)
    if file.name == "parquet":
        return _parquet_writer(path, stream)
    own = [column for column in file.columns or () if column not in LABELS]
    if isinstance(file, Csv):
        return _csv_writer(own, stream, file.delimiter, file.encoding)
    return _csv_writer(own, stream, ",", "utf-8")  # a workbook


class _Encoded:
    """Writes UTF-8 in the encoding of the file."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._encoder = codecs.getincrementalencoder(encoding)("replace")

    def write(self, data: bytes) -> None:
        self._stream.write(self._encoder.encode(data.decode("utf-8", "replace")))

    def writelines(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self.write(line)


def _array_writer(stream: IO[bytes], words: _Words | None) -> _Write:
    written = 0

    def write(batch: Sequence[RawRecord], scores: Sequence[Sequence[float] | None]) -> None:
        nonlocal written
        for record, row in zip(batch, scores, strict=True):
            stream.write((b",\n" if written else b"[\n") + _json_line(record, row, words).rstrip(b"\n"))
            written += 1
        if not batch:
            stream.write(b"\n]\n" if written else b"[]\n")

    return write


def _json_line(record: RawRecord, scores: Sequence[float] | None, words: _Words | None) -> bytes:
    added: dict[str, Any] = dict(zip(LABELS, scores or (None, None, None), strict=True))
    try:
        fields = _decoded(record)
    except BadRecord as error:
        # There is no object to add scores to, and the line itself would end the reading of the output there.
        raw = record.data.decode("utf-8", "replace")
        fields, words = {"raw": raw, "reason": error.reason, "detail": error.detail}, None
    if words is not None:
        added["words"] = words(record)
    return orjson.dumps({**fields, **added}) + b"\n"


def _csv_writer(columns: Sequence[str], stream: IO[bytes], delimiter: str, encoding: str) -> _Write:
    # Bytes of a row that is not UTF-8 come out as they are. Another encoding has no sign for what it could not read.
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    text = io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline="", write_through=True)
    rows = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    rows.writerow([*columns, *LABELS])

    def write(batch: Sequence[RawRecord], scores: Sequence[Sequence[float] | None]) -> None:
        for record, values in zip(batch, scores, strict=True):
            try:
                fields = json.loads(record.data.decode("utf-8", "surrogateescape"))
            except ValueError:
                fields = {}
            rows.writerow([*(fields.get(column, "") for column in columns), *(values or (None, None, None))])
        if not batch:
            text.detach()  # otherwise closing it would close the stream below

    return write


def _parquet_writer(file: Path, stream: IO[bytes]) -> _Write:
    """Keep the scores and copy the file at the end, so that its other columns keep their types."""
    import pyarrow
    import pyarrow.parquet

    kept: list[Sequence[float | None]] = []

    def write(batch: Sequence[RawRecord], scores: Sequence[Sequence[float] | None]) -> None:
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


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


@contextmanager
def _written(target: Path | None) -> Iterator[IO[bytes]]:
    """Yield the stream to write to. A file gets its name only once it is complete."""
    if target is None:
        yield sys.stdout.buffer
        return
    part = target.with_name(f".{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        # A new file, never one that a link of this name leads to: others may be able to write this folder.
        with open(part, "xb", opener=_no_link) as raw:
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
