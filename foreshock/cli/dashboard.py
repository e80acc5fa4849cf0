"""`foreshock dashboard`: serve the pages of a store."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshock.cli import options, output


def dashboard(
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 admits other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8501,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Serve the pages of a store until Ctrl-C: firing alerts, topics, stories, and the health of the feeds.

    It listens on this machine only, unless --host is given. Anyone who can open the pages can acknowledge alerts and
    silence topics.
    """
    settings = options.load(config, store=store).settings

    from foreshock.dashboard import serve
    from foreshock.dashboard.settings import ServeSettings

    wanted = ServeSettings(store=settings.store.url, host=host, port=port, weights=settings.model.weights)
    with serve.started(wanted) as process:
        output.print_text(f"Foreshock's dashboard: {serve.address(wanted)}")
        if wanted.exposed:
            output.note(
                "Anyone who can reach this address can read all stories, acknowledge alerts and silence topics."
            )
        output.note("Press Ctrl-C to stop it.")
        code = process.wait()
    raise typer.Exit(1 if code else 0)
