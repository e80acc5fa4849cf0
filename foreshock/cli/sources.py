"""`foreshock sources`: list what was read and how far, and remove a source that event time waits for in vain."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshock.cli import options, output


def list_(json: options.JsonLines = False, store: options.Store = None, config: options.Config = None) -> None:
    """List files, feeds and partitions: state, the next record to read, and the event time that each has reached.

    Event time waits for every source that is not `closed`. An `idle` source has no new records; while its reader runs,
    event time moves on without it.
    """
    from foreshock.monitor.store import open_store

    rows = open_store(options.load(config, store=store).settings.store.url).sources()
    if json:
        output.print_lines(rows)
        return
    count = output.print_table(
        ("source", "kind", "state", "next", "time", "error"),
        (
            (row["source"], row["kind"], row["state"], row["next_offset"], row["time"] or "", row["error"] or "")
            for row in rows
        ),
        right=("next",),
    )
    if not count:
        output.note("No source was read yet.")


def leave(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The name in `foreshock sources list`.")],
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Remove a source that brings no more records, such as a lost file, so that event time no longer waits for it.

    The stories of the source stay. Do not use this for a source that only lags: its next stories would count late or
    not at all. A replay that is reading the source ends. A live feed joins again.
    """
    from foreshock.monitor.store import desk_actions, open_store, progress

    engine = open_store(options.load(config, store=store).settings.store.url).engine
    was = desk_actions.record(engine, lambda connection: progress.remove(connection, source))
    output.print_text(f"{source} is closed." if was else f"{source} was closed already.")
