"""`foreshock deadletters`: list the records that could not become stories, and replay them."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshock.cli import options, output
from foreshock.cli.replay import show_alert, show_result

SHOWN = 50


def list_(
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only dead letters with this reason, such as bad_date.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help=f"How many at most. Default: {SHOWN}; all with --json.")
    ] = None,
    json: options.JsonLines = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """List the dead letters with their partition, offset and reason."""
    _check(reason)
    from foreshock.monitor.store import open_store

    rows = open_store(options.load(config, store=store).settings.store.url).dead_letters(
        reason=reason, limit=limit or (None if json else SHOWN)
    )
    if json:
        output.print_lines(rows)
        return
    columns = ("partition", "offset", "reason", "detail")
    count = output.print_table(columns, ([row[column] for column in columns] for row in rows), right=("offset",))
    if not count:
        output.note("No dead letters.")


def replay(
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only dead letters with this reason, such as bad_date.")
    ] = None,
    map_: options.Map = None,
    as_: options.As = None,
    date_format: options.DateFormat = None,
    date_only: options.DateOnly = False,
    json: options.Json = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Replay the dead letters as a separate source, for example after a change of settings or with another --map."""
    _check(reason)
    from foreshock.processes import redrive

    settings = options.load(config, store=store, date_only=date_only, date_format=date_format, as_=as_).settings
    with output.progress("dead letters") as advance:
        result = redrive.replay_dead_letters(
            settings,
            reason=reason,
            mapping=options.mapping(map_, as_),
            on_progress=lambda progress: advance(progress.share, 1.0, f"{progress.records:,} records"),
            on_alert=None if json else show_alert,
        )
    show_result(result, json=json)


def _check(reason: str | None) -> None:
    """Refuse a reason that there is none of, which would find nothing."""
    from foreshock.ingest.errors import REASONS
    from foreshock.ingest.meant import did_you_mean

    if reason is not None and reason not in REASONS:
        known = did_you_mean(reason, REASONS) or f" Reasons are {', '.join(REASONS)}."
        raise typer.BadParameter(f"{reason!r} is not a reason.{known}", param_hint="--reason")
