"""`foreshock store`: check, measure, compact, copy and bring back a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foreshock.cli import options, output

File = Annotated[Path, typer.Argument(metavar="FILE", help="The copy.", dir_okay=False)]


def check(json: options.Json = False, store: options.Store = None, config: options.Config = None) -> None:
    """Check that a store is whole: every page of its file, and that its tables agree. Exits with 1 if not.

    Processes may write meanwhile. A large store takes minutes.
    """
    from foreshock.monitor.store import checks, integrity, open_store
    from foreshock.monitor.store.database import reading

    engine = open_store(options.load(config, store=store).settings.store.url).engine
    pages = integrity.check(engine, patience=float("inf"))
    damage = list(pages.damage) if pages else []
    with reading(engine) as connection:
        found = [] if damage else list(checks.findings(connection))
    whole = not damage and all(one.ok for one in found)
    if json:
        rules = [{"rule": one.rule, "against": one.against} for one in found]
        output.print_json({"ok": whole, "damage": damage, "rules": rules})
    else:
        for line in damage:
            output.print_text(f"damaged  {line}")
        for one in found:
            output.print_text(
                f"ok       {one.rule}" if one.ok else f"WRONG    {one.rule} Rows against it: {one.against:,}"
            )
        output.print_text("The store is whole." if whole else "The store is not whole. Restore a copy: docs/store.md.")
    if not whole:
        raise typer.Exit(1)


def stats(json: options.Json = False, store: options.Store = None, config: options.Config = None) -> None:
    """Show how many rows and bytes each table has, and how fast the store grows."""
    from foreshock.monitor.store import open_store
    from foreshock.monitor.store import stats as measuring
    from foreshock.monitor.store.database import reading

    with reading(open_store(options.load(config, store=store).settings.store.url).engine) as connection:
        found = measuring.stats(connection)
    if json:
        output.print_json(found.to_json())
        return
    rows = [
        (t.table, f"{t.rows:,}", "" if t.bytes is None else f"{t.bytes / 1e6:,.1f}") for t in found.tables if t.rows
    ]
    output.print_table(("table", "rows", "MB with indexes"), rows, right=("rows", "MB with indexes"))
    output.print_text(f"\n{found.bytes / 1e6:,.1f} MB in all, {found.free_bytes / 1e6:,.1f} MB of it free.")
    a_day = found.stories_a_day
    if found.bytes_a_story and a_day:
        growth = a_day * found.bytes_a_story / 1e6
        output.print_text(f"{found.bytes_a_story:,} bytes a story, {a_day:,.0f} stories a day: {growth:,.1f} MB a day.")


def vacuum(store: options.Store = None, config: options.Config = None) -> None:
    """Give the space of deleted rows back, and renew the database's statistics.

    On SQLite no process may write meanwhile, and the disk needs room for a second copy. On PostgreSQL, processes go on;
    the space is used by the next rows.
    """
    from foreshock.monitor.lease import held
    from foreshock.monitor.store import open_store, vacuum

    url = options.load(config, store=store).settings.store.url
    engine = open_store(url).engine
    if engine.dialect.name == "sqlite":
        with held(url, "store vacuum"):
            before, after = vacuum.compact(engine)
        output.print_text(f"{before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now.")
        return
    vacuum.compact(engine)
    output.print_text("Vacuumed and analysed.")


def backup(file: File, store: options.Store = None, config: options.Config = None) -> None:
    """Copy a store to a file, as it is now. Processes go on meanwhile.

    A PostgreSQL store is copied by pg_dump, which must be installed.
    """
    from foreshock.monitor.store import backup as copying

    url = options.load(config, store=store).settings.store.url
    with output.progress("Copying") as show:
        done = copying.backup(url, file, lambda pages, total: show(pages, total, ""))
    output.print_text(f"{file}: {done.bytes / 1e6:,.1f} MB in {done.seconds:.1f} s, schema {done.schema}.")


def restore(file: File, store: options.Store = None, config: options.Config = None) -> None:
    """Bring a copy back as a new store, and upgrade it if an older version made it.

    The store must not exist: move the old one away first, with the files beside it (-wal, -shm). Then start the same
    command as before: it goes on with the next record of each source. Messages that were delivered after the copy was
    made are delivered again, with the same ids.
    """
    from foreshock.monitor.store import backup as copying

    url = options.load(config, store=store).settings.store.url
    with output.progress("Copying") as show:
        done = copying.restore(url, file, lambda pages, total: show(pages, total, ""))
    output.print_text(f"{file} is a store again, after {done.seconds:.1f} s.")
