"""`foreshock series`: a topic's sentiment over time, as it was known then."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Annotated, Any

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

    Each row is as it was known then: no later story changes it. From known_at on anyone could have had it. A row
    that is not over yet is left out; one that --start or --end would cut is there whole.
    """
    if json and csv:
        raise typer.BadParameter("choose one of --json and --csv")
    step = options.duration(every, "--every")
    first, last = options.moment(start, "--start"), options.moment(end, "--end")

    from foreshock.monitor.store import open_store

    reader = open_store(options.load(config, store=store).settings.store.url)
    rows: Iterator[dict[str, Any]] = reader.series_rows(topics, every=step, start=first, end=last)
    try:
        rows = chain(list(islice(rows, 1)), rows)  # a step that does not fit is said with the first row
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--every") from None
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
            output.note(f"No rows of {', '.join(topics)} that are over. Topics with stories: foreshock topics list")


def _short(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:+.3f}" if isinstance(value, float) else value
