"""`foreshock series`: show a topic's sentiment over time, as it was known at each time."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import chain, islice
from typing import Annotated, Any

import typer

from foreshock.cli import options, output


def series(
    topics: Annotated[
        list[str],
        typer.Argument(
            metavar="TOPIC...", help="Topics. _all stands for all stories.", autocompletion=options.topic_names
        ),
    ],
    every: Annotated[
        str | None, typer.Option("--every", metavar="DURATION", help="Length of a row: 1h, 1d. Default: one bucket.")
    ] = None,
    start: options.Start = None,
    end: options.End = None,
    json: options.JsonLines = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Show one row for each bucket: stories, events, sums of probabilities, polarity, baseline, and firing alerts.

    No later story changes a row. It was known from known_at on. Rows that are not over yet are left out. A row that
    --start or --end would cut is shown whole.
    """
    if json and csv:
        raise typer.BadParameter("choose one of --json and --csv")
    step = options.duration(every, "--every")
    first, last = options.moment(start, "--start"), options.moment(end, "--end")

    from foreshock.monitor.store import open_store
    from foreshock.monitor.units import ALL
    from foreshock.settings.versions import topic_rules

    settings = options.load(config, store=store).settings
    reader = open_store(settings.store.url)
    seen, unseen = set(reader.topic_names()), reader.unseen_topics()
    known = {*seen, ALL, *unseen.own, *unseen.built_in, *(rule.name for rule in topic_rules(settings))}
    if unknown := [topic for topic in topics if topic not in known]:
        near = difflib.get_close_matches(unknown[0], known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else "foreshock topics list shows them"
        raise typer.BadParameter(
            f"there is no topic {unknown[0]!r} in the store or the settings; {remedy}", param_hint="TOPIC"
        )
    rows: Iterator[dict[str, Any]] = reader.series_rows(topics, every=step, start=first, end=last)
    try:
        rows = chain(list(islice(rows, 1)), rows)  # the first row reports a step that does not fit
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
            output.note(f"{', '.join(topics)}: no row is over yet. Topics with stories: foreshock topics list")
    for topic in topics:
        if topic not in seen and topic != ALL:
            output.note(f"{topic}: no story yet.")


def _short(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:+.3f}" if isinstance(value, float) else value
