"""`foreshock sources`: what was read and how far, and a way out where time waits for what will never come."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshock.cli import options, output


def list_(json: options.JsonLines = False, store: options.Store = None, config: options.Config = None) -> None:
    """Files, feeds and partitions: state, the next record to read, and the event time that each has come to.

    Time waits for all that are not `closed`; one that is `idle`, at its end for now, is moved on by its reader, while
    that lives.
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
        output.note("Nothing was read so far.")


def leave(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="As `foreshock sources list` writes it.")],
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Let go of a source that will give nothing more, say a lost file: time no longer waits for it.

    Nothing that was read is deleted. Not for a source that only lags: what it brings after others went on counts late,
    or not at all. A replay that is reading it ends; a live feed joins again.
    """
    from foreshock.monitor.store import open_store, progress
    from foreshock.monitor.store.database import writing

    with writing(open_store(options.load(config, store=store).settings.store.url).engine) as connection:
        was = progress.let_go(connection, source)
    output.print_text(f"{source} is closed." if was else f"{source} was closed already.")
