"""`foreshock check`: examine a feed file before a replay."""

from __future__ import annotations

import time

import typer

from foreshock.cli import options, output


def check(
    file: options.FeedFile, map_: options.Map = None, json: options.Json = False, config: options.Config = None
) -> None:
    """Examine a feed file: columns, date formats, order, repeats, dead letters; and print the replay to run."""
    from foreshock.analysis.feed_check import check as examine
    from foreshock.ingest.parsing import AHEAD
    from foreshock.monitor.watermark import TimeRules

    settings = options.load(config).settings
    report = examine(
        file,
        settings.parsing(options.mapping(map_)).rules(),
        latest=time.time_ns() // 1_000 + AHEAD,
        time=TimeRules(lateness=settings.time.lateness, max_staleness=settings.time.max_staleness),
        config=config,
    )
    if json:
        output.print_json(report.to_json())
    else:
        output.print_text(report.text())
    if report.broken or not report.stories:
        raise typer.Exit(1)
