"""`foreshock series`: show a topic's sentiment over time, as it was known at each time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.cli import options, output, tables

if TYPE_CHECKING:
    from foreshock.analysis.certify import Certificate
    from foreshock.monitor.store import Store
    from foreshock.settings.models import Settings


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
    format_: tables.Format = None,
    out: tables.Out = None,
    tz: Annotated[
        str | None, typer.Option("--tz", metavar="ZONE", help="Rows are days of this time zone: Europe/London.")
    ] = None,
    day_ends: Annotated[
        str | None,
        typer.Option(
            "--day-ends",
            metavar="HH:MM",
            help="Local time at which a day ends. With --exchange: open or close.",
        ),
    ] = None,
    exchange: Annotated[
        str | None,
        typer.Option(
            "--exchange",
            metavar="CODE",
            help="Rows are sessions of this exchange: XNYS. Other news count for the next.",
        ),
    ] = None,
    as_of: options.AsOf = None,
    certify: Annotated[
        bool,
        typer.Option(
            "--certify", help="Decide the series again from cut-off feeds, and say whether any row looked ahead."
        ),
    ] = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Show one row for each bucket: stories, events, sums of probabilities, polarity, baseline, and firing alerts.

    No later story changes a row. It was known from known_at on. Rows that are not over yet are left out. A row that
    --start or --end would cut is shown whole.
    """
    chosen = tables.choice(format_, out, json=json, csv=csv)
    step = options.duration(every, "--every")
    first, last = options.moment(start, "--start"), options.moment(end, "--end")
    moment = options.moment(as_of, "--as-of")

    from foreshock.ingest.meant import did_you_mean
    from foreshock.monitor.days import BadDays
    from foreshock.monitor.store import open_store, rolling, switches
    from foreshock.monitor.store.api import days_of
    from foreshock.monitor.store.database import reading
    from foreshock.monitor.store.times import iso, microseconds
    from foreshock.monitor.units import ALL

    settings = options.load(config, store=store).settings
    reader = open_store(settings.store.url)
    seen, known = set(reader.topic_names()), options.known_topics(reader, settings)
    if unknown := [topic for topic in topics if topic not in known]:
        remedy = did_you_mean(unknown[0], known) or " foreshock topics list shows them."
        raise typer.BadParameter(
            f"there is no topic {unknown[0]!r} in the store or the settings.{remedy}", param_hint="TOPIC"
        )
    if certify:
        _certify(reader, topics, settings, json=json)
        return
    try:
        with reading(reader.engine) as connection:
            days = days_of(connection, step, tz, day_ends, exchange)
            changes = switches.changes(connection)
        rows: Iterator[dict[str, Any]] = reader.series_rows(
            topics, every=None if days else step, start=first, end=last, as_of=moment, days=days
        )
        rows = chain(list(islice(rows, 1)), rows)  # the first row reports a step that does not fit
    except ValueError as error:
        field = error.field if isinstance(error, BadDays) else "every"
        hint = {"tz": "--tz", "ends": "--day-ends", "exchange": "--exchange", "every": "--every"}[field]
        raise typer.BadParameter(str(error), param_hint=hint) from None
    if chosen is not None:
        typed = tables.SERIES if days is None else {**tables.SERIES, "day": "day"}
        tables.write(rows, typed, chosen, out)
    else:
        begin = "start" if days is None else "day"
        columns = ("topic", begin, "stories", "events", "polarity", "baseline", "alerting", "filled")
        count = output.print_table(
            columns,
            ([_short(row.get(column)) for column in columns] for row in rows),
            right=("stories", "events", "polarity", "baseline"),
        )
        if not count:
            output.note(f"{', '.join(topics)}: no row is over yet. Topics with stories: foreshock topics list")
        for change in changes:
            output.note(
                f"Stories that count from {iso(change.at)} on are scored by {change.after}, before by {change.before}."
            )
    with reading(reader.engine) as connection:
        grain = rolling.grain(connection)
    if grain.hours_until and (first is None or microseconds(first) < grain.hours_until):
        older = f"days before {iso(grain.days_until)}, and of " if grain.days_until else ""
        output.note(f"Rows are of {older}hours before {iso(grain.hours_until)}: [store] keep_buckets.")
    for topic in topics:
        if topic not in seen and topic != ALL:
            output.note(f"{topic}: no story yet.")


def _certify(reader: Store, topics: list[str], settings: Settings, *, json: bool) -> None:
    """Print what deciding the series again showed. Exits with code 1 where a row is not the stored one."""
    from foreshock.analysis.certify import certify

    found = certify(reader.engine, topics, weights=str(settings.model.weights))
    if json:
        output.print_json(found.to_json())
    else:
        output.print_text("\n".join(_said(found)))
    if not found.holds:
        raise typer.Exit(1)


def _said(found: Certificate) -> list[str]:
    verdict = (
        f"No row looked ahead: {found.rows:,} rows, decided again with nothing after them, are the stored ones."
        if found.holds
        else f"{found.differing:,} of {found.rows:,} rows differ when they are decided with nothing after them:"
    )
    years = ", ".join(found.trained_on or ())
    lines = [verdict, *(f"  {row}" for row in found.differ)]
    lines.append(f"cuts        {len(found.cuts)}: {', '.join(found.cuts)}")
    if found.baselines_until:
        lines.append(
            f"baselines   compared up to {found.baselines_until}, when a topic was filled or the model switched"
        )
    if found.filled:
        lines.append(f"filled      {found.filled:,} rows were made later from stored stories; --as-of leaves them out")
    lines.append(
        f"dates       {found.date_only:,} of {found.stories:,} stories have a day only and count at its end; "
        f"{found.late:,} came late, {found.stale:,} stale"
    )
    lines += [f"zones       assumed where a date had none: {zone}" for zone in found.assumed_zones]
    if found.trained_on is None:
        lines.append("training    the weights do not say from which years their training texts are")
    elif years:
        lines.append(f"training    the model was trained on texts of {years}: there it knows more than anyone did")
    else:
        lines.append("training    no training text of the model is from the years of these stories")
    return lines


def _short(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:+.3f}" if isinstance(value, float) else value
