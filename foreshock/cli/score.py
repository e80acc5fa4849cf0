"""`foreshock score`: a file's rows with three more columns. Stores nothing.

The same format comes out: JSON lines, CSV, Parquet; a suffix `.gz` or `.zst` of the output compresses it. Every row of
the file comes out, in its order; one without text, or that is no record, has no scores (JSON: null, CSV: empty cells).
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.analysis.score_file import ROWS_AT_ONCE, check_columns, text_of, words_of, writer, written
from foreshock.cli import options, output

if TYPE_CHECKING:
    pass


def score(
    file: options.FeedFile,
    target: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write. [default: stdout]")
    ] = None,
    map_: options.Map = None,
    weights: Annotated[str | None, typer.Option("--weights", help="default, permissive or a folder.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Add words: what each contributes to the score (JSON lines only; slower).")
    ] = False,
    config: options.Config = None,
) -> None:
    """Add negative, neutral and positive to a file's rows; the same format comes out. Nothing is stored."""
    from foreshock.ingest.formats import open_format

    settings = options.load(config, weights=weights, device=device).settings
    source = open_format(file)
    rules = settings.parsing(options.mapping(map_)).rules()
    if source.columns is not None:
        check_columns(file, source.columns, rules)
    if target is not None and target.exists() and target.samefile(file):
        raise typer.BadParameter("--output is the file that is read", param_hint="--output")
    if source.name == "parquet" and target is None:
        raise typer.BadParameter("Parquet needs a file to write to", param_hint="--output")

    if explain and source.name != "jsonl":
        raise typer.BadParameter("words are written to JSON lines only; give a .jsonl file", param_hint="--explain")

    from foreshock.model.scorer import load_scorer

    scorer = load_scorer(settings.model.weights, settings.model.device)
    rows = unscored = 0
    with (
        output.progress(file.name, shown=target is not None or not sys.stdout.isatty()) as advance,
        written(target) as stream,
    ):
        write = writer(file, source.name, source.columns, stream)
        records = source.records()
        while batch := list(islice(records, ROWS_AT_ONCE)):
            texts = [text_of(record, rules) for record in batch]
            scores = iter(scorer.score_stories([text for text in texts if text]).tolist())
            shares = [[share / 10_000 for share in next(scores)] if text else None for text in texts]
            write(batch, shares, [words_of(scorer, text) for text in texts] if explain else None)
            rows += len(batch)
            unscored += sum(text is None for text in texts)
            advance(source.progress(), 1.0, f"{rows:,} rows")
        write([], [])
    if unscored:
        output.note(f"{unscored:,} of {rows:,} rows have no text or are no records: they come out without scores.")
