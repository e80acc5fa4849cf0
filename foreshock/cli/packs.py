"""`foreshock alerts pack` and `verify`: one file with all that an alert was decided from, and deciding it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foreshock.cli import options, output


def pack(
    alert: Annotated[str, typer.Argument(metavar="ALERT", help="The alert's id, or the beginning of it.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write, such as alert.zip.")],
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Write one file with all that an alert was decided from: stories, buckets, state, settings, the model's identity.

    `foreshock alerts verify` decides it again from the file alone. The same alert gives the same bytes.
    """
    from foreshock.analysis.pack import pack as make
    from foreshock.monitor.store import open_store

    digest = make(open_store(options.load(config, store=store).settings.store.url).engine, alert, out)
    output.print_text(f"{out}: {out.stat().st_size:,} bytes. SHA-256 of its manifest: {digest}")


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `alerts pack` wrote.")],
    json: options.Json = False,
) -> None:
    """Decide a packed alert again, offline, and say whether the result is the same, byte for byte. Fails otherwise."""
    from foreshock.analysis.pack_check import verify as check

    found = check(file)
    if json:
        output.print_json(found.to_json())
    else:
        about = found.about["alert"]
        output.print_text(f"{about['id']}  {about['topic']}  {about['kind']}  {about['fired_at']}")
        output.print_text(f"Model: {found.about['model'] or 'none, all stories carried scores'}")
        for one in found.checks:
            word = {True: "same", False: "DIFFERS", None: "not checked"}[one.same]
            output.print_text(f"{one.name:<12} {word:<12} {one.sentence}")
        output.print_text(f"SHA-256 of its manifest: {found.digest}")
        not_same = "THE RESULT DIFFERS." if found.differs else "THE ALERT WAS NOT DECIDED AGAIN."
        output.print_text("The result is the same." if found.same else not_same)
    if not found.same:
        raise typer.Exit(1)
