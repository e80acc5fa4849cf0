"""`foreshock score`: add scores to the rows of a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from foreshock.cli import options, output


def score(
    file: options.FeedFile,
    target: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write. Default: stdout.")
    ] = None,
    map_: options.Map = None,
    as_: options.As = None,
    encoding: options.Encoding = None,
    weights: options.Weights = None,
    device: options.Device = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Add what each word contributes to the score (JSON lines only).")
    ] = False,
    entity: Annotated[
        str | None, typer.Option("--entity", metavar="NAME", help="Score towards this company, where a text names it.")
    ] = None,
    entities: Annotated[
        str | None,
        typer.Option("--entities", metavar="COLUMN", help="Score each row towards the company that this column names."),
    ] = None,
    config: options.Config = None,
) -> None:
    """Add the columns negative, neutral and positive to the rows of a file.

    The output has the same format, delimiter and encoding, and the same rows in the same order; a suffix .gz or .zst
    compresses it. A row without text gets no scores. Nothing is stored. Exits 1 if most rows get none.
    """
    if entity is not None and entities is not None:
        raise typer.BadParameter("give --entity or --entities, not both", param_hint="--entities")
    if entity is not None and not entity.strip(" $"):
        raise typer.BadParameter("the name is empty", param_hint="--entity")

    from foreshock.analysis.score_file import score_file
    from foreshock.analysis.score_towards import Towards

    settings = options.load(config, weights=weights, device=device, encoding=encoding).settings
    with output.progress(file.name, shown=target is not None or not sys.stdout.isatty()) as advance:
        scored = score_file(
            settings,
            options.feed_file(file),
            target,
            mapping=options.mapping(map_, as_),
            explained=explain,
            towards=Towards(entity, entities) if entity or entities else None,
            on_progress=lambda share, rows: advance(share, 1.0, f"{rows:,} rows"),
        )
    if textless := scored.unscored - scored.broken:
        output.note(f"{textless:,} of {scored.rows:,} rows have no text, so they have no scores.")
    if scored.broken:
        output.note(f"{scored.broken:,} of {scored.rows:,} rows cannot be read. The first: {scored.first_broken}")
    if 2 * scored.unscored > scored.rows:
        raise typer.Exit(1)
