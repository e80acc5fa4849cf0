"""`foreshock stories`: the stored stories with their scores."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshock.cli import options, output

SHOWN = 20


def stories(
    topic: Annotated[str | None, typer.Option("--topic", help="Only those of this topic.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Only those of this source.")] = None,
    start: options.Start = None,
    end: options.End = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help=f"At most so many. [default: {SHOWN}; all with --json]")
    ] = None,
    json: options.JsonLines = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Stored stories, the newest first, with source, topics and scores."""
    first, last = options.moment(start, "--start"), options.moment(end, "--end")

    from foreshock.monitor.store import open_store

    rows = open_store(options.load(config, store=store).settings.store.url).stories(
        topic=topic, source=source, start=first, end=last, limit=limit or (None if json else SHOWN)
    )
    if json:
        output.print_lines(rows)
        return
    count = output.print_table(
        ("published_at", "source", "negative", "positive", "title"),
        (
            (row["published_at"], row["source"], _share(row, "negative"), _share(row, "positive"), row["title"])
            for row in rows
        ),
        right=("negative", "positive"),
    )
    if not count:
        output.note("No such stories.")


def _share(row: dict[str, object], label: str) -> str:
    scores = row.get("scores")
    return f"{scores[label]:.2f}" if isinstance(scores, dict) else ""
