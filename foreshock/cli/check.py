"""`foreshock check`: what a feed file is like, before it is replayed."""

from __future__ import annotations

from foreshock.cli import options, output


def check(
    file: options.FeedFile, map_: options.Map = None, json: options.Json = False, config: options.Config = None
) -> None:
    """Look at a feed file: columns, forms of dates, order, repeats, dead letters, and the replay to run."""
    from foreshock.ingest.check import check as examine

    report = examine(file, options.load(config).settings.parsing(options.mapping(map_)).rules())
    if json:
        output.print_json(report.to_json())
    else:
        output.print_text(report.text())
