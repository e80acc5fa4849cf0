"""`foreshock stories`: list the stored stories with their scores."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.cli import options, output, tables

if TYPE_CHECKING:
    from foreshock.monitor.store.api import Store
    from foreshock.settings.models import Settings

SHOWN = 20


def stories(
    topic: Annotated[
        str | None, typer.Option("--topic", help="Only stories of this topic.", autocompletion=options.topic_names)
    ] = None,
    source: Annotated[str | None, typer.Option("--source", help="Only stories of this source.")] = None,
    start: options.Start = None,
    end: options.End = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help=f"How many at most. Default: {SHOWN}; all with --json or --out."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Write all stories to a feed file (JSON lines). Its replay gives the same series and alerts.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Write the stories whose label a person corrected, as rows that `model finetune` and `model evaluate` "
            "read (JSON lines).",
        ),
    ] = None,
    copies: Annotated[
        bool, typer.Option("--copies", help="List near-copies and duplicates as well, instead of their number.")
    ] = False,
    json: options.JsonLines = False,
    format_: tables.Format = None,
    out: tables.Out = None,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """List the stored stories, newest first, with source and scores. A story that was repeated is listed once.

    With --json, --format or --out, each record is listed, and says whether it is a copy.
    """
    for name, path, write in (("--export", export, _export), ("--labels", labels, _labels)):
        if path is not None:
            if topic or source or start or end or limit or copies or json or format_ or out or (export and labels):
                raise typer.BadParameter("it writes all of them, so it takes no other option", param_hint=name)
            write(path, options.load(config, store=store).settings.store.url)
            return
    first, last = options.moment(start, "--start"), options.moment(end, "--end")
    chosen = tables.choice(format_, out, json=json)

    from foreshock.monitor.store import open_store

    settings = options.load(config, store=store).settings
    reader = open_store(settings.store.url)
    wanted: dict[str, Any] = {"topic": topic, "source": source, "start": first, "end": last}
    if chosen is not None:
        found = reader.stories(**wanted, limit=limit)
        first_row = list(islice(found, 1))
        tables.write(chain(first_row, found), tables.STORIES, chosen, out)
        if not first_row and (said := _without_story(reader, settings, topic, source)):
            output.note(said)
        return
    limit = limit or SHOWN
    rows = (
        ((row, 0) for row in reader.stories(**wanted, limit=limit))
        if copies
        else reader.stories_once(**wanted, limit=limit)
    )
    count = output.print_table(
        ("published_at", "source", "negative", "positive", "title"),
        (
            (
                *(row["published_at"], row["source"]),
                *(_share(row, label, topic) for label in ("negative", "positive")),
                row["title"] + output.and_copies(number),
            )
            for row, number in rows
        ),
        right=("negative", "positive"),
    )
    if not count:
        output.note(f"No stories match. {_without_story(reader, settings, topic, source)}".rstrip())


def _without_story(reader: Store, settings: Settings, topic: str | None, source: str | None) -> str:
    """Say if the store has no story of the topic or the source, and which may have been meant; otherwise nothing."""
    from foreshock.ingest.meant import did_you_mean
    from foreshock.monitor.store import views
    from foreshock.monitor.store.database import reading

    with reading(reader.engine) as connection:
        sources = [] if source is None else views.story_sources(connection)
    topics = reader.topic_names()
    if topic not in topics and topic in options.known_topics(reader, settings):
        return f"{topic}: no story yet."
    for what, name, known in (("topic", topic, topics), ("source", source, sources)):
        if name is not None and name not in known:
            return f"The store has none of the {what} {name!r}.{did_you_mean(name, known)}"
    return ""


def _export(path: Path, url: str) -> None:
    from foreshock.monitor.store import open_store
    from foreshock.monitor.store.export import export_stories

    try:
        with path.open("xb") as out:
            count = export_stories(open_store(url).engine, out)
    except FileExistsError:
        raise typer.BadParameter(f"{path} already exists; name another file", param_hint="--export") from None
    output.note(f"{count:,} stories written to {path}. Replay them into a new store: foreshock replay {path}")


def _labels(path: Path, url: str) -> None:
    from orjson import dumps

    from foreshock.monitor.store import open_store
    from foreshock.monitor.store.database import reading
    from foreshock.monitor.store.labels import labelled_rows

    with reading(open_store(url).engine) as connection:
        rows = list(labelled_rows(connection))
    try:
        with path.open("xb") as out:
            out.writelines(dumps(row) + b"\n" for row in rows)
    except FileExistsError:
        raise typer.BadParameter(f"{path} already exists; name another file", param_hint="--labels") from None
    output.note(
        f"{len(rows):,} labelled stories written to {path}. How the model does: foreshock model evaluate {path}"
    )


def _share(row: dict[str, Any], label: str, topic: str | None) -> str:
    """Write a story's score; towards the topic that was asked for, where it has one."""
    scores = row["topic_scores"].get(topic, row["scores"])
    return "" if scores is None else f"{scores[label]:.2f}"
