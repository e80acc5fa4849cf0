"""`foreshock dashboard`: the pages of a store, in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshock.cli import options, output


def dashboard(
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Listen there; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Listen on this port.")] = 8501,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Serve the pages of a store until Ctrl-C: what fires now, each topic, the alerts, the stories, the feed's health.

    It listens on this machine only, unless --host says otherwise: whoever reaches it can acknowledge and silence.
    """
    settings = options.load(config, store=store).settings

    from foreshock.dashboard import serve
    from foreshock.dashboard.settings import ServeSettings

    wanted = ServeSettings(store=settings.store.url, host=host, port=port, weights=settings.model.weights)
    with serve.started(wanted) as process:
        output.print_text(f"Foreshock's dashboard: {serve.address(wanted)}")
        if wanted.exposed:
            output.note("Anyone who reaches it can read all stories, acknowledge alerts and silence topics.")
        output.note("Ctrl-C stops it.")
        code = process.wait()
    raise typer.Exit(1 if code else 0)
