"""`foreshock check`: what a feed file is like, before it is replayed."""

from __future__ import annotations

import time

import typer

from foreshock.cli import options, output


def check(
    file: options.FeedFile, map_: options.Map = None, json: options.Json = False, config: options.Config = None
) -> None:
    """Look at a feed file: columns, forms of dates, order, repeats, dead letters, and the replay to run."""
    from foreshock.analysis.feed_check import check as examine
    from foreshock.ingest.parsing import AHEAD

    settings = options.load(config).settings
    report = examine(
        file,
        settings.parsing(options.mapping(map_)).rules(),
        latest=time.time_ns() // 1_000 + AHEAD,
        lateness=settings.time.lateness,
        max_staleness=settings.time.max_staleness,
        config=config,
    )
    if json:
        output.print_json(report.to_json())
    else:
        output.print_text(report.text())
    if report.broken:
        raise typer.Exit(1)
