"""`foreshock series`: a topic's sentiment over time, as it was known then."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshock.cli import options, output


def series(
    topics: Annotated[list[str], typer.Argument(metavar="TOPIC...", help="Topics; _all is the whole market.")],
    every: Annotated[
        str | None, typer.Option("--every", metavar="DURATION", help="Length of a row: 1h, 1d. [default: the bucket]")
    ] = None,
    start: options.Start = None,
    end: options.End = None,
    json: options.JsonLines = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """One row a bucket: stories, events, sums of probabilities, polarity, baseline, and whether an alert was firing.

    Each row is as it was known then: no later story changes it. From known_at on anyone could have had it.
    """
    if json and csv:
        raise typer.BadParameter("choose one of --json and --csv")
    options.duration(every, "--every")
    first, last = options.moment(start, "--start"), options.moment(end, "--end")

    from foreshock.monitor.store import open_store

    rows = open_store(options.load(config, store=store).settings.store.url).series_rows(topics, every, first, last)
    if json:
        output.print_lines(rows)
    elif csv:
        output.print_csv(rows)
    else:
        columns = ("topic", "start", "stories", "events", "polarity", "baseline", "alerting")
        count = output.print_table(
            columns,
            ([_short(row.get(column)) for column in columns] for row in rows),
            right=("stories", "events", "polarity", "baseline"),
        )
        if not count:
            output.note(f"No rows of {', '.join(topics)}. Topics with stories: foreshock topics list")


def _short(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:+.3f}" if isinstance(value, float) else value
